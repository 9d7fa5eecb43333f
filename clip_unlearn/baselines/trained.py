"""Other ways to forget that train: steps on a loss.

All of them train the last matrix alone, so that every method of the comparison edits the same
thing. Each takes prototypes and the forget mask (C, K), and encoded images if it sees data. Shapes
are those of `nullspace`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ..core import ClipLike, variants
from ..core.nullspace import Factors
from ..core.prototypes import Prototypes
from ..images.datasets import Features

LOGIT_SCALE = 30.0
# Of TSA: Adam's rate, the share by which the forget loss must fall, and what its weight gains if it
# does not, so many times.
TSA_RATE = 0.01
TSA_FALL = 0.7
TSA_MORE = 0.05
TSA_TRIALS = 100


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
    """Lip (arXiv 2407.07485), a quick variant: smooth the embedding around the forgotten pictures.

    Descends the mean of |g(f) - g(f + e)| / |e|, with g(f) = f W / |f W|, over the visual
    prototypes f (n, D) and Gaussian e of mean length sigma |f|, in steps of lr |W| with momentum
    .9, until at most 1 in C is recognised.

    As published, in `whole_model`, a request takes a minute or more, and after it every image must
    be encoded anew; over every request that would be hours. So the prototypes of the package stand
    for its pictures, noise is added to features, and only this projection is trained, with settings
    of its own (`comparison.SETTINGS`). As in the authors' code g(f + e) is held fixed, and g(f) has
    to come to it. Then their second term, the same for the text of the class, moves the text tower
    alone, which is not edited here.
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
    clip: ClipLike,
    forget: float = 1.3,
    preserve: float = 0.4,
    rank: int = 5,
    steps: int = 2000,
    seed: int = 0,
) -> Factors:
    """Text-space adaptation (Kravets & Namboodiri, TMLR 2025): forgotten names come to say nothing.

        min_{A, B}  forget |p0 - E_f W'| + preserve |P - E_p W'| + |A B|,   W' = W_text + A B

    A (D_text, r), B (r, d); norms are not squared. E_f and E_p are the text features of the bare
    names that go and that stay, P = E_p W_text, and p0 is the unit embedding of the empty prompt
    (shaken if it is itself nearest to a forgotten name). By Adam at .01; if the first norm has not
    fallen by 70%, anew with `forget` .05 larger, 100 times at most.

    All numbers are the authors', those for ResNet-50 (for ViT-B/16, 1.1 to 1.3 and .25 to .3 by
    data set; of a stop they say nothing but the steps). One thing is not theirs: what stays are the
    other classes of the grid, where they ask a language model for similar ones.
    """
    gone = mask.all(1)  # (C,)
    features = clip.text_features([*p.grid.classes, ""])
    names, empty = features[:-1], features[-1:]
    E_f, E_p = names[gone], names[~gone]
    W = p.W_text
    P = E_p @ W

    generator = torch.Generator().manual_seed(seed)
    p0 = _nothing(names @ W, empty @ W, gone, generator)  # (1, d)
    before = (p0 - E_f @ W).norm()
    for trial in range(TSA_TRIALS):
        more = forget + TSA_MORE * trial

        def loss(delta: Tensor, weight: float = more) -> Tensor:
            forgotten = (p0 - E_f @ (W + delta)).norm()
            kept = (P - E_p @ (W + delta)).norm()
            return weight * forgotten + preserve * kept + delta.norm()

        A, B = _low_rank(loss, W, rank, steps, generator)
        after = (p0 - E_f @ (W + A @ B)).norm()
        if after <= (1 - TSA_FALL) * before:
            break
    return A, B


def _nothing(names: Tensor, empty: Tensor, gone: Tensor, generator: torch.Generator) -> Tensor:
    """(1, d) the unit embedding of the empty prompt, shaken until no forgotten name is nearest.

    Embeddings of names (C, d) and of the empty prompt (1, d); gone (C,) bool.
    """
    unit_names = normalize(names, dim=-1)
    p0 = normalize(empty, dim=-1)
    while gone[(p0 @ unit_names.T).argmax()]:
        noise = torch.randn(empty.shape, generator=generator)
        p0 = normalize(empty + 0.5 * noise, dim=-1)
    return p0


def _low_rank(
    loss: Callable[[Tensor], Tensor],
    W: Tensor,
    rank: int,
    steps: int,
    generator: torch.Generator,
) -> Factors:
    """Where Adam takes the factors A (D, r), B (r, d) of a change of W on a loss of A B.

    They start as in LoRA (arXiv 2106.09685): A is random, B is 0.
    """
    D, d = W.shape
    random = 2 * torch.rand(D, rank, generator=generator) - 1
    A = (random / D**0.5).requires_grad_()
    B = torch.zeros(rank, d).requires_grad_()
    adam = torch.optim.Adam([A, B], lr=TSA_RATE)
    for _ in range(steps):
        adam.zero_grad()
        loss(A @ B).backward()
        adam.step()
    return A.detach(), B.detach()


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
