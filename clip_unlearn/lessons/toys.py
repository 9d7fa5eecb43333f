"""Toys for notebooks 03 and 05: forgetting in a plane and in space, and spectra to compare.

A toy is a CLIP with W = I in two dimensions: images are points, prompts are directions, and the
edits are the package's own, so every step can be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from torch import Tensor
from torch.nn.functional import normalize

from ..core.nullspace import Factors, TowerPrototypes, null_space, orthonormal_basis
from ..core.variants import oblique
from ..measure.plots import COLORS, legend_below
from .widgets import LiveFigure, Panel, View, slider

LEFT, RIGHT, BOTTOM, TOP = -1.4, 1.4, -0.95, 1.4  # the part of the plane that is shown
Color = tuple[float, float, float]


@dataclass(frozen=True)
class Toy:
    """A plane with images, a way to classify them and an edit that forgets one group."""

    title: str
    axes: tuple[str, str]  # what the two coordinates mean
    groups: Mapping[str, Tensor]  # the images (n, 2) of each group
    truth: tuple[int, ...]  # the class of each group
    colors: tuple[Color, ...]  # of each group
    answer: Callable[[Tensor], Tensor]  # points (n, 2) -> the class (n,) that each is called
    regions: tuple[Color, ...]  # the colour of each class's part of the plane
    labels: Mapping[str, tuple[float, float]]  # words to write, and where
    edit: Callable[..., Factors]  # settings -> factors A (2, 1), B (1, 2)
    # Settings of the edit that the panel has sliders for: (lowest, highest, first value).
    settings: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    prompts: Sequence[Sequence[float]] = ()  # directions to draw from the origin
    directed: bool = False  # whether to draw what the edit detects and along what it removes


def cloud(x: float, y: float, spread: float, seed: int, n: int = 12) -> Tensor:
    """(n, 2) images around a centre."""
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return torch.tensor([x, y]) + spread * (noise - noise.mean(0))


# Three classes, decided by the largest cosine: "dog" points up, so forgetting it flattens the
# picture.
PROMPTS = torch.tensor([[0.0, 1.0], [0.82, 0.57], [-0.91, -0.42]])
_CLASS_COLORS = (COLORS["forget"], COLORS["retained"], COLORS["same_class"])
CLASSES = Toy(
    title='Forget "dog": h − α (h·u) u',
    axes=("first coordinate of h", "second coordinate of h"),
    groups={
        "dogs": cloud(0.05, 0.85, 0.12, 3),
        "cats": cloud(0.83, 0.5, 0.09, 2),
        "cars": cloud(-0.85, -0.35, 0.09, 1),
    },
    truth=(0, 1, 2),
    colors=_CLASS_COLORS,
    answer=lambda points: (points @ PROMPTS.T).argmax(1),
    regions=_CLASS_COLORS,
    labels={'"dog" = u': (0.0, 1.25), '"cat"': (1.1, 0.8), '"car"': (-1.1, -0.72)},
    edit=lambda: (-PROMPTS[:1].T, PROMPTS[:1]),  # Delta = -u u^T, u the prompt
    prompts=PROMPTS.tolist(),
)

# Two classes in two domains: across, sketch rather than photo; upwards, the score for "dog". A real
# edit moves the best score of the other classes less (notebook 05 measures it), so it is drawn as a
# border that stands still.
BORDER = 0.5
DOG_SKETCH, DOG_PHOTO = (0.42, 0.90), (-0.42, 0.90)
CAT_SKETCH, CAT_PHOTO = (0.42, -0.28), (-0.42, -0.28)
# (2, 2, 2): the text of each cell, and its prototype.
CELLS = torch.tensor([[DOG_SKETCH, DOG_PHOTO], [CAT_SKETCH, CAT_PHOTO]])


def edit_of_cell(method: str = "oblique", rho: float = 0.8, beta: float = 1.0) -> Factors:
    """Factors A (2, 1), B (1, 2) of the package's own edit that forgets the dog sketches."""
    dog, cat = [0.0, 1.0], [0.0, -1.0]
    prototypes = TowerPrototypes(
        W=torch.eye(2),
        text=CELLS,
        class_text=torch.tensor([dog, cat]),
        features=CELLS[:, :, None],  # (2, 2, 1, 2)
    )
    mask = torch.zeros(2, 2, dtype=torch.bool)
    mask[0, 0] = True
    if method == "null-space":
        return null_space(prototypes, mask, use="text")
    return oblique(prototypes, mask, rho=rho, rho2=0.0, beta=beta, omega=0.0)


