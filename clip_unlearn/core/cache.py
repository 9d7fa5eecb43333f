"""Where bundled things lie, and where computed ones are kept: by content, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

PACKAGE = Path(__file__).resolve().parents[1]


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
