"""Visual prototypes from text: noise, optimised until its embedding agrees with a text.

A picture depends on its text and its own seed, and on no other picture: so each one can be kept,
and more can be made later. No function here takes an image of any data set. Source: arXiv
2512.14113; the recipe follows Kravets & Namboodiri, WACV 2025.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, normalize
from tqdm.auto import tqdm

from . import ClipLike

Watch = Callable[[int, Tensor], None]
Tick = Callable[[int], None]  # is told how many picture-steps were just done

# Of the random views: degrees either way, share of the side either way, and least and most size.
TURN, SHIFT, SIZES = 12, 0.08, (0.85, 1.15)


@dataclass(frozen=True)
class Synthesis:
    """How pictures are optimised."""

    steps: int = 60
    rate: float = 0.08
    coarse: int = 16  # side of the low-resolution part, in pixels
    fine: float = 0.25  # share of the full-resolution part
    variation: float = 0.02  # weight of the total-variation penalty
    bf16: bool = False  # bfloat16 passes through the tower: fast on hardware that has it


def batch_size(clip: ClipLike) -> int:
    """How many pictures go through the tower at once: 256 of 64 x 64, fewer of larger ones."""
    pixels = clip.image_size**2
    of_gpu = 8 if clip.device.type == "cuda" else 1
    return max(1, of_gpu * 256 * 64**2 // pixels)


def pixel_prototypes(
    clip: ClipLike,
    targets: Tensor,
    per_cell: int,
    seed: int,
    how: Synthesis = Synthesis(),
    progress: bool = True,
    watch: Watch | None = None,
    W: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Pictures whose embeddings agree with unit targets (n, d), from m = `per_cell` random starts.

    Returns features (n, m, D) and pixels (n, m, 3, s, s) in [0, 1], before CLIP's normalisation.
    `watch(step, pixels)` sees each step of each batch. W (D, d) stands for the CLIP's own final
    projection if it is given.
    """
    W = clip.heads["visual"].weight if W is None else W
    total = len(targets) * per_cell
    goals = targets.repeat_interleave(per_cell, 0)  # (total, d)
    seeds = [seed * total + i for i in range(total)]

    features, pixels = [], []
    with tqdm(total=total * how.steps, desc="synthesis", disable=not progress) as bar:
        for part in torch.arange(total).split(batch_size(clip)):
            own_seeds = [seeds[i] for i in part.tolist()]
            f, x = climb(clip, W, goals[part], own_seeds, how, bar.update, watch)
            features.append(f)
            pixels.append(x)
    shape = (len(targets), per_cell)
    return torch.cat(features).unflatten(0, shape), torch.cat(pixels).unflatten(0, shape)


def climb(
    clip: ClipLike,
    W: Tensor,
    goals: Tensor,
    seeds: Sequence[int],
    how: Synthesis = Synthesis(),
    tick: Tick | None = None,
    watch: Watch | None = None,
) -> tuple[Tensor, Tensor]:
    """Features (n, D) and pixels (n, 3, s, s) of one batch: uphill on cos(f W, goal), by Adam.

    Each picture is seen under random turns, shifts, sizes and flips, from its own seed.
    """
    device = clip.device
    W, goals = W.to(device), goals.to(device)
    canvas = _Canvas(seeds, clip.image_size, how, device)
    adam = torch.optim.Adam([canvas.coarse, canvas.fine], lr=how.rate)

    for step in range(how.steps):
        pixels = canvas.pixels()
        views = _seen_from(pixels, canvas.views[:, step])
        with torch.autocast(device.type, torch.bfloat16, enabled=how.bf16):
            f = clip.image_features(clip.normalized(views))  # (n, D)
        h = normalize(f.float() @ W, dim=-1)
        cosine = (h * goals).sum(-1)  # (n,)

        loss = -cosine + how.variation * _total_variation(pixels)
        adam.zero_grad()
        loss.sum().backward()
        adam.step()

        if watch:
            watch(step, pixels.detach().cpu())
        if tick:
            tick(len(goals))

    with torch.no_grad():
        pixels = canvas.pixels()
        features = clip.image_features(clip.normalized(pixels))
    return features.cpu(), pixels.cpu()


class _Canvas:
    """A batch of pictures as what is optimised: a coarse part, upsampled, and a little detail."""

    def __init__(
        self, seeds: Sequence[int], size: int, how: Synthesis, device: torch.device
    ) -> None:
        coarse, fine, views = [], [], []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            coarse.append(0.5 * torch.randn(3, how.coarse, how.coarse, generator=generator))
            fine.append(0.1 * torch.randn(3, size, size, generator=generator))
            views.append(_random_views(how.steps, generator))
        self.coarse = torch.stack(coarse).to(device).requires_grad_(True)
        self.fine = torch.stack(fine).to(device).requires_grad_(True)
        self.views = torch.stack(views).to(device)  # (n, steps, 2, 3)
        self.share = how.fine

    def pixels(self) -> Tensor:
        """(n, 3, s, s); a sigmoid keeps them in [0, 1]."""
        size = self.fine.shape[-2:]
        upsampled = interpolate(self.coarse, size=size, mode="bicubic", align_corners=False)
        return torch.sigmoid(2 * (upsampled + self.share * self.fine))


def _random_views(steps: int, generator: torch.Generator) -> Tensor:
    """(steps, 2, 3) affine maps: a turn, a shift, a size, and a flip of every other one."""
    turn, across, down, size, flip = torch.rand(5, steps, generator=generator)
    angle = torch.deg2rad((2 * turn - 1) * TURN)
    least, most = SIZES
    scale = 1 / (least + size * (most - least))  # of where a pixel is looked up
    mirrored = torch.where(flip < 0.5, -1.0, 1.0)

    cos, sin = scale * angle.cos(), scale * angle.sin()
    to_side = 2 * SHIFT  # coordinates go from -1 to 1
    x = torch.stack([mirrored * cos, -sin, to_side * (2 * across - 1)], dim=1)
    y = torch.stack([mirrored * sin, cos, to_side * (2 * down - 1)], dim=1)
    return torch.stack([x, y], dim=1)


def _seen_from(pixels: Tensor, views: Tensor) -> Tensor:
    """The pictures (n, 3, s, s) under affine maps (n, 2, 3); grey where they show no picture."""
    places = affine_grid(views, list(pixels.shape), align_corners=False)
    return grid_sample(pixels - 0.5, places, align_corners=False) + 0.5


def _total_variation(pixels: Tensor) -> Tensor:
    """(n,) mean absolute difference of neighbouring pixels, across plus down."""
    across = (pixels[..., 1:] - pixels[..., :-1]).abs().mean((1, 2, 3))
    down = (pixels[..., 1:, :] - pixels[..., :-1, :]).abs().mean((1, 2, 3))
    return across + down