DOMAINS = Toy(
    title="Forget dog sketches: detect with l, remove along r",
    axes=("photo  ←  domain  →  sketch", 'score for "dog"'),
    groups={
        "dog sketches": cloud(*DOG_SKETCH, 0.07, 1),
        "dog photos": cloud(*DOG_PHOTO, 0.07, 2),
        "cat sketches": cloud(*CAT_SKETCH, 0.07, 3),
        "cat photos": cloud(*CAT_PHOTO, 0.07, 4),
    },
    truth=(0, 0, 1, 1),
    colors=(
        COLORS["forget"],
        COLORS["same_class"],
        COLORS["same_domain"],
        COLORS["retained"],
    ),
    answer=lambda points: (points[:, 1] < BORDER).long(),
    regions=(COLORS["forget"], (1.0, 1.0, 1.0)),
    labels={'called "dog"': (1.02, BORDER + 0.09), "another class": (1.0, BORDER - 0.1)},
    edit=edit_of_cell,
    settings={"rho": (0.0, 1.0, 0.0), "beta": (0.2, 2.0, 1.0)},
    directed=True,
)


def panel(toy: Toy) -> Panel:
    """A toy live: the strength, its settings, and the share of each group that is called right."""
    figure = LiveFigure(figsize=(5.6, 5.2), dpi=88, layout="constrained")
    ax = figure.subplots()
    plane = _Plane(ax, toy)
    ax.set_title(toy.title, fontsize=11)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=4,
        frameon=False,
        fontsize=8,
        columnspacing=1,
    )
    figure.live(*plane.artists)
    figure.settle()

    def draw(strength: float, **settings: float) -> View:
        A, B = toy.edit(**settings)
        share = plane.show(A, B, strength)
        said = ", ".join(f"{name} <b>{value:.2f}</b>" for name, value in share.items())
        text = f"<b>strength {strength:.2f}</b>: share still called right: {said}"
        return View(figure, share, text)

    controls = {"strength": slider("strength", value=0.0)}
    for name, (low, high, start) in toy.settings.items():
        controls[name] = slider(name, low, high, start)
    return Panel(draw, controls, f"{toy.title}: images of a plane move")


def row(toy: Toy, steps: Sequence[Mapping[str, float | str]], title: str = "") -> Figure:
    """A toy once for each step, such as {"strength": 0.5, "rho": 1.0}, side by side."""
    figure = plt.figure(figsize=(3.5 * len(steps), 3.9), layout="constrained")
    places = figure.subplots(1, len(steps), sharey=True, squeeze=False)[0]
    for ax, step in zip(places, steps, strict=True):
        settings = {name: value for name, value in step.items() if name != "strength"}
        A, B = toy.edit(**settings)
        plane = _Plane(ax, toy)
        plane.show(A, B, step["strength"])
        ax.set_title(_name_step(step), fontsize=10)
        ax.label_outer()
    legend_below(figure, ax, columns=4)
    figure.suptitle(title or toy.title)
    return figure


def _name_step(step: Mapping[str, float | str]) -> str:
    """Such as "null-space, strength 0.5"."""
    words = []
    for name, value in step.items():
        words.append(value if name == "method" else f"{name} {value:g}")
    return ", ".join(words)


