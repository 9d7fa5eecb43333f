"""What an edit will cost, said before any image is seen: it is measured on simulated ones.

A simulated image has the mean embedding of its cell, halfway between prototypes and pictures as the
edit itself expects it, and a deviation as single prototypes have them from their mean, but larger:
prototypes agree with their texts far better than images do. What stays suffers on these images
about where it suffers on real ones. What goes does not: how well a cell is forgotten depends on how
far its images are from where the edit expects them, and that no prototype knows. So only the change
of what is retained is predicted (see tests/benchmarks/README.md, "Predicted without images").
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.applied import ProjectionEdit
from ..core.calibrated import mean_embeddings
from ..core.prototypes import Prototypes
from ..images.datasets import Features
from .evaluate import Task, evaluate, points

# The share of an image's squared norm that its class and domain do not explain: about what it is in
# small CLIPs trained on real images.
_NOISE = 0.25
_IMAGES = 2048  # simulated ones, about, whatever the grid
_PER_CELL = 32  # of a cell, at most
_RTOL = 1e-4  # weaker directions of the projection are outside the span of texts


def simulated(prototypes: Prototypes, task: Task, seed: int = 0) -> Task | None:
    """The task with simulated images in place of its own: no image is looked at.

    None with one prototype a cell, which has no deviation.
    """
    if prototypes.per_cell < 2:
        return None
    C, K = prototypes.grid.shape
    W = prototypes.seen_projection
    n = min(max(_IMAGES // (C * K), 1), _PER_CELL)
    generator = torch.Generator().manual_seed(seed)

    means = (mean_embeddings(W, prototypes.visual) + prototypes.reached) / 2  # (C, K, d)
    deviations = _deviations(W, prototypes.visual)
    drawn = torch.randint(len(deviations), (C, K, n), generator=generator)
    h = means[:, :, None] + _NOISE**0.5 * deviations[drawn]  # (C, K, n, d)

    # The features with these embeddings that are nearest to the mean prototype of the cell.
    mean_prototype = prototypes.visual.mean(2, keepdim=True)  # (C, K, 1, D)
    size = (mean_prototype @ W).norm(dim=-1).mean()
    missing = size * h - mean_prototype @ W
    f = mean_prototype + missing @ torch.linalg.pinv(W, rtol=_RTOL)

    cell = torch.arange(C * K).repeat_interleave(n)
    return replace(task, images=Features(f.flatten(0, 2), cell // K, cell % K, ()))


def _deviations(W: Tensor, visual: Tensor) -> Tensor:
    """(C * K * m, d): what single prototypes add to the mean of their cell, at mean square 1."""
    unit = normalize(visual @ W, dim=-1)  # (C, K, m, d)
    apart = (unit - unit.mean(2, keepdim=True)).flatten(0, 2)
    size = apart.square().sum(1).mean().sqrt()
    return apart / size.clamp_min(1e-6)


def predicted_change(
    prototypes: Prototypes, edit: ProjectionEdit, simulated_task: Task | None, strength: float = 1.0
) -> float | None:
    """The change of what is retained at a strength, in points, on images from `simulated`.

    None if there are none.
    """
    if simulated_task is None:
        return None
    frame = evaluate(prototypes, edit, simulated_task, [0.0, strength])
    retained = frame[frame["group"] == "retained"].set_index("strength")["accuracy"]
    return points(retained.loc[0.0].min(), retained.loc[strength].min())
