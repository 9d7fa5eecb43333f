"""Horse in profile: long neck with a mane, long legs, long tail."""

from __future__ import annotations

import numpy as np

from .kit import INK, Rng, decal, fitted, glint_eye, light, limb, pick, tint, vary
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

WHITE = (0.95, 0.94, 0.91)
HORSE_COATS = [
    (0.47, 0.28, 0.16),
    (0.3, 0.19, 0.13),
    (0.66, 0.4, 0.2),
    (0.2, 0.18, 0.18),
    (0.85, 0.83, 0.8),
    (0.83, 0.66, 0.42),
    (0.55, 0.54, 0.55),
    (0.75, 0.6, 0.45),
]


def _hide(
    shape: Shape, color: Color, bulge: float = 0.2, grain: str = "fur", line: bool = True
) -> Part:
    """A part covered with short hair."""
    return Part(shape, color, bulge=bulge, gloss=0.15, grain=grain, line=line)


def _horse_legs(stride: float, lift: float, dx: float) -> tuple[Shape, Shape]:
    """A front and a hind leg swung by `stride`, the front knee bent by `lift`."""
    fx, hx = 0.2 + dx, -0.42 + dx
    front = limb(
        [
            (fx, -0.02),
            (fx + 0.6 * stride + 0.3 * lift, -0.42 + 0.2 * lift),
            (fx + stride - 0.25 * lift, -0.78 + 0.35 * lift),
        ],
        [0.13, 0.06, 0.042],
    )
    hind = limb(
        [
            (hx, 0.0),
            (hx + 0.02 - 0.5 * stride, -0.28),
            (hx - 0.08 - 0.7 * stride, -0.47),
            (hx - 0.02 - stride, -0.78),
        ],
        [0.18, 0.1, 0.06, 0.042],
    )
    return front, hind


def _horse_hooves(stride: float, lift: float, dx: float) -> Shape:
    """The hooves below those two legs."""
    fx, hx = 0.2 + dx + stride - 0.25 * lift, -0.44 + dx - stride
    return union(
        *(
            polygon(
                [
                    (u - 0.045, v + 0.06),
                    (u + 0.045, v + 0.06),
                    (u + 0.075, v - 0.035),
                    (u - 0.06, v - 0.035),
                ],
                0.01,
            )
            for u, v in ((fx, -0.8 + 0.35 * lift), (hx, -0.8))
        )
    )


def _horse_head(rng: Rng, px: float, py: float, nod: float, coat: Color, hair: Color) -> list[Part]:
    """Long head from the poll (px, py), turned down by `nod`: ears, eye, nostril, maybe a blaze."""
    c, s = np.cos(nod), -np.sin(nod)

    def at(u: float, v: float) -> tuple[float, float]:
        return px + u * c - v * s, py + u * s + v * c

    jaw = blend(
        0.06,
        ellipse(*at(0.06, -0.01), 0.15, 0.125, -nod),
        capsule(*at(0.1, 0), *at(0.36, -0.02), 0.095, 0.07),
    )
    ear = polygon([at(-0.1, 0.07), at(-0.09, 0.27), at(0.02, 0.1)], 0.012)
    parts = [_hide(union(ear, jaw), coat, 0.1)]
    if rng.random() < 0.5:
        blaze = capsule(*at(0.1, 0.09), *at(0.38, 0.05), 0.035)
        parts.append(decal(clip_to(blaze, jaw), WHITE if sum(coat) < 2.3 else tint(coat, 0.75)))
    muzzle = circle(*at(0.41, -0.03), 0.085)
    parts.append(decal(clip_to(muzzle, jaw), tint(coat, 0.6) if light(coat) else tint(coat, 1.4)))
    forelock = limb([at(-0.08, 0.12), at(0.04, 0.11), at(0.12, 0.07)], [0.05, 0.045, 0.02])
    dots = union(circle(*at(0.4, 0.0), 0.018), capsule(*at(0.42, -0.06), *at(0.33, -0.07), 0.011))
    parts += [decal(dots, INK), *glint_eye(*at(0.11, 0.035), 0.035)]
    return [*parts, Part(forelock, hair, 0.05, 0.2, "fur")]


def _horse_marks(rng: Rng, body: Shape, coat: Color) -> list[Part]:
    """Plain, pinto patches, dapples, or a saddle cloth with a saddle."""
    kind = rng.random()
    if kind < 0.2:
        xy = rng.uniform((-0.55, -0.15), (0.3, 0.25), (4, 2))
        patches = union(*(ellipse(u, v, *rng.uniform(0.08, 0.2, 2)) for u, v in xy))
        return [
            decal(
                clip_to(patches, body), WHITE if sum(coat) < 2.2 else tint(coat, 0.5), grain="fur"
            )
        ]
    if kind < 0.35:
        xy = rng.uniform((-0.55, -0.1), (0.2, 0.22), (12, 2))
        dapples = union(*(circle(u, v, rng.uniform(0.02, 0.045)) for u, v in xy))
        return [decal(clip_to(dapples, body), tint(coat, 1.5), grain="fur")]
    if kind < 0.55:
        cloth = vary(
            rng,
            pick(rng, [(0.75, 0.16, 0.16), (0.18, 0.3, 0.6), (0.2, 0.45, 0.3), (0.85, 0.8, 0.7)]),
        )
        seat = curve([(-0.27, 0.33), (-0.13, 0.19), (0.03, 0.32)], 0.045, steps=4)
        return [
            Part(
                clip_to(
                    polygon([(-0.29, 0.4), (0.05, 0.4), (0.03, 0.0), (-0.25, 0.0)], 0.02), body
                ),
                cloth,
                0.1,
            ),
            Part(seat, (0.35, 0.2, 0.12), 0.05, 0.4),
        ]
    return []


