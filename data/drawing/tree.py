"""Broad-leaved tree, the close neighbour of the palm tree."""

from __future__ import annotations

import numpy as np

from .flora import BARK, LEAVES, mound
from .ornament import (
    GREEN,
    ORANGE,
    PINK,
    RED,
    TAN,
    YELLOW,
    Rng,
    balls,
    cloud,
    dark,
    light,
    pick,
    polyline,
    stroke,
)
from .shapes import Color, Figure, Part, blend, box, clip_to, union

SHAPES = ((0.66, 0.54), (0.82, 0.44), (0.54, 0.62), (0.74, 0.58))  # crowns: round, wide, tall, big
AUTUMN = (ORANGE, (0.82, 0.33, 0.16), YELLOW, (0.70, 0.18, 0.16), (0.72, 0.50, 0.20))
BLOSSOM = (PINK, (0.96, 0.80, 0.84), (0.93, 0.92, 0.88), (0.72, 0.52, 0.76))


def _crown(
    rng: Rng, cx: float, cy: float, rx: float, ry: float, color: Color, apart: float
) -> list[Part]:
    """Front foliage: three or four clusters, the lower ones in shadow, and a few loose leaves."""
    parts, n = [], int(rng.integers(3, 5))
    angles = np.linspace(np.pi * 1.2, -np.pi * 0.2, n) + rng.normal(0, 0.15, n)
    spots = sorted(
        ((rx * apart * np.cos(a), ry * (0.05 + 0.9 * apart * np.sin(a))) for a in angles),
        key=lambda q: -q[1],
    )
    for dx, dy in spots[::-1] if rng.random() < 0.5 else spots:
        size = rng.uniform(0.62, 0.68) - 0.3 * apart + 0.04 * (n == 3)
        lump = cloud(rng, cx + dx, cy + dy, rx * size, ry * size * 0.92, int(rng.integers(7, 10)))
        tone = light(color, 0.22 * (dy / ry + 0.3)) if dy > -0.1 * ry else dark(color, 0.1)
        parts.append(Part(lump, pick(rng, [tone], 0.012), 0.2, 0.05, "leaf"))
    marks = []
    for _ in range(12):
        r, a = np.sqrt(rng.uniform(0.02, 0.6)), rng.uniform(0, 2 * np.pi)
        x, y, t = cx + rx * r * np.cos(a), cy + ry * r * np.sin(a), rng.uniform(-0.6, 0.6)
        marks.append(
            stroke(
                [(x - 0.05, y + 0.01), (x, y - 0.05 + 0.03 * t), (x + 0.05, y + 0.02 * t)],
                0.013,
                steps=3,
            )
        )
    return [*parts, Part(union(*marks), dark(color, 0.33), 0, 0, line=False)]


def _wood(rng: Rng, fork: tuple[float, float], w: float, rx: float, cy: float) -> list[Part]:
    """Trunk with spreading roots, two or three branches, cracks in the bark."""
    bark = pick(rng, BARK, 0.025)
    wood = [polyline([(0, -0.84), fork, (fork[0] * 1.5, cy)], [w * 1.15, w * 0.85, w * 0.5])]
    for s in (-1, 1):
        root = [(s * w * 0.4, -0.74), (s * w, -0.83), (s * w * rng.uniform(2, 2.8), -0.85)]
        wood.append(stroke(root, w * 0.5, 0.02, 3))
    for s in (-1, 1, *([int(rng.choice([-1, 1]))] if rng.random() < 0.5 else [])):
        reach = s * rx * rng.uniform(0.45, 0.62)
        base = (fork[0] * 0.8, fork[1] - rng.uniform(0.0, 0.16))
        bough = [base, (reach * 0.6, fork[1] + 0.04), (reach, cy - rng.uniform(0, 0.15))]
        wood.append(stroke(bough, w * 0.55, 0.03, 4))
    trunk = clip_to(blend(0.06, *wood), box(0, 0, 2, 1.7))
    cracks = [
        stroke([(x, y), (x + 0.02, y - 0.08), (x, y - 0.16)], 0.014, steps=2)
        for x, y in zip(
            rng.uniform(-0.6, 0.6, 3) * w, (fork[1], fork[1] - 0.17, -0.62), strict=True
        )
    ]
    return [
        Part(trunk, bark, 0.12, 0.05, "wood"),
        Part(union(*cracks), dark(bark, 0.5), 0, 0, line=False),
    ]


def _fruit(rng: Rng, cy: float, rx: float, ry: float) -> Part:
    """Eight fruits all over the crown."""
    at = zip(rng.uniform(0.35, 0.8, 8), np.arange(8) * 2.4, strict=True)
    fruit = [(rx * r * np.cos(a), cy + ry * r * np.sin(a), 0.055) for r, a in at]
    return Part(balls(fruit), pick(rng, (RED, ORANGE, YELLOW)), 0.05, 0.4)


def tree(rng: Rng) -> Figure:
    """Broad-leaved tree: stout forked trunk, lumpy crown; sometimes in autumn, blossom or fruit."""
    rx, ry = SHAPES[rng.integers(len(SHAPES))]
    rx, ry = rx * rng.uniform(0.92, 1.05), ry * rng.uniform(0.92, 1.05)
    airy = rng.random() < 0.35  # clusters apart, branches seen between them
    palette = (LEAVES, LEAVES, AUTUMN, BLOSSOM)[rng.integers(4)]
    color, cy = pick(rng, palette), 0.84 - ry
    fork = (rng.normal(0, 0.05), cy - ry * rng.uniform(0.55, 0.8))
    k = 0.7 if airy else 1.0
    back = cloud(rng, 0, cy + ry * (1 - k), rx * k, ry * k, int(rng.integers(9, 13)))
    parts = [
        Part(back, dark(color, 0.28), 0.15, 0, "leaf"),
        *_wood(rng, fork, rng.uniform(0.08, 0.13), rx, cy),
        *_crown(rng, 0, cy + 0.02, rx, ry, color, 0.6 if airy else 0.46),
    ]
    if palette is LEAVES and rng.random() < 0.35:
        parts.append(_fruit(rng, cy, rx, ry))
    if rng.random() < 0.4:
        parts.insert(0, mound(rng, pick(rng, (GREEN, TAN)), rng.uniform(0.4, 0.7)))
    return Figure(tuple(parts))
