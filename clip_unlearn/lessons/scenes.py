"""The strength panel of the course: accuracy of every cell, the curves, and images with what they are called now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from ..core import calibrated, variants
from ..core.concepts import ForgetRequest
from ..core.edit import DEFAULT_METHOD, METHODS, SETTINGS, ProjectionEdit, fit_edit
from ..core.errors import InputError
from ..measure.evaluate import accuracy_grid, edited_weights, group_masks, predict
from ..measure.plots import ACCURACY, COLORS, LABELS, WRONG
from ..measure.setting import Setting, check_measurable
from .widgets import LiveFigure, Panel, View, choice, slider

CURVE = tuple(i / 10 for i in range(11))


@dataclass(frozen=True)
class Measured:
    """An edit at one strength: predictions (n,), accuracy of each cell (C, K) and of each group of images."""

    predicted: Tensor
    cells: np.ndarray
    groups: dict[str, float]


def measure(setting: Setting, edit: ProjectionEdit, strength: float) -> Measured:
    """Predict every image of the setting with the edited projection."""
    task, mask = setting.task, edit.request.mask(setting.prototypes.grid)
    weights = edited_weights(setting.prototypes, edit, strength)
    predicted = predict(task, *weights)
    right = predicted.eq(task.images.class_of).float()
    masks = {
        name: g for name, g in group_masks(mask, task.images).items() if g is not None and g.any()
    }
    groups = {name: right[g].mean().item() for name, g in masks.items()}
    return Measured(predicted, accuracy_grid(task, predicted).to_numpy(), groups)


def pictures(setting: Setting, mask: Tensor, width: int = 4) -> list[tuple[str, list[int]]]:
    """Indices of images to show: some to forget, and those nearest to them that should stay."""
    images, masks = setting.task.images, group_masks(mask, setting.task.images)
    text, forgotten = setting.prototypes.class_text, mask.any(1)
    near = (text @ text[forgotten].T).amax(1).masked_fill(forgotten, -2).argsort(descending=True)
    alike = torch.isin(images.class_of, near[:2])
    rows = [("to forget", masks["forget"])]
    if masks["same_class"] is not None:
        rows.append(("same class, other domains: should stay", masks["same_class"]))
        rows.append(("look-alikes, same domain: should stay", masks["same_domain"] & alike))
    elif forgotten.all():
        rows.append(("other domains: should stay", masks["retained"]))
    else:
        rows.append(("look-alikes: should stay", masks["retained"] & alike))
    chosen = []
    for title, group in rows:
        index = group.nonzero().flatten()
        if not len(index):
            continue
        index = index[images.domain_of[index].argsort(stable=True)]
        chosen.append(
            (title, index[torch.linspace(0, len(index) - 1, width).round().long()].tolist())
        )
    return chosen


class ForgetScene:
    """Draws one request at any strength; classes, domains, method and hyper-parameters may change as well."""

    def __init__(self, setting: Setting, request: ForgetRequest, method: str | None = None) -> None:
        self.setting, self.request, self.method = (
            setting,
            request.on(setting.prototypes.grid),
            method,
        )
        self._stage: _Stage | None = None
        self._choices: dict[str, object] | None = None

    def fit(
        self, class_: str = "", domain: str = "", method: str = "", **settings: float
    ) -> ProjectionEdit:
        """The edit for these choices; an empty one keeps the scene's own."""
        request = ForgetRequest(
            (class_,) if class_ else self.request.classes, domain or self.request.domains
        )
        check_measurable(request, self.setting.prototypes.grid, self.setting.task.images)
        return fit_edit(self.setting.prototypes, request, method or self.method, **settings)

    def view(self, strength: float, **choices: object) -> View:
        """The picture at a strength; only other cells to forget draw everything anew."""
        if self._choices != choices:
            edit = self.fit(**{"class_" if k == "class" else k: v for k, v in choices.items()})
            if self._stage is None or self._stage.edit.request != edit.request:
                self._stage = _Stage(self.setting, edit)
            self._stage.take(edit)
            self._choices = dict(choices)
        now = measure(self.setting, self._stage.edit, strength)
        self._stage.show(strength, now)
        parts = [f"{LABELS[name]} <b>{value:.2f}</b>" for name, value in now.groups.items()]
        text = (
            f"<b>strength {strength:.2f}</b>: {', '.join(parts)} (chance {1 / len(now.cells):.2f})"
        )
        return View(self._stage.figure, now.groups | {"chance": 1 / len(now.cells)}, text)

    def row(
        self, strengths: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0), **choices: object
    ) -> Figure:
        """The accuracy of every cell at several strengths, side by side, for readers who cannot move the panel."""
        edit = self.fit(**{"class_" if k == "class" else k: v for k, v in choices.items()})
        grid, mask = self.setting.prototypes.grid, edit.request.mask(self.setting.prototypes.grid)
        figure = Figure(figsize=(10.5, 1.8 + 0.2 * max(len(grid.classes), 8)), layout="constrained")
        axes = figure.subplots(1, len(strengths), sharey=True)
        for ax, strength in zip(axes, strengths, strict=True):
            now = measure(self.setting, edit, strength)
            image = _heat(ax, 100 * now.cells, mask, grid)
            stay = now.groups.get("same_class", now.groups["retained"])
            ax.set_title(
                f"strength {strength:g}\nforget {now.groups['forget']:.2f}, stay {stay:.2f}",
                fontsize=9,
            )
        axes[0].set_ylabel("class")
        figure.supxlabel("domain", fontsize=10)
        figure.suptitle(f"Forget {edit.request}: accuracy of every cell", fontsize=12)
        figure.colorbar(image, ax=axes, label="accuracy (%)")
        return figure


