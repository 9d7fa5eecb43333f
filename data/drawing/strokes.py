"""Brush strokes: where they go, how they bend, and the light on the dry paint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .noise import from_image, sample

Rng = np.random.Generator


@dataclass(frozen=True)
class Brush:
    """Size of the strokes in pixels, and how they vary."""

    length: float
    width: float
    jitter: float  # deviation of the colour
    body: float  # variation of the thickness of the paint, 0 to 1


def spots(weight: np.ndarray, count: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """`count` random pixels, likelier where the weight is high."""
    total = np.cumsum(weight.ravel())
    k = np.searchsorted(total, rng.random(count) * total[-1]).clip(0, weight.size - 1)
    return np.divmod(k, weight.shape[1])


def _paths(
    target: np.ndarray, flow: np.ndarray, rows: np.ndarray, cols: np.ndarray, reach: np.ndarray
) -> np.ndarray:
    """Five points a stroke, (n, 10): both ways from its spot along the flow, within its colour."""
    size, colour = len(target), target[rows, cols]
    points = [(cols + 0.0, rows + 0.0)]
    for sign in (1, -1):
        (x, y), a = (cols + 0.0, rows + 0.0), flow[rows, cols]
        step = sign * reach / 4
        for _ in range(2):
            nx, ny = x + step * np.cos(a), y + step * np.sin(a)
            r, c = ny.astype(int).clip(0, size - 1), nx.astype(int).clip(0, size - 1)
            same = np.abs(target[r, c] - colour).sum(1) < 0.3
            x, y = np.where(same, nx, x), np.where(same, ny, y)
            a = a + 0.7 * np.arctan(np.tan(flow[r, c] - a))  # a brush direction has no sign
            points = [*points, (x, y)] if sign > 0 else [(x, y), *points]
    return np.stack([np.stack(p, 1) for p in points], 1).reshape(len(rows), -1)


def lay(
    canvas: Image.Image,
    target: np.ndarray,
    flow: np.ndarray,
    at: tuple[np.ndarray, np.ndarray],
    brush: Brush,
    rng: Rng,
) -> None:
    """One layer of strokes; the alpha channel keeps how thick the paint lies."""
    rows, cols = at
    n = len(rows)
    xy = _paths(target, flow, rows, cols, brush.length * rng.uniform(0.55, 1.15, n))
    stray = rng.normal(0, brush.jitter, (n, 3)) + rng.normal(0, brush.jitter * 0.8, (n, 1))
    body = 0.5 + brush.body * rng.uniform(-0.4, 0.4, (n, 1))
    paint = np.concatenate([np.clip(target[rows, cols] + stray, 0, 1), body], 1) * 255
    widths = np.maximum(brush.width * rng.uniform(0.7, 1.25, n), 1.5).round().astype(int).tolist()
    draw = ImageDraw.Draw(canvas)
    for p, ink, w in zip(xy.tolist(), map(tuple, paint.astype(int).tolist()), widths, strict=True):
        draw.line(p, fill=ink, width=w)


def varnish(canvas: Image.Image, flow: np.ndarray, rng: Rng) -> np.ndarray:
    """Bristle marks, raking light over the paint, and the weave of the canvas."""
    a = from_image(canvas)
    size = len(a)
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    turn = np.round(flow * 3) / 3  # a few fixed directions: streaks stay straight within a stroke
    bristle = sample(
        "streak", x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) * 0.8
    )
    height = a[..., 3] + 0.1 * bristle
    relief = np.zeros_like(height)
    relief[1:, 1:] = height[1:, 1:] - height[:-1, :-1]
    weave = np.sin(x * 2.1 + 0.4 * np.sin(y)) * 0.5 + np.sin(y * 2.1) * 0.5
    thin = 1 - a[..., 3] * 0.6
    light = (
        1 + 0.14 * np.clip(relief, -1, 1) + 0.025 * bristle + rng.uniform(0.03, 0.06) * weave * thin
    )
    return np.clip(a[..., :3] * light[..., None], 0, 1)
