"""The strength panel on a tiny random CLIP: what it shows is what `evaluate` measures."""

from __future__ import annotations

import pytest
import torch

from clip_unlearn import ForgetRequest, evaluate
from clip_unlearn.core import InputError
from clip_unlearn.core.calibrated import BETA
from clip_unlearn.lessons.scenes import default_of, measure, pictures, strength_panel
from clip_unlearn.measure.evaluate import group_masks, predict
from clip_unlearn.measure.setting import Setting


def test_the_numbers_are_those_of_evaluate(setting: Setting, request_of: ForgetRequest) -> None:
    panel = strength_panel(setting, request_of)
    edit = panel.scene.fit()
    frame = evaluate(setting.prototypes, edit, setting.task, [0.0, 0.35, 1.0])
    for strength in (0.0, 0.35, 1.0):
        panel.slider.value = strength
        expected = frame[frame["strength"] == strength].set_index("group")["accuracy"]
        for name, value in expected.items():
            assert panel.numbers[name] == pytest.approx(value)


def test_choices_refit_and_redraw(setting: Setting) -> None:
    classes = setting.prototypes.grid.classes
    domains = setting.prototypes.grid.domains
    request = ForgetRequest(classes[:1], domains[:1])
    panel = strength_panel(setting, request, ["class", "domain", "method"], "oblique", rho=(0, 1))
    stage = panel.scene._stage
    seen = {panel.image.value}
    panel.controls["rho"].value = 0.2
    assert panel.scene._stage is stage, "the cells are the same, so only the curves change"
    for name, value in (("class", classes[1]), ("domain", domains[2])):
        panel.controls[name].value = value
        seen.add(panel.image.value)
    assert len(seen) == 3
    assert panel.scene._stage.edit.request == ForgetRequest(classes[1:2], domains[2:])


def test_another_method_can_be_chosen(setting: Setting) -> None:
    request = ForgetRequest(setting.prototypes.grid.classes[:1])
    panel = strength_panel(setting, request, choose=["method"])
    panel.controls["method"].value = "null-space"
    assert panel.scene._stage.edit.method == "null-space"


def test_sliders_start_where_fit_edit_would(setting: Setting, request_of: ForgetRequest) -> None:
    panel = strength_panel(setting, request_of, beta=(0, 2))
    assert panel.controls["beta"].value == BETA, "every paradigm's default method has this beta"
    assert torch.equal(
        panel.scene._stage.edit.factors["visual"][0], panel.scene.fit().factors["visual"][0]
    )
    assert default_of("rho", "oblique", "domain-specific", 0.0) == 0.8
    assert default_of("lam", "retain-aware", "global", 0.0) == 1.0
    assert default_of("rtol", "null-space-text", "global", 0.3) == 0.1
    assert default_of("nothing", "calibrated", "global", 0.3) == 0.3


def test_what_cannot_be_chosen_is_named(setting: Setting) -> None:
    with pytest.raises(InputError, match='a global panel has nothing to choose for "domain"'):
        strength_panel(
            setting, ForgetRequest(setting.prototypes.grid.classes[:1]), choose=["domain"]
        )


def test_the_pictures_come_from_the_groups_their_titles_name(
    setting: Setting, request_of: ForgetRequest
) -> None:
    mask = request_of.mask(setting.prototypes.grid)
    groups = group_masks(mask, setting.task.images)
    (title, forget), *stay = pictures(setting, mask, width=2)
    assert title == "to forget"
    assert groups["forget"][forget].all()
    assert stay
    for _, chosen in stay:
        assert groups["retained"][chosen].all()


def test_strength_zero_predicts_what_the_model_predicts(
    setting: Setting, request_of: ForgetRequest
) -> None:
    edit = strength_panel(setting, request_of).scene.fit()
    plain = measure(setting, edit, 0.0)
    p = setting.prototypes
    assert torch.equal(plain.predicted, predict(setting.task, p.W, p.W_text))
    assert set(plain.groups) >= {"forget", "retained"}


def test_cells_without_images_are_refused_by_name(setting: Setting) -> None:
    """The image folder has no cat in art_painting."""
    panel = strength_panel(setting, ForgetRequest(["dog"], ["art painting"]), choose=["class"])
    panel.controls["class"].value = "cat"
    assert "no readable image of cat in art painting" in panel.line.value and panel.numbers == {}


def test_the_static_row_has_one_picture_a_strength(
    setting: Setting, request_of: ForgetRequest
) -> None:
    figure = strength_panel(setting, request_of).scene.row((0.0, 0.5, 1.0))
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert [t.split("\n")[0] for t in titles] == ["strength 0", "strength 0.5", "strength 1"]
    assert figure.get_suptitle() == f"Forget {request_of}: accuracy of every cell"
