"""Umbrella."""

from __future__ import annotations

import numpy as np

from .ornament import (
    BLACK,
    BROWN,
    PAINTS,
    SILVER,
    SLATE,
    TAN,
    Rng,
    balls,
    contrasting,
    dark,
    light,
    pick,
    segments,
    stroke,
    within,
)
from .shapes import Array, Figure, Part, Shape, clip_to, place_figure


def _canopy(r: float, tall: float, low: float, n: int) -> tuple[Shape, Shape]:
    """Dome of n visible panels, scalloped below, and every second panel of it."""

    def meridian(x: Array, y: Array) -> tuple[Array, Array]:
        rest = np.sqrt(
            np.maximum(1 - ((y - low) / tall) ** 2, 1e-4)
        )  # half-width of the dome at this height
        return np.arcsin(np.clip(x / (r * rest), -1, 1)) / np.pi + 0.5, rest

    def dome(x: Array, y: Array) -> Array:
        u, v = x / r, (y - low) / tall
        q = np.sqrt(u * u + v * v)
        top = (q - 1) * q / np.maximum(np.sqrt((u / r) ** 2 + (v / tall) ** 2), 1e-6)
        k = np.clip(x / r, -1, 1)
        f = (np.arcsin(k) / np.pi + 0.5) * n % 1
        hem = (
            low
            - 0.03
            + 0.1 * np.sin(np.pi * f) * (0.5 + 0.5 * np.sqrt(1 - k * k))
            - 0.07 * np.sqrt(1 - k * k)
        )
        return np.maximum(top, hem - y)

    def panels(x: Array, y: Array) -> Array:
        s, rest = meridian(x, np.maximum(y, low))
        f = s * n % 2
        return np.where(f > 1.5, 2 - f, np.abs(f - 0.5) - 0.5) * r * rest * 2.2 / n

    return within(dome, -r, low - 0.12, r, low + tall), within(
        clip_to(panels, dome), -r, low - 0.12, r, low + tall
    )


def umbrella(rng: Rng) -> Figure:
    """Open umbrella, upright or leaning: panelled dome with a scalloped hem, and a hooked shaft."""
    color = pick(rng, PAINTS)
    second = contrasting(rng, color) if rng.random() < 0.6 else dark(color, 0.2)
    n, r = int(rng.choice([4, 5, 6])), rng.uniform(0.72, 0.82)
    tall, low = rng.uniform(0.52, 0.72), rng.uniform(0.0, 0.1)
    top = low + tall
    dome, panels = _canopy(r, tall, low, n)
    wood, s = pick(rng, (BROWN, TAN, BLACK, dark(SLATE)), 0.03), int(rng.choice([-1, 1]))
    hook = [(0, -0.66), (0, -0.86), (0.2 * s, -0.9), (0.2 * s, -0.68)]
    parts = [
        Part(segments([(0, top - 0.02, 0, top + 0.08)], 0.026), wood, 0.03, 0.3),
        Part(
            segments([(0, top - 0.1, 0, -0.6)], 0.024), pick(rng, (SILVER, TAN, SLATE)), 0.03, 0.4
        ),
        Part(stroke(hook, 0.045, 0.04, 8), wood, 0.04, 0.3, "wood"),
        Part(dome, color, 0.45, 0.25),
    ]
    parts.append(Part(panels, second, 0.3, 0.2))
    if rng.random() < 0.3:
        spots = [
            (r * 0.8 * np.cos(a) * q, low + 0.06 + tall * 0.85 * abs(np.sin(a)) * q, 0.04)
            for a, q in zip(np.linspace(0.2, 2.9, 9), [0.9, 0.55] * 4 + [0.9], strict=True)
        ]
        parts.append(Part(clip_to(balls(spots), dome), light(color, 0.75), 0, 0.1, line=False))
    lean = rng.normal(0, 0.3)
    return place_figure(Figure(tuple(parts)), scale=0.97, angle=float(np.clip(lean, -0.6, 0.6)))
