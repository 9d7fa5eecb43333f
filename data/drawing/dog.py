"""Dog: sitting, standing or walking, lying."""

from __future__ import annotations

import numpy as np

from .kit import INK, Rng, both, decal, fitted, glint_eye, light, limb, pick, tint, vary
from .pets import CREAM, Coat, fur, lying, new_coat
from .shapes import (
    Figure,
    Part,
    Shape,
    blend,
    capsule,
    circle,
    clip_to,
    curve,
    ellipse,
    place,
    union,
)

TONGUE = (0.9, 0.45, 0.47)


def _dog_head_side(rng: Rng, x: float, y: float, s: float, coat: Coat) -> list[Part]:
    """Profile to the right: long snout, big nose, one floppy ear, perhaps the tongue out."""
    base, second, dark = coat
    length, droop = rng.uniform(0.36, 0.46), rng.uniform(0.02, 0.08)
    tip = (x + length * s, y - (0.05 + droop) * s)
    skull = blend(
        0.07,
        ellipse(x, y, 0.24 * s, 0.22 * s),
        capsule(x + 0.12 * s, y - 0.07 * s, *tip, 0.13 * s, 0.09 * s),
    )
    nose = ellipse(tip[0] + 0.07 * s, tip[1] + 0.055 * s, 0.068 * s, 0.056 * s)
    mouth = curve(
        [
            (tip[0] + 0.04 * s, tip[1] - 0.05 * s),
            (x + 0.28 * s, tip[1] - 0.07 * s),
            (x + 0.16 * s, y - 0.15 * s),
        ],
        0.012,
        steps=3,
    )
    tongue = capsule(
        tip[0] - 0.06 * s, tip[1] - 0.06 * s, tip[0] - 0.04 * s, tip[1] - 0.2 * s, 0.05 * s
    )
    parts = [Part(tongue, TONGUE, 0.04, 0.3)] if rng.random() < 0.55 else []
    parts.append(fur(skull, base))
    if second is CREAM:
        blaze = capsule(x + 0.26 * s, y - 0.1 * s, *tip, 0.11 * s)
        parts.append(decal(clip_to(blaze, skull), second, grain="fur"))
    parts += [
        decal(mouth, INK if light(base) or second is CREAM else (0.55, 0.5, 0.48)),
        Part(nose, INK, 0.05, 0.8),
    ]
    parts += glint_eye(x + 0.12 * s, y + 0.07 * s, 0.042 * s)
    swing, flap = rng.uniform(-0.12, 0.06), rng.uniform(0.22, 0.36)
    ear = limb(
        [
            (x - 0.06 * s, y + 0.13 * s),
            (x + (swing - 0.12) * s, y - 0.04 * s),
            (x + (swing - 0.1) * s, y - flap * s),
        ],
        [0.06 * s, 0.1 * s, 0.085 * s],
    )
    return [*parts, fur(ear, dark if sum(dark) > 0.5 else tint(base, 1.25), 0.08)]


def _dog_head_front(rng: Rng, x: float, y: float, s: float, coat: Coat) -> list[Part]:
    """Facing us: ears hanging at both sides, long muzzle, big nose, tongue."""
    base, second, dark = coat
    drop, out = rng.uniform(0.17, 0.25), rng.uniform(0.0, 0.3)
    flap = ellipse(0.27 + 0.1 * out, 0.12 - 0.7 * drop, 0.085, drop, out)
    ears = place(both(blend(0.05, flap, circle(0.2, 0.17, 0.05))), scale=s, dx=x, dy=y)
    head = blend(
        0.08,
        ellipse(x, y + 0.04 * s, 0.25 * s, 0.23 * s),
        ellipse(x, y - 0.16 * s, 0.17 * s, 0.17 * s),
    )
    pale = second if second is CREAM else tint(base, 1.35)
    muzzle = union(
        ellipse(x, y - 0.17 * s, 0.14 * s, 0.13 * s), ellipse(x, y + 0.05 * s, 0.045 * s, 0.16 * s)
    )
    tongue = capsule(x, y - 0.25 * s, x, y - 0.35 * s, 0.06 * s)
    parts = [fur(head, base), decal(clip_to(muzzle, head), pale, grain="fur")]
    if rng.random() < 0.6:
        parts.append(Part(tongue, TONGUE, 0.04, 0.3))
    mouth = union(
        capsule(x, y - 0.1 * s, x, y - 0.2 * s, 0.012),
        *(
            curve(
                [
                    (x, y - 0.2 * s),
                    (x + m * 0.06 * s, y - 0.27 * s),
                    (x + m * 0.12 * s, y - 0.21 * s),
                ],
                0.012,
                steps=3,
            )
            for m in (-1, 1)
        ),
    )
    parts += [
        decal(mouth, INK if light(pale) else CREAM),
        Part(ellipse(x, y - 0.09 * s, 0.085 * s, 0.06 * s), INK, 0.05, 0.8),
    ]
    for m in (-1, 1):
        parts += glint_eye(x + m * 0.115 * s, y + 0.08 * s, 0.042 * s)
    return [*parts, fur(ears, dark if sum(dark) > 0.5 else tint(base, 1.25), 0.08)]