class _Plane:
    """A toy under an edit, drawn on axes.

    Pale are the images where they were; a line leads to where they are now, hollow if they are
    called wrongly.
    """

    def __init__(self, ax: Axes, toy: Toy) -> None:
        self.toy = toy
        self._paint_regions(ax)
        self._write_labels(ax)
        self._draw_prompts(ax)
        self._draw_images(ax)
        self._draw_directions(ax)
        lines = [line for line, _ in self.arrows]
        names = [name for _, name in self.arrows]
        # In this order they are drawn, the detector over the direction of removal.
        self.artists = [*self.tails, self.blind, *reversed(lines), *self.dots, *names]

    def _paint_regions(self, ax: Axes) -> None:
        """Colour each point of the plane by what an image there would be called."""
        x, y = torch.meshgrid(
            torch.linspace(LEFT, RIGHT, 400),
            torch.linspace(BOTTOM, TOP, 400),
            indexing="xy",
        )
        points = torch.stack([x, y], -1)  # (400, 400, 2)
        answers = self.toy.answer(points.flatten(0, 1)).reshape(x.shape)
        ax.imshow(
            answers,
            cmap=ListedColormap(self.toy.regions),
            alpha=0.12,
            origin="lower",
            extent=(LEFT, RIGHT, BOTTOM, TOP),
        )

    def _write_labels(self, ax: Axes) -> None:
        across, up = self.toy.axes
        ax.set(
            xlim=(LEFT, RIGHT),
            ylim=(BOTTOM, TOP),
            aspect="equal",
            xlabel=across,
            ylabel=up,
        )
        ax.spines[["top", "right"]].set_visible(False)
        for text, (x, y) in self.toy.labels.items():
            ax.text(x, y, text, ha="center", va="center", fontsize=9, color="0.2")

    def _draw_prompts(self, ax: Axes) -> None:
        for prompt, color in zip(self.toy.prompts, self.toy.colors, strict=False):
            arrow = {"arrowstyle": "-|>", "color": color, "lw": 2}
            ax.annotate("", xy=prompt, xytext=(0, 0), arrowprops=arrow)

    def _draw_images(self, ax: Axes) -> None:
        self.tails = []  # from where the images of a group were to where they are
        self.dots = []  # the images of a group where they are
        groups = zip(self.toy.groups.items(), self.toy.colors, "os^D", strict=False)
        for (name, points), color, marker in groups:
            x, y = points.T
            ax.scatter(
                x,
                y,
                s=12,
                color=color,
                marker=marker,
                alpha=0.3,
                linewidths=0,
            )
            ax.scatter([], [], s=34, color=color, marker=marker, label=name)  # for the legend
            (tail,) = ax.plot([], [], color=color, lw=0.8, alpha=0.6)
            dots = ax.scatter(
                x,
                y,
                s=34,
                edgecolors=[color],
                marker=marker,
                zorder=4,
            )
            self.tails.append(tail)
            self.dots.append(dots)

    def _draw_directions(self, ax: Axes) -> None:
        """What the detector does not see and, where they differ, how it detects and removes."""
        (self.blind,) = ax.plot([], [], color="0.1", ls="--", lw=1.2)
        self.arrows: list[tuple[Line2D, Text]] = []  # detect, remove: each with its name
        if not self.toy.directed:
            return
        (detect,) = ax.plot([], [], color="0.1", marker="o", markevery=[1])
        (remove,) = ax.plot([], [], color="0.6", lw=4)
        for line in (detect, remove):
            name = ax.text(
                0,
                0,
                "",
                ha="center",
                va="center",
                style="italic",
                zorder=6,
            )
            self.arrows.append((line, name))

    def show(self, A: Tensor, B: Tensor, strength: float) -> dict[str, float]:
        """Move every image h by strength * (h A) B; the share of each group still called right."""
        share = {}
        for i, (name, points) in enumerate(self.toy.groups.items()):
            now = points + strength * (points @ A) @ B
            right = self.toy.answer(now) == self.toy.truth[i]
            share[name] = right.float().mean().item()
            self._move(i, points, now, right)
        detect = normalize(-A[:, 0], dim=0)
        remove = normalize(B[0], dim=0)
        self._turn(detect, remove)
        return share

    def _move(self, group: int, before: Tensor, now: Tensor, right: Tensor) -> None:
        """Put the images of a group where they are now (n, 2); right (n,) are filled."""
        color = self.toy.colors[group]
        faces = [color if ok else "white" for ok in right]
        self.dots[group].set(offsets=now, facecolors=faces)

        gap = torch.full_like(now, torch.nan)  # lifts the pen between two images
        ways = torch.stack([before, now, gap], 1)  # (n, 3, 2)
        x, y = ways.flatten(0, 1).T
        self.tails[group].set_data(x, y)

    def _turn(self, detect: Tensor, remove: Tensor) -> None:
        """Turn the lines to the unit directions (2,) that an edit detects and removes along."""
        x, y = 3 * detect
        self.blind.set_data([y, -y], [-x, x])
        if not self.arrows:
            return
        # The plain projector has one direction for both, which is named once.
        same = (detect @ remove).abs() > 0.999
        names = ("", "u") if same else ("l", "r")
        _point(self.arrows[0], detect, names[0], side=0.12)
        _point(self.arrows[1], remove, names[1], side=-0.12)


def _point(arrow: tuple[Line2D, Text], direction: Tensor, text: str, side: float) -> None:
    """Point an arrow from the origin along a unit direction (2,), upwards, its name to one side."""
    line, name = arrow
    upwards = direction * direction[1].sign()
    x, y = 0.6 * upwards
    line.set_data([0, x], [0, y])
    name.set_text(text)
    name.set_x(x + side * y / 0.6)
    name.set_y(y - side * x / 0.6)


