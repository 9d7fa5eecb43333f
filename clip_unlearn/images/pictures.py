"""Image files: which files of a folder are images, and how one is opened."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

EXTENSIONS = (
    ".jpg",
    ".jpeg",
    ".jfif",
    ".png",
    ".webp",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".avif",
    ".heic",
    ".heif",
)
# The folder that macOS puts into an archive beside what was packed.
MACOS = "__MACOSX"


def is_image(name: str) -> bool:
    """Whether a file name is that of an image, readable here or not; hidden files are not."""
    return has_image_name(name) and not is_hidden(name)


def has_image_name(name: str) -> bool:
    """Whether a file name ends as that of an image does."""
    return name.lower().endswith(EXTENSIONS)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not the user's own: .ipynb_checkpoints, ._a.jpg, __MACOSX."""
    return name.startswith(".") or name == MACOS


@cache
def _readable() -> frozenset[str]:
    """The extensions that this Pillow can open; .avif and .heic depend on how it was built."""
    Image.init()
    formats = Image.registered_extensions().items()
    return frozenset(extension for extension, name in formats if name in Image.OPEN)


def image_files(folder: Path, passed_over: Counter[str]) -> list[Path]:
    """The images in a folder and its subfolders, in the order of their names; none twice.

    Links are followed, but not back to a folder that was seen. What is left out is counted in
    `passed_over`: hidden files and folders by name, and images that Pillow cannot open by kind.
    """
    seen = set(_ancestors(folder))
    images = []
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen and root != str(folder):
            folders.clear()
            continue
        seen.add(real)

        passed_over.update(filter(is_hidden, folders))
        passed_over.update(name for name in names if has_image_name(name) and is_hidden(name))
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in filter(is_image, names):
            extension = Path(name).suffix.lower()
            if extension in _readable():
                images.append((root, name))
            else:
                passed_over[f"{extension} files, which Pillow cannot open here"] += 1
    return [Path(root) / name for root, name in sorted(images)]


def _ancestors(folder: Path) -> list[str]:
    """The folder itself and those that it lies in, without links: a link to one is a circle."""
    real = Path(os.path.realpath(folder))
    return [str(path) for path in (real, *real.parents)]


def warn_of(passed_over: Counter[str], root: Path) -> None:
    """One warning of all that was left out, if anything was."""
    if passed_over:
        what = ", ".join(f"{count} x {name}" for name, count in sorted(passed_over.items()))
        warnings.warn(f"left out in {root}: {what}", stacklevel=2)


def open_picture(path: Path) -> Image.Image:
    """The image as a viewer shows it: upright, 16 bits scaled to 8, in RGB.

    Raises what Pillow raises for a file that it cannot read.
    """
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            upright = _to_eight_bits(upright)
        return upright.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """A grey image of whole numbers, scaled from 16 bits; Pillow itself would cut them off at 255.

    Mode "I" has 32 bits, and a PNG fills 16 of them; if it fills 8, it stays as it is.
    """
    values = np.asarray(image).astype(np.float32)
    if image.mode != "I" or values.max() > 255:
        values = values / 257  # 65535 / 255
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
