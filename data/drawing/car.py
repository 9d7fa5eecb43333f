"""Car: from the side (five body types) or from the front."""

from __future__ import annotations

import numpy as np

from .kit import Rng, both, decal, fitted, pick, tint, vary
from .road import CHROME, LAMP, PAINTS, RIMS, RUBBER, TAIL_LAMP, new_glass, paint, wheels
from .shapes import (
    Figure,
    Part,
    Shape,
    box,
    capsule,
    circle,
    clip_to,
    ellipse,
    polygon,
    union,
)


def _car_profile(
    rng: Rng, kind: str
) -> tuple[list[tuple[float, float]], list[tuple[float, float]], float]:
    """Outlines of body and cabin (front on the right), and where the belt line runs."""
    belt, roof = {"suv": (0.02, 0.42), "pickup": (-0.02, 0.36)}.get(kind, (-0.06, 0.27))
    belt, roof = belt + rng.uniform(-0.03, 0.03), roof + rng.uniform(-0.03, 0.06)
    nose, low = belt - rng.uniform(0.06, 0.14), -0.4
    body = [
        (-0.82, low),
        (-0.84, belt - 0.06),
        (-0.76, belt),
        (0.34, belt),
        (0.72, nose),
        (0.82, nose - 0.09),
        (0.83, low),
    ]
    rear, screen = {
        "sedan": (-0.52, -0.26),
        "hatchback": (-0.8, -0.64),
        "suv": (-0.82, -0.74),
        "pickup": (-0.2, -0.16),
        "beetle": (-0.66, -0.3),
    }[kind]
    slant = rng.uniform(0.2, 0.34)
    cabin = [
        (rear, belt - 0.04),
        (screen, roof),
        (0.42 - slant, roof),
        (0.42 + rng.uniform(-0.04, 0.05), belt - 0.04),
    ]
    return body, cabin, belt


def _car_windows(cabin: list[tuple[float, float]], kind: str, belt: float) -> Shape:
    """The cabin shrunk, divided by one or two pillars."""
    mx, my = np.mean([p[0] for p in cabin]), belt + 0.02
    top = cabin[1][1]
    inner = polygon(
        [(mx + 0.82 * (u - mx), my if v < belt else top - 0.055) for u, v in cabin], 0.008
    )
    pillars = {"pickup": (0.12,), "sedan": (-0.04,), "suv": (-0.38, 0.02)}.get(kind, (-0.12,))
    gaps = union(*(box(u, my + 0.1, 0.05, 0.6) for u in pillars))
    return lambda x, y: np.maximum(inner(x, y), -gaps(x, y))


def _car_side(rng: Rng) -> list[Part]:
    """Profile to the right: sedan, hatchback, SUV, pickup or a rounded small car."""
    kind = pick(rng, ["sedan", "sedan", "hatchback", "suv", "pickup", "beetle"])
    color, trim = vary(rng, pick(rng, PAINTS), 0.04), (0.2, 0.2, 0.22)
    body, cabin, belt = _car_profile(rng, kind)
    soft = 0.09 if kind == "beetle" else rng.uniform(0.025, 0.05)
    r = rng.uniform(0.175, 0.2) + (0.03 if kind in ("suv", "pickup") else 0.0)
    wheels_x, wy = (-0.5 + rng.uniform(-0.03, 0.03), 0.5 + rng.uniform(-0.03, 0.03)), -0.42
    roof_color = tint(color, 0.35) if rng.random() < 0.15 else color
    shell = polygon([(u * 0.96, v) for u, v in body], soft)
    arches = union(*(circle(u, wy, r + 0.045) for u in wheels_x))
    parts = [paint(polygon(cabin, soft), roof_color, 0.08), paint(shell, color)]
    if kind == "pickup":
        parts.append(
            Part(
                box(-0.52, belt + 0.03, 0.66, 0.06, round=0.02),
                tint(color, 0.8),
                0.03,
                0.5,
                "metal",
            )
        )
    parts += [
        decal(clip_to(arches, shell), (0.1, 0.1, 0.11)),
        Part(_car_windows(cabin, kind, belt), new_glass(rng), 0.02, 0.9),
    ]
    sill = box(0, -0.44, 1.62, 0.06, round=0.025)
    door_x = cabin[1][0] * 0.3 + 0.1
    seams = union(
        capsule(door_x - 0.25, belt - 0.02, door_x - 0.25, -0.36, 0.01),
        capsule(door_x + 0.18, belt - 0.02, door_x + 0.18, -0.36, 0.01),
        capsule(door_x - 0.19, belt - 0.09, door_x - 0.11, belt - 0.09, 0.014),
    )
    nose = body[4][1]
    parts += [
        Part(sill, trim, 0.02, 0.2),
        decal(seams, tint(color, 0.4)),
        Part(ellipse(0.78, nose - 0.12, 0.06, 0.055), LAMP, 0.03, 0.9),
        Part(box(-0.81, belt - 0.13, 0.06, 0.11, round=0.02), TAIL_LAMP, 0.03, 0.6),
    ]
    rim = pick(rng, RIMS)
    return parts + wheels(wheels_x, wy, r, rim)


