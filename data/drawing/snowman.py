"""Snowman of two or three balls."""

from __future__ import annotations

import numpy as np

from .kit import (
    BRIGHT,
    INK,
    Rng,
    decal,
    fitted,
    pick,
    tint,
    vary,
)
from .shapes import (
    Figure,
    Part,
    Shape,
    box,
    capsule,
    circle,
    clip_to,
    curve,
    ellipse,
    polygon,
    union,
)

SNOW = (0.93, 0.95, 0.98)


def _hat(rng: Rng, y: float, r: float) -> list[Part]:
    """Top hat, woollen cap with bobble, or an upturned bucket."""
    kind, color = (
        rng.random(),
        vary(
            rng,
            pick(rng, [(0.8, 0.15, 0.17), (0.15, 0.35, 0.65), (0.2, 0.5, 0.3), (0.9, 0.65, 0.2)]),
        ),
    )
    if kind < 0.45:
        dark, tall = (
            vary(rng, pick(rng, [(0.14, 0.13, 0.15), (0.3, 0.2, 0.15), (0.2, 0.2, 0.35)]), 0.03),
            rng.uniform(0.24, 0.32),
        )
        felt = union(
            box(0, y + 0.02, 2.3 * r, 0.065, round=0.03),
            box(0, y + 0.5 * tall, 1.35 * r, tall, round=0.03),
        )
        return [Part(felt, dark, 0.06, 0.3), decal(box(0, y + 0.085, 1.35 * r, 0.075), color)]
    if kind < 0.8:
        dome = clip_to(ellipse(0, y - 0.04, 1.02 * r, 0.28), box(0, y + 0.3, 2, 0.66))
        cuff = box(0, y - 0.01, 2.0 * r, 0.11, round=0.05)
        return [
            Part(dome, color, 0.15, grain="fur"),
            Part(union(cuff, circle(0, y + 0.28, 0.085)), (0.95, 0.93, 0.88), 0.06, grain="fur"),
        ]
    bucket = polygon(
        [(-0.85 * r, y - 0.02), (0.85 * r, y - 0.02), (0.6 * r, y + 0.28), (-0.6 * r, y + 0.28)],
        0.02,
    )
    return [
        Part(bucket, color, 0.1, 0.6, "metal"),
        Part(box(0, y, 1.9 * r, 0.05, round=0.02), tint(color, 0.7), 0.02, 0.5),
    ]


def _snow_face(rng: Rng, y: float, r: float) -> list[Part]:
    """Coal eyes, carrot nose, a smile made of coals."""
    side, long_ = pick(rng, [-1, 1]), rng.uniform(0.15, 0.27)
    eyes = union(*(circle(m * 0.38 * r, y + 0.32 * r, 0.037) for m in (-1, 1)))
    smile = union(
        *(
            circle(0.62 * r * np.sin(a), y - 0.16 * r - 0.48 * r * np.cos(a), 0.021)
            for a in (-1.05, -0.53, 0, 0.53, 1.05)
        )
    )
    carrot = polygon(
        [(-side * 0.03, y + 0.03), (side * long_, y - 0.07), (-side * 0.03, y - 0.06)], 0.015
    )
    return [
        Part(union(eyes, smile), INK, 0.02, 0.5, line=False),
        Part(carrot, vary(rng, (0.93, 0.48, 0.12)), 0.04, 0.1),
    ]


def _snow_arms(rng: Rng, y: float, w: float) -> Shape:
    """Two sticks with twigs, raised or hanging."""
    arms = []
    for m in (-1, 1):
        a = rng.uniform(-0.35, 0.95)
        (x0, y0), (dx, dy) = (m * w * 0.8, y), (m * np.cos(a), np.sin(a))
        end = (x0 + 0.42 * dx, y0 + 0.42 * dy)
        arms += [capsule(x0, y0, *end, 0.025, 0.018)]
        for turn in (-0.6, 0.5):
            c, s = np.cos(turn), np.sin(turn)
            arms.append(
                capsule(
                    x0 + 0.3 * dx,
                    y0 + 0.3 * dy,
                    x0 + 0.3 * dx + 0.13 * (dx * c - dy * s),
                    y0 + 0.3 * dy + 0.13 * (dx * s + dy * c),
                    0.014,
                )
            )
    return union(*arms)


def snowman(rng: np.random.Generator) -> Figure:
    """Two or three balls of snow, carrot nose, coals, stick arms; hat and scarf, mostly."""
    snow, three = vary(rng, SNOW, 0.015), rng.random() < 0.6
    r, r_low = rng.uniform(0.23, 0.26), rng.uniform(0.38, 0.44)
    head_y = rng.uniform(0.36, 0.42)
    low = Part(ellipse(0, -0.86 + r_low * 0.93, r_low, r_low * 0.93), snow, 0.4, 0.1)
    mid_y, mid_r = (-0.02, 0.3) if three else (-0.28, 0.42)
    balls = (
        [low, Part(circle(0, mid_y, mid_r), snow, 0.3, 0.1)]
        if three
        else [Part(ellipse(0, -0.36, 0.47, 0.48), snow, 0.45, 0.1)]
    )
    head_y = head_y if three else 0.27
    r = r if three else 1.25 * r
    n, spread = 2 if three else int(rng.integers(2, 4)), 0.15
    buttons = union(
        *(circle(0, mid_y + 0.06 - i * spread + (0 if three else 0.04), 0.034) for i in range(n))
    )
    coal = INK if rng.random() < 0.7 else (0.7, 0.2, 0.2)
    parts = [
        Part(_snow_arms(rng, mid_y + 0.08, mid_r), (0.36, 0.24, 0.16), 0.02, grain="wood"),
        *balls,
        Part(buttons, coal, 0.02, 0.5, line=False),
        Part(circle(0, head_y, r), snow, 0.22, 0.1),
    ]
    if rng.random() < 0.8:
        wool, neck = vary(rng, pick(rng, BRIGHT)), head_y - 0.86 * r
        scarf = union(
            curve(
                [(-0.85 * r, neck + 0.02), (0, neck - 0.09), (0.85 * r, neck + 0.02)],
                0.062,
                steps=4,
            ),
            capsule(
                0.12,
                neck - 0.04,
                0.12 + rng.uniform(0.02, 0.1),
                neck - rng.uniform(0.22, 0.36),
                0.058,
            ),
        )
        parts.append(Part(scarf, wool, 0.05, grain="fur"))
    parts += _snow_face(rng, head_y, r)
    if rng.random() < 0.88:
        parts += _hat(rng, head_y + 0.72 * r, r)
    return fitted(parts)
