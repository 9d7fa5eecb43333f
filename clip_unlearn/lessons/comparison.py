"""Pictures of a comparison for notebook 09: what every method forgets, beside what it costs.

Methods stand in groups by what they see. Colour is left to the groups of images, as everywhere in
the course. The frames are those of `baselines.compare`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..baselines.comparison import BASELINES, PICTURES, SEES, comparison_table
from ..measure.plots import COLORS, LABELS, legend_below
from .widgets import LiveFigure, Panel, View, choice

PRICE = ("retained", "same_class")
MARKERS = {"forget": "o", "retained": "o", "same_class": "D"}
SHIFT = {"same_class": 0.2}  # how far below its line a group is drawn
INK = "0.15"
TITLE = {"fontweight": "bold", "pad": 24}  # of a chart with its legend between title and axes


def order(methods: Sequence[str]) -> list[str]:
    """Methods as the registry lists them: who sees least first."""
    return [name for name in BASELINES if name in set(methods)]


class Places(NamedTuple):
    """The line of each method and of each heading ("sees text"), counted from the top."""

    lines: dict[str, int]
    headings: dict[str, int]

    @property
    def height(self) -> int:
        """The number of lines and headings."""
        return len(self.lines) + len(self.headings)


def places(methods: Sequence[str]) -> Places:
    """Where the methods stand, each below the heading of what it sees."""
    at = Places({}, {})
    for name in order(methods):
        heading = f"sees {BASELINES[name].sees}"
        if heading not in at.headings:
            at.headings[heading] = at.height
        at.lines[name] = at.height
    return at


# ---- all requests


def overview(frame: pd.DataFrame, title: str) -> Figure:
    """Mean (dot) and worst request (end of the line) of every method."""
    at = places(frame["method"])
    prices = _prices(frame)
    figure = Figure(figsize=(10, 1.6 + 0.27 * at.height), layout="constrained")
    left, right = _axes(figure, at, prices)
    for name, rows in frame.groupby("method"):
        line = at.lines[name]
        forget = 100 * rows["forget"]
        _draw_span(left, line, "forget", forget.mean(), forget.max())
        for price in prices:
            _draw_span(right, line, price, rows[price].mean(), rows[price].min())
    figure.suptitle(title)
    return figure


def _draw_span(ax: Axes, line: int, group: str, mean: float, worst: float) -> None:
    y = line + SHIFT.get(group, 0)
    ax.plot(
        [mean, worst],
        [y, y],
        color=COLORS[group],
        lw=1.5,
        alpha=0.6,
    )
    ax.plot(mean, y, MARKERS[group], color=COLORS[group], ms=6)


def scorecard(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Frames by title in one table, mean (worst) of forgetting and its price; and the time."""
    every = pd.concat(frames.values())
    at = places(every["method"])
    figure = Figure(figsize=(11, 1.7 + 0.29 * at.height), layout="constrained")
    widths = [2] * len(frames) + [2.3]
    *tables, clock = figure.subplots(1, len(widths), sharey=True, width_ratios=widths)
    for ax, (title, frame) in zip(tables, frames.items(), strict=True):
        _draw_score(ax, frame, at)
        ax.set_title(title, fontweight="bold")
    _name_lines(tables[0], at, shift=0.5)
    _draw_times(clock, every, at)
    figure.suptitle(
        "Mean over all requests, in brackets the worst one; "
        "the darker, the farther from what was asked"
    )
    return figure


