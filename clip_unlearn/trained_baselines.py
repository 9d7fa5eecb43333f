"""Other ways to forget that train: steps on a loss, on the last matrix alone, so that all methods edit the same thing.

Each takes prototypes and the forget mask (C, K), and encoded images if it sees data; shapes as in `nullspace`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from . import nullspace
from .datasets import Features
from .nullspace import Factors
from .prototypes import Prototypes

LOGIT_SCALE = 30.0


def gradient_ascent(p: Prototypes, mask: Tensor, images: Features, lr: float = 0.01, steps: int = 300) -> Factors:
    """Ascend the cross-entropy of forgotten images in steps of lr |W|, until at most 1 in C is recognised: chance."""
    gone = mask[images.class_of, images.domain_of]
    f, y = images.f[gone], images.class_of[gone]
    W = p.W.clone().requires_grad_()
    for _ in range(steps):
        logits = LOGIT_SCALE * normalize(f @ W, dim=-1) @ p.class_text.T
        if logits.argmax(1).eq(y).float().mean() <= 1 / len(mask):
            break
        (gradient,) = torch.autograd.grad(cross_entropy(logits, y), W)
        W = (W.detach() + lr * p.W.norm() * gradient / gradient.norm().clamp_min(1e-12)).requires_grad_()
    return nullspace.thin(W.detach() - p.W)


def relabel(
    p: Prototypes, mask: Tensor, images: Features, weight: float = 1.0, lam: float = 1.0, steps: int = 25, seed: int = 0
) -> Factors:
    """Fine-tune W by L-BFGS: cross-entropy of retained images to their label + weight * of forgotten ones to another.

    + lam |Delta|^2 / |W|^2. One other label beats uniform or scattered ones: a linear map can learn "these answer X".
    """
    y = images.class_of
    gone = mask[y, images.domain_of]
    order = torch.randperm(len(mask), generator=torch.Generator().manual_seed(seed))
    stays = [c for c in order if not mask[c].all()]
    other = torch.where(y == stays[0], stays[-1], stays[0])  # one answer for all; its own images need another
    label = torch.where(gone, other, y)
    share = torch.where(gone, weight / gone.sum(), 1 / (~gone).sum())
    W, size = p.W.clone().requires_grad_(), p.W.square().sum()
    solver = torch.optim.LBFGS([W], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        logits = LOGIT_SCALE * normalize(images.f @ W, dim=-1) @ p.class_text.T
        total = share @ cross_entropy(logits, label, reduction="none") + lam * (W - p.W).square().sum() / size
        total.backward()
        return total

    solver.step(loss)
    return nullspace.thin(W.detach() - p.W)
