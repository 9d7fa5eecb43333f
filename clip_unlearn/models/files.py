"""Results on disk, all or nothing: a folder to work in on the same disk, and a finished thing put in place."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ..core.errors import InputError


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
