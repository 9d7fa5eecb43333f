"""Toys of the course: forgetting in a plane and in space, with the package's own edits, and spectra to compare.

A toy is a CLIP with W = I in two dimensions: images are points, prompts are directions, so every
step can be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from torch import Tensor
from torch.nn.functional import normalize

from ..core.nullspace import Factors, null_space, orthonormal_basis
from ..core.variants import oblique
from ..measure.plots import COLORS
from .widgets import LiveFigure, Panel, View, slider

LEFT, RIGHT, BOTTOM, TOP = -1.4, 1.4, -0.95, 1.4  # the part of the plane that is shown


def cloud(x: float, y: float, spread: float, seed: int, n: int = 12) -> Tensor:
    """(n, 2) images around a centre."""
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return torch.tensor([x, y]) + spread * (noise - noise.mean(0))


def edit_of_cell(method: str = "oblique", rho: float = 0.8, beta: float = 1.0) -> Factors:
    """Factors A (2, 1), B (1, 2) of the package's own edit that forgets the dog sketches of the second toy."""
    mask, W, visual = torch.tensor([[True, False], [False, False]]), torch.eye(2), CELLS[:, :, None]
    if method == "null-space":
        return null_space(W, CELLS, visual, mask, use="text")
    class_text = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    return oblique(W, CELLS, class_text, visual, mask, rho=rho, rho2=0.0, beta=beta, omega=0.0)


@dataclass(frozen=True)
class Toy:
    """Images (n, 2) by group, the class of each group, what names the class of a point, and what forgets."""

    title: str
    groups: Mapping[str, Tensor]
    truth: tuple[int, ...]
    colors: tuple[tuple[float, float, float], ...]
    answer: Callable[[Tensor], Tensor]
    edit: Callable[..., Factors]
    labels: Mapping[str, tuple[float, float]]
    axes: tuple[str, str]


