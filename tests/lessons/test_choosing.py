"""The panel of notebook 07 shows the curve and the rules of `measure.strength`, at its marker."""

from __future__ import annotations

import pytest

from clip_unlearn import ForgetRequest, fit_edit
from clip_unlearn.core.concepts import ALL_DOMAINS
from clip_unlearn.lessons.choosing import operating_panel, similarity_row
from clip_unlearn.measure.setting import Setting
from clip_unlearn.measure.strength import RULES, choose, image_curve


def test_the_panel_shows_the_row_of_the_curve_where_its_marker_stands(setting: Setting) -> None:
    panel = operating_panel(setting, "dog", "sketch")
    p = setting.prototypes
    pictures = {panel.image.value}
    edit = fit_edit(p, ForgetRequest(["dog"], ["sketch"]))
    curve = image_curve(p, edit, setting.task)
    for strength in (0.0, 0.4):
        panel.slider.value = strength
        pictures.add(panel.image.value)
        assert {k: panel.numbers[k] for k in curve} == pytest.approx(
            curve.loc[strength].to_dict(), nan_ok=True
        )
    assert {k: panel.numbers[k] for k in RULES} == pytest.approx(
        choose(p, edit, curve), nan_ok=True
    )
    panel.controls["domain"].value = ALL_DOMAINS
    pictures.add(panel.image.value)
    assert len(pictures) == 4 and "same_class" not in panel.numbers


def test_the_panel_refuses_a_cell_without_images_and_recovers(setting: Setting) -> None:
    panel = operating_panel(setting, "dog", "art painting")
    panel.controls["class"].value = "cat"
    assert "no readable image of cat in art painting" in panel.line.value
    panel.controls["class"].value = "dog"
    assert "no readable image" not in panel.line.value and panel.numbers["H"] >= 0


def test_each_histogram_holds_every_pair(setting: Setting) -> None:
    figure = similarity_row(
        setting, fit_edit(setting.prototypes, ForgetRequest(["dog"])), (0.0, 1.0)
    )
    for ax in figure.axes:
        assert len(ax.patches) == 2
        for patch in ax.patches:
            assert patch.get_data().values.sum() == pytest.approx(100)
