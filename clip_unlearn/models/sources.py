"""What the name of a model means, and what is wrong with it.

Every refusal that can come before a model is built is here.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import open_clip
import torch
from torch import nn

from ..core import ModelError, first_line
from ..core.cache import bundled
from .hub import CONFIG, PREFIX, HubFile, check_transformers, hub_files, text_files

WEIGHTS = "open_clip_model.safetensors"
STATE_DICTS = (".pt", ".pth", ".bin")  # read by torch.load(weights_only=True) alone
_PICKLES = (*STATE_DICTS, ".pkl", ".ckpt")


@dataclass(frozen=True)
class Source:
    """Where a CLIP comes from, and what must be on this machine to load it."""

    label: str
    """Its name for people."""

    name: str
    """Its name for open_clip."""

    pretrained: str | None = None
    """One of open_clip's tags, or a file of weights."""

    folder: Path | None = None
    """The open_clip folder that it is."""

    origin: str = ""
    """What names these very weights (see `Clip.origin`)."""

    files: tuple[HubFile, ...] = ()
    """What open_clip takes from the hub."""

    preprocess: dict = field(default_factory=dict)
    """Settings of the preprocessing that differ from open_clip's own."""

    @property
    def described(self) -> str:
        """Its name for people, and the file that its weights come from if it is known."""
        weights = self.folder / WEIGHTS if self.folder else Path(self.pretrained or "")
        return f"{self.label} ({weights})" if weights.is_file() else self.label

    def edits(self) -> tuple[dict, ...]:
        """What the folder's edit.json says was forgotten before; () if it has none."""
        file = self.folder / "edit.json" if self.folder else None
        if file is None or not file.is_file():
            return ()
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            return tuple(facts.get("edits", [facts]))
        except (ValueError, AttributeError, TypeError) as error:
            raise ModelError(
                f"{file} does not say what was forgotten: {first_line(error)}"
            ) from error

    def config(self, model: nn.Module) -> dict:
        """What an open_clip_config.json says of the loaded model."""
        if self.folder:
            return json.loads((self.folder / CONFIG).read_text())
        return {
            "model_cfg": open_clip.get_model_config(self.name),
            "preprocess_cfg": model.visual.preprocess_cfg,
        }


def find_source(name: str, pretrained: str | None) -> Source:
    """What a name means (see `clip.load_clip`); raises ModelError for what is wrong with it."""
    if name == "bundled":
        name = str(bundled("bundled_clip"))
    path = Path(name.removeprefix("local-dir:"))
    if name.startswith("local-dir:") or path.is_dir():
        return _folder(path, pretrained)
    if path.is_file():
        raise ModelError(
            f"{path} is a file: name its architecture, "
            "and give the file as its weights (--pretrained)."
        )
    if name.startswith(PREFIX):
        _check_no_weights(name, pretrained)
        return Source(name, name, origin=name, files=tuple(hub_files(name, None)))
    return _architecture(name, pretrained)


def _folder(folder: Path, pretrained: str | None) -> Source:
    """An open_clip folder."""
    label = "bundled" if folder == bundled("bundled_clip") else folder.resolve().name
    _check_no_weights(label, pretrained)
    _check_folder(folder)
    text_config = _text_config(folder)
    check_transformers(text_config, label)
    files = text_files(text_config, ("hf_model_name",))
    return Source(label, f"local-dir:{folder}", folder=folder, files=tuple(files))


def _architecture(label: str, pretrained: str | None) -> Source:
    """One of open_clip's own names, with one of its tags or a file of weights."""
    name = label.replace("/", "-")  # "ViT-B/32" is open_clip's ViT-B-32
    is_tag = _check_name(name, pretrained)
    check_transformers(open_clip.get_model_config(name)["text_cfg"], name)
    if not is_tag:
        return Source(label, name, pretrained, preprocess=_shared_preprocessing(name))
    files = hub_files(name, pretrained)
    return Source(label, name, pretrained, origin=f"{name}:{pretrained}", files=tuple(files))


def _check_no_weights(label: str, pretrained: str | None) -> None:
    if pretrained:
        raise ModelError(
            f'--pretrained "{pretrained}" goes with an open_clip name; {label} has its own weights.'
        )


