"""The toys teach what the package does, and their pictures show what their numbers say."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest
import torch

from clip_unlearn.lessons import toys

EVERYTHING = dict.fromkeys(toys.CLASSES.groups, 1.0)


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def moved(
    points: torch.Tensor, factors: tuple[torch.Tensor, torch.Tensor], strength: float = 1.0
) -> torch.Tensor:
    A, B = factors
    return points + strength * (points @ A) @ B


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_the_score_of_the_forgotten_prompt_falls_in_proportion(strength: float) -> None:
    points = torch.cat(list(toys.CLASSES.groups.values()))
    u = toys.PROMPTS[0]
    after = moved(points, toys.CLASSES.edit(), strength)
    torch.testing.assert_close(after @ u, (1 - strength) * (points @ u))
    torch.testing.assert_close(
        after[:, 0], points[:, 0], msg="what is orthogonal to u is untouched"
    )


def test_only_the_dogs_of_the_first_toy_lose_their_name() -> None:
    panel = toys.panel(toys.CLASSES)
    assert panel.numbers == EVERYTHING
    panel.slider.value = 1.0
    assert panel.numbers == EVERYTHING | {"dogs": 0.0}


def test_the_plain_projector_takes_the_dog_photos_along() -> None:
    factors = toys.edit_of_cell("null-space")
    groups = toys.DOMAINS.groups
    after = moved(torch.cat(list(groups.values())), factors)
    assert torch.linalg.matrix_rank(after, rtol=1e-4) == 1, "everything ends on one line"
    for name in ("dog photos", "dog sketches"):
        answers = toys.DOMAINS.answer(moved(groups[name], factors))
        assert answers.all(), "none is called a dog"


@pytest.mark.parametrize("rho", [0.0, 0.5, 1.0])
def test_the_oblique_edit_removes_along_the_class_whatever_it_detects(rho: float) -> None:
    points = torch.cat(list(toys.DOMAINS.groups.values()))
    factors = toys.edit_of_cell(rho=rho)
    after = moved(points, factors)
    torch.testing.assert_close(after[:, 0], points[:, 0], msg="images move straight up or down")
    assert moved(toys.CELLS[0, 0], factors)[1] == pytest.approx(0, abs=1e-5), (
        "beta 1 takes all of the dog sketch"
    )


def test_at_rho_1_the_detector_does_not_see_the_dog_photo() -> None:
    photo = toys.CELLS[0, 1]
    torch.testing.assert_close(moved(photo, toys.edit_of_cell(rho=1.0)), photo)
    assert moved(photo, toys.edit_of_cell(rho=0.0))[1] < toys.BORDER


def test_the_panel_shows_who_survives_and_forgets_where_it_came_from() -> None:
    panel = toys.panel(toys.DOMAINS)
    panel.set(strength=1.0, rho=1.0)
    kept = dict(panel.numbers)
    picture = panel.image.value
    assert kept["dog sketches"] == 0 and kept["dog photos"] == kept["cat sketches"] == 1
    panel.set(rho=0.0, beta=2.0)
    assert panel.numbers["dog photos"] == 0 and panel.numbers["cat photos"] < 1
    assert panel.image.value != picture
    panel.set(rho=1.0, beta=1.0)
    assert panel.numbers == kept and panel.image.value == picture


def test_a_row_has_one_picture_a_step_named_after_it() -> None:
    figure = toys.row(
        toys.DOMAINS, [{"method": "null-space", "strength": 1}, {"strength": 0.5, "rho": 1.0}]
    )
    assert [ax.get_title() for ax in figure.axes] == [
        "null-space, strength 1",
        "strength 0.5, rho 1",
    ]
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in figure.axes}) == 1, (
        "the scales do not move"
    )
    assert figure.get_suptitle() == toys.DOMAINS.title
    assert (
        toys.row(toys.CLASSES, [{"strength": 1}], "another title").get_suptitle() == "another title"
    )


def test_the_plain_projector_shows_one_direction_the_oblique_edit_two() -> None:
    figure = toys.row(
        toys.DOMAINS, [{"method": "null-space", "strength": 1}, {"strength": 1, "rho": 1.0}]
    )
    named = [
        sorted(t.get_text() for t in ax.texts if t.get_style() == "italic" and t.get_text())
        for ax in figure.axes
    ]
    assert named == [["u"], ["l", "r"]]


def test_in_space_what_is_taken_out_has_no_arrow_left() -> None:
    """Beside the plane or line that stays and three arrows before, one for each class not taken."""
    left = [len(ax.collections) - 1 - 3 for ax in toys.space().axes]
    assert left == [2, 1]


def test_a_spectrum_is_relative_and_ends_with_the_rank() -> None:
    rows = torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.0]))
    ax = toys.spectrum({"a": rows}, "title", rtol=0.1, after=2).axes[0]
    shares = ax.lines[0].get_ydata()
    assert shares.tolist() == pytest.approx([1, 0.5, 0.25])
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["a", "rtol 0.1", "2 directions"]
