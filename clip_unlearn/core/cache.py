"""Where bundled things lie, and where computed ones are kept: by content, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from . import ClipLike
from .concepts import ConceptGrid
from .synthesis import Synthesis

PACKAGE = Path(__file__).resolve().parents[1]
_RECIPE = 3  # increase it when synthesis changes: older cache entries then no longer match


def bundled(name: str) -> Path:
    """Path of a bundled thing: "bundled_clip", "four_domains", "prototypes" or "notebooks".

    A wheel carries them inside the package; a checkout has them beside it.
    """
    inside_wheel = PACKAGE / "_data"
    if inside_wheel.is_dir():
        return inside_wheel / name
    checkout = PACKAGE.parent
    return checkout / name if name == "notebooks" else checkout / "data" / name


def cache_dir() -> Path:
    """The folder of computed prototypes and features; CLIP_UNLEARN_CACHE moves it."""
    named = os.environ.get("CLIP_UNLEARN_CACHE")
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "clip_unlearn"
    return Path(named or usual).expanduser().absolute()


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file with the usual permissions; its own are for the owner alone."""
    path.touch()
    usual_permissions = path.stat().st_mode
    save_file(dict(tensors), path, dict(metadata) if metadata else None)
    path.chmod(usual_permissions)


def keep(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a cache entry under another name, then rename it, so that no run ever reads half of it.

    A cache that cannot be written is a warning, not an error: minutes of work are still in memory.
    """
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(partial, tensors, metadata)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        warnings.warn(
            f"not kept for the next run: {error} (CLIP_UNLEARN_CACHE names another folder)",
            stacklevel=2,
        )


def read_kept(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and metadata of a cache entry; None where there is none, or it must be made again."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        warnings.warn(f"{path} cannot be read and is made again: {error}", stacklevel=2)
        return None


def kept_pictures(entry: str) -> dict[str, Tensor | float] | None:
    """visual, reached, seconds and cached of an entry; None if nobody has made it yet."""
    for folder in (bundled("prototypes"), cache_dir() / "prototypes"):
        kept = read_kept(folder / entry)
        if kept is None:
            continue
        tensors, metadata = kept
        try:
            fields = {name: tensors[name].float() for name in ("visual", "reached")}
            return {**fields, "seconds": float(metadata.get("seconds", 0)), "cached": True}
        except (KeyError, ValueError) as error:
            warnings.warn(f"{folder / entry} is made again, without {error}", stacklevel=2)
    return None


def prototype_key(
    clip: ClipLike,
    grid: ConceptGrid,
    per_cell: int,
    seed: int,
    kind: str = "blend",
    how: Synthesis = Synthesis(),
) -> str:
    """A name for this very synthesis, from everything that decides its outcome."""
    of_cells = [[grid.cell_prompts(c, d) for d in grid.domains] for c in grid.classes]
    of_classes = [grid.class_prompts(c) for c in grid.classes]  # they too say what texts span
    # bf16 joined later: without it, the name is what it was before.
    steps = {name: value for name, value in asdict(how).items() if name != "bf16" or value}
    recipe = [
        _RECIPE,
        clip.fingerprint(),
        clip.normalization,
        of_cells,
        of_classes,
        per_cell,
        seed,
        kind,
        steps if kind != "latent" else None,
    ]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]
