"""Light on a figure: diffuse, sky and ground light, gloss, and the grain of its surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .noise import blur, mix, sample, smooth
from .raster import Buffers


@dataclass(frozen=True)
class Light:
    """A key light, and what shines from above and from below."""

    direction: np.ndarray  # unit vector to the light: x right, y up, z to the viewer
    key: np.ndarray  # RGB
    sky: np.ndarray  # RGB
    ground: np.ndarray  # RGB
    wrap: float = 0.3  # 0: hard sun, 1: overcast


def random_direction(rng: np.random.Generator) -> np.ndarray:
    """A light from the upper front, left or right."""
    side = rng.choice([-1.0, 1.0]) * rng.uniform(0.25, 0.85)
    d = np.array([side, rng.uniform(0.35, 0.9), rng.uniform(0.35, 0.85)], np.float32)
    return d / np.linalg.norm(d)


def _bricks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Courses of bricks with paler, sunken mortar; u, v in pixels."""
    row = np.floor(v / 11)
    col = (u + (row % 2) * 12) / 24
    joint = np.minimum(np.minimum(v % 11, 11 - v % 11) / 2, np.minimum(col % 1, 1 - col % 1) * 12)
    tone = np.sin(row * 12.9 + np.floor(col) * 78.2) * 0.12
    return np.where(joint < 0.75, -0.28, tone).astype(np.float32)


def grain(b: Buffers, rng: np.random.Generator) -> np.ndarray:
    """Factor around 1 that gives every surface its material."""
    size = len(b.cover)
    kinds = np.array([p.grain for p in b.figure.parts] + ["none"])[b.part]
    scale = 192 / size
    u = np.arange(size, dtype=np.float32)[None, :] * scale + np.zeros((size, 1), np.float32)
    v, shift = u.T, rng.integers(0, 256, 2)
    bend_x, bend_y = b.normal[..., 0] * 10, b.normal[..., 1] * 10
    out = np.ones((size, size), np.float32)
    for kind in sorted({p.grain for p in b.figure.parts}):
        if kind == "fur":  # strands hang down and fan out over the round of the body
            t = 0.085 * sample(
                "streak", (v + bend_y) * 0.8 + shift[0], u + bend_x + shift[1]
            ) + 0.05 * sample("mid", u, v)
        elif kind == "wood":
            t = 0.1 * sample(
                "streak", v * 0.8 + shift[0], u * 0.9 + 3 * sample("broad", u, v) + shift[1]
            )
        elif kind == "metal":
            t = 0.035 * sample("streak", u + shift[0], v + shift[1])
        elif kind == "leaf":
            t = 0.06 * sample("mid", u + shift[0], v + shift[1]) + 0.04 * sample("fine", u, v)
        elif kind == "brick":
            t = _bricks(u, v) + 0.06 * sample("fine", u + shift[0], v)
        else:
            t = 0.03 * sample("mid", u + shift[0], v + shift[1])
        out += np.where(kinds == kind, t, 0)
    return out


def rounded(b: Buffers) -> np.ndarray:
    """Normals without the creases that distance fields have along their ridges."""
    n = blur(b.normal * 0.5 + 0.5, 2.6 * len(b.cover) / 192) * 2 - 1
    n = mix(b.normal, n, 0.8)
    return n / np.sqrt((n * n).sum(-1, keepdims=True))


def _mirror(
    b: Buffers, n: np.ndarray, light: Light, base: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What a shiny surface reflects (dark ground, bright horizon, sky), and how much of it."""
    horizon = smooth(n[..., 1], -0.15, 0.1) * (1.15 - 0.5 * smooth(n[..., 1], 0.1, 0.8))
    metal = np.array([p.grain == "metal" for p in b.figure.parts] + [False])[b.part]
    world = mix(light.ground * 0.3, light.sky * 1.9 + 0.1 * light.key, horizon)
    tint = np.where(metal[..., None], 0.25 + 0.75 * base, 1)
    return world * tint, np.where(metal, 0.34, 0.2 * b.gloss).astype(np.float32)


def shade(b: Buffers, light: Light, texture: np.ndarray, depth: float = 0.55) -> np.ndarray:
    """The lit figure in display RGB; `depth` is the strength of the shade between parts."""
    n = rounded(b)
    facing = n @ light.direction
    diffuse = np.clip((facing + light.wrap) / (1 + light.wrap), 0, 1)
    up = (n[..., 1] * 0.5 + 0.5)[..., None]
    ambient = light.ground + (light.sky - light.ground) * up
    open_ = 1 - depth * b.occlusion
    energy = light.key * (diffuse * open_)[..., None] + ambient * (open_ * open_)[..., None]
    base = np.clip(b.albedo, 0.012, 1) * np.maximum(texture, 0.3)[..., None]
    colour = mix(base**2.2 * energy, *_mirror(b, n, light, base))
    half = light.direction + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    spec = np.clip(n @ half, 0, 1)
    shine = b.gloss * (0.9 * spec ** (12 + 90 * b.gloss) + 0.12 * (1 - n[..., 2]) ** 3)
    rim = (0.16 * (1 - n[..., 2]) ** 2)[
        ..., None
    ] * light.sky  # keeps dark things apart from dark places
    colour = colour + shine[..., None] * light.key * 0.9 + rim
    return np.maximum(colour, 0) ** (1 / 2.2)
