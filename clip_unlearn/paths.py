"""Where bundled things lie (in the checkout, or inside the installed wheel), and where computed ones are kept."""

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

_PACKAGE = Path(__file__).resolve().parent


def bundled(name: str) -> Path:
    """Path of a bundled thing: "bundled_clip", "four_domains", "prototypes" or "notebooks"."""
    if (_PACKAGE / "_data").is_dir():
        return _PACKAGE / "_data" / name
    root = _PACKAGE.parent
    return root / name if name == "notebooks" else root / "data" / name


def cache_dir() -> Path:
    """Where computed prototypes and features are kept; CLIP_UNLEARN_CACHE moves it."""
    base = os.environ.get("CLIP_UNLEARN_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "clip_unlearn"
    return Path(base).expanduser().absolute()


def keep(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a cache entry under another name first and rename: two runs that share a cache never see half a file.

    A cache that cannot be written is a warning, not an error: the result of minutes of work is still in memory.
    """
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(tensors), partial, metadata=dict(metadata))
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        warnings.warn(f"not kept for the next run: {error} (CLIP_UNLEARN_CACHE names another folder)", stacklevel=2)
