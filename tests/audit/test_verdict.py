"""The audit: probes that find what is there and no more, shots that are never scored, words that follow numbers."""

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
from clip_unlearn.audit import checks as findings
from clip_unlearn.audit import probes
from clip_unlearn.audit import verdict as audit_module
from clip_unlearn.audit.checks import SHOTS
from clip_unlearn.audit.figure import audit_figure
from clip_unlearn.audit.probes import (
    DRAWS,
    few_shot,
    linear_probe,
    nearest_mean,
    nearest_prototype,
    precision_at_k,
    relearn,
    residual_similarity,
)
from clip_unlearn.audit.verdict import Audit, audit, neighbours
from clip_unlearn.core.errors import InputError
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
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def world() -> Setting:
    """A CLIP that shows its class and its domain in features of their own, W = I, with images that scatter a little."""
    grid = ConceptGrid(CLASSES, DOMAINS)
    classes, domains = torch.eye(D)[:C], torch.eye(D)[C : C + K]
    cells = classes[:, None] + domains
    index = torch.arange(C * K).repeat_interleave(PER_CELL)
    f = cells.flatten(0, 1)[index] + 0.1 * noise(len(index), D)
    images = Features(f, index // K, index % K, ())
    prompts = tuple(c[None] for c in classes)
    visual = cells[:, :, None].expand(C, K, 3, D)
    prototypes = Prototypes(grid, visual, cells, cells, classes, torch.eye(D), torch.eye(D))
    return Setting(None, prototypes, Task(grid, images, prompts, prompts), None, 0.0)


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


EVERYWHERE, CELL, DOMAIN = (
    ForgetRequest(["dog"]),
    ForgetRequest(["dog"], ["sketch"]),
    ForgetRequest(None, ["sketch"]),
)
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
    # The oblique edit, since the default of a cell moves its whole domain alike and leaves a search
    # inside as it is.
    fitted = {
        "cell": fit_edit(world.prototypes, CELL, "oblique"),
        "domain": fit_edit(world.prototypes, DOMAIN),
    }
    return {name: audited(world, edit) for name, edit in {**EDITS, **fitted}.items()}


def at(result: Audit, check: str, where: str = "forget") -> pd.Series:
    frame = result.frame
    (row,) = [
        frame.loc[i] for i in frame.index[(frame["check"] == check) & (frame["where"] == where)]
    ]
    return row


# ---- the linear probe


def test_probe_separates_what_a_plane_separates() -> None:
    x, normal = noise(300, 10), noise(10, seed=1)
    score = x @ normal
    apart = (
        score.abs() > 0.5
    )  # with a margin, a tenth of the images a fold may not lie on the wrong side
    assert linear_probe(x[apart], score[apart] > 0) > 0.97


def test_probe_is_at_chance_on_noise_although_it_could_learn_it_by_heart() -> None:
    """More features than images: any labels are separable in training, none can be foretold."""
    found = [linear_probe(noise(60, 200, seed=s), torch.arange(60) % 2, seed=s) for s in range(8)]
    assert abs(sum(found) / 8 - 0.5) < 0.1


def test_a_rare_label_does_not_raise_chance() -> None:
    rare = torch.arange(200) < 10
    found = [linear_probe(noise(200, 5, seed=s), rare, seed=s) for s in range(8)]
    assert abs(sum(found) / 8 - 0.5) < 0.1


def test_a_rare_label_counts_as_much_as_a_common_one() -> None:
    """Two overlapping bells, one of them rare: the best cut is in the middle, whatever the numbers."""
    rare = torch.arange(800) < 40
    x = (2 * rare.float() + noise(800))[:, None]
    best = torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(1.0)).item()
    assert linear_probe(x, rare) == pytest.approx(best, abs=0.06)


def test_probe_finds_one_of_many_labels_but_no_pattern_that_is_not_linear() -> None:
    labels = torch.arange(120) % 4
    assert linear_probe(one_hot(labels).float() + 0.1 * noise(120, 4), labels) == 1.0
    x = noise(400, 2)
    assert linear_probe(x, x[:, 0] * x[:, 1] > 0) < 0.65  # XOR


