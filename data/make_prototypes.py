"""Synthesise the prototypes that ship with the bundled CLIP, a few minutes on two cores.

python data/make_prototypes.py
"""

from __future__ import annotations

import shutil

from render import HERE, write_checksums

from clip_unlearn.core.cache import cache_dir, prototype_key
from clip_unlearn.core.prototypes import synthesize_prototypes
from clip_unlearn.images.bundled import BUNDLED_SYNONYMS
from clip_unlearn.images.datasets import bundled_images, grid_of
from clip_unlearn.models.clip import load_clip


def main() -> None:
    """Synthesise into the cache, and ship the cache entry."""
    clip, grid = load_clip("bundled", device="cpu"), grid_of(bundled_images(), BUNDLED_SYNONYMS)
    shutil.rmtree(HERE / "prototypes", ignore_errors=True)
    p = synthesize_prototypes(clip, grid)
    key = prototype_key(clip, grid, p.per_cell, p.seed, p.kind)
    entry = f"{key}.safetensors"
    (HERE / "prototypes").mkdir()
    shutil.copyfile(cache_dir() / "prototypes" / entry, HERE / "prototypes" / entry)
    write_checksums()
    print(f"{entry}: {tuple(p.visual.shape)} in {p.seconds:.0f} s")


if __name__ == "__main__":
    main()
