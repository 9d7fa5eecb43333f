"""Null spaces that detect one direction and remove another, or random ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..nullspace import Factors, TowerPrototypes, orthonormal_basis


def random_subspace(W: Tensor, rank: int, seed: int = 0) -> Factors:
    """The control: project out a random subspace of the same rank, Delta = -W Q Q^T."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(W.shape[1], rank, generator=generator)
    Q = torch.linalg.qr(noise).Q
    return -W @ Q, Q.T


def cell_embeddings(W: Tensor, features: Tensor) -> Tensor:
    """(C, K, d): unit mean embedding of each cell's prototypes."""
    embeddings = normalize(features @ W, dim=-1)
    return normalize(embeddings.mean(2), dim=-1)


def oblique(
    p: TowerPrototypes,
    mask: Tensor,
    rho: float = 0.8,
    rho2: float = 0.3,
    beta: float = 1.0,
    omega: float = 0.5,
    dual: float = 0.0,
) -> Factors:
    """Detect one direction, remove another: Delta = -beta W sum amount * l r^T; rank = cells.

    For a forgotten cell, m = text + omega * mean of its prototypes. Its detector l is m without a
    share rho of the retained cells of its class and a share rho2 of those of its domain, scaled so
    that a forgotten cell meets 1 from the detectors of its class together, on average: the number
    of domains does not count. Removed is r, a direction of the class alone (`class_direction`). The
    amount is m . r, or, if `p.reached` is known, what takes the score of a synthesised picture down
    to the mean of the other classes, in the domain where that takes most: so beta = 1 means the
    same in every model. With rho = rho2 = 0, beta = 1 and r = m this is `null_space` of one cell:
    the plain projector ties what it detects to what it removes.
    """
    pictures = cell_embeddings(p.W, p.features)
    m = normalize(p.text + omega * pictures, dim=-1)  # (C, K, d)
    columns, rows = [], []
    for c in mask.any(1).nonzero().flatten().tolist():
        forgotten = m[c][mask[c]]  # (n, d)
        domains = mask[c].nonzero().flatten().tolist()
        detectors = torch.stack([_detector(m, mask, (c, k), rho, rho2) for k in domains])
        # The detectors of a class answer to each other's cells: together they should read 1.
        detectors = detectors / (forgotten @ detectors.sum(0)).mean()

        r = class_direction(p.class_text, c, dual)
        amount = forgotten @ r  # (n,)
        if p.reached is not None:
            lead = p.class_text[c] - _others(p.class_text, c).mean(0)
            largest_lead = (p.reached[c] @ lead).max()
            amount = (largest_lead / (r @ lead)).expand(len(detectors))

        columns.append(-beta * (p.W @ detectors.T) * amount)
        rows.append(r.expand(len(detectors), -1))
    return torch.cat(columns, 1), torch.cat(rows)


def class_direction(class_text: Tensor, c: int, dual: float) -> Tensor:
    """(d,) unit direction to remove for class c: its text (dual 0), its dual (dual 1), or between.

    The dual is orthogonal to every difference of two other classes: moving along it changes the
    score of class c and no other relative to the rest, so the others do not get mixed up.
    """
    text = class_text[c]
    others = _others(class_text, c)
    lead = text - others.mean(0)
    Q = orthonormal_basis(others[1:] - others[:1], rtol=1e-4)  # (d, r)
    orthogonal = lead - Q @ (Q.T @ lead)
    direction = (1 - dual) * text + dual * normalize(orthogonal, dim=-1)
    return normalize(direction, dim=-1)


def _others(class_text: Tensor, c: int) -> Tensor:
    """(C - 1, d): the texts of all classes but c."""
    return torch.cat([class_text[:c], class_text[c + 1 :]])


def _detector(m: Tensor, mask: Tensor, cell: tuple[int, int], rho: float, rho2: float) -> Tensor:
    """l (d,) of a cell: m without shares of what is retained of its class and domain; l . m = 1."""
    c, k = cell
    own = m[c, k]
    retained_of_class = m[c][~mask[c]]  # (n, d)
    retained_of_domain = m[:, k][~mask[:, k]]
    P = orthonormal_basis(retained_of_class)  # (d, r)
    Q = orthonormal_basis(retained_of_domain)

    l = own - rho * P @ (P.T @ own)  # noqa: E741
    l = l - rho2 * Q @ (Q.T @ l)  # noqa: E741
    return l / (l @ own)
