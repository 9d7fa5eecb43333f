"""Where forgotten images go, what it costs their neighbours, and what a linear map can do to a whole domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import normalize

from ..core.concepts import ConceptGrid, ForgetRequest, all_requests
from ..core.edit import ProjectionEdit, fit_edit
from ..core.errors import InputError
from ..images.datasets import Features
from ..measure.evaluate import classifier, edited_weights, group_masks, halves, one_thread
from ..measure.plots import COLORS, LABELS
from ..measure.setting import Setting
from .scenes import measure


def paradigms(grid: ConceptGrid, requests: Sequence[ForgetRequest]) -> Figure:
    """The masks of several requests side by side: dark is to forget, blank stays."""
    figure, _ = plt.subplots(
        1, len(requests), figsize=(9.3, 4.7), sharey=True, layout="constrained"
    )
    style = {
        "cbar": False,
        "linewidths": 0.5,
        "linecolor": "0.8",
        "cmap": ["white", COLORS["forget"]],
    }
    for ax, request in zip(figure.axes, requests, strict=True):
        frame = pd.DataFrame(request.mask(grid).numpy(), grid.classes, grid.domains)
        sns.heatmap(frame, ax=ax, vmin=0, vmax=1, **style)
        ax.set(title=f"{request.paradigm}\n{request}", xlabel="domain", ylabel="class")
        ax.tick_params(axis="x", rotation=35, length=0)
        ax.label_outer()
    return figure


@one_thread()
def every_pair(
    setting: Setting, strengths: Sequence[float] = (1.0,), method: str | None = None
) -> pd.DataFrame:
    """Forget each class by itself: other class, similarity (cosine of texts), change (points), share of the images."""
    p, truth, frames = setting.prototypes, setting.task.images.class_of, []
    for c, request in enumerate(all_requests(p.grid, "global")):
        edit = fit_edit(p, request, method)
        start = pd.DataFrame(measure(setting, edit, 0.0).cells).mean(axis=1)
        for strength in strengths:
            now = measure(setting, edit, strength)
            frame = pd.DataFrame(
                {"class": p.grid.classes, "similarity": (p.class_text @ p.class_text[c]).numpy()}
            )
            frame["change"] = 100 * (pd.DataFrame(now.cells).mean(axis=1) - start)
            frame["share"] = np.bincount(now.predicted[truth == c], minlength=len(frame)) / int(
                (truth == c).sum()
            )
            frames.append(frame.assign(strength=strength, forgotten=p.grid.classes[c]))
    return pd.concat(frames, ignore_index=True)


def neighbours(pairs: pd.DataFrame, forgotten: str) -> Figure:
    """Accuracy change of each class that stays, against its text's similarity to the forgotten one; one in colour."""
    pairs = pairs[pairs["class"] != pairs["forgotten"]]
    (figure, ax), own = plt.subplots(figsize=(7.5, 3.6)), pairs[pairs["forgotten"] == forgotten]
    ax.scatter(pairs["similarity"], pairs["change"], s=26, color="0.7", label="every other request")
    ax.scatter(
        own["similarity"], own["change"], s=44, color=COLORS["forget"], label=f"forget {forgotten}"
    )
    for _, row in own.nlargest(3, "similarity").iterrows():
        ax.annotate(
            row["class"],
            (row["similarity"], row["change"]),
            (0, 9),
            textcoords="offset points",
            ha="center",
        )
    ax.set(
        ylim=(-20, 20),
        xlabel="similarity to the forgotten class (cosine of the texts)",
        ylabel="change (points)",
    )
    ax.set_title("Accuracy change of the classes that stay")
    ax.legend(frameon=False)
    return figure


