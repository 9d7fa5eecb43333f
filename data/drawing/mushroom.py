"""Mushroom."""

from __future__ import annotations

import numpy as np

from .ornament import (
    BROWN,
    CREAM,
    GREEN,
    ORANGE,
    PINK,
    PURPLE,
    RED,
    TAN,
    TEAL,
    WHITE,
    YELLOW,
    Rng,
    balls,
    contrasting,
    dark,
    leaf,
    light,
    pick,
    turned,
)
from .shapes import (
    Array,
    Color,
    Figure,
    Part,
    blend,
    box,
    clip_to,
    ellipse,
    place_figure,
    polygon,
    union,
)

SPOTS = (  # across and up the cap, radius
    *(
        (0.0, 0.55, 0.12),
        (-0.5, 0.42, 0.095),
        (0.48, 0.4, 0.1),
        (-0.25, 0.8, 0.07),
        (0.28, 0.82, 0.065),
    ),
    *((-0.78, 0.2, 0.06), (0.8, 0.17, 0.06), (0.2, 0.26, 0.06), (-0.2, 0.22, 0.055)),
)


def _cap(rng: Rng, w: float, tall: float, low: float, color: Color, pale: Color) -> list[Part]:
    """Cap of half-width w with gills below; most are spotted."""
    dome = clip_to(ellipse(0, low, w, tall), box(0, low + 0.97, 2, 2))
    top, under = blend(0.05, dome, ellipse(0, low, w, 0.14)), ellipse(0, low - 0.02, w * 0.8, 0.095)

    def gills(x: Array, y: Array) -> Array:
        return (np.abs(np.arctan2(x, low + 0.12 - y) * 2.2 % 1 - 0.5) - 0.22) * 0.1

    parts = [Part(top, color, 0.4, 0.4)]
    if rng.random() < 0.72:
        spots = [
            (u * w + rng.normal(0, 0.015), low + v * tall, q * rng.uniform(0.8, 1.25))
            for u, v, q in SPOTS
        ]
        spots = [q for q in spots if q[1] > low + 0.13]
        paint = contrasting(rng, color, (WHITE, CREAM, YELLOW, BROWN))
        parts.append(Part(clip_to(balls(spots), top), paint, 0.04, 0.1))
    return [
        *parts,
        Part(under, light(pale, 0.2), 0, 0),
        Part(clip_to(gills, under), dark(pale, 0.4), 0, 0, line=False),
    ]


def _toadstool(rng: Rng, x: float, size: float, color: Color, pale: Color) -> list[Part]:
    """One mushroom standing at x: stem, perhaps with a ring, and cap."""
    stem, low = rng.uniform(0.13, 0.2), rng.uniform(-0.02, 0.12)
    stalk = turned(
        [(-0.8, stem * 1.25), (-0.66, stem * 1.35), (-0.35, stem), (low + 0.02, stem * 0.85)], 0.04
    )
    neck = clip_to(stalk, box(0, low - 1.09, 2, 2))  # ends among the gills
    parts = [
        *_cap(rng, rng.uniform(0.5, 0.74), rng.uniform(0.34, 0.72), low, color, pale),
        Part(neck, pale, 0.15, 0.05),
    ]
    if rng.random() < 0.5:
        a, b = stem * 0.8, stem * 1.5
        skirt = polygon([(-a, -0.12), (a, -0.12), (b, -0.25), (0, -0.29), (-b, -0.25)], 0.015)
        parts.append(Part(skirt, light(pale, 0.4), 0.05))
    lean = rng.normal(0, 0.06)
    moved = place_figure(Figure(tuple(parts)), scale=size, angle=lean, dx=x, dy=-0.84 * (1 - size))
    return list(moved.parts)


def mushroom(rng: Rng) -> Figure:
    """One to three mushrooms: domed cap, often spotted, gills, stout stem, perhaps in grass."""
    cap = pick(rng, (RED, RED, ORANGE, BROWN, TAN, PURPLE, TEAL, CREAM, PINK, YELLOW))
    stem = pick(rng, (CREAM, WHITE, light(TAN, 0.5)), 0.02)
    count = int(rng.choice([1, 1, 2, 3]))
    if count == 1:
        parts = _toadstool(rng, 0, rng.uniform(1.0, 1.1), cap, stem)
    else:
        s = int(rng.choice([-1, 1]))
        parts = _toadstool(rng, -0.2 * s, 0.92, cap, stem)
        if count == 3:
            parts = _toadstool(rng, -0.58 * s, 0.42, cap, stem) + parts
        parts += _toadstool(rng, 0.48 * s, rng.uniform(0.5, 0.6), pick(rng, [cap], 0.03), stem)
    if rng.random() < 0.6:
        blades = []
        for x in np.linspace(-0.36, 0.36, 9) + rng.normal(0, 0.03, 9):
            blades.append(
                leaf(
                    x * 0.8, -0.9, x * 1.15 + rng.normal(0, 0.04), rng.uniform(-0.72, -0.58), 0.035
                )
            )
        parts.append(Part(union(*blades), pick(rng, (GREEN, (0.45, 0.62, 0.28))), 0.03, 0, "leaf"))
    return Figure(tuple(parts))
