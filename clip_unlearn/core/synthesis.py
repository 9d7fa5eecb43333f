"""Features for a text embedding, from nothing: images optimised by gradient, or a closed-form solution.

No function here takes an image of any data set. Pixel synthesis: optimise an image, from noise,
until its embedding agrees with the text embedding (arXiv 2512.14113; the recipe follows Kravets &
Namboodiri, WACV 2025).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate, normalize
from torchvision.transforms import v2
from tqdm.auto import tqdm

from ..models.clip import Clip


@dataclass(frozen=True)
class Synthesis:
    """How pixel prototypes are made."""

    steps: int = 60
    rate: float = 0.08
    coarse: int = 16  # side of the low-resolution part, in pixels
    fine: float = 0.25  # share of the full-resolution part
    variation: float = 0.02  # weight of the total-variation penalty
    bf16: bool = (
        False  # bfloat16 passes through the tower: fast on hardware that has it, slow elsewhere
    )


def batch_size(size: int) -> int:
    """Pictures of a side that go through the tower at once: as many pixels as 256 of 64 x 64, so memory is bounded."""
    return max(1, int(256 * (64 / size) ** 2))


def pixel_prototypes(
    clip: Clip,
    targets: Tensor,
    per_cell: int,
    seed: int,
    how: Synthesis = Synthesis(),
    progress: bool = True,
    watch: Callable[[int, Tensor], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Images whose embeddings agree with targets (n, d), `per_cell` seeds each.

    Returns features (n, m, D) and pixels (n, m, 3, s, s) in [0, 1], before CLIP's own
    normalisation. `watch(step, pixels)` sees each step of each batch. Ascends cos(f W, target) with
    Adam under random crops, turns and flips.
    """
    size = clip.model.visual.image_size
    size = size[0] if isinstance(size, (tuple, list)) else size
    generator = torch.Generator().manual_seed(seed)
    n = len(targets) * per_cell
    coarse = torch.randn(n, 3, how.coarse, how.coarse, generator=generator) * 0.5
    fine = torch.randn(n, 3, size, size, generator=generator) * 0.1
    goals = targets.repeat_interleave(per_cell, 0)
    batch = batch_size(size)
    features, pixels = [], []
    with (
        torch.random.fork_rng(),
        tqdm(total=-(-n // batch) * how.steps, desc="synthesis", disable=not progress) as bar,
    ):
        torch.manual_seed(seed)
        for i in range(0, n, batch):
            part = slice(i, i + batch)
            done = _ascend(clip, coarse[part], fine[part], goals[part], size, how, bar, watch)
            features.append(done[0])
            pixels.append(done[1])
    shape = (len(targets), per_cell)
    return torch.cat(features).unflatten(0, shape), torch.cat(pixels).unflatten(0, shape)


def _ascend(
    clip: Clip, coarse, fine, goals, size, how: Synthesis, bar: tqdm, watch
) -> tuple[Tensor, Tensor]:
    """One batch of pixel synthesis: features and pixels, on the CPU."""
    device = clip.device
    mean, std = (
        torch.tensor(getattr(clip.model.visual, f"image_{k}"), device=device)[:, None, None]
        for k in ("mean", "std")
    )
    coarse, fine, goals = (
        t.to(device).requires_grad_(g) for t, g in ((coarse, True), (fine, True), (goals, False))
    )
    W = clip.heads["visual"].weight.to(device)
    jitter = v2.Compose(
        [
            v2.RandomAffine(12, translate=(0.08, 0.08), scale=(0.85, 1.15), fill=0.5),
            v2.RandomHorizontalFlip(),
        ]
    )
    adam = torch.optim.Adam([coarse, fine], lr=how.rate)

    def picture() -> Tensor:
        up = interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
        return torch.sigmoid(2 * (up + how.fine * fine))

    for step in range(how.steps):
        x = picture()
        # One random view for an eighth of the batch at a time: as good as one an image, and cheap.
        views = torch.cat([jitter(part) for part in x.chunk(8)])
        with torch.autocast(device.type, torch.bfloat16, enabled=how.bf16):
            f = clip.image_features((views - mean) / std)
        cosine = (normalize(f.float() @ W, dim=-1) * goals).sum(-1)
        rough = (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3)) + (
            x[..., 1:, :] - x[..., :-1, :]
        ).abs().mean((1, 2, 3))
        adam.zero_grad()
        (-cosine + how.variation * rough).sum().backward()
        adam.step()
        if watch:
            watch(step, x.detach().cpu())
        bar.update()
    with torch.no_grad():
        x = picture()
        return clip.image_features((x - mean) / std).cpu(), x.cpu()


def data_free_images(n: int, size: int, seed: int) -> Tensor:
    """(n, 3, size, size) pictures of nothing, in [0, 1]: pink noise, dead leaves and line scribbles in equal parts."""
    rng = torch.Generator().manual_seed(seed)
    f = torch.fft.fftfreq(size)
    amplitude = 1 / (f[:, None] ** 2 + f[None, :] ** 2).sqrt().clamp(min=1 / size)
    noise = torch.fft.ifft2(
        torch.fft.fft2(torch.randn(n, 3, size, size, generator=rng)) * amplitude
    ).real
    out = torch.sigmoid(1.5 * noise / noise.std((2, 3), keepdim=True))
    for i in range(n):
        if i % 3 == 0:
            continue
        leaves = i % 3 == 1
        rand = torch.rand(80, 8, generator=rng).tolist()
        picture = Image.new(
            "RGB", (size, size), "white" if not leaves else tuple(int(255 * v) for v in rand[0][:3])
        )
        draw = ImageDraw.Draw(picture)
        for a, b, c, d, *color, r in rand[: 60 if leaves else 12]:
            fill = tuple(int(255 * v) for v in color[:3])
            if leaves:
                radius = size * min(0.04 / (0.05 + r), 0.4)
                draw.ellipse(
                    [a * size - radius, b * size - radius, a * size + radius, b * size + radius],
                    fill=fill,
                )
            else:
                gray = (int(120 * r),) * 3
                draw.arc(
                    [
                        min(a, c) * size,
                        min(b, d) * size,
                        max(a, c) * size + 1,
                        max(b, d) * size + 1,
                    ],
                    360 * r,
                    360 * r + 270,
                    fill=gray,
                    width=1 + int(2 * r),
                )
        out[i] = v2.functional.to_dtype(
            v2.functional.pil_to_tensor(picture), torch.float, scale=True
        )
    return out


def latent_prototypes(
    clip: Clip, targets: Tensor, per_cell: int, seed: int, pool: int = 384
) -> Tensor:
    """Features (n, m, D) solved in closed form, no pixels: the most ordinary f whose embedding is the target.

    f = mu + S W (W' S W + lam)^-1 (s t - mu W), with mu and S the mean and covariance of features
    of pictures of nothing and s their mean embedding norm. Each of the m prototypes takes mu and S
    from its own random half of those pictures.
    """
    size = clip.model.visual.image_size
    size = size[0] if isinstance(size, (tuple, list)) else size
    mean, std = (
        torch.tensor(getattr(clip.model.visual, f"image_{k}"))[:, None, None]
        for k in ("mean", "std")
    )
    pixels = (data_free_images(pool, size, seed) - mean) / std
    with torch.no_grad():
        features = torch.cat([clip.image_features(part).cpu() for part in pixels.split(128)])
    W, rng, out = clip.heads["visual"].weight, torch.Generator().manual_seed(seed), []
    D = len(W) - clip.heads["visual"].constant  # a bias is added after, not solved for
    features, W, bias, ones = features[:, :D], W[:D], W[D:].sum(0), features[:1, D:]
    for _ in range(per_cell):
        f = features[torch.randperm(pool, generator=rng)[: pool // 2]]
        mu, S = f.mean(0), torch.cov(f.T)
        S = S + 0.01 * S.diagonal().mean() * torch.eye(len(S))
        G = W.T @ S @ W
        lam = 0.01 * G.diagonal().mean() * torch.eye(len(G))
        s = (f @ W + bias).norm(dim=-1).mean()
        solved = mu + (s * targets - mu @ W - bias) @ torch.linalg.solve(G + lam, W.T @ S)
        out.append(torch.cat([solved, ones.expand(len(solved), -1)], 1))
    return torch.stack(out, 1)
