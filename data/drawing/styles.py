"""The four domains, and `render`: a figure in, a picture out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from .cartoon import cartoon
from .noise import to_image
from .painting import painting
from .photo import photo
from .shapes import Figure, place_figure
from .sketch import sketch

Style = Callable[[Figure, np.random.Generator, int], np.ndarray]

STYLES: dict[str, Style] = {
    "photo": photo,
    "painting": painting,
    "cartoon": cartoon,
    "sketch": sketch,
}
OVERSAMPLE = {
    "photo": 2.0,
    "painting": 1.5,
    "cartoon": 2.0,
    "sketch": 2.0,
}  # reducing smooths edges and strokes


def placed(figure: Figure, rng: np.random.Generator) -> Figure:
    """The figure somewhere in the frame: smaller, shifted, turned, half of the time mirrored."""
    scale = float(rng.uniform(0.78, 1.0))
    slack = 0.85 * (1.01 - scale)
    return place_figure(
        figure,
        scale=scale,
        angle=float(np.radians(rng.uniform(-7, 7))),
        dx=float(rng.uniform(-slack, slack)),
        dy=float(rng.uniform(-slack, slack)),
        flip=bool(rng.random() < 0.5),
    )


def render(figure: Figure, domain: str, rng: np.random.Generator, size: int = 96) -> np.ndarray:
    """A picture of the figure in one of the STYLES, (size, size, 3) uint8.

    The same state of `rng` gives the same bytes.
    """
    big = STYLES[domain](placed(figure, rng), rng, round(size * OVERSAMPLE[domain]))
    return np.asarray(to_image(big).resize((size, size), Image.Resampling.LANCZOS))
