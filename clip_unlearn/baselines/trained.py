"""Other ways to forget that train: steps on a loss, on the last matrix alone, so that all methods edit the same thing.

Each takes prototypes and the forget mask (C, K), and encoded images if it sees data; shapes as in
`nullspace`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ..core import variants
from ..core.nullspace import Factors
from ..core.prototypes import Prototypes
from ..images.datasets import Features

LOGIT_SCALE = 30.0


def gradient_ascent(
    p: Prototypes, mask: Tensor, images: Features, lr: float = 0.01, steps: int = 300
) -> Factors:
    """Ascend the cross-entropy of forgotten images in steps of lr |W|, until at most 1 in C is recognised: chance."""
    gone = mask[images.class_of, images.domain_of]
    f, y = images.f[gone], images.class_of[gone]
    W = p.W.clone().requires_grad_()
    for _ in range(steps):
        logits = LOGIT_SCALE * normalize(f @ W, dim=-1) @ p.class_text.T
        if logits.argmax(1).eq(y).float().mean() <= 1 / len(mask):
            break
        (gradient,) = torch.autograd.grad(cross_entropy(logits, y), W)
        W = (
            W.detach() + lr * p.W.norm() * gradient / gradient.norm().clamp_min(1e-12)
        ).requires_grad_()
    return variants.thin(W.detach() - p.W)


def relabel(
    p: Prototypes,
    mask: Tensor,
    images: Features,
    weight: float = 1.0,
    lam: float = 1.0,
    steps: int = 25,
    seed: int = 0,
) -> Factors:
    """Fine-tune W by L-BFGS: cross-entropy of retained images to their label + weight * of forgotten ones to another.

    + lam |Delta|^2 / |W|^2. One other label beats uniform or scattered ones: a linear map can learn
    "these answer X".
    """
    y = images.class_of
    gone = mask[y, images.domain_of]
    order = torch.randperm(len(mask), generator=torch.Generator().manual_seed(seed))
    stays = [c for c in order if not mask[c].all()]
    other = torch.where(
        y == stays[0], stays[-1], stays[0]
    )  # one answer for all; its own images need another
    share = torch.where(gone, weight / gone.sum(), 1 / (~gone).sum())
    return _tuned(p, images.f, torch.where(gone, other, y), share, lam, steps)


def finetune(
    p: Prototypes, mask: Tensor, images: Features, lam: float = 0.0, steps: int = 25
) -> Factors:
    """The control of `relabel`: the same fine-tuning on the images that stay, and on nothing else.

    Whatever it forgets, it forgets by neglect (catastrophic forgetting, Goodfellow et al., arXiv
    1312.6211).
    """
    stays = ~mask[images.class_of, images.domain_of]
    f, y = images.f[stays], images.class_of[stays]
    return _tuned(p, f, y, torch.full((len(y),), 1 / len(y)), lam, steps)


def _tuned(
    p: Prototypes, f: Tensor, label: Tensor, share: Tensor, lam: float, steps: int
) -> Factors:
    """min_W  sum share (n,) * cross-entropy of f (n, D) to label (n,) + lam |Delta|^2 / |W|^2, by L-BFGS from p.W."""
    W, size = p.W.clone().requires_grad_(), p.W.square().sum()
    solver = torch.optim.LBFGS([W], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        logits = LOGIT_SCALE * normalize(f @ W, dim=-1) @ p.class_text.T
        total = (
            share @ cross_entropy(logits, label, reduction="none")
            + lam * (W - p.W).square().sum() / size
        )
        total.backward()
        return total

    solver.step(loss)
    return variants.thin(W.detach() - p.W)


def lip(
    p: Prototypes,
    mask: Tensor,
    sigma: float = 4.0,
    lr: float = 0.1,
    draws: int = 64,
    steps: int = 300,
    seed: int = 0,
) -> Factors:
    """Lip (arXiv 2407.07485): smooth the embedding around forgotten pictures, until at most 1 in C is recognised.

    Descends the mean of |g(f) - g(f + e)| / |e|, g(f) = f W / |f W|, over the visual prototypes f
    (n, D) and Gaussian e of mean length sigma |f|, in steps of lr |W| with momentum .9. The paper
    trains chosen layers of both encoders; here it is the projection alone, which every method of
    the table edits. A lone matrix gets smooth by sending everything to the forgotten class; so g(f
    + e) is held fixed, and g(f) has to come to it. The paper's second term, the same for the
    class's text, is left out: with the text tower fixed it would pull pictures to the very text
    they should lose.
    """
    f = variants.unit_features(p.visual, p.W)[mask].flatten(0, 1)
    own = mask.nonzero()[:, 0].repeat_interleave(p.per_cell)
    length = sigma * f.norm(dim=1).mean() / f.shape[1] ** 0.5
    generator = torch.Generator().manual_seed(seed)
    W, velocity = p.W.clone().requires_grad_(), torch.zeros_like(p.W)
    for _ in range(steps):
        g = normalize(f @ W, dim=-1)
        if (g @ p.class_text.T).argmax(1).eq(own).float().mean() <= 1 / len(mask):
            break
        noise = length * torch.randn(draws, *f.shape, generator=generator)
        near = normalize((f + noise) @ W.detach(), dim=-1)
        (gradient,) = torch.autograd.grad(((g - near).norm(dim=-1) / noise.norm(dim=-1)).mean(), W)
        velocity = 0.9 * velocity + gradient
        W = (
            W.detach() - lr * p.W.norm() * velocity / velocity.norm().clamp_min(1e-12)
        ).requires_grad_()
    return variants.thin(W.detach() - p.W)


def tsa(
    p: Prototypes,
    mask: Tensor,
    weight: float = 1.0,
    lam: float = 0.3,
    rank: int = 4,
    steps: int = 40,
    seed: int = 0,
) -> Factors:
    """Text-space adaptation (Kravets & Namboodiri, TMLR 2025): forgotten prompts move, prompts that stay do not.

    min_{A, B}  weight * mean_F |t' - away|^2 + mean_R |t' - t|^2 + lam |A B|^2 / |W_text|^2, by
    L-BFGS. t' (C, d) are the class texts after W_text + A B, A (D_text, r), B (r, d); away is from
    the class to the mean of those that stay. The mean itself is no hiding place: it is the most
    generic text, and many images are near it. The paper keeps similar classes that a language model
    names; here the other classes of the grid stand for them.
    """
    gone, t, W = mask.all(1), p.class_text, p.W_text
    goal = torch.where(gone[:, None], normalize(t[~gone].mean(0) - t, dim=-1), t)
    share = torch.where(gone, weight / gone.sum(), 1 / (~gone).sum())
    A = torch.randn(len(W), rank, generator=torch.Generator().manual_seed(seed)) / len(W) ** 0.5
    A, B = A.requires_grad_(), torch.zeros(rank, W.shape[1], requires_grad=True)
    solver = torch.optim.LBFGS([A, B], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        moved = normalize(p.class_features @ (W + A @ B), dim=-1)
        total = (
            share @ (moved - goal).square().sum(1) + lam * (A @ B).square().sum() / W.square().sum()
        )
        total.backward()
        return total

    solver.step(loss)
    return A.detach(), B.detach()
