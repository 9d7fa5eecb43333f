"""Other ways to forget that train: steps on a loss.

All of them train the last matrix alone, so that every method of the comparison edits the same
thing. Each takes prototypes and the forget mask (C, K), and encoded images if it sees data. Shapes
are those of `nullspace`.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    """Ascend the cross-entropy of the forgotten images, until at most 1 in C is recognised: chance.

    A step is lr |W| long.
    """
    forgotten = mask[images.class_of, images.domain_of]
    f = images.f[forgotten]
    class_of = images.class_of[forgotten]
    chance = 1 / len(mask)
    length = lr * p.W.norm()

    W = p.W
    for _ in range(steps):
        W = W.detach().requires_grad_()
        logits = _logits(f, W, p.class_text)
        if _recognised(logits, class_of) <= chance:
            break
        (gradient,) = torch.autograd.grad(cross_entropy(logits, class_of), W)
        W = W + _step(gradient, length)
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
    """Fine-tune W by L-BFGS so that the forgotten images get another label.

    The loss is the cross-entropy of the retained images to their label + weight * that of the
    forgotten ones to another + lam |Delta|^2 / |W|^2. One other label for all of them beats uniform
    or scattered ones, because a linear map can learn "these answer X".
    """
    class_of = images.class_of
    forgotten = mask[class_of, images.domain_of]

    # A random class that is not forgotten everywhere; its own images need another.
    order = torch.randperm(len(mask), generator=torch.Generator().manual_seed(seed))
    candidates = [c for c in order if not mask[c].all()]
    answer = candidates[0]
    second = candidates[-1]
    other = torch.where(class_of == answer, second, answer)  # (n,)

    label = torch.where(forgotten, other, class_of)
    share = _shares(forgotten, weight)
    return _tuned(p, images.f, label, share, lam, steps)


def finetune(
    p: Prototypes, mask: Tensor, images: Features, lam: float = 0.0, steps: int = 25
) -> Factors:
    """The control of `relabel`: fine-tuning on the retained images, and on nothing else.

    Whatever it forgets, it forgets by neglect (catastrophic forgetting, Goodfellow et al., arXiv
    1312.6211).
    """
    retained = ~mask[images.class_of, images.domain_of]
    f = images.f[retained]
    label = images.class_of[retained]
    n = len(label)
    share = torch.full((n,), 1 / n)
    return _tuned(p, f, label, share, lam, steps)


def lip(
    p: Prototypes,
    mask: Tensor,
    sigma: float = 4.0,
    lr: float = 0.1,
    draws: int = 64,
    steps: int = 300,
    seed: int = 0,
) -> Factors:
    """Lip (arXiv 2407.07485): smooth the embedding around the forgotten pictures.

    Descends the mean of |g(f) - g(f + e)| / |e|, with g(f) = f W / |f W|, over the visual
    prototypes f (n, D) and Gaussian e of mean length sigma |f|, in steps of lr |W| with momentum
    .9, until at most 1 in C is recognised.

    The paper trains chosen layers of both encoders; here it is the projection alone, which every
    method of the table edits. A lone matrix gets smooth by sending everything to the forgotten
    class; so g(f + e) is held fixed, and g(f) has to come to it. The paper's second term, the same
    for the text of the class, is left out: with the text tower fixed it would pull pictures to the
    very text they should lose.
    """
    f = variants.unit_features(p.visual)
    f = f[mask].flatten(0, 1)  # (n, D)
    class_of = mask.nonzero()[:, 0].repeat_interleave(p.per_cell)  # (n,)
    chance = 1 / len(mask)
    length = lr * p.W.norm()
    mean_norm = f.norm(dim=1).mean()
    noise_sd = sigma * mean_norm / f.shape[1] ** 0.5
    generator = torch.Generator().manual_seed(seed)

    W = p.W
    velocity = torch.zeros_like(W)
    for _ in range(steps):
        W = W.detach().requires_grad_()
        g = normalize(f @ W, dim=-1)
        if _recognised(g @ p.class_text.T, class_of) <= chance:
            break
        noise = noise_sd * torch.randn(draws, *f.shape, generator=generator)
        shaken = f + noise  # (draws, n, D)
        g_shaken = normalize(shaken @ W.detach(), dim=-1)
        moved = (g - g_shaken).norm(dim=-1)  # (draws, n)
        roughness = (moved / noise.norm(dim=-1)).mean()
        (gradient,) = torch.autograd.grad(roughness, W)
        velocity = 0.9 * velocity + gradient
        W = W - _step(velocity, length)
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
    """Text-space adaptation (Kravets & Namboodiri, TMLR 2025): the forgotten prompts move away.

        min_{A, B}  weight * mean_F |t' - away|^2 + mean_R |t' - t|^2 + lam |A B|^2 / |W_text|^2

    by L-BFGS. t' (C, d) are the class texts after W_text + A B, A (D_text, r), B (r, d). `away` is
    the direction from the class to the mean of the retained ones. The mean itself is no hiding
    place: it is the most generic text, and many images are near it. The paper keeps similar classes
    that a language model names; here the other classes of the grid stand for them.
    """
    text = p.class_text
    W = p.W_text
    size = W.square().sum()

    # Where each class text should go, and how much each one counts.
    forgotten = mask.all(1)  # (C,)
    away = normalize(text[~forgotten].mean(0) - text, dim=-1)  # (C, d)
    goal = torch.where(forgotten[:, None], away, text)
    share = _shares(forgotten, weight)

    def loss(unknowns: Sequence[Tensor]) -> Tensor:
        A, B = unknowns
        delta = A @ B
        embedding = p.class_features @ (W + delta)
        moved = normalize(embedding, dim=-1)
        distance = (moved - goal).square().sum(1)  # (C,)
        penalty = lam * delta.square().sum() / size
        return share @ distance + penalty

    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(len(W), rank, generator=generator) / len(W) ** 0.5
    B = torch.zeros(rank, W.shape[1])
    A, B = variants.minimise(loss, [A, B], steps)
    return A, B


def _tuned(
    p: Prototypes, f: Tensor, label: Tensor, share: Tensor, lam: float, steps: int
) -> Factors:
    """Fine-tune W on features f (n, D), their labels (n,), and how much each counts, share (n,).

        min_W  sum share * cross-entropy + lam |Delta|^2 / |W|^2

    by L-BFGS from p.W.
    """
    size = p.W.square().sum()

    def loss(unknowns: Sequence[Tensor]) -> Tensor:
        (W,) = unknowns
        delta = W - p.W
        logits = _logits(f, W, p.class_text)
        losses = cross_entropy(logits, label, reduction="none")
        penalty = lam * delta.square().sum() / size
        return share @ losses + penalty

    (W,) = variants.minimise(loss, [p.W], steps)
    return variants.thin(W - p.W)


def _logits(f: Tensor, W: Tensor, class_text: Tensor) -> Tensor:
    """(n, C) logits of features f (n, D)."""
    h = normalize(f @ W, dim=-1)
    return LOGIT_SCALE * h @ class_text.T


def _recognised(logits: Tensor, class_of: Tensor) -> Tensor:
    """The share of rows of logits (n, C) whose largest is that of their class (n,)."""
    return logits.argmax(1).eq(class_of).float().mean()


def _shares(forgotten: Tensor, weight: float) -> Tensor:
    """(n,) shares that make a sum the mean of the retained + weight * the mean of the forgotten."""
    of_forgotten = weight / forgotten.sum()
    of_retained = 1 / (~forgotten).sum()
    return torch.where(forgotten, of_forgotten, of_retained)


def _step(direction: Tensor, length: Tensor) -> Tensor:
    """A step of this length in a direction; none if the direction is 0."""
    return length * direction / direction.norm().clamp_min(1e-12)
