"""The photograph: one light, a place out of focus, a lens and a sensor."""

from __future__ import annotations

import numpy as np

from .backdrops import scene
from .lighting import Light, grain, random_direction, shade
from .noise import blur, from_image, mix, noise, saturate, to_image
from .raster import Buffers, grid, rasterize
from .shapes import Figure

Rng = np.random.Generator


def foot(cover: np.ndarray) -> int:
    """Lowest row the figure stands on."""
    rows = np.flatnonzero(cover.max(1) > 0.5)
    return int(rows[-1]) if len(rows) else len(cover) - 1


def ground_shadow(cover: np.ndarray, direction: np.ndarray, softness: float) -> np.ndarray:
    """How dark the ground is: the figure's silhouette laid down behind it, and a shade under it."""
    size, base = len(cover), foot(cover)
    rows, cols = np.arange(size)[:, None], np.arange(size)[None, :]
    height = (
        base + 2 - rows
    ) / 0.3  # the ground rises slowly in the picture, the figure stood upright
    source_x = np.clip(
        cols + direction[0] / max(direction[1], 0.3) * height * 0.55, 0, size - 1
    ).astype(int)
    source_y = (base - height).astype(int)
    ok = (height >= 0) & (source_y >= 0)
    laid = np.where(ok, cover[np.clip(source_y, 0, size - 1), source_x], 0)
    low = cover[max(base - size // 14, 0) : base + 1].max(0)
    near = np.exp(-(((rows - base + size * 0.008) / (size * 0.026)) ** 2)) * low[None, :]
    wide = np.exp(-(((rows - base + size * 0.02) / (size * 0.05)) ** 2)) * low[None, :]
    soft = blur(laid * 0.55 + wide * 0.25, softness * size / 192)
    return 1 - (1 - soft) * (1 - 0.75 * blur(near, 3.0 * size / 192))


def _furry(figure: Figure, rng: Rng, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The grid to look through: ruffled where fur would fray the silhouette."""
    x, y = grid(size)
    furred = sum(p.grain == "fur" for p in figure.parts)
    amount = 0.006 * (furred > 0.3 * len(figure.parts))
    return x + amount * noise(rng, size, "fine"), y + amount * noise(rng, size, "fine")


def _light(rng: Rng, image: np.ndarray, horizon: float) -> Light:
    """A light that belongs to the place: its sky and its ground shine on the figure too."""
    size, h = len(image), int(horizon * len(image))
    sky, ground = image[: max(h, 1)].mean((0, 1)), image[min(h, size - 2) :].mean((0, 1))
    warm, strength = rng.normal(0.04, 0.09), rng.uniform(1.0, 1.5)
    key = np.array([1 + warm, 1.0, 1 - warm], np.float32) * strength
    level = rng.uniform(0.2, 0.5)
    sky, ground = (mix(c, c.mean(), 0.4) / max(c.mean(), 0.25) for c in (sky, ground))
    return Light(
        random_direction(rng), key, sky * level, ground * level * 0.55, rng.uniform(0.0, 0.4)
    )


def _develop(image: np.ndarray, rng: Rng) -> np.ndarray:
    """Exposure, contrast, white balance, vignette and grain of the camera."""
    size = len(image)
    image = saturate(image, rng.uniform(0.85, 1.2)) * rng.uniform(0.98, 1.16)
    image = image * (1 + rng.normal(0, 0.025, 3).astype(np.float32))
    x, y = grid(size)
    image = image * (1 - rng.uniform(0.02, 0.16) * (x * x + y * y) ** 1.2)[..., None].clip(0.4, 1)
    bent = np.clip(image, 0, 1)
    image = mix(image, bent * bent * (3 - 2 * bent), rng.uniform(0, 0.45))
    noisy = rng.normal(0, rng.uniform(0.008, 0.03), (size, size, 1)).astype(np.float32)
    return np.clip(image + noisy, 0, 1)


def photo(figure: Figure, rng: Rng, size: int) -> np.ndarray:
    """A photograph of the figure, (size, size, 3) in [0, 1]."""
    b: Buffers = rasterize(figure, size, _furry(figure, rng, size))
    place = scene(rng, size)
    light = _light(rng, place.image, place.horizon)
    image = place.image
    if not figure.airborne:
        dark = ground_shadow(b.cover, light.direction, rng.uniform(1.5, 6.0)) * rng.uniform(
            0.65, 0.95
        )
        image = image * (1 - dark[..., None] * np.array([0.86, 0.83, 0.78], np.float32))
    lit = shade(b, light, grain(b, rng))
    lit = lit / (1 + np.maximum(lit - 0.8, 0) * 0.6)  # highlights roll off as film does
    mask = from_image(to_image(b.cover))
    image = mix(image, lit, blur(mask, 0.5))
    return _develop(blur(image, rng.uniform(0.2, 0.7)), rng)