def space() -> Figure:
    """In three dimensions: without one direction a plane is left, without two a line."""
    dog = [0.25, 0.1, 0.95]
    cat = [0.85, -0.3, 0.35]
    car = [-0.75, -0.6, 0.1]
    h = normalize(torch.tensor([dog, cat, car]), dim=1)
    figure = plt.figure(figsize=(9.6, 4.4), layout="constrained")
    figure.suptitle("What is left in space (pale: before; bold: after; dotted: the way)")
    for taken, names in ((1, "dog"), (2, "dog and cat")):
        ax = figure.add_subplot(1, 2, taken, projection="3d")
        _draw_space(ax, h, taken)
        ax.set_title(f"take out {names}", y=0.98)
    return figure


def _draw_space(ax: Axes, h: Tensor, taken: int) -> None:
    """Arrows h (3, 3) before and after the first `taken` of them are projected out."""
    U = orthonormal_basis(h[:taken])  # (3, taken)
    left = h - h @ U @ U.T
    _draw_subspace(ax, torch.linalg.svd(U.T).Vh[taken:])
    names = ("dog", "cat", "car")
    for name, color, before, after in zip(names, CLASSES.colors, h, left, strict=True):
        _draw_arrows(ax, before, after, color)
        x, y, z = 1.15 * before
        above = before[2] > 0.2
        ax.text(x, y, z, name, ha="center", va="bottom" if above else "top")

    ax.set(
        xlim=(-0.9, 0.9),
        ylim=(-0.9, 0.9),
        zlim=(-0.5, 1),
        xticks=[],
        yticks=[],
        zticks=[],
    )
    for axis, name in zip((ax.xaxis, ax.yaxis, ax.zaxis), ("h₁", "h₂", "h₃"), strict=True):
        axis.set_label_text(name)
        axis.labelpad = -12
    ax.set_box_aspect((6, 6, 5), zoom=1.05)
    ax.view_init(elev=18, azim=-62)


def _draw_subspace(ax: Axes, basis: Tensor) -> None:
    """The plane or the line that is spanned by one or two orthonormal rows (n, 3)."""
    square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]])
    corners = square[:, -len(basis) :] @ basis  # (4, 3)
    part = Poly3DCollection(
        [corners.numpy()],
        facecolor=(0.6, 0.6, 0.6, 0.25),
        edgecolor="0.5",
    )
    ax.add_collection3d(part)


def _draw_arrows(ax: Axes, before: Tensor, after: Tensor, color: Color) -> None:
    """An arrow (3,) before, pale, and after, bold; dotted the way that its tip went."""
    ax.quiver(
        0,
        0,
        0,
        *before,
        color=color,
        lw=1.6,
        alpha=0.45,
        arrow_length_ratio=0.1,
    )
    if after.norm() > 1e-3:
        ax.quiver(0, 0, 0, *after, color=color, lw=3, arrow_length_ratio=0.12)
    x, y, z = torch.stack([before, after]).T
    ax.plot(x, y, z, color=color, ls=":", lw=1.2)


def spectrum(curves: Mapping[str, Tensor], title: str, rtol: float = 0.0, after: int = 0) -> Figure:
    """Singular values of each matrix (n, d), up to its rank, relative to the largest of them.

    Lines mark the level `rtol`, and the place after so many directions; 0 is no line.
    """
    figure, ax = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
    colors = sns.color_palette("colorblind")
    for (name, rows), color in zip(curves.items(), colors, strict=False):
        rank = int(torch.linalg.matrix_rank(rows))
        values = torch.linalg.svdvals(rows)[:rank]
        share = values / values[0]
        ax.plot(range(1, rank + 1), share, color=color, marker="o", ms=3, lw=1.2, label=name)
    if rtol:
        ax.axhline(rtol, color="0.4", lw=1, ls=":", label=f"rtol {rtol:g}")
    if after:
        ax.axvline(after + 0.5, color="0.4", lw=1, ls="--", label=f"{after} directions")
    ax.set(
        title=title,
        yscale="log",
        ylim=(1e-3, 1.4),
        xlabel="direction, strongest first",
        ylabel="singular value\n(share of the largest)",
    )
    ax.legend(frameon=False)
    sns.despine(figure)
    return figure
