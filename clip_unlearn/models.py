"""A CLIP seen through one small adapter: features before the final projection, and that projection."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from torch import nn

from .errors import InputError, first_line
from .paths import bundled

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


class ModelError(InputError):
    """A model that cannot be loaded or edited; the message says which file or tower, and what would be right."""


@dataclass(frozen=True)
class Head:
    """The last linear map of a tower, wherever open_clip keeps it: a (D, d) parameter or an nn.Linear.

    A bias counts as one more row of W, met by a feature that is always 1, so that h = f W holds for every tower.
    """

    owner: nn.Module
    name: str

    @property
    def _held(self) -> nn.Parameter | nn.Linear:
        return getattr(self.owner, self.name)

    @property
    def weight(self) -> torch.Tensor:
        """W (D, d), float32, a copy; with a bias (D + 1, d)."""
        held = self._held
        if isinstance(held, nn.Linear):
            rows = [held.weight.T] + ([held.bias[None]] if held.bias is not None else [])
            return torch.cat(rows).detach().float().clone()
        return held.detach().float().clone()

    @torch.no_grad()
    def write(self, weight: torch.Tensor) -> None:
        """Put W (D[+1], d) in place, in the model's own precision."""
        held = self._held
        if isinstance(held, nn.Linear):
            held.weight.copy_(weight[: held.in_features].T)
            if held.bias is not None:
                held.bias.copy_(weight[held.in_features])
        else:
            held.copy_(weight)

    @property
    def constant(self) -> bool:
        """Whether the last feature is the constant 1 that meets a bias."""
        held = self._held
        return isinstance(held, nn.Linear) and held.bias is not None

    def tensors(self) -> list[torch.Tensor]:
        """The model's own tensors behind W, for a snapshot that restores bit for bit."""
        held = self._held
        return [held] if isinstance(held, nn.Parameter) else [p for p in (held.weight, held.bias) if p is not None]

    @contextlib.contextmanager
    def bypassed(self) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
        """The tower without its head: inside, its output is f; yields what adds the constant 1 of a bias."""
        held = self._held
        identity, finish = None, lambda f: f.float()
        if isinstance(held, nn.Linear):
            identity = nn.Linear(held.in_features, held.in_features, bias=held.bias is not None)
            nn.init.eye_(identity.weight).requires_grad_(False)
            if held.bias is not None:
                nn.init.zeros_(identity.bias).requires_grad_(False)
                finish = lambda f: torch.cat([f.float(), f.new_ones(len(f), 1, dtype=torch.float)], 1)  # noqa: E731
            identity.to(held.weight)
        setattr(self.owner, self.name, identity)
        try:
            yield finish
        finally:
            setattr(self.owner, self.name, held)


def image_head(model: nn.Module) -> Head:
    """The image tower's final projection; raises ModelError for a tower that has none we know."""
    visual = model.visual
    for owner, name in (
        (visual, "proj"),  # ViT
        (getattr(visual, "attnpool", None), "c_proj"),  # ModifiedResNet
        (getattr(visual, "head", None), "proj"),  # timm towers, linear
        (getattr(getattr(visual, "head", None), "mlp", None), "fc2"),  # timm towers, MLP
    ):
        if isinstance(getattr(owner, name, None), (nn.Parameter, nn.Linear)):
            return Head(owner, name)
    raise ModelError(f"image tower {type(visual).__name__} has no linear final projection that we know.")


def text_head(model: nn.Module) -> Head:
    """The text tower's final projection."""
    owner = model if isinstance(model, open_clip.CLIP) else getattr(model, "text", model)
    for name in ("text_projection", "proj"):
        if isinstance(getattr(owner, name, None), (nn.Parameter, nn.Linear)):
            return Head(owner, name)
    raise ModelError(f"text tower {type(owner).__name__} has no linear final projection that we know.")


