"""Cat: sitting, standing or walking, lying."""

from __future__ import annotations

import numpy as np

from .kit import INK, Rng, decal, fan, fitted, light, limb, pick, tint, vary
from .pets import CREAM, PINK, Coat, fur, lying, new_coat
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
    ellipse,
    polygon,
    union,
)


def _cat_ears(rng: Rng, x: float, y: float, s: float) -> tuple[Shape, Shape]:
    """Two pointed triangles, and their pink insides."""
    lean, height = rng.uniform(-0.02, 0.06), rng.uniform(0.32, 0.41)
    outer, inner = [], []
    for m in (-1, 1):
        a, b, c = (0.27, 0.06), (0.24 + lean, height), (0.03, 0.2)
        mid = ((a[0] + b[0] + c[0]) / 3, (a[1] + b[1] + c[1]) / 3)
        outer.append(polygon([(x + m * s * u, y + s * v) for u, v in (a, b, c)], round=0.015))
        small = [(u + 0.4 * (mid[0] - u), v + 0.4 * (mid[1] - v)) for u, v in (a, b, c)]
        inner.append(polygon([(x + m * s * u, y + s * v) for u, v in small], round=0.008))
    return union(*outer), union(*inner)


def _cat_face(rng: Rng, x: float, y: float, s: float, base: Color) -> list[Part]:
    """Big slit eyes, small nose, whiskers that stand out to the sides."""
    iris = vary(
        rng,
        pick(rng, [(0.55, 0.78, 0.3), (0.93, 0.76, 0.2), (0.4, 0.68, 0.85), (0.85, 0.55, 0.15)]),
    )
    slit, parts = rng.uniform(0.018, 0.036), []
    eyes = [(x - 0.115 * s, y + 0.04 * s), (x + 0.115 * s, y + 0.04 * s)]
    tilt = rng.uniform(0.1, 0.35)
    tilts = zip(eyes, (-tilt, tilt), strict=True)
    parts.append(
        Part(union(*(ellipse(*e, 0.075 * s, 0.06 * s, t) for e, t in tilts)), iris, 0.02, 0.6)
    )
    parts.append(decal(union(*(ellipse(*e, slit * s, 0.055 * s) for e in eyes)), INK, gloss=0.7))
    nose = polygon(
        [(x - 0.04 * s, y - 0.055 * s), (x + 0.04 * s, y - 0.055 * s), (x, y - 0.1 * s)], 0.012
    )
    parts.append(decal(nose, PINK if light(base) else tint(PINK, 0.85)))
    mouth = [
        curve(
            [(x, y - 0.1 * s), (x + m * 0.02, y - 0.17 * s), (x + m * 0.09 * s, y - 0.15 * s)],
            0.011,
            steps=3,
        )
        for m in (-1, 1)
    ]
    ink = INK if light(base) else (0.86, 0.84, 0.8)
    fans = [
        fan(x, y - 0.09 * s, base_angle + np.array([-0.22, 0.02, 0.26]), 0.14 * s, 0.4 * s, 0.012)
        for base_angle in (0.0, np.pi)
    ]
    return [*parts, decal(union(*mouth, *fans), ink)]


def _cat_head(rng: Rng, x: float, y: float, s: float, coat: Coat) -> list[Part]:
    """Round head seen from the front: ears, cheeks, perhaps a pale muzzle or forehead stripes."""
    base, second, _ = coat
    outer, inner = _cat_ears(rng, x, y, s)
    cheek = rng.uniform(0.24, 0.28)
    skull = blend(
        0.08, ellipse(x, y, 0.27 * s, 0.22 * s), ellipse(x, y - 0.07 * s, cheek * 1.1 * s, 0.15 * s)
    )
    head = blend(0.03, skull, outer)
    parts = [fur(head, base), decal(inner, PINK, grain="fur")]
    if second is CREAM:
        muzzle = blend(
            0.05, ellipse(x, y - 0.13 * s, 0.14 * s, 0.09 * s), ellipse(x, y, 0.03 * s, 0.12 * s)
        )
        parts.append(decal(clip_to(muzzle, skull), second, grain="fur"))
    else:
        marks = [
            capsule(x + u * s, y + 0.13 * s, x + 1.3 * u * s, y + 0.22 * s, 0.017)
            for u in (-0.07, 0, 0.07)
        ]
        parts.append(decal(clip_to(union(*marks), skull), second, grain="fur"))
    return parts + _cat_face(rng, x, y, s, base if second is not CREAM else second)


def _cat_tabby(body: Shape, xs: np.ndarray, y: float, length: float, lean: float) -> Shape:
    """Stripes that hang from the back, pointed at the lower end."""
    return clip_to(union(*(capsule(u, y, u + lean, y - length, 0.03, 0.014) for u in xs)), body)


