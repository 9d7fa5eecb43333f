"""The sketch: pencil, charcoal or chalk on paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .lighting import random_direction
from .noise import blur, hsv, luma, mix, noise, smooth, tile
from .photo import foot
from .raster import Buffers, grid, rasterize
from .shapes import Figure

Rng = np.random.Generator


@dataclass(frozen=True)
class Tool:
    """What the hand holds."""

    colour: np.ndarray  # RGB of the darkest mark
    width: float  # half-width of a line, figure units
    tooth: float  # how much the paper shows through a mark
    smudge: float  # share of the shade that is rubbed in
    hatch: float  # share of the shade that is hatched
    spacing: float  # between hatch lines, figure units


def _tool(rng: Rng) -> Tool:
    """Graphite, charcoal, ink pen, sanguine or blue pencil."""
    kind, u = rng.choice(["graphite", "graphite", "charcoal", "pen", "chalk"]), rng.uniform
    if kind == "graphite":
        return Tool(
            hsv(u(0.5, 0.7), u(0, 0.12), u(0.16, 0.3)),
            u(0.011, 0.017),
            u(0.3, 0.5),
            u(0.1, 0.5),
            u(0.6, 0.9),
            u(0.05, 0.075),
        )
    if kind == "charcoal":
        return Tool(
            hsv(0.08, u(0, 0.1), u(0.07, 0.14)),
            u(0.019, 0.028),
            u(0.5, 0.75),
            u(0.55, 0.9),
            u(0.2, 0.5),
            u(0.075, 0.11),
        )
    if kind == "pen":
        ink = hsv(u(0.58, 0.66), u(0.2, 0.7), u(0.12, 0.34))
        return Tool(ink, u(0.01, 0.014), u(0.05, 0.15), 0.0, u(0.85, 1.0), u(0.05, 0.07))
    hue, dark = (
        (u(0.01, 0.08), u(0.3, 0.45)) if rng.random() < 0.6 else (u(0.57, 0.65), u(0.38, 0.55))
    )
    return Tool(
        hsv(hue, u(0.5, 0.75), dark),
        u(0.014, 0.021),
        u(0.4, 0.6),
        u(0.3, 0.6),
        u(0.5, 0.9),
        u(0.055, 0.085),
    )


def _paper(rng: Rng, size: int) -> tuple[np.ndarray, float]:
    """A sheet and its lightness: white, cream, grey, kraft or blue; sometimes ruled in squares."""
    kind = rng.choice(["white", "cream", "grey", "kraft", "blue"], p=[0.36, 0.32, 0.13, 0.13, 0.06])
    u = rng.uniform
    hue, sat, value = {
        "white": (u(0, 1), u(0, 0.03), u(0.93, 0.985)),
        "cream": (u(0.09, 0.14), u(0.06, 0.18), u(0.9, 0.97)),
        "grey": (u(0, 1), u(0, 0.06), u(0.7, 0.85)),
        "kraft": (u(0.08, 0.11), u(0.18, 0.32), u(0.74, 0.84)),
        "blue": (u(0.54, 0.62), u(0.06, 0.16), u(0.74, 0.86)),
    }[kind]
    sheet = 1 + 0.014 * noise(rng, size, "tooth") + 0.016 * noise(rng, size, "cloud")
    if rng.random() < 0.12:
        x, y = grid(size)
        cell = u(0.16, 0.26)
        ruled = np.minimum(np.abs((x / cell) % 1 - 0.5), np.abs((y / cell) % 1 - 0.5))
        sheet = sheet - 0.07 * smooth(0.035 - ruled, 0, 0.02)
    return hsv(hue, sat, value) * sheet[..., None], value


def _wobble(rng: Rng, size: int, amount: float) -> tuple[np.ndarray, np.ndarray]:
    """The shake of a hand: a slow drift and a small tremor, in figure units."""
    return tuple(
        amount * (noise(rng, size, "mid") + 1.3 * noise(rng, size, "broad")) for _ in range(2)
    )


def _moved(a: np.ndarray, rng: Rng, amount: float) -> np.ndarray:
    """The same drawing traced a second time, never quite in the same place."""
    size = len(a)
    dx, dy = _wobble(rng, size, amount * size / 2)
    k = np.arange(size)
    return a[
        (k[:, None] + dy).clip(0, size - 1).astype(int),
        (k[None, :] + dx).clip(0, size - 1).astype(int),
    ]


def _lines(b: Buffers, tool: Tool, rng: Rng) -> np.ndarray:
    """Outline strokes, gone over twice with changing pressure."""
    size = len(b.cover)
    out = np.zeros((size, size), np.float32)
    for k in range(2):
        edge = b.edge if k == 0 else _moved(b.edge, rng, rng.uniform(0.006, 0.014))
        pressure = np.clip(0.85 + 0.3 * noise(rng, size, "mid") - 0.25 * k, 0.25 - 0.2 * k, 1.15)
        width = tool.width * (1.1 - 0.3 * k) * (0.75 + 0.35 * pressure)
        width = np.minimum(width, 0.5 * b.thick + 0.006)
        out = np.maximum(out, pressure * np.exp(-((edge / width) ** 2)))
    return out


def _hatching(tone: np.ndarray, tool: Tool, rng: Rng) -> np.ndarray:
    """Strokes in one direction where it is half dark, crossed where it is darker."""
    size = len(tone)
    x, y = grid(size)
    angle, out = rng.uniform(0.5, 1.1) * rng.choice([-1, 1]), np.zeros_like(tone)
    drift = 0.022 * noise(rng, size, "broad")
    for k, threshold in enumerate((0.22, 0.5, 0.72)):
        a = angle + k * rng.uniform(0.9, 1.3)
        u = (x * np.cos(a) + y * np.sin(a) + drift) / tool.spacing
        v = y * np.cos(a) - x * np.sin(a)
        number = np.floor(u).astype(int)
        luck = tile("fine")[number % 256, 17 * k].astype(np.float32)
        reach = smooth(tone + 0.05 * luck, threshold, threshold + 0.14)
        offset = u - number - 0.5 + 0.12 * luck.clip(-1.5, 1.5) + 0.07 * np.sin(v * 4 + luck * 9)
        heavy = tool.width * (0.55 + 0.6 * tone)  # darker places get a firmer hand
        line = np.exp(-((offset * tool.spacing / heavy) ** 2))
        out = np.maximum(
            out, line * reach * (0.72 + 0.12 * luck + 0.16 * np.sin(v * 7 + luck * 20))
        )
    return out


def _scribble(base: int, cover: np.ndarray, tool: Tool, rng: Rng) -> np.ndarray:
    """A few quick horizontal strokes for the ground."""
    size = len(cover)
    x, y = grid(size)
    cols = np.flatnonzero(cover.max(0) > 0.5)
    middle = (cols.mean() if len(cols) else size / 2) / size * 2 - 1 + rng.uniform(-0.1, 0.2)
    half = np.ptp(cols) / size * rng.uniform(0.9, 1.3) if len(cols) else 0.5
    ground = 1 - 2 * base / size + 0.03
    out = np.zeros_like(cover)
    for k in range(int(rng.integers(2, 5))):
        level = (
            ground
            - 0.035 * k
            + 0.012 * np.sin(x * rng.uniform(3, 9) + rng.uniform(0, 6))
            + x * rng.normal(0, 0.02)
        )
        ends = smooth(half * (1.05 - 0.18 * k) - np.abs(x - middle - rng.normal(0, 0.06)), 0, 0.15)
        out = np.maximum(
            out, ends * np.exp(-(((y - level) / (tool.width * 0.9)) ** 2)) * rng.uniform(0.4, 0.8)
        )
    return out * (1 - cover)


def _tone(b: Buffers, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Darkness of the figure by light and by its own colour, and where the light is strongest."""
    light = random_direction(rng)
    facing = np.clip(b.normal @ light, 0, 1)
    own = 1 - luma(np.clip(b.albedo, 0, 1)) ** 0.7
    tone = 0.62 * own + 0.85 * (1 - facing) * (0.3 + 0.7 * own) + 0.3 * b.occlusion
    return np.clip(tone - 0.06, 0, 1.1) * b.cover, smooth(facing, 0.86, 0.98) * b.cover * (1 - own)