@dataclass(frozen=True)
class Clip:
    """A loaded CLIP: the open_clip model in eval mode, its tokenizer, preprocessing, and where it came from."""

    model: nn.Module
    preprocess: Callable
    tokenizer: Callable
    name: str
    config: dict

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def heads(self) -> dict[str, Head]:
        """The two editable projections by tower: {"visual": Head, "text": Head}."""
        return {"visual": image_head(self.model), "text": text_head(self.model)}

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """f (n, D[+1]) of preprocessed pixels (n, 3, s, s), before the projection; differentiable."""
        with image_head(self.model).bypassed() as finish:
            return finish(self.model.encode_image(pixels.to(self.device)))

    @torch.no_grad()
    def text_features(self, prompts: Sequence[str]) -> torch.Tensor:
        """g (n, D_text) of prompts, before the projection, on the CPU."""
        out = []
        with text_head(self.model).bypassed() as finish:
            for i in range(0, len(prompts), 512):
                out.append(finish(self.model.encode_text(self.tokenizer(list(prompts[i : i + 512])).to(self.device))))
        return torch.cat(out).cpu()

    def fingerprint(self) -> str:
        """A hash of every weight: caches of features and prototypes are keyed by it."""
        digest = hashlib.sha256()
        for key, tensor in sorted(self.model.state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]


def load_clip(name: str | Path = "bundled", pretrained: str | None = None, device: str | None = None) -> Clip:
    """Load a CLIP: "bundled", a local open_clip folder, an "hf-hub:" name, or an open_clip name with its tag.

    Raises ModelError: no config or weights, a pickle checkpoint, no such name or tag, mismatched QuickGELU.
    """
    name = str(bundled("bundled_clip")) if str(name) == "bundled" else str(name)
    label = "bundled" if name == str(bundled("bundled_clip")) else name
    folder = Path(name.removeprefix("local-dir:"))
    local = name.startswith("local-dir:") or folder.is_dir()
    if local and pretrained:
        raise ModelError(f'--pretrained "{pretrained}" goes with an open_clip name; {label} has its own weights.')
    if local:
        _check_folder(folder)
        name = f"local-dir:{folder}"
    elif not name.startswith("hf-hub:"):
        name = name.replace("/", "-")  # "ViT-B/32" is open_clip's ViT-B-32
        _check_name(name, pretrained)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="QuickGELU mismatch")
            model, _, preprocess = open_clip.create_model_and_transforms(
                name, pretrained=pretrained, device=device, weights_only=True
            )
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:
        raise ModelError(f"cannot load {label}: {first_line(error)}") from error
    model.eval().requires_grad_(False)
    if local:
        config = json.loads((folder / CONFIG).read_text())
    else:
        config = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": model.visual.preprocess_cfg}
    clip = Clip(model, preprocess, tokenizer, folder.resolve().name if local and label != "bundled" else label, config)
    _ = clip.heads  # an unsupported tower is an error now, not after minutes of synthesis
    return clip


def _check_folder(folder: Path) -> None:
    """Refuse what open_clip would meet with a warning and random weights, and every pickle."""
    if not folder.is_dir():
        raise ModelError(f"no model folder {folder}.")
    if not (folder / CONFIG).is_file():
        raise ModelError(f"model folder {folder} has no {CONFIG}; an open_clip folder holds {CONFIG} and {WEIGHTS}.")
    if any((folder / name).is_file() for name in (WEIGHTS, "open_clip_pytorch_model.safetensors")):
        return  # open_clip prefers these to anything else in the folder
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"})
    if pickles:
        raise ModelError(
            f"{folder / pickles[0]} is a pickle, which can run code when it is opened, so it is not loaded; "
            f"save the weights as {WEIGHTS}."
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"model folder {folder} has no {WEIGHTS}.")


def _check_name(name: str, pretrained: str | None) -> None:
    """A name that open_clip knows, with a tag it knows or a safetensors file."""
    if open_clip.get_model_config(name) is None:
        raise ModelError(f'"{name}" is neither a folder nor an open_clip model name (open_clip.list_models()).')
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained is None:
        raise ModelError(f"{name} needs --pretrained: one of {', '.join(tags)}, or a .safetensors file.")
    if pretrained not in tags and Path(pretrained).suffix != ".safetensors":
        why = "a pickle is not loaded" if Path(pretrained).is_file() else "no such tag or file"
        raise ModelError(f'--pretrained "{pretrained}": {why}; {name} has the tags {", ".join(tags)}.')


def save_model(clip: Clip, folder: Path) -> None:
    """Write an open_clip folder: `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads it."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in clip.model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    inner = getattr(clip.tokenizer, "tokenizer", None)
    if hasattr(inner, "save_pretrained"):  # a Hugging Face tokenizer, which open_clip looks for in the folder
        inner.save_pretrained(folder)
    (folder / CONFIG).write_text(json.dumps(clip.config, indent=2, default=str) + "\n")
