"""Airplane: airliner or propeller plane from the side, or an airliner from above."""

from __future__ import annotations

import numpy as np

from .kit import (
    Rng,
    both,
    decal,
    fitted,
    pick,
    tint,
    vary,
)
from .shapes import (
    Color,
    Figure,
    Part,
    Shape,
    blend,
    box,
    capsule,
    circle,
    clip_to,
    ellipse,
    place_figure,
    polygon,
    union,
)

BODIES = [
    (0.93, 0.94, 0.95),
    (0.93, 0.94, 0.95),
    (0.75, 0.78, 0.82),
    (0.95, 0.85, 0.4),
    (0.6, 0.78, 0.88),
    (0.85, 0.35, 0.3),
]
LIVERIES = [
    (0.8, 0.15, 0.17),
    (0.12, 0.3, 0.65),
    (0.1, 0.5, 0.45),
    (0.95, 0.6, 0.12),
    (0.3, 0.22, 0.45),
    (0.2, 0.22, 0.27),
]
GEAR = [(0.3, -0.1, 0.36, -0.34), (0.2, -0.1, 0.34, -0.34), (-0.68, 0.0, -0.72, -0.1)]
GLASS = (0.25, 0.36, 0.47)


def _skin(shape: Shape, color: Color, bulge: float = 0.1) -> Part:
    """A part of the metal skin."""
    return Part(shape, color, bulge=bulge, gloss=0.6, grain="metal")


def _airliner(rng: Rng, body: Color, livery: Color) -> list[Part]:
    """Side view, nose to the right: swept wing towards us, fin, engine, row of round windows."""
    fat = rng.uniform(0.125, 0.16)
    hull = blend(
        0.05,
        capsule(-0.45, 0.0, 0.58, 0.0, fat),
        capsule(-0.4, 0.02, -0.78, 0.07, fat * 0.9, 0.035),
        ellipse(0.66, -0.02, 0.18, fat * 0.8),
    )
    lean = rng.uniform(0.1, 0.2)
    fin = polygon([(-0.48, 0.1), (-0.68 - lean * 0.5, 0.52), (-0.84, 0.52), (-0.76, 0.08)], 0.02)
    tailplane = polygon([(-0.55, 0.05), (-0.78, -0.1), (-0.88, -0.1), (-0.74, 0.07)], 0.015)
    reach, sweep = rng.uniform(0.42, 0.55), rng.uniform(0.3, 0.45)
    wing = polygon(
        [(0.24, -0.04), (-0.02 - sweep, -reach), (-0.14 - sweep, -reach), (-0.16, -0.05)], 0.02
    )
    far_wing = polygon([(0.2, 0.08), (-0.02, 0.34), (-0.12, 0.34), (-0.08, 0.08)], 0.015)
    ex = 0.05 - 0.3 * sweep
    engine = capsule(ex, -0.25, ex + 0.19, -0.25, 0.075)
    row = union(
        *(circle(u, 0.045, 0.024) for u in np.linspace(-0.42, 0.42, int(rng.integers(8, 11))))
    )
    cockpit = polygon([(0.6, 0.1), (0.68, 0.11), (0.77, 0.04), (0.6, 0.03)], 0.01)
    stripe = clip_to(box(0, -0.045, 2, rng.uniform(0.04, 0.09)), hull)
    mouth = ellipse(ex + 0.23, -0.25, 0.03, 0.06)
    return [
        _skin(far_wing, tint(body, 0.75), 0.03),
        _skin(fin, livery, 0.04),
        _skin(hull, body, 0.14),
        decal(stripe, livery, gloss=0.5),
        decal(row, GLASS, gloss=0.7),
        Part(cockpit, GLASS, 0.02, 0.9),
        _skin(tailplane, tint(body, 0.85), 0.03),
        _skin(engine, livery if rng.random() < 0.5 else (0.6, 0.62, 0.66), 0.07),
        decal(mouth, (0.15, 0.15, 0.18)),
        _skin(wing, tint(body, 0.88), 0.03),
    ]


