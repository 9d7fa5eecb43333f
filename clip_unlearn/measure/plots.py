"""Figures of the course and the report: every one titled, labelled, colour-blind safe, on scales that do not move."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.core.pylabtools import print_figure
from IPython.display import display
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from ..core.concepts import ConceptGrid
from ..images.datasets import Features

COLORS = dict(
    zip(
        ("retained", "forget", "same_class", "same_domain", "unrelated"),
        sns.color_palette("colorblind", 5),
        strict=True,
    )
)
ACCURACY = sns.color_palette("mako", as_cmap=True)  # dark is forgotten, nearly white is known
WRONG = sns.color_palette("colorblind")[3]
LABELS = {
    "forget": "to forget",
    "retained": "retained",
    "same_class": "same class, other domains",
    "same_domain": "same domain, other classes",
    "unrelated": "unrelated classes",
}


def show(figure: Figure, alt: str) -> None:
    """Display a figure once, with a text for those who do not see it, and close it.

    The picture is made here: IPython makes one of its own accord only after pyplot has drawn
    something.
    """
    bundle = {"image/png": print_figure(figure, base64=True), "text/plain": repr(figure)}
    display(bundle, raw=True, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def _outline(ax: plt.Axes, mask: Tensor) -> None:
    """Frame the cells to forget."""
    for c, k in mask.nonzero().tolist():
        ax.add_patch(Rectangle((k, c), 1, 1, fill=False, edgecolor="black", lw=1.6))


def accuracy_grids(
    before: pd.DataFrame, after: pd.DataFrame, mask: Tensor, title: str = ""
) -> Figure:
    """Accuracy of each cell before, after, and the difference; the cells to forget are framed."""
    C, K = before.shape
    size = (3.4 + 0.66 * 3 * max(K, 3), 1.7 + 0.27 * max(C, 4))
    figure, axes = plt.subplots(1, 3, figsize=size, sharey=True, layout="constrained")
    common = {"annot": True, "annot_kws": {"size": 8}, "linewidths": 0.5, "linecolor": "white"}
    for ax, frame, name in ((axes[0], before, "before"), (axes[1], after, "after")):
        sns.heatmap(
            100 * frame, ax=ax, vmin=0, vmax=100, cmap=ACCURACY, fmt=".0f", cbar=ax is axes[1],
            cbar_kws={"label": "accuracy (%)"}, **common,
        )  # fmt: skip
        ax.set_title(f"Accuracy {name}")
    change = 100 * (after - before)
    sns.heatmap(
        change, ax=axes[2], vmin=-100, vmax=100, center=0, cmap="PuOr_r", fmt="+.0f",
        cbar_kws={"label": "change (points)"}, **common,
    )  # fmt: skip
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


def strength_curve(frame: pd.DataFrame, marked: float, chance: float) -> Figure:
    """Accuracy of each group against the strength, with paraphrases of the forgotten cells and the chosen strength."""
    figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
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
        ms=4,
        label="to forget, paraphrased",
    )
    ax.axhline(100 * chance, color="0.5", lw=1, ls=":")
    ax.annotate(
        "chance", (0.0, 100 * chance), (2, 3), textcoords="offset points", color="0.4", fontsize=9
    )
    ax.axvline(marked, color="0.3", lw=1)
    ax.set(
        xlim=(-0.02, 1.02),
        ylim=(-2, 102),
        xlabel="strength",
        ylabel="accuracy (%)",
        title="Accuracy against strength",
    )
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    sns.despine(figure)
    return figure


def destinations(
    predicted: Tensor, classes: Sequence[str], forgotten: Sequence[str], top: int = 10
) -> Figure:
    """Where the images to forget went: how often each class is now the answer."""
    counts = pd.Series(np.bincount(predicted.numpy(), minlength=len(classes)), index=list(classes))
    counts = counts[counts > 0].sort_values(ascending=False)
    if len(counts) > top:
        counts = pd.concat(
            [counts[:top], pd.Series({f"{len(counts) - top} others": counts[top:].sum()})]
        )
    share = 100 * counts / counts.sum()
    colors = [COLORS["forget"] if name in forgotten else COLORS["retained"] for name in share.index]
    figure, ax = plt.subplots(figsize=(7.5, 0.9 + 0.3 * len(share)), layout="constrained")
    ax.barh(share.index, share, color=colors)
    ax.bar_label(ax.containers[0], [f"{n}" for n in counts], padding=3, fontsize=9)
    ax.invert_yaxis()
    ax.set(
        xlim=(0, 105),
        xlabel="share of the images to forget (%)",
        title="What the forgotten images are called now",
    )
    sns.despine(figure)
    return figure


def examples(
    images: Features,
    rows: Sequence[tuple[str, Sequence[int]]],
    before: Tensor,
    after: Tensor,
    classes: Sequence[str],
) -> Figure:
    """Image rows, a title each, with the prediction before and after beneath: right in blue, wrong in red."""
    width = max(len(chosen) for _, chosen in rows)
    figure, axes = plt.subplots(
        len(rows),
        width,
        figsize=(1.55 * width, 2.3 * len(rows)),
        squeeze=False,
        layout="constrained",
    )
    right, wrong = COLORS["retained"], WRONG
    for line, (title, chosen) in zip(axes, rows, strict=True):
        for ax in line:
            ax.axis("off")
        for ax, i in zip(line, chosen, strict=False):
            with Image.open(images.paths[i]) as picture:
                ax.imshow(picture.convert("RGB").resize((128, 128)))
            for y, label, predicted in ((-0.06, "before", before), (-0.2, "after", after)):
                name = classes[int(predicted[i])]
                color = right if predicted[i] == images.class_of[i] else wrong
                ax.text(
                    0.5,
                    y,
                    f"{label}: {name}",
                    transform=ax.transAxes,
                    ha="center",
                    va="top",
                    fontsize=8,
                    color=color,
                )
        line[0].set_title(title, loc="left", fontsize=10, pad=8)
    return figure


def sample(images: Features, grid: ConceptGrid, classes: Sequence[str], number: int = 0) -> Figure:
    """One image of each class (columns) in each domain (rows)."""
    figure, axes = plt.subplots(
        len(grid.domains), len(classes), figsize=(1.15 * len(classes), 1.15 * len(grid.domains)),
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for ax, (domain, name) in zip(axes.flat, product(grid.domains, classes), strict=True):
        cell = (images.class_of == grid.class_index(name)) & (
            images.domain_of == grid.domain_index(domain)
        )
        with Image.open(images.paths[cell.nonzero().flatten()[number]]) as picture:
            ax.imshow(picture.convert("RGB").resize((128, 128)))
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        if ax in axes[0]:
            ax.set_title(name, fontsize=10)
        if ax in axes[:, 0]:
            ax.set_ylabel(domain)
    return figure
