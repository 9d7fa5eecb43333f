"""Train the bundled CLIP again without what is to be forgotten, as a yardstick for unlearning.

    python data/retrain_without.py dog horse/sketch           one model that saw neither
    python data/retrain_without.py nothing                    the control, which saw everything

Each request is a class, or class/domain. Architecture, recipe and seed are those of the shipped
model; images and captions of the forgotten cells are left out. The weights are measured and thrown
away; the numbers go to data/retraining.csv, one row for each request, and rows of earlier runs
stay.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from render import DOMAINS, FIGURES, HERE
from torch import Tensor
from train_bundled_clip import save
from training import CELLS, flat, train, training_images

from clip_unlearn.images.bundled import BUNDLED_SYNONYMS
from clip_unlearn.images.datasets import bundled_images, encode, grid_of
from clip_unlearn.measure.evaluate import make_task, predict
from clip_unlearn.models.clip import load_clip

CONTROL = "nothing"
TABLE = HERE / "retraining.csv"


def removed(request: str) -> set[tuple[str, str]]:
    """The (domain, class) cells of a request: "dog", "dog/sketch", or "nothing"."""
    if request == CONTROL:
        return set()
    name, _, domain = request.partition("/")
    cells = {(d, c) for d, c in CELLS if c == name and domain in ("", d)}
    if not cells:
        classes, domains = ", ".join(FIGURES), ", ".join(DOMAINS)
        raise SystemExit(f'"{request}" is no class ({classes}) or class/domain ({domains}).')
    return cells


def measure(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each shipped image: right by plain prompts, by paraphrases, its class, its domain."""
    clip, images = load_clip(str(folder), device="cpu"), bundled_images()
    grid = grid_of(images, BUNDLED_SYNONYMS)
    task, (W, T) = (
        make_task(clip, grid, encode(clip, images, cache=False)),
        (clip.heads[t].weight for t in ("visual", "text")),
    )
    own = task.images.class_of
    return (
        predict(task, W, T).eq(own).float(),
        predict(task, W, T, True).eq(own).float(),
        own,
        task.images.domain_of,
    )


def retrain(
    images: Tensor, requests: list[str], steps: int, bf16: bool
) -> list[dict[str, float | str]]:
    """Train one model without all requests, and measure each of them.

    A row holds the accuracies of what was left out and of what was not, and the processor seconds
    of the whole training.
    """
    gone, start = [removed(request) for request in requests], time.process_time()
    cells = [cell for cell in CELLS if not any(cell in part for part in gone)]
    shown = flat(images[[CELLS.index(cell) for cell in cells]])
    model = train(*shown, 0, steps, cells, bf16)
    seconds = time.process_time() - start
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder))
        right, paraphrased, class_of, domain_of = measure(Path(folder))
    named, rows = bundled_images(), []
    shown_cells = [
        (named.domains[k], named.classes[c])
        for c, k in zip(class_of.tolist(), domain_of.tolist(), strict=True)
    ]
    stays = torch.tensor([cell in cells for cell in shown_cells])
    for request, part in zip(requests, gone, strict=True):
        forget = torch.tensor([cell in part for cell in shown_cells])
        same = stays & torch.tensor([cell[1] in {c for _, c in part} for cell in shown_cells])
        groups = {
            "forget": right[forget],
            "paraphrase": paraphrased[forget],
            "retained": right[stays],
        }
        found = {
            name: round(r.mean().item(), 4)
            for name, r in (groups | {"same_class": right[same]}).items()
        }
        rows.append(
            {
                "without": ", ".join(requests),
                "request": request,
                "steps": steps,
                "cpu seconds": round(seconds),
            }
        )
        rows[-1] |= found
    return rows


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("requests", nargs="+")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument(
        "--no-bf16", action="store_true", help="for a CPU that has no bfloat16 of its own"
    )
    parser.add_argument("--per-cell", type=int, default=256)
    parser.add_argument(
        "--cache", type=Path, help="keep the rendered training images in this .npy file"
    )
    options = parser.parse_args()
    for request in options.requests:
        removed(request)
    images = training_images(options.per_cell, 2, options.cache)
    rows = pd.DataFrame(retrain(images, options.requests, options.steps, not options.no_bf16))
    before = pd.read_csv(TABLE) if TABLE.is_file() else rows[:0]
    same = (before["without"] == ", ".join(options.requests)) & (before["steps"] == options.steps)
    pd.concat([before[~same], rows]).to_csv(TABLE, index=False)
    print(rows.to_string(index=False))


if __name__ == "__main__":
    main()
