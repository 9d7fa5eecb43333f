"""Pictures of a comparison: every method's forgetting beside its price, for one request or over all of them.

Methods stand in groups by what they see. Colour is left to the groups of images, as everywhere in
the course.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..baselines.comparison import BASELINES, PICTURES, SEES, comparison_table
from ..measure.plots import COLORS, LABELS
from .widgets import LiveFigure, Panel, View, choice

PRICE = ("retained", "same_class")
MARKERS = {"forget": "o", "retained": "o", "same_class": "D"}
INK = "0.15"


def order(methods: Sequence[str]) -> list[str]:
    """Methods as the registry lists them: who sees least first."""
    return [name for name in BASELINES if name in set(methods)]


def places(methods: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    """The line of each method and of each heading ("sees text"), counted from the top."""
    lines, headings = {}, {}
    for name in order(methods):
        heading = f"sees {BASELINES[name].sees}"
        if heading not in headings:
            headings[heading] = len(headings) + len(lines)
        lines[name] = len(headings) + len(lines)
    return lines, headings


def _name_lines(ax: Axes, methods: Sequence[str], shift: float = 0.0) -> None:
    """Write methods and headings at the left of a chart; a heading's line is empty, so it may run into the chart."""
    lines, headings = places(methods)
    both = {**lines, **headings}
    ax.set_yticks([y + shift for y in both.values()], both)
    ax.tick_params(axis="y", length=0, pad=112, rotation=0)
    for label in ax.get_yticklabels():
        label.set(ha="left", color=INK, fontsize=10)
        if label.get_text() in headings:
            label.set(fontweight="bold", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})


def _prices(frame: pd.DataFrame) -> list[str]:
    """The groups that should stay and that this frame has: "same_class" is measured for single cells alone."""
    return [name for name in PRICE if name in frame and frame[name].notna().any()]


def _axes(figure: Figure, methods: Sequence[str], prices: Sequence[str]) -> tuple[Axes, Axes]:
    """Two empty charts on one list of methods: accuracy on what to forget, and change of what should stay."""
    left, right = figure.subplots(1, 2, sharey=True)
    _name_lines(left, methods)
    lines, headings = places(methods)
    left.set(xlim=(-3, 103), ylim=(len(lines) + len(headings) - 0.4, -0.5), xlabel="accuracy (%)")
    right.set(xlim=(-103, 8), xlabel="change (points)")
    left.set_title("to forget: 0 is best", color=COLORS["forget"], fontweight="bold", pad=24)
    right.set_title("should stay: 0 is best", color=INK, fontweight="bold", pad=24)
    for ax in (left, right):
        ax.hlines(list(lines.values()), *ax.get_xlim(), color="0.93", lw=0.8, zorder=0)
        ax.axvline(0, color="0.5", lw=1, zorder=0)
    for name in prices:
        right.plot([], [], MARKERS[name], color=COLORS[name], label=LABELS[name])
    right.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 0.99),
        ncols=2,
        frameon=False,
        handletextpad=0.1,
        fontsize=10,
    )
    sns.despine(figure, left=True)
    right.tick_params(axis="y", length=0)
    return left, right


def overview(frame: pd.DataFrame, title: str) -> Figure:
    """Mean (dot) and worst request (end of the line) of every method in a frame of `baselines.compare`."""
    prices, (lines, headings) = _prices(frame), places(frame["method"])
    figure = Figure(figsize=(10, 1.6 + 0.27 * (len(lines) + len(headings))), layout="constrained")
    left, right = _axes(figure, list(lines), prices)
    groups = frame.groupby("method")
    for name, line in lines.items():
        for ax, column, scale, worst in (
            (left, "forget", 100, "max"),
            *((right, p, 1, "min") for p in prices),
        ):
            values = scale * groups[column].get_group(name)
            y = line + (0.2 if column == "same_class" else 0)
            ax.plot(
                [values.mean(), getattr(values, worst)()],
                [y, y],
                color=COLORS[column],
                lw=1.5,
                alpha=0.6,
            )
            ax.plot(values.mean(), y, MARKERS[column], color=COLORS[column], ms=6)
    figure.suptitle(title)
    return figure


