"""Helpers that the class definitions share: colour variation, and parts that animals share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .shapes import Color, Figure, Part, Shape, blend, capsule, circle, place_figure, union

Rng = np.random.Generator
Point = tuple[float, float]
BRIGHT = [
    (0.95, 0.5, 0.12),
    (0.95, 0.8, 0.2),
    (0.2, 0.45, 0.8),
    (0.85, 0.2, 0.25),
    (0.3, 0.68, 0.6),
    (0.55, 0.35, 0.68),
    (0.6, 0.66, 0.72),
    (0.9, 0.55, 0.65),
    (0.5, 0.6, 0.3),
]
INK: Color = (0.1, 0.09, 0.1)


def pick(rng: Rng, options: Sequence):
    """One of the options, each equally likely (works for tuples, which rng.choice would unpack)."""
    return options[int(rng.integers(len(options)))]


def tint(color: Color, factor: float) -> Color:
    """Darker (factor < 1) or, towards white, lighter (factor > 1)."""
    if factor <= 1:
        return tuple(c * factor for c in color)
    return tuple(1 - (1 - c) / factor for c in color)


def vary(rng: Rng, color: Color, amount: float = 0.05) -> Color:
    """A neighbouring colour: mostly a change of brightness, a little of hue."""
    brightness, warmth = rng.normal(0, amount), rng.normal(0, amount / 4)
    shifts = (brightness + warmth, brightness + rng.normal(0, amount / 8), brightness - warmth)
    return tuple(float(np.clip(c + s, 0.06, 0.98)) for c, s in zip(color, shifts, strict=True))


def light(color: Color) -> bool:
    """Whether dark details show on this colour."""
    return sum(color) > 1.0


def decal(shape: Shape, color: Color, gloss: float = 0.05, grain: str = "plain") -> Part:
    """Something painted flat on the part below, without an outline: spots, stripes, pupils."""
    return Part(shape, color, bulge=0.0, gloss=gloss, grain=grain, line=False)


def limb(points: Sequence[Point], radii: Sequence[float]) -> Shape:
    """Straight bones through the points, radius given at each point, joints smoothed."""
    bones = zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)
    return blend(0.05, *(capsule(*a, *b, ra, rb) for a, b, ra, rb in bones))


def glint_eye(x: float, y: float, r: float) -> list[Part]:
    """A dark round eye with a white glint, and a pale rim so that it also shows on black coats."""
    return [
        decal(circle(x, y, r * 1.3), (0.93, 0.9, 0.84)),
        Part(circle(x, y, r), INK, bulge=0.02, gloss=0.9, line=False),
        decal(circle(x + 0.3 * r, y + 0.35 * r, max(0.36 * r, 0.012)), (1, 1, 1)),
    ]


def smooth(points: Sequence[Point], passes: int = 1) -> list[Point]:
    """The closed polygon with its corners cut off (Chaikin): wings, fins, leaves."""
    p = np.asarray(points, dtype=float)
    for _ in range(passes):
        after = np.roll(p, -1, axis=0)
        p = np.stack([0.75 * p + 0.25 * after, 0.25 * p + 0.75 * after], 1).reshape(-1, 2)
    return [(float(u), float(v)) for u, v in p]


def both(shape: Shape) -> Shape:
    """The shape on the right and its mirror image on the left, at the price of one."""
    return lambda x, y: shape(np.abs(x), y)


def fan(
    cx: float, cy: float, angles: Sequence[float], r_in: float, r_out: float, radius: float
) -> Shape:
    """Thin straight rays around a centre: spokes, whiskers."""
    rays = []
    for a in angles:
        c, s = np.cos(a), np.sin(a)
        rays.append(capsule(cx + r_in * c, cy + r_in * s, cx + r_out * c, cy + r_out * s, radius))
    return union(*rays)


def two_colors(rng: Rng) -> tuple[Color, Color]:
    """A bright colour and another that stands out from it."""
    i, j = rng.permutation(len(BRIGHT))[:2]
    other = pick(rng, [BRIGHT[j], (0.95, 0.94, 0.9), (0.15, 0.15, 0.2), tint(BRIGHT[i], 0.5)])
    return vary(rng, BRIGHT[i]), vary(rng, other, 0.03)


def fitted(parts: Sequence[Part], airborne: bool = False, half: float = 0.87) -> Figure:
    """The parts as a centred figure whose larger side, which is measured here, is 2 x `half`."""
    t = np.linspace(-1.3, 1.3, 53)
    x, y = np.meshgrid(t, t)
    inside = np.any(
        [p.shape(x, y) < 0.02 for p in parts], axis=0
    )  # 0.02: parts thinner than the mesh
    spans = [t[np.flatnonzero(inside.any(axis))[[0, -1]]] for axis in (0, 1)]
    scale = 2 * half / max(hi - lo for lo, hi in spans)
    dx, dy = (-scale * 0.5 * (lo + hi) for lo, hi in spans)
    return place_figure(
        Figure(tuple(parts), airborne), scale=float(scale), dx=float(dx), dy=float(dy)
    )
