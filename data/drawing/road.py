"""What car and bus share: paint, glass, wheels."""

from __future__ import annotations

from .kit import Rng, decal, pick, tint, vary
from .shapes import (
    Color,
    Part,
    Shape,
    circle,
    union,
)

# One list for both, so that colour does not give the class away.
PAINTS = [
    (0.8, 0.13, 0.12),
    (0.13, 0.32, 0.68),
    (0.93, 0.73, 0.15),
    (0.15, 0.47, 0.3),
    (0.9, 0.9, 0.88),
    (0.22, 0.23, 0.25),
    (0.55, 0.58, 0.62),
    (0.9, 0.48, 0.13),
    (0.35, 0.66, 0.75),
    (0.5, 0.16, 0.22),
]
GLASS, RUBBER, CHROME = (0.62, 0.78, 0.86), (0.13, 0.13, 0.14), (0.72, 0.73, 0.76)
RIMS = [CHROME, (0.85, 0.85, 0.86), (0.4, 0.41, 0.43)]
LAMP, TAIL_LAMP = (0.99, 0.93, 0.65), (0.85, 0.12, 0.1)


def paint(shape: Shape, color: Color, bulge: float = 0.12) -> Part:
    """A part of painted sheet metal."""
    return Part(shape, color, bulge=bulge, gloss=0.7, grain="metal")


def wheels(xs: tuple[float, ...], y: float, r: float, rim: Color) -> list[Part]:
    """Tyres, bright rims and dark hub caps, each kind in one part."""
    tyres = union(*(circle(u, y, r) for u in xs))
    rims = union(*(circle(u, y, 0.58 * r) for u in xs))
    caps = union(*(circle(u, y, 0.2 * r) for u in xs))
    return [
        Part(tyres, RUBBER, 0.05, 0.2),
        Part(rims, rim, 0.04, 0.8, "metal", line=False),
        decal(caps, tint(rim, 0.45)),
    ]


def new_glass(rng: Rng) -> Color:
    """A colour for all windows of one vehicle."""
    return vary(rng, pick(rng, [GLASS, (0.3, 0.38, 0.45), (0.5, 0.66, 0.74)]), 0.04)
