"""Figures of the course and of the report.

Every figure has a title and labels, is safe for colour-blind readers, and keeps its scales still
from one strength to the next, so that two of them can be compared by eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.core.pylabtools import print_figure
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor, linspace

from ..core.concepts import ConceptGrid
from ..images.datasets import Features
from ..images.pictures import open_picture

_PALETTE = sns.color_palette("colorblind")
# The colour of each group of images (`evaluate.group_masks`), in every figure.
COLORS = {
    "retained": _PALETTE[0],
    "forget": _PALETTE[1],
    "same_class": _PALETTE[2],
    "same_domain": _PALETTE[3],
    "unrelated": _PALETTE[4],
    "never_named": _PALETTE[5],
}
LABELS = {
    "forget": "to forget",
    "retained": "retained",
    "same_class": "same class, other domains",
    "same_domain": "same domain, other classes",
    "unrelated": "unrelated classes",
    "never_named": "classes never named, in the domain",
}
RIGHT = COLORS["retained"]  # an image that is called what it is
WRONG = _PALETTE[3]
ACCURACY = sns.color_palette("mako", as_cmap=True)  # dark is forgotten, nearly white is known


def show(figure: Figure, alt: str) -> None:
    """Display a figure once, with a text for those who do not see it, and close it.

    The PNG is made here because IPython makes one by itself only after pyplot has drawn something.
    """
    bundle = {"image/png": print_figure(figure, base64=True), "text/plain": repr(figure)}
    display(bundle, raw=True, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def accuracy_grids(
    before: pd.DataFrame, after: pd.DataFrame, mask: Tensor, title: str = ""
) -> Figure:
    """Accuracy of each cell before, after, and the difference; the cells to forget are framed.

    before, after: accuracies in [0, 1], classes x domains; mask (C, K) bool.
    """
    C, K = before.shape
    width = 3.4 + 0.66 * 3 * max(K, 3)
    height = 1.7 + 0.27 * max(C, 4)
    figure, axes = plt.subplots(1, 3, figsize=(width, height), sharey=True, layout="constrained")

    # The two accuracies share one colour bar; the change has its own, with white in the middle.
    percent = {"vmin": 0, "vmax": 100, "cmap": ACCURACY, "fmt": ".0f"}
    _heat(axes[0], 100 * before, cbar=False, **percent)
    axes[0].set_title("Accuracy before")
    _heat(axes[1], 100 * after, cbar_kws={"label": "accuracy (%)"}, **percent)
    axes[1].set_title("Accuracy after")
    change = 100 * (after - before)
    _heat(
        axes[2],
        change,
        vmin=-100,
        vmax=100,
        center=0,
        cmap="PuOr_r",
        fmt="+.0f",
        cbar_kws={"label": "change (points)"},
    )
    axes[2].set_title("Change")

    for ax in axes:
        _outline(ax, mask)
        ax.set_xlabel("domain")
        ax.tick_params(axis="x", length=0)
        plt.setp(ax.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
        ax.tick_params(axis="y", rotation=0, length=0)
    axes[0].set_ylabel("class")
    if title:
        figure.suptitle(title, fontsize=13)
    return figure


def _heat(ax: Axes, frame: pd.DataFrame, **look: object) -> None:
    """A table as colours, with its numbers written into the cells."""
    sns.heatmap(
        frame,
        ax=ax,
        annot=True,
        annot_kws={"size": 8},
        linewidths=0.5,
        linecolor="white",
        **look,
    )


def _outline(ax: Axes, mask: Tensor) -> None:
    """Frame the cells to forget."""
    for c, k in mask.nonzero().tolist():
        ax.add_patch(Rectangle((k, c), 1, 1, fill=False, edgecolor="black", lw=1.6))


def strength_curve(frame: pd.DataFrame, marked: float, chance: float) -> Figure:
    """Accuracy of each group against the strength, of a frame of `evaluate`.

    Dashed: the forgotten cells when they are asked for in other words. A line marks one strength.
    """
    figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")

    # The curves.
    for name, rows in frame.groupby("group", sort=False):
        ax.plot(
            rows["strength"],
            100 * rows["accuracy"],
            "o-",
            color=COLORS[name],
            label=LABELS[name],
            lw=2,
            ms=4,
        )
    forget = frame[frame["group"] == "forget"]
    ax.plot(
        forget["strength"],
        100 * forget["paraphrase"],
        "s--",
        color=COLORS["forget"],
        label="to forget, paraphrased",
        ms=4,
    )

    # What they are compared with.
    ax.axhline(100 * chance, color="0.5", lw=1, ls=":")
    ax.annotate(
        "chance",
        xy=(0.0, 100 * chance),
        xytext=(2, 3),
        textcoords="offset points",
        color="0.4",
        fontsize=9,
    )
    ax.axvline(marked, color="0.3", lw=1)

    ax.set(
        title="Accuracy against strength",
        xlim=(-0.02, 1.02),
        ylim=(-2, 102),
        xlabel="strength",
        ylabel="accuracy (%)",
    )
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    sns.despine(figure)
    return figure


def destinations(
    predicted: Tensor, classes: Sequence[str], forgotten: Sequence[str], top: int = 10
) -> Figure:
    """How often each class is now the answer for the images to forget, most frequent first.

    predicted: (n,) class indices. All answers after the first `top` are summed into one bar.
    """
    times = np.bincount(predicted.numpy(), minlength=len(classes))
    counts = pd.Series(times, index=list(classes))
    counts = counts[counts > 0].sort_values(ascending=False)
    rest = counts[top:]
    if len(rest):
        others = pd.Series({f"{len(rest)} others": rest.sum()})
        counts = pd.concat([counts[:top], others])
    share = 100 * counts / counts.sum()

    figure, ax = plt.subplots(
        figsize=(7.5, 0.9 + 0.3 * len(share)),
        layout="constrained",
    )
    colors = [COLORS["forget" if name in forgotten else "retained"] for name in share.index]
    bars = ax.barh(share.index, share, color=colors)
    ax.bar_label(bars, counts.astype(str), padding=3, fontsize=9)
    ax.invert_yaxis()
    ax.set(
        title="What the forgotten images are called now",
        xlim=(0, 105),
        xlabel="share of the images to forget (%)",
    )
    sns.despine(figure)
    return figure


def spread(index: Tensor, width: int) -> list[int]:
    """`width` of the indices (n,), evenly spaced from the first to the last.

    If there are fewer than `width`, some are repeated.
    """
    places = linspace(0, len(index) - 1, width).round().long()
    return index[places].tolist()


def thumbnail(path: Path, side: int = 128) -> Image.Image:
    """The image of a file as an RGB square of `side` pixels, whatever its proportions were."""
    return open_picture(path).resize((side, side))


def examples(
    images: Features,
    rows: Sequence[tuple[str, Sequence[int]]],
    before: Tensor,
    after: Tensor,
    classes: Sequence[str],
) -> Figure:
    """Rows of images, each with a title and image indices; under each image its two predictions.

    before, after: (n,) predicted class of every image. A right prediction is blue, a wrong one red.
    """
    width = max(len(chosen) for _, chosen in rows)
    figure, axes = plt.subplots(
        len(rows),
        width,
        figsize=(1.55 * width, 2.3 * len(rows)),
        squeeze=False,
        layout="constrained",
    )
    for ax in axes.flat:
        ax.axis("off")
    for line, (title, chosen) in zip(axes, rows, strict=True):
        line[0].set_title(title, loc="left", fontsize=10, pad=8)
        for ax, i in zip(line, chosen, strict=False):
            truth = images.class_of[i]
            ax.imshow(thumbnail(images.paths[i]))
            _write_answer(ax, -0.06, "before", classes[before[i]], before[i] == truth)
            _write_answer(ax, -0.2, "after", classes[after[i]], after[i] == truth)
    return figure


def _write_answer(ax: Axes, y: float, when: str, answer: str, right: bool) -> None:
    """Write what an image was called beneath it, at a height y of its axes."""
    ax.text(
        0.5,
        y,
        f"{when}: {answer}",
        transform=ax.transAxes,
        ha="center",
        va="top",
        fontsize=8,
        color=RIGHT if right else WRONG,
    )


def sample(images: Features, grid: ConceptGrid, classes: Sequence[str], number: int = 0) -> Figure:
    """One image, the one of this number, of each class (columns) in each domain (rows)."""
    figure, axes = plt.subplots(
        len(grid.domains),
        len(classes),
        figsize=(1.15 * len(classes), 1.15 * len(grid.domains)),
        squeeze=False,
        layout="constrained",
    )
    for ax, (domain, name) in zip(axes.flat, product(grid.domains, classes), strict=True):
        of_class = images.class_of == grid.class_index(name)
        of_domain = images.domain_of == grid.domain_index(domain)
        cell = (of_class & of_domain).nonzero().flatten()
        ax.imshow(thumbnail(images.paths[cell[number]]))
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax, name in zip(axes[0], classes, strict=True):
        ax.set_title(name, fontsize=10)
    for ax, domain in zip(axes[:, 0], grid.domains, strict=True):
        ax.set_ylabel(domain)
    return figure


def legend_below(figure: Figure, ax: Axes, columns: int) -> None:
    """One legend under a row of axes that all show the same things: the entries of `ax`."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
    )