def row(frame: pd.DataFrame, requests: Sequence[str], title: str) -> Figure:
    """Several requests side by side, what was to be forgotten right of 0 and what was lost left of it."""
    lines, headings = places(frame["method"])
    height = len(lines) + len(headings)
    figure = Figure(figsize=(11, 1.5 + 0.25 * height), layout="constrained")
    axes = figure.subplots(1, len(requests), sharey=True)
    for ax, request in zip(axes, requests, strict=True):
        rows = frame[frame["request"] == request].set_index("method").reindex(list(lines))
        for name in (*_prices(frame), "forget"):
            x = rows[name] * (100 if name == "forget" else 1)
            ax.plot(
                x,
                list(lines.values()),
                MARKERS[name],
                color=COLORS[name],
                alpha=0.8,
                label=LABELS[name],
            )
        ax.axvline(0, color="0.5", lw=1, zorder=0)
        ax.set(
            xlim=(-108, 108),
            ylim=(height - 0.4, -0.5),
            xticks=[-100, -50, 0, 50, 100],
            title=request,
        )
        ax.set_xlabel("change (points) | accuracy (%)", fontsize=8)
        ax.tick_params(axis="y", length=0)
    _name_lines(axes[0], list(lines))
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    figure.suptitle(title)
    sns.despine(figure, left=True)
    return figure


def comparison_panel(frame: pd.DataFrame, class_: str = "", domain: str = "") -> Panel:
    """Pick a request out of a frame of `baselines.compare`: a class in one domain, or in all of them."""
    prices, (lines, headings) = _prices(frame), places(frame["method"])
    figure = LiveFigure(
        figsize=(10, 1.4 + 0.27 * (len(lines) + len(headings))), dpi=88, layout="constrained"
    )
    left, right = _axes(figure, list(lines), prices)
    dots = {
        name: ax.plot([], [], MARKERS[name], color=COLORS[name])[0]
        for ax, names in ((left, ["forget"]), (right, prices))
        for name in names
    }
    figure.live(*dots.values())
    figure.settle()
    table = frame.set_index(["request", "method"])
    parts = [request.split(" in ") for request in dict.fromkeys(frame["request"])]
    classes, domains = (list(dict.fromkeys(names)) for names in zip(*parts, strict=True))

    def draw(**values: str) -> View:
        request = f"{values['class']} in {values['domain']}"
        rows = table.loc[request].reindex(list(lines))
        for name, dot in dots.items():
            shift = 0.2 if name == "same_class" else 0
            dot.set_data(
                rows[name] * (100 if name == "forget" else 1),
                [line + shift for line in lines.values()],
            )
        measured = rows[rows["forget"].notna()]
        return View(figure, measured["forget"].to_dict(), _says(request, measured))

    controls = {
        "class": choice("class", classes, class_ or None),
        "domain": choice("domain", domains, domain or None),
    }
    return Panel(draw, controls, "Every method's forgetting and its price, for one request")


def _says(request: str, rows: pd.DataFrame) -> str:
    """The best H and all who have it: of single requests many are equally good."""
    best = rows["H"].round(2).max()
    names = ", ".join(rows.index[rows["H"].round(2) == best])
    return f"Forget <b>{request}</b>: the best H is {best:.2f}, by {names}."


