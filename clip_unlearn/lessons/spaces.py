"""Pictures of the embedding space, for notebooks 01 and 02.

Means of cells and their parts, two sets of points on one map, a prompt at work, and prototypes that
emerge step by step.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import ipywidgets as w
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from ..core import InputError
from ..core.concepts import ALL_DOMAINS
from ..images.datasets import Features
from ..measure.plots import ACCURACY, COLORS, WRONG, thumbnail
from ..measure.setting import Setting
from ..models.clip import Clip
from .widgets import LiveFigure, Panel, View, choice

TEXT = "the text"  # the columns of a `trace`
REAL = "the real mean"
OF_TEXT = WRONG  # the colours of what comes from texts and from images
OF_IMAGES = COLORS["retained"]
GRID = ("class", "domain")


# ---- numbers


def cell_means(
    x: Tensor, images: Features, shape: tuple[int, int], among: Tensor | None = None
) -> Tensor:
    """(C, K, d) mean of x (n, d) over the images of each cell; NaN if there are none.

    `among` (n,) bool leaves out the other images.
    """
    C, K = shape
    cell = images.cells(K)  # (n,)
    if among is not None:
        x = x[among]
        cell = cell[among]
    total = x.new_zeros(C * K, x.shape[1]).index_add(0, cell, x)
    count = torch.bincount(cell, minlength=C * K)
    mean = total / count[:, None]
    return mean.unflatten(0, shape)


def two_way(x: Tensor) -> dict[str, Tensor]:
    """The parts of x (C, K, d) that belong to the class, the domain and their interaction.

    Each is (C, K, d); they and the mean over all cells sum to x.
    """
    mean = x.mean((0, 1))
    of_class = x.mean(1, keepdim=True) - mean  # (C, 1, d)
    of_domain = x.mean(0, keepdim=True) - mean  # (1, K, d)
    return {
        "class": of_class.expand_as(x),
        "domain": of_domain.expand_as(x),
        "interaction": x - mean - of_class - of_domain,
    }


def pixel_features(clip: Clip, pixels: Tensor) -> Tensor:
    """f (n, D), on the CPU, of pictures (n, 3, s, s) in [0, 1]; differentiable."""
    return clip.image_features(clip.normalized(pixels)).cpu()


def unseen(clip: Clip, prompt: str) -> list[str]:
    """Words of a prompt that the bundled CLIP never saw.

    They have a token whose row in the token table is all zero.
    """
    text_tower = getattr(clip.model, "text", clip.model)
    seen = text_tower.token_embedding.weight.any(1)  # (vocabulary,)
    return [word for word in prompt.split() if not seen[clip.tokenizer([word])[0]].all()]


def matches(setting: Setting, prompt: str, domain: str = ALL_DOMAINS) -> tuple[Tensor, Tensor]:
    """Indices (n,) of a domain's pictures, and their cosines (n,) with a prompt, best first.

    Raises InputError for a blank prompt.
    """
    if not prompt.strip():
        raise InputError("the prompt is empty: type what to look for, such as: a sketch of a dog")
    p = setting.prototypes
    images = setting.task.images
    text = setting.clip.text_features([prompt])[0]
    t = normalize(text @ p.W_text, dim=0)
    here = torch.ones_like(images.domain_of, dtype=torch.bool)
    if domain != ALL_DOMAINS:
        here = images.domain_of == p.grid.domain_index(domain)

    h = normalize(images.f[here] @ p.W, dim=-1)
    cosine, order = (h @ t).sort(descending=True)
    index = here.nonzero().flatten()
    return index[order], cosine


@torch.no_grad()
def trace(
    clip: Clip, snapshots: Mapping[int, Tensor], targets: Tensor, real: Tensor
) -> pd.DataFrame:
    """Two mean cosines for each step of a synthesis.

    snapshots: the pictures (n, 3, s, s) of each step. TEXT is their cosine with the texts `targets`
    (n, d); REAL that of their features with the features `real` (n, D), both centred.
    """
    W = clip.heads["visual"].weight
    centred_real = real - real.mean(0)
    rows = {}
    for step, pixels in snapshots.items():
        f = pixel_features(clip, pixels)
        with_text = cosine_similarity(f @ W, targets)
        with_real = cosine_similarity(f - f.mean(0), centred_real)
        rows[step] = {
            TEXT: with_text.mean().item(),
            REAL: with_real.mean().item(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("step")


# ---- pictures


def labelled(
    setting: Setting, index: Sequence[int], notes: Sequence[str] = ()
) -> list[tuple[Path, str]]:
    """Path and caption of some of the setting's pictures.

    A caption is the class and a note; without notes, the class and the domain.
    """
    images = setting.task.images
    grid = setting.task.grid
    notes = notes or [f", {grid.domains[images.domain_of[i]]}" for i in index]
    rows = []
    for i, note in zip(index, notes, strict=True):
        name = grid.classes[images.class_of[i]]
        rows.append((images.paths[i], name + note))
    return rows


def strip(rows: Mapping[str, Sequence[tuple[Path | Tensor, str]]]) -> Figure:
    """Titled rows of pictures with captions; a picture is a path or pixels (3, s, s) in [0, 1]."""
    width = max(len(row) for row in rows.values())
    figure = plt.figure(
        figsize=(1.3 * width, 1.75 * len(rows)),
        layout="constrained",
    )
    tiles = iter(_tiles(figure, len(rows), width))
    for title, row in rows.items():
        line = list(islice(tiles, width))
        line[0].ax.set_title(title, loc="left", fontsize=10)
        for tile, (picture, caption) in zip(line, row, strict=False):
            tile.put(picture, caption)
    return figure


class _Tile(NamedTuple):
    """A place for a picture with a caption; until then blank, with room for both."""

    ax: Axes
    image: AxesImage
    caption: Text

    def put(self, picture: Path | Tensor, caption: str) -> None:
        """Show the image of a file, or pixels (3, s, s) in [0, 1]."""
        is_pixels = isinstance(picture, Tensor)
        shown = picture.permute(1, 2, 0) if is_pixels else thumbnail(picture, 96)
        self.image.set_data(shown)
        self.caption.set_text(caption)


def _tiles(part: Figure | SubFigure, rows: int, columns: int) -> list[_Tile]:
    """Blank tiles, row by row."""
    tiles = []
    for ax in part.subplots(rows, columns, squeeze=False).flat:
        ax.axis("off")
        image = ax.imshow(torch.ones(2, 2, 3), interpolation="nearest")
        caption = ax.annotate(
            " ",  # an empty text would take no room in the layout
            (0.5, -0.03),
            xycoords="axes fraction",
            ha="center",
            va="top",
            fontsize=9,
        )
        tiles.append(_Tile(ax, image, caption))
    return tiles


def heatmaps(
    frames: Mapping[str, pd.DataFrame],
    label: str,
    scale: Sequence[float],
    axes: Sequence[str] = GRID,
) -> Figure:
    """Tables side by side, as colours and numbers on one scale.

    scale: (low, high); if it is even about 0, the colours diverge. axes: what the rows and the
    columns are.
    """
    low, high = scale
    of_rows, of_columns = axes
    rows, columns = next(iter(frames.values())).shape
    figure = plt.figure(
        figsize=(2.2 + 0.8 * columns * len(frames), 1.2 + 0.25 * rows),
        layout="constrained",
    )
    places = figure.subplots(1, len(frames), sharey=True, squeeze=False)[0]
    for ax, (title, frame) in zip(places, frames.items(), strict=True):
        sns.heatmap(
            frame.round(2) + 0.0,  # no -0.00
            ax=ax,
            annot=True,
            fmt=".2f",
            vmin=low,
            vmax=high,
            cmap="PuOr_r" if low == -high else ACCURACY,
            cbar=ax is places[-1],
            cbar_kws={"label": label},
        )
        ax.set(title=title, xlabel=of_columns, ylabel="")
        ax.tick_params(length=0, rotation=0)
    places[0].set_ylabel(of_rows)
    return figure


def pair_map(sets: Mapping[str, Tensor], named: Mapping[int, str]) -> Figure:
    """Two sets of matching points (n, d) on three maps, a line from each point to its partner.

    The first set comes from texts, the second from images; `named` rings and names points of the
    second. The maps: the main directions of variance; the gap between the sets and the first of
    these; the same, with each set less its mean.
    """
    x, y = sets.values()
    both = torch.cat([x, y])
    both = both - both.mean(0)
    centred = torch.cat([x - x.mean(0), y - y.mean(0)])
    gap = normalize(y.mean(0) - x.mean(0), dim=0)
    main = torch.linalg.svd(both, full_matrices=False).Vh[:2]
    along_gap = torch.stack([gap, main[0]])

    figure = plt.figure(figsize=(11.5, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_pairs(left, both @ main.T, list(sets), named)
    _draw_pairs(middle, both @ along_gap.T, list(sets), named)
    _draw_pairs(right, centred @ along_gap.T, list(sets), named)

    left.set_title("Where the variance is")
    left.set(xlabel="first principal component", ylabel="second principal component")
    middle.set_title("Along the gap")
    right.set_title("Each set less its mean")
    for ax in (middle, right):
        ax.set(xlabel="along the gap", ylabel="first principal component")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _draw_pairs(ax: Axes, at: Tensor, sets: Sequence[str], named: Mapping[int, str]) -> None:
    """Points at (2 n, 2), half of them of each set, with lines between partners."""
    texts, pictures = at.unflatten(0, (2, -1))  # (n, 2) each
    across, up = torch.stack([texts, pictures]).permute(2, 0, 1)  # (2, n) each
    ax.plot(across, up, color="0.8", lw=0.7, zorder=1)
    looks = (("^", OF_TEXT), ("o", OF_IMAGES))
    for name, points, (marker, color) in zip(sets, (texts, pictures), looks, strict=True):
        ax.scatter(
            *points.T,
            marker=marker,
            s=26,
            color=color,
            label=name,
            edgecolor="white",
            linewidth=0.4,
        )
    _name_points(ax, pictures, named)
    ax.set(aspect="equal", adjustable="datalim")


def _name_points(ax: Axes, at: Tensor, named: Mapping[int, str]) -> None:
    """Ring some of the points at (n, 2), and write their names beside the axes.

    There nothing lies under the names, and each stands at the height of its point, or above the
    name before it.
    """
    # The height of a line of text, on axes of equal scale.
    room = 0.09 * max(ax.dataLim.height, 1.2 * ax.dataLim.width)
    leader = {
        "arrowstyle": "-",
        "color": "black",
        "lw": 0.7,
        "shrinkA": 0,
        "shrinkB": 3,
        "path_effects": [withStroke(linewidth=2, foreground="white")],
    }
    height = ax.dataLim.ymin - room
    for i in sorted(named, key=lambda i: at[i, 1].item()):
        x, y = at[i].tolist()
        height = max(height + room, y)
        ax.plot(x, y, "o", ms=7, mfc="none", mec="black", mew=1.1)
        ax.annotate(
            named[i],
            xy=(x, y),
            xytext=(1.04, height),
            textcoords=ax.get_yaxis_transform(),
            va="center",
            fontsize=9,
            arrowprops=leader,
        )


# ---- panels


def prompt_panel(setting: Setting, prompt: str, domain: str) -> Panel:
    """A box for a prompt, its mean cosine with each class's pictures, and the best pictures."""
    images = setting.task.images
    classes = setting.task.grid.classes
    figure, ax, tiles = _stage(ratio=1.7, rows=2, columns=4)
    (dots,) = ax.plot([0] * len(classes), classes, "o", color=COLORS["retained"])
    ax.set(
        title="Mean of each class",
        xlim=(-0.4, 1),
        ylim=(len(classes) - 0.5, -0.5),
        xlabel="cosine with the prompt",
    )
    ax.grid(alpha=0.4)
    figure.live(dots)
    figure.settle()

    def draw(prompt: str, domain: str) -> View:
        index, cosine = matches(setting, prompt, domain)
        names = [classes[c] for c in images.class_of[index]]
        mean = pd.Series(cosine).groupby(names).mean().reindex(classes)
        dots.set_xdata(mean)

        shown = len(tiles)
        notes = [f" {c:.2f}" for c in cosine[:shown]]
        best = labelled(setting, index[:shown].tolist(), notes)
        blank = (torch.ones(3, 2, 2), "")
        best += [blank] * (shown - len(best))
        for tile, (picture, caption) in zip(tiles, best, strict=True):
            tile.put(picture, caption)

        text = f"best cosine {cosine[0]:.2f}, a picture of: {names[0]}"
        strange = unseen(setting.clip, prompt)
        if strange:
            words = html.escape(", ".join(strange))
            text += f"; <b>never seen in training, so without a meaning: {words}</b>"
        numbers = {"best": cosine[0].item(), **mean}
        return View(figure, numbers, text)

    box = w.Text(
        prompt,
        description="prompt",
        continuous_update=False,
        layout=w.Layout(width="380px"),
    )
    controls = {
        "prompt": box,
        "domain": choice("domain", [ALL_DOMAINS, *setting.task.grid.domains], domain),
    }
    return Panel(draw, controls, "Cosine of each class with a prompt, and the best pictures")


