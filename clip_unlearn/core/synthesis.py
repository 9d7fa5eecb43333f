"""Visual prototypes from text: noise, optimised until its embedding agrees with a text.

No function here takes an image of any data set. Source: arXiv 2512.14113; the recipe follows
Kravets & Namboodiri, WACV 2025.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize
from torchvision.transforms import v2
from tqdm.auto import tqdm

from . import ClipLike

Watch = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Synthesis:
    """How pictures are optimised."""

    steps: int = 60
    rate: float = 0.08
    coarse: int = 16  # side of the low-resolution part, in pixels
    fine: float = 0.25  # share of the full-resolution part
    variation: float = 0.02  # weight of the total-variation penalty
    bf16: bool = False  # bfloat16 passes through the tower: fast on hardware that has it


def batch_size(size: int) -> int:
    """How many pictures go through the tower at once: 256 of 64 x 64, fewer of larger ones."""
    return max(1, int(256 * (64 / size) ** 2))


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
    size = clip.image_size
    total = len(targets) * per_cell
    generator = torch.Generator().manual_seed(seed)
    coarse = 0.5 * torch.randn(total, 3, how.coarse, how.coarse, generator=generator)
    fine = 0.1 * torch.randn(total, 3, size, size, generator=generator)
    goals = targets.repeat_interleave(per_cell, 0)  # (total, d)

    at_once = batch_size(size)
    batches = [slice(start, start + at_once) for start in range(0, total, at_once)]
    bar = tqdm(total=len(batches) * how.steps, desc="synthesis", disable=not progress)
    features, pixels = [], []
    with torch.random.fork_rng(), bar:
        torch.manual_seed(seed)  # the random views draw from torch's global generator
        for part in batches:
            noise = [x[part].to(clip.device) for x in (coarse, fine)]
            canvas = _Canvas(*noise, how.fine)
            _ascend(clip, W.to(clip.device), canvas, goals[part].to(clip.device), how, bar, watch)
            with torch.no_grad():
                pictures = canvas.pixels()
                features.append(clip.image_features(clip.normalized(pictures)).cpu())
                pixels.append(pictures.cpu())

    shape = (len(targets), per_cell)
    return torch.cat(features).unflatten(0, shape), torch.cat(pixels).unflatten(0, shape)


class _Canvas:
    """A batch of pictures as what is optimised: a coarse part, upsampled, and a little detail."""

    def __init__(self, coarse: Tensor, fine: Tensor, share: float) -> None:
        self.coarse = coarse.requires_grad_(True)
        self.fine = fine.requires_grad_(True)
        self.share = share

    def pixels(self) -> Tensor:
        """(n, 3, s, s); a sigmoid keeps them in [0, 1]."""
        size = self.fine.shape[-2:]
        upsampled = interpolate(self.coarse, size=size, mode="bicubic", align_corners=False)
        return torch.sigmoid(2 * (upsampled + self.share * self.fine))


def _ascend(
    clip: ClipLike,
    W: Tensor,
    canvas: _Canvas,
    goals: Tensor,
    how: Synthesis,
    bar: tqdm,
    watch: Watch | None,
) -> None:
    """Move the pictures uphill on cos(f W, goal), by Adam, under random crops, turns and flips."""
    shift = v2.RandomAffine(12, translate=(0.08, 0.08), scale=(0.85, 1.15), fill=0.5)
    jitter = v2.Compose([shift, v2.RandomHorizontalFlip()])
    adam = torch.optim.Adam([canvas.coarse, canvas.fine], lr=how.rate)

    for step in range(how.steps):
        pixels = canvas.pixels()

        # One random view for an eighth of the batch at a time: as good as one each, and cheap.
        views = torch.cat([jitter(part) for part in pixels.chunk(8)])
        with torch.autocast(clip.device.type, torch.bfloat16, enabled=how.bf16):
            f = clip.image_features(clip.normalized(views))  # (n, D)
        h = normalize(f.float() @ W, dim=-1)
        cosine = (h * goals).sum(-1)  # (n,)

        loss = -cosine + how.variation * _total_variation(pixels)
        adam.zero_grad()
        loss.sum().backward()
        adam.step()

        if watch:
            watch(step, pixels.detach().cpu())
        bar.update()


def _total_variation(pixels: Tensor) -> Tensor:
    """(n,) mean absolute difference of neighbouring pixels, across plus down."""
    across = (pixels[..., 1:] - pixels[..., :-1]).abs().mean((1, 2, 3))
    down = (pixels[..., 1:, :] - pixels[..., :-1, :]).abs().mean((1, 2, 3))
    return across + down
