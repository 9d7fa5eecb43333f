"""Guitar."""

from __future__ import annotations

import numpy as np

from .ornament import (
    BLACK,
    BLUE,
    BROWN,
    CREAM,
    GOLD,
    PAINTS,
    RED,
    SILVER,
    TAN,
    WHITE,
    YELLOW,
    Rng,
    balls,
    contrasting,
    dark,
    light,
    luma,
    mix,
    pick,
    segments,
    stroke,
)
from .shapes import (
    Figure,
    Part,
    Shape,
    blend,
    box,
    circle,
    clip_to,
    cut,
    ellipse,
    place_figure,
    polygon,
    union,
)


def _neck(rng: Rng, foot: float, top: float, width: float, acoustic: bool) -> list[Part]:
    """Neck with frets, headstock with pegs."""
    wood = pick(rng, (BROWN, dark(BROWN, 0.5), TAN), 0.03)
    head, metal = (
        pick(rng, (BROWN, dark(BROWN, 0.4), BLACK, TAN), 0.03),
        pick(rng, (SILVER, GOLD, CREAM), 0.02),
    )
    hw, hh = width * 0.85, 0.15
    if acoustic:
        stock = polygon(
            [(-width / 2, top), (width / 2, top), (hw, top + 2 * hh), (-hw, top + 2 * hh)], 0.01
        )
        pegs = [(s * (hw + 0.04), top + y * hh, 0.034) for s in (-1, 1) for y in (0.5, 1.1, 1.7)]
    else:
        stock = polygon(
            [
                (-width / 2, top),
                (width / 2, top),
                (width * 0.9, top + 0.05),
                (width * 0.5, top + 1.9 * hh),
                (-width * 0.2, top + 2.1 * hh),
                (-width * 0.75, top + 1.7 * hh),
            ],
            0.015,
        )
        pegs = [(-width * (0.68 + 0.1 * k), top + 0.07 + 0.068 * k, 0.03) for k in range(4)]
    frets = [(-width / 2, y, width / 2, y) for y in np.linspace(foot + 0.1, top - 0.05, 7)]
    return [
        Part(balls(pegs), metal, 0.03, 0.5, "metal"),
        Part(stock, head, 0.08, 0.2, "wood"),
        Part(box(0, (foot + top) / 2, width, top - foot + 0.02), wood, 0.06, 0.15, "wood"),
        Part(
            segments(frets, 0.012),
            metal if luma(wood) < 0.5 else dark(wood, 0.5),
            0,
            0.3,
            line=False,
        ),
    ]


def _acoustic(rng: Rng) -> tuple[list[Part], float]:
    """Acoustic guitar body: figure of eight, binding, sound hole with a rosette, bridge."""
    color = pick(rng, (TAN, (0.85, 0.62, 0.32), (0.75, 0.38, 0.18), BROWN, RED, BLACK, BLUE, CREAM))
    low, up, waist = rng.uniform(0.38, 0.44), rng.uniform(0.29, 0.33), rng.uniform(0.08, 0.14)
    body = blend(
        waist, ellipse(0, -0.86 + low * 0.9, low, low * 0.9), ellipse(0, -0.22, up, up * 0.85)
    )
    hole, edge = (
        -0.25 - rng.uniform(0, 0.04),
        light(color, 0.6) if luma(color) < 0.55 else dark(color, 0.55),
    )
    binding = cut(body, lambda x, y: body(x, y) + 0.035)
    parts = [Part(body, color, 0.14, 0.35, "wood"), Part(binding, edge, 0, 0.1, line=False)]
    if rng.random() < 0.5:
        guard = clip_to(
            cut(ellipse(0.14, hole - 0.14, 0.12, 0.16, -0.4), circle(0, hole, 0.16)), body
        )
        parts.append(
            Part(guard, contrasting(rng, color, (BLACK, dark(BROWN), WHITE, RED)), 0.02, 0.2)
        )
    parts += [
        Part(circle(0, hole, 0.165), edge, 0, 0.1, line=False),
        Part(circle(0, hole, 0.125), (0.1, 0.07, 0.06), 0),
        Part(
            box(0, -0.62, 0.34, 0.07, round=0.02),
            dark(BROWN, 0.5) if luma(color) > 0.3 else CREAM,
            0.03,
            0.2,
        ),
    ]
    return parts, hole + 0.14


