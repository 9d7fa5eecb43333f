"""Pictures of a comparison: every method's forgetting beside its price, for one request or over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..baselines import BASELINES, SEES
from ..plots import COLORS, LABELS
from ..widgets import LiveFigure, Panel, View, choice

PRICE = ("retained", "same_class")
SEES_COLORS = dict(zip(SEES, ("0.6", sns.color_palette("colorblind")[4], "#7b4b12", "black"), strict=True))


def order(methods: Sequence[str]) -> list[str]:
    """Methods as the registry lists them: who sees least first."""
    return [name for name in BASELINES if name in set(methods)]


def _prices(frame: pd.DataFrame) -> list[str]:
    """The groups that should stay and that this frame has: "same_class" is measured for single cells alone."""
    return [name for name in PRICE if name in frame and frame[name].notna().any()]


def _axes(figure: Figure, methods: Sequence[str], prices: Sequence[str]) -> tuple[Axes, Axes]:
    """Two empty charts on one list of methods: accuracy on what to forget, and change of what should stay."""
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_yticks(range(len(methods)), methods)
    for tick, name in zip(left.get_yticklabels(), methods, strict=True):
        tick.set_color(SEES_COLORS[BASELINES[name].sees])
    left.invert_yaxis()
    left.set(xlim=(-3, 103), xlabel="accuracy (%)", title="to forget: lower is better")
    right.set(xlim=(-103, 8), xlabel="change (points)", title="should stay: 0 is best")
    right.axvline(0, color="0.5", lw=1)
    for y in range(len(methods)):
        left.axhline(y, color="0.93", lw=0.8, zorder=0)
        right.axhline(y, color="0.93", lw=0.8, zorder=0)
    for name in ("forget", *prices):
        right.plot([], [], "o", color=COLORS[name], label=LABELS[name])
    for sees in dict.fromkeys(BASELINES[name].sees for name in methods):
        right.plot([], [], "s", color=SEES_COLORS[sees], label=f"sees {sees}")
    right.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    sns.despine(figure, left=True)
    left.tick_params(axis="y", length=0)
    right.tick_params(axis="y", length=0)
    return left, right


def overview(frame: pd.DataFrame, title: str) -> Figure:
    """Mean (dot) and worst request (end of the line) of every method in a frame of `baselines.compare`."""
    methods, prices = order(frame["method"]), _prices(frame)
    figure = Figure(figsize=(10.5, 1.3 + 0.3 * len(methods)), layout="constrained")
    left, right = _axes(figure, methods, prices)
    groups = frame.groupby("method")
    for y, name in enumerate(methods):
        for ax, column, scale, worst in ((left, "forget", 100, "max"), *((right, p, 1, "min") for p in prices)):
            values = scale * groups[column].get_group(name)
            place = y + (0.18 if column == "same_class" else 0)
            ax.plot([values.mean(), getattr(values, worst)()], [place, place], color=COLORS[column], lw=1.5, alpha=0.6)
            ax.plot(values.mean(), place, "o", color=COLORS[column], ms=6)
    figure.suptitle(title)
    return figure


def comparison_panel(frame: pd.DataFrame, class_: str = "", domain: str = "") -> Panel:
    """Pick a request out of a frame of `baselines.compare`: a class in one domain, or in all of them."""
    methods = order(frame["method"])
    figure = LiveFigure(figsize=(10.5, 1.2 + 0.3 * len(methods)), dpi=88, layout="constrained")
    prices = _prices(frame)
    left, right = _axes(figure, methods, prices)
    dots = {"forget": left.plot([], [], "o", color=COLORS["forget"])[0]}
    dots |= {name: right.plot([], [], "o", color=COLORS[name])[0] for name in prices}
    figure.live(*dots.values())
    figure.settle()
    table = frame.set_index(["request", "method"])
    parts = [request.split(" in ") for request in dict.fromkeys(frame["request"])]
    classes, domains = (list(dict.fromkeys(names)) for names in zip(*parts, strict=True))

    def draw(**values: str) -> View:
        request = f"{values['class']} in {values['domain']}"
        rows = table.loc[request].reindex(methods)
        for name, dot in dots.items():
            dot.set_data(rows[name] * (100 if name == "forget" else 1), range(len(methods)))
        best = rows["H"].idxmax()
        text = f"Forget <b>{request}</b>: the best H here is {rows['H'].max():.2f}, by {best}."
        return View(figure, {name: rows.loc[name, "forget"] for name in methods if rows["forget"].notna()[name]}, text)

    controls = {"class": choice("class", classes, class_ or None), "domain": choice("domain", domains, domain or None)}
    return Panel(draw, controls, "Every method's forgetting and its price, for one request")