def _check_folder(folder: Path) -> None:
    """Refuse what open_clip would meet with a warning and random weights, and every pickle."""
    if not folder.is_dir():
        raise ModelError(f"no model folder {folder}.")
    if not (folder / CONFIG).is_file():
        raise ModelError(
            f"model folder {folder} has no {CONFIG}; "
            f"an open_clip folder holds {CONFIG} and {WEIGHTS}."
        )

    # open_clip prefers these to anything else in the folder.
    preferred = (WEIGHTS, "open_clip_pytorch_model.safetensors")
    if any((folder / name).is_file() for name in preferred):
        return

    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise ModelError(
            f"{folder / pickles[0]} is a pickle, which can run code when it is opened, so it is "
            f"not loaded; save the weights as {WEIGHTS}."
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"model folder {folder} has no {WEIGHTS}.")


def _text_config(folder: Path) -> dict:
    """The text_cfg of a folder's configuration; ModelError if that cannot be read."""
    try:
        config = json.loads((folder / CONFIG).read_text())
        return config["model_cfg"]["text_cfg"]
    except Exception as error:
        why = f"no {error} in it" if isinstance(error, KeyError) else first_line(error)
        raise ModelError(f"cannot load {folder.resolve().name}: {CONFIG}: {why}") from error


def _check_name(name: str, pretrained: str | None) -> bool:
    """Whether `pretrained` is a tag of an open_clip name, and not a file.

    Raises ModelError if it is neither, or if the name is none.
    """
    config = open_clip.get_model_config(name)
    if config is None:
        raise ModelError(
            f'"{name}" is neither a folder nor an open_clip model name (open_clip.list_models()).'
        )
    tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
    if pretrained is None:
        raise ModelError(f"{name} needs --pretrained: one of {tags}, or a .safetensors file.")

    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if tag:
        # The other way round there is nothing better to load: one architecture has QuickGELU, and
        # its tag does not say so.
        if tag.get("quick_gelu") and not config.get("quick_gelu"):
            raise ModelError(
                f"QuickGELU mismatch: {pretrained} was trained with that activation and {name} has "
                f"another; load {name}-quickgelu."
            )
        return True

    file = Path(pretrained)
    if file.suffix == ".safetensors":
        if not file.is_file():
            raise ModelError(f"cannot load {name}: no weights file {file}.")
        return False
    if file.suffix in STATE_DICTS and file.is_file():
        _check_state_dict(file)
        return False
    raise ModelError(f'--pretrained "{pretrained}": {_why_not(file)}; {name} has the tags {tags}.')


def _why_not(weights: Path) -> str:
    """Why something that is neither a tag nor a file of weights is neither."""
    if weights.is_file():
        return "a pickle is not loaded"
    if (weights / CONFIG).is_file():
        return f"it is an open_clip folder, which is loaded by --model {weights}"
    if weights.is_dir():
        inside = sorted(path.name for path in weights.iterdir())[:3]
        content = ", ".join(inside) or "nothing in it"
        return f"it is a folder (with {content}), not a file of weights"
    if weights.suffix in (*STATE_DICTS, ".safetensors") or len(weights.parts) > 1:
        return "there is no such file"
    return "no such tag or file"


def _check_state_dict(file: Path) -> None:
    """Refuse a file that holds more than tensors: a TorchScript archive, or a pickle of objects."""
    zipped = zipfile.is_zipfile(file)
    if zipped and any("/code/" in name for name in zipfile.ZipFile(file).namelist()):
        raise ModelError(
            f"{file} is a TorchScript archive, which holds code, so it is not loaded; save its "
            "state_dict() as .safetensors, or load the same weights by their tag."
        )
    try:
        torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{file}: a pickle is not loaded, because it can run code when it is opened; only a "
            "state dict of tensors is. Save the weights as .safetensors."
        ) from error
    except Exception as error:
        raise ModelError(f"{file} is not a state dict: {first_line(error)}") from error


def _shared_preprocessing(name: str) -> dict:
    """The preprocessing that all tags of an architecture share; {} if they differ."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    settings = [_preprocessing(name, tag) for tag in tags]
    if not settings or any(other != settings[0] for other in settings):
        return {}
    return settings[0]


def _preprocessing(name: str, tag: str) -> dict:
    """What a tag says of its preprocessing, as arguments of `create_model_and_transforms`."""
    config = open_clip.get_pretrained_cfg(name, tag)
    keys = ("mean", "std", "interpolation", "resize_mode")
    return {f"image_{key}": config[key] for key in keys if config.get(key) is not None}
