"""Apple."""

from __future__ import annotations

import numpy as np

from .ornament import (
    BROWN,
    GREEN,
    RED,
    Rng,
    balls,
    dark,
    leaf,
    light,
    pick,
    segments,
    stroke,
    within,
)
from .shapes import (
    Array,
    Color,
    Figure,
    Part,
    Shape,
    blend,
    box,
    clip_to,
    cut,
    ellipse,
    place_figure,
    union,
)

SKINS = (
    RED,
    RED,
    RED,
    GREEN,
    (0.62, 0.75, 0.25),
    (0.88, 0.80, 0.30),
    (0.86, 0.40, 0.40),
    (0.55, 0.10, 0.16),
)


def _pome(rx: float, ry: float, slim: float, dent: float) -> Shape:
    """Outline of an apple: an ellipse that narrows below, dented at the stem and at the bottom."""

    def shape(x: Array, y: Array) -> Array:
        v = y + 0.1
        hollow = np.exp(-((x / 0.26) ** 2)) * dent
        v = v + hollow * np.clip(v / ry, -0.42, 1)
        u = x / (1 + slim * np.clip(v / ry, -1, 0.3))
        return (np.sqrt((u / rx) ** 2 + (v / ry) ** 2) - 1) * 0.9 * ry

    return within(shape, -rx * 1.1, -0.1 - ry, rx * 1.1, ry)


def _half(rng: Rng, flesh: Shape) -> list[Part]:
    """Cut face: pale flesh, heart line, two seeds."""
    cream = pick(rng, ((0.97, 0.93, 0.76), (0.95, 0.94, 0.82)), 0.015)
    core = blend(
        0.06, ellipse(-0.08, -0.12, 0.13, 0.22, -0.25), ellipse(0.08, -0.12, 0.13, 0.22, 0.25)
    )
    seeds = union(leaf(-0.09, 0.0, -0.07, -0.2, 0.045), leaf(0.09, 0.0, 0.07, -0.2, 0.045))
    return [
        Part(lambda x, y: flesh(x, y) + 0.075, cream, 0.06, 0.2),
        Part(core, dark(cream, 0.14), 0.04, 0.1),
        Part(seeds, dark(BROWN, 0.3), 0.03, 0.3),
    ]


def _bitten(rng: Rng, flesh: Shape, color: Color) -> list[Part]:
    """An apple with a bite out of one side."""
    s = int(rng.choice([-1, 1]))
    teeth = [(s * 0.68, 0.16, 0.17), (s * 0.62, -0.04, 0.16), (s * 0.7, -0.22, 0.16)]
    bite = union(balls(teeth), box(s * 0.85, -0.03, 0.34, 0.5))
    inner = clip_to(cut(balls([(x, y, r + 0.065) for x, y, r in teeth]), bite), flesh)
    return [Part(cut(flesh, bite), color, 0.5, 0.6), Part(inner, (0.96, 0.92, 0.74), 0.03, 0.1)]


def _freckles(rng: Rng, color: Color) -> Part:
    """Pale specks on the skin."""
    at = zip(np.sqrt(rng.uniform(0.05, 1, 14)), np.arange(14) * 2.4, strict=True)
    specks = [(0.55 * q * np.cos(a), -0.1 + 0.5 * q * np.sin(a), 0.016) for q, a in at]
    return Part(balls(specks), light(color, 0.5), 0, 0.3, line=False)


def _leaves(rng: Rng, x: float) -> list[Part]:
    """No, one or two leaves at the stem, each with a rib."""
    parts = []
    for side in ((1,), (-1,), (-1, 1), ())[rng.choice(4, p=[0.4, 0.35, 0.15, 0.1])]:
        tip = (side * rng.uniform(0.4, 0.52), rng.uniform(0.58, 0.8))
        green = pick(rng, (GREEN, (0.45, 0.65, 0.25), (0.22, 0.48, 0.28)))
        blade = leaf(x, 0.52, *tip, rng.uniform(0.1, 0.14))
        rib = segments([(side * 0.08, 0.54, tip[0] * 0.85, 0.52 + (tip[1] - 0.52) * 0.85)], 0.013)
        parts += [
            Part(blade, green, 0.1, 0.2, "leaf"),
            Part(rib, dark(green, 0.4), 0, 0, line=False),
        ]
    return parts


def apple(rng: Rng) -> Figure:
    """Apple: fruit dented at stem and base, stem, leaf; freckled, bitten or halved at times."""
    color, kind = pick(rng, SKINS), rng.random()
    rx, ry = rng.uniform(0.66, 0.74), rng.uniform(0.6, 0.7)
    flesh = _pome(rx, ry, rng.uniform(0.1, 0.26), rng.uniform(0.2, 0.27))
    lean = rng.normal(0, 0.12)
    twig = stroke(
        [(0, 0.3), (0.02 + lean * 0.3, 0.6), (lean, rng.uniform(0.72, 0.86))], 0.03, 0.042, 6
    )
    parts = _bitten(rng, flesh, color) if kind < 0.2 else [Part(flesh, color, 0.5, 0.6)]
    if kind > 0.85:
        parts += _half(rng, flesh)
    else:
        dent = clip_to(stroke([(-0.2, 0.46), (0, 0.33), (0.2, 0.46)], 0.018, steps=5), flesh)
        parts.append(Part(dent, dark(color, 0.45), 0, 0, line=False))
    if 0.2 < kind < 0.55:
        parts.append(_freckles(rng, color))
    wood = pick(rng, (BROWN, dark(BROWN, 0.4), (0.40, 0.42, 0.2)), 0.03)
    parts += [Part(twig, wood, 0.03, 0.1, "wood"), *_leaves(rng, lean * 0.4)]
    return place_figure(Figure(tuple(parts)), scale=rng.uniform(0.95, 1.02), dy=-0.03)
