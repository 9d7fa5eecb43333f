"""Embedding-space pictures: parts of cell means, two sets of points on a map, a prompt at work, prototypes emerging."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import ipywidgets as w
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from matplotlib.patheffects import withStroke
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from ..core.concepts import ALL_DOMAINS
from ..core.errors import InputError
from ..images.datasets import Features
from ..measure.plots import ACCURACY, COLORS, WRONG
from ..measure.setting import Setting
from ..models.clip import Clip
from .widgets import LiveFigure, Panel, View, choice

TEXT = "the text"
REAL = "the real mean"
OF_TEXT = WRONG
OF_IMAGES = COLORS["retained"]
GRID = ("class", "domain")


def cell_means(
    x: Tensor, images: Features, shape: tuple[int, int], among: Tensor | None = None
) -> Tensor:
    """(C, K, d) mean of x (n, d) over each cell's images, or over those among (n,) bool; NaN where there is none."""
    cell = images.class_of * shape[1] + images.domain_of
    if among is not None:
        x, cell = x[among], cell[among]
    cells = shape[0] * shape[1]
    total = x.new_zeros(cells, x.shape[1]).index_add(0, cell, x)
    return (total / torch.bincount(cell, minlength=cells)[:, None]).unflatten(0, shape)


def two_way(x: Tensor) -> dict[str, Tensor]:
    """Class, domain and interaction part, (C, K, d) each, of x (C, K, d): they and the mean over all cells sum to x."""
    mean = x.mean((0, 1))
    class_ = x.mean(1, keepdim=True) - mean
    domain = x.mean(0, keepdim=True) - mean
    return {
        "class": class_.expand_as(x),
        "domain": domain.expand_as(x),
        "interaction": x - mean - class_ - domain,
    }


def pixel_features(clip: Clip, pixels: Tensor) -> Tensor:
    """f (n, D), on the CPU, of pictures (n, 3, s, s) in [0, 1], after CLIP's own normalisation; differentiable."""
    tower = clip.model.visual
    mean = pixels.new_tensor(tower.image_mean)[:, None, None]
    std = pixels.new_tensor(tower.image_std)[:, None, None]
    return clip.image_features((pixels - mean) / std).cpu()


def _tiles(part: plt.Figure, rows: int, columns: int) -> list[tuple]:
    """(axes, image, text beneath) of each place; the blank text holds its room in the layout."""
    out = []
    beneath = {"xycoords": "axes fraction", "ha": "center", "va": "top", "fontsize": 9}
    for ax in part.subplots(rows, columns, squeeze=False).flat:
        ax.axis("off")
        image = ax.imshow(torch.ones(2, 2, 3), interpolation="nearest")
        out.append((ax, image, ax.annotate(" ", (0.5, -0.03), **beneath)))
    return out


def _put(tile: tuple, x: Path | Tensor, caption: str) -> None:
    """Show a path, or pixels (3, s, s) in [0, 1], with a caption."""
    _, image, text = tile
    image.set_data(
        x.permute(1, 2, 0)
        if isinstance(x, Tensor)
        else Image.open(x).convert("RGB").resize((96, 96))
    )
    text.set_text(caption)


def labelled(
    setting: Setting, index: Sequence[int], notes: Sequence[str] = ()
) -> list[tuple[Path, str]]:
    """Path and caption of some of the setting's pictures: the class with a note, or with the domain."""
    images, grid = setting.task.images, setting.task.grid
    notes = notes or [f", {grid.domains[images.domain_of[i]]}" for i in index]
    return [
        (images.paths[i], grid.classes[images.class_of[i]] + note)
        for i, note in zip(index, notes, strict=True)
    ]


def strip(rows: Mapping[str, Sequence[tuple[Path | Tensor, str]]]) -> plt.Figure:
    """Titled rows of pictures (paths, or pixels (3, s, s) in [0, 1]), each with the caption beneath it."""
    width = max(map(len, rows.values()))
    figure = plt.figure(figsize=(1.3 * width, 1.75 * len(rows)), layout="constrained")
    tiles = _tiles(figure, len(rows), width)
    for r, (title, row) in enumerate(rows.items()):
        tiles[r * width][0].set_title(title, loc="left", fontsize=10)
        for tile, (picture, caption) in zip(tiles[r * width :], row, strict=False):
            _put(tile, picture, caption)
    return figure


