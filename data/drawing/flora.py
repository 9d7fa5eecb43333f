"""What the plants share: colours of leaves, bark and soil, and the ground they stand on."""

from __future__ import annotations

from .ornament import BROWN, GREEN, TAN, Rng, dark
from .shapes import Color, Part, box, clip_to, ellipse

BARK = (BROWN, dark(BROWN, 0.35), TAN, (0.47, 0.42, 0.38))
SAND = (0.88, 0.78, 0.55)
LEAVES = (GREEN, (0.22, 0.48, 0.26), (0.48, 0.66, 0.25), (0.62, 0.68, 0.30), (0.30, 0.55, 0.42))


def mound(rng: Rng, color: Color, width: float) -> Part:
    """Ground that a plant stands on."""
    return Part(
        clip_to(ellipse(0, -0.86, width, rng.uniform(0.09, 0.15)), box(0, -0.3, 2, 1.1)),
        color,
        0.08,
        0.0,
    )
