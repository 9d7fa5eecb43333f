"""Train CLIPs that nothing was chosen on: other towers, on drawn pictures or on a folder of images.

    python data/train_zoo.py resnet convnet vit16 --out ZOO                    on the drawn pictures
    python data/train_zoo.py resnet convnet --out ZOO --images PACS            on real ones

Each goes to ZOO/<tower>-<pictures>, an open_clip folder. PACS is a folder <domain>/<class>/*.jpg.
Captions, loss and schedule are those of the bundled CLIP (training.py). None of them is shipped:
they are for `tests/benchmarks/zoo.py`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from train_bundled_clip import save
from training import CELLS, TOWERS, Cells, flat, train, training_images

from clip_unlearn.images.pictures import image_files, open_picture, warn_of


def pictures_of(folder: Path) -> tuple[Tensor, Tensor, Cells]:
    """Every image of <domain>/<class>/ at 64 px (n, 3, 64, 64), its cell (n,), and the cells."""
    cells, images, cell = [], [], []
    passed_over: Counter[str] = Counter()
    for place in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        files = image_files(place, passed_over)
        cells.append((place.parent.name, place.name))
        cell += [len(cells) - 1] * len(files)
        for file in files:
            picture = open_picture(file).resize((64, 64), Image.Resampling.BICUBIC)
            images.append(np.asarray(picture).transpose(2, 0, 1))
    warn_of(passed_over, folder)
    return torch.from_numpy(np.stack(images)), torch.tensor(cell), cells


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("towers", nargs="+", choices=tuple(TOWERS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="train on these instead of drawn pictures")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--per-cell", type=int, default=256, help="drawn pictures of each cell")
    parser.add_argument("--workers", type=int, default=2, help="that draw")
    parser.add_argument("--cache", type=Path, help="keep the drawn pictures in this .npy file")
    parser.add_argument(
        "--no-bf16", action="store_true", help="for a CPU that has no bfloat16 of its own"
    )
    options = parser.parse_args()

    if options.images:
        images, cell, cells = pictures_of(options.images)
    else:
        images, cell = flat(training_images(options.per_cell, options.workers, options.cache))
        cells = CELLS
    kind = "folder" if options.images else "drawn"
    for tower in options.towers:
        model = train(
            images,
            cell,
            minutes=0,
            steps=options.steps,
            cells=cells,
            bf16=not options.no_bf16,
            tower=tower,
        )
        save(model, options.out / f"{tower}-{kind}", tower)


if __name__ == "__main__":
    main()
