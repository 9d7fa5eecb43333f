"""Elephant: from the side or from the front."""

from __future__ import annotations

import numpy as np

from .kit import Rng, decal, fitted, glint_eye, limb, pick, tint, vary
from .shapes import (
    Color,
    Figure,
    Part,
    Shape,
    blend,
    capsule,
    circle,
    curve,
    ellipse,
    union,
)

WHITE = (0.95, 0.94, 0.91)
ELEPHANT_SKINS = [
    (0.55, 0.56, 0.6),
    (0.47, 0.47, 0.5),
    (0.6, 0.54, 0.49),
    (0.66, 0.66, 0.68),
    (0.5, 0.43, 0.38),
    (0.45, 0.5, 0.57),
    (0.7, 0.6, 0.56),
]


def _hide(shape: Shape, color: Color, bulge: float = 0.2) -> Part:
    """A part covered with bare skin."""
    return Part(shape, color, bulge=bulge, gloss=0.15, grain="plain")


def _toenails(feet: list[float]) -> Shape:
    """Three nails on each foot at these x."""
    return union(*(circle(u + k * 0.06, -0.795, 0.024) for u in feet for k in (-1, 0, 1)))


def _trunk(rng: Rng) -> Shape:
    """Hanging, reaching forward, or raised."""
    kind, a = rng.random(), rng.uniform(-0.08, 0.08)
    if kind < 0.45:
        return curve(
            [(0.6, 0.12), (0.78, -0.15), (0.66 + a, -0.55), (0.86 + a, -0.62)], 0.125, 0.05, 7
        )
    if kind < 0.7:
        return curve(
            [(0.58, 0.1), (0.75, -0.5), (0.98, -0.25 + a), (0.92, 0.02 + a)], 0.125, 0.05, 7
        )
    return curve([(0.58, 0.12), (0.88, -0.25), (0.92, 0.3), (0.78 + a, 0.68)], 0.125, 0.05, 7)


def _elephant_side(rng: Rng, skin: Color) -> list[Part]:
    """Profile to the right, walking or standing."""
    stride, dark = rng.uniform(0, 0.14), tint(skin, 0.7)
    body = blend(0.15, ellipse(-0.2, 0.1, 0.5, rng.uniform(0.34, 0.4)), circle(0.25, 0.15, 0.26))
    near = [
        limb([(0.18, -0.1), (0.2 + stride, -0.76)], [0.19, 0.13]),
        limb([(-0.5, -0.05), (-0.5 - stride, -0.76)], [0.2, 0.13]),
    ]
    far = [
        limb([(0.1, -0.1), (0.07 - stride, -0.74)], [0.17, 0.12]),
        limb([(-0.4, -0.1), (-0.33 + stride, -0.74)], [0.18, 0.12]),
    ]
    tail = limb([(-0.66, 0.22), (-0.78, -0.05), (-0.76, -0.3)], [0.035, 0.022, 0.02])
    head = blend(0.08, circle(0.46, 0.26, 0.25), _trunk(rng))
    w, h = rng.uniform(0.2, 0.27), rng.uniform(0.26, 0.36)
    ear = blend(0.06, ellipse(0.24, 0.24, w, h, 0.15), ellipse(0.2, 0.02, 0.6 * w, 0.8 * h, 0.2))
    tusk = curve([(0.6, 0.03), (0.68, -0.14), (0.86, -0.1)], 0.042, 0.018, 4)
    parts = [
        _hide(union(*far), dark, 0.12),
        _hide(tail, dark, 0.03),
        Part(ellipse(-0.755, -0.33, 0.035, 0.07), tint(skin, 0.35), 0.03),
        _hide(blend(0.07, body, *near), skin, 0.3),
    ]
    nails = decal(_toenails([0.23 + stride, -0.46 - stride]), tint(skin, 1.8), gloss=0.3)
    parts += [nails, _hide(head, skin, 0.18), Part(tusk, WHITE, 0.04, 0.5)]
    parts += [_hide(ear, tint(skin, 0.87), 0.06), *glint_eye(0.54, 0.3, 0.034)]
    return parts


def _elephant_front(rng: Rng, skin: Color) -> list[Part]:
    """Facing us: both ears spread, the trunk between two tusks."""
    dark, w, h = tint(skin, 0.75), rng.uniform(0.27, 0.32), rng.uniform(0.32, 0.4)
    body = blend(
        0.1,
        ellipse(0, -0.1, 0.44, 0.42),
        *(limb([(m * 0.27, -0.2), (m * 0.29, -0.75)], [0.18, 0.14]) for m in (-1, 1)),
    )
    ears = [
        blend(
            0.05, ellipse(m * 0.5, 0.38, w, h, m * 0.2), ellipse(m * 0.42, 0.15, 0.2, 0.28, m * 0.2)
        )
        for m in (-1, 1)
    ]
    insides = [ellipse(m * 0.5, 0.34, 0.66 * w, 0.7 * h, m * 0.2) for m in (-1, 1)]
    sway, end = rng.uniform(-0.2, 0.2), rng.uniform(-0.62, -0.45)
    trunk = curve([(0, 0.2), (0, -0.2), (-sway, end), (sway * 1.5, end)], 0.135, 0.06, 7)
    head = blend(0.08, ellipse(0, 0.4, 0.28, 0.33), trunk)
    tusks = union(
        *(
            curve([(m * 0.15, 0.08), (m * 0.22, -0.12), (m * 0.3, -0.2)], 0.042, 0.018, 3)
            for m in (-1, 1)
        )
    )
    parts = [_hide(body, dark, 0.3), decal(_toenails([-0.29, 0.29]), tint(skin, 1.8), gloss=0.3)]
    parts += [
        _hide(union(*ears), skin, 0.08),
        decal(union(*insides), tint(vary(rng, (0.75, 0.55, 0.55), 0.03), 0.95)),
    ]
    parts += [Part(tusks, WHITE, 0.04, 0.5), _hide(head, skin, 0.2)]
    for m in (-1, 1):
        parts += glint_eye(m * 0.15, 0.36, 0.034)
    wrinkles = union(*(capsule(-0.06, v, 0.06, v, 0.01) for v in (0.06, -0.06, -0.18)))
    return [*parts, decal(wrinkles, tint(skin, 0.65))]


def elephant(rng: np.random.Generator) -> Figure:
    """An elephant: trunk, big ears, tusks, columns for legs."""
    skin = vary(rng, pick(rng, ELEPHANT_SKINS), 0.03)
    return fitted(_elephant_front(rng, skin) if rng.random() < 0.4 else _elephant_side(rng, skin))
