"""Prototypes in closed form, from the statistics of pictures of nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms import v2

from .. import ClipLike
from ..synthesis import batch_size

POOL = 384  # pictures of nothing


def latent_prototypes(
    clip: ClipLike,
    targets: Tensor,
    per_cell: int,
    seed: int,
    pool: int = POOL,
    W: Tensor | None = None,
    features: Tensor | None = None,
) -> Tensor:
    """Features (n, m, D) solved in closed form: the most ordinary f whose embedding is the target.

    f = mu + S W (W^T S W)^-1 (s t - mu W), with mu and S the mean and covariance (plus a ridge) of
    features of `pool` pictures of nothing, and s the mean norm of their embeddings: of all f with
    that embedding it is the likeliest under a Gaussian. Each of the m prototypes takes mu and S
    from its own random half of those pictures. A bias is taken off first. W (D, d) stands for the
    CLIP's own final projection if it is given, and `features` (pool, D) for those of the pictures.
    """
    if features is None:
        features = features_of_nothing(clip, pool, seed, list(range(pool)))

    # A bias is a row of W that meets a feature of 1: it is added afterwards, not solved for.
    head = clip.heads["visual"]
    W = head.weight if W is None else W
    D = len(W) - head.has_bias
    bias = W[D:].sum(0)
    ones = features[:1, D:].expand(len(targets), -1)

    generator = torch.Generator().manual_seed(seed)
    prototypes = []
    for _ in range(per_cell):
        half = torch.randperm(len(features), generator=generator)[: len(features) // 2]
        f = _most_ordinary(features[half, :D], W[:D], bias, targets)
        prototypes.append(torch.cat([f, ones], 1))
    return torch.stack(prototypes, 1)


@torch.no_grad()
def features_of_nothing(clip: ClipLike, pool: int, seed: int, which: list[int]) -> Tensor:
    """(n, D) features of n of the `pool` pictures of nothing."""
    pictures = data_free_images(pool, clip.image_size, seed)[which]
    parts = pictures.split(batch_size(clip))
    return torch.cat([clip.image_features(clip.normalized(part)).cpu() for part in parts])


def _most_ordinary(features: Tensor, W: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """(n, D) the formula of `latent_prototypes`, with mean and covariance of features (p, D)."""
    mu = features.mean(0)
    S = torch.cov(features.T)
    S = S + _share_of_identity(S, 0.01)

    G = W.T @ S @ W  # (d, d) covariance of the embeddings
    G = G + _share_of_identity(G, 0.01)

    s = (features @ W + bias).norm(dim=-1).mean()
    missing = s * targets - mu @ W - bias  # (n, d)
    return mu + missing @ torch.linalg.solve(G, W.T @ S)


def _share_of_identity(S: Tensor, share: float) -> Tensor:
    """A multiple of I, relative to the mean variance of S."""
    return share * S.diagonal().mean() * torch.eye(len(S))


def data_free_images(n: int, size: int, seed: int) -> Tensor:
    """(n, 3, size, size) pictures of nothing in [0, 1]: pink noise, dead leaves, scribbles."""
    generator = torch.Generator().manual_seed(seed)
    pictures = _pink_noise(n, size, generator)
    for i in range(n):
        kind = i % 3
        if kind == 0:
            continue  # stays noise
        shapes = torch.rand(80, 8, generator=generator).tolist()
        drawn = _dead_leaves(shapes, size) if kind == 1 else _scribble(shapes, size)
        pixels = v2.functional.pil_to_tensor(drawn)
        pictures[i] = v2.functional.to_dtype(pixels, torch.float, scale=True)
    return pictures


def _pink_noise(n: int, size: int, generator: torch.Generator) -> Tensor:
    """(n, 3, size, size) noise with amplitude 1 / frequency, as in natural images."""
    f = torch.fft.fftfreq(size)
    frequency = (f[:, None] ** 2 + f[None, :] ** 2).sqrt()
    amplitude = 1 / frequency.clamp(min=1 / size)

    white = torch.randn(n, 3, size, size, generator=generator)
    spectrum = torch.fft.fft2(white)
    pink = torch.fft.ifft2(spectrum * amplitude).real
    deviation = pink.std((2, 3), keepdim=True)
    return torch.sigmoid(1.5 * pink / deviation)


def _dead_leaves(shapes: Sequence[Sequence[float]], size: int) -> Image.Image:
    """Discs of random colour that lie over each other, a usual model of natural images."""
    background = _colour(shapes[0][:3])
    picture = Image.new("RGB", (size, size), background)
    draw = ImageDraw.Draw(picture)
    for x, y, _, _, *rgb, r in shapes[:60]:
        left, top = x * size, y * size
        radius = size * min(0.04 / (0.05 + r), 0.4)
        box = [left - radius, top - radius, left + radius, top + radius]
        draw.ellipse(box, fill=_colour(rgb))
    return picture


def _scribble(shapes: Sequence[Sequence[float]], size: int) -> Image.Image:
    """Dark arcs on white."""
    picture = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(picture)
    for a, b, c, d, *_, r in shapes[:12]:
        left, right = sorted([a, c])
        top, bottom = sorted([b, d])
        box = [left * size, top * size, right * size + 1, bottom * size + 1]
        start = 360 * r
        gray = int(120 * r)
        width = 1 + int(2 * r)
        draw.arc(box, start, start + 270, fill=(gray, gray, gray), width=width)
    return picture


def _colour(rgb: Sequence[float]) -> tuple[int, ...]:
    return tuple(int(255 * value) for value in rgb)
