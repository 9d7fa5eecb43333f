"""Where bundled things lie (in the checkout, or inside the wheel), where computed ones are kept, where results go."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from .errors import InputError

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


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file with the usual permissions: safetensors itself keeps it from everybody but its owner."""
    path.touch()
    usual = path.stat().st_mode
    save_file(dict(tensors), path, dict(metadata) if metadata else None)
    path.chmod(usual)


def keep(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a cache entry under another name first and rename: two runs that share a cache never see half a file.

    A cache that cannot be written is a warning, not an error: the result of minutes of work is still in memory.
    """
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(partial, tensors, metadata)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        warnings.warn(f"not kept for the next run: {error} (CLIP_UNLEARN_CACHE names another folder)", stacklevel=2)


def writable_home(out: Path) -> Path:
    """The nearest existing folder of an output folder, to work in on the same disk; InputError where there is none."""
    if out.exists() and not out.is_dir():
        raise InputError(f"the output path {out} is a file; it must be a folder, or not exist yet.")
    home = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    if not home.is_dir() or not os.access(home, os.W_OK):
        raise InputError(f"cannot write to {out}: {home} is not a folder that can be written to.")
    return home


def put(new: Path, old: Path) -> None:
    """Put a finished file or folder where an older one may be; where that fails, the older one is back."""
    if old.is_dir():
        aside = Path(tempfile.mkdtemp(prefix=f".{old.name}.partial-", dir=old.parent))
        old.rename(aside / old.name)
        try:
            new.rename(old)
        except OSError:
            (aside / old.name).rename(old)
            aside.rmdir()
            raise
        shutil.rmtree(aside)
    else:
        new.replace(old)
