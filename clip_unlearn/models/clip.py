"""A CLIP loaded by open_clip, with its features before the final projection; what cannot be loaded is named."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import open_clip
import torch
from torch import nn

from ..core.cache import save_tensors
from ..core.errors import ModelError, first_line
from .hub import CONFIG, prepared
from .sources import WEIGHTS, find_source
from .towers import Head, add_projections, check_head, image_head, text_head

PRECISIONS = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class Clip:
    """A loaded CLIP: the open_clip model in eval mode, its tokenizer, preprocessing, and where it came from.

    `origin` is what names the very weights: MODEL:TAG, an "hf-hub:" name, or "" for local files.
    `edits` is what the edit.json of its folder says was done to it before.
    """

    model: nn.Module
    preprocess: Callable
    tokenizer: Callable
    name: str
    config: dict
    precision: str = "fp32"
    origin: str = ""
    edits: tuple[dict, ...] = ()

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def heads(self) -> dict[str, Head]:
        """The two editable projections by tower: {"visual": Head, "text": Head}."""
        return {"visual": image_head(self.model), "text": text_head(self.model)}

    @property
    def image_size(self) -> int:
        """Side of its square images, in pixels."""
        size = self.model.visual.image_size
        return size[0] if isinstance(size, (tuple, list)) else size

    @property
    def normalization(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of each colour, which its preprocessing takes out."""
        visual = self.model.visual
        return list(visual.image_mean), list(visual.image_std)

    def normalized(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (n, 3, s, s) in [0, 1] as the image tower takes them; on the device of `pixels`."""
        mean, std = (
            torch.tensor(values, device=pixels.device)[:, None, None]
            for values in self.normalization
        )
        return (pixels - mean) / std

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """f (n, D[+1]), float32, of preprocessed pixels (n, 3, s, s), before the projection; differentiable."""
        pixels = pixels.to(self.device, open_clip.get_input_dtype(self.precision))
        with image_head(self.model).bypassed() as finish:
            return finish(
                self.model.encode_image(pixels, normalize=False)
            )  # CoCa would normalise unasked

    @torch.no_grad()
    def text_features(self, prompts: Sequence[str]) -> torch.Tensor:
        """g (n, D_text) of prompts, before the projection, on the CPU."""
        out = []
        with text_head(self.model).bypassed() as finish:
            for i in range(0, len(prompts), 512):
                tokens = self.tokenizer(list(prompts[i : i + 512])).to(self.device)
                out.append(finish(self.model.encode_text(tokens, normalize=False)))
        return torch.cat(out).cpu()

    def fingerprint(self) -> str:
        """A hash of the architecture and every weight, the same on every device: caches and saved edits go by it.

        The weights alone would not do: with another activation the same ones make another model.
        """
        architecture = json.dumps(self.config["model_cfg"], sort_keys=True, default=str)
        digest = hashlib.sha256(architecture.encode())
        for key, tensor in sorted(self.model.state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]


def load_clip(
    name: str | Path = "bundled",
    pretrained: str | None = None,
    device: str | None = None,
    precision: str = "fp32",
) -> Clip:
    """Load a CLIP: "bundled", a local open_clip folder, an "hf-hub:" name, or an open_clip name with a tag or file.

    `pretrained` is one of open_clip's tags, or a file: .safetensors, or a state dict (.pt, .pth,
    .bin). A file says nothing of its preprocessing: what all of the architecture's tags share is
    taken, else open_clip's default. `device` None or "auto" is the GPU where there is one.
    `precision` (fp32, fp16, bf16) is that of the weights; an edit is computed in float32 whatever
    it is. Raises ModelError: no config or weights, a pickle, no such name or tag, mismatched
    QuickGELU, a tower that cannot be edited, or weights that are not on this machine and cannot be
    fetched.
    """
    if precision not in PRECISIONS:
        raise ModelError(f'unknown precision "{precision}": {", ".join(PRECISIONS)}.')
    if device in (None, "auto"):
        device = "cuda" if torch.cuda.is_available() else "cpu"
    source = find_source(str(name), str(pretrained) if pretrained else None)
    with prepared(source.files, source.origin or source.label):
        try:
            # open_clip reads again without weights_only where a file makes the first reading fail
            # in a certain way.
            with mock.patch.dict(os.environ, {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}):
                model, _, preprocess = open_clip.create_model_and_transforms(
                    source.name,
                    pretrained=source.pretrained,
                    device=device,
                    precision=precision,
                    weights_only=True,
                    **(source.preprocess or {}),
                )
            tokenizer = open_clip.get_tokenizer(source.name)
            config = source.config(model)
            add_projections(model, config["model_cfg"])
        except Exception as error:
            raise ModelError(f"cannot load {source.label}: {first_line(error)}") from error
    model.eval().requires_grad_(False)
    clip = Clip(
        model, preprocess, tokenizer, source.label, config, precision, source.origin, source.edits()
    )
    _check_towers(clip)
    return clip


def _check_towers(clip: Clip) -> None:
    """An unsupported tower is an error now, not after minutes of synthesis: first its place, then its output."""
    heads = clip.heads
    size = clip.model.visual.image_size
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    pixels = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    pixels = pixels.to(clip.device, open_clip.get_input_dtype(clip.precision))
    tokens = clip.tokenizer(["a photo"]).to(clip.device)
    check_head(heads["visual"], lambda: clip.model.encode_image(pixels, normalize=False), "image")
    check_head(heads["text"], lambda: clip.model.encode_text(tokens, normalize=False), "text")


def save_model(clip: Clip, folder: Path) -> None:
    """Write an open_clip folder: `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads it."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in clip.model.state_dict().items()}
    save_tensors(folder / WEIGHTS, tensors)
    inner = getattr(clip.tokenizer, "tokenizer", None)
    if hasattr(
        inner, "save_pretrained"
    ):  # a Hugging Face tokenizer, which open_clip looks for in the folder
        inner.save_pretrained(folder)
    (folder / CONFIG).write_text(json.dumps(clip.config, indent=2, default=str) + "\n")