def _cat_sitting(rng: Rng) -> list[Part]:
    """From the front, tail curling out to one side."""
    coat = base, second, _ = new_coat(rng)
    w, top = rng.uniform(0.27, 0.34), rng.uniform(0.36, 0.42)
    body = blend(0.15, ellipse(0, -0.42, w, 0.38), ellipse(0, -0.05, 0.6 * w, 0.25))
    thighs = [ellipse(m * (w - 0.02), -0.64, 0.17, 0.19, m * -0.3) for m in (-1, 1)]
    paws = [capsule(m * (w - 0.02), -0.8, m * (w + 0.08), -0.8, 0.055) for m in (-1, 1)]
    legs = [
        limb([(m * 0.12, -0.25), (m * 0.105, -0.72), (m * 0.12, -0.79)], [0.1, 0.072, 0.075])
        for m in (-1, 1)
    ]
    reach, curl = rng.uniform(0.6, 0.78), rng.uniform(-0.25, 0.25)
    tail = curve(
        [
            (w - 0.05, -0.76),
            (reach + 0.15, -0.85),
            (reach, -0.3 + curl),
            (reach - 0.2, 0.05 + curl),
        ],
        0.062,
        0.045,
        7,
    )
    parts = [
        fur(tail, base, 0.06),
        fur(blend(0.04, body, *thighs), base),
        fur(union(*paws), base, 0.06),
    ]
    if second is CREAM:
        parts.append(decal(clip_to(ellipse(0, -0.15, 0.13, 0.24), body), second, grain="fur"))
    else:
        stripes = [
            _cat_tabby(body, m * np.array([w]), y, 0.03, -m * 0.16)
            for m in (-1, 1)
            for y in (-0.3, -0.18, -0.42)
        ]
        parts.append(decal(union(*stripes), second, grain="fur"))
    parts += [fur(legs[0], base, 0.09), fur(legs[1], base, 0.09)]
    return parts + _cat_head(rng, rng.uniform(-0.03, 0.03), top, rng.uniform(1.08, 1.25), coat)


def _cat_legs(h: float, stride: float) -> tuple[list[Shape], Shape]:
    """The two near legs, and the far ones as one shape; h is the height of the back's axis."""
    near = [
        limb(
            [(0.32, h - 0.05), (0.32 + 0.4 * stride, -0.5), (0.32 + stride, -0.79)],
            [0.12, 0.075, 0.055],
        ),
        limb(
            [
                (-0.45, h - 0.08),
                (-0.37 - 0.3 * stride, -0.42),
                (-0.5 - stride, -0.6),
                (-0.45 - stride, -0.79),
            ],
            [0.17, 0.1, 0.06, 0.055],
        ),
    ]
    far = [
        limb([(0.3, h), (0.27 - 0.4 * stride, -0.5), (0.27 - stride, -0.78)], [0.1, 0.07, 0.055]),
        limb(
            [
                (-0.4, h),
                (-0.33 + 0.5 * stride, -0.45),
                (-0.4 + stride, -0.6),
                (-0.35 + stride, -0.78),
            ],
            [0.15, 0.09, 0.06, 0.055],
        ),
    ]
    return near, union(*far)


def _cat_side(rng: Rng) -> list[Part]:
    """Standing or walking to the right, slim tail up, face turned to us."""
    coat = base, second, dark = new_coat(rng)
    stride, h = rng.uniform(0.02, 0.2), rng.uniform(-0.15, -0.06)
    torso = blend(
        0.12,
        capsule(-0.4, h, 0.28, h + 0.02, 0.19, 0.18),
        ellipse(-0.42, h - 0.03, 0.2, 0.22),
        capsule(0.28, h, 0.46, h + 0.25, 0.16, 0.13),
    )
    near, far = _cat_legs(h, stride)
    paws = [capsule(u, -0.8, u + 0.06, -0.8, 0.05) for u in (0.32 + stride, -0.45 - stride)]
    bend, tip = rng.uniform(-0.3, 0.3), rng.uniform(0.35, 0.72)
    tail = curve(
        [
            (-0.53, h + 0.08),
            (-0.95 - 0.2 * bend, h + 0.05),
            (-0.45 - bend, tip - 0.15),
            (-0.78, tip),
        ],
        0.06,
        0.04,
        7,
    )
    body = blend(0.05, torso, *near, *paws)
    parts = [fur(far, dark, 0.08), fur(tail, base, 0.06), fur(body, base)]
    if second is CREAM:
        marks = union(
            *(circle(u, -0.85, 0.16) for u in (0.35 + stride, -0.42 - stride)),
            ellipse(0.4, h - 0.05, 0.13, 0.2),
        )
        parts.append(decal(clip_to(marks, body), second, grain="fur"))
    else:
        xs = np.linspace(-0.5, 0.2, int(rng.integers(4, 7)))
        parts.append(
            decal(
                _cat_tabby(body, xs, h + 0.25, 0.24, rng.uniform(-0.05, 0.05)), second, grain="fur"
            )
        )
    return parts + _cat_head(rng, 0.52, h + rng.uniform(0.38, 0.48), rng.uniform(0.92, 1.05), coat)


def _cat_lying(rng: Rng) -> list[Part]:
    """On the belly, face turned to us."""
    coat = new_coat(rng)
    parts, body = lying(rng, coat, 0.055)
    if coat[1] is CREAM:
        mark = decal(clip_to(ellipse(0.4, -0.2, 0.14, 0.2), body), CREAM, grain="fur")
    else:
        mark = decal(
            _cat_tabby(body, np.linspace(-0.4, 0.1, 4), 0.1, 0.24, 0.03), coat[1], grain="fur"
        )
    parts.insert(3, mark)
    return parts + _cat_head(rng, 0.4, rng.uniform(0.16, 0.24), rng.uniform(1.05, 1.15), coat)


def cat(rng: np.random.Generator) -> Figure:
    """A cat: pointed ears, slit eyes, whiskers, slim tail."""
    pose = pick(rng, [_cat_sitting, _cat_sitting, _cat_side, _cat_side, _cat_lying])
    return fitted(pose(rng))
