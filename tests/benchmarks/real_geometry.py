"""What the edits assume of a CLIP, on a real one: `python tests/benchmarks/real_geometry.py FOLDER`

FOLDER has coco500_vit_b16.npy, (2, n, d): unit embeddings of n images and their captions by
OpenAI's ViT-B/16, and mean_image_embeddings.npz, mean image embeddings of four CLIPs. The captions
stand for the prompts of a grid: some of them span what an edit can see, and each quantity is
measured on all images. Writes real_geometry.csv to tests/benchmarks/results: means over five draws
of the captions.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from clip_unlearn.core.calibrated import centred, without
from clip_unlearn.core.nullspace import orthonormal_basis
from clip_unlearn.core.prototypes import SPAN_RTOL

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "real_clip"
PATH = Path(__file__).parent / "results" / "real_geometry.csv"
CAPTIONS = (10, 50, 200, 500)
DRAWS = 5


def embeddings(folder: Path = FOLDER) -> tuple[Tensor, Tensor]:
    """Unit embeddings (n, d) of the images, and of their captions."""
    both = torch.from_numpy(np.load(folder / "coco500_vit_b16.npy"))
    images, captions = normalize(both, dim=-1)
    return images, captions


def mean_norms(folder: Path = FOLDER) -> dict[str, float]:
    """Length of the mean of the unit image embeddings of each CLIP: what all images share."""
    means = np.load(folder / "mean_image_embeddings.npz")
    return {name: float(np.linalg.norm(means[name])) for name in means}


def pair_scale(images: Tensor, captions: Tensor) -> tuple[float, float]:
    """How long a difference of two captions is between their images, as a share: mean and sd.

    Pairs of neighbours in the list; both (m, d).
    """
    in_images = images[0::2] - images[1::2]  # (m / 2, d)
    in_captions = captions[0::2] - captions[1::2]
    along = (in_images * in_captions).sum(1)
    share = along / in_captions.square().sum(1)
    return share.mean().item(), share.std().item()


def constant_level(images: Tensor, captions: Tensor) -> dict[str, float]:
    """Readings of images (n, d) and captions (m, d) along what no difference of captions shares."""
    mean_image = images.mean(0, keepdim=True)
    constant = normalize(without(centred(captions), mean_image)[0], dim=0)
    of_images = images @ constant
    return {
        "level": of_images.mean().item(),
        "level sd": of_images.std().item(),
        "level of captions": (captions @ constant).mean().item(),
    }


def geometry(images: Tensor, captions: Tensor, chosen: Tensor) -> dict[str, float]:
    """The quantities of one draw: images (n, d) beside the captions at `chosen` (m,)."""
    texts = captions[chosen]
    U = orthonormal_basis(texts, SPAN_RTOL)  # (d, r)
    seen = images @ U  # (n, r) in coordinates of the span
    seen_texts = texts @ U
    unit = normalize(seen, dim=-1)

    scale, spread = pair_scale(images[chosen], texts)
    seen_scale, seen_spread = pair_scale(unit[chosen], seen_texts)
    seen_constant = constant_level(unit, seen_texts)
    return {
        "span": U.shape[1],
        "share": seen.square().sum(1).mean().item(),
        "scale": scale,
        "scale sd": spread,
        "seen scale": seen_scale,
        "seen scale sd": seen_spread,
        **constant_level(images, texts),
        **{f"seen {name}": value for name, value in seen_constant.items()},
    }


def table(images: Tensor, captions: Tensor) -> pd.DataFrame:
    """One row for each number of captions: means over the draws."""
    rows = []
    for count in CAPTIONS:
        draws = []
        for seed in range(DRAWS):
            generator = torch.Generator().manual_seed(seed)
            chosen = torch.randperm(len(captions), generator=generator)[:count]
            draws.append(geometry(images, captions, chosen))
        rows.append({"captions": count, **pd.DataFrame(draws).mean()})
    return pd.DataFrame(rows)


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, exists=True), default=FOLDER)
def main(folder: Path) -> None:
    """Measure, print and keep."""
    images, captions = embeddings(folder)
    frame = table(images, captions).round(3)
    frame.to_csv(PATH, index=False)
    print(frame.to_string(index=False))
    print("\nlength of the mean image embedding:")
    for name, length in mean_norms(folder).items():
        print(f"{length:.3f}  {name}")


if __name__ == "__main__":
    main()
