"""A panel depends on its controls alone, and an error in its callback is never swallowed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ipywidgets import HTML, Output, Widget
from matplotlib.figure import Figure
from PIL import Image

from clip_unlearn.core import InputError
from clip_unlearn.lessons.widgets import LiveFigure, Panel, View, choice, png, slider


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def bar(strength: float, name: str = "a") -> View:
    if strength > 0.9:
        raise InputError("too strong for this bar.")
    if name == "broken":
        raise KeyError("a bug")
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().barh([0], [strength])
    return View(figure, {"value": strength}, f"value {strength:.2f} of {name}")


@pytest.fixture
def panel() -> Panel:
    controls = {
        "strength": slider("strength", value=0.5),
        "name": choice("name", ["a", "b", "broken"]),
    }
    return Panel(bar, controls, alt="a bar")


def test_a_panel_shows_its_first_picture_at_once(panel: Panel) -> None:
    assert pixels(panel.image.value).shape == (50, 100, 3)
    assert panel.numbers == {"value": 0.5} and panel.line.value == "value 0.50 of a"


def test_what_the_picture_shows_is_said_to_those_who_do_not_see_it(panel: Panel) -> None:
    """As text beside it; a picture with a tooltip would not be drawn (see `make test-browser`)."""
    texts = [child.value for child in panel.children if isinstance(child, HTML)]
    assert any('aria-label="a bar"' in text for text in texts)
    assert panel.image.tooltip is None


def test_moving_the_slider_changes_the_picture_the_numbers_and_the_line(panel: Panel) -> None:
    before = panel.image.value
    panel.slider.value = 0.75
    assert panel.image.value != before
    assert panel.numbers == {"value": 0.75} and "0.75" in panel.line.value


def test_the_picture_depends_on_the_values_alone(panel: Panel) -> None:
    before = panel.image.value
    panel.slider.value = 0.1
    panel.slider.value = 0.5
    assert panel.image.value == before


def test_set_moves_several_controls_and_draws_once(panel: Panel) -> None:
    calls = []
    panel.draw = lambda **values: calls.append(values) or bar(**values)
    panel.set(strength=0.25, name="b")
    assert calls == [{"strength": 0.25, "name": "b"}]
    with pytest.raises(InputError, match='no control "rho": strength, name'):
        panel.set(rho=1.0)


def test_bad_input_is_shown_in_the_panel_and_goes_away_again(panel: Panel) -> None:
    panel.slider.value = 1.0
    assert "too strong" in panel.line.value and panel.numbers == {}
    panel.slider.value = 0.5
    assert panel.numbers == {"value": 0.5}


def test_a_bug_in_the_callback_fails_the_cell_that_moved_the_control(panel: Panel) -> None:
    with pytest.raises(KeyError, match="a bug"):
        panel.controls["name"].value = "broken"


def test_no_output_widget_is_made(panel: Panel) -> None:
    def walk(widget: Widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from walk(child)

    kinds = {type(w) for w in walk(panel)}
    assert Output not in kinds and HTML in kinds


def test_the_slider_waits_until_it_is_let_go() -> None:
    assert slider("strength").continuous_update is False


def test_the_text_of_a_panel_is_stable(panel: Panel) -> None:
    assert (
        repr(panel)
        == "Live panel (strength 0.5, name a); open the notebook in JupyterLab to move it."
    )


def moving(live: bool) -> tuple[LiveFigure, object]:
    figure = LiveFigure(figsize=(3, 2), dpi=60, layout="constrained")
    ax = figure.subplots()
    ax.set(xlim=(0, 1), ylim=(0, 1), title="still")
    ax.plot([0, 1], [0, 1])
    line = ax.axvline(0.2)
    if live:
        figure.live(line)
    return figure.settle(), line


def test_a_live_figure_draws_what_a_full_drawing_would() -> None:
    """Up to the order in which lines lie over each other."""
    figure, line = moving(live=True)
    figure.png()
    line.set_xdata([0.7, 0.7])
    other, same = moving(live=False)
    same.set_xdata([0.7, 0.7])
    difference = np.abs(pixels(figure.png()) - pixels(png(other)))
    assert (difference.max(-1) > 30).mean() < 0.005


def test_a_live_figure_leaves_no_trace_of_where_it_was() -> None:
    figure, line = moving(live=True)
    first = figure.png()
    line.set_xdata([0.9, 0.9])
    assert figure.png() != first
    line.set_xdata([0.2, 0.2])
    assert figure.png() == first
