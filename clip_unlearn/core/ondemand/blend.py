"""Pictures and features in closed form, put together into the prototypes of every cell."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .sampling import estimated


def blended(
    pictures: Tensor | None, latent: Tensor | None, text: Tensor, W: Tensor, has_bias: bool
) -> tuple[Tensor, Tensor]:
    """visual (C, K, m, D) and reached (C, K, d) from both kinds of features, or from one of them.

    Each prototype has the mean direction of a picture and of a feature in closed form, at the usual
    length of the latter. A cell with fewer than m pictures shows them again; one without any is
    estimated from the others (see `sampling.estimated`). W (D, d) is what texts see of the
    projection.
    """
    parts = [features for features in (pictures, latent) if features is not None]
    D = len(W) - has_bias
    ones = parts[-1][..., D:]  # empty unless there is a bias
    usual_length = parts[-1][..., :D].norm(dim=-1).mean()
    directions = [normalize(features[..., :D], dim=-1) for features in parts]

    if pictures is None:
        reached = normalize(latent @ W, dim=-1).mean(2)
    else:
        known = ~pictures[..., 0].isnan()  # (C, K, m)
        seen_in = known.any(2)  # (C, K)
        embeddings = normalize(pictures @ W, dim=-1)
        reached = estimated(_mean_of(embeddings, known), seen_in, text)
        direction = _mean_of(directions[0], known)
        like = torch.zeros_like(direction) if latent is None else directions[1].mean(2)
        expected = normalize(estimated(direction, seen_in, like), dim=-1)
        directions[0] = _repeated(directions[0], known, expected)

    mean_direction = torch.stack(directions).mean(0)
    visual = usual_length * normalize(mean_direction, dim=-1)
    return torch.cat([visual, ones], dim=-1), reached


def _mean_of(x: Tensor, known: Tensor) -> Tensor:
    """(C, K, n): mean of the known ones of x (C, K, m, n)."""
    total = x.masked_fill(~known[..., None], 0).sum(2)
    return total / known.sum(2).clamp_min(1)[..., None]


def _repeated(x: Tensor, known: Tensor, otherwise: Tensor) -> Tensor:
    """x (C, K, m, n), the first known ones again for the others; `otherwise` (C, K, n) if none."""
    m = x.shape[2]
    n = known.sum(2, keepdim=True)  # (C, K, 1), known ones come first
    place = torch.arange(m) % n.clamp_min(1)
    again = x.gather(2, place[..., None].expand_as(x))
    return torch.where(n[..., None] > 0, again, otherwise[:, :, None])
