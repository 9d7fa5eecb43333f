"""Signed-distance shapes, and the two values that a class definition is made of: Part and Figure.

Coordinates: x to the right, y UP, the figure inside [-1, 1] x [-1, 1]. A shape is a function of two
arrays (x, y) that returns the distance to its outline in the same unit, negative inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

Array = np.ndarray
Shape = Callable[[Array, Array], Array]
Color = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One visible piece of a figure; a figure's parts are listed back to front."""

    shape: Shape
    color: Color  # albedo, RGB in [0, 1]
    bulge: float = 0.25  # how far from the outline the surface keeps curving; 0 is flat as paper
    gloss: float = 0.1  # strength of the highlight in the photo domain
    grain: str = "plain"  # surface: plain | fur | wood | metal | leaf | brick
    line: bool = True  # has an outline of its own in cartoon and sketch (eyes, spots: often False)


@dataclass(frozen=True)
class Figure:
    """What an image shows: parts back to front, and how it meets the world."""

    parts: tuple[Part, ...]
    airborne: bool = False  # no ground shadow below it: a bird, an airplane


def ellipse(cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Shape:
    """Ellipse with half-axes rx, ry, turned by angle (radians). The distance is approximate."""
    c, s = math.cos(angle), math.sin(angle)

    def shape(x: Array, y: Array) -> Array:
        u, v = (x - cx) * c + (y - cy) * s, -(x - cx) * s + (y - cy) * c
        k0 = np.sqrt((u / rx) ** 2 + (v / ry) ** 2)
        k1 = np.sqrt((u / rx**2) ** 2 + (v / ry**2) ** 2)
        return k0 * (k0 - 1.0) / np.maximum(k1, 1e-9) + (k0 < 1e-6) * -min(rx, ry)

    return shape


def circle(cx: float, cy: float, r: float) -> Shape:
    """Disc of radius r."""
    return lambda x, y: np.hypot(x - cx, y - cy) - r


def box(cx: float, cy: float, w: float, h: float, angle: float = 0.0, round: float = 0.0) -> Shape:
    """Rectangle of full width w and height h, corners rounded by `round`."""
    c, s = math.cos(angle), math.sin(angle)

    def shape(x: Array, y: Array) -> Array:
        u = np.abs((x - cx) * c + (y - cy) * s) - w / 2 + round
        v = np.abs(-(x - cx) * s + (y - cy) * c) - h / 2 + round
        return (
            np.hypot(np.maximum(u, 0), np.maximum(v, 0)) + np.minimum(np.maximum(u, v), 0) - round
        )

    return shape


def capsule(
    x0: float, y0: float, x1: float, y1: float, r0: float, r1: float | None = None
) -> Shape:
    """Thick segment from (x0, y0) to (x1, y1), radius going from r0 to r1: limbs, trunks, tails."""
    r1 = r0 if r1 is None else r1
    dx, dy = x1 - x0, y1 - y0
    length2 = max(dx * dx + dy * dy, 1e-12)

    def shape(x: Array, y: Array) -> Array:
        t = np.clip(((x - x0) * dx + (y - y0) * dy) / length2, 0, 1)
        return np.hypot(x - x0 - t * dx, y - y0 - t * dy) - (r0 + t * (r1 - r0))

    return shape


def polygon(points: Sequence[tuple[float, float]], round: float = 0.0) -> Shape:
    """Closed polygon, either orientation, grown by `round` (which rounds its corners)."""
    corners = [
        (float(px), float(py)) for px, py in points
    ]  # Python floats keep a float32 grid float32
    sides = list(zip(corners, corners[1:] + corners[:1], strict=True))

    def shape(x: Array, y: Array) -> Array:
        d2 = np.full(np.shape(x), np.inf, dtype=np.result_type(x))
        inside = np.zeros(np.shape(x), dtype=bool)
        for (ax, ay), (bx, by) in sides:
            ex, ey = bx - ax, by - ay
            t = np.clip(((x - ax) * ex + (y - ay) * ey) / max(ex * ex + ey * ey, 1e-12), 0, 1)
            d2 = np.minimum(d2, (x - ax - t * ex) ** 2 + (y - ay - t * ey) ** 2)
            if ay != by:
                inside ^= ((ay > y) != (by > y)) & (x < ex * (y - ay) / ey + ax)
        d = np.sqrt(d2)
        return np.where(inside, -d, d) - round

    return shape


def curve(
    points: Sequence[tuple[float, float]], r0: float, r1: float | None = None, steps: int = 10
) -> Shape:
    """Tube along the quadratic or cubic Bezier curve of 3 or 4 control points."""
    pts, t = np.asarray(points, dtype=float), np.linspace(0, 1, steps + 1)[:, None]
    while len(pts) > 1:  # de Casteljau, for all t at once
        pts = [(1 - t) * a + t * b for a, b in pairwise(pts)]
    p, r1 = pts[0].tolist(), r0 if r1 is None else r1
    radii = np.linspace(r0, r1, steps + 1).tolist()
    return union(
        *(capsule(*p[i], *p[i + 1], radii[i], radii[i + 1]) for i in range(steps)),
    )


def ring(cx: float, cy: float, r: float, thickness: float) -> Shape:
    """Annulus of middle radius r: wheels, handles."""
    return lambda x, y: np.abs(np.hypot(x - cx, y - cy) - r) - thickness / 2


def union(*shapes: Shape) -> Shape:
    """All of the shapes."""

    def shape(x: Array, y: Array) -> Array:
        d = shapes[0](x, y)
        for other in shapes[1:]:
            d = np.minimum(d, other(x, y))
        return d

    return shape


def blend(k: float, *shapes: Shape) -> Shape:
    """Smooth union: the shapes melt into each other over a distance k (bodies and limbs)."""

    def shape(x: Array, y: Array) -> Array:
        d = shapes[0](x, y)
        for other in shapes[1:]:
            e = other(x, y)
            h = np.clip(0.5 + 0.5 * (e - d) / k, 0, 1)
            d = e + (d - e) * h - k * h * (1 - h)
        return d

    return shape


def cut(shape_: Shape, *holes: Shape) -> Shape:
    """The shape without the holes."""
    return lambda x, y: np.maximum(shape_(x, y), -union(*holes)(x, y))


def clip_to(shape_: Shape, window: Shape) -> Shape:
    """The part of the shape inside the window: spots on a body, stripes on a sail."""
    return lambda x, y: np.maximum(shape_(x, y), window(x, y))


def place(
    shape_: Shape,
    scale: float = 1.0,
    angle: float = 0.0,
    dx: float = 0.0,
    dy: float = 0.0,
    flip: bool = False,
) -> Shape:
    """The shape scaled, mirrored left-right, turned and moved, in this order."""
    c, s, m = math.cos(angle), math.sin(angle), -1.0 if flip else 1.0

    def shape(x: Array, y: Array) -> Array:
        u, v = ((x - dx) * c + (y - dy) * s) / scale, (-(x - dx) * s + (y - dy) * c) / scale
        return shape_(m * u, v) * scale

    return shape


def place_figure(figure: Figure, **how: float) -> Figure:
    """The whole figure scaled, mirrored, turned and moved (see `place`)."""
    scale = how.get("scale", 1.0)
    parts = (replace(p, shape=place(p.shape, **how), bulge=p.bulge * scale) for p in figure.parts)
    return replace(figure, parts=tuple(parts))
