"""Predictions: from prototypes and prompts alone, and where they should be they are exact."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import REQUESTS

from clip_unlearn import Prototypes, every_request, fit_edit, predict, summary
from clip_unlearn.core.calibrated import mean_embeddings
from clip_unlearn.measure.evaluate import Task
from clip_unlearn.measure.predicted import predicted_change, simulated
from clip_unlearn.measure.setting import Setting


@pytest.fixture(scope="module")
def task(setting: Setting) -> Task:
    return setting.task


def test_no_image_has_a_part_in_a_prediction(prototypes: Prototypes, task: Task) -> None:
    blind = replace(task, images=None)
    first, second = simulated(prototypes, blind), simulated(prototypes, task)
    assert torch.equal(first.images.f, second.images.f)
    assert first.prompts is task.prompts


def test_simulated_images_lie_around_the_mean_of_prototypes_and_pictures(
    prototypes: Prototypes, task: Task
) -> None:
    images = simulated(prototypes, task).images
    C, K = prototypes.grid.shape
    h = (images.f @ prototypes.seen_projection).unflatten(0, (C * K, -1))  # (C * K, n, d)
    W = prototypes.seen_projection
    expected = (mean_embeddings(W, prototypes.visual) + prototypes.reached) / 2
    size = (prototypes.visual.mean(2) @ W).norm(dim=-1).mean()
    deviation = h / size - expected.flatten(0, 1)[:, None]
    assert deviation.square().sum(-1).mean().item() == pytest.approx(0.25, rel=0.2)
    assert torch.equal(images.class_of, torch.arange(C).repeat_interleave(len(images) // C))
    assert images.cells(K).bincount().unique().numel() == 1


@pytest.mark.parametrize("kind", list(REQUESTS))
def test_an_edit_that_changes_nothing_is_predicted_to_cost_nothing(
    prototypes: Prototypes, task: Task, kind: str
) -> None:
    edit = fit_edit(prototypes, REQUESTS[kind])
    foreseen = simulated(prototypes, task)
    assert predicted_change(prototypes, edit, foreseen, 0.0) == 0
    A, B = edit.factors["visual"]
    empty = replace(edit, factors={"visual": (0 * A, B)})
    assert predicted_change(prototypes, empty, foreseen) == 0


def test_an_edit_that_takes_every_class_is_predicted_to_cost_what_was_right(
    prototypes: Prototypes, task: Task
) -> None:
    """Without an embedding every image is called the first class."""
    foreseen = simulated(prototypes, task)
    edit = fit_edit(prototypes, REQUESTS["global"])
    gone = replace(edit, factors={"visual": (-prototypes.W, torch.eye(prototypes.W.shape[1]))})

    images = foreseen.images
    right = predict(foreseen, prototypes.W, prototypes.W_text).eq(images.class_of)
    before = right[images.class_of != 1].float().mean().item()
    after = 0.5  # of cats and houses, which stay, the cats
    assert predicted_change(prototypes, gone, foreseen) == pytest.approx(100 * (after - before))


def test_one_prototype_a_cell_predicts_nothing(prototypes: Prototypes, task: Task) -> None:
    single = replace(prototypes, visual=prototypes.visual[:, :, :1])
    assert simulated(single, task) is None
    edit = fit_edit(single, REQUESTS["global"])
    assert predicted_change(single, edit, None) is None
    assert "predicted" not in every_request(single, task, "global", progress=False)


def test_a_survey_has_the_prediction_beside_what_is_measured(
    prototypes: Prototypes, task: Task
) -> None:
    frame = every_request(prototypes, task, "domain-specific", progress=False)
    assert frame["predicted"].notna().all() and {"retained", "predicted"} <= set(frame)
    found = summary(frame)
    assert found["predicted"] == pytest.approx(frame["predicted"].mean())
    assert found["predicted worst"] == frame["predicted"].min()