def step_panel(
    recipes: Mapping[str, tuple[Mapping[int, Tensor], pd.DataFrame]], names: Sequence[str]
) -> Panel:
    """The pictures of one step, and the cosines of every step.

    recipes: (snapshots, their `trace`) by name; names: of the pictures of a snapshot.
    """
    figure, ax, tiles = _stage(ratio=1.4, rows=2, columns=-(-len(names) // 2))
    snapshots, _ = next(iter(recipes.values()))
    steps = list(snapshots)
    # The values are those of `draw`; here they only give the lines their length.
    (with_text,) = ax.plot(steps, steps, "--", color=OF_TEXT, label=TEXT)
    (with_real,) = ax.plot(steps, steps, "-", color=OF_IMAGES, label=REAL)
    ax.set(
        title="Mean cosine with ...",
        xlim=(-1, steps[-1] + 1),
        ylim=(-0.3, 1.02),
        xlabel="step",
        ylabel="cosine",
    )
    ax.legend(loc="lower right", frameon=False)
    mark = ax.axvline(0, color="0.25")
    figure.live(with_text, with_real, mark)
    figure.settle()

    def draw(step: int, recipe: str) -> View:
        snapshots, cosine = recipes[recipe]
        for tile, picture, name in zip(tiles, snapshots[step], names, strict=False):
            tile.put(picture, name)
        with_text.set_ydata(cosine[TEXT])
        with_real.set_ydata(cosine[REAL])
        mark.set_xdata([step, step])

        now = dict(cosine.loc[step])
        parts = [f"cosine with {name} {value:.2f}" for name, value in now.items()]
        return View(figure, now, f"<b>step {step}</b>: {', '.join(parts)}")

    bar = w.SelectionSlider(
        options=steps,
        value=steps[-1],
        description="step",
        continuous_update=False,
    )
    controls = {"step": bar, "recipe": choice("recipe", list(recipes))}
    return Panel(draw, controls, "Pictures emerging, and their cosines")


def _stage(ratio: float, rows: int, columns: int) -> tuple[LiveFigure, Axes, list[_Tile]]:
    """A live figure with one plot and rows of pictures beside it, `ratio` times as wide."""
    figure = LiveFigure(figsize=(10.4, 4.0), dpi=80, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, ratio))
    tiles = _tiles(right, rows, columns)
    for tile in tiles:
        figure.live(tile.image, tile.caption)
    return figure, left.subplots(), tiles
