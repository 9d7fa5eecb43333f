"""The painting: oil strokes laid from coarse to fine over a canvas, following the form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .backdrops import scene
from .lighting import Light, random_direction, shade
from .noise import blur, from_image, hsv, luma, mix, noise, saturate, smooth, to_image
from .photo import ground_shadow
from .raster import Buffers, grid, rasterize
from .shapes import Figure
from .strokes import Brush, lay, spots, varnish

Rng = np.random.Generator
Draw = Callable[[float, float], float]  # a number between two numbers
BROAD = ((42, 9, 1.0, 1.0), (20, 5, 0.9, 0.9))  # length, width, jitter, body of the two big brushes


@dataclass(frozen=True)
class Palette:
    """A painter's habits."""

    key: np.ndarray  # colour of the light
    shadow: np.ndarray  # colour of the shade
    backdrop: str  # scene | wall | swirl
    ground: np.ndarray  # tone of the primed canvas, and of a wall
    vivid: float  # saturation
    jitter: float  # how far the strokes stray in colour
    wrap: float


def _impressionist(u: Draw) -> Palette:
    """Bright broken colour, violet shade, out of doors."""
    light, shade_ = hsv(0.12, u(0.05, 0.2), 1.0) * 1.1, hsv(u(0.6, 0.74), u(0.2, 0.4), 0.62)
    return Palette(
        light, shade_, "scene", hsv(u(0.08, 0.14), 0.25, 0.85), u(1.15, 1.5), u(0.035, 0.065), 0.4
    )


def _baroque(u: Draw) -> Palette:
    """A warm lamp in a dark brown room."""
    light, shade_ = hsv(0.1, u(0.2, 0.4), 1.0) * 1.35, hsv(0.06, 0.5, u(0.16, 0.3))
    ground = hsv(u(0.03, 0.12), u(0.4, 0.65), u(0.22, 0.4))
    return Palette(light, shade_, "wall", ground, u(0.9, 1.15), u(0.025, 0.04), 0.1)


def _fauvist(u: Draw) -> Palette:
    """Strong, unlikely colours."""
    light, shade_ = hsv(u(0.08, 0.16), 0.25, 1.0) * 1.15, hsv(u(0.55, 0.95), 0.55, 0.6)
    ground = mix(hsv(u(0, 1), u(0.5, 0.75), u(0.7, 0.92)), hsv(0.1, 0.5, 0.8), 0.3)
    return Palette(light, shade_, "swirl", ground, u(1.25, 1.5), u(0.04, 0.075), 0.3)


def _nocturne(u: Draw) -> Palette:
    """Blue night, swirling."""
    light, shade_ = hsv(u(0.1, 0.2), 0.3, 1.0), hsv(u(0.58, 0.68), 0.6, 0.45)
    ground = hsv(u(0.57, 0.68), u(0.5, 0.75), u(0.35, 0.55))
    return Palette(light, shade_, "swirl", ground, u(1.0, 1.3), u(0.035, 0.06), 0.25)


def _fresco(u: Draw) -> Palette:
    """Pale earth colours on a wall."""
    light, shade_ = hsv(0.1, u(0.1, 0.25), 1.0), hsv(u(0.02, 0.1), 0.3, 0.6)
    ground = hsv(u(0.06, 0.16), u(0.15, 0.4), u(0.6, 0.85))
    return Palette(light, shade_, "wall", ground, u(0.7, 0.95), u(0.03, 0.05), 0.5)


PALETTES = (_impressionist, _impressionist, _baroque, _fauvist, _nocturne, _fresco)


def _backdrop(p: Palette, rng: Rng, size: int) -> np.ndarray:
    """What is behind the figure, before it is broken into strokes."""
    if p.backdrop == "scene":
        return saturate(scene(rng, size).image, p.vivid) * 1.03
    x, y = grid(size)
    cloud = blur(np.clip(0.5 + 0.22 * noise(rng, size, "cloud"), 0, 1), 4 * size / 192)
    if p.backdrop == "wall":
        slant = 0.5 + 0.5 * np.clip(x * rng.uniform(-0.7, 0.7) + y * 0.4, -1, 1)
        glow = np.exp(
            -((x - rng.uniform(-0.6, 0.6)) ** 2 + (y - rng.uniform(-0.1, 0.5)) ** 2) / 0.5
        )
        out = (
            p.ground
            * (0.5 + 0.4 * slant + 0.5 * (cloud - 0.5) + rng.uniform(0.2, 0.6) * glow)[..., None]
        )
        table = smooth(-y, rng.uniform(0.25, 0.55), 0.6)
        wood = hsv(rng.uniform(0.02, 0.12), 0.5, 0.9) * out.mean() * 1.5
        return mix(out, wood, table * rng.uniform(0.3, 0.9))
    other = mix(
        p.ground,
        hsv(rng.random(), rng.uniform(0.35, 0.65), rng.uniform(0.5, 0.95)),
        rng.uniform(0.4, 0.9),
    )
    out = mix(p.ground, other, smooth(cloud, 0.3, 0.7))
    floor = hsv(
        rng.random(), rng.uniform(0.3, 0.55), float(np.clip(luma(p.ground) * 1.15, 0.2, 0.9))
    )
    floor = mix(floor, p.ground, rng.uniform(0, 0.5))
    return mix(out, floor, smooth(-y + 0.1 * (cloud - 0.5), 0.3, 0.42))


