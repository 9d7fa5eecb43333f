"""Bicycle from the side."""

from __future__ import annotations

import numpy as np

from .kit import Point, Rng, decal, fan, fitted, pick, tint, vary
from .shapes import (
    Color,
    Figure,
    Part,
    Shape,
    capsule,
    circle,
    clip_to,
    curve,
    cut,
    polygon,
    ring,
    union,
)

FRAME_COLORS = [
    (0.78, 0.14, 0.14),
    (0.14, 0.32, 0.7),
    (0.1, 0.5, 0.35),
    (0.9, 0.62, 0.1),
    (0.36, 0.39, 0.44),
    (0.2, 0.6, 0.68),
    (0.85, 0.84, 0.82),
    (0.85, 0.45, 0.6),
    (0.45, 0.3, 0.6),
]
LEATHERS = [(0.13, 0.12, 0.12), (0.4, 0.24, 0.14), (0.75, 0.55, 0.35)]


def _bike_wheels(rng: Rng, rear: float, front: float, y: float, r: float) -> list[Part]:
    """Two tyres with spokes; the start angle of the spokes varies."""
    n, a = int(rng.integers(7, 11)), rng.uniform(0, np.pi)
    spokes = union(
        *(fan(u, y, np.arange(n) * 2 * np.pi / n + a, 0.0, r, 0.011) for u in (rear, front))
    )
    tyres = union(*(ring(u, y, r, rng.uniform(0.058, 0.075)) for u in (rear, front)))
    tyre = vary(
        rng,
        pick(rng, [(0.14, 0.14, 0.15), (0.14, 0.14, 0.15), (0.42, 0.27, 0.17), (0.75, 0.7, 0.6)]),
        0.03,
    )
    hubs = union(circle(rear, y, 0.045), circle(front, y, 0.045))
    return [
        Part(spokes, (0.5, 0.51, 0.54), 0.01, 0.5, "metal", line=False),
        Part(tyres, tyre, 0.035, 0.2, line=sum(tyre) > 0.5),
        Part(hubs, (0.6, 0.6, 0.62), 0.03, 0.7, "metal", line=False),
    ]


def _handlebar(rng: Rng, x: float, y: float) -> Shape:
    """Drop, upright or flat, from the stem at (x, y)."""
    kind = rng.random()
    if kind < 0.35:
        return union(
            capsule(x, y, x + 0.13, y, 0.026),
            curve([(x + 0.13, y), (x + 0.27, y - 0.06), (x + 0.1, y - 0.2)], 0.026, steps=4),
        )
    if kind < 0.75:
        return curve(
            [(x - 0.2, y + 0.07), (x - 0.05, y + 0.12), (x + 0.12, y + 0.1), (x, y - 0.02)],
            0.027,
            steps=5,
        )
    return capsule(x - 0.1, y + 0.05, x + 0.08, y + 0.03, 0.03)


def _bike_extras(
    rng: Rng, rear: float, front: float, y: float, r: float, head: tuple[float, float], color: Color
) -> list[Part]:
    """Mudguards, a basket at the front, a luggage rack: each of them only sometimes."""
    parts = []
    if rng.random() < 0.35:
        guards = union(
            *(
                clip_to(
                    ring(u, y, r + 0.06, 0.035),
                    polygon([(u, y), (u + p, y + 1), (u - 1, y + 1), (u - 1, y + q)]),
                )
                for u, p, q in ((rear, 0.4, -0.1), (front, 0.5, 0.7))
            )
        )
        parts.append(Part(guards, tint(color, 0.85), 0.02, 0.5, "metal", line=False))
    if rng.random() < 0.3:
        bx, by = head[0] + 0.2, head[1] - 0.06
        basket = polygon(
            [
                (bx - 0.15, by + 0.13),
                (bx + 0.17, by + 0.13),
                (bx + 0.12, by - 0.11),
                (bx - 0.12, by - 0.11),
            ],
            0.01,
        )
        weave = union(
            *(
                capsule(bx + k * 0.09, by - 0.1, bx + k * 0.11, by + 0.12, 0.011)
                for k in (-1, 0, 1)
            ),
            capsule(bx - 0.15, by + 0.01, bx + 0.15, by + 0.01, 0.011),
        )
        parts += [
            Part(basket, (0.72, 0.52, 0.3), 0.05, 0.1, "wood"),
            decal(weave, (0.42, 0.28, 0.15)),
        ]
    if rng.random() < 0.3:
        rack = union(
            capsule(rear - 0.2, y + r + 0.1, rear + 0.26, y + r + 0.1, 0.02),
            capsule(rear - 0.1, y + r + 0.1, rear, y, 0.016),
        )
        parts.append(Part(rack, (0.3, 0.3, 0.32), 0.02, 0.4, "metal"))
    return parts


