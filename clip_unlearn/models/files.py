"""Results on disk, all or nothing: made on the same disk, and put in place when they are whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ..core import InputError


def writable_home(out: Path) -> Path:
    """The nearest existing folder of an output folder, to work in on the same disk.

    Raises InputError if `out` is a file, or if nothing can be written there.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"the output path {out} is a file; it must be a folder, or not exist yet.")
    home = out.absolute()
    while not home.exists():
        home = home.parent
    if not home.is_dir() or not os.access(home, os.W_OK):
        raise InputError(f"cannot write to {out}: {home} is not a folder that can be written to.")
    return home


def put(new: Path, old: Path) -> None:
    """Put a finished file or folder in the place of an older one, if there is one.

    If that fails, the older one is back.
    """
    if not old.is_dir():
        new.replace(old)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{old.name}.partial-", dir=old.parent))
    old.rename(aside / old.name)
    try:
        new.rename(old)
    except OSError:
        (aside / old.name).rename(old)
        aside.rmdir()
        raise
    shutil.rmtree(aside)
