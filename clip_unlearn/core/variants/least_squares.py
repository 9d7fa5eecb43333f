"""Edits that are fitted to prototypes: least squares in closed form, and by gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ..nullspace import Factors, TowerPrototypes, orthonormal_basis
from .solvers import minimise, ridge_solution, thin


def unit_features(features: Tensor) -> Tensor:
    """Prototype features at one common norm, their mean: no cell weighs more than another."""
    norms = features.norm(dim=-1, keepdim=True)
    return features / norms * norms.mean()


def retain_aware(
    p: TowerPrototypes,
    mask: Tensor,
    beta: float = 1.5,
    weight: float = 1.0,
    lam: float = 1.0,
) -> Factors:
    """Least squares in feature space: forgotten prototypes lose their class, retained ones do not.

    min  w sum_F |f (W + Delta) - f W (I - beta B B^T)|^2 + sum_R |f Delta|^2 + lam |Delta|^2, with
    B an orthonormal basis of the forgotten classes' text embeddings. `weight` is w as a multiple of
    |R| / |F|; `lam` is relative to the squared norm of the stacked prototypes over D.
    """
    f = unit_features(p.features)
    forget = f[mask].flatten(0, 1)  # (|F|, D)
    retain = f[~mask].flatten(0, 1)  # (|R|, D)
    B = orthonormal_basis(p.class_text[mask.any(1)])  # (d, r)

    w = weight * max(len(retain), 1) / len(forget)
    X = torch.cat([w**0.5 * forget, retain])
    target_of_forget = -beta * w**0.5 * forget @ p.W @ B  # (|F|, r)
    target_of_retain = retain.new_zeros(len(retain), B.shape[1])
    Y = torch.cat([target_of_forget, target_of_retain])

    ridge = lam * X.square().sum() / X.shape[1]
    return ridge_solution(X, Y, ridge), B.T


def refined(
    p: TowerPrototypes,
    mask: Tensor,
    start: Factors | None = None,
    scale: float = 30.0,
    drift: float = 1.0,
    lam: float = 1.0,
    steps: int = 40,
) -> Factors:
    """A few dozen L-BFGS steps on Delta, on prototypes alone.

    Forget: -log(1 - p(own class)). Retain: cross-entropy to the model's own predictions, plus drift
    times how far embeddings turn, plus lam |Delta|^2 / |W|^2. `scale` is the logit scale. Starts
    from the factors of another edit, or from zero.
    """
    W, class_text = p.W, p.class_text
    f = unit_features(p.features)
    forget = f[mask].flatten(0, 1)
    retain = f[~mask].flatten(0, 1)
    class_of_cell = torch.arange(len(mask))[:, None].expand_as(mask)
    own_class = class_of_cell[mask].repeat_interleave(f.shape[2])  # of each row of forget

    before = normalize(retain @ W, dim=-1)
    own_predictions = (scale * before @ class_text.T).softmax(-1)

    def loss(unknowns: Sequence[Tensor]) -> Tensor:
        (delta,) = unknowns
        edited = W + delta

        # -log(1 - p(own class)), without cancellation
        embeddings = normalize(forget @ edited, dim=-1)
        logits = scale * embeddings @ class_text.T
        other_logits = logits.scatter(1, own_class[:, None], float("-inf"))
        forgotten = (logits.logsumexp(1) - other_logits.logsumexp(1)).mean()

        after = normalize(retain @ edited, dim=-1)
        kept = cross_entropy(scale * after @ class_text.T, own_predictions)
        turned = (1 - (after * before).sum(-1)).mean()
        size = delta.square().sum() / W.square().sum()
        return forgotten + kept + drift * turned + lam * size

    if start is None:
        begin = torch.zeros_like(W)
    else:
        A, B = start
        begin = A @ B
    (delta,) = minimise(loss, [begin], steps)
    return thin(delta)