def _bike_frame(
    crank: Point,
    joint: Point,
    top: Point,
    head_top: Point,
    head_low: Point,
    rear: Point,
    front: Point,
    tube: float,
) -> Shape:
    """All tubes between the crank, the saddle's joint, the steering head and the two hubs."""
    bones = [
        (crank, joint),
        (crank, head_low),
        (top, (head_top[0] + 0.01, head_top[1] - 0.08)),
        (crank, rear),
        (joint, rear),
    ]
    return union(
        *(capsule(*a, *b, tube if i < 3 else 0.75 * tube) for i, (a, b) in enumerate(bones)),
        capsule(*head_top, *head_low, tube * 1.15),
        curve([head_low, (0.4, front[1] + 0.15), front], tube * 0.9, steps=4),
    )


def _bike_pedals(rng: Rng, x: float, y: float) -> Shape:
    """Two crank arms, at any angle, with level pedals."""
    turn = rng.uniform(0, np.pi)
    px, py = 0.15 * np.cos(turn), 0.15 * np.sin(turn)
    ends = [(x - px, y - py), (x + px, y + py)]
    return union(
        capsule(*ends[0], *ends[1], 0.02),
        *(capsule(u - 0.05, v, u + 0.05, v, 0.024) for u, v in ends),
    )


def bicycle(rng: np.random.Generator) -> Figure:
    """A bicycle from the side: diamond or step-through frame, spoked wheels, saddle, pedals."""
    color = vary(rng, pick(rng, FRAME_COLORS), 0.04)
    r, half = rng.uniform(0.32, 0.37), rng.uniform(0.47, 0.51)
    y, tube = -0.66 + r, rng.uniform(0.036, 0.046)
    rear, front = -half, half
    crank = (-0.06, y - 0.03)
    seat = (-0.19, y + rng.uniform(0.5, 0.58))
    head_top, head_low = (0.31, y + rng.uniform(0.54, 0.66)), (0.35, y + 0.38)
    joint = (seat[0] + 0.03, seat[1] - 0.06)
    top = (
        (crank[0] - 0.055, crank[1] + 0.2) if rng.random() < 0.3 else joint
    )  # step-through or diamond
    frame = _bike_frame(crank, joint, top, head_top, head_low, (rear, y), (front, y), tube)
    stem = (head_top[0] - 0.02, head_top[1] + rng.uniform(0.07, 0.15))
    saddle_y = seat[1] + rng.uniform(0.06, 0.14)
    posts = union(
        capsule(*joint, seat[0] - 0.02, saddle_y, 0.022), capsule(*head_top, *stem, 0.024)
    )
    sx, leather = seat[0], vary(rng, pick(rng, LEATHERS), 0.03)
    saddle = polygon(
        [
            (sx - 0.17, saddle_y + 0.045),
            (sx + 0.14, saddle_y + 0.025),
            (sx + 0.14, saddle_y),
            (sx - 0.1, saddle_y - 0.03),
        ],
        0.025,
    )
    parts = [
        *_bike_wheels(rng, rear, front, y, r),
        Part(posts, (0.62, 0.63, 0.66), 0.02, 0.7, "metal"),
    ]
    parts += [
        Part(frame, color, 0.03, 0.6),
        Part(
            cut(circle(*crank, 0.1), circle(*crank, 0.05)), (0.35, 0.35, 0.38), 0.02, 0.6, "metal"
        ),
    ]
    parts += [
        Part(_bike_pedals(rng, *crank), (0.22, 0.22, 0.24), 0.02, 0.4, line=False),
        Part(saddle, leather, 0.04, 0.3),
    ]
    parts += [
        Part(_handlebar(rng, *stem), leather if rng.random() < 0.5 else (0.3, 0.3, 0.32), 0.02, 0.4)
    ]
    return fitted((*parts, *_bike_extras(rng, rear, front, y, r, stem, color)))
