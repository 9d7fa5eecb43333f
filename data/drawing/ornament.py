"""Colours, and shapes that plants and things share: strokes, petals, leaves, turned profiles.

They say the same as `shapes` does, cheaper: most look only at the pixels near them (`within`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from .shapes import Array, Color, Shape, ellipse, union

Rng = np.random.Generator
Point = tuple[float, float]
FAR, MARGIN = (
    9.0,
    0.16,
)  # an outline reaches less than MARGIN; farther off a distance need not be exact

RED, ORANGE, YELLOW, GREEN, TEAL = (
    (0.80, 0.16, 0.14),
    (0.93, 0.52, 0.14),
    (0.95, 0.79, 0.25),
    (0.33, 0.60, 0.27),
    (0.18, 0.60, 0.60),
)
BLUE, PURPLE, PINK, CREAM, WHITE = (
    (0.20, 0.40, 0.74),
    (0.50, 0.30, 0.64),
    (0.93, 0.56, 0.66),
    (0.94, 0.88, 0.74),
    (0.95, 0.95, 0.94),
)
BROWN, TAN, SLATE, BLACK = (
    (0.46, 0.28, 0.16),
    (0.76, 0.57, 0.36),
    (0.42, 0.47, 0.54),
    (0.13, 0.12, 0.14),
)
GOLD, SILVER, COPPER = (0.85, 0.66, 0.25), (0.74, 0.76, 0.79), (0.76, 0.45, 0.28)
PAINTS = (RED, ORANGE, YELLOW, GREEN, TEAL, BLUE, PURPLE, PINK, CREAM, WHITE, TAN, SLATE)


def mix(a: Color, b: Color, t: float) -> Color:
    """The colour a fraction t of the way from a to b."""
    return tuple(float((1 - t) * u + t * v) for u, v in zip(a, b, strict=True))


def dark(color: Color, t: float = 0.3) -> Color:
    """A shadow of the colour."""
    return mix(color, (0.06, 0.04, 0.08), t)


def light(color: Color, t: float = 0.35) -> Color:
    """A pale version of the colour."""
    return mix(color, (1.0, 0.99, 0.95), t)


def pick(rng: Rng, colors: Sequence[Color], spread: float = 0.045) -> Color:
    """One of the colours, a little off, as no two pots of paint are the same."""
    c = (
        np.asarray(colors[rng.integers(len(colors))])
        + rng.normal(0, spread, 3)
        + rng.normal(0, spread)
    )
    return tuple(float(v) for v in np.clip(c, 0.05, 0.97))


def luma(color: Color) -> float:
    """How bright the colour looks."""
    return 0.3 * color[0] + 0.6 * color[1] + 0.1 * color[2]


def contrasting(rng: Rng, base: Color, colors: Sequence[Color] = PAINTS) -> Color:
    """One of the colours that differ from the base even in grey: patterns must survive a sketch."""
    return pick(rng, [c for c in colors if abs(luma(c) - luma(base)) > 0.2] or [BLACK, WHITE], 0.03)


def within(shape_: Shape, x0: float, y0: float, x1: float, y1: float) -> Shape:
    """The shape, known to lie in this rectangle, evaluated only there and near it."""
    x0, y0, x1, y1 = (float(v) for v in (x0, y0, x1, y1))

    def shape(x: Array, y: Array) -> Array:
        near = (x > x0 - MARGIN) & (x < x1 + MARGIN) & (y > y0 - MARGIN) & (y < y1 + MARGIN)
        d = np.full(np.shape(x), FAR, x.dtype)
        d[near] = shape_(x[near], y[near])
        return d

    return shape


def polyline(points: Sequence[Point], radii: Sequence[float]) -> Shape:
    """Tube through the points, with a radius at each."""
    p, r = np.asarray(points, dtype=float), [float(q) for q in radii]
    pairs = list(
        zip(p[:-1].tolist(), p[1:].tolist(), r[:-1], r[1:], strict=True)
    )  # plain floats keep float32

    def shape(x: Array, y: Array) -> Array:
        d = np.full(np.shape(x), FAR, x.dtype)
        for (ax, ay), (bx, by), r0, r1 in pairs:
            ex, ey = bx - ax, by - ay
            u, v = x - ax, y - ay
            t = np.minimum(np.maximum((u * ex + v * ey) / max(ex * ex + ey * ey, 1e-12), 0), 1)
            u, v = u - t * ex, v - t * ey
            np.minimum(d, np.sqrt(u * u + v * v) - (r0 + t * (r1 - r0)), out=d)
        return d

    return within(shape, *(p.min(0) - max(r)), *(p.max(0) + max(r)))


def bezier(points: Sequence[Point], steps: int) -> Array:
    """steps + 1 points on the Bezier curve of these control points."""
    p, t = [np.asarray(q, dtype=float) for q in points], np.linspace(0, 1, steps + 1)[:, None]
    while len(p) > 1:  # de Casteljau, for all t at once
        p = [(1 - t) * a + t * b for a, b in itertools.pairwise(p)]
    return p[0]


def stroke(points: Sequence[Point], r0: float, r1: float | None = None, steps: int = 8) -> Shape:
    """Tapering tube along a Bezier curve."""
    return polyline(bezier(points, steps), np.linspace(r0, r0 if r1 is None else r1, steps + 1))


def balls(spots: Sequence[tuple[float, float, float]]) -> Shape:
    """Union of discs (x, y, radius)."""

    s = np.asarray(spots, dtype=float)

    def shape(x: Array, y: Array) -> Array:
        d = np.full(np.shape(x), FAR, x.dtype)
        for cx, cy, r in s.tolist():
            u, v = x - cx, y - cy
            np.minimum(d, np.sqrt(u * u + v * v) - r, out=d)
        return d

    low, high = (s[:, :2] - s[:, 2:]).min(0), (s[:, :2] + s[:, 2:]).max(0)
    return within(shape, *low, *high)


def cloud(rng: Rng, cx: float, cy: float, rx: float, ry: float, lumps: int) -> Shape:
    """Lumpy ellipse, like the crown of a leafy tree or a puff of smoke."""
    a = (
        np.linspace(0, 2 * np.pi, lumps, endpoint=False)
        + rng.uniform(0, 6)
        + rng.normal(0, 0.12, lumps)
    )
    r = min(rx, ry) * 2.2 / lumps + rng.uniform(0.05, 0.12, lumps) * min(rx, ry)
    rim = [
        (cx + (rx - q) * np.cos(t), cy + (ry - q) * np.sin(t), q)
        for t, q in zip(a, r * 1.25, strict=True)
    ]
    lumps_, core = balls(rim), ellipse(cx, cy, rx * 0.82, ry * 0.82)
    return within(union(lumps_, core), cx - rx, cy - ry, cx + rx, cy + ry)


def leaf(x0: float, y0: float, x1: float, y1: float, width: float) -> Shape:
    """Pointed leaf or petal from base to tip, of this half-width (two circle arcs)."""
    x0, y0, x1, y1 = (float(v) for v in (x0, y0, x1, y1))
    hx, hy = (x1 - x0) / 2, (y1 - y0) / 2
    h = float(np.hypot(hx, hy))
    cx, cy, k = (x0 + x1) / 2, (y0 + y1) / 2, (h * h - width * width) / (2 * width)
    c, s, big = hx / h, hy / h, width + k

    def shape(x: Array, y: Array) -> Array:
        u, v = (x - cx) * c + (y - cy) * s, np.abs(-(x - cx) * s + (y - cy) * c)
        return np.sqrt(u * u + (v + k) ** 2) - big

    return within(shape, cx - h, cy - h, cx + h, cy + h)


def petals(
    cx: float, cy: float, r0: float, r1: float, width: float, n: int, turn: float = 0.0
) -> Shape:
    """Ring of n pointed petals reaching from radius r0 to r1."""
    one, sector, turn = leaf(r0, 0, r1, 0, width), 2 * np.pi / n, float(turn)

    def shape(x: Array, y: Array) -> Array:
        u, v = x - cx, y - cy
        a = np.arctan2(v, u) - turn
        a -= sector * np.round(a / sector)
        r = np.sqrt(u * u + v * v)
        return one(r * np.cos(a), r * np.sin(a))

    return within(shape, cx - r1, cy - r1, cx + r1, cy + r1)


def squash(shape_: Shape, cx: float, cy: float, by: float, angle: float) -> Shape:
    """The shape seen askew: about (cx, cy), shrunk by a factor along the direction angle."""
    c, s = float(np.cos(angle)), float(np.sin(angle))

    def shape(x: Array, y: Array) -> Array:
        u, v = ((x - cx) * c + (y - cy) * s) / by, -(x - cx) * s + (y - cy) * c
        return shape_(cx + u * c - v * s, cy + u * s + v * c) * min(by, 1.0)

    return shape


def turned(profile: Sequence[Point], dip: float = 0.0) -> Shape:
    """Pottery: smooth half-widths at rising heights, (y, w) each.

    `dip` bends the foot, as if seen from above.
    """
    ys, ws = np.asarray(profile, dtype=float).T
    t = np.linspace(ys[0], ys[-1], 65)
    m, i = np.gradient(ws, ys), np.clip(np.searchsorted(ys, t, side="right") - 1, 0, len(ys) - 2)
    h, s = np.diff(ys)[i], (t - ys[i]) / np.diff(ys)[i]
    table = (2 * s**3 - 3 * s**2 + 1) * ws[i] + (s**3 - 2 * s**2 + s) * h * m[i]
    table += (3 * s**2 - 2 * s**3) * ws[i + 1] + (s**3 - s**2) * h * m[i + 1]
    steep = np.sqrt(1 + np.gradient(table, t) ** 2)

    def shape(x: Array, y: Array) -> Array:
        w = np.interp(y, t, table)
        side = (np.abs(x) - w) / np.interp(y, t, steep)
        foot = ys[0] - y - dip * np.sqrt(np.maximum(1 - (x / w) ** 2, 0))
        ends = np.maximum(foot, y - ys[-1])
        ends = np.where(
            ends < -0.04, 8 * ends + 0.28, ends
        )  # so that the round side alone shapes the light
        return np.maximum(side, ends)

    return within(shape, -ws.max(), ys[0] - dip, ws.max(), ys[-1])


def bands(ys: Sequence[float], height: float, width: float = 1.0, dip: float = 0.0) -> Shape:
    """Horizontal stripes around something of this half-width; clip them to it."""

    def shape(x: Array, y: Array) -> Array:
        level = y + dip * np.sqrt(np.maximum(1 - (x / width) ** 2, 0))
        return np.min([np.abs(level - q) for q in ys], axis=0) - height / 2

    return shape


def segments(ends: Sequence[tuple[float, float, float, float]], r: float) -> Shape:
    """Many straight lines (x0, y0, x1, y1) of one radius: strings, spines, panes."""
    lines = [polyline([(a, b), (c, d)], [r, r]) for a, b, c, d in ends]

    def shape(x: Array, y: Array) -> Array:
        d = lines[0](x, y)
        for line in lines[1:]:
            np.minimum(d, line(x, y), out=d)
        return d

    return shape
