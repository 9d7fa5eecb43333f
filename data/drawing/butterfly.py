"""Butterfly: wings spread, or folded at rest."""

from __future__ import annotations

import numpy as np

from .kit import (
    INK,
    Rng,
    both,
    decal,
    fitted,
    pick,
    smooth,
    tint,
    two_colors,
)
from .shapes import (
    Figure,
    Part,
    Shape,
    blend,
    capsule,
    circle,
    clip_to,
    curve,
    cut,
    polygon,
    union,
)


def _wing_pair(rng: Rng) -> tuple[Shape, Shape, tuple[float, float], tuple[float, float]]:
    """Right upper and lower wing, and where their spots sit."""
    ux, uy = rng.uniform(0.64, 0.8), rng.uniform(0.54, 0.74)
    upper = [
        (0.02, 0.16),
        (0.26, uy - 0.1),
        (ux - 0.1, uy + 0.05),
        (ux + 0.07, uy - 0.06),
        (ux, 0.18),
        (0.5, 0.0),
        (0.03, -0.05),
    ]
    lx, ly = rng.uniform(0.46, 0.62), rng.uniform(-0.72, -0.54)
    lower = [
        (0.02, 0.06),
        (0.4, 0.04),
        (lx + 0.08, -0.14),
        (lx, ly + 0.1),
        (lx - 0.22, ly),
        (0.12, ly + 0.24),
        (0.03, -0.25),
    ]
    low = polygon(smooth(lower), 0.04)
    if rng.random() < 0.35:  # swallowtail
        low = blend(0.06, low, capsule(lx - 0.14, ly + 0.06, lx - 0.08, ly - 0.17, 0.07, 0.035))
    return polygon(smooth(upper), 0.04), low, (0.7 * ux, 0.6 * uy), (0.6 * lx, 0.48 * ly)


def _inset(shape: Shape, by: float) -> Shape:
    """The shape without a border of this width."""
    return lambda x, y: shape(x, y) + by


def _butterfly_open(rng: Rng) -> list[Part]:
    """Seen from above, wings spread."""
    color, other = two_colors(rng)
    rim = pick(rng, [(0.13, 0.11, 0.12), (0.13, 0.11, 0.12), tint(color, 0.4)])
    upper, lower, up_spot, low_spot = _wing_pair(rng)
    inner = _inset(upper, rng.uniform(0.03, 0.075))
    second = (
        color if rng.random() < 0.5 else tint(other, 0.9) if sum(other) > 0.7 else tint(color, 0.75)
    )
    parts = [
        Part(both(lower), rim, 0.03),
        decal(both(cut(_inset(lower, 0.045), upper)), second),
        Part(both(upper), rim, 0.03),
        decal(both(inner), color),
    ]
    if rng.random() < 0.5:
        veins = union(
            *(capsule(0.08, 0.06, u, v, 0.011) for u, v in ((0.5, 0.55), (0.7, 0.3), (0.28, 0.5)))
        )
        parts.append(decal(both(clip_to(veins, inner)), rim))
    spots = union(
        circle(*up_spot, rng.uniform(0.07, 0.13)), circle(*low_spot, rng.uniform(0.06, 0.1))
    )
    parts.append(decal(both(spots), other if sum(other) > 0.7 else rim))
    if rng.random() < 0.5:
        parts.append(decal(both(union(circle(*up_spot, 0.038), circle(*low_spot, 0.035))), INK))
    body = union(capsule(0, 0.2, 0, -0.4, 0.07, 0.035), circle(0, 0.28, 0.08))
    tip = (rng.uniform(0.2, 0.32), rng.uniform(0.62, 0.74))
    feeler = union(curve([(0.02, 0.32), (0.06, 0.55), tip], 0.016, steps=4), circle(*tip, 0.03))
    return [
        Part(both(feeler), INK, 0.02, line=False),
        *parts,
        Part(body, (0.22, 0.17, 0.15), 0.07, 0.3, "fur"),
    ]


def _butterfly_folded(rng: Rng) -> list[Part]:
    """At rest, from the side: wings together above the body."""
    color, other = two_colors(rng)
    rim, top = pick(rng, [(0.13, 0.11, 0.12), tint(color, 0.45)]), rng.uniform(0.72, 0.84)
    fore = polygon(
        smooth(
            [
                (0.22, -0.42),
                (0.42, 0.2),
                (0.46, top),
                (0.2, top + 0.03),
                (-0.2, 0.35),
                (-0.05, -0.35),
            ]
        ),
        0.03,
    )
    hind = polygon(
        smooth(
            [(0.1, -0.46), (0.0, 0.1), (-0.3, 0.36), (-0.68, 0.2), (-0.7, -0.2), (-0.42, -0.52)]
        ),
        0.03,
    )
    parts, second = [], tint(color, 0.8)
    for wing, paint in ((fore, color), (hind, second)):
        inner = _inset(wing, rng.uniform(0.04, 0.07))
        parts += [Part(wing, rim, 0.03), decal(inner, paint)]
    veins = union(
        *(capsule(0.06, -0.4, u, v, 0.011) for u, v in ((-0.25, 0.28), (-0.5, 0.18), (-0.62, -0.1)))
    )
    spots = union(circle(0.22, 0.45, 0.1), circle(-0.38, -0.06, 0.11), circle(0.05, 0.25, 0.05))
    eyes = union(circle(0.22, 0.45, 0.045), circle(-0.38, -0.06, 0.05))
    parts += [
        decal(clip_to(veins, _inset(hind, 0.05)), rim),
        decal(spots, other if sum(other) > 0.7 else (0.95, 0.9, 0.8)),
        decal(eyes, INK),
    ]
    body = union(capsule(-0.35, -0.62, 0.2, -0.45, 0.05, 0.08), circle(0.3, -0.4, 0.085))
    legs = union(*(capsule(u, -0.5, u + 0.05, -0.7, 0.014) for u in (0.0, 0.12, 0.22)))
    feelers = union(
        *(
            union(curve([(0.34, -0.36), (0.5, -0.25), (u, v)], 0.016, steps=4), circle(u, v, 0.03))
            for u, v in ((0.62, 0.06), (0.76, -0.06))
        )
    )
    return [
        Part(union(legs, feelers), INK, 0.02, line=False),
        *parts,
        Part(body, (0.22, 0.17, 0.15), 0.07, 0.3, "fur"),
    ]


def butterfly(rng: np.random.Generator) -> Figure:
    """A butterfly: four patterned wings, slim body, two feelers."""
    parts = _butterfly_folded(rng) if rng.random() < 0.25 else _butterfly_open(rng)
    return fitted(parts, airborne=True)
