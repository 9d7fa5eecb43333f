"""Backgrounds of the photographs: blurred scenes, drawn small, the same for every class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .noise import from_image, hsv, mix, noise, rgb, sample, smooth, to_image
from .raster import grid

N = 96  # scenes are out of focus: this many pixels are enough
Rng = np.random.Generator


@dataclass(frozen=True)
class Scene:
    """A place: its picture, where its ground begins, and how rough that ground is."""

    image: np.ndarray  # (s, s, 3)
    horizon: float  # 0 top .. 1 bottom
    rough: float  # contrast of the ground texture near the viewer


def _ramp(top: np.ndarray, bottom: np.ndarray, n: int = N) -> np.ndarray:
    """Vertical gradient, (n, n, 3)."""
    t = np.linspace(0, 1, n, dtype=np.float32)[:, None, None]
    return np.broadcast_to(top + (bottom - top) * t, (n, n, 3)).copy()


def _land(
    sky: tuple[np.ndarray, np.ndarray], ground: tuple[np.ndarray, np.ndarray], horizon: float
) -> np.ndarray:
    """Sky over ground, both gradients."""
    h = int(horizon * N)
    out = np.empty((N, N, 3), np.float32)
    out[:h] = _ramp(*sky)[np.linspace(0, N - 1, h).astype(int)]
    out[h:] = _ramp(*ground)[np.linspace(0, N - 1, N - h).astype(int)]
    return out


def _sky(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Blue noon, pale overcast or a warm evening, and all between."""
    warm, grey = rng.beta(0.6, 1.2), rng.uniform(0, 0.7)
    top = hsv(0.58, 0.62 * (1 - grey), rng.uniform(0.62, 0.92))
    low = mix(hsv(0.56, 0.22 * (1 - grey), 0.95), hsv(0.09, 0.42, 0.97), warm)
    return mix(top, hsv(0.62, 0.3, 0.72), warm * 0.6), low


def _blobs(
    draw: ImageDraw.ImageDraw,
    rng: Rng,
    count: int,
    y: tuple[float, float],
    r: tuple[float, float],
    colours: list[np.ndarray],
) -> None:
    """Soft-edged things seen far out of focus: foliage, bushes, lamps."""
    for _ in range(count):
        x, cy, rad = rng.uniform(0, N), rng.uniform(*y) * N, rng.uniform(*r) * N
        c = colours[rng.integers(len(colours))] * rng.uniform(0.8, 1.2)
        draw.ellipse([x - rad, cy - rad, x + rad, cy + rad], fill=rgb(c))


def meadow(rng: Rng) -> tuple[np.ndarray, float, float]:
    """Grass under the sky, hills or trees behind, flowers in it."""
    horizon, hue = rng.uniform(0.42, 0.64), rng.uniform(0.19, 0.33)
    far, near = (
        hsv(hue - 0.03, 0.45, rng.uniform(0.6, 0.78)),
        hsv(hue, 0.62, rng.uniform(0.36, 0.55)),
    )
    image = to_image(_land(_sky(rng), (far, near), horizon))
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.7:
        hill = mix(hsv(0.58, 0.25, 0.75), far, rng.uniform(0.1, 0.7))
        for _ in range(3):
            x, w, top = rng.uniform(0, N), rng.uniform(25, 60), horizon - rng.uniform(0.05, 0.2)
            draw.ellipse([x - w, top * N, x + w, (horizon + 0.3) * N], fill=rgb(hill))
    tree = [hsv(hue + 0.03, 0.55, rng.uniform(0.25, 0.5)), far * 0.7]
    _blobs(draw, rng, int(rng.integers(0, 9)), (horizon - 0.06, horizon), (0.04, 0.12), tree)
    grass = _land((far, far), (far, near), horizon)  # laid over the feet of hills and trees
    row = int((horizon + 0.02) * N)
    image.paste(to_image(grass[row:]), (0, row))
    if rng.random() < 0.4:
        bloom = [hsv(rng.random(), rng.uniform(0, 0.7), 0.95)]
        _blobs(ImageDraw.Draw(image), rng, 26, (horizon + 0.03, 1.0), (0.006, 0.018), bloom)
    return from_image(image), horizon, 0.16


