"""Every configuration of open_clip: where its projections live. `python tests/tower_table.py` prints Markdown.

Towers are built at full size on the meta device: no weights, no memory, no network.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from types import SimpleNamespace

import open_clip
import torch
from open_clip.model import _build_text_tower, _build_vision_tower

from clip_unlearn.errors import ModelError
from clip_unlearn.towers import Head, image_head, text_head


def place(tower: torch.nn.Module, head: Head, prefix: str) -> str:
    """The head's name in the state dict, its size, and whether it has a bias."""
    owner = next(path for path, module in tower.named_modules() if module is head.owner)
    D, d = head.held.shape if isinstance(head.held, torch.nn.Parameter) else reversed(head.held.weight.shape)
    path = ".".join(part for part in (prefix, owner, head.name) if part)
    return f"`{path}` {D} × {d}{' + bias' if head.constant else ''}"


def image_side(config: dict) -> tuple[str, str]:
    """The kind of image tower, and its place or why there is none."""
    tower = _build_vision_tower(config["embed_dim"], config["vision_cfg"])
    kind = type(tower).__name__ if not hasattr(tower, "trunk") else f"timm {type(tower.trunk).__name__}"
    try:
        return kind, place(tower, image_head(SimpleNamespace(visual=tower)), "visual")
    except ModelError as error:
        return kind, f"refused: {str(error).partition(' ends in ')[2] or error}"


def text_side(config: dict) -> str:
    """The place on the text side, or why there is none."""
    if "hf_model_name" in config["text_cfg"]:
        return "`text.proj`, last linear layer (with transformers)"
    tower = _build_text_tower(config["embed_dim"], config["text_cfg"])
    try:
        return place(tower, text_head(SimpleNamespace(text=tower)), "text" if "custom_text" in config else "")
    except ModelError as error:
        return f"refused: {str(error).partition(' ends in ')[2] or error}"


def rows() -> dict[tuple[str, str, str], list[str]]:
    """Configurations by kind, image side and text side."""
    found = defaultdict(list)
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        with torch.device("meta"):
            kind, image = image_side(config)
            found[kind, image, text_side(config)].append(name)
    return found


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    print("| configurations | image tower | image projection, D × d | text projection |\n|---|---|---|---|")
    for (kind, image, text), names in sorted(rows().items()):
        print(f"| {', '.join(names)} | {kind} | {image} | {text} |")
