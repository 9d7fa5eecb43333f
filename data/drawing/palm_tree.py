"""Palm tree, the close neighbour of the tree."""

from __future__ import annotations

import numpy as np

from .flora import BARK, LEAVES, SAND, mound
from .ornament import (
    BROWN,
    GREEN,
    ORANGE,
    Point,
    Rng,
    balls,
    bezier,
    dark,
    light,
    pick,
    polyline,
    stroke,
    within,
)
from .shapes import Array, Color, Figure, Part, Shape, box, clip_to, union


def _frond(
    x0: float, y0: float, length: float, rise: float, span: float, width: float, side: int
) -> tuple[Shape, Shape]:
    """A feathery leaf on an arc from (x0, y0) at angle `rise`, drooping by `span`; and its rib."""
    r, rise = length / span, float(rise)
    cx, cy = float(x0 + r * np.sin(rise)), float(y0 - r * np.cos(rise))
    teeth = max(6, round(length * 15))

    def along(x: Array, y: Array) -> tuple[Array, Array]:
        u, v = side * x - cx, y - cy
        t = (rise + np.pi / 2 - np.arctan2(v, u) + np.pi) % (2 * np.pi) - np.pi
        return t / span, np.sqrt(u * u + v * v) - r

    def blade(x: Array, y: Array) -> Array:
        t, across = along(x, y)
        q = np.minimum(np.maximum(t, 0), 1)
        w = width * np.sqrt(np.maximum(np.minimum(q * 5, 1.25 - q * 1.2), 0))
        w = w * np.where(across < 0, 1.0, 0.75)  # the lower leaflets hang longer
        saw = (q * teeth - 1.6 * np.abs(across) / width) % 1  # the teeth lean towards the tip
        return (
            np.maximum(np.abs(across) - w * (0.42 + 0.68 * saw), (np.abs(t - 0.5) - 0.5) * length)
            * 0.75
        )

    def rib(x: Array, y: Array) -> Array:
        t, across = along(x, y)
        return np.maximum(np.abs(across) - 0.012, (np.abs(t - 0.47) - 0.42) * length)

    reach = [side * (cx + r * np.sin(t - rise)) for t in np.linspace(0, span, 6)]
    tops = [cy + r * np.cos(t - rise) for t in np.linspace(0, span, 6)]
    area = (min(reach) - width, min(tops) - width, max(reach) + width, max(tops) + width)
    return within(blade, *area), within(rib, *area)


def _crown(rng: Rng, tx: float, top: float, color: Color) -> list[list[Part]]:
    """Three layers of fronds, back to front, each frond with a pale rib."""
    blades: list[list[Shape]] = [[], [], []]
    ribs: list[list[Shape]] = [[], [], []]
    n = int(rng.integers(3, 5))
    for side in (-1, 1):
        for i, rise in enumerate(np.linspace(1.25, -0.35, n) + rng.normal(0, 0.08, n)):
            length = rng.uniform(0.67, 0.8) * (0.9 if rise > 0.8 else 1.0)
            span = rng.uniform(1.3, 1.75) * (1.1 if rise > 0.5 else 0.8)
            blade, rib = _frond(side * tx, top, length, rise, span, rng.uniform(0.1, 0.135), side)
            layer = 0 if i in (0, n - 1) else 1 + (i + (side > 0)) % 2
            blades[layer].append(blade)
            ribs[layer].append(rib)
    tones = (dark(color, 0.25), color, light(color, 0.15))
    return [
        [
            Part(union(*b), tone, 0.1, 0.15, "leaf"),
            Part(union(*r), light(tone, 0.4), 0, 0, line=False),
        ]
        for b, r, tone in zip(blades, ribs, tones, strict=True)
        if b
    ]


def palm_tree(rng: Rng) -> Figure:
    """Palm: slender bent ringed trunk, a star of drooping feathered fronds, coconuts."""
    color, bark = pick(rng, LEAVES), pick(rng, BARK, 0.03)
    foot, bend, top = rng.uniform(-0.28, 0.28), rng.normal(0, 0.36), rng.uniform(0.28, 0.48)
    tx = float(np.clip(foot * 0.2 + bend * 0.5, -0.2, 0.2))
    ways: list[Point] = [
        (foot, -0.84),
        (foot - bend * 0.2, -0.35),
        (tx - bend * 0.45, top - 0.4),
        (tx, top),
    ]
    w = rng.uniform(0.055, 0.08)
    trunk, spine = stroke(ways, w * 1.25, w * 0.8, 10), bezier(ways, int(rng.integers(9, 13)))
    rings = [
        polyline([(x - 2 * w, y + 0.02), (x, y - 0.02), (x + 2 * w, y + 0.02)], [0.013] * 3)
        for x, y in spine[1:-1]
    ]
    parts = [
        Part(clip_to(trunk, box(0, 0, 2, 1.68)), bark, 0.1, 0.05, "wood"),
        Part(clip_to(union(*rings), trunk), dark(bark, 0.45), 0, 0, line=False),
    ]
    back, *front = _crown(rng, tx, top, color)
    parts += back
    if rng.random() < 0.8:
        nuts = [
            (tx + dx, top - 0.07 + dy, 0.065)
            for dx, dy in ((-0.08, 0), (0.07, -0.02), (-0.01, -0.08))
        ]
        shell = pick(rng, (BROWN, dark(BROWN), ORANGE))
        parts.append(Part(balls(nuts[: rng.integers(2, 4)]), shell, 0.07, 0.3))
    parts += [p for layer in front for p in layer]
    if rng.random() < 0.55:
        parts.insert(0, mound(rng, pick(rng, (SAND, GREEN)), rng.uniform(0.4, 0.7)))
    return Figure(tuple(parts))
