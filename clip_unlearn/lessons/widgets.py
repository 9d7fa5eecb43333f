"""Live panels for JupyterLab: controls, one picture, one line of numbers.

No Output widget and no interact: with them an error in a callback is printed and the notebook stays
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

from ..core.errors import InputError


@dataclass(frozen=True)
class View:
    """What a panel shows for one position of its controls: a figure, its numbers, and the numbers as a sentence."""

    figure: Figure
    numbers: Mapping[str, float] = field(default_factory=dict)
    text: str = ""


class LiveFigure(Figure):
    """A figure whose background is drawn once; afterwards only the artists handed to `live` are drawn again.

    A full drawing takes a third of a second, which a hand on a slider feels; the live artists take
    a tenth of that.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)
        self._live: list[Artist] = []
        self._background = None

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
            if not isinstance(artist, Text) or artist.get_text():
                self.draw_artist(artist)
        out = io.BytesIO()
        Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(
            out, "PNG", compress_level=1
        )
        return out.getvalue()


def png(figure: Figure) -> bytes:
    """Any figure as PNG."""
    if isinstance(figure, LiveFigure):
        return figure.png()
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out, pil_kwargs={"compress_level": 1})
    return out.getvalue()


class Panel(w.VBox):
    """Controls over a picture over a line of numbers: every change of a control calls `draw` with all their values.

    draw(**values) -> View must depend on the values alone. `panel.controls["strength"].value = 0.5`
    does what a hand does, at once and in this thread; an InputError is shown in the panel, any
    other error is raised.
    """

    def __init__(
        self, draw: Callable[..., View], controls: Mapping[str, w.Widget], alt: str
    ) -> None:
        self.draw, self.controls, self.alt = draw, dict(controls), alt
        self.numbers: Mapping[str, float] = {}
        self.image = w.Image(
            format="png",
            layout=w.Layout(max_width="100%", object_fit="contain", align_self="flex-start"),
        )
        # JupyterLab cannot draw an Image that has a tooltip, so what the picture shows is told
        # beside it.
        told = f'<span role="img" aria-label="{html.escape(alt)}"></span>'
        described = w.HTML(told, layout=w.Layout(height="0", min_height="0", margin="0"))
        self.line = w.HTML()
        bar = w.HBox(
            list(self.controls.values()), layout=w.Layout(flex_flow="row wrap", grid_gap="4px 18px")
        )
        super().__init__([bar, described, self.image, self.line])
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
        """What the controls stand at."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values: object) -> Panel:
        """Move several controls, draw once."""
        self._hold = True
        try:
            for name, value in values.items():
                if name not in self.controls:
                    raise InputError(
                        f'this panel has no control "{name}": {", ".join(self.controls)}.'
                    )
                self.controls[name].value = value
        finally:
            self._hold = False
        self._changed()
        return self

    def _changed(self, _: object = None) -> None:
        if self._hold:
            return
        try:
            view = self.draw(**self.values)
        except InputError as error:
            self.numbers, self.line.value = {}, f"<b>{error}</b>"
            return
        self.numbers, self.line.value, self.image.value = view.numbers, view.text, png(view.figure)

    def __repr__(self) -> str:
        """Where the controls stand: what a page without JavaScript shows, and what nbval compares."""
        stand = ", ".join(
            f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in self.values.items()
        )
        return f"Live panel ({stand}); open the notebook in JupyterLab to move it."


def slider(
    name: str, low: float = 0.0, high: float = 1.0, value: float = 1.0, step: float = 0.05
) -> w.FloatSlider:
    """A slider that answers when it is let go, not at every pixel on the way."""
    return w.FloatSlider(
        value, min=low, max=high, step=step, description=name, continuous_update=False, readout_format=".2f",
        style={"description_width": "initial"}, layout=w.Layout(width="330px"),
    )  # fmt: skip


def choice(name: str, options: list[str], value: str | None = None) -> w.Dropdown:
    """A drop-down list."""
    style, layout = {"description_width": "initial"}, w.Layout(width="230px")
    return w.Dropdown(
        options=options, value=value or options[0], description=name, style=style, layout=layout
    )