def shear() -> Figure:
    """Two classes in two domains, in the plane, under four linear maps; class is left or right, domain is height."""
    points = torch.randn(2, 2, 30, 2, generator=torch.Generator().manual_seed(0)) * 0.17
    points += torch.tensor([[[-1.0, 0.0], [-1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]]])[:, :, None]
    maps = {
        "as it is": (1, 0, 1),
        "class removed": (0, 0, 1),
        "domain removed": (1, 0, 0),
        "redirected": (1, 2.6, 1),
    }
    figure, axes = plt.subplots(1, 4, figsize=(11, 3.4), sharey=True, layout="constrained")
    for ax, (name, (keep, slide, height)) in zip(axes, maps.items(), strict=True):
        moved = points @ torch.tensor([[keep, 0.0], [slide, height]])
        for i, label in enumerate(("cat, photo", "cat, sketch", "dog, photo", "dog, sketch")):
            style = {
                "color": sns.color_palette("colorblind")[i // 2],
                "marker": "o^"[i % 2],
                "label": label,
            }
            ax.scatter(*moved[i // 2, i % 2].T, s=16, alpha=0.8, **style)
        right = 0.5 + 0.5 * torch.stack([-moved[0, ..., 0], moved[1, ..., 0]]).sign().mean(
            (0, 2)
        )  # 0 is a guess
        ax.axvline(0, color="0.6", lw=1, ls=":")
        ax.set(
            xlim=(-2.2, 4.6),
            ylim=(-0.7, 1.8),
            xlabel="class: cat < 0 < dog",
            ylabel="domain: photo 0, sketch 1",
        )
        ax.set_title(f"{name}\naccuracy: sketch {right[1]:.2f}, photo {right[0]:.2f}", fontsize=10)
        ax.label_outer()
    figure.legend(
        *ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    return figure


def variance_parts(cells: Tensor) -> dict[str, float]:
    """Shares of the variance of cells (C, K, d) that class, domain, and their interaction explain; they sum to 1."""
    cells = cells - cells.mean((0, 1))
    of_class, of_domain = (cells.mean(axis, keepdim=True).expand_as(cells) for axis in (1, 0))
    parts = {"class": of_class, "domain": of_domain, "interaction": cells - of_class - of_domain}
    return {
        name: (part.square().sum() / cells.square().sum()).item() for name, part in parts.items()
    }


def detector_scores(setting: Setting, domains: Sequence[str]) -> Tensor:
    """(n,) images along the detector of `redirect`: 1 is where these domains are expected, 0 where the others are."""
    p, f = setting.prototypes, setting.task.images.f
    A, B = fit_edit(p, ForgetRequest(domains=domains), "redirect", beta=1.0).factors["visual"]
    scores = p.reached @ p.class_text.T  # (C, K, C) of synthesised pictures
    lead = scores.diagonal(dim1=0, dim2=2).T - scores[..., (p.class_text @ B[0]).argmax()]
    return (f @ A)[:, 0] / (f @ p.W).norm(dim=1) / lead.max()


def score_histogram(scores: Tensor, domain_of: Tensor, domains: Sequence[str]) -> Figure:
    """How far images (n,) lie along a detector, by domain; at 0 and 1 they are expected."""
    hue = pd.Series([domains[k] for k in domain_of.tolist()], name="domain")
    style = {"palette": "colorblind", "bins": 60, "element": "step", "alpha": 0.35}
    grid = sns.displot(
        x=scores.numpy(), hue=hue, hue_order=domains, height=3.4, aspect=2.1, **style
    )
    grid.set(
        xlabel="detector score (expected: 0 in the other domains, 1 in this one)", ylabel="images"
    )
    return grid.set(title="Every image along the domain's detector").figure


def reading_strips(readings: Mapping[str, Tensor], mask: Tensor, images: Features) -> Figure:
    """What each detector answers to every image, by group: readings (n,) by name of the detector; lines at 0 and 1."""
    groups = {
        name: g
        for name, g in group_masks(mask, images).items()
        if name != "retained" and g is not None
    }
    titles = {LABELS[name]: g for name, g in groups.items()}
    titles["other classes, other domains"] = ~torch.stack(list(groups.values())).any(0)
    colors = [*(COLORS[name] for name in groups), COLORS["retained"]]
    figure, axes = plt.subplots(
        1, len(readings), figsize=(10.5, 3.4), sharex=True, sharey=True, layout="constrained"
    )
    for ax, (name, reading) in zip(np.atleast_1d(axes), readings.items(), strict=True):
        for row, (g, color) in enumerate(zip(titles.values(), colors, strict=True)):
            x = reading[g].numpy()
            aside = np.arange(len(x)) * 0.618 % 1 - 0.5  # spread out, the same way every time
            ax.scatter(x, row + 0.6 * aside, s=9, color=color, alpha=0.5, linewidths=0)
            ax.plot([x.mean()] * 2, [row - 0.4, row + 0.4], color="0.1", lw=2)
        for line in (0, 1):
            ax.axvline(line, color="0.4", lw=1, ls="--", zorder=0)
        ax.set(
            title=name,
            xlabel="reading of the detector",
            yticks=range(len(titles)),
            yticklabels=titles,
        )
    ax.invert_yaxis()
    sns.despine(figure)
    return figure


def oracle(setting: Setting, seed: int = 0) -> tuple[Setting, Setting]:
    """The setting measured on half of its images, and an oracle whose visual prototypes are the other half.

    The oracle sees data; it is a ceiling, not a method. Raises InputError unless all cells have
    equally many images.
    """
    p, (seen, held) = setting.prototypes, halves(setting.task, seed)
    C, K = p.grid.shape
    cell = seen.images.class_of * K + seen.images.domain_of
    if len(torch.bincount(cell, minlength=C * K).unique()) > 1:
        raise InputError(
            "the cells have different numbers of images; take equally many of each (images_per_cell)."
        )
    real = seen.images.f[cell.argsort(stable=True)].reshape(C, K, -1, seen.images.f.shape[1])
    free = replace(setting, task=held)
    reached = normalize(real @ p.W, dim=-1).mean(2)
    return free, replace(free, prototypes=replace(p, visual=real, reached=reached))


def struck_off(setting: Setting, edit: ProjectionEdit, strength: float = 1.0) -> float:
    """Accuracy on forgotten images once their commonest answer may not be given; images of that class are left out."""
    task, (W, W_text) = setting.task, edited_weights(setting.prototypes, edit, strength)
    forget = group_masks(edit.request.mask(setting.prototypes.grid), task.images)["forget"]
    scores, truth = (
        task.images.f[forget] @ W @ classifier(task.prompts, W_text).T,
        task.images.class_of[forget],
    )
    top = int(scores.argmax(1).mode().values)
    return (
        scores.index_fill(1, torch.tensor(top), -torch.inf)
        .argmax(1)
        .eq(truth)[truth != top]
        .float()
        .mean()
        .item()
    )


@one_thread()
def every_domain(
    settings: Mapping[str, Setting], methods: Sequence[str], **hyper: float
) -> pd.DataFrame:
    """Each domain forgotten at strength 1 by each method, fitted on each setting's prototypes; retained in points."""
    rows = []
    for (source, setting), method in product(settings.items(), methods):
        for request in all_requests(setting.prototypes.grid, "whole-domain"):
            edit = fit_edit(setting.prototypes, request, method, **hyper)
            (_, kept), (forget, now) = (
                measure(setting, edit, x).groups.values() for x in (0.0, 1.0)
            )
            rows.append(
                (
                    method,
                    source,
                    *request.domains,
                    forget,
                    struck_off(setting, edit),
                    100 * (now - kept),
                )
            )
    return pd.DataFrame(
        rows,
        columns=["method", "fitted on", "domain", "forget", "top answer struck off", "retained"],
    )


def ceiling(frame: pd.DataFrame) -> Figure:
    """Mean over `every_domain` of forgetting against keeping; a line joins the same method on two sources."""
    titles = {
        "forget": "every answer allowed",
        "top answer struck off": "commonest answer struck off",
    }
    mean = (
        frame.groupby(["method", "fitted on"], sort=False)
        .mean(numeric_only=True)
        .rename(columns=titles)
    )
    mean = mean.reset_index().melt(["method", "fitted on", "retained"], var_name="answers")
    style = {"x": "value", "y": "retained", "hue": "method", "palette": "colorblind"}
    grid = sns.relplot(mean, col="answers", style="fitted on", s=90, height=4, **style)
    grid.map_dataframe(sns.lineplot, sort=False, **style)
    ticks = (0, -1, -3, -10, -30, -100)  # losses of one point and of a hundred must both be seen
    for ax in grid.axes.flat:
        ax.set_yscale("symlog", linthresh=1)
        ax.set_yticks(ticks, map(str, ticks))
        ax.minorticks_off()
    grid.set(
        xlim=(-0.08, 1.04),
        ylim=(-150, 0.2),
        xlabel="accuracy on the domain",
        ylabel="change elsewhere (points)",
    )
    grid.set_titles("{col_name}").figure.suptitle(
        "A whole domain forgotten: mean over the domains", y=1.04
    )
    return grid.figure
