"""Bus: one or two decks, from the side or from the front."""

from __future__ import annotations

import numpy as np

from .kit import Rng, both, decal, fitted, pick, tint, vary
from .road import LAMP, PAINTS, RIMS, RUBBER, TAIL_LAMP, new_glass, paint, wheels
from .shapes import (
    Color,
    Figure,
    Part,
    Shape,
    box,
    capsule,
    circle,
    clip_to,
    ellipse,
    union,
)


def _window_row(x0: float, x1: float, y: float, h: float, n: int) -> Shape:
    """n equal windows between x0 and x1."""
    pitch = (x1 - x0) / n
    return union(*(box(x0 + (i + 0.5) * pitch, y, pitch - 0.055, h, round=0.025) for i in range(n)))


def _bus_door(x: float, top: float, low: float, color: Color, glass: Color) -> list[Part]:
    """A folding door with two tall panes."""
    mid, height = 0.5 * (top + low), top - low
    panes = union(
        *(box(x + k * 0.045, mid + 0.005, 0.065, height - 0.1, round=0.015) for k in (-1, 1))
    )
    return [
        Part(box(x, mid, 0.2, height, round=0.02), color, 0.02, 0.3),
        Part(panes, glass, 0.02, 0.9, line=False),
    ]


def _bus_side(rng: Rng) -> list[Part]:
    """Profile to the right: a long box, doors, one or two rows of windows."""
    double = rng.random() < 0.35
    color, glass = vary(rng, pick(rng, PAINTS), 0.04), new_glass(rng)
    other = pick(rng, [(0.94, 0.93, 0.9), tint(color, 0.55), tint(color, 1.7)])
    top, floor, r = (
        (0.72, -0.5, 0.155) if double else (rng.uniform(0.28, 0.4), -0.48, rng.uniform(0.15, 0.175))
    )
    half = 0.72 if double else 0.84
    body = box(0, 0.5 * (top + floor), 2 * half, top - floor, round=rng.uniform(0.06, 0.13))
    n, h, wy = int(rng.integers(4, 7)), rng.uniform(0.22, 0.28), (0.02 if double else top - 0.23)
    door_x = half - 0.24
    windows = _window_row(-half + 0.06, door_x - 0.12, wy, h, n)
    screen = box(half - 0.045, wy - 0.03, 0.09, h + 0.08, round=0.02)
    stripe = box(0, wy - 0.5 * h - rng.uniform(0.07, 0.12), 2, rng.uniform(0.05, 0.12))
    wheels_x = (-half + rng.uniform(0.32, 0.4), half - 0.5)
    parts = [paint(body, color, 0.1)]
    if double:
        windows = union(windows, _window_row(-half + 0.06, half - 0.05, 0.47, h, n + 1))
    if rng.random() < 0.6:
        parts.append(decal(clip_to(stripe, body), other, gloss=0.6))
    if rng.random() < 0.4:
        roof = box(0, top, 2, 0.16)
        parts.append(decal(clip_to(roof, body), other, gloss=0.6))
    arches = union(*(circle(u, floor, r + 0.04) for u in wheels_x))
    parts += [
        decal(clip_to(arches, body), (0.1, 0.1, 0.11)),
        Part(union(windows, screen), glass, 0.02, 0.9),
        *_bus_door(door_x, wy + 0.12, floor + 0.06, tint(color, 0.6), glass),
    ]
    parts += [
        Part(ellipse(half - 0.05, floor + 0.1, 0.055, 0.05), LAMP, 0.03, 0.9),
        Part(box(-half + 0.03, floor + 0.13, 0.05, 0.11, round=0.02), TAIL_LAMP, 0.03, 0.6),
    ]
    return parts + wheels(wheels_x, floor - 0.02, r, pick(rng, RIMS))


def _bus_front(rng: Rng) -> list[Part]:
    """Facing us: a tall box with a big windscreen, a destination sign, mirrors and small lamps."""
    color, glass, double = vary(rng, pick(rng, PAINTS), 0.04), new_glass(rng), rng.random() < 0.3
    w, top, floor = rng.uniform(0.5, 0.58), rng.uniform(0.62, 0.76), -0.66
    if double:
        w, top, floor = 0.46, 0.85, -0.68
    body = box(0, 0.5 * (top + floor), 2 * w, top - floor, round=0.1)
    letters = union(
        *(
            box(u * w, top - 0.13, k * w, 0.05)
            for u, k in ((-0.38, 0.22), (-0.02, 0.34), (0.4, 0.26))
        )
    )
    pane_top, sill = top - 0.25, -0.22 if double else -0.2
    if double:
        pane = union(
            *(box(0.5 * w, v, 0.88 * w, k, round=0.03) for v, k in ((0.43, 0.34), (-0.07, 0.4)))
        )
    else:
        pane = box(0.48 * w, 0.5 * (pane_top + sill), 0.88 * w, pane_top - sill, round=0.05)
    tyre = box(w - 0.12, -0.72, 0.17, 0.22, round=0.04)
    mirror = union(
        capsule(w, pane_top - 0.05, w + 0.1, pane_top - 0.09, 0.022),
        box(w + 0.11, pane_top - 0.19, 0.1, 0.22, round=0.035),
    )
    lamp = circle(w - 0.14, -0.43, 0.07)
    wipers = union(
        *(capsule(m * 0.08, sill + 0.02, m * 0.1 + 0.2, sill + 0.14, 0.012) for m in (-1, 1))
    )
    parts = [
        Part(both(tyre), RUBBER, 0.05, 0.2),
        Part(both(mirror), RUBBER, 0.03, 0.3),
        paint(body, color, 0.12),
    ]
    if rng.random() < 0.5:
        band = box(0, -0.29, 2, 0.08)
        parts.append(
            decal(clip_to(band, body), pick(rng, [(0.94, 0.93, 0.9), tint(color, 0.5)]), gloss=0.6)
        )
    return [
        *parts,
        Part(both(pane), glass, 0.02, 0.9),
        decal(wipers, RUBBER),
        Part(box(0, top - 0.13, 1.3 * w, 0.13, round=0.02), (0.1, 0.1, 0.11), 0.02, 0.3),
        decal(letters, (0.98, 0.75, 0.2)),
        Part(both(lamp), LAMP, 0.04, 0.9),
        Part(
            box(0, -0.61, 2 * w + 0.02, 0.12, round=0.04),
            pick(rng, [RUBBER, tint(color, 0.7)]),
            0.04,
            0.3,
        ),
        decal(box(0, -0.6, 0.26, 0.08, round=0.01), (0.95, 0.95, 0.92)),
    ]


def bus(rng: np.random.Generator) -> Figure:
    """A bus: a long tall box with a row of windows (or two rows), and doors."""
    return fitted(_bus_front(rng) if rng.random() < 0.35 else _bus_side(rng))
