"""What the name of a model means, and what is wrong with it: every refusal that can come before a model is built."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from torch import nn

from ..core.cache import bundled
from ..core.errors import ModelError, first_line
from .hub import CONFIG, PREFIX, HubFile, check_transformers, hub_files, text_files

WEIGHTS = "open_clip_model.safetensors"
STATE_DICTS = (".pt", ".pth", ".bin")  # read by torch.load(weights_only=True) alone


@dataclass(frozen=True)
class Source:
    """Where a CLIP comes from: its name for people and for open_clip, and what must lie here to load it."""

    label: str
    name: str
    pretrained: str | None = None
    folder: Path | None = None
    origin: str = ""
    files: tuple[HubFile, ...] = ()
    preprocess: dict | None = None

    def edits(self) -> tuple[dict, ...]:
        """What the folder's edit.json says was forgotten before; () without one."""
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
        """What open_clip_config.json says of it."""
        if self.folder:
            return json.loads((self.folder / CONFIG).read_text())
        return {
            "model_cfg": open_clip.get_model_config(self.name),
            "preprocess_cfg": model.visual.preprocess_cfg,
        }


def find_source(name: str, pretrained: str | None) -> Source:
    """Find out what a name means (see `models.load_clip`); raises ModelError for what is wrong with it."""
    if name == "bundled":
        name = str(bundled("bundled_clip"))
    folder = Path(name.removeprefix("local-dir:"))
    if name.startswith("local-dir:") or folder.is_dir():
        label = "bundled" if folder == bundled("bundled_clip") else folder.resolve().name
        if pretrained:
            raise ModelError(
                f'--pretrained "{pretrained}" goes with an open_clip name; {label} has its own weights.'
            )
        _check_folder(folder)
        text = _text_config(folder)
        check_transformers(text, label)
        return Source(
            label,
            f"local-dir:{folder}",
            folder=folder,
            files=tuple(text_files(text, ("hf_model_name",))),
        )
    if folder.is_file():
        raise ModelError(
            f"{folder} is a file: name its architecture, and give the file as its weights (--pretrained)."
        )
    if name.startswith(PREFIX):
        if pretrained:
            raise ModelError(
                f'--pretrained "{pretrained}" goes with an open_clip name; {name} has its own weights.'
            )
        return Source(name, name, origin=name, files=tuple(hub_files(name, None)))
    label, name = name, name.replace("/", "-")  # "ViT-B/32" is open_clip's ViT-B-32
    tag = _check_name(name, pretrained)
    check_transformers(open_clip.get_model_config(name)["text_cfg"], name)
    if tag:
        return Source(
            label,
            name,
            pretrained,
            origin=f"{name}:{pretrained}",
            files=tuple(hub_files(name, pretrained)),
        )
    return Source(label, name, pretrained, preprocess=_shared_preprocessing(name))


def _check_folder(folder: Path) -> None:
    """Refuse what open_clip would meet with a warning and random weights, and every pickle."""
    if not folder.is_dir():
        raise ModelError(f"no model folder {folder}.")
    if not (folder / CONFIG).is_file():
        raise ModelError(
            f"model folder {folder} has no {CONFIG}; an open_clip folder holds {CONFIG} and {WEIGHTS}."
        )
    if any((folder / name).is_file() for name in (WEIGHTS, "open_clip_pytorch_model.safetensors")):
        return  # open_clip prefers these to anything else in the folder
    pickles = sorted(
        p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"}
    )
    if pickles:
        raise ModelError(
            f"{folder / pickles[0]} is a pickle, which can run code when it is opened, so it is not loaded; "
            f"save the weights as {WEIGHTS}."
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"model folder {folder} has no {WEIGHTS}.")


def _text_config(folder: Path) -> dict:
    """The text_cfg of a folder's configuration; one that cannot be read is an error that names the folder."""
    try:
        return json.loads((folder / CONFIG).read_text())["model_cfg"]["text_cfg"]
    except Exception as error:
        why = f"no {error} in it" if isinstance(error, KeyError) else first_line(error)
        raise ModelError(f"cannot load {folder.resolve().name}: {CONFIG}: {why}") from error


def _check_name(name: str, pretrained: str | None) -> bool:
    """Whether `pretrained` is a tag of an open_clip name, and not a file; raises ModelError if it is neither."""
    config = open_clip.get_model_config(name)
    if config is None:
        raise ModelError(
            f'"{name}" is neither a folder nor an open_clip model name (open_clip.list_models()).'
        )
    tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
    if pretrained is None:
        raise ModelError(f"{name} needs --pretrained: one of {tags}, or a .safetensors file.")
    if tag := open_clip.get_pretrained_cfg(name, pretrained):
        # The other way round there is nothing better to load: one architecture has it, and its tag
        # keeps silent.
        if tag.get("quick_gelu") and not config.get("quick_gelu"):
            raise ModelError(
                f"QuickGELU mismatch: {pretrained} was trained with that activation and {name} has another; load "
                f"{name}-quickgelu."
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
    why = "a pickle is not loaded" if file.is_file() else "no such tag or file"
    raise ModelError(f'--pretrained "{pretrained}": {why}; {name} has the tags {tags}.')


def _check_state_dict(file: Path) -> None:
    """Refuse a file that holds more than tensors: a TorchScript archive, or a pickle of objects."""
    zipped = zipfile.is_zipfile(file)
    if zipped and any("/code/" in name for name in zipfile.ZipFile(file).namelist()):
        raise ModelError(
            f"{file} is a TorchScript archive, which holds code, so it is not loaded; save its state_dict() as "
            ".safetensors, or load the same weights by their tag."
        )
    try:
        torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{file}: a pickle is not loaded, because it can run code when it is opened; only a state dict of tensors "
            f"is. Save the weights as .safetensors."
        ) from error
    except Exception as error:
        raise ModelError(f"{file} is not a state dict: {first_line(error)}") from error


def _shared_preprocessing(name: str) -> dict:
    """The preprocessing that all pretrained weights of an architecture share; nothing where they differ."""
    keys = ("mean", "std", "interpolation", "resize_mode")
    tags = open_clip.list_pretrained_tags_by_model(name)
    found = {
        tuple(open_clip.get_pretrained_cfg(name, tag).get(key) for key in keys) for tag in tags
    }
    shared = found.pop() if len(found) == 1 else ()
    return {
        f"image_{key}": value for key, value in zip(keys, shared, strict=False) if value is not None
    }
