"""The audit: checks that find what is there and no more, and words that follow the numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import pytest
import torch
from tiny import REQUESTS
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot

from clip_unlearn import (
    Clip,
    ConceptGrid,
    ForgetRequest,
    ProjectionEdit,
    Prototypes,
    accuracy_grid,
    fit_edit,
    make_task,
)
from clip_unlearn.audit import probes, verdict
from clip_unlearn.audit.checks import SHOTS, UNKNOWN, Comparison, neighbour_rows, neighbours
from clip_unlearn.audit.figure import audit_figure
from clip_unlearn.audit.probes import (
    DRAWS,
    few_shot,
    few_shot_mean,
    linear_probe,
    nearest_mean,
    nearest_prototype,
    precision_at_k,
    relearn,
    residual_similarity,
)
from clip_unlearn.audit.verdict import Audit, audit, is_complete
from clip_unlearn.core import InputError
from clip_unlearn.images.datasets import Features
from clip_unlearn.measure.evaluate import (
    Task,
    classifier,
    edited_weights,
    evaluate,
    group_masks,
    one_thread,
    predict,
)
from clip_unlearn.measure.setting import Setting

CLASSES, DOMAINS, PER_CELL = ("cat", "dog", "house", "tree"), ("photo", "sketch"), 20
C, K = len(CLASSES), len(DOMAINS)
D = C + K + 10  # one feature a class, one a domain, and some of noise
DOG = torch.eye(D)[1]


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    """Many small products: threads would only wait for one another."""
    with one_thread():
        yield


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator)


@pytest.fixture(scope="module")
def world() -> Setting:
    """A CLIP that shows its class and its domain in features of their own, with W = I.

    The images of a cell scatter a little.
    """
    grid = ConceptGrid(CLASSES, DOMAINS)
    unit = torch.eye(D)
    classes = unit[:C]
    domains = unit[C : C + K]
    cells = classes[:, None] + domains  # (C, K, D)

    cell_of = torch.arange(C * K).repeat_interleave(PER_CELL)
    f = cells.flatten(0, 1)[cell_of] + 0.1 * noise(len(cell_of), D)
    images = Features(f, cell_of // K, cell_of % K, ())
    prompts = tuple(name[None] for name in classes)
    task = Task(grid, images, prompts, prompts)

    visual = cells[:, :, None].expand(C, K, 3, D)
    prototypes = Prototypes(grid, visual, cells, cells, classes, W=unit, W_text=unit, span=unit)
    return Setting(None, prototypes, task, None, 0.0)


@pytest.fixture(scope="module")
def tiny(clip: Clip, grid: ConceptGrid, features: Features, prototypes: Prototypes) -> Setting:
    """The tiny random CLIP with two images a cell, and a second task."""
    task = make_task(clip, grid, features)
    return Setting(clip, prototypes, task, task, 0.0)


def by_hand(request: ForgetRequest, *pairs: tuple[Tensor, Tensor]) -> ProjectionEdit:
    """An edit of W = I that adds the products of column and row pairs."""
    columns, rows = zip(*pairs, strict=True)
    return ProjectionEdit(
        request, "by hand", {"visual": (torch.stack(columns, 1), torch.stack(rows))}
    )


EVERYWHERE = ForgetRequest(["dog"])
CELL = ForgetRequest(["dog"], ["sketch"])
DOMAIN = ForgetRequest(None, ["sketch"])
# By hand: "mute" turns the answer round, so that no prompt finds it but whoever looks at h does;
# "blind" leaves h no class at all; "nothing" changes nothing.
EDITS = {
    "mute": by_hand(EVERYWHERE, (-3 * DOG, DOG)),
    "blind": by_hand(EVERYWHERE, *((-x, x) for x in torch.eye(D)[:C])),
    "nothing": by_hand(EVERYWHERE, (0 * DOG, DOG)),
}


def audited(setting: Setting, edit: ProjectionEdit, strength: float = 1.0) -> Audit:
    """An audit with fewer draws: quicker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "DRAWS", 2)
        return audit(setting, edit, strength)


