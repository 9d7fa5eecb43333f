"""What cat and dog share on purpose: their coats, and the way they lie."""

from __future__ import annotations

from .kit import Rng, limb, pick, tint, vary
from .shapes import (
    Color,
    Part,
    Shape,
    blend,
    capsule,
    curve,
    ellipse,
    union,
)

Coat = tuple[Color, Color, Color]  # base, patches, limbs on the far side
CREAM = (0.95, 0.92, 0.86)
PINK = (0.88, 0.56, 0.56)
# The two share most of their coats on purpose, so that colour does not give the class away.
COATS = [
    (0.16, 0.15, 0.16),
    (0.5, 0.5, 0.53),
    (0.84, 0.53, 0.25),
    (0.92, 0.83, 0.68),
    (0.52, 0.38, 0.27),
    (0.93, 0.92, 0.9),
    (0.36, 0.25, 0.18),
    (0.68, 0.48, 0.3),
    (0.35, 0.37, 0.42),
]


def new_coat(rng: Rng) -> Coat:
    """Base colour, a second colour for patches, and a darker one for limbs on the far side."""
    base = vary(rng, pick(rng, COATS))
    second = (
        CREAM if sum(base) < 2.1 and rng.random() < 0.6 else tint(base, rng.uniform(0.45, 0.65))
    )
    return base, second, tint(base, 0.7)


def fur(shape: Shape, color: Color, bulge: float = 0.2, line: bool = True) -> Part:
    """A part covered with hair."""
    return Part(shape, color, bulge=bulge, gloss=0.08, grain="fur", line=line)


def lying(rng: Rng, coat: Coat, thin: float) -> tuple[list[Part], Shape]:
    """Lying on the belly, head to the right, with a tail of radius `thin`; and the body's shape."""
    base, _, dark = coat
    body = blend(
        0.15,
        ellipse(-0.15, -0.28, 0.5, rng.uniform(0.25, 0.3)),
        capsule(0.2, -0.25, 0.33, 0.0, 0.22, 0.17),
    )
    thigh = ellipse(-0.38, -0.35, 0.22, 0.2, rng.uniform(-0.3, 0.3))
    foot = capsule(-0.4, -0.5, -0.12, -0.51, 0.065, 0.06)
    near = limb([(0.22, -0.3), (0.3, -0.5), (rng.uniform(0.58, 0.7), -0.5)], [0.13, 0.075, 0.065])
    far = capsule(0.3, -0.45, rng.uniform(0.6, 0.75), -0.46, 0.07)
    up = rng.uniform(-0.45, 0.15)
    tail = curve([(-0.55, -0.4), (-0.8, -0.55), (-0.88, -0.3), (-0.74, up)], thin, 0.7 * thin, 6)
    return [
        fur(far, dark, 0.06),
        fur(tail, base, 0.06),
        fur(body, base),
        fur(union(thigh, foot), base, 0.15),
        fur(near, base, 0.09),
    ], body