def street(rng: Rng) -> tuple[np.ndarray, float, float]:
    """Asphalt or paving in front of blurred houses."""
    horizon = rng.uniform(0.45, 0.66)
    road = hsv(rng.uniform(0.05, 0.65), rng.uniform(0.02, 0.14), rng.uniform(0.36, 0.62))
    image = to_image(_land(_sky(rng), (road * 1.12, road * 0.8), horizon))
    draw, x = ImageDraw.Draw(image), -5.0
    while x < N:
        w, top = rng.uniform(14, 34), rng.uniform(-0.1, horizon - 0.12) * N
        hue = rng.uniform(0.02, 0.14) + 0.5 * (
            rng.random() < 0.25
        )  # brick and plaster, now and then blue
        wall = hsv(hue, rng.uniform(0.08, 0.45), rng.uniform(0.4, 0.85))
        draw.rectangle([x, top, x + w, horizon * N], fill=rgb(wall))
        pane = rgb(wall * rng.uniform(0.45, 0.75) if rng.random() < 0.7 else hsv(0.12, 0.4, 0.98))
        for wx in np.arange(x + 3, x + w - 4, 7):
            for wy in np.arange(top + 4, horizon * N - 7, 10):
                draw.rectangle([wx, wy, wx + 3, wy + 5], fill=pane)
        x += w
    draw.rectangle([0, horizon * N, N, (horizon + 0.035) * N], fill=rgb(road * 1.35))
    return from_image(image), horizon, 0.09


def indoor(rng: Rng) -> tuple[np.ndarray, float, float]:
    """A wall and a table or a floor; a window, a picture or a shelf far out of focus."""
    horizon = rng.uniform(0.5, 0.7)
    wall = hsv(rng.random(), rng.uniform(0.04, 0.4), rng.uniform(0.45, 0.92))
    table = hsv(rng.uniform(0.04, 0.11), rng.uniform(0.25, 0.62), rng.uniform(0.32, 0.75))
    image = to_image(_land((wall * 0.92, wall), (table * 1.08, table * 0.82), horizon))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 4))):
        x, y, w, h = (
            rng.uniform(0, N),
            rng.uniform(0, 0.3) * N,
            rng.uniform(12, 34),
            rng.uniform(14, 34),
        )
        c = hsv(rng.random(), rng.uniform(0.05, 0.5), rng.uniform(0.3, 0.98))
        draw.rectangle([x, y, x + w, min(y + h, horizon * N)], fill=rgb(mix(c, wall, 0.35)))
    return from_image(image), horizon, 0.05


def beach(rng: Rng) -> tuple[np.ndarray, float, float]:
    """Sea and sand."""
    horizon, shore = rng.uniform(0.36, 0.5), rng.uniform(0.08, 0.2)
    sand = hsv(rng.uniform(0.085, 0.125), rng.uniform(0.2, 0.42), rng.uniform(0.72, 0.94))
    sea = hsv(rng.uniform(0.47, 0.6), rng.uniform(0.3, 0.65), rng.uniform(0.5, 0.8))
    out = _land(_sky(rng), (sand * 1.02, sand * 0.84), horizon)
    a, b = int(horizon * N), int((horizon + shore) * N)
    out[a:b] = mix(
        sea * 0.85, sea * 1.15, np.linspace(0, 1, b - a, dtype=np.float32)[:, None, None]
    )
    out[b : b + 2] = 0.95
    return out, horizon + shore, 0.08


def forest(rng: Rng) -> tuple[np.ndarray, float, float]:
    """Leaves and light spots between trunks; a mossy or leafy ground. Autumn is possible."""
    horizon, hue = (
        rng.uniform(0.5, 0.7),
        rng.choice([rng.uniform(0.2, 0.38), rng.uniform(0.04, 0.13)]),
    )
    dark = hsv(hue + 0.05, 0.55, rng.uniform(0.16, 0.4))
    floor = hsv(hue - 0.04, rng.uniform(0.3, 0.55), rng.uniform(0.3, 0.5))
    image = to_image(_land((dark * 1.3, dark * 1.1), (floor * 1.15, floor * 0.75), horizon))
    draw = ImageDraw.Draw(image)
    leaf = [hsv(hue, 0.5, rng.uniform(0.4, 0.75)), dark * 1.4, hsv(hue - 0.05, 0.4, 0.8)]
    _blobs(draw, rng, 22, (0.0, horizon - 0.05), (0.03, 0.1), leaf)
    for x in rng.uniform(0, N, int(rng.integers(0, 5))):
        draw.rectangle([x, 0, x + rng.uniform(2, 7), horizon * N], fill=rgb(dark * np.float32(0.6)))
    _blobs(
        draw,
        rng,
        int(rng.integers(4, 16)),
        (0.0, horizon - 0.1),
        (0.02, 0.06),
        [hsv(hue - 0.05, 0.25, 0.95)],
    )
    return from_image(image), horizon, 0.14


