"""Synthesise the pictures that ship with the bundled CLIP, a few minutes on two cores.

python data/make_prototypes.py
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from render import HERE, write_checksums

from clip_unlearn.core.prototypes import synthesize_prototypes
from clip_unlearn.images.bundled import BUNDLED_SYNONYMS
from clip_unlearn.images.datasets import bundled_images, grid_of
from clip_unlearn.models.clip import load_clip


def main() -> None:
    """Synthesise into an empty cache, and ship what is kept there."""
    shipped = HERE / "prototypes"
    shutil.rmtree(shipped, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CLIP_UNLEARN_CACHE"] = cache
        clip = load_clip("bundled", device="cpu")
        p = synthesize_prototypes(clip, grid_of(bundled_images(), BUNDLED_SYNONYMS))
        shutil.copytree(Path(cache) / "prototypes", shipped)
    write_checksums()
    print(f"{tuple(p.pictures.shape)} features of pictures in {p.seconds:.0f} s")


if __name__ == "__main__":
    main()
