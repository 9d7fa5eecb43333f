"""Cactus."""

from __future__ import annotations

import numpy as np

from .flora import SAND, mound
from .ornament import (
    BLACK,
    BLUE,
    BROWN,
    CREAM,
    GREEN,
    ORANGE,
    PAINTS,
    PINK,
    RED,
    TAN,
    TEAL,
    WHITE,
    YELLOW,
    Point,
    Rng,
    balls,
    bezier,
    contrasting,
    dark,
    light,
    petals,
    pick,
    polyline,
)
from .shapes import Array, Figure, Part, Shape, blend, box, clip_to, polygon, union


def _saguaro(rng: Rng, base: float) -> tuple[list[list[Point]], float, float]:
    """Centre lines of column and arms, radius of the column, radius of the arms."""
    w, top = rng.uniform(0.15, 0.21), rng.uniform(0.54, 0.62)
    lines: list[list[Point]] = [[(0, base), (0, top)]]
    v = w * rng.uniform(0.6, 0.75)
    first = int(rng.choice([-1, 1]))
    for i in range(int(rng.choice([1, 2, 2, 2, 3]))):
        side = first * (-1) ** i
        y = base + (top - base) * (rng.uniform(0.25, 0.4), rng.uniform(0.38, 0.55), 0.72)[i]
        out = side * (w + v + rng.uniform(0.1, 0.24) * (0.6 if i == 2 else 1))
        tip = min(y + (0.28 if i == 2 else rng.uniform(0.36, 0.62)), top - 0.02)
        elbow = bezier([(side * w * 0.3, y - 0.03), (out, y - 0.06), (out, y + 0.18)], 5)
        lines.append([(float(a), float(b)) for a, b in elbow] + [(out, tip)])
    return lines, w, v


def _spines(lines: list[list[Point]], w: float, v: float, base: float) -> Shape:
    """Rows of short thorns across both flanks of column and arms."""
    spans = [(lines[0][0][0], base + 0.08, lines[0][1][1], w)]
    spans += [(p[-1][0], p[-2][1], p[-1][1] + 0.02, v) for p in lines[1:]]

    def shape(x: Array, y: Array) -> Array:
        d = np.full(np.shape(x), 9.0)
        for cx, low, high, r in spans:
            u = np.abs(x - cx)
            row = np.abs((y - 0.35 * u + 0.05) % 0.13 - 0.065) - 0.011
            tick = np.maximum(row, np.minimum(np.abs(u - r) - 0.04, np.abs(u - 0.33 * r) - 0.03))
            np.minimum(d, np.maximum(tick, np.maximum(low - y, y - high)), out=d)
        return d

    return shape


def _pot(rng: Rng) -> list[Part]:
    """Flower pot with a rim, sometimes a painted zigzag."""
    color = pick(rng, ((0.74, 0.40, 0.26), *PAINTS))
    body = polygon([(-0.24, -0.84), (0.24, -0.84), (0.33, -0.5), (-0.33, -0.5)])
    parts = [Part(body, color, 0.2, 0.15)]
    if rng.random() < 0.5:
        x = np.linspace(-0.35, 0.35, int(rng.integers(7, 12)))
        zigzag = polyline(
            [(a, -0.67 + 0.045 * (-1) ** i) for i, a in enumerate(x)], [0.022] * len(x)
        )
        parts.append(Part(clip_to(zigzag, body), contrasting(rng, color), 0.2, 0.1, line=False))
    return [*parts, Part(box(0, -0.47, 0.8, 0.15, round=0.03), light(color, 0.08), 0.08, 0.15)]


def cactus(rng: Rng) -> Figure:
    """A saguaro: ribbed column with raised arms and thorns, sometimes in bloom or in a pot."""
    color = pick(rng, (GREEN, (0.25, 0.50, 0.30), (0.42, 0.56, 0.30), TEAL, (0.45, 0.62, 0.48)))
    potted = rng.random() < 0.4
    base = -0.45 if potted else -0.82
    lines, w, v = _saguaro(rng, base)
    trunk = polyline(lines[0], [w, w])
    arms = union(*(polyline(p, [v] * len(p)) for p in lines[1:]))
    body = blend(0.05, trunk, arms)
    body = clip_to(body, box(0, 0.1 + (0.1 if potted else 0), 2, 1.9 - (0.2 if potted else 0)))

    def ribs(x: Array, y: Array) -> Array:
        column, arm = trunk(x, y), arms(x, y)
        inner = np.minimum(np.abs(column + w * 0.38), np.abs(column + w)) - 0.012
        return np.minimum(inner, np.maximum(np.abs(arm + v * 0.5) - 0.011, -column))

    parts = [
        Part(body, color, 0.2, 0.1),
        Part(clip_to(ribs, body), dark(color, 0.32), 0, 0, line=False),
        Part(_spines(lines, w, v, base), contrasting(rng, color, (CREAM, BLACK)), 0, 0, line=False),
    ]
    if rng.random() < 0.5:
        ends = [(p[-1][0], p[-1][1] + r * 0.95) for p, r in zip(lines, [w] + [v] * 3, strict=False)]
        ends = ends[: int(rng.integers(1, len(ends) + 1))]
        bloom = [petals(x, y, 0, 0.14, 0.05, 6, 0.5) for x, y in ends]
        flower = pick(rng, (PINK, RED, YELLOW, WHITE, ORANGE, BLUE))
        parts.append(Part(union(*bloom), flower, 0.06, 0.1))
        parts.append(
            Part(
                balls([(x, y, 0.04) for x, y in ends]),
                contrasting(rng, flower, (YELLOW, BROWN, WHITE)),
                0.03,
            )
        )
    if potted:
        return Figure((*parts, *_pot(rng)))
    parts.append(mound(rng, pick(rng, (SAND, TAN, ORANGE)), rng.uniform(0.4, 0.7)))
    stones = [(s * rng.uniform(0.25, 0.45), -0.8, rng.uniform(0.04, 0.07)) for s in (-1, 1)]
    return Figure((*parts, Part(balls(stones), pick(rng, (TAN, (0.6, 0.57, 0.53))), 0.06)))