def _car_front(rng: Rng) -> list[Part]:
    """Facing us: low and wide, windscreen, grille between two head lamps."""
    color, w, belt = (
        vary(rng, pick(rng, PAINTS), 0.04),
        rng.uniform(0.68, 0.76),
        rng.uniform(-0.03, 0.04),
    )
    roof, top_w = belt + rng.uniform(0.36, 0.5), rng.uniform(0.42, 0.52)
    cabin = polygon(
        [(-w + 0.1, belt - 0.05), (-top_w, roof), (top_w, roof), (w - 0.1, belt - 0.05)], 0.05
    )
    screen = both(
        polygon(
            [
                (-0.1, belt + 0.02),
                (-0.1, roof - 0.05),
                (top_w - 0.05, roof - 0.05),
                (w - 0.2, belt + 0.02),
            ],
            0.015,
        )
    )
    body = polygon(
        [
            (-w, -0.42),
            (-w, belt - 0.1),
            (-w + 0.1, belt),
            (w - 0.1, belt),
            (w, belt - 0.1),
            (w, -0.42),
        ],
        0.05,
    )
    tyres = both(box(w - 0.1, -0.5, 0.2, 0.3, round=0.05))
    mirrors = both(ellipse(w + 0.07, belt + 0.08, 0.075, 0.055))
    lamp_y, lamp_r = belt - 0.2, rng.uniform(0.09, 0.115)
    lamp = circle(w - 0.13, lamp_y, lamp_r)
    if rng.random() < 0.5:
        lamp = ellipse(w - 0.14, lamp_y, 1.4 * lamp_r, 0.65 * lamp_r, 0.25)
    grille = box(0, lamp_y - 0.01, rng.uniform(0.55, 0.72), rng.uniform(0.12, 0.2), round=0.04)
    bars = union(*(capsule(-0.24, lamp_y + k, 0.24, lamp_y + k, 0.011) for k in (-0.04, 0.03)))
    bumper, plate = (
        box(0, -0.44, 2 * w + 0.06, 0.11, round=0.05),
        box(0, -0.43, 0.32, 0.1, round=0.015),
    )
    return [
        Part(tyres, RUBBER, 0.05, 0.2),
        paint(mirrors, tint(color, 0.8), 0.05),
        paint(cabin, color, 0.08),
        Part(screen, new_glass(rng), 0.02, 0.9),
        paint(body, color, 0.18),
        Part(grille, (0.15, 0.15, 0.17), 0.02, 0.3),
        decal(bars, CHROME, gloss=0.7),
        Part(both(lamp), LAMP, 0.06, 0.9),
        Part(bumper, pick(rng, [(0.22, 0.22, 0.24), CHROME, tint(color, 0.75)]), 0.05, 0.4),
        decal(plate, (0.95, 0.95, 0.92)),
    ]


def car(rng: np.random.Generator) -> Figure:
    """A car: low, one cabin with windows on a longer body."""
    return fitted(_car_front(rng) if rng.random() < 0.35 else _car_side(rng))
