"""The buffers of a figure that every style paints from: albedo, normals, part, edge distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import Figure, Shape

REACH = 0.12  # figure units around a part in which its outline and its contact shade are still felt


@dataclass(frozen=True)
class Buffers:
    """What one look at a figure gives; all arrays are (size, size[, ...]), row 0 on top."""

    albedo: np.ndarray  # (s, s, 3) colour of the frontmost part, 0 outside the figure
    cover: np.ndarray  # (s, s) in [0, 1], antialiased mask of the whole figure
    normal: np.ndarray  # (s, s, 3) unit surface normal, x right, y up, z to the viewer
    part: np.ndarray  # (s, s) int, index of the frontmost part, -1 outside
    edge: np.ndarray  # (s, s) distance to the nearest *visible, lined* outline, figure units, >= 0
    gloss: np.ndarray  # (s, s)
    occlusion: (
        np.ndarray
    )  # (s, s) in [0, 1], how much a part in front keeps the light off this place
    thick: (
        np.ndarray
    )  # (s, s) half-thickness of the part that owns this nearest outline: spokes need thin ink
    figure: Figure


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres in figure coordinates: x right, y up, both in (-1, 1)."""
    t = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    return tuple(np.meshgrid(t, -t))


def _window(shape: Shape, x: np.ndarray, y: np.ndarray, pixel: float) -> tuple[slice, slice] | None:
    """The part of the grid that a shape touches, by every n-th pixel: most parts are small."""
    size = len(x)
    step = max(size // 24, 1)
    near = shape(x[::step, ::step], y[::step, ::step]) < REACH + 1.5 * step * pixel
    rows, cols = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    if not len(rows):
        return None
    return tuple(
        slice(max((k[0] - 1) * step, 0), min((k[-1] + 1) * step + 1, size)) for k in (rows, cols)
    )


def _slope(d: np.ndarray, bulge: float, pixel: float) -> np.ndarray:
    """Downhill direction of a surface that is steep at the outline and level `bulge` inside it."""
    t = np.clip(1 + np.minimum(d, 0) / max(bulge, 1e-3), 0, 0.97)
    gy, gx = np.gradient(d, pixel)
    steep = t / np.sqrt(1 - t * t) * (bulge > 0)
    return np.stack([gx * steep, -gy * steep], -1)


def rasterize(
    figure: Figure, size: int, xy: tuple[np.ndarray, np.ndarray] | None = None
) -> Buffers:
    """Look at the figure; `xy` may be a warped grid (shaky hands, lens), as from `grid`."""
    x, y = (a.astype(np.float32, copy=False) for a in (grid(size) if xy is None else xy))
    pixel = 2.0 / size
    plane = (size, size)
    albedo, slope = np.zeros((*plane, 3), np.float32), np.zeros((*plane, 2), np.float32)
    cover, gloss, shut, thick = (np.zeros(plane, np.float32) for _ in range(4))
    part, edge = np.full(plane, -1), np.full(plane, 9.0, np.float32)
    for i, p in enumerate(figure.parts):
        w = _window(p.shape, x, y, pixel)
        if w is None:
            continue
        d = p.shape(x[w], y[w]).astype(np.float32, copy=False)
        m = np.clip(0.5 - d / pixel, 0, 1)
        if p.line:
            depth = max(float(-d.min()), 0.25 * pixel)
            ours = d < edge[w]  # true everywhere inside: what lay below is hidden
            edge[w] = np.where(ours, np.abs(d), edge[w])
            thick[w] = np.where(ours, depth, thick[w])
            reach = min(0.045, 0.6 * depth + 0.008)  # a wire shades less than a body
            shut[w] = np.maximum(shut[w], np.exp(np.minimum(-d, 0) / reach)) * (1 - m)
        part[w][d < 0] = i
        albedo[w] += m[..., None] * (np.asarray(p.color, np.float32) - albedo[w])
        gloss[w] += m * (p.gloss - gloss[w])
        if (
            p.line or p.bulge > 0
        ):  # a flat piece without a line is paint: it keeps the slope of what it lies on
            slope[w] += m[..., None] * (_slope(d, p.bulge, pixel) - slope[w])
        cover[w] = np.maximum(cover[w], m)
    normal = np.concatenate([slope, np.ones((*plane, 1), np.float32)], -1)
    normal /= np.sqrt((normal * normal).sum(-1, keepdims=True))
    return Buffers(albedo, cover, normal, part, edge, gloss, shut, thick, figure)