def _heat(ax, cells: np.ndarray, mask: Tensor, grid):
    """Accuracy of each cell in percent as colour; the cells to forget are framed."""
    image = ax.imshow(cells, vmin=0, vmax=100, cmap=ACCURACY, aspect="auto")
    ax.set_xticks(range(len(grid.domains)), grid.domains, rotation=35, ha="right", fontsize=8)
    ax.set_yticks(range(len(grid.classes)), grid.classes, fontsize=8)
    ax.tick_params(length=0)
    for c, k in mask.nonzero().tolist():
        ax.add_patch(
            Rectangle((k - 0.5, c - 0.5), 1, 1, fill=False, edgecolor=COLORS["forget"], lw=2.2)
        )
    return image


class _Stage:
    """The figure of a scene: what stands still is drawn once, what follows the strength is kept at hand."""

    def __init__(self, setting: Setting, edit: ProjectionEdit) -> None:
        self.setting, self.edit, grid = setting, edit, setting.prototypes.grid
        mask = edit.request.mask(grid)
        self.figure = LiveFigure(figsize=(11.2, 4.6), dpi=88, layout="constrained")
        left, middle, right = self.figure.subfigures(1, 3, width_ratios=(1.05, 1.1, 1.3))
        self._grid(left, mask, grid)
        self._curves(middle, 1 / len(grid.classes))
        self._pictures(right, mask)
        self.figure.suptitle(f"Forget {edit.request}", fontsize=12)
        self.figure.settle()

    def _grid(self, part: Figure, mask: Tensor, grid) -> None:
        ax = part.subplots()
        C, K = mask.shape
        self.heat = _heat(ax, np.zeros((C, K)), mask, grid)
        ax.set_title("accuracy of each cell (%; blank is 100)", fontsize=10)
        ax.set(xlabel="domain", ylabel="class")
        style = {"ha": "center", "va": "center", "fontsize": 8}
        self.cells = [[ax.text(k, c, "", **style) for k in range(K)] for c in range(C)]
        self.figure.live(self.heat, *(t for line in self.cells for t in line), *ax.patches)

    def _curves(self, part: Figure, chance: float) -> None:
        ax = part.subplots()
        names = measure(self.setting, self.edit, 0.0).groups
        self.lines = {
            n: ax.plot(CURVE, [0] * len(CURVE), color=COLORS[n], lw=2, label=LABELS[n])[0]
            for n in names
        }
        ax.axhline(100 * chance, color="0.5", lw=1, ls=":")
        ax.annotate(
            "chance", (0, 100 * chance), (2, 2), textcoords="offset points", color="0.4", fontsize=8
        )
        ax.set(xlim=(-0.02, 1.02), ylim=(-3, 103), xlabel="strength", ylabel="accuracy (%)")
        ax.set_title("accuracy against strength", fontsize=10)
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False, fontsize=8, ncols=2
        )
        ax.spines[["top", "right"]].set_visible(False)
        self.marker = ax.axvline(0, color="0.25", lw=1.2)
        self.dots = ax.scatter(
            [0] * len(names), [0] * len(names), c=[COLORS[n] for n in names], s=42, zorder=5
        )
        self.figure.live(*self.lines.values(), self.marker, self.dots)

    def _pictures(self, part: Figure, mask: Tensor) -> None:
        images, self.labels = self.setting.task.images, []
        rows = pictures(self.setting, mask)
        height = 0.94 / len(rows)
        for r, (title, chosen) in enumerate(rows):
            top = 0.95 - r * height
            part.text(0.02, top, title, fontsize=9, va="top")
            for column, i in enumerate(chosen):
                side = min(height - 0.13, 0.23)
                ax = part.add_axes((0.02 + 0.245 * column, top - 0.045 - side, 0.235, side))
                ax.set_in_layout(False)
                with Image.open(images.paths[i]) as picture:
                    ax.imshow(picture.convert("RGB").resize((96, 96)))
                ax.axis("off")
                name = ax.text(
                    0.5,
                    -0.06,
                    "",
                    transform=ax.transAxes,
                    ha="center",
                    va="top",
                    fontsize=9,
                    weight="bold",
                )
                self.labels.append((i, name))
        self.figure.live(*(name for _, name in self.labels))

    def take(self, edit: ProjectionEdit) -> None:
        """Draw the curves of another edit of the same cells."""
        self.edit = edit
        at = [measure(self.setting, edit, s).groups for s in CURVE]
        for name, line in self.lines.items():
            line.set_ydata([100 * groups[name] for groups in at])

    def show(self, strength: float, now: Measured) -> None:
        """Move everything that follows the strength."""
        self.heat.set_data(100 * now.cells)
        for line, values in zip(self.cells, 100 * now.cells, strict=True):
            for text, value in zip(line, values, strict=True):
                text.set_text("" if np.isnan(value) or value > 99.5 else f"{value:.0f}")
                text.set_color("white" if value < 50 else "black")
        self.marker.set_xdata([strength, strength])
        self.dots.set_offsets([(strength, 100 * now.groups[n]) for n in self.lines])
        classes, truth = self.setting.prototypes.grid.classes, self.setting.task.images.class_of
        for i, name in self.labels:
            said = int(now.predicted[i])
            name.set_text(classes[said])
            name.set_color(COLORS["retained"] if said == truth[i] else WRONG)


