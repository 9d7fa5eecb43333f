"""On a CLIP trained on real images (PACS), if the development machine has one; it never ships."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image

from clip_unlearn import (
    Clip,
    ForgetRequest,
    Prototypes,
    accuracy_grid,
    encode,
    evaluate,
    every_request,
    fit_edit,
    grid_of,
    load_clip,
    make_task,
    open_images,
    predict,
    save_edited,
    synthesize_prototypes,
)
from clip_unlearn.core.synthesis import Synthesis
from clip_unlearn.images.datasets import subset
from clip_unlearn.measure.evaluate import Task

PACS = Path(__file__).resolve().parents[3] / "shared" / "pacs"
pytestmark = pytest.mark.skipif(not PACS.is_dir(), reason="no ../shared/pacs")


@pytest.fixture(scope="module")
def pacs() -> Clip:
    return load_clip(PACS / "clip", device="cpu")


@pytest.fixture(scope="module")
def task(pacs: Clip) -> Task:
    images = subset(open_images(PACS / "images"), 8)
    return make_task(pacs, grid_of(images), encode(pacs, images, progress=False, cache=False))


@pytest.fixture(scope="module")
def made(pacs: Clip, task: Task) -> Prototypes:
    """Latent prototypes: no cost."""
    return synthesize_prototypes(
        pacs, task.grid, per_cell=4, kind="latent", progress=False, cache=False
    )


def test_the_folder_is_a_grid_of_seven_classes_and_four_domains(task: Task) -> None:
    assert task.grid.shape == (7, 4) and "art painting" in task.grid.domains
    assert 200 < len(task.images) <= 7 * 4 * 8


def test_features_times_w_are_the_image_embedding(pacs: Clip, task: Task) -> None:
    x = torch.stack(
        [pacs.preprocess(Image.open(p).convert("RGB")) for p in task.images.paths[::28]]
    )
    with torch.no_grad():
        expected = pacs.model.encode_image(x)
    torch.testing.assert_close(
        task.images.f[::28] @ pacs.heads["visual"].weight, expected, atol=1e-4, rtol=1e-4
    )


def test_it_classifies_real_images(pacs: Clip, task: Task) -> None:
    W, W_text = pacs.heads["visual"].weight, pacs.heads["text"].weight
    accuracy = accuracy_grid(task, predict(task, W, W_text))
    assert accuracy.to_numpy().mean() > 0.7
    assert (accuracy.mean() > 0.45).all()  # well above 1/7 in every domain


def test_restore_is_exact(pacs: Clip, made: Prototypes) -> None:
    before = pacs.fingerprint()
    with fit_edit(made, ForgetRequest(["dog"])).applied(pacs):
        assert pacs.fingerprint() != before
    assert pacs.fingerprint() == before


def test_global_forgetting_forgets_and_the_rest_stays(made: Prototypes, task: Task) -> None:
    frame = evaluate(made, fit_edit(made, ForgetRequest(["dog"])), task, (0.0, 1.0)).set_index(
        ["strength", "group"]
    )
    assert (
        frame.loc[(0.0, "forget"), "accuracy"] > 0.5 > 0.2 > frame.loc[(1.0, "forget"), "accuracy"]
    )
    assert frame.loc[(1.0, "retained"), "accuracy"] > frame.loc[(0.0, "retained"), "accuracy"] - 0.1


def test_forgetting_in_one_domain_forgets_more_there_than_elsewhere(
    made: Prototypes, task: Task
) -> None:
    """Mean over every request of the kind: one request proves nothing."""
    frame = every_request(made, task, "domain-specific", progress=False)
    assert len(frame) == 28
    lost = frame["before"].mean() - frame["forget"].mean()
    assert (
        lost > 0.4
        and lost > 0.2 - frame["same_class"].mean() / 100
        and frame["retained"].mean() > -10
    )


def test_pixel_synthesis_is_recognised_by_the_model(pacs: Clip, task: Task) -> None:
    how = Synthesis(steps=12)
    p = synthesize_prototypes(pacs, task.grid, per_cell=1, how=how, progress=False, cache=False)
    own = torch.arange(7)[:, None].expand(7, 4)
    predicted = (p.visual[:, :, 0] @ p.W @ p.class_text.T).argmax(-1)
    assert predicted.eq(own).float().mean() > 0.5


def test_a_saved_edit_is_plain_open_clip(
    pacs: Clip, made: Prototypes, task: Task, tmp_path: Path
) -> None:
    edit = fit_edit(made, ForgetRequest(["dog"], ["sketch"]))
    folder = save_edited(pacs, edit, 1.0, tmp_path / "edited")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    x = torch.stack([preprocess(Image.open(p).convert("RGB")) for p in task.images.paths[::56]])
    with torch.no_grad():
        found = model.eval().encode_image(x)
    torch.testing.assert_close(
        found, task.images.f[::56] @ edit.weight(made.W, 1.0), atol=1e-4, rtol=1e-4
    )
