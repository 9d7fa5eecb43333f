"""The strength panel: accuracy of every cell, the curves, and images with what they are called now.

It serves notebooks 03, 04, 05 and 06, which also use its parts: what an edit does at one strength
(`measure`), and which images to look at (`pictures`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL.Image import Image
from torch import Tensor

from ..core import InputError
from ..core.applied import ProjectionEdit
from ..core.concepts import ConceptGrid, ForgetRequest
from ..core.edit import DEFAULT_METHOD, METHODS, fit_edit
from ..measure.evaluate import (
    STRENGTHS,
    accuracy_grid,
    edited_weights,
    group_accuracy,
    group_masks,
    predict,
)
from ..measure.plots import ACCURACY, COLORS, LABELS, RIGHT, WRONG, spread, thumbnail
from ..measure.setting import Setting, check_measurable
from .widgets import LiveFigure, Panel, View, choice, slider

CURVE = tuple(i / 10 for i in range(11))  # the strengths at which the curves are measured


@dataclass(frozen=True)
class Measured:
    """What the images are called with an edit at one strength, and how often that is right."""

    predicted: Tensor  # (n,) class of each image
    cells: np.ndarray  # (C, K) accuracy of each cell; NaN without images
    groups: dict[str, float]  # accuracy of each group of images that there is


def measure(setting: Setting, edit: ProjectionEdit, strength: float) -> Measured:
    """Predict every image of the setting with the edited projection."""
    task = setting.task
    W, W_text = edited_weights(setting.prototypes, edit, strength)
    predicted = predict(task, W, W_text)

    right = predicted.eq(task.images.class_of).float()  # single precision, as in `evaluate`
    mask = edit.request.mask(setting.prototypes.grid)
    accuracy = group_accuracy(right, group_masks(mask, task.images))
    groups = {name: share.item() for name, share in accuracy.items() if not share.isnan()}
    return Measured(predicted, accuracy_grid(task, predicted).to_numpy(), groups)


def pictures(setting: Setting, mask: Tensor, width: int = 4) -> list[tuple[str, list[int]]]:
    """Images to show: some to forget, and those nearest to them that should stay.

    mask (C, K) bool. Returns rows of a title and `width` image indices, sorted by domain.
    """
    images = setting.task.images
    groups = group_masks(mask, images)
    forgotten = mask.any(1)  # (C,)
    look_alikes = _look_alikes(setting.prototypes.class_text, forgotten)
    near = torch.isin(images.class_of, look_alikes)  # (n,)

    rows = {"to forget": groups["forget"]}
    if groups["same_class"] is not None:
        rows["same class, other domains: should stay"] = groups["same_class"]
        rows["look-alikes, same domain: should stay"] = groups["same_domain"] & near
    elif forgotten.all():
        rows["other domains: should stay"] = groups["retained"]
    else:
        rows["look-alikes: should stay"] = groups["retained"] & near

    chosen = []
    for title, members in rows.items():
        index = members.nonzero().flatten()
        if len(index):
            by_domain = index[images.domain_of[index].argsort(stable=True)]
            chosen.append((title, spread(by_domain, width)))
    return chosen


def _look_alikes(class_text: Tensor, forgotten: Tensor) -> Tensor:
    """The two retained classes whose texts (C, d) are nearest to one of the forgotten (C,) bool."""
    cosine = (class_text @ class_text[forgotten].T).amax(1)  # (C,)
    cosine = cosine.masked_fill(forgotten, -2)  # below every cosine
    return cosine.argsort(descending=True)[:2]


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
    grid = setting.prototypes.grid
    paradigm = scene.request.paradigm
    method = method or DEFAULT_METHOD[paradigm]

    # What a drop-down offers, and where it starts; None if the request does not name any.
    options = {
        "class": grid.classes,
        "domain": grid.domains,
        "method": [name for name, m in METHODS.items() if paradigm in m.paradigms],
    }
    starts = {
        "class": scene.request.classes,
        "domain": scene.request.domains,
        "method": (method,),
    }
    controls = {"strength": slider("strength")}
    for name in choose:
        if starts.get(name) is None:
            raise InputError(f'a {paradigm} panel has nothing to choose for "{name}".')
        controls[name] = choice(name, list(options[name]), starts[name][0])
    for name, (low, high) in ranges.items():
        start = default_of(name, method, paradigm, low)
        controls[name] = slider(name, low, high, start)

    alt = f"Forget {scene.request}: accuracy of each cell, curves and example images"
    panel = Panel(scene.view, controls, alt)
    panel.scene = scene
    return panel


def default_of(name: str, method: str, paradigm: str, otherwise: float) -> float:
    """The value that `fit_edit` gives a hyper-parameter of a method."""
    settings = METHODS[method].settings.get(paradigm, {})
    if name in settings:
        return settings[name]
    own = signature(METHODS[method].fit).parameters
    return own[name].default if name in own else otherwise


class ForgetScene:
    """Draws a request at any strength; class, domain, method and hyper-parameters may change."""

    def __init__(self, setting: Setting, request: ForgetRequest, method: str | None = None) -> None:
        self.setting = setting
        self.request = request.on(setting.prototypes.grid)
        self.method = method
        self._stage: _Stage | None = None
        self._choices: dict[str, object] | None = None  # those that the stage shows

    def fit(
        self, class_: str = "", domain: str = "", method: str = "", **settings: float
    ) -> ProjectionEdit:
        """The edit for these choices; an empty one keeps the scene's own."""
        classes = (class_,) if class_ else self.request.classes
        request = ForgetRequest(classes, domain or self.request.domains)
        prototypes = self.setting.prototypes
        check_measurable(request, prototypes.grid, self.setting.task.images)
        return fit_edit(prototypes, request, method or self.method, **settings)

    def view(self, strength: float, **choices: object) -> View:
        """The picture at a strength. Only if other cells are to be forgotten, all is drawn anew."""
        if self._choices != choices:
            self._set_stage(self._fit(choices))
            self._choices = dict(choices)
        now = measure(self.setting, self._stage.edit, strength)
        self._stage.show(strength, now)

        chance = 1 / len(now.cells)
        groups = [f"{LABELS[name]} <b>{value:.2f}</b>" for name, value in now.groups.items()]
        text = f"<b>strength {strength:.2f}</b>: {', '.join(groups)} (chance {chance:.2f})"
        return View(self._stage.figure, now.groups | {"chance": chance}, text)

    def row(self, strengths: Sequence[float] = STRENGTHS, **choices: object) -> Figure:
        """Accuracy of every cell at several strengths, for readers who cannot move the panel."""
        edit = self._fit(choices)
        grid = self.setting.prototypes.grid
        mask = edit.request.mask(grid)
        height = 1.8 + 0.2 * max(len(grid.classes), 8)
        figure = Figure(figsize=(10.5, height), layout="constrained")
        axes = figure.subplots(1, len(strengths), sharey=True)
        for ax, strength in zip(axes, strengths, strict=True):
            now = measure(self.setting, edit, strength)
            image = _heat(ax, now.cells, mask, grid)
            forget = now.groups["forget"]
            stay = now.groups.get("same_class", now.groups["retained"])
            title = f"strength {strength:g}\nforget {forget:.2f}, stay {stay:.2f}"
            ax.set_title(title, fontsize=9)
        axes[0].set_ylabel("class")
        figure.supxlabel("domain", fontsize=10)
        figure.suptitle(f"Forget {edit.request}: accuracy of every cell", fontsize=12)
        figure.colorbar(image, ax=axes, label="accuracy (%)")
        return figure

    def _fit(self, choices: dict[str, object]) -> ProjectionEdit:
        """`fit`, for the values of a panel's controls: one of them is called "class"."""
        arguments = {"class_" if name == "class" else name: v for name, v in choices.items()}
        return self.fit(**arguments)

    def _set_stage(self, edit: ProjectionEdit) -> None:
        if self._stage is None or self._stage.edit.request != edit.request:
            self._stage = _Stage(self.setting, edit)
        self._stage.take(edit)


