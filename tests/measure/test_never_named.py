"""Classes left out of a fit: what is named, what is not, and what is measured on which."""

from __future__ import annotations

import pytest
import torch

from clip_unlearn import (
    Clip,
    ConceptGrid,
    ForgetRequest,
    Setting,
    evaluate,
    fit_edit,
    make_task,
    synthesize_prototypes,
)
from clip_unlearn.core import InputError
from clip_unlearn.images.datasets import Features
from clip_unlearn.measure.never_named import every_split, leave_out, splits, task_of


@pytest.fixture
def four_classes(clip: Clip) -> Setting:
    """Four classes x two domains, and features that show nothing."""
    grid = ConceptGrid(["cat", "dog", "house", "tree"], ["photo", "sketch"])
    how = {"per_cell": 1, "kind": "latent", "cache": False, "progress": False}
    p = synthesize_prototypes(clip, grid, **how)
    f = torch.randn(80, len(p.W), generator=torch.Generator().manual_seed(0))
    number = torch.arange(80)
    images = Features(f, number % 4, number // 4 % 2, ("",) * 80)
    return Setting(clip, p, make_task(clip, grid, images), None, 0.0)


def test_a_split_names_each_class_once_or_leaves_it_out() -> None:
    drawn = splits(7, many=5)
    assert len(set(drawn)) > 1
    for named, others in drawn:
        assert len(named) == 4 and sorted(named + others) == list(range(7))
        assert list(named) == sorted(named) and list(others) == sorted(others)


def test_splits_are_the_same_for_the_same_seed() -> None:
    assert splits(7, seed=3) == splits(7, seed=3) != splits(7, seed=4)


@pytest.mark.parametrize(("classes", "named"), [(7, 1), (7, 6), (3, None)])
def test_a_split_needs_two_classes_on_either_side(classes: int, named: int | None) -> None:
    with pytest.raises(InputError, match="two classes on either side"):
        splits(classes, named)


def test_images_of_some_classes_are_classified_among_these_alone(setting: Setting) -> None:
    task = task_of(setting.task, (0, 2))
    assert task.grid.classes == ("cat", "house") and len(task.prompts) == 2
    before = setting.task.images
    kept = before.class_of != 1
    assert torch.equal(task.images.f, before.f[kept])
    assert task.images.class_of.tolist() == [
        {0: 0, 2: 1}[c] for c in before.class_of[kept].tolist()
    ]
    assert torch.equal(task.prompts[1], setting.task.prompts[2])


def test_what_is_left_out_takes_no_part_in_the_fit(setting: Setting) -> None:
    """The fit is that of a grid which never had the class: its prompts alone span what is seen."""
    part = leave_out(setting, ((0, 2), (1,)))
    p, whole = part.prototypes, setting.prototypes
    assert p.grid.classes == ("cat", "house") and part.unrelated.grid.classes == ("dog",)
    assert torch.equal(p.visual, whole.visual[[0, 2]])
    assert torch.allclose(p.text, whole.text[[0, 2]], atol=1e-6)
    assert p.span.shape[1] <= whole.span.shape[1]
    assert torch.allclose(p.span @ p.span.T @ p.text[1, 1], p.text[1, 1], atol=0.05)


def test_a_row_is_what_evaluate_says_of_that_split_and_domain(four_classes: Setting) -> None:
    drawn = splits(4, many=2)
    frame = every_split(four_classes, drawn)
    domains = four_classes.prototypes.grid.domains
    assert len(frame) == 2 * len(domains) and frame["others"].nunique() == len(set(drawn))

    part = leave_out(four_classes, drawn[1])
    edit = fit_edit(part.prototypes, ForgetRequest(None, [domains[0]]))
    found = evaluate(part.prototypes, edit, part.task, [0.0, 1.0], part.unrelated)
    accuracy = found.set_index(["group", "strength"])["accuracy"]
    row = frame.iloc[len(domains)]
    assert row["never_named before"] == accuracy["never_named", 0.0]
    assert row["never_named"] == accuracy["never_named", 1.0]