def _flow(b: Buffers, rng: Rng, size: int) -> np.ndarray:
    """Direction of the brush at each pixel (radians, image axes).

    It follows the form of the figure, and is free in the background.
    """
    base = rng.uniform(-0.5, 0.5) if rng.random() < 0.6 else rng.uniform(0, np.pi)
    free = base + rng.uniform(0.2, 1.1) * noise(rng, size, "broad")
    nx, ny = b.normal[..., 0], b.normal[..., 1]
    along = np.arctan2(nx, ny) + 0.25 * noise(rng, size, "mid")
    steep = np.hypot(nx, ny) > 0.25
    return np.where((b.cover > 0.5) & steep, along, free)


def _counterchange(
    image: np.ndarray, lit: np.ndarray, cover: np.ndarray, key: np.ndarray
) -> np.ndarray:
    """The backdrop, lighter or darker around the figure where the two would otherwise merge."""
    halo = blur(cover, 9 * len(cover) / 192)
    around, own = halo * (1 - cover), cover + 1e-6
    behind = float((luma(image) * around).sum() / max(around.sum(), 1e-6))
    before = float((luma(lit) * own).sum() / own.sum())
    gap = behind - before
    lighter = gap > 0.1 or before < 0.45
    need = max(0.36 - (gap if lighter else -gap), 0.0)
    return mix(
        image, key * 0.85 if lighter else image * 0.25, np.minimum(1.3 * need * (0.45 + halo), 0.75)
    )


def _motif(b: Buffers, p: Palette, figure: Figure, rng: Rng) -> np.ndarray:
    """The picture in the painter's head: figure in palette light before its backdrop."""
    size = len(b.cover)
    light = Light(random_direction(rng), p.key * 1.15, p.shadow * 0.9, p.shadow * 0.6, p.wrap)
    lit = saturate(shade(b, light, np.ones_like(b.cover), 0.7), p.vivid)
    image = _counterchange(_backdrop(p, rng, size), lit, b.cover, p.key)
    if not figure.airborne:
        dark = ground_shadow(b.cover, light.direction, 3.0) * 0.75
        image = mix(image, image * p.shadow * 0.8, dark)
    ink = np.exp(-((b.edge / 0.014) ** 2)) * (b.cover > 0.3)  # a darker touch keeps the drawing
    lit = mix(lit, lit * (0.35 + 0.4 * p.shadow), ink * 0.5)
    return np.clip(mix(image, lit, b.cover), 0, 1)


def painting(figure: Figure, rng: Rng, size: int) -> np.ndarray:
    """An oil painting of the figure, (size, size, 3) in [0, 1]."""
    b = rasterize(figure, size)
    p = PALETTES[rng.integers(len(PALETTES))](rng.uniform)
    target, flow = _motif(b, p, figure, rng), _flow(b, rng, size)
    unit, bold = size / 192, rng.uniform(0.8, 1.3)
    primed = mix(np.broadcast_to(p.ground, target.shape), blur(target, 6 * unit), 0.6)
    canvas = to_image(np.concatenate([primed, np.full((size, size, 1), 0.2)], -1))
    inside = blur(b.cover, 3 * unit) > 0.1
    big, middle = (Brush(n * unit * bold, w * unit * bold, p.jitter * j, t) for n, w, j, t in BROAD)
    at = spots(np.where(inside, 0.25, 1.0), int(360 / bold), rng)
    lay(canvas, blur(target, 2.5 * unit), flow, at, big, rng)
    lay(canvas, target, flow, spots(np.where(inside, 1, 0.09), int(560 / bold), rng), middle, rng)
    for count, length, width in (
        (460, 13, 3.6),
        (560, 8, 2.1),
    ):  # small brushes, where it is still wrong
        miss = np.abs(from_image(canvas)[..., :3] - target).sum(-1)
        wrong = np.maximum(miss - 2.5 * p.jitter, 0) ** 2 * np.where(inside, 1, 0.02)
        at = spots(wrong + 1e-6, count, rng)
        lay(
            canvas, target, flow, at, Brush(length * unit, width * unit, p.jitter * 0.35, 0.35), rng
        )
    return varnish(canvas, flow, rng)