# Three classes, decided by the largest cosine: "dog" points up, so forgetting it flattens the
# picture.
PROMPTS = torch.tensor([[0.0, 1.0], [0.82, 0.57], [-0.91, -0.42]])
CLASSES = Toy(
    'Forget "dog": h − α (h·u) u',
    {
        "dogs": cloud(0.05, 0.85, 0.12, 3),
        "cats": cloud(0.83, 0.5, 0.09, 2),
        "cars": cloud(-0.85, -0.35, 0.09, 1),
    },
    (0, 1, 2),
    (COLORS["forget"], COLORS["retained"], COLORS["same_class"]),
    lambda points: (points @ PROMPTS.T).argmax(1),
    lambda: (-PROMPTS[:1].T, PROMPTS[:1]),  # Delta = -u u^T, u the prompt
    {'"dog" = u': (0.0, 1.25), '"cat"': (1.1, 0.8), '"car"': (-1.1, -0.72)},
    ("first coordinate of h", "second coordinate of h"),
)
# Two classes in two domains: across, sketch rather than photo; upwards, the score for "dog". A real
# edit moves the best score of the other classes less (notebook 05 measures it), so it is drawn as a
# border that stands still.
CELLS = torch.tensor(
    [[[0.42, 0.90], [-0.42, 0.90]], [[0.42, -0.28], [-0.42, -0.28]]]
)  # (dog, cat) x (sketch, photo)
NAMES, BORDER = ("dog sketches", "dog photos", "cat sketches", "cat photos"), 0.5
DOMAINS = Toy(
    "Forget dog sketches: detect with l, remove along r",
    {name: cloud(*CELLS[i // 2, i % 2].tolist(), 0.07, i + 1) for i, name in enumerate(NAMES)},
    (0, 0, 1, 1),
    (COLORS["forget"], COLORS["same_class"], COLORS["same_domain"], COLORS["retained"]),
    lambda points: (points[:, 1] < BORDER).long(),
    edit_of_cell,
    {'called "dog"': (1.02, BORDER + 0.09), "another class": (1.0, BORDER - 0.1)},
    ("photo  ←  domain  →  sketch", 'score for "dog"'),
)


class _Plane:
    """A toy under an edit: where images were (pale), the way they went, where they are (hollow: called wrongly)."""

    def __init__(self, ax: Axes, toy: Toy) -> None:
        self.toy, self.dots, self.tails = toy, [], []
        x, y = torch.meshgrid(
            torch.linspace(LEFT, RIGHT, 400), torch.linspace(BOTTOM, TOP, 400), indexing="xy"
        )
        regions, colors = (
            toy.answer(torch.stack([x, y], -1).flatten(0, 1)).reshape(x.shape),
            toy.colors,
        )
        paint = ListedColormap(colors if toy is CLASSES else [colors[0], (1.0, 1.0, 1.0)])
        ax.imshow(
            regions, cmap=paint, alpha=0.12, origin="lower", extent=(LEFT, RIGHT, BOTTOM, TOP)
        )
        ax.set(
            xlim=(LEFT, RIGHT),
            ylim=(BOTTOM, TOP),
            aspect="equal",
            xlabel=toy.axes[0],
            ylabel=toy.axes[1],
        )
        ax.spines[["top", "right"]].set_visible(False)
        for text, place in toy.labels.items():
            ax.text(*place, text, ha="center", va="center", fontsize=9, color="0.2")
        for t, color in zip(PROMPTS.tolist() if toy is CLASSES else (), colors, strict=False):
            ax.annotate("", t, (0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "lw": 2})
        for (name, points), color, marker in zip(toy.groups.items(), colors, "os^D", strict=False):
            ax.scatter(*points.T, s=12, color=color, marker=marker, alpha=0.3, linewidths=0)
            ax.scatter([], [], s=34, color=color, marker=marker, label=name)
            self.tails.append(ax.plot([], [], color=color, lw=0.8, alpha=0.6)[0])
            self.dots.append(
                ax.scatter(*points.T, s=34, edgecolors=[color], marker=marker, zorder=4)
            )
        self.blind = ax.plot([], [], color="0.1", ls="--", lw=1.2)[
            0
        ]  # what the detector does not see
        two = (
            ()
            if toy is CLASSES
            else ({"color": "0.1", "marker": "o", "markevery": [1]}, {"color": "0.6", "lw": 4})
        )
        self.arrows = [ax.plot([], [], **style)[0] for style in two]
        style = {"ha": "center", "va": "center", "style": "italic", "zorder": 6}
        self.names = [ax.text(0, 0, "", **style) for _ in two]
        self.artists = [*self.tails, self.blind, *reversed(self.arrows), *self.dots, *self.names]

    def show(self, A: Tensor, B: Tensor, strength: float) -> dict[str, float]:
        """Move every image by strength * (h A) B; the share of each group that is still called what it is."""
        share = {}
        for i, (name, points) in enumerate(self.toy.groups.items()):
            now = points + strength * (points @ A) @ B
            right = self.toy.answer(now) == self.toy.truth[i]
            share[name] = right.float().mean().item()
            self.dots[i].set(
                offsets=now, facecolors=[self.toy.colors[i] if ok else "white" for ok in right]
            )
            self.tails[i].set_data(
                *torch.stack([points, now, torch.full_like(now, torch.nan)], 1).flatten(0, 1).T
            )
        l, r = normalize(-A[:, 0], dim=0), normalize(B[0], dim=0)  # noqa: E741
        self.blind.set_data([3 * l[1], -3 * l[1]], [-3 * l[0], 3 * l[0]])
        texts = (
            ("", "u") if (l @ r).abs() > 0.999 else ("l", "r")
        )  # the plain projector has one direction for both
        sides = (0.12, -0.12)
        for line, name, text, v, side in zip(
            self.arrows, self.names, texts, (l, r), sides, strict=False
        ):
            v = 0.6 * v * v[1].sign()
            line.set_data([0, v[0]], [0, v[1]])
            name.set(text=text, position=(v[0] + side * v[1] / 0.6, v[1] - side * v[0] / 0.6))
        return share


def panel(toy: Toy) -> Panel:
    """CLASSES or DOMAINS, live: strength, and for DOMAINS rho and beta. Numbers: share of each group called right."""
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
        share = plane.show(*toy.edit(**settings), strength)
        text = ", ".join(f"{name} <b>{value:.2f}</b>" for name, value in share.items())
        return View(
            figure, share, f"<b>strength {strength:.2f}</b>: share still called right: {text}"
        )

    more = (
        {}
        if toy is CLASSES
        else {"rho": slider("rho", value=0.0), "beta": slider("beta", 0.2, 2.0, 1.0)}
    )
    return Panel(
        draw,
        {"strength": slider("strength", value=0.0), **more},
        f"{toy.title}: images of a plane move",
    )


def row(toy: Toy, steps: Sequence[Mapping[str, float | str]], title: str = "") -> Figure:
    """CLASSES or DOMAINS once for each step, such as {"strength": 0.5, "rho": 1.0}, side by side."""
    figure = plt.figure(figsize=(3.5 * len(steps), 3.9), layout="constrained")
    for ax, step in zip(
        figure.subplots(1, len(steps), sharey=True, squeeze=False)[0], steps, strict=True
    ):
        settings = {k: v for k, v in step.items() if k != "strength"}
        _Plane(ax, toy).show(*toy.edit(**settings), step["strength"])
        ax.set_title(
            ", ".join(v if k == "method" else f"{k} {v:g}" for k, v in step.items()), fontsize=10
        )
        ax.label_outer()
    figure.legend(
        *ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    figure.suptitle(title or toy.title)
    return figure


def space() -> Figure:
    """In three dimensions: taking one direction out leaves a plane, taking two out leaves a line."""
    h = normalize(torch.tensor([[0.25, 0.1, 0.95], [0.85, -0.3, 0.35], [-0.75, -0.6, 0.1]]), dim=1)
    figure = plt.figure(figsize=(9.6, 4.4), layout="constrained")
    figure.suptitle("What is left in space (pale: before; bold: after; dotted: the way)")
    for i, names in enumerate(("dog", "dog and cat"), start=1):
        ax = figure.add_subplot(1, 2, i, projection="3d")
        U = orthonormal_basis(h[:i])
        corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]])[:, i - 1 :]
        stays = corners @ torch.linalg.svd(U.T).Vh[i:]
        ax.add_collection3d(
            Poly3DCollection([stays.numpy()], facecolor=(0.6, 0.6, 0.6, 0.25), edgecolor="0.5")
        )
        for name, color, a, b in zip(
            ("dog", "cat", "car"), CLASSES.colors, h, h - h @ U @ U.T, strict=True
        ):
            ax.quiver(0, 0, 0, *a, color=color, lw=1.6, alpha=0.45, arrow_length_ratio=0.1)
            if b.norm() > 1e-3:
                ax.quiver(0, 0, 0, *b, color=color, lw=3, arrow_length_ratio=0.12)
            ax.plot(*torch.stack([a, b]).T, color=color, ls=":", lw=1.2)
            ax.text(*(1.15 * a), name, ha="center", va="bottom" if a[2] > 0.2 else "top")
        ax.set(xlim=(-0.9, 0.9), ylim=(-0.9, 0.9), zlim=(-0.5, 1), xticks=[], yticks=[], zticks=[])
        for axis, name in zip((ax.xaxis, ax.yaxis, ax.zaxis), ("h₁", "h₂", "h₃"), strict=True):
            axis.set_label_text(name)
            axis.labelpad = -12
        ax.set_title(f"take out {names}", y=0.98)
        ax.set_box_aspect((6, 6, 5), zoom=1.05)
        ax.view_init(elev=18, azim=-62)
    return figure


def spectrum(curves: Mapping[str, Tensor], title: str, rtol: float = 0.0, after: int = 0) -> Figure:
    """Singular values of each matrix (n, d) relative to its largest; lines at rtol, and after so many directions."""
    figure, ax = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
    for (name, rows), color in zip(curves.items(), sns.color_palette("colorblind"), strict=False):
        s = torch.linalg.svdvals(rows)[: int(torch.linalg.matrix_rank(rows))]
        ax.plot(range(1, len(s) + 1), s / s[0], color=color, marker="o", ms=3, lw=1.2, label=name)
    if rtol:
        ax.axhline(rtol, color="0.4", lw=1, ls=":", label=f"rtol {rtol:g}")
    if after:
        ax.axvline(after + 0.5, color="0.4", lw=1, ls="--", label=f"{after} directions")
    ax.set(yscale="log", ylim=(1e-3, 1.4), xlabel="direction, strongest first", title=title)
    ax.set_ylabel("singular value\n(share of the largest)")
    ax.legend(frameon=False)
    sns.despine(figure)
    return figure