class _Stage:
    """The figure of one request: three parts, each of which moves what follows the strength."""

    def __init__(self, setting: Setting, edit: ProjectionEdit) -> None:
        self.setting = setting
        self.edit = edit
        grid = setting.prototypes.grid
        mask = edit.request.mask(grid)
        groups = measure(setting, edit, 0.0).groups

        self.figure = LiveFigure(figsize=(11.2, 4.6), dpi=88, layout="constrained")
        left, middle, right = self.figure.subfigures(1, 3, width_ratios=(1.05, 1.1, 1.3))
        self.cells = _Cells(left, mask, grid)
        self.curves = _Curves(middle, list(groups), 1 / len(grid.classes))
        self.pictures = _Pictures(right, setting, pictures(setting, mask))
        for part in (self.cells, self.curves, self.pictures):
            self.figure.live(*part.artists)
        self.figure.suptitle(f"Forget {edit.request}", fontsize=12)
        self.figure.settle()

    def take(self, edit: ProjectionEdit) -> None:
        """Draw the curves of another edit of the same cells."""
        self.edit = edit
        measured = [measure(self.setting, edit, strength) for strength in CURVE]
        self.curves.draw(measured)

    def show(self, strength: float, now: Measured) -> None:
        """Move everything that follows the strength."""
        self.cells.show(now)
        self.curves.show(strength, now)
        self.pictures.show(now)