def _from_above(rng: Rng, body: Color, livery: Color) -> list[Part]:
    """Cross shape, nose up: two swept wings with engines, two small tail wings."""
    sweep, w, fat = rng.uniform(0.15, 0.4), rng.uniform(0.72, 0.82), rng.uniform(0.1, 0.125)
    hull = blend(
        0.05,
        capsule(0, -0.5, 0, 0.62, fat),
        capsule(0, -0.5, 0, -0.78, fat * 0.9, 0.03),
        ellipse(0, 0.7, fat * 0.85, 0.15),
    )
    wing = polygon([(0.05, 0.25), (w, 0.12 - sweep), (w, 0.0 - sweep), (0.05, -0.12)], 0.02)
    tail = polygon(
        [
            (0.03, -0.55),
            (0.3, -0.55 - 0.4 * sweep - 0.08),
            (0.3, -0.65 - 0.4 * sweep - 0.08),
            (0.03, -0.72),
        ],
        0.015,
    )
    tips = clip_to(wing, box(w, 0, 0.3, 3))
    ey = 0.22 - sweep * 0.45
    engines = [capsule(0.32, ey - 0.05, 0.32, ey + 0.09, 0.06)]
    if rng.random() < 0.4:
        engines.append(capsule(0.54, ey - sweep * 0.3 - 0.06, 0.54, ey - sweep * 0.3 + 0.06, 0.05))
    panes = polygon([(-0.06, 0.66), (0.06, 0.66), (0.045, 0.74), (-0.045, 0.74)], 0.01)
    spine = capsule(0, -0.45, 0, -0.78, 0.025)

    return [
        _skin(both(union(*engines)), (0.55, 0.57, 0.61), 0.05),
        _skin(both(union(wing, tail)), tint(body, 0.88), 0.03),
        decal(both(tips), livery, gloss=0.5),
        _skin(hull, body, 0.12),
        Part(panes, GLASS, 0.02, 0.9),
        _skin(spine, livery, 0.02),
    ]


def _propeller_plane(rng: Rng, body: Color, livery: Color) -> list[Part]:
    """Small plane from the side: high or low wing, or a biplane; propeller in front, two wheels."""
    belly = rng.uniform(0.17, 0.21)
    hull = blend(
        0.08,
        ellipse(0.25, 0.0, 0.42, belly),
        capsule(0.1, 0.0, -0.72, 0.06, belly * 0.85, 0.05),
        capsule(0.4, 0, 0.62, 0.0, belly * 0.8),
    )
    fin = polygon([(-0.5, 0.08), (-0.7, 0.4), (-0.84, 0.4), (-0.76, 0.05)], 0.03)
    kind = pick(rng, ["high", "low", "bi"])
    heights = {"high": (0.27,), "low": (-0.1,), "bi": (0.36, -0.12)}[kind]
    wings = union(*(capsule(-0.12, v - 0.03, 0.38, v + 0.03, 0.04, 0.055) for v in heights))
    struts = union(capsule(0.0, 0.32, 0.02, -0.1, 0.016), capsule(0.28, 0.34, 0.28, -0.1, 0.016))
    canopy = ellipse(0.1, 0.16, 0.2, 0.14)
    gear = union(*(capsule(*p, 0.02) for p in GEAR))
    wheel = union(circle(0.36, -0.36, 0.085), circle(-0.72, -0.1, 0.035))
    turn = rng.uniform(0.3, 0.42)
    prop = union(
        ellipse(0.83, turn * 0.5, 0.03, turn * 0.5), ellipse(0.83, -turn * 0.5, 0.03, turn * 0.5)
    )
    stripe = clip_to(capsule(-0.8, 0.05, 0.7, -0.03, 0.04), hull)
    parts = [
        Part(canopy, (0.55, 0.72, 0.82), 0.08, 0.9),
        Part(gear, (0.4, 0.4, 0.43), 0.02, 0.4),
        Part(wheel, (0.14, 0.14, 0.15), 0.03, 0.2),
    ]
    parts += [_skin(fin, livery, 0.04), _skin(hull, body, 0.18), decal(stripe, livery, gloss=0.5)]
    parts.append(_skin(capsule(-0.82, 0.06, -0.62, 0.05, 0.035), tint(livery, 0.85), 0.03))
    if kind != "low":
        parts.append(Part(struts, (0.4, 0.3, 0.2), 0.02, 0.3))
    return [
        *parts,
        _skin(wings, livery, 0.05),
        Part(prop, (0.45, 0.3, 0.18), 0.02, 0.4, "wood"),
        Part(circle(0.83, 0, 0.06), tint(livery, 0.8), 0.05, 0.7),
    ]


def airplane(rng: np.random.Generator) -> Figure:
    """An airplane with a long hull, wings and a tail fin: climbing, level, or seen from above."""
    body, livery = vary(rng, pick(rng, BODIES), 0.03), vary(rng, pick(rng, LIVERIES), 0.04)
    if sum(abs(a - b) for a, b in zip(body, livery, strict=True)) < 0.5:
        livery = tint(livery, 0.5)
    kind = rng.random()
    if kind < 0.45:
        parts, angle = _airliner(rng, body, livery), rng.uniform(-0.1, 0.4)
    elif kind < 0.75:
        parts, angle = _from_above(rng, body, livery), rng.uniform(-0.9, 0.9)
    else:
        parts, angle = _propeller_plane(rng, body, livery), rng.uniform(-0.05, 0.3)
    return fitted(place_figure(Figure(tuple(parts)), angle=angle).parts, airborne=True)