def heatmaps(
    frames: Mapping[str, pd.DataFrame], label: str, scale: Sequence[float], axes=GRID
) -> plt.Figure:
    """Tables side by side on one (low, high) scale, diverging where it is even about 0; axes names rows and columns."""
    rows, columns = next(iter(frames.values())).shape
    figure = plt.figure(
        figsize=(2.2 + 0.8 * columns * len(frames), 1.2 + 0.25 * rows), layout="constrained"
    )
    look = {
        "vmin": scale[0],
        "vmax": scale[1],
        "cmap": ACCURACY if sum(scale) else "PuOr_r",
        "fmt": ".2f",
    }
    places = figure.subplots(1, len(frames), sharey=True, squeeze=False)[0]
    for ax, (title, frame) in zip(places, frames.items(), strict=True):
        sns.heatmap(
            frame.round(2) + 0.0,
            ax=ax,
            annot=True,
            cbar=ax is places[-1],
            cbar_kws={"label": label},
            **look,
        )
        ax.set(title=title, xlabel=axes[1], ylabel=axes[0] if ax is places[0] else "")
        ax.tick_params(length=0, rotation=0)
    return figure


def _name_points(ax: plt.Axes, at: Tensor, named: Mapping[int, str]) -> None:
    """Ring some of the points at (n, 2), and write their names beside the axes, where nothing lies under them."""
    order = sorted(named, key=lambda i: at[i, 1].item())
    room = 0.09 * max(
        ax.dataLim.height, 1.2 * ax.dataLim.width
    )  # of a line, on axes of equal scale
    y = ax.dataLim.ymin - room
    halo = [withStroke(linewidth=2, foreground="white")]
    line = {
        "arrowstyle": "-",
        "color": "black",
        "lw": 0.7,
        "shrinkA": 0,
        "shrinkB": 3,
        "path_effects": halo,
    }
    for i in order:
        y = max(y + room, at[i, 1].item())
        ax.plot(*at[i], "o", ms=7, mfc="none", mec="black", mew=1.1)
        to = {
            "xytext": (1.04, y),
            "textcoords": ax.get_yaxis_transform(),
            "va": "center",
            "fontsize": 9,
        }
        ax.annotate(named[i], at[i].tolist(), **to, arrowprops=line)


def pair_map(sets: Mapping[str, Tensor], named: Mapping[int, str]) -> plt.Figure:
    """Two sets of matching points (n, d), a line from each to its partner: by variance, along the gap.

    The first set holds what comes from texts, the second what comes from images; `named` rings
    points of the second.
    """
    x, y = sets.values()
    both = torch.cat([x, y])
    both = both - both.mean(0)
    centred = torch.cat([x - x.mean(0), y - y.mean(0)])
    gap = normalize(y.mean(0) - x.mean(0), dim=0)
    main = torch.linalg.svd(both, full_matrices=False).Vh[:2]
    turned = torch.stack([gap, main[0]])
    first, second = "first principal component", "second principal component"
    views = [
        ("Where the variance is", both, main, first, second),
        ("Along the gap", both, turned, "along the gap", first),
        ("Each set less its mean", centred, turned, "along the gap", first),
    ]
    figure = plt.figure(figsize=(11.5, 4.2), layout="constrained")
    for ax, (title, points, plane, across, up) in zip(figure.subplots(1, 3), views, strict=True):
        at = (points @ plane.T).unflatten(0, (2, -1))
        ax.plot(*at.permute(2, 0, 1), color="0.8", lw=0.7, zorder=1)
        for name, marker, color, place in zip(sets, "^o", (OF_TEXT, OF_IMAGES), at, strict=True):
            ax.scatter(
                *place.T,
                marker=marker,
                s=26,
                color=color,
                label=name,
                edgecolor="white",
                linewidth=0.4,
            )
        _name_points(ax, at[1], named)
        ax.set(title=title, xlabel=across, ylabel=up, aspect="equal", adjustable="datalim")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def unseen(clip: Clip, prompt: str) -> list[str]:
    """Words of a prompt with a token whose row in the token table is all zero: the bundled CLIP never saw them."""
    table = getattr(clip.model, "text", clip.model).token_embedding.weight
    return [word for word in prompt.split() if not table[clip.tokenizer([word])[0]].any(1).all()]


def matches(setting: Setting, prompt: str, domain: str = ALL_DOMAINS) -> tuple[Tensor, Tensor]:
    """Indices (n,) of a domain's pictures and their cosines with a prompt, best first; InputError if it is blank."""
    if not prompt.strip():
        raise InputError("the prompt is empty: type what to look for, such as: a sketch of a dog")
    p = setting.prototypes
    images = setting.task.images
    t = normalize(setting.clip.text_features([prompt])[0] @ p.W_text, dim=0)
    here = torch.ones_like(images.domain_of, dtype=torch.bool)
    if domain != ALL_DOMAINS:
        here = images.domain_of == p.grid.domain_index(domain)
    cosine, order = (normalize(images.f[here] @ p.W, dim=-1) @ t).sort(descending=True)
    return here.nonzero()[order, 0], cosine