def test_probe_does_not_depend_on_the_scale_and_origin_of_features() -> None:
    labels = torch.arange(100) % 2
    x = labels[:, None] + noise(100, 4)
    assert linear_probe(x, labels) == pytest.approx(linear_probe(1000 * x - 7, labels), abs=0.011)


def test_what_cannot_be_held_out_is_no_number() -> None:
    x, labels = noise(41, 3), torch.tensor([0, 1] * 20 + [7])
    assert not pd.isna(linear_probe(x[:40], labels[:40]))
    assert pd.isna(linear_probe(x, labels))  # a label of one image
    assert pd.isna(linear_probe(x, torch.zeros(41)))  # one label
    assert not pd.isna(
        linear_probe(torch.cat([x, x[40:]]), torch.cat([labels, labels[40:]]))
    )  # two images


# ---- relearning


def all_seen(n: int) -> tuple[Task, Tensor]:
    """n images of the world's grid, each with a feature of its own: what is learnt of one says nothing of another."""
    index = torch.arange(n) % (C * K)
    prompts = tuple(torch.eye(C)[:, None])
    task = Task(
        ConceptGrid(CLASSES, DOMAINS),
        Features(torch.eye(n), index // K, index % K, ()),
        prompts,
        prompts,
    )
    wrong = torch.eye(C)[(task.images.class_of + 1) % C]
    return task, wrong  # W = wrong names every image wrong


@pytest.mark.parametrize("k", [1, 2, 3])
def test_no_image_is_scored_that_was_a_shot(k: int) -> None:
    """Images that share no feature: a shot is learnt, and every image that is no shot stays wrong."""
    task, W = all_seen(4 * C * K)
    forget, text = task.images.class_of == 1, torch.eye(C)
    f, y = task.images.f[forget], task.images.class_of[forget]
    assert (f @ relearn(W, f, y, text, ridge=1e-3) @ text.T).argmax(1).equal(y)
    assert few_shot(task, forget, W, text, k, seed=0)[:2].tolist() == [0.0, 0.0]


def test_an_answer_given_to_everything_is_known_for_it() -> None:
    """All images are named dog: forgotten ones rightly, retained ones wrongly, and as often."""
    task, _ = all_seen(4 * C * K)
    W = torch.eye(C)[torch.ones(4 * C * K, dtype=torch.long)]
    assert few_shot(task, task.images.class_of == 1, W, torch.eye(C), 1, seed=0).tolist() == [
        1.0,
        0.0,
        1.0,
    ]


@pytest.mark.parametrize("k", [1, 4])
def test_each_draw_takes_k_new_images_of_each_forgotten_cell(
    world: Setting, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    task, given = world.task, []

    def record(W: Tensor, f: Tensor, labels: Tensor, text: Tensor) -> Tensor:
        given.append((f, labels))
        return W

    monkeypatch.setattr(probes, "relearn", record)
    few_shot(
        task,
        task.images.class_of == 1,
        torch.eye(D),
        classifier(task.prompts, torch.eye(D)),
        k,
        seed=0,
    )
    own = task.images.f[task.images.class_of == 1]
    for f, labels in given:
        assert labels.tolist() == [1] * k * K
        assert all((own == row).all(1).any() for row in f)
    assert len(given) == DRAWS and not any(
        a.equal(b) for (a, _), (b, _) in itertools.combinations(given, 2)
    )


@pytest.mark.parametrize("name", EDITS)
def test_relearning_from_no_image_is_the_edited_model(world: Setting, name: str) -> None:
    edit = EDITS[name]
    frame = evaluate(world.prototypes, edit, world.task, [1.0]).set_index("group")["accuracy"]
    W, W_text = edited_weights(world.prototypes, edit, 1.0)
    forget, text = world.task.images.class_of == 1, classifier(world.task.prompts, W_text)
    found = few_shot(world.task, forget, W, text, 0, seed=0)
    assert found[:2].tolist() == pytest.approx([frame["forget"], frame["retained"]])
    assert relearn(W, W[:0], torch.tensor([], dtype=torch.long), text) is W


def test_relearning_stops_where_the_whole_objective_is_flat() -> None:
    """It solves in the span of the images; the gradient in all of W must vanish there too."""
    W, f, labels, text = (
        noise(12, 6),
        noise(5, 12, seed=1),
        torch.tensor([0, 1, 2, 0, 1]),
        normalize(noise(3, 6, seed=2)),
    )

    def slope(x: Tensor) -> float:
        x = x.clone().requires_grad_(True)
        away = (x - W).square().sum() / W.square().sum()
        (cross_entropy(30 * normalize(f @ x, dim=-1) @ text.T, labels) + 5 * away).backward()
        return x.grad.norm().item()

    assert slope(relearn(W, f, labels, text, ridge=5, steps=200)) < 1e-2 * slope(W)


def test_the_retention_term_ties_relearning_to_where_it_began() -> None:
    W, f, labels, text = (
        noise(12, 6),
        noise(5, 12, seed=1),
        torch.tensor([0, 1, 2, 0, 1]),
        normalize(noise(3, 6, seed=2)),
    )
    away = [
        (relearn(W, f, labels, text, ridge=ridge) - W).norm().item() for ridge in (0.1, 10, 1e4)
    ]
    assert away[0] > away[1] > 10 * away[2] > 0


def test_a_cell_without_an_image_to_hold_out_is_not_measured(world: Setting) -> None:
    forget, text = world.task.images.class_of == 1, classifier(world.task.prompts, torch.eye(D))
    assert not few_shot(world.task, forget, torch.eye(D), text, PER_CELL - 1, seed=0).isnan().any()
    assert few_shot(world.task, forget, torch.eye(D), text, PER_CELL, seed=0).isnan().all()


# ---- nearest means, similarity, search, neighbours


def test_nearest_mean_of_a_case_drawn_by_hand() -> None:
    anchors = torch.tensor([[1.0, 0.0], [0.0, 9.0], [3.0, 3.0], [-1.0, 0.0]])
    queries = torch.tensor([[5.0, 1.0], [0.1, 0.2], [-2.0, 0.1]])
    # label 7: the mean of two unit anchors; the long one counts no more than the short one
    assert nearest_mean(queries, anchors, torch.tensor([7, 2, 7, 4])).tolist() == [7, 2, 4]


def test_prototypes_name_every_image_of_a_world_of_clear_cells(world: Setting) -> None:
    assert nearest_prototype(world.task, world.prototypes, torch.eye(D)).equal(
        world.task.images.class_of
    )


def test_similarity_of_a_case_counted_by_hand(world: Setting) -> None:
    f = torch.tensor([[1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 3.0, 0]])
    images = Features(f, torch.tensor([0, 1, 3]), torch.tensor([0, 0, 0]), ())
    value, mean, sd = residual_similarity(
        replace(world.task, images=images),
        torch.tensor([True, False, True]),
        torch.eye(4),
        torch.eye(4),
    )
    assert (value, mean) == (0.5, pytest.approx(1 / 9))  # own: 1 and 0; others: one 1 among nine
    assert sd == pytest.approx(torch.tensor([1.0] + [0.0] * 8).std().item())


def test_precision_counts_the_relevant_among_the_nearest() -> None:
    h = torch.tensor(
        [[9.0, 9.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.0]]
    )  # length does not help the first
    text = torch.tensor([1.0, 0.0])
    assert precision_at_k(h, text, torch.tensor([True, True, False, False])) == 0.5
    assert precision_at_k(h, text, torch.tensor([False, True, False, True])) == 1.0
    assert precision_at_k(h, text, torch.tensor([False, False, True, False])) == 0.0


def test_neighbours_are_the_cells_that_stay_with_their_accuracies(
    tiny: Setting, request_of: ForgetRequest
) -> None:
    edit = fit_edit(tiny.prototypes, request_of)
    frame = neighbours(tiny.task, tiny.prototypes, edit).set_index(["class", "domain"])
    mask, grid = request_of.mask(tiny.task.grid), tiny.task.grid
    after = accuracy_grid(
        tiny.task, predict(tiny.task, *edited_weights(tiny.prototypes, edit, 1.0))
    )
    expected = {
        (c, d)
        for (i, c), (j, d) in itertools.product(enumerate(grid.classes), enumerate(grid.domains))
        if not mask[i, j] and (c, d) != ("cat", "art painting")  # no cat is painted
    }
    assert set(frame.index) == expected
    for c, d in frame.index:
        cell = tiny.prototypes.text[grid.class_index(c), grid.domain_index(d)]
        assert frame.loc[(c, d), "after"] == after.loc[c, d]
        assert frame.loc[(c, d), "similarity"] == pytest.approx(
            (tiny.prototypes.text[mask] @ cell).max().item()
        )


# ---- what the whole says


def unchanged(result: Audit) -> bool:
    return result.frame["before"].equals(result.frame["after"]) and bool(
        (result.neighbours["change"] == 0).all()
    )


def test_at_strength_zero_nothing_has_changed(tiny: Setting, request_of: ForgetRequest) -> None:
    result = audited(tiny, fit_edit(tiny.prototypes, request_of), 0)
    assert unchanged(result) and result.verdict.endswith("What should stay stayed.")


def test_at_strength_zero_nothing_has_changed_where_all_is_measured(
    world: Setting, results: dict[str, Audit]
) -> None:
    edit = fit_edit(world.prototypes, CELL)
    frame = audited(world, edit, 0.0).frame
    missing = frame["reading"].str.startswith("not measured")
    assert frame["before"].equals(frame["after"]) and not frame[~missing][
        ["before", "after", "chance"]
    ].isna().any(axis=None)
    assert set(zip(frame["check"][missing], frame["where"][missing], strict=True)) == {
        ("translations", "forget"),
        ("prompts", "unrelated"),
    }
    assert (
        frame["before"].iloc[:-1].equals(results["cell"].frame["before"].iloc[:-1])
    )  # the last is the worst cell
    assert not unchanged(results["cell"])


def test_a_full_null_space_leaves_no_similarity_to_the_prompts_that_built_it(tiny: Setting) -> None:
    edit = fit_edit(tiny.prototypes, REQUESTS["global"], "null-space", rtol=1e-4)
    W, _ = edited_weights(tiny.prototypes, edit, 1.0)
    forget = group_masks(REQUESTS["global"].mask(tiny.task.grid), tiny.task.images)["forget"]
    text = tiny.prototypes.text[1, 2].expand(len(tiny.task.prompts), -1)  # dog in sketch
    before, _, _ = residual_similarity(tiny.task, forget, tiny.prototypes.W, text)
    after, mean, sd = residual_similarity(tiny.task, forget, W, text)
    assert abs(before) > 0.01 and (abs(after), abs(mean), sd) < (1e-4, 1e-4, 1e-4)


def test_what_a_projection_removes_no_probe_behind_it_finds(results: dict[str, Audit]) -> None:
    found = results["blind"]
    assert at(found, "linear probe on f", "all images")[["before", "after"]].tolist() == [1.0, 1.0]
    assert at(found, "linear probe on h", "all images")["before"] == 1.0
    assert abs(at(found, "linear probe on h", "all images")["after"] - 0.5) < 0.15
    assert (
        at(found, "nearest prototype")["after"] < 0.5
        and at(found, "nearest mean of 4")["after"] < 0.5
    )


@pytest.mark.parametrize("k", SHOTS)
def test_f_teaches_a_muted_class_again_and_a_blinded_head_only_to_say_it_of_all(
    results: dict[str, Audit], k: int
) -> None:
    mute, blind = (at(results[name], f"relearning from {k}") for name in ("mute", "blind"))
    assert mute["after"] > 0.7 and mute["chance"] == 1 / C and mute["reading"] == "still there"
    assert blind["after"] > 0.9 and blind["chance"] > 0.9 and blind["reading"] == "tells nothing"


def test_hiding_is_told_from_removing(results: dict[str, Audit]) -> None:
    mute, blind = results["mute"].verdict, results["blind"].verdict
    for verdict in (mute, blind):
        assert verdict.startswith("Prompts no longer find dog in all domains (0.00, chance 0.25).")
        assert "linear probe on f (1.00)" in sentence(verdict, "Still found by")
    assert "linear probe on h (1.00)" in sentence(
        mute, "Still found by"
    ) and "search (0.00)" in sentence(mute, "Not by")
    assert (
        "it does not erase" in mute
        and "gives them away" in mute
        and "What should stay stayed." in mute
    )
    assert "linear probe on h" not in sentence(blind, "Still found by")
    assert "linear probe on h" in sentence(blind, "Not by")
    assert (
        "Nothing tried here finds it behind the projection" in blind
        and "it does not erase" not in blind
    )
    assert "gives them away" not in blind and "prompts, retained (1.00 to 0.33)" in sentence(
        blind, "Lost"
    )


def test_an_edit_that_does_nothing_is_not_praised(results: dict[str, Audit]) -> None:
    verdict = results["nothing"].verdict
    assert verdict.startswith("Prompts still find dog in all domains (1.00, chance 0.25).")
    assert not any(
        words in verdict
        for words in ("Not by", "In part by", "no longer", "erase", "Nothing tried", "Lost")
    )


def sentence(verdict: str, start: str) -> str:
    """The sentence that starts so; numbers hold full stops too."""
    return next(s for s in verdict.split(". ") if s.startswith(start))


def test_a_reading_follows_the_share_that_is_left() -> None:
    def reading(
        before: float,
        after: float,
        check: str = "search",
        where: str = "forget",
        partial: bool = False,
    ) -> str:
        row = pd.DataFrame(
            [(check, where, before, after, 0.2)],
            columns=["check", "where", "before", "after", "chance"],
        )
        return audit_module._reading(next(row.itertuples()), 0.1, partial)

    found = [reading(1.0, after) for after in (0.0, 0.27, 0.29, 0.59, 0.61, 1.0)]
    assert found == ["gone", "gone", "partly there", "partly there", "still there", "still there"]
    assert reading(0.25, 0.2) == "tells nothing" and "not measured: no image" in reading(
        float("nan"), float("nan")
    )
    assert (
        reading(1.0, 0.95, where="retained") == "lost 5 points"
        and reading(1.0, 0.99, where="retained") == "kept"
    )
    assert [reading(1.0, x, "worst cell", "a in b") for x in (0.95, 0.8)] == [
        "kept",
        "lost 20 points",
    ]
    assert [reading(0.9, x, "similarity") for x in (-0.1, 0.1)] == ["over-forgotten", "gone"]
    assert reading(1.0, 0.1, where="all images", partial=True) == "for comparison"
    assert reading(1.0, 0.81, "regained from 4") == "+81 points"
    unknown = reading(0.39, 0.2, "translations", findings.UNKNOWN)
    assert (
        reading(0.41, 0.2, "translations") == "gone" and "did not know them before (0.39" in unknown
    )


def test_forgetting_one_cell_looks_inside_its_domain_and_outside(results: dict[str, Audit]) -> None:
    inside, outside = (
        at(results["cell"], "search", where) for where in ("forgotten domains", "same_class")
    )
    assert inside["before"] == outside["before"] == 1.0 and inside["after"] < outside["after"]
    assert at(results["cell"], "search", "all images")["reading"] == "for comparison"
    assert at(results["cell"], "linear probe on h", "forgotten domains")["chance"] == 0.5


def test_forgetting_a_domain_probes_all_its_classes_and_the_domain(
    results: dict[str, Audit],
) -> None:
    assert at(results["domain"], "linear probe on h", "forgotten domains")["chance"] == 1 / C
    assert at(results["domain"], "domain probe on h", "all images")["before"] == 1.0
    assert "all images" not in set(results["domain"].frame.query("check == 'search'")["where"])


def test_the_unrelated_task_and_the_answers_are_those_of_evaluate(
    tiny: Setting, request_of: ForgetRequest
) -> None:
    edit = fit_edit(tiny.prototypes, request_of)
    frame = evaluate(tiny.prototypes, edit, tiny.task, [0.0, 0.7], tiny.unrelated).set_index(
        ["strength", "group"]
    )
    result = audited(tiny, edit, 0.7)
    for group in frame.loc[0.7].index:
        for check, column in (("prompts", "accuracy"), ("paraphrases", "paraphrase")):
            expected = [frame.loc[(x, group), column] for x in (0.0, 0.7)]
            assert at(result, check, group)[["before", "after"]].tolist() == expected


# ---- translations, accuracy regained, neighbours, completeness


def with_translations(world: Setting, edit: ProjectionEdit, **texts: Tensor) -> pd.Series:
    """The translation row where the classes named have these text features (n, D)."""
    given = tuple(texts.get(c, torch.zeros(0, D)) for c in CLASSES)
    frame = audited(replace(world, task=replace(world.task, translations=given)), edit).frame
    (row,) = frame[frame["check"] == "translations"].iloc
    return row


def test_translations_that_mean_the_class_fall_with_it(world: Setting) -> None:
    row = with_translations(world, EDITS["mute"], dog=DOG[None] + 0.1 * noise(2, D))
    assert (row["before"], row["after"], row["reading"]) == (1.0, 0.0, "gone")
    kept = with_translations(world, EDITS["nothing"], dog=DOG[None])
    assert (kept["before"], kept["after"], kept["reading"]) == (1.0, 1.0, "still there")


def test_a_class_whose_translation_was_unknown_does_not_blur_another(world: Setting) -> None:
    both = by_hand(
        ForgetRequest(["dog", "cat"]), (-3 * DOG, DOG), (-3 * torch.eye(D)[0], torch.eye(D)[0])
    )
    row = with_translations(world, both, dog=DOG[None], cat=-torch.eye(D)[:1])
    assert (row["where"], row["before"], row["after"], row["reading"]) == (
        "forget",
        1.0,
        0.0,
        "gone",
    )


def test_translations_that_clip_never_knew_and_those_of_other_classes_test_nothing(
    world: Setting,
) -> None:
    foreign = with_translations(world, EDITS["mute"], dog=-DOG[None])
    strange = {c: -torch.eye(D)[[CLASSES.index(c)]] for c in ("cat", "house", "tree")}
    said_of_all = with_translations(
        world, EDITS["nothing"], dog=torch.eye(D)[C : C + K].sum(0)[None], **strange
    )
    assert said_of_all["before"] == 1.0 and "did not know them before" in said_of_all["reading"]
    assert (
        foreign["before"] == 0.0
        and "did not know them before (0.00, chance 0.25)" in foreign["reading"]
    )
    other = with_translations(world, EDITS["mute"], cat=torch.eye(D)[:1])
    assert (
        pd.isna(other["before"])
        and other["reading"] == "not measured: none is given for what is forgotten"
    )
    assert (
        "translations (none is given for what is forgotten)"
        in audited(world, EDITS["mute"]).verdict
    )


@pytest.mark.parametrize("k", SHOTS)
def test_what_is_regained_is_what_relearning_adds_to_the_prompts(
    results: dict[str, Audit], k: int
) -> None:
    for result in results.values():
        taught, gain, plain = (
            at(result, name) for name in (f"relearning from {k}", f"regained from {k}", "prompts")
        )
        for when in ("before", "after"):
            assert gain[when] == pytest.approx(taught[when] - plain[when])
    assert f"{k} bring" in sentence(results["mute"].verdict, "Labelled images")
    assert (
        "Labelled images" not in results["blind"].verdict
    )  # saying it of everything brings nothing back


def test_what_should_stay_is_searched_for_too(results: dict[str, Audit]) -> None:
    for name in ("mute", "cell", "domain"):
        assert at(results[name], "search", "retained")["before"] == 1.0
    assert at(results["mute"], "search", "retained")["reading"] == "kept"
    assert at(results["blind"], "search", "retained")["reading"].startswith("lost")


def test_neighbours_are_told_from_other_cells_and_forgotten_classes_are_none() -> None:
    near = pd.DataFrame(
        [("dog", "photo", 0.9, 1.0, 0.0), *((c, "photo", s, 1.0, a) for c, s, a in
        (("cat", 0.8, 0.5), ("fox", 0.2, 0.9), ("bus", 0.1, 0.8), ("cup", 0.0, 0.7)))],
        columns=["class", "domain", "similarity", "before", "after"],
    )  # fmt: skip
    near["change"] = near["after"] - near["before"]
    first, others, worst = findings.neighbour_rows(near, {"dog"}, 0.2)
    assert first == ("neighbours", "nearest quarter", 1.0, 0.5, 0.2)
    assert others[1:4] == ("all others", 1.0, pytest.approx(0.8)) and worst[1:4] == (
        "dog in photo",
        1.0,
        0.0,
    )
    (only, *_) = findings.neighbour_rows(
        near[:1], {"dog"}, 0.2
    )  # every class is forgotten somewhere
    assert only == ("neighbours", "nearest quarter", 1.0, 0.0, 0.2)


def test_an_edit_is_complete_when_a_probe_on_h_is_at_chance(results: dict[str, Audit]) -> None:
    assert (
        results["blind"].complete
        and "Complete: a linear probe on h is at chance" in results["blind"].verdict
    )
    assert not results["mute"].complete
    assert (
        "Not complete: a linear probe on h is not at chance (1.00, chance 0.50)."
        in results["mute"].verdict
    )
    frame = results["blind"].frame.copy()
    frame.loc[frame["check"] == "nearest prototype", "reading"] = "still there"
    assert not audit_module.is_complete(frame)
    assert (
        "is at chance" in (told := "".join(audit_module._completeness(frame)))
        and "not nearest prototype" in told
    )
    frame.loc[frame["check"] == "linear probe on h", ["reading", "after"]] = (
        "not measured: few",
        float("nan"),
    )
    assert not audit_module.is_complete(frame)
    assert "".join(audit_module._completeness(frame)).startswith(
        "Whether it is complete is not known"
    )


def test_the_figure_shows_every_number_that_was_sought_or_kept(results: dict[str, Audit]) -> None:
    for result in results.values():
        figure = audit_figure(result, "Forget dog")
        texts = [
            t.get_text() for ax in figure.findobj(lambda a: hasattr(a, "texts")) for t in ax.texts
        ]
        labels = [t.get_text() for ax in figure.axes for t in ax.get_yticklabels()]
        read = result.frame["reading"]
        for row in result.frame[
            read.str.startswith(("kept", "lost", "gone", "still", "partly"))
        ].itertuples():
            if row.check != "similarity":
                assert any(label.startswith(row.check) for label in labels), row.check
                assert f"{row.before:.2f} → {row.after:.2f}" in texts
        assert any("Prompts" in text for text in texts)


def test_the_same_seed_gives_the_same_audit(world: Setting, results: dict[str, Audit]) -> None:
    again = audited(world, EDITS["mute"])
    pd.testing.assert_frame_equal(again.frame, results["mute"].frame)
    assert again.verdict == results["mute"].verdict


def test_a_request_without_images_and_a_wrong_strength_are_named(tiny: Setting) -> None:
    with pytest.raises(InputError, match="no image of cat in art painting"):
        audit(tiny, fit_edit(tiny.prototypes, ForgetRequest(["cat"], ["art_painting"])))
    with pytest.raises(InputError, match="strength is 2"):
        audit(tiny, fit_edit(tiny.prototypes, REQUESTS["global"]), 2)