def _draw_score(ax: Axes, frame: pd.DataFrame, at: Places) -> None:
    """Two columns of grey: what is left to forget, and the loss of the group most at risk."""
    price = _prices(frame)[-1]
    far = np.full((at.height, 2), np.nan)  # from what was asked
    words = np.full((at.height, 2), "", dtype=object)
    for name, rows in frame.groupby("method"):
        left = 100 * rows["forget"]
        change = rows[price]
        line = at.lines[name]
        far[line] = left.mean(), -change.mean()
        words[line, 0] = f"{round(left.mean())} ({round(left.max())})"
        words[line, 1] = f"{round(change.mean())} ({round(change.min())})"
    sns.heatmap(
        far,
        annot=words,
        fmt="",
        cmap="Greys",
        vmin=0,
        vmax=100,
        cbar=False,
        linewidths=1,
        ax=ax,
        xticklabels=["still named\n(%)", f"{price.replace('_', ' ')}\n(points)"],
        annot_kws={"size": 9},
    )
    for name in set(at.lines) - set(frame["method"]):
        ax.text(
            1,
            at.lines[name] + 0.5,
            "not run",
            ha="center",
            va="center",
            fontsize=8,
            color="0.5",
        )
    ax.tick_params(axis="both", length=0, rotation=0, labelsize=9)


def _draw_times(ax: Axes, frame: pd.DataFrame, at: Places) -> None:
    """The median time to fit one request, and of the synthesis that some methods need once."""
    for name, rows in frame.groupby("method"):
        y = at.lines[name] + 0.5
        ax.plot(rows["seconds"].median(), y, "o", color=INK)
        if BASELINES[name].sees == PICTURES:
            ax.plot(rows["synthesis"].max(), y, "D", color=INK, mfc="none")
    ax.plot([], [], "o", color=INK, label="a request")
    ax.plot([], [], "D", color=INK, mfc="none", label="pictures, once")
    ax.set_title("how long", **TITLE)
    ax.set(
        xscale="log",
        xlim=(1e-4, 3e3),
        xlabel="time on this machine, logarithmic",
    )
    ax.set_xticks([1e-3, 1e-1, 1e1, 1e3], ["1 ms", "0.1 s", "10 s", "1000 s"])
    _legend_above(ax, fontsize=9)
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax, left=True)


def good_enough(
    frames: Mapping[str, pd.DataFrame], left: float = 0.10, lost: float = 5.0, worst: bool = False
) -> pd.DataFrame:
    """Which methods forget and keep within limits, by what they see (rows) and by frame (columns).

    At most `left` of the accuracy is left, and at most `lost` points are lost of the same class
    elsewhere (or, if no such group was measured, of all that is retained): on the mean over all
    requests, or for the worst one.
    """
    of = " worst" if worst else ""
    sees = pd.Index(SEES, name="sees")
    answer = pd.DataFrame("none", index=sees, columns=list(frames))
    for title, frame in frames.items():
        table = comparison_table(frame).droplevel("paradigm")
        price = _prices(frame)[-1]
        forgets = table[f"forget{of}"] <= left
        keeps = table[f"{price}{of}"] >= -lost
        for kind, rows in table[forgets & keeps].groupby("sees"):
            answer.loc[kind, title] = ", ".join(order(rows.index))
    return answer


# ---- single requests


def row(frame: pd.DataFrame, requests: Sequence[str], title: str) -> Figure:
    """Several requests side by side: right of 0 what is left to forget, left of 0 what was lost."""
    at = places(frame["method"])
    figure = Figure(figsize=(11, 1.5 + 0.25 * at.height), layout="constrained")
    axes = figure.subplots(1, len(requests), sharey=True)
    for ax, request in zip(axes, requests, strict=True):
        rows = frame[frame["request"] == request].set_index("method")
        rows = _in_percent(rows.reindex(list(at.lines)))
        for name in (*_prices(frame), "forget"):
            ax.plot(
                rows[name],
                list(at.lines.values()),
                MARKERS[name],
                color=COLORS[name],
                alpha=0.8,
                label=LABELS[name],
            )
        ax.axvline(0, color="0.5", lw=1, zorder=0)
        ax.set(
            title=request,
            xlim=(-108, 108),
            ylim=(at.height - 0.4, -0.5),
            xticks=[-100, -50, 0, 50, 100],
        )
        ax.set_xlabel("change (points) | accuracy (%)", fontsize=8)
        ax.tick_params(axis="y", length=0)
    _name_lines(axes[0], at)
    legend_below(figure, axes[0], columns=3)
    figure.suptitle(title)
    sns.despine(figure, left=True)
    return figure