def _stage(ratio: float, rows: int, columns: int) -> tuple:
    """A live figure with one plot and rows of pictures beside it."""
    figure = LiveFigure(figsize=(10.4, 4.0), dpi=80, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, ratio))
    tiles = _tiles(right, rows, columns)
    figure.live(*(artist for tile in tiles for artist in tile[1:]))
    return figure, left.subplots(), tiles


def prompt_panel(setting: Setting, prompt: str, domain: str) -> Panel:
    """A box for a prompt: the mean cosine of each class's pictures with it, and the pictures that fit it best."""
    images, classes = setting.task.images, setting.task.grid.classes
    figure, ax, tiles = _stage(1.7, 2, 4)
    dots = ax.plot([0] * len(classes), classes, "o", color=COLORS["retained"])[0]
    ax.set(
        xlim=(-0.4, 1),
        ylim=(len(classes) - 0.5, -0.5),
        xlabel="cosine with the prompt",
        title="Mean of each class",
    )
    ax.grid(alpha=0.4)
    figure.live(dots)
    figure.settle()

    def draw(prompt: str, domain: str) -> View:
        index, cosine = matches(setting, prompt, domain)
        mean = (
            pd.Series(cosine)
            .groupby([classes[c] for c in images.class_of[index]])
            .mean()
            .reindex(classes)
        )
        dots.set_xdata(mean)
        best = labelled(setting, index[:8].tolist(), [f" {c:.2f}" for c in cosine[:8]])
        for tile, shown in zip(tiles, best + [(torch.ones(3, 2, 2), "")] * 8, strict=False):
            _put(tile, *shown)
        strange = html.escape(", ".join(unseen(setting.clip, prompt)))
        warning = (
            f"; <b>never seen in training, so without a meaning: {strange}</b>" if strange else ""
        )
        text = f"best cosine {cosine[0]:.2f}, a picture of: {classes[images.class_of[index[0]]]}{warning}"
        return View(figure, {"best": cosine[0].item(), **mean}, text)

    box = w.Text(
        prompt, description="prompt", continuous_update=False, layout=w.Layout(width="380px")
    )
    where = choice("domain", [ALL_DOMAINS, *setting.task.grid.domains], domain)
    return Panel(
        draw,
        {"prompt": box, "domain": where},
        "Cosine of each class with a prompt, and the best pictures",
    )


@torch.no_grad()
def trace(
    clip: Clip, snapshots: Mapping[int, Tensor], targets: Tensor, real: Tensor
) -> pd.DataFrame:
    """Mean cosine, by step, of pictures (n, 3, s, s) with texts (n, d), and of centred f with centred real f (n, D)."""
    f = {step: pixel_features(clip, x) for step, x in snapshots.items()}
    W = clip.heads["visual"].weight
    text = {step: cosine_similarity(x @ W, targets).mean().item() for step, x in f.items()}
    near = {
        step: cosine_similarity(x - x.mean(0), real - real.mean(0)).mean().item()
        for step, x in f.items()
    }
    return pd.DataFrame({TEXT: text, REAL: near}).rename_axis("step")


def step_panel(
    recipes: Mapping[str, tuple[Mapping[int, Tensor], pd.DataFrame]], names: Sequence[str]
) -> Panel:
    """The pictures of a step and the cosines of every step, for recipes of (snapshots, their `trace`)."""
    figure, ax, tiles = _stage(1.4, 2, -(-len(names) // 2))
    steps = list(next(iter(recipes.values()))[0])
    looks = {TEXT: (OF_TEXT, "--"), REAL: (OF_IMAGES, "-")}
    lines = [
        ax.plot(steps, steps, style, color=color, label=name)[0]
        for name, (color, style) in looks.items()
    ]
    ax.set(
        xlim=(-1, steps[-1] + 1),
        ylim=(-0.3, 1.02),
        xlabel="step",
        ylabel="cosine",
        title="Mean cosine with ...",
    )
    ax.legend(loc="lower right", frameon=False)
    mark = ax.axvline(0, color="0.25")
    figure.live(*lines, mark)
    figure.settle()

    def draw(step: int, recipe: str) -> View:
        snapshots, cosine = recipes[recipe]
        for tile, picture, name in zip(tiles, snapshots[step], names, strict=False):
            _put(tile, picture, name)
        for line, name in zip(lines, cosine, strict=True):
            line.set_ydata(cosine[name])
        mark.set_xdata([step, step])
        text = ", ".join(
            f"cosine with {name} {value:.2f}" for name, value in cosine.loc[step].items()
        )
        return View(figure, dict(cosine.loc[step]), f"<b>step {step}</b>: {text}")

    bar = w.SelectionSlider(
        options=steps, value=steps[-1], description="step", continuous_update=False
    )
    return Panel(
        draw,
        {"step": bar, "recipe": choice("recipe", list(recipes))},
        "Pictures emerging, and their cosines",
    )