def sketch(figure: Figure, rng: Rng, size: int) -> np.ndarray:
    """A drawing of the figure, (size, size, 3) in [0, 1]."""
    x, y = grid(size)
    dx, dy = _wobble(rng, size, rng.uniform(0.004, 0.009))
    b = rasterize(figure, size, (x + dx, y + dy))
    tool, (paper, value) = _tool(rng), _paper(rng, size)
    tone, bright = _tone(b, rng)
    rubbed = blur(np.clip(tone - 0.12, 0, 1), 2.5 * size / 192) * (
        0.85 + 0.12 * noise(rng, size, "mid")
    )
    marks = np.maximum(
        _lines(b, tool, rng), tool.hatch * _hatching(_moved(tone, rng, 0.01), tool, rng)
    )
    if not figure.airborne and rng.random() < 0.85:
        marks = np.maximum(marks, _scribble(foot(b.cover), b.cover, tool, rng))
    filled = smooth(1 - luma(b.albedo), 0.72, 0.92) * 0.8 * b.cover  # eyes, tyres: simply filled
    amount = 1 - (1 - np.clip(marks, 0, 1)) * (1 - 0.6 * tool.smudge * rubbed) * (1 - filled)
    grain = noise(rng, size, "tooth")
    amount = np.clip(amount * (1 - tool.tooth * 0.35 * (grain + 0.4) * (1.1 - amount)), 0, 1)
    image = mix(paper, tool.colour, amount * rng.uniform(0.88, 1.0))
    if value < 0.87 and rng.random() < 0.8:  # toned paper: lights in white chalk
        chalk = bright * np.clip(0.75 + 0.3 * grain, 0, 1) * (1 - amount)
        image = mix(image, np.array([0.99, 0.98, 0.95], np.float32), 0.75 * chalk)
    return np.clip(image, 0, 1)
