"""Small tools the styles share: tileable noise, fast blurs, colour arithmetic."""

from __future__ import annotations

import colorsys
from functools import cache

import numpy as np
from PIL import Image, ImageFilter

TILE = 256  # side of every noise tile; tiles wrap around


def _octave(cells_y: int, cells_x: int, seed: int) -> np.ndarray:
    """Smooth periodic noise of the given number of bumps, zero mean, unit deviation."""
    cells = np.random.default_rng(seed).normal(size=(cells_y, cells_x)).astype(np.float32)
    wide = Image.fromarray(np.tile(cells, (3, 3)))
    big = np.asarray(wide.resize((3 * TILE, 3 * TILE), Image.Resampling.BICUBIC))[
        TILE:-TILE, TILE:-TILE
    ]
    return (big - big.mean()) / big.std()


@cache
def tile(kind: str) -> np.ndarray:
    """(TILE, TILE) noise, equal in every run: broad, mid, fine, cloud, streak (along x), tooth."""
    if kind == "cloud":
        out = sum(_octave(n, n, n) / n**0.8 for n in (4, 8, 16, 32, 64))
    elif kind == "streak":
        out = sum(_octave(n, n // 12, n + 1) / n**0.3 for n in (48, 96, 192))
    elif kind == "tooth":
        out = _octave(128, 128, 7) + 0.6 * _octave(256, 256, 8) + 0.5 * _octave(64, 64, 9)
    else:
        n = {"broad": 5, "mid": 16, "fine": 80}[kind]
        out = _octave(n, n, n + 2) + 0.4 * _octave(2 * n, 2 * n, n + 3)
    return (out / out.std()).astype(np.float32)


def noise(rng: np.random.Generator, size: int, kind: str) -> np.ndarray:
    """A random (size, size) window of a tile."""
    oy, ox, flip = rng.integers(TILE), rng.integers(TILE), rng.integers(4)
    k = np.arange(size)
    out = tile(kind)[np.ix_((k + oy) % TILE, (k + ox) % TILE)]
    return out[:: 1 - 2 * (flip & 1), :: 1 - (flip & 2)]


def sample(kind: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A tile looked up at column u and row v, in tile pixels; lets a texture bend and turn."""
    return tile(kind)[v.astype(np.int32) % TILE, u.astype(np.int32) % TILE]


def blur(a: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of an array in [0, 1], (s, s) or (s, s, 3).

    It works on eight bits, so use it for soft things only.
    """
    image = to_image(a)
    return from_image(image.filter(ImageFilter.GaussianBlur(radius)))


def to_image(a: np.ndarray) -> Image.Image:
    """Array in [0, 1] to a PIL image."""
    return Image.fromarray((np.clip(a, 0, 1) * 255 + 0.5).astype(np.uint8))


def from_image(image: Image.Image) -> np.ndarray:
    """PIL image to a float32 array in [0, 1]."""
    return np.asarray(image, np.float32) * np.float32(1 / 255)


def hsv(h: float, s: float, v: float) -> np.ndarray:
    """RGB of a hue (in turns, wraps around), saturation and value (clipped)."""
    return np.array(
        colorsys.hsv_to_rgb(h % 1, float(np.clip(s, 0, 1)), float(np.clip(v, 0, 1))), np.float32
    )


def rgb(c: np.ndarray) -> tuple[int, int, int]:
    """A colour in [0, 1] as PIL draws it."""
    return tuple(int(v) for v in np.clip(c, 0, 1) * 255)


def mix(a: np.ndarray, b: np.ndarray, t: np.ndarray | float) -> np.ndarray:
    """a where t is 0, b where t is 1; t of shape (s, s) is spread over the colour axis."""
    t = t[..., None] if isinstance(t, np.ndarray) and t.ndim == 2 else t
    return a + (b - a) * t


def luma(a: np.ndarray) -> np.ndarray:
    """Perceived lightness of (..., 3) colours."""
    return a @ np.array([0.3, 0.59, 0.11], np.float32)


def saturate(a: np.ndarray, amount: float) -> np.ndarray:
    """Colours pushed away from their grey (amount > 1) or towards it (< 1)."""
    grey = luma(a)[..., None]
    return grey + (a - grey) * amount


def smooth(a: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, a soft S between."""
    t = np.clip((a - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
