"""An audit as one figure: what each attack finds, what stayed, how near the images are to a text.

The attacks stand in groups by what an attacker must have.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..measure.plots import COLORS, LABELS
from .checks import SOUGHT
from .verdict import OVER, Audit, should_stay

# What an attacker must have, from least to most, and the checks of this kind, by how their names
# begin. A check belongs to the first kind that names it.
KINDS = {
    "words\nalone": ("prompts", "paraphrases", "translations", "search"),
    "words and\nthe weights": ("nearest prototype",),
    "labelled\nimages": ("nearest mean", "relearning", "linear probe", "domain probe"),
}
# Heights in inches: a row of a dumbbell plot, the lower plots, a line of the verdict.
ROW = 0.27
LOWER_PLOTS = 2.5
LINE = 0.175
NAMED = 3  # how many of the cells that lost most are named


def found(frame: pd.DataFrame) -> pd.DataFrame:
    """What each attack of an audit finds: before, after, chance; a row a check, by KINDS."""
    attack = frame["where"].isin(SOUGHT) & (frame["check"] != "similarity")
    unread = frame["reading"].str.startswith(("for comparison", "not measured"))
    rows = frame[attack & ~unread]
    rows = rows.drop_duplicates("check").set_index("check")

    ordered = []
    for names in KINDS.values():
        for name in names:
            ordered += [check for check in rows.index if check.startswith(name)]
    return rows.loc[ordered, ["before", "after", "chance"]]


def separate(ax: Axes, checks: Sequence[str], name: bool = True, x: float = 1.02) -> None:
    """Draw lines between the kinds of attack, and name them at x, right of the axes, if `name`."""
    start = 0
    for kind, names in KINDS.items():
        count = sum(check.startswith(names) for check in checks)
        if not count:
            continue
        if start:
            ax.axhline(start - 0.5, color="0.8", lw=1, zorder=0)
        if name:
            middle = start + (count - 1) / 2
            ax.text(
                x,
                middle,
                kind,
                transform=ax.get_yaxis_transform(),
                va="center",
                color="0.35",
                fontsize=10,
                linespacing=1.1,
            )
        start += count


def audit_figure(result: Audit, title: str) -> Figure:
    """Everything an audit measured, and its verdict beneath."""
    attacks = found(result.frame)
    kept = _kept(result.frame)
    verdict = textwrap.wrap(result.verdict, 185)

    # Plots in two rows and two columns, text below.
    upper_plots = 1.1 + ROW * max(len(attacks), len(kept))
    plots_height = upper_plots + LOWER_PLOTS
    text_height = 0.15 + LINE * len(verdict)
    figure = Figure(figsize=(13, plots_height + text_height + 0.4), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    plots, text = figure.subfigures(2, 1, height_ratios=(plots_height, text_height))
    left, right = plots.subfigures(1, 2)
    heights = (upper_plots, LOWER_PLOTS)
    upper_left, lower_left = left.subplots(2, 1, height_ratios=heights)
    upper_right, lower_right = right.subplots(2, 1, height_ratios=heights)

    _dumbbells(upper_left, attacks, "What each attack finds of what was forgotten")
    separate(upper_left, attacks.index, x=1.27)
    _dumbbells(upper_right, kept, "What should stay")
    _likeness(lower_left, result.frame)
    _neighbours(lower_right, result.neighbours)
    text.text(0.012, 1, "\n".join(verdict), va="top", fontsize=9.5, linespacing=1.3)
    plots.suptitle(textwrap.shorten(title, 110, placeholder=" …"), fontsize=14)
    for ax in (upper_left, lower_left, upper_right, lower_right):
        sns.despine(ax=ax)
    return figure


def _kept(frame: pd.DataFrame) -> pd.DataFrame:
    """What should have stayed, by name: before, after, chance."""
    rows = frame[should_stay(frame["reading"])]
    names = []
    for row in rows.itertuples():
        where = LABELS.get(row.where, row.where)
        name = f"{row.check}: {where}"
        names.append(textwrap.shorten(name, 44, placeholder=" …"))
    numbers = rows[["before", "after", "chance"]]
    return numbers.set_axis(names)


def _dumbbells(ax: Axes, rows: pd.DataFrame, title: str) -> None:
    """One line a row: before (hollow), after (filled), chance (tick); the numbers at the right."""
    places = range(len(rows))
    before = rows["before"]
    after = rows["after"]
    hollow = {"s": 90, "facecolor": "white", "edgecolor": "0.3", "lw": 1.4}
    filled = {"s": 38, "color": COLORS["forget"]}
    tick = {"s": 110, "color": "0.3", "marker": "|"}
    ax.hlines(places, before, after, color="0.8", lw=3, zorder=1)
    ax.scatter(before, places, label="before", zorder=2, **hollow)
    ax.scatter(after, places, label="after", zorder=3, **filled)
    ax.scatter(rows["chance"], places, label="chance", zorder=2, **tick)

    right_of_axes = ax.get_yaxis_transform()
    for place, row in zip(places, rows.itertuples(), strict=True):
        numbers = f"{row.before:.2f} → {row.after:.2f}"
        ax.text(1.01, place, numbers, transform=right_of_axes, va="center", fontsize=8.5)

    ax.set_yticks(places, rows.index)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(-0.04, 1.04)
    ax.set_ylim(len(rows) - 0.4, -0.8)
    ax.set_xlabel("accuracy, or precision of a search")
    ax.set_title(title, pad=24)
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 0.99),
        ncols=3,
        frameon=False,
        fontsize=9,
    )


def _likeness(ax: Axes, frame: pd.DataFrame) -> None:
    """Cosine of forgotten images and their own text, on the band of random pairs."""
    rows = frame[frame["check"] == "similarity"]
    colors = {"before": "white", "after": COLORS["forget"]}
    for place, (column, color) in enumerate(colors.items()):
        own, mean, sd = rows[column]

        # Random pairs: a band, and their mean as a line across it.
        left = mean - OVER * sd
        width = 2 * OVER * sd
        ax.barh(place, width, left=left, height=0.5, color="0.85")
        ends = (place - 0.25, place + 0.25)
        ax.plot((mean, mean), ends, color="0.4", lw=1.5)

        ax.scatter(own, place, s=90, color=color, edgecolor="0.3", zorder=3)
        ax.annotate(
            f"{own:+.2f}",
            xy=(own, place),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )

    ax.set_yticks((0, 1), ("before", "after"))
    ax.tick_params(axis="y", length=0)
    ax.set_xticks((-1, -0.5, 0, 0.5, 1))
    ax.set(xlim=(-1, 1), ylim=(1.6, -0.6))
    ax.set_xlabel(f"cosine; grey: random pairs, their mean and {OVER:g} sd either way")
    ax.set_title("Forgotten images and their own text")


def _neighbours(ax: Axes, cells: pd.DataFrame) -> None:
    """Change of each cell that stays against its likeness to what was forgotten."""
    change = 100 * cells["change"]
    ax.axhline(0, color="0.8", lw=1, zorder=0)
    ax.scatter(cells["similarity"], change, s=22, color=COLORS["retained"], alpha=0.7)
    _name_worst(ax, cells)

    low = min(-10.0, change.min() - 5)
    high = max(10.0, change.max() + 5)
    ax.set(ylim=(low, high), ylabel="change (points)")
    ax.set_xlabel("similarity of its text to the nearest forgotten text")
    ax.set_title("Cells that should stay, by likeness")


def _name_worst(ax: Axes, cells: pd.DataFrame) -> None:
    """Write their names beside the cells that lost most, on the side where there is room."""
    worst = cells[cells["change"] < 0].nsmallest(NAMED, "change")
    middle = cells["similarity"].median()
    changes_so_far: list[float] = []
    for cell in worst.to_dict("records"):
        change = cell["change"]
        # Names at one height would overlap: each goes below those that are there.
        at_this_height = sum(abs(other - change) < 0.02 for other in changes_so_far)
        changes_so_far.append(change)

        on_the_right = cell["similarity"] < middle
        ax.annotate(
            f"{cell['class']} in {cell['domain']}",
            xy=(cell["similarity"], 100 * change),
            xytext=(6 if on_the_right else -6, -10 * at_this_height),
            textcoords="offset points",
            ha="left" if on_the_right else "right",
            va="center",
            fontsize=8,
        )
