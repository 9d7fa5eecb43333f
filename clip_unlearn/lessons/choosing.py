"""The strength panel of the rules: accuracy and similarities where the marker stands, and what each rule would take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..core.concepts import ALL_DOMAINS, ForgetRequest
from ..core.edit import ProjectionEdit, fit_edit
from ..measure.evaluate import STRENGTHS
from ..measure.plots import COLORS, LABELS
from ..measure.setting import Setting, check_measurable
from ..measure.strength import RULES, STEPS, choose, image_curve, measure_at
from .widgets import LiveFigure, Panel, View, choice, slider

BINS = np.linspace(-1, 1, 41)


def _shares(cosine: Tensor) -> np.ndarray:
    return 100 * np.histogram(cosine.numpy(), BINS)[0] / cosine.numel()


def _histogram(ax, own: Tensor, other: Tensor) -> list:
    """Shares of the pairs by cosine, with the two means as lines; the artists, to be moved later."""
    ax.set(
        xlim=(BINS[0], BINS[-1]),
        ylim=(0, 100),
        xticks=[-0.5, 0, 0.5],
        xlabel="cosine of image and text",
    )
    ax.spines[["top", "right"]].set_visible(False)
    artists = []
    for cosine, label, color in (
        (other, "other classes' texts", "0.6"),
        (own, "own class's text", COLORS["forget"]),
    ):
        artists.append(
            ax.stairs(_shares(cosine), BINS, fill=True, alpha=0.6, color=color, label=label)
        )
        artists.append(ax.axvline(cosine.mean(), color=color, lw=2))
    return artists


def similarity_row(
    setting: Setting, edit: ProjectionEdit, strengths: Sequence[float] = STRENGTHS
) -> Figure:
    """Similarities of the images to forget at several strengths, side by side on one scale."""
    figure = Figure(figsize=(10.5, 2.9), layout="constrained")
    axes = figure.subplots(1, len(strengths), sharey=True)
    _, *found = measure_at(setting.prototypes, edit, setting.task, strengths)
    for ax, strength, own, other in zip(axes, strengths, *found, strict=True):
        _histogram(ax, own, other)
        ax.set_title(
            f"strength {strength:g}\nown {own.mean():.2f}, other {other.mean():.2f}", fontsize=9
        )
    axes[0].set_ylabel("share of pairs (%)")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    figure.suptitle(f"Forget {edit.request}: similarities of the images to forget")
    return figure


class _Scene:
    """Accuracy against strength under the rules' choices; beside it the similarities where the marker stands."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.figure, self.shown = (
            setting,
            LiveFigure(figsize=(10.6, 4.6), dpi=88),
            None,
        )
        boxes = ((0.12, 0.74, 0.37, 0.13), (0.12, 0.2, 0.37, 0.52), (0.58, 0.2, 0.41, 0.67))
        strip, ax, right = (self.figure.add_axes(box) for box in boxes)
        strip.set(
            xlim=(-0.02, 1.02),
            ylim=(2.6, -0.6),
            xticks=[],
            title="strength of each rule (open: none will do)",
        )
        strip.set_yticks(range(3), RULES, fontsize=9)
        ax.set(xlim=(-0.02, 1.02), ylim=(-3, 103), xlabel="strength", ylabel="accuracy (%)")
        groups = ("retained", "same_class", "forget")
        self.lines = {n: ax.plot([], [], color=COLORS[n], lw=2, label=LABELS[n])[0] for n in groups}
        ax.axhline(100 / len(setting.task.prompts), color="0.5", lw=1, ls=":", label="chance")
        self.bars = _histogram(right, torch.zeros(1), torch.zeros(1))
        right.set(ylabel="share of pairs (%)", title="similarities of the images to forget")
        for at, y in ((ax, -0.2), (right, -0.155)):
            at.legend(
                loc="upper center", bbox_to_anchor=(0.5, y), frameon=False, fontsize=9, ncols=4
            )
        self.marks = [part.axvline(0, color="0.25", lw=1.2) for part in (strip, ax)]
        self.dots = strip.scatter([], [], s=60, edgecolor="0.15")
        self.title = self.figure.suptitle(" ", y=0.99)
        self.figure.live(*self.lines.values(), *self.bars, *self.marks, self.dots, self.title)

    def take(self, name: str, domain: str) -> None:
        """Fit, measure the curves and let the rules choose."""
        p, self.shown = self.setting.prototypes, None
        request = ForgetRequest(name, None if domain == ALL_DOMAINS else domain)
        check_measurable(request, p.grid, self.setting.task.images)
        self.edit = fit_edit(p, request)
        curve = image_curve(p, self.edit, self.setting.task)
        self.chosen = choose(p, self.edit, curve)
        for group, line in self.lines.items():
            line.set_data(STEPS, 100 * curve.get(group, pd.Series(np.nan, STEPS)))
        found = np.array(list(self.chosen.values()))
        self.dots.set_offsets(np.c_[np.nan_to_num(found, nan=1.0), range(3)])
        self.dots.set_facecolor(["white" if x else "0.15" for x in np.isnan(found)])
        self.shown = (name, domain)
        self.title.set_text(f"Forget {self.edit.request}")

    def view(self, strength: float, domain: str, **choices: str) -> View:
        """The figure at a strength."""
        if self.shown != (choices["class"], domain):
            self.take(choices["class"], domain)
        curve, own, other = measure_at(
            self.setting.prototypes, self.edit, self.setting.task, [strength]
        )
        for (bar, line), cosine in zip((self.bars[:2], self.bars[2:]), (other, own), strict=True):
            bar.set_data(_shares(cosine))
            line.set_xdata([cosine.mean()] * 2)
        for mark in self.marks:
            mark.set_xdata([strength] * 2)
        now = curve.iloc[0].to_dict()
        parts = ", ".join(f"{k.replace('_', ' ')} <b>{v:.2f}</b>" for k, v in now.items())
        return View(self.figure, now | self.chosen, f"<b>strength {strength:.2f}</b>: {parts}")


def operating_panel(setting: Setting, class_: str, domain: str = ALL_DOMAINS) -> Panel:
    """A live panel for one class, everywhere or in one domain; its numbers: a row of `image_curve`, and the rules'."""
    grid = setting.prototypes.grid
    controls = {
        "strength": slider("strength"),
        "class": choice("class", list(grid.classes), class_),
        "domain": choice("domain", [ALL_DOMAINS, *grid.domains], domain),
    }
    alt = "Accuracy against strength with the strengths that the rules take; similarities of the images to forget"
    return Panel(_Scene(setting).view, controls, alt)
