"""The cartoon: flat colour, one step of shade, ink, and a flat bright backdrop."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .lighting import random_direction
from .noise import from_image, hsv, mix, noise, rgb, saturate, smooth
from .raster import Buffers, grid, rasterize
from .shapes import Figure

Rng = np.random.Generator


def _bright(rng: Rng) -> np.ndarray:
    """A cheerful colour for a wall, a sky or paper."""
    return hsv(rng.random(), rng.uniform(0.22, 0.62), rng.uniform(0.88, 1.0))


def plain(rng: Rng, size: int) -> np.ndarray:
    """One colour, or two meeting at the floor."""
    _, y = grid(size)
    a = _bright(rng)
    b = a * 0.86 if rng.random() < 0.5 else _bright(rng)
    return mix(a, b, (y < rng.uniform(-0.6, -0.3)).astype(np.float32) * (rng.random() < 0.7))


def sunburst(rng: Rng, size: int) -> np.ndarray:
    """Rays from a point."""
    x, y = grid(size)
    angle = np.arctan2(y - rng.uniform(-0.6, 0.4), x - rng.uniform(-0.4, 0.4)) + rng.uniform(0, 6)
    a = _bright(rng)
    b = mix(a, np.ones(3, np.float32), rng.uniform(0.25, 0.6))
    return mix(a, b, (np.sin(angle * int(rng.integers(7, 15))) > 0).astype(np.float32))


def dots(rng: Rng, size: int) -> np.ndarray:
    """Polka dots, or a halftone ramp when the dots shrink across the picture."""
    x, y = grid(size)
    angle, cell = rng.uniform(0, 1.5), rng.uniform(0.09, 0.3)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    r = np.hypot(u / cell % 1 - 0.5, v / cell % 1 - 0.5)
    lean = y * np.cos(angle * 4) + x * np.sin(angle * 4)
    ramp = rng.uniform(0.2, 0.34) + rng.choice([0.0, 0.18]) * lean
    a = _bright(rng)
    return mix(a, mix(a, np.ones(3, np.float32), 0.55), smooth(ramp - r, -0.06, 0.06))


def stripes(rng: Rng, size: int) -> np.ndarray:
    """Bands of two related colours, straight or wavy."""
    x, y = grid(size)
    angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    wave = rng.choice([0.0, 0.08]) * np.sin(v * 6)
    a = _bright(rng)
    band = np.sin((u + wave) * rng.uniform(7, 18)) > 0
    return mix(a, a * rng.uniform(0.82, 0.92), band.astype(np.float32))


def hills(rng: Rng, size: int) -> np.ndarray:
    """Sky, flat clouds or a sun, round hills."""
    hour = rng.choice([rng.uniform(0.5, 0.6), rng.uniform(0.9, 1.12)])
    image = Image.new("RGB", (size, size), rgb(hsv(hour, rng.uniform(0.3, 0.6), 1.0)))
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.5:
        x, y, r = (
            rng.uniform(0.1, 0.9) * size,
            rng.uniform(0.08, 0.25) * size,
            rng.uniform(0.07, 0.13) * size,
        )
        draw.ellipse([x - r, y - r, x + r, y + r], fill=rgb(hsv(0.14, 0.55, 1.0)))
    for _ in range(int(rng.integers(0, 4))):
        x, y, r = (
            rng.uniform(0, size),
            rng.uniform(0.08, 0.4) * size,
            rng.uniform(0.04, 0.08) * size,
        )
        for k, h in ((-1.5, 0.7), (0, 1.1), (1.3, 0.8)):
            draw.ellipse([x + k * r - r * h, y - r * h, x + k * r + r * h, y + r * h], fill="white")
        draw.rectangle([x - 2.4 * r, y, x + 2.3 * r, y + r * 1.2], fill=rgb(hsv(hour, 0.0, 1.0)))
    green, level = rng.uniform(0.2, 0.42), rng.uniform(0.55, 0.72)
    for k in range(3):
        fill = rgb(hsv(green + 0.02 * k, 0.5 + 0.06 * k, 0.92 - 0.1 * k))
        x, y, r = rng.uniform(0, size), (level + 0.1 * k) * size, rng.uniform(0.8, 2) * size
        draw.ellipse([x - r, y, x + r, y + 2 * r], fill=fill)
        draw.rectangle([0, min(y + 0.1 * size, size), size, size], fill=fill)
    return from_image(image)


def night(rng: Rng, size: int) -> np.ndarray:
    """Deep blue or violet with stars and a moon; a lighter ground."""
    base = hsv(rng.uniform(0.58, 0.8), rng.uniform(0.45, 0.7), rng.uniform(0.45, 0.65))
    image = Image.new("RGB", (size, size), rgb(base))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(8, 24))):
        x, y, r = (
            rng.uniform(0, size),
            rng.uniform(0, 0.75) * size,
            rng.uniform(0.5, 2) * size / 192,
        )
        draw.ellipse([x - r, y - r, x + r, y + r], fill="#fff6c8")
    x, y, r = (
        rng.uniform(0.1, 0.9) * size,
        rng.uniform(0.1, 0.22) * size,
        rng.uniform(0.06, 0.1) * size,
    )
    draw.ellipse([x - r, y - r, x + r, y + r], fill="#fff0a8")
    draw.ellipse([x - r * 0.5, y - r * 1.2, x + r * 1.3, y + r * 0.6], fill=rgb(base))
    y = rng.uniform(0.68, 0.82) * size
    draw.ellipse([-size * 0.6, y, size * 1.6, y + 2 * size], fill=rgb(base * 1.35))
    return from_image(image)


BACKDROPS = (plain, sunburst, dots, stripes, hills, night)


def _fills(b: Buffers, rng: Rng) -> np.ndarray:
    """Flat local colour, one step of shade, a glint where the surface is glossy."""
    flat = saturate(b.albedo, rng.uniform(1.2, 1.6))
    flat = np.clip(flat * rng.uniform(1.0, 1.12) + 0.03, 0, 1)
    toward = random_direction(rng)
    facing = b.normal @ toward
    lit = smooth(facing, 0.26, 0.34) * (1 - (b.occlusion > 0.62))
    tint = hsv(rng.uniform(0.55, 0.9), rng.uniform(0.15, 0.4), rng.uniform(0.72, 0.86))
    out = mix(flat * tint, flat, lit)
    half = toward + np.array([0, 0, 1], np.float32)
    spec = b.normal @ (half / np.linalg.norm(half))
    glint = smooth(spec, 0.975, 0.985) * np.clip(b.gloss * 2.5 - 0.15, 0, 0.9) * (b.edge > 0.03)
    return mix(out, np.ones(3, np.float32), glint)


def _ink(b: Buffers, rng: Rng, weight: float) -> np.ndarray:
    """Brush-pen outlines: bolder around the whole, finer inside, swelling a little on the way."""
    size = len(b.cover)
    swell = 1 + 0.22 * noise(rng, size, "mid")
    outer = b.cover < 0.5
    room = np.where(outer, 0.75, 0.42) * b.thick + 0.005  # thin tubes keep their colour
    half = np.minimum(weight * np.where(outer, 1.25, 0.8), room) * swell
    soft = 1.6 / size
    return smooth(half + soft - b.edge, 0, 2 * soft)


def cartoon(figure: Figure, rng: Rng, size: int) -> np.ndarray:
    """A cartoon of the figure, (size, size, 3) in [0, 1]."""
    b = rasterize(figure, size)
    image = BACKDROPS[rng.integers(len(BACKDROPS))](rng, size)
    weight = rng.uniform(0.018, 0.03)
    if not figure.airborne:
        x, y = grid(size)
        rows, cols = np.nonzero(b.cover > 0.5)
        if len(rows):
            base, middle = 1 - 2 * rows.max() / size, 2 * cols.mean() / size - 1
            wide = np.ptp(cols) / size * rng.uniform(0.85, 1.05)
            pool = np.hypot((x - middle) / max(wide, 0.1), (y - base - 0.02) / 0.075) < 1
            image = mix(image, image * 0.72, pool.astype(np.float32))
    if rng.random() < 0.25:  # a sticker: a white rim around everything
        image = mix(image, np.ones(3, np.float32), smooth(weight * 2.8 - b.edge, 0, 0.02))
    image = mix(image, _fills(b, rng), b.cover)
    ink = hsv(rng.uniform(0, 1), rng.uniform(0.2, 0.6), rng.uniform(0.04, 0.16))
    return np.clip(mix(image, ink, _ink(b, rng, weight)), 0, 1)
