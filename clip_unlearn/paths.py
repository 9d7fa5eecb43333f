"""Where the bundled model, images, prototypes and notebooks lie: in the checkout, or inside the installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

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
    return Path(base).expanduser()
