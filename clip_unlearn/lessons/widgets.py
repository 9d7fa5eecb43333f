"""Live panels for JupyterLab: controls, one picture, one line of numbers.

Notebook 00 builds one by hand; every other panel of the course stands on this module. There is no
Output widget and no interact: with them an error in a callback is printed and the notebook stays
green. Here it fails the cell that moved the control.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import ipywidgets as w
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ..core import InputError


@dataclass(frozen=True)
class View:
    """What a panel shows for one position of its controls."""

    figure: Figure
    numbers: Mapping[str, float] = field(default_factory=dict)
    text: str = ""  # the numbers as a sentence, in HTML


class LiveFigure(Figure):
    """A figure whose background is drawn once; afterwards only its live artists are drawn again.

    A full drawing takes a third of a second, which a hand on a slider feels; the live artists take
    a tenth of that.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)
        self._live: list[Artist] = []
        self._background = None  # the canvas without the live artists; None before it is drawn

    def live(self, *artists: Artist) -> None:
        """Mark artists as those that change."""
        for artist in artists:
            artist.set_animated(True)
        self._live += artists

    def settle(self) -> LiveFigure:
        """Lay the figure out once and hold it there, so that nothing jumps while a slider moves."""
        self.canvas.draw()
        self.set_layout_engine("none")
        self._background = None
        return self

    def png(self) -> bytes:
        """The figure as PNG."""
        canvas = self.canvas
        if self._background is None:
            canvas.draw()
            self._background = canvas.copy_from_bbox(self.bbox)
        canvas.restore_region(self._background)
        for artist in self._live:
            blank = isinstance(artist, Text) and not artist.get_text()
            if not blank:
                self.draw_artist(artist)

        rgb = np.asarray(canvas.buffer_rgba())[..., :3]
        out = io.BytesIO()
        Image.fromarray(rgb).save(out, "PNG", compress_level=1)
        return out.getvalue()


def png(figure: Figure) -> bytes:
    """Any figure as PNG."""
    if isinstance(figure, LiveFigure):
        return figure.png()
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out, pil_kwargs={"compress_level": 1})
    return out.getvalue()


class Panel(w.VBox):
    """Controls over a picture over a line of numbers; whenever a control changes, all is redrawn.

    draw(**values) -> View is called with the values of all controls and must depend on them alone.
    `panel.controls["strength"].value = 0.5` does what a hand does, at once and in this thread. An
    InputError is shown in the panel; any other error is raised.
    """

    def __init__(
        self, draw: Callable[..., View], controls: Mapping[str, w.Widget], alt: str
    ) -> None:
        self.draw = draw
        self.controls = dict(controls)
        self.alt = alt  # what the picture shows, for those who do not see it
        self.numbers: Mapping[str, float] = {}
        self.image = w.Image(
            format="png",
            layout=w.Layout(max_width="100%", object_fit="contain", align_self="flex-start"),
        )
        self.line = w.HTML()
        super().__init__([_bar(self.controls), _described(alt), self.image, self.line])

        self._hold = False
        for control in self.controls.values():
            control.observe(self._changed, "value")
        self._changed()

    @property
    def slider(self) -> w.Widget:
        """The strength slider, or the first control of a panel without one."""
        return self.controls.get("strength") or next(iter(self.controls.values()))

    @property
    def values(self) -> dict[str, object]:
        """The value of every control."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values: object) -> Panel:
        """Move several controls, draw once."""
        self._hold = True
        try:
            for name, value in values.items():
                self._control(name).value = value
        finally:
            self._hold = False
        self._changed()
        return self

    def _control(self, name: str) -> w.Widget:
        if name not in self.controls:
            known = ", ".join(self.controls)
            raise InputError(f'this panel has no control "{name}": {known}.')
        return self.controls[name]

    def _changed(self, _: object = None) -> None:
        if self._hold:
            return
        try:
            view = self.draw(**self.values)
        except InputError as error:
            self.numbers = {}
            self.line.value = f"<b>{error}</b>"
            return
        self.numbers = view.numbers
        self.line.value = view.text
        self.image.value = png(view.figure)

    def __repr__(self) -> str:
        """The values of the controls, for a page without JavaScript; nbval compares it too."""
        parts = []
        for name, value in self.values.items():
            shown = f"{value:g}" if isinstance(value, float) else value
            parts.append(f"{name} {shown}")
        return f"Live panel ({', '.join(parts)}); open the notebook in JupyterLab to move it."


def _bar(controls: Mapping[str, w.Widget]) -> w.HBox:
    """The controls side by side, wrapped where the window is narrow."""
    layout = w.Layout(flex_flow="row wrap", grid_gap="4px 18px")
    return w.HBox(list(controls.values()), layout=layout)


def _described(alt: str) -> w.HTML:
    """What the picture shows, for a screen reader; it takes no room on the page.

    A tooltip of the picture would do, but JupyterLab cannot draw an Image that has one.
    """
    label = html.escape(alt)
    layout = w.Layout(height="0", min_height="0", margin="0")
    return w.HTML(f'<span role="img" aria-label="{label}"></span>', layout=layout)


def slider(
    name: str, low: float = 0.0, high: float = 1.0, value: float = 1.0, step: float = 0.05
) -> w.FloatSlider:
    """A slider that answers when it is released, not at every pixel on the way."""
    return w.FloatSlider(
        value,
        min=low,
        max=high,
        step=step,
        description=name,
        continuous_update=False,
        readout_format=".2f",
        style={"description_width": "initial"},
        layout=w.Layout(width="330px"),
    )


def choice(name: str, options: list[str], value: str | None = None) -> w.Dropdown:
    """A drop-down list; it starts at `value`, or at its first option."""
    return w.Dropdown(
        options=options,
        value=value or options[0],
        description=name,
        style={"description_width": "initial"},
        layout=w.Layout(width="230px"),
    )
