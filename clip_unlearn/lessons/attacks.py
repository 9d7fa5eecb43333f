"""Pictures of an audit: what each attack finds before and after an edit, and a panel over strengths and shots."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as w
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ..audit import SHOTS, Audit
from ..errors import InputError
from ..plots import COLORS
from ..widgets import LiveFigure, Panel, View

AFTER = COLORS["forget"]


def found(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of an audit that look for what was forgotten, one a check: before, after, chance."""
    rows = frame[frame["where"].isin(("forget", "forgotten domains", "all images")) & (frame["check"] != "similarity")]
    rows = rows[~rows["reading"].isin(("for comparison", "not measured"))]
    return rows.drop_duplicates("check").set_index("check")[["before", "after", "chance"]]


def dumbbells(frame: pd.DataFrame, title: str) -> Figure:
    """Every attack of an audit: what it found before (hollow), what it finds after (filled), and chance (tick)."""
    rows = found(frame)
    figure = Figure(figsize=(8.5, 1.2 + 0.32 * len(rows)), layout="constrained")
    ax = figure.subplots()
    places = range(len(rows))
    ax.hlines(places, rows["before"], rows["after"], color="0.8", lw=3, zorder=1)
    ax.scatter(rows["before"], places, s=70, facecolor="white", edgecolor="0.3", lw=1.5, label="before", zorder=2)
    ax.scatter(rows["after"], places, s=70, color=AFTER, label="after", zorder=3)
    ax.scatter(rows["chance"], places, marker="|", s=130, color="0.3", label="chance", zorder=2)
    ax.set_yticks(places, rows.index)
    ax.invert_yaxis()
    ax.set(xlim=(-0.03, 1.03), xlabel="found (accuracy, or precision of a search)", title=title)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    sns.despine(figure, left=True)
    return figure


def row(audits: Mapping[float, Audit], title: str) -> Figure:
    """What each attack finds, at several strengths side by side: for readers who cannot move the panel."""
    figure = Figure(figsize=(10.5, 3.3), layout="constrained")
    axes = figure.subplots(1, len(audits), sharey=True)
    for ax, (strength, audit) in zip(axes, audits.items(), strict=True):
        rows = found(audit.frame)
        ax.barh(rows.index, rows["after"], color=AFTER)
        ax.scatter(rows["chance"], rows.index, marker="|", s=90, color="0.2", zorder=3)
        ax.set(xlim=(0, 1.05), title=f"strength {strength:g}", xlabel="found")
    axes[0].invert_yaxis()
    figure.suptitle(title)
    sns.despine(figure)
    return figure


def attack_panel(audits: Mapping[float, Audit], title: str) -> Panel:
    """A panel over audits made beforehand, by strength: each attack as a bar; the shots of relearning are a choice."""
    every = found(next(iter(audits.values())).frame).index
    names = [n for n in every if not n.startswith("relearning")]
    shots_measured = [k for k in SHOTS if f"relearning from {k}" in every]
    if not shots_measured:
        raise InputError(f"no cell has more than {min(SHOTS)} image to relearn from: take more images of each cell.")
    figure = LiveFigure(figsize=(9, 3.6), dpi=88, layout="constrained")
    ax = figure.subplots()
    bars = ax.barh([*names, "relearning"], [0.0] * (len(names) + 1), color=AFTER)
    numbers = [ax.text(0, i, "", va="center", fontsize=9) for i in range(len(names) + 1)]
    ticks = ax.scatter([0.0] * len(bars), range(len(bars)), marker="|", s=220, color="0.2", zorder=3)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.1), xlabel="found (accuracy, or precision of a search); the tick is chance", title=title)
    sns.despine(figure)
    figure.live(*bars, *numbers, ticks)
    figure.settle()

    def draw(strength: float, shots: int) -> View:
        rows = found(audits[strength].frame)
        rows = pd.concat([rows.loc[names], rows.loc[[f"relearning from {shots}"]]])
        for bar, number, value in zip(bars, numbers, rows["after"], strict=True):
            bar.set_width(value)
            number.set_text(f" {value:.2f}")
            number.set_x(value)
        ticks.set_offsets([(c, i) for i, c in enumerate(rows["chance"])])
        says = f"<b>strength {strength:g}, {shots} labelled images a cell.</b> {audits[strength].verdict}"
        return View(figure, dict(zip([*names, "relearning"], rows["after"], strict=True)), says)

    style = {"description_width": "initial"}
    strength = w.SelectionSlider(options=list(audits), value=max(audits), description="strength", style=style)
    strength.continuous_update = False
    few = shots_measured[len(shots_measured) // 2]
    shots = w.SelectionSlider(options=shots_measured, value=few, description="shots", style=style)
    shots.continuous_update = False
    return Panel(draw, {"strength": strength, "shots": shots}, f"{title}: what each attack finds")
