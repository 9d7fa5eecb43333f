"""Fish from the side."""

from __future__ import annotations

import numpy as np

from .kit import (
    Rng,
    decal,
    fitted,
    glint_eye,
    smooth,
    tint,
    two_colors,
)
from .shapes import (
    Color,
    Figure,
    Part,
    Shape,
    blend,
    capsule,
    circle,
    clip_to,
    curve,
    cut,
    ellipse,
    polygon,
    union,
)


def _fish_fins(rng: Rng, h: float) -> tuple[Shape, Shape]:
    """Tail, back fin and belly fin of a fish with a body of half-height h; and the fins' rays."""
    spread, notch = rng.uniform(0.26, 0.42), rng.uniform(-0.02, 0.2)
    low = -spread * rng.uniform(0.8, 1.1)
    tail = smooth(
        [
            (-0.42, 0.05),
            (-0.66, 0.7 * spread),
            (-0.84, spread),
            (-0.84 + notch, 0.0),
            (-0.84, low),
            (-0.66, 0.7 * low),
            (-0.42, -0.05),
        ]
    )
    peak, sweep = h + rng.uniform(0.12, 0.28), rng.uniform(-0.35, -0.05)
    back = smooth(
        [
            (0.34, h * 0.7),
            (sweep + 0.22, peak),
            (sweep - 0.16, peak - 0.06),
            (-0.38, h * 0.4),
            (0, h * 0.5),
        ]
    )
    belly = smooth(
        [(0.18, -h * 0.7), (-0.06, -peak + 0.02), (-0.24, -peak + 0.1), (-0.14, -h * 0.5)]
    )
    rays = [
        capsule(-0.5, 0.3 * v, -0.82, v, 0.011)
        for v in (0.6 * spread, 0.15 * spread, -0.25 * spread, 0.7 * low)
    ]
    rays += [
        capsule(u, h * 0.8, u * 0.6 + 0.55 * sweep, peak - 0.04, 0.011) for u in (0.16, 0.0, -0.16)
    ]
    fins = union(*(polygon(p, 0.03) for p in (tail, back, belly)))
    return fins, clip_to(union(*rays), fins)


def _fish_pattern(rng: Rng, body: Shape, h: float, color: Color, other: Color) -> list[Part]:
    """Upright bands, a stripe along the side, dots or scales."""
    kind = rng.random()
    if kind < 0.35:
        bands = union(
            *(
                curve([(u, h), (u + 0.1, 0), (u, -h)], w, steps=3)
                for u, w in zip((-0.38, -0.1, 0.18), rng.uniform(0.035, 0.075, 3), strict=True)
            )
        )
        return [decal(clip_to(bands, body), other, gloss=0.3)]
    if kind < 0.5:
        return [decal(clip_to(capsule(-0.6, 0.02, 0.2, 0.03, 0.08), body), other, gloss=0.3)]
    if kind < 0.7:
        xy = rng.uniform((-0.45, -0.7 * h), (0.22, 0.8 * h), (9, 2))
        return [
            decal(
                clip_to(union(*(circle(u, v, rng.uniform(0.025, 0.05)) for u, v in xy)), body),
                other,
                gloss=0.3,
            )
        ]
    size = 0.13
    rows = [
        (u * size * 1.1 + (size * 0.55 if v % 2 else 0) - 0.45, v * size * 0.9)
        for u in range(5)
        for v in range(-2, 3)
    ]
    arcs = (
        cut(circle(u, v, 0.078), circle(u + 0.028, v, 0.074)) for u, v in rows if abs(v) < 0.75 * h
    )
    return [decal(clip_to(union(*arcs), body), tint(color, 0.65), gloss=0.3)]


def fish(rng: np.random.Generator) -> Figure:
    """A fish from the side: lens-shaped body, forked tail, fins, round eye, gill."""
    color, other = two_colors(rng)
    fin_color = (
        other if rng.random() < 0.4 and sum(other) > 0.6 else tint(color, rng.uniform(0.7, 0.85))
    )
    h = rng.uniform(0.22, 0.5)
    body = blend(
        0.12, ellipse(0.12, 0, 0.62 - 0.12 * (h > 0.42), h), capsule(-0.3, 0, -0.55, 0, 0.15, 0.07)
    )
    fins, rays = _fish_fins(rng, h)
    pale = clip_to(ellipse(0.1, -h, 0.6, 0.55 * h), body)
    parts = [
        Part(fins, fin_color, 0.05, 0.3),
        decal(rays, tint(fin_color, 0.7)),
        Part(body, color, 0.28, 0.6),
    ]
    if rng.random() < 0.4:
        parts.append(decal(pale, tint(color, 1.8), gloss=0.4))
    parts += _fish_pattern(rng, body, h, color, other)
    gill = curve([(0.33, 0.6 * h), (0.22, 0), (0.33, -0.55 * h)], 0.014, steps=4)
    mouth = curve([(0.75, -0.04), (0.6, -0.1), (0.5, -0.06)], 0.014, steps=3)
    flap = blend(
        0.04, ellipse(0.04, -0.13, 0.14, 0.07, rng.uniform(0.1, 0.7)), circle(0.15, -0.08, 0.05)
    )
    eye_r = rng.uniform(0.04, 0.055)
    parts += [
        decal(clip_to(union(gill, mouth), body), tint(color, 0.4)),
        Part(flap, fin_color, 0.04, 0.3),
        *glint_eye(0.48, 0.28 * h, eye_r),
    ]
    return fitted(parts, airborne=True)
