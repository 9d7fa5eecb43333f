"""Classes in some domains, from a search in these domains too."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..calibrated import amounts, calibrated, centred, reached, without
from ..nullspace import Factors, TowerPrototypes
from .solvers import ridge_solution


def complete(
    p: TowerPrototypes, mask: Tensor, gain: float = 1.0, doubt: float = 0.2, **settings: float
) -> Factors:
    """`calibrated`, and a search inside the domain does not find the class either.

    `calibrated` moves all images of a domain alike, so by cosine with a prompt they keep their
    order. What tells a cell from the rest of its class and of its domain is neither a class nor a
    domain part but the interaction of both, which embeddings nearly lack and features before the
    projection have. So Delta = calibrated - gain sum_c amount_c i_c r_c^T, with i_c from
    `interaction_detectors`, and `settings` those of `calibrated`; rank = number of forgotten
    classes.
    """
    A, r = calibrated(p, mask, **settings)
    amount = amounts(p)[mask.any(1)]  # (n,)
    i = interaction_detectors(p, mask, doubt)  # (D, n)
    return A - gain * i * amount, r


def interaction_detectors(p: TowerPrototypes, mask: Tensor, doubt: float = 0.2) -> Tensor:
    """i (D, n), one for each forgotten class: reads where it goes, less class and domain parts.

    Ridge regression of the interaction part of the mask on that of the prototypes, in features of
    unit embeddings. What prototypes say of a class or a domain as a whole is taken out first, and
    so is what texts say of it, seen through W: there the reading is 0. `doubt` is the share of
    their squared length that the class and domain parts of prototypes are off by, spread over all
    D directions. So it is the ridge of a regression on inputs with errors: where the interaction
    is small beside the other parts, as in a CLIP whose features nearly are sums of both, prototypes
    cannot show it, and little is read.
    """
    C, K = mask.shape
    D = len(p.W)
    embeddings = p.features @ p.W  # (C, K, m, d)
    cells = (p.features / embeddings.norm(dim=-1, keepdim=True)).mean(2)  # (C, K, D)

    # What is additive in class and domain, in prototypes and in texts.
    by_class = centred(cells.mean(1))  # (C, D)
    by_domain = centred(cells.mean(0))  # (K, D)
    in_texts = [centred(p.text.mean(1)), centred(p.text.mean(0)), reached(p).mean((0, 1))[None]]
    additive = [cells.mean((0, 1))[None], by_class, by_domain, torch.cat(in_texts) @ p.W.T]
    rows = normalize(torch.cat(additive), dim=-1)  # (2 + 2 C + 2 K, D)

    X = without(rows, interaction(cells).flatten(0, 1))  # (C K, D)
    everywhere = torch.eye(C)[:, :, None] * mask  # (C, C, K): for each class, where it goes
    Y = torch.stack([interaction(goes[..., None]) for goes in everywhere[mask.any(1)]])
    variance = by_class.square().sum(1).mean() + by_domain.square().sum(1).mean()
    return ridge_solution(X, Y.flatten(1).T, doubt * variance / D * C * K)


def interaction(x: Tensor) -> Tensor:
    """x (C, K, n) without its mean over domains and its mean over classes."""
    return x - x.mean(0, keepdim=True) - x.mean(1, keepdim=True) + x.mean((0, 1))
