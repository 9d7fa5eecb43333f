"""Key."""

from __future__ import annotations

import numpy as np

from .ornament import (
    BLACK,
    COPPER,
    GOLD,
    PAINTS,
    SILVER,
    SLATE,
    Rng,
    balls,
    dark,
    light,
    pick,
    segments,
)
from .shapes import Figure, Part, Shape, box, circle, cut, ellipse, place_figure, polygon, union


def _bow(rng: Rng, kind: int) -> tuple[Shape, Shape]:
    """The handle of a key and the hole in it: ring, oval, heart, clover, diamond, or a plate."""
    y = 0.5
    if kind == 0:
        r = rng.uniform(0.28, 0.33)
        return circle(0, y, r), circle(0, y, r * rng.uniform(0.55, 0.66))
    if kind == 1:
        a, b = rng.uniform(0.33, 0.4), rng.uniform(0.24, 0.29)
        return ellipse(0, y, a, b), ellipse(0, y, a - 0.11, b - 0.11)
    if kind == 2:
        heart = union(
            balls([(-0.15, y + 0.1, 0.2), (0.15, y + 0.1, 0.2)]),
            polygon([(-0.29, y), (0.29, y), (0, y - 0.3)], 0.03),
        )
        return heart, lambda x, y: heart(x, y) + 0.11
    if kind == 3:
        lobes = [
            (0.17 * np.cos(a), y + 0.17 * np.sin(a), 0.19)
            for a in (np.pi / 2, np.pi / 2 + 2.1, np.pi / 2 - 2.1)
        ]
        return balls(lobes), balls([(u * 1.15, y + (v - y) * 1.15, 0.09) for u, v, _ in lobes])
    if kind == 4:
        return box(0, y, 0.46, 0.46, np.pi / 4, 0.08), box(0, y, 0.25, 0.25, np.pi / 4, 0.03)
    return box(0, y, 0.62, 0.5, round=0.17), circle(0, y + 0.12, 0.075)


def _bit(rng: Rng, end: float, thick: float) -> Shape:
    """Teeth of an old key: a flag with notches."""
    reach, depth = rng.uniform(0.2, 0.28), rng.uniform(0.26, 0.36)
    flag = box(reach / 2 + thick / 2, end + depth / 2, reach + thick, depth)
    k = int(rng.integers(1, 3))
    notches = [
        box(reach + thick / 2, end + depth * (i + 1) / (k + 1), rng.uniform(0.16, 0.24), 0.06)
        for i in range(k)
    ]
    slit = box(reach * 0.55 + thick / 2, end + depth * 0.5, 0.05, depth * 0.4)
    return cut(flag, *notches, slit) if k == 2 else cut(flag, *notches)


def _old(rng: Rng) -> list[Part]:
    """Round shaft with a collar and a notched flag, fancy bow, all of one metal or painted."""
    color = pick(
        rng, (GOLD, GOLD, SILVER, SILVER, COPPER, SLATE, (0.36, 0.30, 0.26), *PAINTS[:8]), 0.03
    )
    grain = "metal" if max(color) < 0.9 else "plain"
    bow, hole = _bow(rng, int(rng.integers(6)))
    thick, end = rng.uniform(0.1, 0.14), -0.84
    shaft = box(0, (0.28 + end) / 2, thick, 0.28 - end, round=0.03)
    collar = [box(0, y, thick + 0.1, 0.055, round=0.02) for y in (0.2, 0.1)[: rng.integers(1, 3)]]
    bit = _bit(rng, end + rng.uniform(0.03, 0.1), thick)
    return [
        Part(bit, color, 0.04, 0.6, grain),
        Part(cut(shaft, hole), color, 0.06, 0.6, grain),
        Part(cut(bow, hole), color, 0.07, 0.6, grain),
        Part(union(*collar), light(color, 0.2), 0.04, 0.6, grain),
    ]


def _modern(rng: Rng) -> list[Part]:
    """Flat metal blade, jagged on one edge, with a plain bow that may have a coloured cover."""
    color = pick(rng, (GOLD, SILVER, COPPER), 0.03)
    bow, hole = _bow(rng, (0, 5, 5)[rng.integers(3)])  # fancier ones would make scissors of it
    teeth = []
    for k, y in enumerate(np.linspace(0.1, -0.66, 9).tolist()):
        teeth.append((0.15 - (rng.uniform(0.06, 0.11) if k % 2 else rng.uniform(0, 0.03)), y))
    blade = polygon([(-0.11, 0.3), (0.15, 0.3), *teeth, (0.0, -0.84), (-0.11, -0.74)], 0.01)
    cover = pick(rng, (color, color, BLACK, *PAINTS[:8]), 0.03)
    return [
        Part(blade, color, 0.04, 0.6, "metal"),
        Part(segments([(-0.035, 0.15, -0.035, -0.7)], 0.02), dark(color, 0.35), 0, 0.3, line=False),
        Part(cut(bow, hole), cover, 0.06, 0.5, "metal" if cover is color else "plain"),
    ]


def key(rng: Rng) -> Figure:
    """Key: pierced bow, shaft, notched bit or jagged blade; old or modern, at any slant."""
    parts = (_old if rng.random() < 0.68 else _modern)(rng)
    slant, flip = float(rng.uniform(-1.3, 1.3)), bool(rng.random() < 0.5)
    return place_figure(Figure(tuple(parts)), angle=slant, flip=flip)
