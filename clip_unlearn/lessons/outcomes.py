"""What an edit does beyond what was asked, for notebooks 04, 05 and 06.

Where forgotten images go, what it costs their neighbours, what a detector reads on every image, and
what a linear map can do to a whole domain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import normalize

from ..core import InputError
from ..core.applied import ProjectionEdit
from ..core.concepts import ConceptGrid, ForgetRequest, all_requests
from ..core.edit import fit_edit
from ..images.datasets import Features
from ..measure.evaluate import (
    classifier,
    edited_weights,
    group_masks,
    halves,
    one_thread,
    points,
)
from ..measure.plots import COLORS, LABELS, legend_below
from ..measure.setting import Setting
from .scenes import measure
from .spaces import two_way


def paradigms(grid: ConceptGrid, requests: Sequence[ForgetRequest]) -> Figure:
    """The masks of several requests side by side: dark is to forget, blank stays."""
    figure, _ = plt.subplots(
        1,
        len(requests),
        figsize=(9.3, 4.7),
        sharey=True,
        layout="constrained",
    )
    for ax, request in zip(figure.axes, requests, strict=True):
        mask = request.mask(grid).numpy()
        sns.heatmap(
            pd.DataFrame(mask, grid.classes, grid.domains),
            ax=ax,
            vmin=0,
            vmax=1,
            cmap=["white", COLORS["forget"]],
            cbar=False,
            linewidths=0.5,
            linecolor="0.8",
        )
        ax.set(title=f"{request.paradigm}\n{request}", xlabel="domain", ylabel="class")
        ax.tick_params(axis="x", rotation=35, length=0)
        ax.label_outer()
    return figure


# ---- where forgotten images go


@one_thread()
def every_pair(
    setting: Setting, strengths: Sequence[float] = (1.0,), method: str | None = None
) -> pd.DataFrame:
    """Forget each class by itself; one row for each class, forgotten class and strength.

    similarity: cosine of the two classes' texts; change: of the class's accuracy, in points; share:
    of the forgotten class's images that are now called by this class.
    """
    p = setting.prototypes
    truth = setting.task.images.class_of
    frames = []
    for c, request in enumerate(all_requests(p.grid, "global")):
        edit = fit_edit(p, request, method)
        own = truth == c
        before = _by_class(measure(setting, edit, 0.0).cells)  # (C,)
        for strength in strengths:
            now = measure(setting, edit, strength)
            after = _by_class(now.cells)
            called = np.bincount(now.predicted[own], minlength=len(p.grid.classes))
            frame = pd.DataFrame(
                {
                    "class": p.grid.classes,
                    "similarity": (p.class_text @ p.class_text[c]).numpy(),
                    "change": 100 * (after - before),
                    "share": called / int(own.sum()),
                    "strength": strength,
                    "forgotten": p.grid.classes[c],
                }
            )
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _by_class(cells: np.ndarray) -> pd.Series:
    """Mean accuracy of each class over the domains (C, K) that have images of it."""
    return pd.DataFrame(cells).mean(axis=1)


def neighbours(pairs: pd.DataFrame, forgotten: str) -> Figure:
    """Accuracy change of each class that stays, against its similarity to the forgotten one.

    pairs: of `every_pair`, at one strength. One forgotten class is in colour.
    """
    pairs = pairs[pairs["class"] != pairs["forgotten"]]
    own = pairs[pairs["forgotten"] == forgotten]
    figure, ax = plt.subplots(figsize=(7.5, 3.6))
    ax.scatter(
        pairs["similarity"],
        pairs["change"],
        s=26,
        color="0.7",
        label="every other request",
    )
    ax.scatter(
        own["similarity"],
        own["change"],
        s=44,
        color=COLORS["forget"],
        label=f"forget {forgotten}",
    )
    for _, row in own.nlargest(3, "similarity").iterrows():
        ax.annotate(
            row["class"],
            xy=(row["similarity"], row["change"]),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
        )
    ax.set(
        title="Accuracy change of the classes that stay",
        ylim=(-20, 20),
        xlabel="similarity to the forgotten class (cosine of the texts)",
        ylabel="change (points)",
    )
    ax.legend(frameon=False)
    return figure


# ---- a whole domain, and linear maps


# Linear maps (x, y) -> (keep x + slide y, height y) of the plane, as (keep, slide, height).
SHEARS = {
    "as it is": (1, 0, 1),
    "class removed": (0, 0, 1),
    "domain removed": (1, 0, 0),
    "redirected": (1, 2.6, 1),
}


def shear() -> Figure:
    """Two classes in two domains, in the plane, under four linear maps.

    The class is left or right, the domain is the height.
    """
    noise = torch.randn(2, 2, 30, 2, generator=torch.Generator().manual_seed(0))
    cat = [[-1.0, 0.0], [-1.0, 1.0]]  # photo, sketch
    dog = [[1.0, 0.0], [1.0, 1.0]]
    images = 0.17 * noise + torch.tensor([cat, dog])[:, :, None]  # (class, domain, n, 2)

    figure, axes = plt.subplots(
        1,
        len(SHEARS),
        figsize=(11, 3.4),
        sharey=True,
        layout="constrained",
    )
    for ax, (name, (keep, slide, height)) in zip(axes, SHEARS.items(), strict=True):
        moved = images @ torch.tensor([[keep, 0.0], [slide, height]])
        _draw_sheared(ax, moved)
        photo, sketch = _accuracy_by_side(moved)
        ax.set_title(
            f"{name}\naccuracy: sketch {sketch:.2f}, photo {photo:.2f}",
            fontsize=10,
        )
    legend_below(figure, ax, columns=4)
    return figure


def _draw_sheared(ax: Axes, images: Tensor) -> None:
    """Images (class, domain, n, 2), with the border between the classes."""
    blue, orange = sns.color_palette("colorblind", 2)
    for c, (class_, color) in enumerate((("cat", blue), ("dog", orange))):
        for k, (domain, marker) in enumerate((("photo", "o"), ("sketch", "^"))):
            ax.scatter(
                *images[c, k].T,
                s=16,
                alpha=0.8,
                color=color,
                marker=marker,
                label=f"{class_}, {domain}",
            )
    ax.axvline(0, color="0.6", lw=1, ls=":")
    ax.set(
        xlim=(-2.2, 4.6),
        ylim=(-0.7, 1.8),
        xlabel="class: cat < 0 < dog",
        ylabel="domain: photo 0, sketch 1",
    )
    ax.label_outer()


def _accuracy_by_side(images: Tensor) -> Tensor:
    """(domain,) accuracy of images (class, domain, n, 2): the left is called cat, the right dog.

    An image on the border is a guess, half right.
    """
    cat, dog = images[..., 0]
    right = torch.stack([-cat, dog]).sign()  # 1, 0 on the border, or -1
    return 0.5 + 0.5 * right.mean((0, 2))


def variance_parts(cells: Tensor) -> dict[str, float]:
    """Shares of the variance of cells (C, K, d) that class, domain and interaction explain.

    They sum to 1.
    """
    total = (cells - cells.mean((0, 1))).square().sum()
    return {name: (part.square().sum() / total).item() for name, part in two_way(cells).items()}


def struck_off(setting: Setting, edit: ProjectionEdit, strength: float = 1.0) -> float:
    """Accuracy on forgotten images if their commonest answer may not be given.

    Images of that class are left out.
    """
    task = setting.task
    mask = edit.request.mask(setting.prototypes.grid)
    forget = group_masks(mask, task.images)["forget"]
    truth = task.images.class_of[forget]

    W, W_text = edited_weights(setting.prototypes, edit, strength)
    text = classifier(task.prompts, W_text)  # (C, d)
    scores = task.images.f[forget] @ W @ text.T  # (n, C)
    commonest = scores.argmax(1).mode().values
    scores[:, commonest] = -torch.inf

    right = scores.argmax(1) == truth
    others = truth != commonest
    return right[others].float().mean().item()


@one_thread()
def every_domain(
    settings: Mapping[str, Setting], methods: Sequence[str], **hyper: float
) -> pd.DataFrame:
    """Each domain forgotten at strength 1 by each method, fitted on each setting's prototypes.

    forget and "top answer struck off" are accuracies; retained is a change in points.
    """
    rows = []
    for (source, setting), method in product(settings.items(), methods):
        for request in all_requests(setting.prototypes.grid, "whole-domain"):
            edit = fit_edit(setting.prototypes, request, method, **hyper)
            before = measure(setting, edit, 0.0).groups
            after = measure(setting, edit, 1.0).groups
            (domain,) = request.domains
            row = {
                "method": method,
                "fitted on": source,
                "domain": domain,
                "forget": after["forget"],
                "top answer struck off": struck_off(setting, edit),
                "retained": points(before["retained"], after["retained"]),
            }
            rows.append(row)
    return pd.DataFrame(rows)


def ceiling(frame: pd.DataFrame) -> Figure:
    """Mean over `every_domain` of forgetting against keeping.

    A line joins what one method reaches on two sources.
    """
    titles = {
        "forget": "every answer allowed",
        "top answer struck off": "commonest answer struck off",
    }
    by = frame.groupby(["method", "fitted on"], sort=False)
    mean = by.mean(numeric_only=True).rename(columns=titles).reset_index()
    long = mean.melt(["method", "fitted on", "retained"], var_name="answers")
    style = {
        "x": "value",
        "y": "retained",
        "hue": "method",
        "palette": "colorblind",
    }
    grid = sns.relplot(long, col="answers", style="fitted on", s=90, height=4, **style)
    grid.map_dataframe(sns.lineplot, sort=False, **style)

    losses = (0, -1, -3, -10, -30, -100)  # one point and a hundred must both be seen
    for ax in grid.axes.flat:
        ax.set_yscale("symlog", linthresh=1)
        ax.set_yticks(losses, map(str, losses))
        ax.minorticks_off()
    grid.set(
        xlim=(-0.08, 1.04),
        ylim=(-150, 0.2),
        xlabel="accuracy on the domain",
        ylabel="change elsewhere (points)",
    )
    grid.set_titles("{col_name}")
    grid.figure.suptitle("A whole domain forgotten: mean over the domains", y=1.04)
    return grid.figure


def oracle(setting: Setting, seed: int = 0) -> tuple[Setting, Setting]:
    """The setting measured on half of its images, and an oracle that was fitted on the other half.

    The oracle's visual prototypes are those real images: it sees data, so it is a ceiling, not a
    method. Raises InputError unless all cells have equally many images.
    """
    p = setting.prototypes
    C, K = p.grid.shape
    seen, held = halves(setting.task, seed)
    cell = seen.images.cells(K)
    counts = torch.bincount(cell, minlength=C * K)
    if len(counts.unique()) > 1:
        raise InputError(
            "the cells have different numbers of images; "
            "take equally many of each (images_per_cell)."
        )

    f = seen.images.f[cell.argsort(stable=True)]
    visual = f.unflatten(0, (C, K, -1))  # (C, K, m, D)
    reached = normalize(visual @ p.seen_projection, dim=-1).mean(2)
    real = replace(p, visual=visual, reached=reached, sample=0)
    free = replace(setting, task=held)
    return free, replace(free, prototypes=real)


# ---- what detectors read


def detector_scores(setting: Setting, domains: Sequence[str]) -> Tensor:
    """(n,) images along the detector of `redirect` for some domains.

    1 is where images of these domains are expected, 0 where those of the others are.
    """
    p = setting.prototypes
    f = setting.task.images.f
    edit = fit_edit(p, ForgetRequest(domains=domains), "redirect")
    A, _ = edit.factors["visual"]  # (D, 1): the detector of images as texts see them, W l
    return (f @ A)[:, 0] / (f @ p.seen_projection).norm(dim=1)


def score_histogram(scores: Tensor, domain_of: Tensor, domains: Sequence[str]) -> Figure:
    """How far images (n,) lie along a detector, by domain; at 0 and 1 they are expected."""
    names = pd.Series([domains[k] for k in domain_of.tolist()], name="domain")
    grid = sns.displot(
        x=scores.numpy(),
        hue=names,
        hue_order=domains,
        palette="colorblind",
        bins=60,
        element="step",
        alpha=0.35,
        height=3.4,
        aspect=2.1,
    )
    grid.set(
        title="Every image along the domain's detector",
        xlabel="detector score (expected: 0 in the other domains, 1 in this one)",
        ylabel="images",
    )
    return grid.figure


def reading_strips(readings: Mapping[str, Tensor], mask: Tensor, images: Features) -> Figure:
    """What each detector answers to every image, by group of images.

    readings: (n,) by the name of the detector; mask (C, K) bool. Lines mark 0 and 1.
    """
    groups = _disjoint_groups(mask, images)
    figure, axes = plt.subplots(
        1,
        len(readings),
        figsize=(10.5, 3.4),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, (name, reading) in zip(axes[0], readings.items(), strict=True):
        for row, (group, members) in enumerate(groups.items()):
            _draw_strip(ax, row, reading[members].numpy(), COLORS[group])
        for expected in (0, 1):
            ax.axvline(expected, color="0.4", lw=1, ls="--", zorder=0)
        ax.set(title=name, xlabel="reading of the detector")
    labels = LABELS | {"retained": "other classes, other domains"}
    ax.set_yticks(range(len(groups)), [labels[group] for group in groups])
    ax.invert_yaxis()
    sns.despine(figure)
    return figure


def _disjoint_groups(mask: Tensor, images: Features) -> dict[str, Tensor]:
    """The groups (n,) bool of `group_masks`; "retained" is what belongs to no other group."""
    groups = group_masks(mask, images)
    del groups["retained"]
    groups = {name: members for name, members in groups.items() if members is not None}
    named = torch.stack(list(groups.values())).any(0)
    return groups | {"retained": ~named}


def _draw_strip(ax: Axes, row: int, x: np.ndarray, color: tuple) -> None:
    """Points x (n,) in one row, spread out within it, and a line at their mean."""
    aside = np.arange(len(x)) * 0.618 % 1 - 0.5  # the same way every time
    ax.scatter(
        x,
        row + 0.6 * aside,
        s=9,
        color=color,
        alpha=0.5,
        linewidths=0,
    )
    mean = x.mean()
    ax.plot([mean, mean], [row - 0.4, row + 0.4], color="0.1", lw=2)
