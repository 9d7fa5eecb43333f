"""Choose the strength by a rule: accuracies and similarities along the strengths, the rules, and their live figure.

A forgotten image is of class c: *own* is its cosine with the text of c, *other* with the texts of the other classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from .analysis import Setting, check_measurable
from .concepts import ForgetRequest, all_requests
from .datasets import Features
from .evaluate import STRENGTHS, Task, classifier, edited_weights, group_masks, harmonic
from .plots import COLORS, LABELS
from .prototypes import Prototypes
from .unlearn import ProjectionEdit, fit_edit
from .widgets import LiveFigure, Panel, View, choice, slider

STEPS = tuple(i / 20 for i in range(21))
RULES = ("chance rule", "residual rule", "prototype rule")
EVERYWHERE = "all domains"
Measured = tuple[pd.DataFrame, Tensor, Tensor]
BINS = np.linspace(-1, 1, 41)


def measure_at(p: Prototypes, edit: ProjectionEdit, task: Task, strengths: Sequence[float]) -> Measured:
    """`image_curve`, and behind it the cosines of the images to forget: own (S, n), other (S, n, C - 1)."""
    images, groups = task.images, group_masks(edit.request.mask(p.grid), task.images)
    both, plain = [edited_weights(p, edit, s) for s in strengths], classifier(task.prompts, p.W_text)
    W = torch.stack([W for W, _ in both])
    text = torch.stack([plain if T is p.W_text else classifier(task.prompts, T) for _, T in both])
    S, C = text.shape[:2]
    scores = images.f @ (W @ text.mT).movedim(0, 1).flatten(1)  # (n, S * C): one product for all strengths
    right = scores.unflatten(1, (S, C)).argmax(-1).eq(images.class_of[:, None]).double()
    gone = images.class_of[groups["forget"]]
    cosine, mine = normalize(images.f[groups["forget"]] @ W, dim=-1) @ text.mT, one_hot(gone, C).bool()
    own, other = cosine[:, mine], cosine[:, ~mine].view(S, len(gone), C - 1)
    table = {name: right[g].mean(0) for name, g in groups.items() if g is not None}
    table |= {"own": own.mean(1), "other": other.mean((1, 2)), "farthest": (own < other.amin(-1)).double().mean(1)}
    curve = pd.DataFrame({k: v.numpy() for k, v in table.items()}, index=pd.Index(strengths, name="strength"))
    H = [harmonic(r, f) for r, f in zip(curve["retained"], curve["forget"], strict=True)]
    return curve.assign(H=H, chance=1 / C), own, other


def image_curve(p: Prototypes, edit: ProjectionEdit, task: Task, strengths: Sequence[float] = STEPS) -> pd.DataFrame:
    """By strength: accuracy of each group of images, H, and of the images to forget the mean own and other cosine.

    farthest is the share of them that are farther from their own class's text than from any other: about 1 / C where
    the model knows nothing, more where the edit marks the class for a stranger.
    """
    return measure_at(p, edit, task, strengths)[0]


def prototype_curve(p: Prototypes, edit: ProjectionEdit, strengths: Sequence[float] = STEPS) -> pd.DataFrame:
    """The same for the visual prototypes, taken as images, and the class prompts: no image of any data set."""
    C, K, m, _ = p.visual.shape
    cell = torch.arange(C * K).repeat_interleave(m)
    images = Features(p.visual.flatten(0, 2), cell // K, cell % K, ())
    return image_curve(p, edit, Task(p.grid, images, tuple(g[None] for g in p.class_features), ()), strengths)


# ---- rules: from a curve to a strength; NaN where no strength will do


def chance_rule(curve: pd.DataFrame) -> float:
    """The smallest strength at which forgotten images are named no better than by guessing."""
    return float(curve.index.where(curve["forget"] <= curve["chance"]).min())


def residual_rule(curve: pd.DataFrame) -> float:
    """The smallest strength at which the own text is no nearer than the others, on average; for either curve."""
    return float(curve.index.where(curve["own"] <= curve["other"]).min())


def budget_rule(curve: pd.DataFrame, points: float, group: str = "retained") -> float:
    """The largest strength up to which a group never loses more than `points` points of accuracy."""
    within = (100 * (curve[group].iloc[0] - curve[group]) <= points + 1e-4).cummin()
    return float(curve.index.where(within).max())


def choose(p: Prototypes, edit: ProjectionEdit, curve: pd.DataFrame) -> dict[str, float]:
    """The strength that each rule takes: the first two from an image curve, the last from prototypes alone."""
    found = (chance_rule(curve), residual_rule(curve), residual_rule(prototype_curve(p, edit)))
    return dict(zip(RULES, found, strict=True))


def half(task: Task, which: int) -> Task:
    """Every second image, from the first (0) or the second (1): one half to choose on, the other to measure on."""
    i, part = task.images, slice(which, None, 2)
    return replace(task, images=Features(i.f[part], i.class_of[part], i.domain_of[part], i.paths[part]))


def every_choice(p: Prototypes, task: Task, paradigm: str, measured: Task | None = None) -> pd.DataFrame:
    """Each rule on every request of a paradigm: the strength it takes on `task`, and `measured`'s curve there.

    A rule that no strength satisfies (reached is False) takes 1, as the rule "full" always does.
    """
    rows = []
    for request in all_requests(p.grid, paradigm):
        edit = fit_edit(p, request)
        curve = image_curve(p, edit, task)
        if curve["forget"].isna().any():
            continue  # a cell without images cannot be measured
        seen = curve if measured is None else image_curve(p, edit, measured)
        for rule, found in ({"full": 1.0} | choose(p, edit, curve)).items():
            at = 1.0 if np.isnan(found) else found
            row = {"request": str(request), "rule": rule, "strength": at, "reached": not np.isnan(found)}
            rows.append(row | seen.loc[at].to_dict())
    return pd.DataFrame(rows)


# ---- figures


def _shares(cosine: Tensor) -> np.ndarray:
    return 100 * np.histogram(cosine.numpy(), BINS)[0] / cosine.numel()


def _histogram(ax, own: Tensor, other: Tensor) -> list:
    """Shares of the pairs by cosine, with the two means as lines; the artists, to be moved later."""
    ax.set(xlim=(BINS[0], BINS[-1]), ylim=(0, 50), xticks=[-0.5, 0, 0.5], xlabel="cosine of image and text")
    ax.spines[["top", "right"]].set_visible(False)
    artists = []
    for cosine, label, color in ((other, "other classes' texts", "0.6"), (own, "own class's text", COLORS["forget"])):
        artists.append(ax.stairs(_shares(cosine), BINS, fill=True, alpha=0.6, color=color, label=label))
        artists.append(ax.axvline(cosine.mean(), color=color, lw=2))
    return artists


def similarity_row(setting: Setting, edit: ProjectionEdit, strengths: Sequence[float] = STRENGTHS) -> Figure:
    """Similarities of the images to forget at several strengths, side by side on one scale."""
    figure = Figure(figsize=(10.5, 2.9), layout="constrained")
    axes = figure.subplots(1, len(strengths), sharey=True)
    _, *found = measure_at(setting.prototypes, edit, setting.task, strengths)
    for ax, strength, own, other in zip(axes, strengths, *found, strict=True):
        _histogram(ax, own, other)
        ax.set_title(f"strength {strength:g}\nown {own.mean():.2f}, other {other.mean():.2f}", fontsize=9)
    axes[0].set_ylabel("share of pairs (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(f"Forget {edit.request}: similarities of the images to forget")
    return figure


class _Scene:
    """Accuracy against strength under the rules' choices; beside it the similarities where the marker stands."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.figure, self.shown = setting, LiveFigure(figsize=(10.6, 4.6), dpi=88), None
        boxes = ((0.12, 0.74, 0.37, 0.13), (0.12, 0.2, 0.37, 0.52), (0.58, 0.2, 0.41, 0.67))
        strip, ax, right = (self.figure.add_axes(box) for box in boxes)
        strip.set(xlim=(-0.02, 1.02), ylim=(2.6, -0.6), xticks=[], title="strength of each rule (open: none will do)")
        strip.set_yticks(range(3), RULES, fontsize=9)
        ax.set(xlim=(-0.02, 1.02), ylim=(-3, 103), xlabel="strength", ylabel="accuracy (%)")
        groups = ("retained", "same_class", "forget")
        self.lines = {n: ax.plot([], [], color=COLORS[n], lw=2, label=LABELS[n])[0] for n in groups}
        ax.axhline(100 / len(setting.task.prompts), color="0.5", lw=1, ls=":", label="chance")
        self.bars = _histogram(right, torch.zeros(1), torch.zeros(1))
        right.set(ylabel="share of pairs (%)", title="similarities of the images to forget")
        for at, y in ((ax, -0.2), (right, -0.155)):
            at.legend(loc="upper center", bbox_to_anchor=(0.5, y), frameon=False, fontsize=9, ncols=4)
        self.marks = [part.axvline(0, color="0.25", lw=1.2) for part in (strip, ax)]
        self.dots = strip.scatter([], [], s=60, edgecolor="0.15")
        self.title = self.figure.suptitle(" ", y=0.99)
        self.figure.live(*self.lines.values(), *self.bars, *self.marks, self.dots, self.title)

    def take(self, name: str, domain: str) -> None:
        """Fit, measure the curves and let the rules choose."""
        p, self.shown = self.setting.prototypes, None
        request = ForgetRequest(name, None if domain == EVERYWHERE else domain)
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
        curve, own, other = measure_at(self.setting.prototypes, self.edit, self.setting.task, [strength])
        for (bar, line), cosine in zip((self.bars[:2], self.bars[2:]), (other, own), strict=True):
            bar.set_data(_shares(cosine))
            line.set_xdata([cosine.mean()] * 2)
        for mark in self.marks:
            mark.set_xdata([strength] * 2)
        now = curve.iloc[0].to_dict()
        parts = ", ".join(f"{k.replace('_', ' ')} <b>{v:.2f}</b>" for k, v in now.items())
        return View(self.figure, now | self.chosen, f"<b>strength {strength:.2f}</b>: {parts}")


def operating_panel(setting: Setting, class_: str, domain: str = EVERYWHERE) -> Panel:
    """A live panel for one class, everywhere or in one domain; its numbers: a row of `image_curve`, and the rules'."""
    grid = setting.prototypes.grid
    controls = {
        "strength": slider("strength"),
        "class": choice("class", list(grid.classes), class_),
        "domain": choice("domain", [EVERYWHERE, *grid.domains], domain),
    }
    alt = "Accuracy against strength with the strengths that the rules take; similarities of the images to forget"
    return Panel(_Scene(setting).view, controls, alt)
