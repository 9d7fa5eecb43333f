"""Sunflower."""

from __future__ import annotations

import numpy as np

from .flora import LEAVES
from .ornament import (
    BROWN,
    ORANGE,
    YELLOW,
    Rng,
    balls,
    dark,
    leaf,
    mix,
    petals,
    pick,
    polyline,
    squash,
    stroke,
)
from .shapes import Color, Figure, Part, ellipse, union

GOLDEN, LEMON, RUST = (0.97, 0.68, 0.14), (0.96, 0.90, 0.55), (0.75, 0.25, 0.15)


def _head(rng: Rng, cx: float, cy: float, r: float, color: Color, disc: Color) -> list[Part]:
    """Flower head, a little turned away: two rings of petals, a rim, a disc of spiralling seeds."""
    n, turn = int(rng.integers(12, 18)), rng.uniform(0, 6)
    core, by, angle = r * rng.uniform(0.42, 0.52), rng.uniform(0.78, 1.0), rng.normal(0, 0.5)
    wide = 2.6 * r / n * rng.uniform(0.85, 1.1)
    k = np.arange(1, 34)
    rad, a = core * 0.82 * np.sqrt(k / 34), k * 2.39996
    seeds = [(cx + q * np.cos(t), cy + q * np.sin(t), 0.017) for q, t in zip(rad, a, strict=True)]
    pieces = [
        Part(petals(cx, cy, core * 0.6, r, wide, n, turn), dark(color, 0.2), 0.08, 0.05, "leaf"),
        Part(
            petals(cx, cy, core * 0.6, r * 0.93, wide * 0.8, n, turn + np.pi / n),
            color,
            0.08,
            0.05,
            "leaf",
        ),
        Part(ellipse(cx, cy, core, core), disc, 0.2, 0.1),
        Part(
            balls(seeds),
            mix(disc, color, 0.5) if rng.random() < 0.6 else dark(disc, 0.6),
            0,
            0,
            line=False,
        ),
    ]
    return [
        Part(squash(p.shape, cx, cy, by, angle), p.color, p.bulge, p.gloss, p.grain, p.line)
        for p in pieces
    ]


def sunflower(rng: Rng) -> Figure:
    """Sunflower: one to three big heads of ray petals around a seeded disc, on leafy stems."""
    yellow = pick(
        rng,
        (YELLOW, YELLOW, YELLOW, GOLDEN, GOLDEN, GOLDEN, GOLDEN, ORANGE, LEMON, LEMON, RUST),
        0.025,
    )
    disc = pick(rng, (dark(BROWN, 0.3), dark(BROWN, 0.55), BROWN, (0.42, 0.40, 0.16)), 0.02)
    green = pick(rng, LEAVES)
    count = int(rng.choice([1, 1, 1, 2, 2, 3]))
    r = {1: rng.uniform(0.48, 0.6), 2: rng.uniform(0.38, 0.44), 3: rng.uniform(0.33, 0.38)}[count]
    spots = {
        1: [(0.0, 0.85 - r)],
        2: [(-0.42, 0.12), (0.38, 0.85 - r)],
        3: [(-0.52, 0.1), (0.53, 0.2), (0.0, 0.85 - r)],
    }
    s = int(rng.choice([-1, 1]))
    heads = [(s * x + rng.normal(0, 0.03), y) for x, y in spots[count]]
    stems, foliage, veins = [], [], []
    for x, y in heads:
        stems.append(
            stroke(
                [(0, -0.86), (rng.normal(0, 0.05), -0.4), (x * 0.9, y - r - 0.1), (x, y)],
                0.042,
                0.035,
                8,
            )
        )
    for i in range(int(rng.integers(2, 5))):
        side, y = (-1) ** i, -0.74 + 0.17 * i
        if count > 1 and i > 2:
            break
        tip = (side * rng.uniform(0.4, 0.52), y + rng.uniform(0.04, 0.24))
        foliage.append(leaf(0, y, *tip, rng.uniform(0.09, 0.13)))
        veins.append(polyline([(0, y), (tip[0] * 0.8, y + 0.8 * (tip[1] - y))], [0.013, 0.013]))
    parts = [
        Part(union(*stems), dark(green, 0.1), 0.05, 0.1),
        Part(union(*foliage), green, 0.1, 0.15, "leaf"),
        Part(union(*veins), dark(green, 0.35), 0, 0, line=False),
    ]
    for x, y in heads:
        parts += _head(rng, x, y, r, pick(rng, [yellow], 0.015), disc)
    return Figure(tuple(parts))