@pytest.fixture(scope="module")
def results(world: Setting) -> dict[str, Audit]:
    """One audit of each edit by hand, and of fitted edits that forget a cell and a domain."""
    edits = {
        **EDITS,
        # The oblique edit, since the default of a cell moves its whole domain alike and leaves a
        # search inside as it is.
        "cell": fit_edit(world.prototypes, CELL, "oblique"),
        "domain": fit_edit(world.prototypes, DOMAIN),
    }
    return {name: audited(world, edit) for name, edit in edits.items()}


def at(result: Audit, check: str, where: str = "forget") -> pd.Series:
    """The one row of a check."""
    frame = result.frame
    rows = frame[(frame["check"] == check) & (frame["where"] == where)]
    assert len(rows) == 1
    return rows.iloc[0]


# ---- the linear probe


def test_probe_separates_what_a_plane_separates() -> None:
    x = noise(300, 10)
    normal = noise(10, seed=1)
    score = x @ normal
    # With a margin, no tenth of the images that is held out lies on the wrong side.
    apart = score.abs() > 0.5
    assert linear_probe(x[apart], score[apart] > 0) > 0.97


def mean_on_noise(n: int, features: int, labels: Tensor) -> float:
    """Mean accuracy of a probe on noise that has nothing to do with the labels."""
    seeds = range(8)
    accuracies = [linear_probe(noise(n, features, seed=s), labels, seed=s) for s in seeds]
    return sum(accuracies) / len(accuracies)


def test_probe_is_at_chance_on_noise_although_it_could_learn_it_by_heart() -> None:
    """More features than images: any labels are separable in training, none can be foretold."""
    labels = torch.arange(60) % 2
    assert abs(mean_on_noise(60, 200, labels) - 0.5) < 0.1


def test_a_rare_label_does_not_raise_chance() -> None:
    rare = torch.arange(200) < 10
    assert abs(mean_on_noise(200, 5, rare) - 0.5) < 0.1


def test_a_rare_label_counts_as_much_as_a_common_one() -> None:
    """Two overlapping bells, one of them rare: the best cut is in the middle for any numbers."""
    rare = torch.arange(800) < 40
    x = 2 * rare.float() + noise(800)
    bell = torch.distributions.Normal(0.0, 1.0)
    best = bell.cdf(torch.tensor(1.0)).item()
    assert linear_probe(x[:, None], rare) == pytest.approx(best, abs=0.06)


def test_probe_finds_one_of_many_labels_but_no_pattern_that_is_not_linear() -> None:
    labels = torch.arange(120) % 4
    own_feature = one_hot(labels).float() + 0.1 * noise(120, 4)
    assert linear_probe(own_feature, labels) == 1.0

    x = noise(400, 2)
    xor = x[:, 0] * x[:, 1] > 0
    assert linear_probe(x, xor) < 0.65


def test_probe_does_not_depend_on_the_scale_and_origin_of_features() -> None:
    labels = torch.arange(100) % 2
    x = labels[:, None] + noise(100, 4)
    accuracy = linear_probe(x, labels)
    assert accuracy == pytest.approx(linear_probe(1000 * x - 7, labels), abs=0.011)


def test_what_cannot_be_held_out_is_no_number() -> None:
    x = noise(42, 3)
    labels = torch.tensor([0, 1] * 20 + [7, 7])
    assert not pd.isna(linear_probe(x[:40], labels[:40]))
    assert pd.isna(linear_probe(x[:41], labels[:41])), "a label of one image"
    assert not pd.isna(linear_probe(x, labels)), "a label of two images"
    assert pd.isna(linear_probe(x, torch.zeros(42))), "one label"


# ---- relearning


