"""Measuring: against open_clip's own classifier, against cases small enough to count by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import open_clip
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny import REQUESTS
from torch import Tensor
from torch.nn.functional import one_hot

from clip_unlearn import (
    Clip,
    ConceptGrid,
    ForgetRequest,
    Prototypes,
    accuracy_grid,
    evaluate,
    every_request,
    fit_edit,
    make_task,
    predict,
)
from clip_unlearn.core.concepts import PARAPHRASE_TEMPLATES, TEST_TEMPLATES, fill
from clip_unlearn.images.datasets import Features
from clip_unlearn.measure.evaluate import (
    GROUPS,
    STRENGTHS,
    Task,
    average_precision,
    classifier,
    edited_weights,
    group_masks,
    harmonic,
    one_thread,
    search,
)
from clip_unlearn.measure.survey import markdown, summary

GRID = ConceptGrid(["cat", "dog", "house"], ["photo", "sketch"])
#          photo: cat  cat  dog  house | sketch: cat dog dog house
CLASS_OF = [0, 0, 1, 2, 0, 1, 1, 2]
DOMAIN_OF = [0, 0, 0, 0, 1, 1, 1, 1]


def hand_made(
    predicted: list[int], grid: ConceptGrid = GRID, domains: list[int] = DOMAIN_OF
) -> Task:
    """A task with D = d = C and W = I: images are predicted as given, by any prompts."""
    C = len(grid.classes)
    f = one_hot(torch.tensor(predicted), C).float()
    images = Features(f, torch.tensor(CLASS_OF[: len(f)]), torch.tensor(domains[: len(f)]), ())
    prompts = tuple(torch.eye(C)[:, None])
    return Task(grid, images, prompts, prompts)


def hand_prototypes(grid: ConceptGrid = GRID) -> Prototypes:
    """Prototypes of a CLIP whose embeddings are one-hot classes."""
    C, K = grid.shape
    eye = torch.eye(C)
    cells = eye[:, None].expand(C, K, C)
    return Prototypes(grid, cells[:, :, None], cells, cells, eye, eye, eye, eye)


@pytest.fixture(scope="module")
def task(clip: Clip, grid: ConceptGrid, features: Features) -> Task:
    return make_task(clip, grid, features)


# ---- classification


@pytest.mark.parametrize("paraphrase", [False, True])
def test_classifier_is_open_clips_zero_shot_classifier(
    clip: Clip, task: Task, paraphrase: bool
) -> None:
    templates = [
        lambda c, t=t: fill(t, "class", c)
        for t in (PARAPHRASE_TEMPLATES if paraphrase else TEST_TEMPLATES)
    ]
    with torch.no_grad():
        expected = open_clip.build_zero_shot_classifier(
            clip.model, clip.tokenizer, task.grid.classes, templates
        )
    found = classifier(task.paraphrases if paraphrase else task.prompts, clip.heads["text"].weight)
    torch.testing.assert_close(found, expected.T, atol=1e-5, rtol=0)


def zero_shot(clip: Clip, task: Task, pixels: Tensor) -> Tensor:
    """Predictions by open_clip alone."""
    templates = [lambda c, t=t: fill(t, "class", c) for t in TEST_TEMPLATES]
    with torch.no_grad():
        weights = open_clip.build_zero_shot_classifier(
            clip.model, clip.tokenizer, task.grid.classes, templates
        )
        return (clip.model.encode_image(pixels, normalize=True) @ weights).argmax(1)


def opened(clip: Clip, task: Task) -> Tensor:
    return torch.stack([clip.preprocess(Image.open(p).convert("RGB")) for p in task.images.paths])


def test_predictions_at_strength_zero_are_the_unedited_models(
    clip: Clip, task: Task, prototypes: Prototypes
) -> None:
    edit = fit_edit(prototypes, REQUESTS["global"], towers="both")
    predicted = predict(task, *edited_weights(prototypes, edit, 0.0))
    assert torch.equal(predicted, zero_shot(clip, task, opened(clip, task)))


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_predictions_from_features_are_those_of_the_edited_model(
    clip: Clip, task: Task, prototypes: Prototypes, request_of: ForgetRequest, strength: float
) -> None:
    edit = fit_edit(prototypes, request_of)
    predicted = predict(task, *edited_weights(prototypes, edit, strength))
    with edit.applied(clip, strength):
        expected = zero_shot(clip, task, opened(clip, task))
    assert torch.equal(predicted, expected)


# ---- the grid of accuracies


def test_accuracy_grid_of_a_case_counted_by_hand() -> None:
    task = hand_made([0, 1, 1, 2, 0, 1, 2, 0])
    W = torch.eye(3)
    expected = pd.DataFrame(
        [[0.5, 1.0], [1.0, 0.5], [1.0, 0.0]],
        index=["cat", "dog", "house"],
        columns=["photo", "sketch"],
    )
    pd.testing.assert_frame_equal(
        accuracy_grid(task, predict(task, W, W)), expected, check_dtype=False
    )


def test_accuracy_of_a_cell_without_images_is_not_a_number() -> None:
    table = accuracy_grid(hand_made([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2]))  # photos only
    assert table["photo"].tolist() == [0.5, 1.0, 1.0] and table["sketch"].isna().all()


# ---- groups


@pytest.mark.parametrize(
    ("request_", "forget", "same_class", "same_domain"),
    [
        (ForgetRequest(["dog"]), "00100110", None, None),
        (ForgetRequest(None, ["sketch"]), "00001111", None, None),
        (ForgetRequest(["dog"], ["sketch"]), "00000110", "00100000", "00001001"),
        (ForgetRequest(["dog", "cat"], ["sketch"]), "00001110", "11100000", "00000001"),
        (
            ForgetRequest(["dog"], ["photo", "sketch"]),
            "00100110",
            None,
            None,
        ),  # in all domains: global by another name
    ],
    ids=str,
)
def test_groups_of_a_case_counted_by_hand(
    request_: ForgetRequest, forget: str, same_class: str | None, same_domain: str | None
) -> None:
    masks = group_masks(request_.mask(GRID), hand_made([0] * 8).images)
    text = {k: v if v is None else "".join(str(int(x)) for x in v) for k, v in masks.items()}
    retained = forget.translate(str.maketrans("01", "10"))
    assert text == {
        "forget": forget,
        "retained": retained,
        "same_class": same_class,
        "same_domain": same_domain,
    }


# ---- H


@pytest.mark.parametrize(
    ("retained", "forget", "expected"),
    [(1, 0, 1), (0, 1, 0), (0, 0, 0), (1, 1, 0), (0.5, 0.5, 0.5), (0.8, 0.4, 2 * 0.8 * 0.6 / 1.4)],
)
def test_harmonic_mean_of_memory_and_forgetting(
    retained: float, forget: float, expected: float
) -> None:
    mean = harmonic(retained, forget)
    assert mean == pytest.approx(expected)
    assert type(mean) is float, "a whole number becomes an int64, which JSON does not take"


# ---- evaluate


def test_evaluate_of_a_case_counted_by_hand() -> None:
    """Forget dogs exactly: their direction is projected out, which leaves a tie that "cat" wins."""
    task, p = hand_made(CLASS_OF), hand_prototypes()
    frame = evaluate(p, fit_edit(p, ForgetRequest(["dog"]), "null-space"), task, (0.0, 1.0))
    table = frame.set_index(["strength", "group"])
    assert (
        table.loc[(0.0, "forget"), "accuracy"] == 1 and table.loc[(1.0, "forget"), "accuracy"] == 0
    )
    assert table.loc[(0.0, "retained"), "accuracy"] == table.loc[(1.0, "retained"), "accuracy"] == 1
    assert table.loc[(1.0, "forget"), "n"] == 3 and table.loc[(1.0, "retained"), "n"] == 5
    assert table.loc[(0.0, "forget"), "H"] == 0 and table.loc[(1.0, "forget"), "H"] == 1


def test_paraphrases_are_measured_by_their_own_prompts() -> None:
    p, task = hand_prototypes(), hand_made(CLASS_OF)
    task = replace(
        task, paraphrases=tuple(torch.eye(3).roll(1, 0)[:, None])
    )  # each names the class before it
    frame = evaluate(p, fit_edit(p, ForgetRequest(["dog"]), "null-space"), task, [0.0])
    assert frame["accuracy"].eq(1).all() and frame["paraphrase"].eq(0).all()


def test_evaluate_is_tidy(prototypes: Prototypes, task: Task, request_of: ForgetRequest) -> None:
    frame = evaluate(prototypes, fit_edit(prototypes, request_of), task)
    groups = ["forget", "retained"] + ["same_class", "same_domain"] * (
        request_of.paradigm == "domain-specific"
    )
    assert list(frame.columns) == ["strength", "group", "n", "accuracy", "paraphrase", "H"]
    assert list(zip(frame["strength"], frame["group"], strict=True)) == [
        (s, g) for s in STRENGTHS for g in groups
    ]
    assert frame[["accuracy", "paraphrase", "H"]].stack().between(0, 1).all()
    counts = frame[frame["strength"] == 0].set_index("group")["n"]
    assert counts["forget"] + counts["retained"] == len(task.images)


def test_evaluate_at_strength_zero_is_the_unedited_model(
    clip: Clip, prototypes: Prototypes, task: Task, request_of: ForgetRequest
) -> None:
    frame = evaluate(prototypes, fit_edit(prototypes, request_of), task, [0.0])
    right = zero_shot(clip, task, opened(clip, task)).eq(task.images.class_of).float()
    masks = group_masks(request_of.mask(prototypes.grid), task.images)
    for row in frame.itertuples():
        assert row.accuracy == pytest.approx(right[masks[row.group]].mean().item())


UNRELATED = ConceptGrid(["bird", "fish", "key"], ["photo", "sketch"])


@pytest.mark.parametrize(
    ("request_", "stay", "never_named"),
    [
        (ForgetRequest(["dog"]), (8, 6 / 8), None),
        (ForgetRequest(["dog"], ["sketch"]), (8, 6 / 8), None),
        (ForgetRequest(None, ["photo"]), (4, 3 / 4), (4, 3 / 4)),
        (ForgetRequest(None, ["sketch"]), (4, 3 / 4), (4, 3 / 4)),
        (ForgetRequest(GRID.classes, ["sketch"]), (4, 3 / 4), (4, 3 / 4)),  # spelt out
    ],
    ids=str,
)
def test_other_classes_are_never_named_in_a_domain_that_goes_whole_and_unrelated_elsewhere(
    request_: ForgetRequest, stay: tuple[int, float], never_named: tuple[int, float] | None
) -> None:
    p, others = hand_prototypes(), hand_made([0, 1, 1, 2, 0, 1, 0, 2], UNRELATED)
    frame = evaluate(p, fit_edit(p, request_, "retain-aware"), hand_made(CLASS_OF), [0.0], others)
    counted = frame.set_index("group")[["n", "accuracy"]].apply(tuple, axis=1)
    assert counted["unrelated"] == pytest.approx(stay)
    assert counted.get("never_named") == (never_named and pytest.approx(never_named))


def test_evaluate_does_not_change_what_it_is_given(prototypes: Prototypes, task: Task) -> None:
    W, f = prototypes.W.clone(), task.images.f.clone()
    evaluate(prototypes, fit_edit(prototypes, REQUESTS["global"]), task)
    assert torch.equal(W, prototypes.W) and torch.equal(f, task.images.f)


# ---- every request of a kind


@pytest.mark.parametrize(
    ("paradigm", "rows"), [("global", 3), ("domain-specific", 8), ("whole-domain", 3)]
)
def test_a_survey_has_one_row_for_every_request_with_images(
    prototypes: Prototypes, task: Task, paradigm: str, rows: int
) -> None:
    frame = every_request(prototypes, task, paradigm, "null-space", progress=False)
    assert len(frame) == rows == frame["request"].nunique()  # 9 cells, but no cat is painted
    assert set(frame["method"]) == {"null-space"}


def test_a_row_of_a_survey_is_that_requests_evaluation() -> None:
    p, task = hand_prototypes(), hand_made(CLASS_OF)
    others = hand_made([0, 1, 1, 2, 0, 1, 0, 2], UNRELATED)
    frame = every_request(
        p, task, "global", "null-space", unrelated=others, progress=False
    ).set_index("request")
    row = frame.loc["dog in all domains"]
    assert (
        row["before"] == 1
        and row["forget"] == 0
        and row["paraphrase"] == 0
        and row["retained"] == 0
    )
    # The fish share the dog's direction: two right ones become birds, and so, by luck, does a bird
    # taken for a fish.
    assert row["unrelated"] == pytest.approx(100 * (1 - 2) / 8)


def test_a_summary_is_the_mean_and_the_worst() -> None:
    frame = pd.DataFrame(
        {
            "request": ["a", "b"],
            "method": ["oblique", "oblique"],
            "before": [0.8, 0.6],
            "forget": [0.1, 0.3],
            "paraphrase": [0.2, 0.2],
            "retained": [-2.0, 1.0],
            "same_class": [math.nan, -5.0],
        }
    )
    found = summary(frame)
    assert found["requests"] == 2 and found["method"] == "oblique"
    assert found["before"] == pytest.approx(0.7)
    assert (found["forget"], found["forget worst"]) == pytest.approx((0.2, 0.3))
    assert (found["retained"], found["retained worst"]) == pytest.approx((-0.5, -2.0))
    assert (found["same_class"], found["same_class worst"]) == (-5.0, -5.0)
    assert "unrelated" not in found


def test_the_table_of_summaries_has_a_cell_for_every_group() -> None:
    row = {"requests": 2, "kind": "global", "method": "oblique", "before": 0.7}
    row |= {"forget": 0.2, "forget worst": 0.3, "retained": -0.5, "retained worst": -2.0}
    head, rule, line = markdown([row]).splitlines()
    assert (
        "0.200 (0.30)" in line
        and "-0.5 (-2.0)" in line
        and "| 2 global | oblique | 0.700 |" in line
    )
    columns = 3 + len(GROUPS) + 1 + 1  # requests, edit, before; paraphrased, predicted
    assert head.count("|") == rule.count("|") == line.count("|") == columns + 1


def test_average_precision_of_a_ranking_counted_by_hand() -> None:
    scores = torch.tensor([0.9, 0.1, 0.7, 0.4])
    relevant = torch.tensor([True, False, False, True])  # places 1 and 3 of the ranking
    assert average_precision(scores, relevant) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert math.isnan(average_precision(scores, torch.zeros(4, dtype=torch.bool)))


def test_a_search_is_inside_the_domains_of_the_request_and_elsewhere() -> None:
    # Like dogs look the second sketch, which is one, and the last, a house; then comes the order.
    task = hand_made([0, 0, 1, 2, 0, 1, 0, 1])
    eye = torch.eye(3)
    found = search(task, ForgetRequest(["dog"], ["sketch"]), eye, eye)
    assert found.inside == pytest.approx((1 / 1 + 2 / 4) / 2)  # dog, house, cat, dog
    assert found.elsewhere == 1.0
    assert found.chance == 0.5


def test_a_complete_survey_says_what_a_search_finds(prototypes: Prototypes, task: Task) -> None:
    plain, full = (
        every_request(prototypes, task, "domain-specific", progress=False, complete=complete)
        for complete in (False, True)
    )
    assert "inside" not in plain and len(full) == len(plain)
    assert set(full["method"]) == {"complete"}
    edit = fit_edit(prototypes, ForgetRequest(["dog"], ["sketch"], complete=True))
    row = full.set_index("request").loc[str(edit.request)]
    for strength, suffix in ((0.0, " before"), (1.0, "")):
        expected = search(task, edit.request, *edited_weights(prototypes, edit, strength))
        for where in ("inside", "elsewhere"):
            assert row[where + suffix] == getattr(expected, where)

    found = summary(full)
    assert found["inside worst"] == full["inside"].max()
    assert found["elsewhere worst"] == full["elsewhere"].min()
    header, _, first, second = markdown(
        [{**summary(plain), "kind": "plain"}, {**found, "kind": "complete"}]
    ).splitlines()
    assert "search in the domain" in header
    assert f"{found['inside before']:.3f} → {found['inside']:.3f}" in second
    assert "→" not in first


def test_one_thread_gives_the_threads_back_whatever_happens() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == before