def snow(rng: Rng) -> tuple[np.ndarray, float, float]:
    """A winter field, bare or with dark firs."""
    horizon = rng.uniform(0.42, 0.62)
    white = hsv(rng.uniform(0.56, 0.66), rng.uniform(0.03, 0.13), rng.uniform(0.84, 0.95))
    sky = hsv(rng.uniform(0.55, 0.65), rng.uniform(0.1, 0.45), rng.uniform(0.6, 0.85))
    image = to_image(_land((sky, mix(sky, white, 0.6)), (white, white * 0.88), horizon))
    draw = ImageDraw.Draw(image)
    for x in rng.uniform(0, N, int(rng.integers(0, 12))):
        w, h = rng.uniform(4, 9), rng.uniform(12, 36)
        fir = mix(hsv(0.42, 0.35, rng.uniform(0.2, 0.4)), sky, rng.uniform(0, 0.5))
        draw.polygon(
            [(x - w, horizon * N), (x + w, horizon * N), (x, horizon * N - h)], fill=rgb(fir)
        )
    return from_image(image), horizon, 0.035


def studio(rng: Rng) -> tuple[np.ndarray, float, float]:
    """Seamless paper of any colour, lit from one side."""
    paper = hsv(rng.random(), rng.uniform(0.02, 0.5), rng.uniform(0.4, 0.93))
    x, y = grid(N)
    r2 = (x - rng.uniform(-0.5, 0.5)) ** 2 + (y - rng.uniform(-0.3, 0.4)) ** 2
    glow = np.exp(-r2 / rng.uniform(0.7, 2.0))
    out = paper * (0.62 + 0.45 * glow[..., None])
    return out, rng.uniform(0.55, 0.7), 0.01


def evening(rng: Rng) -> tuple[np.ndarray, float, float]:
    """Dusk in town: dark blue with discs of light."""
    horizon = rng.uniform(0.5, 0.68)
    dark = hsv(rng.uniform(0.55, 0.8), rng.uniform(0.3, 0.6), rng.uniform(0.22, 0.42))
    floor = hsv(rng.uniform(0.55, 0.72), 0.2, rng.uniform(0.3, 0.46))
    image = to_image(_land((dark * 0.8, dark * 1.3), (floor * 1.1, floor * 0.7), horizon))
    lamps = [hsv(h, rng.uniform(0.35, 0.75), 0.98) for h in rng.uniform(0.0, 0.16, 3)]
    lamps.append(hsv(rng.random(), 0.5, 0.9))
    over = image.copy()
    _blobs(
        ImageDraw.Draw(over),
        rng,
        int(rng.integers(8, 24)),
        (0.05, horizon - 0.03),
        (0.02, 0.075),
        lamps,
    )
    return from_image(Image.blend(image, over, 0.62)), horizon, 0.05


SCENES = (meadow, street, indoor, beach, forest, snow, studio, evening)


def scene(rng: Rng, size: int) -> Scene:
    """A random place, out of focus, with a little more grip on the ground near the viewer."""
    picture, horizon, rough = SCENES[rng.integers(len(SCENES))](rng)
    soft = to_image(picture).filter(ImageFilter.GaussianBlur(rng.uniform(1.2, 3.6)))
    image = from_image(soft.resize((size, size), Image.Resampling.BICUBIC))
    row = ((np.arange(size, dtype=np.float32) + 0.5) / size)[:, None] + np.zeros(
        (1, size), np.float32
    )
    near = np.clip((row - horizon) / (1 - horizon), 0, 1)
    depth = 1 / (near + 0.12)  # perspective: the texture shrinks towards the horizon
    u = (np.arange(size, dtype=np.float32)[None, :] - size / 2) * depth * 0.6 + rng.integers(256)
    texture = sample("fine", u, 150 * depth + rng.integers(256)) + 0.7 * sample(
        "cloud", u * 0.4, 60 * depth
    )
    image = image * (1 + (rough * 0.75 * near * texture)[..., None])
    haze = 0.04 * noise(rng, size, "broad") * smooth(horizon - row, 0, 0.3)
    return Scene(np.clip(image + haze[..., None], 0, 1), horizon, rough)