def all_seen(n: int) -> tuple[Task, Tensor]:
    """n images of the world's grid, and a W that names every one of them wrong.

    Each image has a feature of its own: what is learnt of one says nothing of another.
    """
    cell_of = torch.arange(n) % (C * K)
    images = Features(torch.eye(n), cell_of // K, cell_of % K, ())
    prompts = tuple(torch.eye(C)[:, None])
    task = Task(ConceptGrid(CLASSES, DOMAINS), images, prompts, prompts)
    wrong_class = (images.class_of + 1) % C
    return task, torch.eye(C)[wrong_class]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_no_image_is_scored_that_was_a_shot(k: int) -> None:
    """The images share no feature: a shot is learnt, and every image that is none stays wrong."""
    task, W = all_seen(4 * C * K)
    text = torch.eye(C)
    forget = task.images.class_of == 1
    f = task.images.f[forget]
    labels = task.images.class_of[forget]
    taught = relearn(W, f, labels, text, ridge=1e-3)
    assert (f @ taught @ text.T).argmax(1).equal(labels)

    forgotten, retained, _ = few_shot(task, forget, W, text, k, seed=0)
    assert (forgotten, retained) == (0.0, 0.0)


def test_an_answer_given_to_everything_is_known_for_it() -> None:
    """All images are named dog: forgotten ones rightly, retained ones wrongly, and as often."""
    task, _ = all_seen(4 * C * K)
    dog = torch.ones(len(task.images), dtype=torch.long)
    W = torch.eye(C)[dog]
    numbers = few_shot(task, task.images.class_of == 1, W, torch.eye(C), 1, seed=0)
    assert numbers.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("k", [1, 4])
def test_each_draw_takes_k_new_images_of_each_forgotten_cell(
    world: Setting, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    task = world.task
    forget = task.images.class_of == 1
    draws = []

    def record(W: Tensor, f: Tensor, labels: Tensor, text: Tensor) -> Tensor:
        draws.append((f, labels))
        return W

    monkeypatch.setattr(probes, "relearn", record)
    text = classifier(task.prompts, torch.eye(D))
    few_shot(task, forget, torch.eye(D), text, k, seed=0)

    own = task.images.f[forget]
    for f, labels in draws:
        assert labels.tolist() == [1] * k * K
        for row in f:
            assert (own == row).all(1).any()
    assert len(draws) == DRAWS
    for (one, _), (other, _) in itertools.combinations(draws, 2):
        assert not one.equal(other)


@pytest.mark.parametrize("name", EDITS)
def test_relearning_from_no_image_is_the_edited_model(world: Setting, name: str) -> None:
    edit = EDITS[name]
    frame = evaluate(world.prototypes, edit, world.task, [1.0])
    accuracy = frame.set_index("group")["accuracy"]
    W, W_text = edited_weights(world.prototypes, edit, 1.0)
    text = classifier(world.task.prompts, W_text)

    numbers = few_shot(world.task, world.task.images.class_of == 1, W, text, 0, seed=0)
    expected = [accuracy["forget"], accuracy["retained"]]
    assert numbers[:2].tolist() == pytest.approx(expected)
    no_labels = torch.tensor([], dtype=torch.long)
    assert relearn(W, W[:0], no_labels, text) is W


@pytest.fixture
def lesson() -> dict[str, Tensor]:
    """W, and five images with labels to relearn from."""
    return {
        "W": noise(12, 6),
        "f": noise(5, 12, seed=1),
        "labels": torch.tensor([0, 1, 2, 0, 1]),
        "text": normalize(noise(3, 6, seed=2)),
    }


def test_relearning_stops_where_the_whole_objective_is_flat(lesson: dict[str, Tensor]) -> None:
    """It solves in the span of the images; the gradient in all of W must vanish there too."""
    W = lesson["W"]

    def slope(x: Tensor) -> float:
        x = x.clone().requires_grad_(True)
        logits = 30 * normalize(lesson["f"] @ x, dim=-1) @ lesson["text"].T
        away = (x - W).square().sum() / W.square().sum()
        loss = cross_entropy(logits, lesson["labels"]) + 5 * away
        loss.backward()
        return x.grad.norm().item()

    taught = relearn(**lesson, ridge=5, steps=200)
    assert slope(taught) < 1e-2 * slope(W)


def test_the_retention_term_ties_relearning_to_where_it_began(lesson: dict[str, Tensor]) -> None:
    def away(ridge: float) -> float:
        return (relearn(**lesson, ridge=ridge) - lesson["W"]).norm().item()

    assert away(0.1) > away(10) > 10 * away(1e4) > 0


def test_a_cell_without_an_image_to_hold_out_is_not_measured(world: Setting) -> None:
    task = world.task
    forget = task.images.class_of == 1
    W = torch.eye(D)
    text = classifier(task.prompts, W)
    assert not few_shot(task, forget, W, text, PER_CELL - 1, seed=0).isnan().any()
    assert few_shot(task, forget, W, text, PER_CELL, seed=0).isnan().all()
    assert few_shot_mean(task, forget, W, PER_CELL, seed=0).isnan().all()


# ---- nearest means, similarity, search, neighbours


def test_nearest_mean_of_a_case_drawn_by_hand() -> None:
    anchors = torch.tensor([[1.0, 0.0], [0.0, 9.0], [3.0, 3.0], [-1.0, 0.0]])
    labels = torch.tensor([7, 2, 7, 4])
    queries = torch.tensor([[5.0, 1.0], [0.1, 0.2], [-2.0, 0.1]])
    # Label 7 is the mean of two unit anchors: the long one counts no more than the short one.
    assert nearest_mean(queries, anchors, labels).tolist() == [7, 2, 4]


def test_prototypes_name_every_image_of_a_world_of_clear_cells(world: Setting) -> None:
    named = nearest_prototype(world.task, world.prototypes, torch.eye(D))
    assert named.equal(world.task.images.class_of)


def test_similarity_of_a_case_counted_by_hand(world: Setting) -> None:
    f = torch.tensor([[1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 3.0, 0]])
    images = Features(f, torch.tensor([0, 1, 3]), torch.tensor([0, 0, 0]), ())
    task = replace(world.task, images=images)
    forget = torch.tensor([True, False, True])
    cosine = residual_similarity(task, forget, W=torch.eye(4), text=torch.eye(4))
    assert cosine.own == 0.5, "1 and 0"
    assert cosine.other == pytest.approx(1 / 9), "one 1 among nine"
    assert cosine.sd == pytest.approx(torch.tensor([1.0] + [0.0] * 8).std().item())


def test_precision_counts_the_relevant_among_the_nearest() -> None:
    # The first is long, which does not help it.
    h = torch.tensor([[9.0, 9.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.0]])
    text = torch.tensor([1.0, 0.0])
    expected = {(0, 1): 0.5, (1, 3): 1.0, (2,): 0.0}
    for relevant, precision in expected.items():
        mask = torch.zeros(4, dtype=torch.bool)
        mask[list(relevant)] = True
        assert precision_at_k(h, text, mask) == precision


def test_neighbours_are_the_cells_that_stay_with_their_accuracies(
    tiny: Setting, request_of: ForgetRequest
) -> None:
    grid = tiny.task.grid
    p = tiny.prototypes
    mask = request_of.mask(grid)
    edit = fit_edit(p, request_of)
    frame = neighbours(tiny.task, p, edit).set_index(["class", "domain"])

    expected = set()
    for c, name in enumerate(grid.classes):
        for k, domain in enumerate(grid.domains):
            if not mask[c, k]:
                expected.add((name, domain))
    expected.discard(("cat", "art painting"))  # no cat is painted
    assert set(frame.index) == expected

    W, W_text = edited_weights(p, edit, 1.0)
    after = accuracy_grid(tiny.task, predict(tiny.task, W, W_text))
    for name, domain in frame.index:
        cell_text = p.text[grid.class_index(name), grid.domain_index(domain)]
        similarity = (p.text[mask] @ cell_text).max().item()
        row = frame.loc[(name, domain)]
        assert row["after"] == after.loc[name, domain]
        assert row["similarity"] == pytest.approx(similarity)


# ---- what the whole says


def unchanged(result: Audit) -> bool:
    """Whether every number is the same before and after."""
    same = result.frame["before"].equals(result.frame["after"])
    return same and bool((result.neighbours["change"] == 0).all())


def test_at_strength_zero_nothing_has_changed(tiny: Setting, request_of: ForgetRequest) -> None:
    edit = fit_edit(tiny.prototypes, request_of)
    result = audited(tiny, edit, 0)
    assert unchanged(result)
    assert result.verdict.endswith("What should stay stayed.")


def test_at_strength_zero_nothing_has_changed_where_all_is_measured(
    world: Setting, results: dict[str, Audit]
) -> None:
    edit = fit_edit(world.prototypes, CELL)
    frame = audited(world, edit, 0.0).frame
    missing = frame["reading"].str.startswith("not measured")
    not_measured = set(zip(frame["check"][missing], frame["where"][missing], strict=True))
    assert not_measured == {("translations", "forget"), ("prompts", "unrelated")}
    assert not frame[~missing][["before", "after", "chance"]].isna().any(axis=None)

    assert frame["before"].equals(frame["after"])
    assert not unchanged(results["cell"])
    # What is there before an edit does not depend on it, but for the worst cell, the last row.
    other = results["cell"].frame
    assert frame["before"].iloc[:-1].equals(other["before"].iloc[:-1])


def test_a_full_null_space_leaves_no_similarity_to_the_prompts_that_built_it(tiny: Setting) -> None:
    p = tiny.prototypes
    request = REQUESTS["global"]
    forget = group_masks(request.mask(tiny.task.grid), tiny.task.images)["forget"]
    # As the edit sees it: weaker directions than the span of all prompts count as unseen.
    dog_sketch = p.text[1, 2] @ p.span @ p.span.T
    text = dog_sketch.expand(len(tiny.task.prompts), -1)
    before = residual_similarity(tiny.task, forget, p.W, text)
    assert abs(before.own) > 0.01

    edit = fit_edit(p, request, "null-space", rtol=1e-4)
    W, _ = edited_weights(p, edit, 1.0)
    after = residual_similarity(tiny.task, forget, W, text)
    assert abs(after.own) < 1e-4
    assert abs(after.other) < 1e-4
    assert after.sd < 1e-4


def test_what_a_projection_removes_no_probe_behind_it_finds(results: dict[str, Audit]) -> None:
    blind = results["blind"]
    on_f = at(blind, "linear probe on f", "all images")
    on_h = at(blind, "linear probe on h", "all images")
    assert (on_f["before"], on_f["after"]) == (1.0, 1.0)
    assert on_h["before"] == 1.0
    assert abs(on_h["after"] - 0.5) < 0.15
    assert at(blind, "nearest prototype")["after"] < 0.5
    assert at(blind, "nearest mean of 4")["after"] < 0.5


@pytest.mark.parametrize("k", SHOTS)
def test_f_teaches_a_muted_class_again_and_a_blinded_head_only_to_say_it_of_all(
    results: dict[str, Audit], k: int
) -> None:
    mute = at(results["mute"], f"relearning from {k}")
    assert mute["after"] > 0.7
    assert mute["chance"] == 1 / C
    assert mute["reading"] == "still there"

    blind = at(results["blind"], f"relearning from {k}")
    assert blind["after"] > 0.9
    assert blind["chance"] > 0.9
    assert blind["reading"] == "tells nothing"


def test_hiding_is_told_from_removing(results: dict[str, Audit]) -> None:
    mute = results["mute"].verdict
    blind = results["blind"].verdict
    for text in (mute, blind):
        assert text.startswith("Prompts no longer find dog in all domains (0.00, chance 0.25).")
        assert "linear probe on f (1.00)" in sentence(text, "Still found by")

    assert "linear probe on h (1.00)" in sentence(mute, "Still found by")
    assert "search (0.00)" in sentence(mute, "Not by")
    assert "it does not erase" in mute
    assert "gives them away" in mute
    assert "What should stay stayed." in mute

    assert "linear probe on h" not in sentence(blind, "Still found by")
    assert "linear probe on h" in sentence(blind, "Not by")
    assert "Nothing tried here finds it behind the projection" in blind
    assert "it does not erase" not in blind
    assert "gives them away" not in blind
    assert "prompts, retained (1.00 to 0.33)" in sentence(blind, "Lost")


def test_an_edit_that_does_nothing_is_not_praised(results: dict[str, Audit]) -> None:
    text = results["nothing"].verdict
    assert text.startswith("Prompts still find dog in all domains (1.00, chance 0.25).")
    for words in ("Not by", "In part by", "no longer", "erase", "Nothing tried", "Lost"):
        assert words not in text


def sentence(text: str, start: str) -> str:
    """The sentence of a verdict that starts so; numbers hold full stops too."""
    return next(part for part in text.split(". ") if part.startswith(start))


def reading(
    before: float,
    after: float,
    check: str = "search",
    where: str = "forget",
    partial: bool = False,
) -> str:
    """The reading of one row, with chance .2 and an sd of .1."""
    row = Comparison(check, where, before, after, 0.2)
    return verdict._reading(row, 0.1, partial)


def test_a_reading_follows_the_share_that_is_left() -> None:
    readings = [reading(1.0, after) for after in (0.0, 0.27, 0.29, 0.59, 0.61, 1.0)]
    assert readings[:2] == ["gone"] * 2
    assert readings[2:4] == ["partly there"] * 2
    assert readings[4:] == ["still there"] * 2
    assert reading(0.25, 0.2) == "tells nothing"
    assert "not measured: no image" in reading(float("nan"), float("nan"))
    assert reading(1.0, 0.1, where="all images", partial=True) == "for comparison"
    assert reading(1.0, 0.81, "regained from 4") == "+81 points"


def test_a_reading_of_what_should_stay_is_its_loss() -> None:
    assert reading(1.0, 0.95, where="retained") == "lost 5 points"
    assert reading(1.0, 0.99, where="retained") == "kept"
    assert reading(1.0, 0.95, "worst cell", "a in b") == "kept"
    assert reading(1.0, 0.8, "worst cell", "a in b") == "lost 20 points"


def test_a_reading_tells_images_that_give_themselves_away_and_names_never_known() -> None:
    assert reading(0.9, -0.1, "similarity") == "over-forgotten"
    assert reading(0.9, 0.1, "similarity") == "gone"
    assert reading(0.41, 0.2, "translations") == "gone"
    assert "did not know them before (0.39" in reading(0.39, 0.2, "translations", UNKNOWN)


def test_forgetting_one_cell_looks_inside_its_domain_and_outside(results: dict[str, Audit]) -> None:
    inside = at(results["cell"], "search", "forgotten domains")
    outside = at(results["cell"], "search", "same_class")
    assert inside["before"] == outside["before"] == 1.0
    assert inside["after"] < outside["after"]
    assert at(results["cell"], "search", "all images")["reading"] == "for comparison"
    assert at(results["cell"], "linear probe on h", "forgotten domains")["chance"] == 0.5


def test_of_a_complete_request_the_verdict_says_what_a_search_finds(world: Setting) -> None:
    edit = fit_edit(world.prototypes, CELL)
    plain = audited(world, edit)
    full = audited(world, replace(edit, request=replace(CELL, complete=True)))
    row = at(full, "search", "forgotten domains")
    said = f"It was to go from a search too, which inside these domains shows {row['after']:.2f}"
    assert said in full.verdict and f": {row['reading']}." in full.verdict
    assert "from a search too" not in plain.verdict
    assert "complete (" not in full.verdict


def test_forgetting_a_domain_probes_all_its_classes_and_the_domain(
    results: dict[str, Audit],
) -> None:
    domain = results["domain"]
    assert at(domain, "linear probe on h", "forgotten domains")["chance"] == 1 / C
    assert at(domain, "domain probe on h", "all images")["before"] == 1.0
    searches = domain.frame[domain.frame["check"] == "search"]
    assert "all images" not in set(searches["where"])


def test_the_unrelated_task_and_the_answers_are_those_of_evaluate(
    tiny: Setting, request_of: ForgetRequest
) -> None:
    edit = fit_edit(tiny.prototypes, request_of)
    result = audited(tiny, edit, 0.7)
    frame = evaluate(tiny.prototypes, edit, tiny.task, [0.0, 0.7], tiny.unrelated)
    for group, rows in frame.groupby("group"):
        prompts = at(result, "prompts", group)
        paraphrases = at(result, "paraphrases", group)
        assert [prompts["before"], prompts["after"]] == rows["accuracy"].tolist()
        assert [paraphrases["before"], paraphrases["after"]] == rows["paraphrase"].tolist()


# ---- translations, accuracy regained, neighbours, completeness


def with_translations(world: Setting, edit: ProjectionEdit, **texts: Tensor) -> pd.Series:
    """The translation row if the classes named have these text features (n, D)."""
    none = torch.zeros(0, D)
    translations = tuple(texts.get(name, none) for name in CLASSES)
    task = replace(world.task, translations=translations)
    frame = audited(replace(world, task=task), edit).frame
    rows = frame[frame["check"] == "translations"]
    assert len(rows) == 1
    return rows.iloc[0]


def test_translations_that_mean_the_class_fall_with_it(world: Setting) -> None:
    near_dog = DOG[None] + 0.1 * noise(2, D)
    fallen = with_translations(world, EDITS["mute"], dog=near_dog)
    assert (fallen["before"], fallen["after"], fallen["reading"]) == (1.0, 0.0, "gone")
    kept = with_translations(world, EDITS["nothing"], dog=DOG[None])
    assert (kept["before"], kept["after"], kept["reading"]) == (1.0, 1.0, "still there")


def test_a_class_whose_translation_was_unknown_does_not_blur_another(world: Setting) -> None:
    cat = torch.eye(D)[0]
    both = by_hand(ForgetRequest(["dog", "cat"]), (-3 * DOG, DOG), (-3 * cat, cat))
    row = with_translations(world, both, dog=DOG[None], cat=-cat[None])
    assert row["where"] == "forget"
    assert (row["before"], row["after"], row["reading"]) == (1.0, 0.0, "gone")


def test_translations_that_clip_never_knew_test_nothing(world: Setting) -> None:
    foreign = with_translations(world, EDITS["mute"], dog=-DOG[None])
    assert foreign["before"] == 0.0
    assert "did not know them before (0.00, chance 0.25)" in foreign["reading"]


def test_translations_said_of_every_image_test_nothing(world: Setting) -> None:
    strange = {name: -torch.eye(D)[[CLASSES.index(name)]] for name in ("cat", "house", "tree")}
    any_domain = torch.eye(D)[C : C + K].sum(0)
    row = with_translations(world, EDITS["nothing"], dog=any_domain[None], **strange)
    assert row["before"] == 1.0
    assert "did not know them before" in row["reading"]


def test_translations_of_other_classes_test_nothing(world: Setting) -> None:
    row = with_translations(world, EDITS["mute"], cat=torch.eye(D)[:1])
    assert pd.isna(row["before"])
    assert row["reading"] == "not measured: none is given for what is forgotten"
    without = audited(world, EDITS["mute"]).verdict
    assert "translations (none is given for what is forgotten)" in without


@pytest.mark.parametrize("k", SHOTS)
def test_what_is_regained_is_what_relearning_adds_to_the_prompts(
    results: dict[str, Audit], k: int
) -> None:
    for result in results.values():
        taught = at(result, f"relearning from {k}")
        gain = at(result, f"regained from {k}")
        prompts = at(result, "prompts")
        for when in ("before", "after"):
            assert gain[when] == pytest.approx(taught[when] - prompts[when])
    assert f"{k} bring" in sentence(results["mute"].verdict, "Labelled images")
    # Saying it of everything brings nothing back.
    assert "Labelled images" not in results["blind"].verdict


def test_what_should_stay_is_searched_for_too(results: dict[str, Audit]) -> None:
    searches = {name: at(result, "search", "retained") for name, result in results.items()}
    for name in ("mute", "cell", "domain"):
        assert searches[name]["before"] == 1.0
    assert searches["mute"]["reading"] == "kept"
    assert searches["blind"]["reading"].startswith("lost")


def test_neighbours_are_told_from_other_cells_and_forgotten_classes_are_none() -> None:
    cells = pd.DataFrame(
        [
            ("dog", "photo", 0.9, 1.0, 0.0),
            ("cat", "photo", 0.8, 1.0, 0.5),
            ("fox", "photo", 0.2, 1.0, 0.9),
            ("bus", "photo", 0.1, 1.0, 0.8),
            ("cup", "photo", 0.0, 1.0, 0.7),
        ],
        columns=["class", "domain", "similarity", "before", "after"],
    )
    cells["change"] = cells["after"] - cells["before"]
    nearest, others, worst = neighbour_rows(cells, {"dog"}, 0.2)
    assert nearest == Comparison("neighbours", "nearest quarter", 1.0, 0.5, 0.2)
    assert others == Comparison("neighbours", "all others", 1.0, pytest.approx(0.8), 0.2)
    assert worst == Comparison("worst cell", "dog in photo", 1.0, 0.0, 0.2)

    # If every class is forgotten somewhere, the cells that stay are the neighbours.
    only, _ = neighbour_rows(cells[:1], {"dog"}, 0.2)
    assert only == Comparison("neighbours", "nearest quarter", 1.0, 0.0, 0.2)


def test_an_edit_is_complete_when_a_probe_on_h_is_at_chance(results: dict[str, Audit]) -> None:
    blind = results["blind"]
    assert blind.complete
    assert "Complete: a linear probe on h is at chance" in blind.verdict

    mute = results["mute"]
    assert not mute.complete
    words = "Not complete: a linear probe on h is not at chance (1.00, chance 0.50)."
    assert words in mute.verdict


def test_an_edit_is_not_complete_if_anything_else_finds_it(results: dict[str, Audit]) -> None:
    frame = results["blind"].frame.copy()
    frame.loc[frame["check"] == "nearest prototype", "reading"] = "still there"
    assert not is_complete(frame)
    (words,) = verdict._completeness(frame)
    assert "is at chance" in words
    assert "not nearest prototype" in words


def test_without_a_probe_on_h_nobody_knows_whether_an_edit_is_complete(
    results: dict[str, Audit],
) -> None:
    frame = results["blind"].frame.copy()
    probe = frame["check"] == "linear probe on h"
    frame.loc[probe, "reading"] = "not measured: few"
    frame.loc[probe, "after"] = float("nan")
    assert not is_complete(frame)
    (words,) = verdict._completeness(frame)
    assert words.startswith("Whether it is complete is not known")


def test_the_figure_shows_every_number_that_was_sought_or_kept(results: dict[str, Audit]) -> None:
    shown = ("kept", "lost", "gone", "still", "partly")
    for result in results.values():
        figure = audit_figure(result, "Forget dog")
        texts = [
            text.get_text()
            for part in figure.findobj(lambda artist: hasattr(artist, "texts"))
            for text in part.texts
        ]
        labels = [label.get_text() for ax in figure.axes for label in ax.get_yticklabels()]

        frame = result.frame[result.frame["check"] != "similarity"]
        for row in frame[frame["reading"].str.startswith(shown)].itertuples():
            assert any(label.startswith(row.check) for label in labels), row.check
            assert f"{row.before:.2f} → {row.after:.2f}" in texts
        assert any("Prompts" in text for text in texts)


def test_the_same_seed_gives_the_same_audit(world: Setting, results: dict[str, Audit]) -> None:
    again = audited(world, EDITS["mute"])
    pd.testing.assert_frame_equal(again.frame, results["mute"].frame)
    assert again.verdict == results["mute"].verdict


def test_a_request_without_images_and_a_wrong_strength_are_named(tiny: Setting) -> None:
    no_cat_is_painted = fit_edit(tiny.prototypes, ForgetRequest(["cat"], ["art_painting"]))
    with pytest.raises(InputError, match="no image of cat in art painting"):
        audit(tiny, no_cat_is_painted)
    edit = fit_edit(tiny.prototypes, REQUESTS["global"])
    with pytest.raises(InputError, match="strength is 2"):
        audit(tiny, edit, 2)
