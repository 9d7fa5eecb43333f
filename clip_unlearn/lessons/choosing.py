"""What each rule for the strength would take, for notebooks 07 and 10.

Beside it, accuracy against strength, and the similarities of images and texts at one strength.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from torch import Tensor

from ..core.applied import ProjectionEdit
from ..core.concepts import ALL_DOMAINS, ForgetRequest
from ..core.edit import fit_edit
from ..measure.evaluate import STRENGTHS
from ..measure.plots import COLORS, LABELS, legend_below
from ..measure.setting import Setting, check_measurable
from ..measure.strength import RULES, STEPS, choose, image_curve, measure_at
from .widgets import LiveFigure, Panel, View, choice, slider

BINS = np.linspace(-1, 1, 41)


def similarity_row(
    setting: Setting, edit: ProjectionEdit, strengths: Sequence[float] = STRENGTHS
) -> Figure:
    """Similarities of the images to forget at several strengths, side by side on one scale."""
    figure = Figure(figsize=(10.5, 2.9), layout="constrained")
    axes = figure.subplots(1, len(strengths), sharey=True)
    _, every_own, every_other = measure_at(setting.prototypes, edit, setting.task, strengths)
    for ax, strength, own, other in zip(axes, strengths, every_own, every_other, strict=True):
        _Histogram(ax).show(own, other)
        means = f"own {own.mean():.2f}, other {other.mean():.2f}"
        ax.set_title(f"strength {strength:g}\n{means}", fontsize=9)
    axes[0].set_ylabel("share of pairs (%)")
    legend_below(figure, axes[0], columns=2)
    figure.suptitle(f"Forget {edit.request}: similarities of the images to forget")
    return figure


def operating_panel(setting: Setting, class_: str, domain: str = ALL_DOMAINS) -> Panel:
    """A live panel for one class, everywhere or in one domain.

    Its numbers are a row of `image_curve`, and the strength that each rule takes.
    """
    grid = setting.prototypes.grid
    controls = {
        "strength": slider("strength"),
        "class": choice("class", list(grid.classes), class_),
        "domain": choice("domain", [ALL_DOMAINS, *grid.domains], domain),
    }
    alt = (
        "Accuracy against strength with the strengths that the rules take; "
        "similarities of the images to forget"
    )
    return Panel(_Scene(setting).view, controls, alt)


class _Histogram:
    """Cosines of images with their own class's text, and with the other classes' texts."""

    def __init__(self, ax: Axes) -> None:
        self.other = self._empty(ax, "other classes' texts", "0.6")
        self.own = self._empty(ax, "own class's text", COLORS["forget"])
        ax.set(
            xlim=(BINS[0], BINS[-1]),
            ylim=(0, 100),
            xticks=[-0.5, 0, 0.5],
            xlabel="cosine of image and text",
        )
        ax.spines[["top", "right"]].set_visible(False)
        self.artists = [*self.other, *self.own]

    def _empty(self, ax: Axes, label: str, color: str | tuple) -> tuple[StepPatch, Line2D]:
        """The shares of the pairs by cosine, and a line at their mean."""
        bars = ax.stairs(
            np.zeros(len(BINS) - 1),
            BINS,
            fill=True,
            alpha=0.6,
            color=color,
            label=label,
        )
        mean = ax.axvline(0, color=color, lw=2)
        return bars, mean

    def show(self, own: Tensor, other: Tensor) -> None:
        """Show cosines, of any shape."""
        self._fill(*self.own, own)
        self._fill(*self.other, other)

    def _fill(self, bars: StepPatch, mean: Line2D, cosine: Tensor) -> None:
        count, _ = np.histogram(cosine.numpy(), BINS)
        bars.set_data(100 * count / cosine.numel())
        centre = cosine.mean()
        mean.set_xdata([centre, centre])


class _Scene:
    """Accuracy against strength under the rules' choices; beside it the similarities at one."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.shown: tuple[str, str] | None = None  # the class and the domain that are drawn
        self.figure = LiveFigure(figsize=(10.6, 4.6), dpi=88)
        strip = self.figure.add_axes((0.12, 0.74, 0.37, 0.13))
        below = self.figure.add_axes((0.12, 0.2, 0.37, 0.52))
        right = self.figure.add_axes((0.58, 0.2, 0.41, 0.67))
        self._draw_rules(strip)
        self._draw_curves(below)
        self._draw_similarities(right)
        self.marks = [ax.axvline(0, color="0.25", lw=1.2) for ax in (strip, below)]
        self.title = self.figure.suptitle(" ", y=0.99)
        self.figure.live(
            *self.lines.values(),
            *self.histogram.artists,
            *self.marks,
            self.dots,
            self.title,
        )

    def _draw_rules(self, ax: Axes) -> None:
        """A line for each rule, with a dot at the strength that it takes."""
        ax.set(
            title="strength of each rule (open: none will do)",
            xlim=(-0.02, 1.02),
            ylim=(2.6, -0.6),
            xticks=[],
        )
        ax.set_yticks(range(len(RULES)), RULES, fontsize=9)
        self.dots = ax.scatter([], [], s=60, edgecolor="0.15")

    def _draw_curves(self, ax: Axes) -> None:
        ax.set(
            xlim=(-0.02, 1.02),
            ylim=(-3, 103),
            xlabel="strength",
            ylabel="accuracy (%)",
        )
        self.lines = {}
        for group in ("retained", "same_class", "forget"):
            (line,) = ax.plot([], [], color=COLORS[group], lw=2, label=LABELS[group])
            self.lines[group] = line
        chance = 100 / len(self.setting.task.prompts)
        ax.axhline(chance, color="0.5", lw=1, ls=":", label="chance")
        _legend_under(ax, -0.2)

    def _draw_similarities(self, ax: Axes) -> None:
        self.histogram = _Histogram(ax)
        ax.set_title("similarities of the images to forget")
        ax.set_ylabel("share of pairs (%)")
        _legend_under(ax, -0.155)

    def take(self, name: str, domain: str) -> None:
        """Fit the edit of a class in a domain, measure its curves and let the rules choose."""
        self.shown = None  # also if what follows fails
        p = self.setting.prototypes
        request = ForgetRequest(name, None if domain == ALL_DOMAINS else domain)
        check_measurable(request, p.grid, self.setting.task.images)
        self.edit = fit_edit(p, request)
        curve = image_curve(p, self.edit, self.setting.task)
        self.chosen = choose(p, self.edit, curve)

        unmeasured = pd.Series(np.nan, STEPS)
        for group, line in self.lines.items():
            line.set_data(STEPS, 100 * curve.get(group, unmeasured))
        strengths = np.array(list(self.chosen.values()))
        none = np.isnan(strengths)
        across = np.where(none, 1.0, strengths)
        self.dots.set_offsets(np.c_[across, range(len(RULES))])
        self.dots.set_facecolor(np.where(none, "white", "0.15"))
        self.title.set_text(f"Forget {self.edit.request}")
        self.shown = (name, domain)

    def view(self, strength: float, domain: str, **choices: str) -> View:
        """The figure at a strength."""
        wanted = (choices["class"], domain)
        if self.shown != wanted:
            self.take(*wanted)
        curve, own, other = measure_at(
            self.setting.prototypes, self.edit, self.setting.task, [strength]
        )
        self.histogram.show(own, other)
        for mark in self.marks:
            mark.set_xdata([strength, strength])

        now = curve.iloc[0].to_dict()
        parts = [f"{name.replace('_', ' ')} <b>{value:.2f}</b>" for name, value in now.items()]
        text = f"<b>strength {strength:.2f}</b>: {', '.join(parts)}"
        return View(self.figure, now | self.chosen, text)


def _legend_under(ax: Axes, y: float) -> None:
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, y),
        frameon=False,
        fontsize=9,
        ncols=4,
    )
