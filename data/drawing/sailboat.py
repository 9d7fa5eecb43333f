"""Sailboat: one mast, one or two sails."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .kit import Rng, decal, fitted, pick, tint, vary
from .shapes import (
    Color,
    Figure,
    Part,
    Shape,
    box,
    capsule,
    circle,
    clip_to,
    ellipse,
    polygon,
    union,
)

SAIL_COLORS = [
    (0.95, 0.94, 0.9),
    (0.93, 0.88, 0.75),
    (0.8, 0.22, 0.18),
    (0.9, 0.6, 0.2),
    (0.3, 0.5, 0.75),
    (0.95, 0.94, 0.9),
    (0.3, 0.6, 0.5),
    (0.66, 0.32, 0.2),
]
FLAG_COLORS = [(0.78, 0.14, 0.14), (0.14, 0.32, 0.7), (0.1, 0.5, 0.35), (0.9, 0.62, 0.1)]
HULL_COLORS = [
    (0.5, 0.3, 0.17),
    (0.9, 0.89, 0.86),
    (0.16, 0.25, 0.42),
    (0.7, 0.16, 0.14),
    (0.2, 0.42, 0.36),
    (0.72, 0.5, 0.28),
    (0.2, 0.2, 0.22),
]


def _sail(points: list[tuple[float, float]], belly: float) -> Shape:
    """Polygon whose last edge (leech) is blown outwards by `belly`."""
    (ax, ay), (bx, by) = points[-1], points[0]
    bow = [
        (
            ax + t * (bx - ax) + belly * 4 * t * (1 - t) * np.sign(ax),
            ay + t * (by - ay) + 0.5 * belly * 4 * t * (1 - t),
        )
        for t in (0.2, 0.4, 0.6, 0.8)
    ]
    return polygon([*points, *bow], 0.008)


def _sail_pattern(rng: Rng, sail: Shape, cx: float, cy: float, color: Color) -> list[Part]:
    """Stripes, seams or an emblem on the main sail."""
    kind, other = rng.random(), vary(rng, pick(rng, SAIL_COLORS[2:]), 0.04)
    other = (
        other
        if sum(abs(a - b) for a, b in zip(other, color, strict=True)) > 0.3
        else tint(color, 0.5)
    )
    if kind < 0.35:
        bands = union(*(box(cx, v, 2, 0.09) for v in np.arange(-0.25, 0.7, rng.uniform(0.2, 0.3))))
        return [decal(clip_to(bands, sail), other)]
    if kind < 0.55:
        mark = circle(cx, cy, 0.09) if rng.random() < 0.5 else box(cx, cy, 0.16, 0.16, 0.785)
        return [decal(clip_to(mark, sail), other)]
    seams = union(*(capsule(cx - 0.6, v, cx + 0.6, v - 0.04, 0.009) for v in (-0.15, 0.1, 0.35)))
    return [decal(clip_to(seams, sail), tint(color, 0.8))]


def _hull(rng: Rng) -> list[Part]:
    """Curved hull with a stripe along the rail, perhaps a cabin; the bow is on the right."""
    color, bow, stern = (
        vary(rng, pick(rng, HULL_COLORS), 0.04),
        rng.uniform(0.7, 0.82),
        rng.uniform(-0.68, -0.55),
    )
    keel, rise = -0.78, rng.uniform(0.03, 0.12)
    rail = [(stern, -0.5), (0.0, -0.54), (0.4, -0.52), (bow, -0.5 + rise)]
    hull = polygon(
        [
            *rail,
            (bow - 0.14, -0.64),
            (bow - 0.33, keel),
            (stern + 0.2, keel),
            (stern + 0.07, -0.68),
        ],
        0.02,
    )
    stripe_color = pick(rng, [(0.95, 0.93, 0.88), tint(color, 0.5), (0.85, 0.65, 0.2)])
    stripe = union(*(capsule(*a, *b, 0.035) for a, b in pairwise(rail)))
    parts = []
    if rng.random() < 0.4:
        cabin = polygon([(-0.3, -0.52), (0.3, -0.52), (0.22, -0.4), (-0.28, -0.38)], 0.02)
        ports = union(*(circle(u, -0.46, 0.035) for u in (-0.17, 0.0, 0.15)))
        parts += [
            Part(cabin, (0.93, 0.91, 0.86), 0.06, 0.3),
            decal(ports, (0.2, 0.28, 0.36), gloss=0.6),
        ]
    return [
        *parts,
        Part(hull, color, 0.14, 0.35, pick(rng, ["wood", "plain"])),
        Part(clip_to(stripe, hull), stripe_color, 0.02, 0.3),
    ]


def _jib(rng: Rng, m: float, top: float, foot: float) -> Shape:
    """The sail in front of the mast at x = m."""
    tack, peak = (rng.uniform(0.66, 0.74), -0.42), top - rng.uniform(0.06, 0.25)
    return polygon(
        [(m + 0.05, peak), (m + 0.07, foot + 0.02), (0.5 * (m + tack[0]), foot - 0.03), tack], 0.006
    )


def _rig(rng: Rng) -> list[Part]:
    """One mast with two sails, a lugger's four-sided sail."""
    main = vary(rng, pick(rng, SAIL_COLORS), 0.03)
    jib = main if rng.random() < 0.5 else vary(rng, pick(rng, SAIL_COLORS), 0.03)
    wood, m, top, foot = (
        (0.45, 0.29, 0.17),
        rng.uniform(-0.02, 0.14),
        rng.uniform(0.7, 0.82),
        rng.uniform(-0.42, -0.34),
    )
    belly, kind = rng.uniform(0.02, 0.08), rng.random()
    mast, boom_end = capsule(m, -0.52, m, top + 0.03, 0.024, 0.016), m - rng.uniform(0.58, 0.72)
    boom = capsule(m, foot, boom_end, foot + 0.02, 0.02)
    if kind < 0.6:
        corners = [(m - 0.03, top - 0.04), (m - 0.03, foot + 0.05), (boom_end, foot + 0.07)]
    else:
        corners = [
            (boom_end + 0.2, top - 0.02),
            (m - 0.03, rng.uniform(0.3, 0.5)),
            (m - 0.03, foot + 0.05),
            (boom_end, foot + 0.07),
        ]
        boom = union(boom, capsule(m, corners[1][1], boom_end + 0.2, top, 0.018))
    sail = _sail(corners, belly)
    parts = [Part(union(mast, boom), wood, 0.02, 0.3, "wood")]
    parts += [Part(sail, main, 0.07, 0.05), *_sail_pattern(rng, sail, m - 0.25, 0.0, main)]
    if kind < 0.85:
        parts.append(Part(_jib(rng, m, top, foot), jib, 0.06, 0.05))
    if rng.random() < 0.6:
        flag = polygon(
            [
                (m + 0.01, top + 0.08),
                (m + 0.01, top - 0.02),
                (m + pick(rng, [-0.2, 0.2]), top + 0.03),
            ],
            0.006,
        )
        parts.append(Part(flag, vary(rng, pick(rng, FLAG_COLORS), 0.04), 0.02))
    return parts


def sailboat(rng: np.random.Generator) -> Figure:
    """A small sailing boat: curved hull, mast, one or two sails, often a strip of waves."""
    parts = _rig(rng) + _hull(rng)
    if rng.random() < 0.6:
        crests = [
            ellipse(u, -0.8, 0.13, 0.075)
            for u in np.linspace(-0.75, 0.75, 7) + rng.uniform(-0.06, 0.06)
        ]
        water = union(*crests, box(0, -0.83, 1.66, 0.08, round=0.03))
        parts.append(Part(water, vary(rng, (0.25, 0.5, 0.68)), 0.05, 0.4))
    return fitted(parts)