def scorecard(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Frames of `baselines.compare` by title in one table: mean (worst) of forgetting and price; beside it seconds."""
    every = pd.concat(frames.values())
    lines, headings = places(every["method"])
    height = len(lines) + len(headings)
    figure = Figure(figsize=(11, 1.7 + 0.29 * height), layout="constrained")
    *tables, clock = figure.subplots(
        1, len(frames) + 1, sharey=True, width_ratios=[*[2] * len(frames), 2.3]
    )
    for ax, (title, frame) in zip(tables, frames.items(), strict=True):
        _score(ax, frame, lines, height)
        ax.set_title(title, fontweight="bold")
    _name_lines(tables[0], list(lines), shift=0.5)
    _clock(clock, every, lines)
    figure.suptitle(
        "Mean over all requests, in brackets the worst one; the darker, the farther from what was asked"
    )
    return figure


def _score(ax: Axes, frame: pd.DataFrame, lines: Mapping[str, int], height: int) -> None:
    """What is left of what to forget, and the loss of the group most at risk, as two columns of grey."""
    price, groups = _prices(frame)[-1], frame.groupby("method")
    far, words = np.full((height, 2), np.nan), np.full((height, 2), "", dtype=object)
    for name, rows in groups:
        left, change = 100 * rows["forget"], rows[price]
        far[lines[name]] = left.mean(), -change.mean()
        pairs = (left.mean(), left.max()), (change.mean(), change.min())
        words[lines[name]] = [f"{round(mean)} ({round(worst)})" for mean, worst in pairs]
    columns = ["still named\n(%)", f"{price.replace('_', ' ')}\n(points)"]
    sns.heatmap(
        far, annot=words, fmt="", cmap="Greys", vmin=0, vmax=100, cbar=False, linewidths=1, ax=ax,
        xticklabels=columns, annot_kws={"size": 9},
    )  # fmt: skip
    for name in set(lines) - set(frame["method"]):
        ax.text(1, lines[name] + 0.5, "not run", ha="center", va="center", fontsize=8, color="0.5")
    ax.tick_params(axis="both", length=0, rotation=0, labelsize=9)


def _clock(ax: Axes, frame: pd.DataFrame, lines: Mapping[str, int]) -> None:
    """Seconds on a logarithmic scale: the median time to fit one request, and the synthesis that some need once."""
    groups = frame.groupby("method")
    seconds, once = groups["seconds"].median(), groups["synthesis"].max()
    for name, line in lines.items():
        ax.plot(seconds[name], line + 0.5, "o", color=INK)
        if BASELINES[name].sees == PICTURES:
            ax.plot(once[name], line + 0.5, "D", color=INK, mfc="none")
    ax.plot([], [], "o", color=INK, label="a request")
    ax.plot([], [], "D", color=INK, mfc="none", label="pictures, once")
    ax.set(xscale="log", xlim=(1e-4, 3e3), xlabel="time on this machine, logarithmic")
    ax.set_xticks([1e-3, 1e-1, 1e1, 1e3], ["1 ms", "0.1 s", "10 s", "1000 s"])
    ax.set_title("how long", fontweight="bold", pad=24)
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 0.99),
        ncols=2,
        frameon=False,
        handletextpad=0.1,
        fontsize=9,
    )
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax, left=True)


def good_enough(
    frames: Mapping[str, pd.DataFrame], left: float = 0.10, lost: float = 5.0, worst: bool = False
) -> pd.DataFrame:
    """Which methods forget and keep within limits, by what they see (rows) and by frame (columns).

    At most `left` of the accuracy is left, and at most `lost` points are lost of the same class
    elsewhere (or, where no such group was measured, of all that is retained): on the mean over all
    requests, or for the worst one.
    """
    of = " worst" if worst else ""
    answer = pd.DataFrame("none", index=pd.Index(SEES, name="sees"), columns=list(frames))
    for title, frame in frames.items():
        table, price = comparison_table(frame).droplevel("paradigm"), _prices(frame)[-1]
        good = table[(table[f"forget{of}"] <= left) & (table[f"{price}{of}"] >= -lost)]
        for sees, rows in good.groupby("sees"):
            answer.loc[sees, title] = ", ".join(order(rows.index))
    return answer
