"""Audits at several strengths: what each attack finds, side by side, and a panel over strengths and shots."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as w
import seaborn as sns
from matplotlib.figure import Figure

from ..audit.checks import SHOTS
from ..audit.figure import found, separate
from ..audit.verdict import Audit
from ..core.errors import InputError
from ..measure.plots import COLORS
from .widgets import LiveFigure, Panel, View

AFTER = COLORS["forget"]


def row(audits: Mapping[float, Audit], title: str) -> Figure:
    """What each attack finds, at several strengths side by side: for readers who cannot move the panel."""
    figure = Figure(figsize=(10.5, 3.3), layout="constrained")
    axes = figure.subplots(1, len(audits), sharey=True)
    for ax, (strength, audit) in zip(axes, audits.items(), strict=True):
        rows = found(audit.frame)
        ax.barh(rows.index, rows["after"], color=AFTER)
        ax.scatter(rows["chance"], rows.index, marker="|", s=90, color="0.2", zorder=3)
        separate(ax, rows.index, name=ax is axes[-1])
        ax.set(xlim=(0, 1.05), title=f"strength {strength:g}", xlabel="found")
    axes[0].invert_yaxis()
    figure.suptitle(title)
    sns.despine(figure)
    return figure


def attack_panel(audits: Mapping[float, Audit], title: str) -> Panel:
    """A panel over audits made beforehand, by strength: each attack as a bar; the shots of relearning are a choice."""
    every = found(next(iter(audits.values())).frame).index
    shots_measured = [k for k in SHOTS if f"relearning from {k}" in every]
    if not shots_measured:
        raise InputError(
            f"no cell has more than {min(SHOTS)} image to relearn from: take more images of each cell."
        )
    names = list(dict.fromkeys("relearning" if n.startswith("relearning") else n for n in every))
    figure = LiveFigure(figsize=(9, 3.6), dpi=88, layout="constrained")
    ax = figure.subplots()
    bars = ax.barh(names, [0.0] * len(names), color=AFTER)
    numbers = [ax.text(0, i, "", va="center", fontsize=9) for i in range(len(names))]
    ticks = ax.scatter(
        [0.0] * len(bars), range(len(bars)), marker="|", s=220, color="0.2", zorder=3
    )
    ax.invert_yaxis()
    separate(ax, names)
    ax.set(
        xlim=(0, 1.1),
        xlabel="found (accuracy, or precision of a search); the tick is chance",
        title=title,
    )
    sns.despine(figure)
    figure.live(*bars, *numbers, ticks)
    figure.settle()

    def draw(strength: float, shots: int) -> View:
        rows = found(audits[strength].frame)
        rows = rows.rename({f"relearning from {shots}": "relearning"}).loc[names]
        for bar, number, value in zip(bars, numbers, rows["after"], strict=True):
            bar.set_width(value)
            number.set_text(f" {value:.2f}")
            number.set_x(value)
        ticks.set_offsets([(c, i) for i, c in enumerate(rows["chance"])])
        says = f"<b>strength {strength:g}, {shots} labelled images a cell.</b> {audits[strength].verdict}"
        return View(figure, rows["after"].to_dict(), says)

    style = {"description_width": "initial"}
    strength = w.SelectionSlider(
        options=list(audits), value=max(audits), description="strength", style=style
    )
    strength.continuous_update = False
    few = shots_measured[len(shots_measured) // 2]
    shots = w.SelectionSlider(options=shots_measured, value=few, description="shots", style=style)
    shots.continuous_update = False
    return Panel(draw, {"strength": strength, "shots": shots}, f"{title}: what each attack finds")
