"""What each attack finds at several strengths, side by side or in a panel; for notebook 08."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets as w
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ..audit.checks import SHOTS
from ..audit.figure import found, separate
from ..audit.verdict import Audit
from ..core import InputError
from ..measure.plots import COLORS
from .widgets import LiveFigure, Panel, View

AFTER = COLORS["forget"]
RELEARNING = "relearning"  # the audit names it "relearning from 4", for 4 shots


def row(audits: Mapping[float, Audit], title: str) -> Figure:
    """What each attack finds, side by side by strength, for readers who cannot move the panel."""
    figure = Figure(figsize=(10.5, 3.3), layout="constrained")
    axes = figure.subplots(1, len(audits), sharey=True)
    for ax, (strength, audit) in zip(axes, audits.items(), strict=True):
        rows = found(audit.frame)
        ax.barh(rows.index, rows["after"], color=AFTER)
        ax.scatter(rows["chance"], rows.index, marker="|", s=90, color="0.2", zorder=3)
        separate(ax, rows.index, name=ax is axes[-1])
        ax.set(title=f"strength {strength:g}", xlim=(0, 1.05), xlabel="found")
    axes[0].invert_yaxis()
    figure.suptitle(title)
    sns.despine(figure)
    return figure


def attack_panel(audits: Mapping[float, Audit], title: str) -> Panel:
    """A panel over audits made beforehand, by strength, with each attack as a bar.

    How many shots an attacker relearns from is a choice. Raises InputError if no audit could
    relearn from any.
    """
    checks = found(next(iter(audits.values())).frame).index
    few = [k for k in SHOTS if f"relearning from {k}" in checks]
    if not few:
        raise InputError(
            f"no cell has more than {min(SHOTS)} image to relearn from: "
            "take more images of each cell."
        )
    bars = _Bars(_attacks(checks), title)

    def draw(strength: float, shots: int) -> View:
        audit = audits[strength]
        rows = found(audit.frame).rename({f"relearning from {shots}": RELEARNING})
        rows = rows.loc[bars.attacks]
        bars.show(rows)
        where = f"<b>strength {strength:g}, {shots} labelled images a cell.</b>"
        return View(bars.figure, rows["after"].to_dict(), f"{where} {audit.verdict}")

    controls = {
        "strength": _steps("strength", list(audits), max(audits)),
        "shots": _steps("shots", few, few[len(few) // 2]),
    }
    return Panel(draw, controls, f"{title}: what each attack finds")


def _attacks(checks: Sequence[str]) -> list[str]:
    """The attacks of an audit in order, relearning once whatever the number of shots."""
    names = [RELEARNING if name.startswith(RELEARNING) else name for name in checks]
    return list(dict.fromkeys(names))


class _Bars:
    """A bar for each attack with its number, and a tick at chance."""

    def __init__(self, attacks: Sequence[str], title: str) -> None:
        self.attacks = list(attacks)
        self.figure = LiveFigure(figsize=(9, 3.6), dpi=88, layout="constrained")
        ax = self.figure.subplots()
        lines = range(len(attacks))
        zeros = [0.0] * len(attacks)
        self.bars = ax.barh(self.attacks, zeros, color=AFTER)
        self.numbers = [ax.text(0, line, "", va="center", fontsize=9) for line in lines]
        self.ticks = ax.scatter(zeros, lines, marker="|", s=220, color="0.2", zorder=3)
        ax.invert_yaxis()
        separate(ax, self.attacks)
        ax.set(
            title=title,
            xlim=(0, 1.1),
            xlabel="found (accuracy, or precision of a search); the tick is chance",
        )
        sns.despine(self.figure)
        self.figure.live(*self.bars, *self.numbers, self.ticks)
        self.figure.settle()

    def show(self, rows: pd.DataFrame) -> None:
        """after and chance of each attack, in their order."""
        for bar, number, value in zip(self.bars, self.numbers, rows["after"], strict=True):
            bar.set_width(value)
            number.set_text(f" {value:.2f}")
            number.set_x(value)
        self.ticks.set_offsets(np.c_[rows["chance"], range(len(rows))])


def _steps(name: str, options: Sequence[float], value: float) -> w.SelectionSlider:
    """A slider over some values, which answers when it is released."""
    return w.SelectionSlider(
        options=options,
        value=value,
        description=name,
        continuous_update=False,
        style={"description_width": "initial"},
    )
