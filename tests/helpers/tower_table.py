"""Where every configuration of open_clip keeps its projections, as a Markdown table.

    python tests/helpers/tower_table.py

Towers are built at full size on the meta device: no weights, no memory, no network.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace

import open_clip
import torch
from open_clip.model import _build_text_tower, _build_vision_tower

from clip_unlearn.core import ModelError
from clip_unlearn.models.towers import Head, add_projections, image_head, text_head


def place(
    find: Callable[[object], Head], model: SimpleNamespace, tower: torch.nn.Module, prefix: str
) -> str:
    """The head's name in the state dict, its size, and its bias if any; or why there is no head."""
    try:
        head = find(model)
    except ModelError as error:
        return f"refused: {error}"
    owner = next(path for path, module in tower.named_modules() if module is head.owner)
    D, d = (
        head.held.shape
        if isinstance(head.held, torch.nn.Parameter)
        else reversed(head.held.weight.shape)
    )
    path = ".".join(part for part in (prefix, owner, head.name) if part)
    return f"`{path}` {D} × {d}{' + bias' if head.has_bias else ''}"


def row(name: str) -> tuple[str, str, str]:
    """The kind of image tower, and the places of the two projections."""
    config = open_clip.get_model_config(name)
    own_text = "hf_model_name" not in config["text_cfg"]
    before = dict(config["vision_cfg"]), dict(config["text_cfg"])
    with torch.device("meta"):
        visual = _build_vision_tower(config["embed_dim"], config["vision_cfg"])
        text = _build_text_tower(config["embed_dim"], config["text_cfg"]) if own_text else None
        model = SimpleNamespace(visual=visual, text=text)
        add_projections(model, config)
    kind = (
        f"timm {type(visual.trunk).__name__}" if hasattr(visual, "trunk") else type(visual).__name__
    )
    image = place(image_head, model, visual, "visual")
    prefix = "text" if config.get("custom_text") else ""
    words = (
        place(text_head, model, text, prefix)
        if own_text
        else "`text.proj`, its last layer (needs transformers)"
    )
    added = [
        new != old
        for new, old in zip((config["vision_cfg"], config["text_cfg"]), before, strict=True)
    ]
    return (
        kind,
        image + ", the identity at first" * added[0],
        words + ", the identity at first" * added[1],
    )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    rows = defaultdict(list)
    for name in open_clip.list_models():
        rows[row(name)].append(name)
    print("| configurations | image tower | image projection, D × d | text projection |")
    print("|---|---|---|---|")
    for (kind, image, text), names in sorted(rows.items()):
        print(f"| {', '.join(names)} | {kind} | {image} | {text} |")