def _mane(rng: Rng, px: float, py: float, rise: float) -> Shape:
    """Locks of hair along the crest of the neck, falling backwards over it."""
    back = np.array([-np.sin(rise), np.cos(rise)])  # from the neck's axis towards the mane
    crest = [
        np.array([px, py]) + 0.11 * back,
        np.array([0.22, 0.1]) + 0.5 * np.array([px - 0.22, py - 0.1]) + 0.17 * back,
        np.array([0.14, 0.12]) + 0.17 * back,
    ]
    locks, length = [curve(crest, 0.05, 0.06, 4)], rng.uniform(0.1, 0.2)
    for t in (0.05, 0.25, 0.45, 0.65, 0.85):
        root = (1 - t) ** 2 * crest[0] + 2 * t * (1 - t) * crest[1] + t**2 * crest[2]
        tip = root + length * (np.array([-0.5, -0.75]) - 0.15 * back) + rng.normal(0, 0.015, 2)
        locks.append(capsule(*root, *tip, 0.065, 0.025))
    return union(*locks)


def _horse_tail(rng: Rng, stride: float) -> Shape:
    """Long tail, hanging when at rest and flying at a trot."""
    fling = rng.uniform(0.0, 0.25) + 0.6 * stride
    return curve(
        [
            (-0.57, 0.2),
            (-0.75 - fling * 0.5, 0.2),
            (-0.68 - fling, -0.1),
            (-0.68 - fling * 0.7, -0.5 + fling),
        ],
        0.05,
        0.085,
        6,
    )


def horse(rng: np.random.Generator) -> Figure:
    """A horse in profile: standing, trotting with arched neck, or grazing with the head down."""
    coat = vary(rng, pick(rng, HORSE_COATS), 0.04)
    hair = pick(
        rng,
        [
            tint(coat, 0.4),
            (0.13, 0.11, 0.11),
            (0.9, 0.84, 0.7) if sum(coat) < 2.1 else tint(coat, 0.55),
        ],
    )
    trot = rng.random() < 0.5
    stride, lift = (
        (rng.uniform(0.08, 0.24), rng.uniform(0.1, 0.5))
        if trot
        else (rng.uniform(-0.03, 0.05), 0.0)
    )
    rise = rng.uniform(-1.1, -0.75) if not trot and rng.random() < 0.3 else rng.uniform(0.75, 1.15)
    reach = rng.uniform(0.55, 0.64)
    px, py = 0.22 + reach * np.cos(rise), 0.1 + reach * np.sin(rise)
    nod = rng.uniform(0.55, 0.85) if rise > 0 else rng.uniform(0.75, 1.1)
    torso = blend(
        0.15, capsule(-0.38, 0.08, 0.18, 0.07, 0.2, 0.19), ellipse(-0.42, 0.09, 0.21, 0.2)
    )
    neck = blend(0.1, capsule(0.17, 0.1, px, py, 0.19, 0.105), circle(px + 0.02, py - 0.02, 0.1))
    front, hind = _horse_legs(stride, lift, 0.0)
    body = blend(0.07, torso, neck, front, hind)
    far, hoof = tint(coat, 0.65), tint(hair, 0.7) if light(coat) else (0.55, 0.48, 0.42)
    mane = _mane(rng, px, py, rise)
    tail = _horse_tail(rng, stride)
    parts = [
        _hide(union(*_horse_legs(-stride, 0.0, 0.05)), far, 0.08),
        Part(_horse_hooves(-stride, 0.0, 0.05), tint(hoof, 0.8), 0.04, 0.3),
    ]
    parts += [Part(tail, hair, 0.08, 0.2, "fur"), _hide(body, coat)]
    if rng.random() < 0.35:
        socks = union(circle(0.2 + stride, -0.78, 0.17), circle(-0.44 - stride, -0.78, 0.17))
        parts.append(decal(clip_to(socks, body), WHITE, grain="fur"))
    parts += [
        Part(_horse_hooves(stride, lift, 0.0), hoof, 0.04, 0.3),
        *_horse_marks(rng, body, coat),
    ]
    parts += [Part(mane, hair, 0.07, 0.2, "fur"), *_horse_head(rng, px, py, nod, coat, hair)]
    return fitted(parts)
