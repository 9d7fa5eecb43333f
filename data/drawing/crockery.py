"""Cup and teapot: close neighbours, of the same pottery, painted with the same patterns."""

from __future__ import annotations

import numpy as np

from .ornament import (
    BROWN,
    COPPER,
    CREAM,
    GOLD,
    GREEN,
    PAINTS,
    SILVER,
    WHITE,
    Rng,
    balls,
    bands,
    contrasting,
    dark,
    light,
    petals,
    pick,
    polyline,
    stroke,
    turned,
)
from .shapes import (
    Color,
    Figure,
    Part,
    Shape,
    box,
    circle,
    clip_to,
    cut,
    ellipse,
    place_figure,
    polygon,
    union,
)


def _pattern(
    rng: Rng, body: Shape, color: Color, low: float, high: float, width: float, dip: float
) -> list[Part]:
    """Painted decoration: stripes, dots, a zigzag, flowers, a heart, a band; or none."""
    kind, paint = rng.integers(7), contrasting(rng, color)
    n = int(rng.integers(2, 4))
    ys, mid = np.linspace(low, high, n + 2)[1:-1], (low + high) / 2 - dip * 0.7
    if kind == 0:
        shape = bands(ys, (high - low) / (2.4 * n), width, dip)
    elif kind == 1:
        r, gap = rng.uniform(0.045, 0.065), rng.uniform(0.19, 0.24)
        spots = [
            (gap * (i + 0.5 * (j % 2)), low + 0.02 + gap * 0.85 * j - dip * 0.7)
            for i in range(-4, 5)
            for j in range(5)
        ]
        shape = balls([(x, y, r) for x, y in spots if y < high - r])
    elif kind == 2:
        x = np.linspace(-width * 1.1, width * 1.1, int(rng.integers(9, 14)))
        bow = dip * np.sqrt(np.maximum(1 - (x / width) ** 2, 0))
        shape = polyline(
            np.stack([x, mid + dip * 0.7 - bow + 0.06 * (-1) ** np.arange(len(x))], 1),
            [0.028] * len(x),
        )
    elif kind == 3:
        spots = [(-0.24, mid + 0.05), (0.02, mid - 0.07), (0.27, mid + 0.06)]
        shape = union(*(petals(x, y, 0, 0.12, 0.042, 5, rng.uniform(0, 1)) for x, y in spots))
        hearts = balls([(x, y, 0.036) for x, y in spots])
        return [
            Part(shape, paint, 0, 0.1),
            Part(hearts, contrasting(rng, paint), 0, 0.1, line=False),
        ]
    elif kind == 4:
        s = rng.uniform(0.09, 0.12)
        lobes = balls([(-s * 0.72, mid + s * 0.5, s), (s * 0.72, mid + s * 0.5, s)])
        shape = union(lobes, polygon([(-1.6 * s, mid), (1.6 * s, mid), (0, mid - 1.5 * s)], 0.01))
    elif kind == 5:
        shape = bands([(low + high) / 2], (high - low) * 0.4, width, dip)
    else:
        return []
    return [
        Part(clip_to(shape, body), paint, 0, 0.2, line=kind != 1)
    ]  # outlined dots would be all outline


def _steam(rng: Rng, xs: list[float], y: float, height: float) -> Part:
    """Wisps of steam."""
    s = int(rng.choice([-1, 1]))
    wisps = [
        stroke(
            [
                (x, y),
                (x + 0.12 * s, y + height * 0.33),
                (x - 0.12 * s, y + height * 0.66),
                (x, y + height),
            ],
            0.022,
            0.014,
            6,
        )
        for x in xs
    ]
    return Part(
        union(*wisps),
        pick(rng, ((0.80, 0.83, 0.87), WHITE, (0.66, 0.69, 0.74)), 0.01),
        0.02,
        0,
        line=False,
    )


def _mug(rng: Rng) -> tuple[list[tuple[float, float]], float]:
    """Profile of a mug, straight or slightly tapering, and how far one looks into it."""
    w, low, high = rng.uniform(0.4, 0.48), -0.7, rng.uniform(0.25, 0.45)
    foot = w * rng.uniform(0.8, 1.02)
    return [(low, foot), (low * 0.4, (foot + w) / 2), (high, w)], rng.uniform(0.08, 0.13)


def _teacup(rng: Rng) -> tuple[list[tuple[float, float]], float]:
    """Profile of a teacup, a bowl on a foot, and how far one looks into it."""
    w, low, high = rng.uniform(0.52, 0.62), -0.58, rng.uniform(0.08, 0.24)
    foot = w * rng.uniform(0.42, 0.5)
    return [(low, foot), (low + 0.07, foot * 0.92), (low + 0.25, w * 0.82), (high, w)], rng.uniform(
        0.08, 0.13
    )


def _opening(rng: Rng, high: float, w: float, dip: float, color: Color) -> list[Part]:
    """Rim, dark inside, and the drink in it."""
    drink = pick(rng, (BROWN, dark(BROWN, 0.4), (0.75, 0.45, 0.15), GREEN, CREAM), 0.02)
    hollow = ellipse(0, high, w - 0.05, dip - 0.028)
    level = clip_to(ellipse(0, high - 0.035, w - 0.05, dip - 0.028), hollow)
    return [
        Part(ellipse(0, high, w, dip), light(color, 0.45), 0, 0.2),
        Part(hollow, dark(color, 0.4), 0, 0, line=False),
        Part(level, drink, 0, 0.3, line=False),
    ]