def _dog_marks(rng: Rng, body: Shape, coat: Coat, x: float, y: float) -> list[Part]:
    """Spots, a saddle or nothing, around (x, y) on the body."""
    kind, second = rng.random(), coat[1]
    if kind < 0.35:
        xy = rng.uniform((x - 0.38, y - 0.3), (x + 0.38, y + 0.2), (8, 2))
        shape = union(*(circle(u, v, rng.uniform(0.03, 0.07)) for u, v in xy))
    elif kind < 0.65:
        shape = ellipse(x + rng.uniform(-0.15, 0.1), y + 0.2, rng.uniform(0.2, 0.32), 0.24)
    else:
        return []
    return [decal(clip_to(shape, body), second, grain="fur")]


def _dog_collar(rng: Rng, x0: float, y0: float, x1: float, y1: float) -> list[Part]:
    """A coloured band across the neck, with a tag."""
    color = vary(
        rng, pick(rng, [(0.8, 0.15, 0.15), (0.15, 0.35, 0.75), (0.15, 0.55, 0.3), (0.9, 0.7, 0.15)])
    )
    tag = circle(0.5 * (x0 + x1) + 0.04, 0.5 * (y0 + y1) - 0.075, 0.04)
    return [
        Part(capsule(x0, y0, x1, y1, 0.035), color, 0.03, 0.3),
        Part(tag, (0.9, 0.78, 0.3), 0.02, 0.8, "metal"),
    ]


def _dog_sitting_front(rng: Rng) -> list[Part]:
    """From the front, tail to one side."""
    coat = base, second, _ = new_coat(rng)
    w = rng.uniform(0.27, 0.34)
    body = blend(0.12, ellipse(0, -0.42, w, 0.38), ellipse(0, -0.08, 0.24, 0.25))
    thighs = [ellipse(m * (w - 0.03), -0.64, 0.17, 0.2, m * -0.3) for m in (-1, 1)]
    feet = [capsule(m * (w - 0.02), -0.79, m * (w + 0.07), -0.79, 0.07) for m in (-1, 1)]
    legs = [
        limb([(m * 0.14, -0.25), (m * 0.135, -0.7), (m * 0.15, -0.78)], [0.12, 0.085, 0.09])
        for m in (-1, 1)
    ]
    tail = curve(
        [(w - 0.1, -0.68), (w + 0.3, -0.72), (w + 0.38, rng.uniform(-0.5, -0.25))], 0.07, 0.04, 5
    )
    chest = decal(
        clip_to(ellipse(0, -0.18, 0.15, 0.26), body),
        second if second is CREAM else tint(base, 1.3),
        grain="fur",
    )
    parts = [
        fur(tail, base, 0.06),
        fur(blend(0.04, body, *thighs), base),
        chest,
        fur(union(*feet), base, 0.07),
    ]
    parts += [
        fur(legs[0], base, 0.1),
        fur(legs[1], base, 0.1),
        *_dog_collar(rng, -0.15, 0.06, 0.15, 0.06),
    ]
    return parts + _dog_head_front(rng, 0, 0.42, rng.uniform(1.15, 1.3), coat)


def _dog_sitting_side(rng: Rng) -> list[Part]:
    """In profile, tail on the floor."""
    coat = base, _, dark = new_coat(rng)
    lean = rng.uniform(-0.05, 0.05)
    torso = blend(
        0.12,
        capsule(0.14 + lean, 0.02, -0.26, -0.52, 0.2, 0.26),
        capsule(0.14 + lean, 0.05, 0.13, 0.4, 0.19, 0.14),
    )
    front = limb(
        [(0.19, -0.05), (0.24, -0.5), (0.24, -0.78), (0.31, -0.8)], [0.15, 0.09, 0.065, 0.055]
    )
    thigh = union(
        ellipse(-0.26, -0.58, 0.25, 0.22, 0.4), capsule(-0.22, -0.79, 0.03, -0.8, 0.065, 0.055)
    )
    far = limb(
        [(0.12, -0.1), (0.1, -0.5), (0.1, -0.76), (0.18, -0.79)], [0.14, 0.085, 0.065, 0.055]
    )
    tail = curve([(-0.42, -0.7), (-0.75, -0.82), (-0.8, rng.uniform(-0.5, 0.0))], 0.08, 0.04, 5)
    body = blend(0.06, torso, front)
    parts = [
        fur(far, dark, 0.1),
        fur(tail, base, 0.06),
        fur(body, base),
        *_dog_marks(rng, body, coat, -0.12, -0.3),
    ]
    parts += [fur(thigh, base, 0.2), *_dog_collar(rng, 0.02, 0.27, 0.27, 0.2)]
    return parts + _dog_head_side(rng, 0.17, 0.55, rng.uniform(1.1, 1.25), coat)


