"""An audit as one figure: what each attack finds, what stayed, how neighbours fared, how like its text an image is."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..measure.plots import COLORS, LABELS
from .verdict import OVER, Audit

# What an attacker must have, from least to most; a check is of the first kind that names it.
KINDS = {
    "words\nalone": ("prompts", "paraphrases", "translations", "search"),
    "words and\nthe weights": ("nearest prototype",),
    "labelled\nimages": ("nearest mean", "relearning", "linear probe", "domain probe"),
}
ROW = 0.27  # inches a row of a dumbbell plot takes


def found(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of an audit that look for what was forgotten, one a check, by kind: before, after, chance."""
    rows = frame[
        frame["where"].isin(("forget", "forgotten domains", "all images"))
        & (frame["check"] != "similarity")
    ]
    unread = rows["reading"].str.startswith(("for comparison", "not measured"))
    rows = rows[~unread].drop_duplicates("check").set_index("check")
    ordered = [
        check
        for names in KINDS.values()
        for name in names
        for check in rows.index
        if check.startswith(name)
    ]
    return rows.loc[ordered, ["before", "after", "chance"]]


def separate(ax: Axes, checks: Sequence[str], name: bool = True, x: float = 1.02) -> None:
    """Lines between the kinds of attack, and at x, right of the axes, what an attacker of each kind must have."""
    start = 0
    for kind, names in KINDS.items():
        count = sum(check.startswith(names) for check in checks)
        if start and count:
            ax.axhline(start - 0.5, color="0.8", lw=1, zorder=0)
        if name and count:
            place = {"x": x, "y": start + (count - 1) / 2, "transform": ax.get_yaxis_transform()}
            ax.text(**place, s=kind, va="center", color="0.35", fontsize=10, linespacing=1.1)
        start += count


def audit_figure(result: Audit, title: str) -> Figure:
    """Everything an audit measured, and its verdict beneath."""
    attacks, kept = found(result.frame), _kept(result.frame)
    said = textwrap.wrap(result.verdict, 185)
    top, bottom, words = 1.1 + ROW * max(len(attacks), len(kept)), 2.5, 0.15 + 0.175 * len(said)
    figure = Figure(figsize=(13, top + bottom + words + 0.4), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    upper, lower = figure.subfigures(2, 1, height_ratios=(top + bottom, words))
    sides = [side.subplots(2, 1, height_ratios=(top, bottom)) for side in upper.subfigures(1, 2)]
    (gone, likeness), (stays, cells) = sides
    _dumbbells(gone, attacks, "What each attack finds of what was forgotten")
    separate(gone, attacks.index, x=1.27)
    _dumbbells(stays, kept, "What should stay")
    _likeness(likeness, result.frame)
    _neighbours(cells, result.neighbours)
    lower.text(0.012, 1, "\n".join(said), va="top", fontsize=9.5, linespacing=1.3)
    upper.suptitle(textwrap.shorten(title, 110, placeholder=" …"), fontsize=14)
    for ax in (gone, likeness, stays, cells):
        sns.despine(ax=ax)
    return figure


def _kept(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of an audit that should not have changed: before, after, chance."""
    rows = frame[frame["reading"].str.startswith(("kept", "lost"))]
    names = [f"{r.check}: {LABELS.get(r.where, r.where)}" for r in rows.itertuples()]
    names = [textwrap.shorten(name, 44, placeholder=" …") for name in names]
    return rows.set_axis(names)[["before", "after", "chance"]]


def _dumbbells(ax: Axes, rows: pd.DataFrame, title: str) -> None:
    """One line a row: before (hollow), after (filled), chance (tick); the numbers at the right."""
    places = range(len(rows))
    ax.hlines(places, rows["before"], rows["after"], color="0.8", lw=3, zorder=1)
    ax.scatter(
        rows["before"],
        places,
        s=90,
        facecolor="white",
        edgecolor="0.3",
        lw=1.4,
        label="before",
        zorder=2,
    )
    ax.scatter(rows["after"], places, s=38, color=COLORS["forget"], label="after", zorder=3)
    ax.scatter(rows["chance"], places, marker="|", s=110, color="0.3", label="chance", zorder=2)
    for place, row in zip(places, rows.itertuples(), strict=True):
        words = f"{row.before:.2f} → {row.after:.2f}"
        ax.text(1.01, place, words, transform=ax.get_yaxis_transform(), va="center", fontsize=8.5)
    ax.set_yticks(places, rows.index)
    ax.set(
        xlim=(-0.04, 1.04),
        ylim=(len(rows) - 0.4, -0.8),
        xlabel="accuracy, or precision of a search",
    )
    ax.set_title(title, pad=24)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.99), ncols=3, frameon=False, fontsize=9)
    ax.tick_params(axis="y", length=0)


def _likeness(ax: Axes, frame: pd.DataFrame) -> None:
    """Cosine of forgotten images and their own text, on the band of random pairs, before and after."""
    own, mean, sd = (frame[frame["check"] == "similarity"][["before", "after"]]).to_numpy()
    for place in (0, 1):
        ax.barh(
            place,
            2 * OVER * sd[place],
            left=mean[place] - OVER * sd[place],
            height=0.5,
            color="0.85",
        )
        ax.plot([mean[place]] * 2, [place - 0.25, place + 0.25], color="0.4", lw=1.5)
        color = COLORS["forget"] if place else "white"
        ax.scatter(own[place], place, s=90, color=color, edgecolor="0.3", zorder=3)
        ax.annotate(
            f"{own[place]:+.2f}",
            (own[place], place),
            (0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    ax.set_yticks((0, 1), ("before", "after"))
    ax.set(xlim=(-1, 1), xticks=(-1, -0.5, 0, 0.5, 1), ylim=(1.6, -0.6))
    ax.set_xlabel(f"cosine; grey: random pairs, their mean and {OVER:g} sd either way")
    ax.set_title("Forgotten images and their own text")
    ax.tick_params(axis="y", length=0)


def _neighbours(ax: Axes, near: pd.DataFrame, named: int = 3) -> None:
    """Change of each cell that stays against its likeness to what was forgotten; the worst are named."""
    ax.axhline(0, color="0.8", lw=1, zorder=0)
    ax.scatter(near["similarity"], 100 * near["change"], s=22, color=COLORS["retained"], alpha=0.7)
    worst = near[near["change"] < 0].nsmallest(named, "change")
    middle = near["similarity"].median()
    for i, cell in enumerate(worst.to_dict("records")):
        right = cell["similarity"] < middle
        # Labels at one height would overlap.
        level = 10 * (worst["change"].iloc[:i] - cell["change"]).abs().lt(0.02).sum()
        ax.annotate(
            f"{cell['class']} in {cell['domain']}", (cell["similarity"], 100 * cell["change"]),
            (6 if right else -6, -level), textcoords="offset points", ha="left" if right else "right", va="center",
            fontsize=8,
        )  # fmt: skip
    low = min(-10.0, 100 * near["change"].min() - 5)
    ax.set(ylim=(low, max(10.0, 100 * near["change"].max() + 5)), ylabel="change (points)")
    ax.set_xlabel("similarity of its text to the nearest forgotten text")
    ax.set_title("Cells that should stay, by likeness")