def comparison_panel(frame: pd.DataFrame, class_: str = "", domain: str = "") -> Panel:
    """Pick a request out of a frame: a class in one domain, or in all of them."""
    at = places(frame["method"])
    prices = _prices(frame)
    figure = LiveFigure(figsize=(10, 1.4 + 0.27 * at.height), dpi=88, layout="constrained")
    left, right = _axes(figure, at, prices)
    dots = {}
    (dots["forget"],) = left.plot([], [], MARKERS["forget"], color=COLORS["forget"])
    for price in prices:
        (dots[price],) = right.plot([], [], MARKERS[price], color=COLORS[price])
    figure.live(*dots.values())
    figure.settle()
    by_request = frame.set_index(["request", "method"])
    heights = np.array(list(at.lines.values()))

    def draw(**values: str) -> View:
        request = f"{values['class']} in {values['domain']}"
        rows = by_request.loc[request].reindex(list(at.lines))
        shown = _in_percent(rows)
        for name, dot in dots.items():
            dot.set_data(shown[name], heights + SHIFT.get(name, 0))
        measured = rows[rows["forget"].notna()]
        return View(figure, measured["forget"].to_dict(), _says(request, measured))

    names = frame["request"].str.rsplit(" in ", n=1, expand=True)
    classes = list(names[0].unique())
    domains = list(names[1].unique())
    controls = {
        "class": choice("class", classes, class_ or None),
        "domain": choice("domain", domains, domain or None),
    }
    return Panel(draw, controls, "Every method's forgetting and its price, for one request")


def _in_percent(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with "forget" in percent, as the changes are in points."""
    return rows.assign(forget=100 * rows["forget"])


def _says(request: str, rows: pd.DataFrame) -> str:
    """The best H and all who have it: of single requests many are equally good."""
    rounded = rows["H"].round(2)
    best = rounded.max()
    names = ", ".join(rows.index[rounded == best])
    return f"Forget <b>{request}</b>: the best H is {best:.2f}, by {names}."


# ---- what they share


def _prices(frame: pd.DataFrame) -> list[str]:
    """The groups that should stay and that this frame has.

    Only requests for single cells have "same_class".
    """
    return [name for name in PRICE if name in frame and frame[name].notna().any()]


def _axes(figure: Figure, at: Places, prices: Sequence[str]) -> tuple[Axes, Axes]:
    """Two empty charts on one list of methods: accuracy on what to forget, change of what stays."""
    left, right = figure.subplots(1, 2, sharey=True)
    _name_lines(left, at)
    left.set(xlim=(-3, 103), ylim=(at.height - 0.4, -0.5), xlabel="accuracy (%)")
    right.set(xlim=(-103, 8), xlabel="change (points)")
    left.set_title("to forget: 0 is best", color=COLORS["forget"], **TITLE)
    right.set_title("should stay: 0 is best", color=INK, **TITLE)
    for ax in (left, right):
        low, high = ax.get_xlim()
        ax.hlines(list(at.lines.values()), low, high, color="0.93", lw=0.8, zorder=0)
        ax.axvline(0, color="0.5", lw=1, zorder=0)
    for name in prices:  # for the legend
        right.plot(
            [],
            [],
            MARKERS[name],
            color=COLORS[name],
            label=LABELS[name],
        )
    _legend_above(right, fontsize=10)
    sns.despine(figure, left=True)
    right.tick_params(axis="y", length=0)
    return left, right


def _name_lines(ax: Axes, at: Places, shift: float = 0.0) -> None:
    """Write methods and headings at the left of a chart.

    The line of a heading is empty, so the heading may run into the chart.
    """
    both = at.lines | at.headings
    ax.set_yticks([y + shift for y in both.values()], both)
    ax.tick_params(axis="y", length=0, pad=112, rotation=0)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for label in ax.get_yticklabels():
        label.set(ha="left", color=INK, fontsize=10)
        if label.get_text() in at.headings:
            label.set(fontweight="bold", bbox=box)


def _legend_above(ax: Axes, fontsize: int) -> None:
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 0.99),
        ncols=2,
        frameon=False,
        handletextpad=0.1,
        fontsize=fontsize,
    )