def _dog_legs(h: float, stride: float) -> tuple[list[Shape], Shape]:
    """The two near legs, and the far ones as one shape; h is the height of the back's axis."""
    near = [
        limb(
            [
                (0.3, h - 0.05),
                (0.32 + 0.4 * stride, -0.52),
                (0.3 + stride, -0.78),
                (0.37 + stride, -0.8),
            ],
            [0.14, 0.085, 0.06, 0.05],
        ),
        limb(
            [
                (-0.45, h - 0.04),
                (-0.38 - 0.4 * stride, -0.48),
                (-0.51 - stride, -0.62),
                (-0.47 - stride, -0.79),
                (-0.4 - stride, -0.8),
            ],
            [0.18, 0.11, 0.065, 0.06, 0.05],
        ),
    ]
    far = [
        limb(
            [
                (0.25, h),
                (0.23 - 0.3 * stride, -0.52),
                (0.2 - stride, -0.77),
                (0.26 - stride, -0.79),
            ],
            [0.12, 0.08, 0.06, 0.05],
        ),
        limb(
            [
                (-0.38, h),
                (-0.28 + 0.4 * stride, -0.5),
                (-0.38 + stride, -0.63),
                (-0.32 + stride, -0.78),
                (-0.26 + stride, -0.79),
            ],
            [0.16, 0.1, 0.06, 0.06, 0.05],
        ),
    ]
    return near, union(*far)


def _dog_side(rng: Rng) -> list[Part]:
    """Standing or walking in profile, tail wagging; long-backed or tall."""
    coat = base, _, dark = new_coat(rng)
    stride, h, thick = rng.uniform(0, 0.18), rng.uniform(-0.3, -0.1), rng.uniform(0.18, 0.23)
    torso = blend(
        0.12,
        capsule(-0.42, h, 0.25, h, thick * 0.92, thick * 1.08),
        capsule(0.28, h + 0.05, 0.42, h + 0.35, 0.17, 0.13),
    )
    near, far = _dog_legs(h, stride)
    wag, bushy = rng.uniform(0.05, 0.5), rng.uniform(0.045, 0.075)
    tail = curve(
        [(-0.54, h + 0.1), (-0.78, h + 0.12), (-0.82 + 0.15 * wag, h + 0.1 + wag)], bushy, 0.035, 5
    )
    body = blend(0.05, torso, *near)
    parts = [
        fur(far, dark, 0.1),
        fur(tail, base, 0.06),
        fur(body, base),
        *_dog_marks(rng, body, coat, -0.1, h),
    ]
    parts += _dog_collar(rng, 0.27, h + 0.3, 0.49, h + 0.2)
    return parts + _dog_head_side(
        rng, 0.42, h + rng.uniform(0.47, 0.54), rng.uniform(0.85, 1.0), coat
    )


def _dog_lying(rng: Rng) -> list[Part]:
    """On the belly, in profile or looking at us."""
    coat = new_coat(rng)
    parts, body = lying(rng, coat, 0.065)
    parts[3:3] = _dog_marks(rng, body, coat, -0.15, -0.25)
    if rng.random() < 0.5:
        head = _dog_head_front(rng, 0.38, rng.uniform(0.2, 0.26), rng.uniform(1.05, 1.15), coat)
        return [*parts, *_dog_collar(rng, 0.26, -0.06, 0.5, -0.06), *head]
    head = _dog_head_side(rng, 0.33, rng.uniform(0.18, 0.24), rng.uniform(1.0, 1.1), coat)
    return [*parts, *_dog_collar(rng, 0.2, -0.02, 0.45, -0.06), *head]


def dog(rng: np.random.Generator) -> Figure:
    """A dog: floppy ears, long snout with a big nose, collar, wagging tail."""
    pose = pick(rng, [_dog_sitting_front, _dog_sitting_side, _dog_side, _dog_side, _dog_lying])
    return fitted(pose(rng))