def default_of(name: str, method: str, paradigm: str, otherwise: float) -> float:
    """The value that `fit_edit` gives a hyper-parameter of a method."""
    fit = getattr(calibrated, method, None) or getattr(variants, method.replace("-", "_"), None)
    own = {k: v.default for k, v in signature(fit).parameters.items()} if fit else {}
    return {**own, **SETTINGS.get(method, {}).get(paradigm, {})}.get(name, otherwise)


def strength_panel(
    setting: Setting,
    request: ForgetRequest,
    choose: Sequence[str] = (),
    method: str | None = None,
    **ranges: tuple[float, float],
) -> Panel:
    """A panel that forgets a request at the strength of a slider.

    `choose` adds drop-downs: "class", "domain", "method"; `ranges` adds sliders of the method's
    hyper-parameters, such as rho=(0, 1), which start at their defaults. The scene is `panel.scene`.
    """
    scene = ForgetScene(setting, request, method)
    grid, paradigm = setting.prototypes.grid, scene.request.paradigm
    fits = [m for m in METHODS if m != "redirect" or paradigm == "whole-domain"]
    lists = {
        "class": (list(grid.classes), scene.request.classes),
        "domain": (list(grid.domains), scene.request.domains),
        "method": (fits, (method or DEFAULT_METHOD[paradigm],)),
    }
    controls = {"strength": slider("strength")}
    for name in choose:
        if name not in lists or lists[name][1] is None:
            raise InputError(f'a {paradigm} panel has nothing to choose for "{name}".')
        controls[name] = choice(name, lists[name][0], lists[name][1][0])
    for name, (low, high) in ranges.items():
        controls[name] = slider(
            name, low, high, default_of(name, method or DEFAULT_METHOD[paradigm], paradigm, low)
        )
    panel = Panel(
        scene.view,
        controls,
        f"Forget {scene.request}: accuracy of each cell, curves and example images",
    )
    panel.scene = scene
    return panel