def _saucer(rng: Rng, low: float, w: float, dip: float, color: Color) -> list[Part]:
    """Saucer under the cup, of the same set or not."""
    plate, wide = color if rng.random() < 0.6 else pick(rng, PAINTS), min(w * 1.35, 0.8)
    well = ellipse(0, low - dip * 0.3, wide * 0.62, dip * 0.75)
    return [
        Part(ellipse(0, low - dip * 0.4, wide, dip * 1.35), plate, 0.08, 0.3),
        Part(well, dark(plate, 0.22), 0, 0.1, line=False),
    ]


def _tea_tag(rng: Rng, w: float, high: float, dip: float, color: Color) -> list[Part]:
    """The label of a tea bag, hanging over the rim."""
    way = [(-w * 0.4, high - dip * 0.7), (-w * 0.6, high - 0.2), (-w * 0.45, high - 0.34)]
    tag = box(-w * 0.45, high - 0.42, 0.15, 0.17, 0.2)
    return [
        Part(stroke(way, 0.012, steps=4), dark(CREAM, 0.5), 0, line=False),
        Part(tag, contrasting(rng, color), 0.02),
    ]


def cup(rng: Rng) -> Figure:
    """A mug or teacup, seen a little from above: handle, drink, perhaps saucer, steam, tea tag."""
    color, mug = pick(rng, PAINTS), rng.random() < 0.5
    profile, dip = (_mug if mug else _teacup)(rng)
    (low, foot), (high, w) = profile[0], profile[-1]
    body = turned(profile, dip * foot / w)
    r = min((high - low) * rng.uniform(0.3, 0.37), 0.34)
    ear = ellipse(w * 0.98, (low + high) / 2 + 0.06, r * rng.uniform(0.88, 1.05), r, 0.2)
    parts = [
        Part(cut(ear, lambda x, y: ear(x, y) + 0.095), color, 0.05, 0.4),
        Part(body, color, w * 0.9, 0.4),
        *_pattern(rng, body, color, low + 0.12, high - 0.06, w, dip),
        *_opening(rng, high, w, dip, color),
    ]
    if not mug or rng.random() < 0.25:
        parts = _saucer(rng, low, w, dip, color) + parts
    if rng.random() < 0.55:
        wisps = np.linspace(-0.2, 0.2, int(rng.integers(2, 4))).tolist()
        parts.insert(0, _steam(rng, wisps, high + 0.02, min(0.84 - high, 0.5)))
    elif rng.random() < 0.4:
        parts += _tea_tag(rng, w, high, dip, color)
    return place_figure(Figure(tuple(parts)), dx=-0.12 if mug else -0.06)


def _teapot_handle(rng: Rng, w: float, y: float, high: float) -> Shape:
    """An ear at the side, or a hoop over the lid."""
    if rng.random() < 0.7:
        ear = ellipse(-w * 0.96, y + 0.08, 0.25, (high + 0.66) * rng.uniform(0.34, 0.42), 0.25)
        return cut(ear, lambda x, y: ear(x, y) + 0.085)
    hoop = ellipse(0, high - 0.05, w * 0.85, 0.84 - high)
    return clip_to(cut(hoop, lambda x, y: hoop(x, y) + 0.08), box(0, high + 0.4, 2, 0.9))


def teapot(rng: Rng) -> Figure:
    """Teapot: round belly, curved spout, lid with a knob, ear or hoop handle."""
    metal = rng.random() < 0.2
    color = pick(rng, (SILVER, COPPER, GOLD)) if metal else pick(rng, PAINTS)
    trim = contrasting(rng, color) if rng.random() < 0.4 else color
    finish = (0.7, "metal") if metal else (0.45, "plain")
    w, low, high = rng.uniform(0.47, 0.56), -0.66, rng.uniform(0.04, 0.26)
    tall, fat = high - low, rng.uniform(-0.1, 0.12)  # fat: belly high (> 0) or low
    neck, y = w * rng.uniform(0.5, 0.6), low + (0.48 + fat) * tall
    flank, shoulder = (low + 0.2 * tall, w * (0.86 - fat)), (high - 0.18 * tall, w * (0.84 + fat))
    body = turned([(low, w * 0.52), flank, (y, w), shoulder, (high, neck)], 0.06)
    tip = (w + rng.uniform(0.22, 0.32), high + rng.uniform(-0.08, 0.16))
    spout = stroke(
        [(w * 0.6, y - 0.12), (w + 0.22, y - 0.15), (w + 0.02, tip[1] - 0.1), tip], 0.16, 0.05, 8
    )
    top = high + rng.uniform(0.1, 0.17)
    lid = clip_to(
        ellipse(0, high - 0.02, neck + 0.05, top - high + 0.02), box(0, high + 0.4, 2, 0.83)
    )
    parts = [
        Part(_teapot_handle(rng, w, y, high), trim, 0.05, *finish),
        Part(spout, color, 0.12, *finish),
        Part(box(0, low - 0.05, w * 1.15, 0.07, round=0.03), trim, 0.04, *finish),
        Part(body, color, w * 0.9, *finish),
        *([] if metal else _pattern(rng, body, color, low + 0.12, high - 0.04, w, 0.06)),
        Part(lid, trim, 0.15, *finish),
        Part(circle(0, top + 0.06, rng.uniform(0.06, 0.08)), trim, 0.06, *finish),
    ]
    if rng.random() < 0.4:
        parts.insert(0, _steam(rng, [tip[0]], tip[1] + 0.1, 0.35))
    return place_figure(Figure(tuple(parts)), dx=-0.03, dy=-0.08)