def _outline(kind: int) -> Shape:
    """Body of an electric guitar: 0 two horns, 1 one cutaway, 2 a flying V."""
    if kind == 0:
        horns = [
            [(-0.18, -0.3), (-0.3, -0.1), (-0.2, 0.04)],
            [(0.18, -0.3), (0.29, -0.14), (0.2, -0.02)],
        ]
        lobes = [ellipse(-0.02, -0.53, 0.36, 0.31, 0.15), ellipse(0, -0.26, 0.25, 0.2)]
        return blend(0.1, *lobes, *(stroke(h, 0.1, 0.035, 4) for h in horns))
    if kind == 1:
        lobes = [ellipse(0, -0.5, 0.38, 0.34), ellipse(0, -0.14, 0.29, 0.22)]
        return cut(blend(0.1, *lobes), circle(0.24, 0.1, 0.2))
    half = [(0.13, -0.1), (0.45, -0.82), (0.2, -0.82)]
    return polygon([(0, -0.05), *half, (0, -0.52), *((-x, y) for x, y in half[::-1])], 0.03)


def _electric(rng: Rng) -> tuple[list[Part], float]:
    """Electric guitar body: pickguard, pickups, bridge, knobs, perhaps a sunburst."""
    color, kind = pick(rng, (*PAINTS, BLACK)), int(rng.choice(3, p=[0.45, 0.38, 0.17]))
    body, bridge = _outline(kind), -0.42 if kind == 2 else -0.6
    shade, metal = (
        contrasting(rng, color, (WHITE, BLACK, CREAM, RED)),
        pick(rng, (SILVER, CREAM, BLACK), 0.02),
    )
    parts = [Part(body, color, 0.12, 0.5)]
    if kind != 2 and rng.random() < 0.5:  # sunburst
        parts.append(
            Part(lambda x, y: body(x, y) + 0.1, mix(color, YELLOW, 0.5), 0, 0.4, line=False)
        )
    if kind != 2:
        plate = union(ellipse(0.12, -0.42, 0.18, 0.24, 0.3), box(0, -0.22, 0.3, 0.2))
        knobs = balls([(0.2, -0.5, 0.035), (0.15, -0.62, 0.035)])
        parts.append(Part(clip_to(plate, lambda x, y: body(x, y) + 0.05), shade, 0.02, 0.2))
        parts.append(Part(knobs, contrasting(rng, shade), 0.03, 0.4))
    pickups = [
        box(0, y, 0.2, 0.06, round=0.02) for y in np.linspace(-0.2, bridge + 0.13, 2 + (kind == 0))
    ]
    parts.append(Part(union(*pickups), metal, 0.03, 0.4))
    parts.append(Part(box(0, bridge, 0.22, 0.06, round=0.01), SILVER, 0.03, 0.5, "metal"))
    return parts, -0.14


def guitar(rng: Rng) -> Figure:
    """Guitar: waisted or horned body, fretted neck, pegged headstock, strings; tilted."""
    acoustic = rng.random() < 0.55
    body, foot = (_acoustic if acoustic else _electric)(rng)
    width = rng.uniform(0.105, 0.125)
    neck = _neck(rng, foot, 0.56, width, acoustic)
    strings = [
        (x * 0.9, -0.6 if acoustic else -0.45, x * 0.7, 0.6)
        for x in (-width * 0.42, 0, width * 0.42)
    ]
    wire = light(SILVER, 0.5)
    figure = Figure((*body, *neck, Part(segments(strings, 0.0085), wire, 0, 0.3, line=False)))
    tilt = float(np.clip(rng.normal(0, 0.45), -0.8, 0.8))
    return place_figure(figure, scale=0.97, angle=tilt)
