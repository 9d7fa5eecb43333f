"""House."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .ornament import (
    BLACK,
    BROWN,
    CREAM,
    GOLD,
    GREEN,
    ORANGE,
    PAINTS,
    PINK,
    RED,
    SLATE,
    TAN,
    WHITE,
    YELLOW,
    Rng,
    balls,
    cloud,
    contrasting,
    dark,
    light,
    luma,
    pick,
    polyline,
    segments,
)
from .shapes import (
    Array,
    Color,
    Figure,
    Part,
    Shape,
    box,
    circle,
    clip_to,
    cut,
    place_figure,
    polygon,
    union,
)

GLASS = ((0.62, 0.80, 0.90), (0.98, 0.88, 0.55), (0.35, 0.45, 0.58), (0.80, 0.90, 0.95))
ROOFS = (
    RED,
    (0.62, 0.30, 0.22),
    SLATE,
    BROWN,
    (0.30, 0.45, 0.62),
    (0.35, 0.50, 0.36),
    dark(SLATE, 0.5),
    TAN,
)


class Paint(NamedTuple):
    """Colours of a house, and what its walls are made of."""

    wall: Color
    roof: Color
    frame: Color
    glass: Color
    grain: str


def _window(cx: float, cy: float, w: float, h: float, frame: Color, glass: Color) -> list[Part]:
    """Window of four panes in a frame."""
    panes = [
        box(cx + i * w / 4, cy + j * h / 4, w / 2 - 0.025, h / 2 - 0.025)
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    return [
        Part(box(cx, cy, w + 0.07, h + 0.07), frame, 0.03, 0.1),
        Part(union(*panes), glass, 0, 0.3, line=False),
    ]


def _windows(
    spots: list[tuple[float, float]], w: float, h: float, frame: Color, glass: Color
) -> list[Part]:
    """Several windows alike."""
    each = [_window(x, y, w, h, frame, glass) for x, y in spots]
    return (
        [
            Part(
                union(*(e[k].shape for e in each)),
                each[0][k].color,
                each[0][k].bulge,
                each[0][k].gloss,
                line=each[0][k].line,
            )
            for k in (0, 1)
        ]
        if each
        else []
    )


def _tiles(roof: Shape, top: float, bottom: float, color: Color, rows: int) -> Part:
    """Courses of roof tiles, scalloped below."""
    pitch = (top - bottom) / rows

    def courses(x: Array, y: Array) -> Array:
        k = np.floor((y - bottom) / pitch)
        u = (x / 0.16 + 0.5 * (k % 2)) % 1 - 0.5
        return np.abs((y - bottom) - k * pitch - 0.05 * (0.5 - 2 * u * u) - 0.02) - 0.012

    inner = lambda x, y: roof(x, y) + 0.03  # noqa: E731
    shade = dark(color, 0.35) if luma(color) > 0.2 else light(color, 0.25)
    return Part(clip_to(courses, inner), shade, 0, 0, line=False)


def _door(rng: Rng, x: float, base: float, wall: Color) -> list[Part]:
    """Door with a knob, arched or square, in a frame."""
    color, w, h = contrasting(rng, wall), rng.uniform(0.2, 0.26), rng.uniform(0.4, 0.48)

    def panel(g: float) -> Shape:
        if arched:
            return union(
                box(x, base + (h - w / 2) / 2, w + g, h - w / 2),
                circle(x, base + h - w / 2, (w + g) / 2),
            )
        return box(x, base + (h + g / 2) / 2, w + g, h + g / 2)

    arched = rng.random() < 0.4
    return [
        Part(panel(0.08), light(wall, 0.6) if luma(wall) < 0.6 else dark(wall, 0.5), 0.02),
        Part(panel(0), color, 0.05, 0.15, "wood"),
        Part(
            circle(x + w * 0.3, base + h * 0.42, 0.024),
            GOLD if luma(color) < 0.5 else BLACK,
            0,
            0.5,
            line=False,
        ),
    ]


def _chimney(rng: Rng, x: float, foot: float, top: float, color: Color) -> list[Part]:
    """Chimney with a cap, sometimes smoking."""
    parts = [
        Part(box(x, (foot + top) / 2, 0.15, top - foot), color, 0.06, 0, "brick"),
        Part(box(x, top, 0.2, 0.05), dark(color, 0.3), 0.03),
    ]
    if rng.random() < 0.5:
        s = int(rng.choice([-1, 1]))
        puffs = [
            (x + 0.02 * s, top + 0.08, 0.045),
            (x + 0.09 * s, top + 0.16, 0.06),
            (x + 0.2 * s, top + 0.21, 0.075),
        ]
        parts.append(Part(balls(puffs), pick(rng, (WHITE, (0.75, 0.76, 0.8)), 0.02), 0.06))
    return parts


def _attic(rng: Rng, y: float, frame: Color, glass: Color) -> list[Part]:
    """What is under the gable: a round window, a square one, or nothing."""
    kind = rng.integers(3)
    if kind == 0:
        cross = segments([(-0.1, y, 0.1, y), (0, y - 0.1, 0, y + 0.1)], 0.013)
        return [
            Part(circle(0, y, 0.115), frame, 0.03),
            Part(cut(circle(0, y, 0.08), cross), glass, 0, 0.3, line=False),
        ]
    return _window(0, y, 0.2, 0.2, frame, glass) if kind == 1 else []


def _front(rng: Rng, w: float, h: float, base: float, side: int, paint: Paint) -> list[Part]:
    """Door and windows, shutters or flower boxes, perhaps bushes."""
    at = 0.0 if w > 1.1 and rng.random() < 0.5 else side * -w * 0.24
    middle = [(-w * 0.32, base + h * 0.6), (w * 0.32, base + h * 0.6)]
    spots = middle if at == 0 else [(-at, base + h * 0.55)]
    ww = w * (0.17 if at == 0 else 0.25)
    if h > 0.9:  # a row of windows upstairs
        spots = [(x, base + 0.33) for x, _ in spots] + [
            (s * w * 0.24, base + h * 0.77) for s in (-1, 1)
        ]
        ww = min(ww, 0.2)
    wh = min(ww * rng.uniform(0.9, 1.3), 0.3, h * 0.42)
    parts = _door(rng, at, base, paint.wall)
    if rng.random() < 0.4:
        leaves = [
            box(x + s * (ww / 2 + 0.075), y, 0.09, wh + 0.06) for x, y in spots for s in (-1, 1)
        ]
        parts.append(Part(union(*leaves), contrasting(rng, paint.wall), 0.03, 0.05, "wood"))
    parts += _windows(spots, ww, wh, paint.frame, paint.glass)
    if rng.random() < 0.4:
        under = [(x, y - wh / 2 - 0.05) for x, y in spots]
        blooms = [(x + k * ww / 4, y + 0.05, 0.035) for x, y in under for k in (-2, 0, 2)]
        parts += [
            Part(balls(blooms), pick(rng, (RED, PINK, YELLOW, ORANGE)), 0.03, line=False),
            Part(union(*(box(x, y, ww + 0.1, 0.07) for x, y in under)), BROWN, 0.03),
        ]
    if rng.random() < 0.45:
        bushes = [
            cloud(rng, s * w * rng.uniform(0.48, 0.56), base + 0.08, 0.15, 0.11, 6) for s in (-1, 1)
        ]
        level = clip_to(union(*bushes), box(0, 0.2, 2, -2 * base + 0.4))
        parts.append(Part(level, pick(rng, (GREEN,)), 0.08, 0, "leaf"))
    return parts


def _gable(
    rng: Rng, w: float, base: float, eave: float, top: float, over: float, paint: Paint
) -> list[Part]:
    """Front wall rising to a point under two roof slopes, and what is in it."""
    wall = polygon([(-w / 2, base), (w / 2, base), (w / 2, eave), (0, top - 0.08), (-w / 2, eave)])
    x, y = w / 2 + over, eave - over * (top - eave) / (w / 2)
    slopes = polyline([(-x, y), (0, top), (x, y)], [0.065] * 3)
    return [
        Part(wall, paint.wall, 0.05, 0.05, paint.grain),
        Part(slopes, paint.roof, 0.06, 0.1),
        *_attic(rng, eave + 0.36 * (top - eave), paint.frame, paint.glass),
    ]


def _eaves(
    rng: Rng, w: float, base: float, eave: float, top: float, over: float, paint: Paint
) -> list[Part]:
    """Broad wall under the whole slope of a tiled roof."""
    ridge, x = w / 2 - rng.uniform(0.05, 0.3), w / 2 + over
    roof = polygon([(-x, eave - 0.03), (x, eave - 0.03), (ridge, top - 0.12), (-ridge, top - 0.12)])
    return [
        Part(box(0, (base + eave) / 2, w, eave - base), paint.wall, 0.05, 0.05, paint.grain),
        Part(roof, paint.roof, 0.06, 0.1),
        _tiles(roof, top - 0.12, eave - 0.03, paint.roof, int(rng.integers(3, 5))),
    ]


def _paint(rng: Rng) -> Paint:
    """Colours that set wall, roof and window frames off from each other."""
    wall, roof = pick(rng, (*PAINTS, (0.72, 0.38, 0.30), BROWN)), pick(rng, ROOFS)
    if abs(luma(wall) - luma(roof)) < 0.12:
        wall = light(wall, 0.55)
    frame, glass = pick(rng, (WHITE, CREAM, BROWN), 0.02), pick(rng, GLASS, 0.02)
    if abs(luma(frame) - luma(wall)) < 0.15:
        frame = dark(frame, 0.6)
    return Paint(wall, roof, frame, glass, str(rng.choice(["plain", "brick", "wood"])))


def house(rng: Rng) -> Figure:
    """House: walls, pitched roof (gable or eaves to the front), door, paned windows, chimney."""
    paint, gable, base, side = _paint(rng), rng.random() < 0.55, -0.84, int(rng.choice([-1, 1]))
    w, h = rng.uniform(1.25, 1.5), rng.uniform(0.55, 0.8)
    if gable:
        w, h = rng.uniform(0.95, 1.2), rng.uniform(0.62, 0.8)
        if rng.random() < 0.4:  # two storeys
            w, h = rng.uniform(0.85, 1.0), rng.uniform(0.95, 1.05)
    eave = base + h
    top, over = eave + rng.uniform(0.5, 0.68), rng.uniform(0.1, 0.16)
    stack = pick(rng, ((0.65, 0.33, 0.26), SLATE, TAN))
    parts = [
        *_chimney(rng, side * w * 0.27, eave + 0.1, max(top - 0.05, eave + 0.5), stack),
        *(_gable if gable else _eaves)(rng, w, base, eave, top, over, paint),
        *_front(rng, w, h, base, side, paint),
    ]
    scale = min(0.97, 1.72 / (top + 0.25 - base))  # room for the smoke
    return place_figure(Figure(tuple(parts)), scale=scale, dy=base * (1 - scale))