class _Cells:
    """The accuracy of every cell, as a colour and, unless it is 100 %, as a number."""

    def __init__(self, part: SubFigure, mask: Tensor, grid: ConceptGrid) -> None:
        ax = part.subplots()
        self.image = _heat(ax, np.zeros(grid.shape), mask, grid)
        ax.set_title("accuracy of each cell (%; blank is 100)", fontsize=10)
        ax.set(xlabel="domain", ylabel="class")
        self.numbers = [
            ax.text(k, c, "", ha="center", va="center", fontsize=8)
            for c, k in np.ndindex(*grid.shape)
        ]
        self.artists = [self.image, *self.numbers, *ax.patches]

    def show(self, now: Measured) -> None:
        percent = 100 * now.cells
        self.image.set_data(percent)
        for number, value in zip(self.numbers, percent.flat, strict=True):
            blank = np.isnan(value) or value > 99.5
            number.set_text("" if blank else f"{value:.0f}")
            number.set_color("white" if value < 50 else "black")


def _heat(ax: Axes, cells: np.ndarray, mask: Tensor, grid: ConceptGrid) -> AxesImage:
    """Accuracy of each cell (C, K) as a colour; the cells to forget are framed."""
    image = ax.imshow(100 * cells, vmin=0, vmax=100, cmap=ACCURACY, aspect="auto")
    ax.set_xticks(range(len(grid.domains)), grid.domains, rotation=35, ha="right", fontsize=8)
    ax.set_yticks(range(len(grid.classes)), grid.classes, fontsize=8)
    ax.tick_params(length=0)
    for c, k in mask.nonzero().tolist():
        corner = (k - 0.5, c - 0.5)
        frame = Rectangle(corner, 1, 1, fill=False, edgecolor=COLORS["forget"], lw=2.2)
        ax.add_patch(frame)
    return image


class _Curves:
    """Accuracy of each group against the strength; dots mark where the slider is."""

    def __init__(self, part: SubFigure, groups: Sequence[str], chance: float) -> None:
        ax = part.subplots()
        self.lines = {}
        for name in groups:
            look = {"color": COLORS[name], "lw": 2, "label": LABELS[name]}
            (self.lines[name],) = ax.plot(CURVE, [0] * len(CURVE), **look)
        self._label(ax, 100 * chance)

        colors = [COLORS[name] for name in groups]
        at_zero = [0] * len(groups)
        self.marker = ax.axvline(0, color="0.25", lw=1.2)
        self.dots = ax.scatter(at_zero, at_zero, c=colors, s=42, zorder=5)
        self.artists = [*self.lines.values(), self.marker, self.dots]

    def _label(self, ax: Axes, chance: float) -> None:
        """Everything but the data: chance (%), the scales and the legend."""
        ax.axhline(chance, color="0.5", lw=1, ls=":")
        ax.annotate(
            "chance",
            xy=(0, chance),
            xytext=(2, 2),
            textcoords="offset points",
            color="0.4",
            fontsize=8,
        )
        ax.set_title("accuracy against strength", fontsize=10)
        ax.set(
            xlim=(-0.02, 1.02),
            ylim=(-3, 103),
            xlabel="strength",
            ylabel="accuracy (%)",
        )
        ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            frameon=False,
            fontsize=8,
            ncols=2,
        )
        ax.spines[["top", "right"]].set_visible(False)

    def draw(self, measured: Sequence[Measured]) -> None:
        """Draw the curves through what was measured at each strength of `CURVE`."""
        for name, line in self.lines.items():
            line.set_ydata([100 * at.groups[name] for at in measured])

    def show(self, strength: float, now: Measured) -> None:
        self.marker.set_xdata([strength, strength])
        self.dots.set_offsets([(strength, 100 * now.groups[name]) for name in self.lines])


class _Pictures:
    """Rows of example images, each with what it is called: right in blue, wrong in red."""

    def __init__(
        self, part: SubFigure, setting: Setting, rows: Sequence[tuple[str, Sequence[int]]]
    ) -> None:
        self.classes = setting.prototypes.grid.classes
        self.truth = setting.task.images.class_of
        self.labels = []  # (image index, text beneath it)
        height = 0.94 / len(rows)  # of a row, as a share of the figure
        side = min(height - 0.13, 0.23)  # of a picture
        for r, (title, chosen) in enumerate(rows):
            top = 0.95 - r * height
            part.text(0.02, top, title, fontsize=9, va="top")
            for column, i in enumerate(chosen):
                place = (0.02 + 0.245 * column, top - 0.045 - side, 0.235, side)
                picture = thumbnail(setting.task.images.paths[i], 96)
                self.labels.append((i, self._put(part, place, picture)))
        self.artists = [label for _, label in self.labels]

    def _put(self, part: SubFigure, place: tuple[float, ...], picture: Image) -> Text:
        """A picture at (left, bottom, width, height), and the text beneath it, still empty."""
        ax = part.add_axes(place)
        ax.set_in_layout(False)
        ax.imshow(picture)
        ax.axis("off")
        return ax.text(
            0.5,
            -0.06,
            "",
            transform=ax.transAxes,
            ha="center",
            va="top",
            fontsize=9,
            weight="bold",
        )

    def show(self, now: Measured) -> None:
        for i, label in self.labels:
            answer = int(now.predicted[i])
            label.set_text(self.classes[answer])
            label.set_color(RIGHT if answer == self.truth[i] else WRONG)
