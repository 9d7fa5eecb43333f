"""Other ways to forget: each against the theorem or the limit that defines it, and what it sees."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from data_free import FORBIDDEN_NAMES, FORBIDDEN_TYPES, types_in
from tiny import REQUESTS
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot

from clip_unlearn import ConceptGrid, ForgetRequest, Prototypes, evaluate, fit_edit
from clip_unlearn.baselines import trained
from clip_unlearn.baselines.comparison import (
    BASELINES,
    DATA,
    EVERY,
    OF,
    PICTURES,
    SEES,
    SETTINGS,
    STAYS,
    TEXT,
    compare,
    compare_models,
    comparison_table,
)
from clip_unlearn.baselines.trained import TSA_FALL
from clip_unlearn.core import InputError
from clip_unlearn.core.applied import ProjectionEdit
from clip_unlearn.core.edit import METHODS
from clip_unlearn.images.datasets import Features
from clip_unlearn.measure.evaluate import Task, halves, one_thread
from clip_unlearn.measure.setting import Setting

SEEING = [name for name, b in BASELINES.items() if b.sees == DATA]
ADDED = [name for name, b in BASELINES.items() if b.factors is not None]
FITTING = [(name, paradigm) for name in ADDED for paradigm in BASELINES[name].fits]
GRID = ConceptGrid(["cat", "dog", "house", "cup"], ["art painting", "photo", "sketch"])
C, K, D, d = 4, 3, 24, 12
CHANCE = 1 / C


class Words:
    """The text tower of the world: a name is its class, and the empty prompt a direction alone."""

    def __init__(self, classes: Tensor, empty: Tensor) -> None:
        self.of = {**dict(zip(GRID.classes, classes, strict=True)), "": empty}

    def text_features(self, prompts: list[str]) -> Tensor:
        return torch.stack([self.of[prompt] for prompt in prompts])


class World(typing.NamedTuple):
    p: Prototypes
    task: Task
    clip: Words

    @property
    def images(self) -> Features:
        return self.task.images


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    """The matrices are tiny: threads would wait for each other far longer than they work."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def world() -> World:
    """A CLIP in which a class and a domain are directions: texts hold both, features with noise.

    Each cell has between 7 and 10 images; prompts are the classes themselves.
    """
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    directions = torch.linalg.qr(noise(d, d)).Q
    classes = directions[:C]
    domains = directions[C : C + K]
    cells = normalize(classes[:, None] + 0.5 * domains, dim=-1)  # (C, K, d)
    W = noise(D, d)
    back = torch.linalg.pinv(W)
    visual = (cells[:, :, None] + 0.05 * noise(C, K, 4, d)) @ back
    identity = torch.eye(d)  # as W_text, and as what prompts span
    p = Prototypes(GRID, visual, cells, cells, classes, W, identity, identity, seconds=7.0)

    count = 7 + torch.arange(C * K) % 4
    cell_of = torch.arange(C * K).repeat_interleave(count)
    n = len(cell_of)
    h = cells.flatten(0, 1)[cell_of] + 0.15 * noise(n, d)
    f = h @ back + 0.02 * noise(n, D)
    paths = tuple(Path(f"{i}.png") for i in range(n))
    images = Features(f, cell_of // K, cell_of % K, paths)
    prompts = tuple(classes[:, None])
    # Nearest to "house", which the tests of tsa keep.
    empty = normalize(directions[C + K] + 0.3 * classes[2], dim=0)
    clip = Words(classes, empty)
    return World(p, Task(GRID, images, prompts, prompts), clip)


@pytest.fixture(scope="module")
def setting(world: World) -> Setting:
    return Setting(world.clip, world.p, world.task, None, 0.0)


def fitted(name: str, world: World, request: ForgetRequest, **settings: float) -> Tensor:
    """The edited projection, with everything that may be seen."""
    edit = fit(name, world, request, **settings)
    return edit.weight(world.p.W, 1.0)


def fit(name: str, world: World, request: ForgetRequest, **settings: float) -> ProjectionEdit:
    """The edit, with everything that may be seen."""
    return BASELINES[name].fit(world.p, request, world.images, clip=world.clip, **settings)


def original(p: Prototypes, edit: ProjectionEdit) -> Tensor:
    """The matrix that an edit is for."""
    return p.W if edit.towers == "visual" else p.W_text


def changed(p: Prototypes, edit: ProjectionEdit, strength: float = 1.0) -> Tensor:
    """This matrix after the edit."""
    return edit.weight(original(p, edit), strength, edit.towers)


def to_forget(images: Features, request: ForgetRequest) -> Tensor:
    """(n,) bool: the images to forget."""
    return request.mask(GRID)[images.class_of, images.domain_of]


def accuracy(world: World, W: Tensor, chosen: Tensor) -> float:
    """The share of the chosen images, (n,) bool, that W puts in their class."""
    named = (world.images.f @ W @ world.p.class_text.T).argmax(1)
    right = named.eq(world.images.class_of)
    return right[chosen].float().mean().item()


def loss(world: World, W: Tensor, chosen: Tensor) -> float:
    """Cross-entropy of the chosen images."""
    h = normalize(world.images.f[chosen] @ W, dim=-1)
    logits = 30 * h @ world.p.class_text.T
    return cross_entropy(logits, world.images.class_of[chosen]).item()


# ---- the limits that define them


def test_ccup_ridge_without_retained_texts_tends_to_the_text_null_space(
    world: World, request_of: ForgetRequest
) -> None:
    W = fitted("ccup-ridge", world, request_of, lam=1e8, mu=0.0)
    null_space = fit_edit(world.p, request_of, "null-space-text", rtol=1e-4)
    expected = null_space.weight(world.p.W, 1.0)
    torch.testing.assert_close(W, expected, atol=1e-4, rtol=1e-4)
    assert (W - world.p.W).norm() > 0.1


def test_ccup_ridge_is_the_minimum_of_its_objective(
    world: World, request_of: ForgetRequest
) -> None:
    """The gradient of |M - I|^2 + lam |M T_f|^2 + mu |M T_r - T_r|^2 vanishes at its M."""
    lam = 3.0
    mu = 0.7
    W = fitted("ccup-ridge", world, request_of, lam=lam, mu=mu)
    M = torch.linalg.pinv(world.p.W) @ W
    away = M - torch.eye(d)

    mask = request_of.mask(GRID)
    forget = world.p.text[mask].T
    retain = world.p.text[~mask].T
    forget_part = lam * M @ forget @ forget.T
    retain_part = mu * away @ retain @ retain.T
    gradient = away + forget_part + retain_part
    torch.testing.assert_close(gradient, torch.zeros(d, d), atol=1e-4, rtol=0)


def test_ccup_ridge_keeps_the_scores_of_retained_texts_as_mu_grows(world: World) -> None:
    request = ForgetRequest(["dog"])
    retained = world.p.text[~request.mask(GRID)]

    def moved(mu: float) -> Tensor:
        delta = fitted("ccup-ridge", world, request, mu=mu) - world.p.W
        return (delta @ retained.T).norm()

    assert moved(0.0) > moved(1.0) > 1e3 * moved(1e6)


def test_uce_ridge_with_a_huge_ridge_changes_nothing(
    world: World, request_of: ForgetRequest
) -> None:
    huge = fitted("uce-ridge", world, request_of, lam=1e8)
    small = fitted("uce-ridge", world, request_of, lam=0.1)
    torch.testing.assert_close(huge, world.p.W, atol=1e-5, rtol=0)
    assert (small - world.p.W).norm() > 0.1


def test_uce_ridge_without_a_ridge_maps_forgotten_prototypes_to_one_neutral_embedding() -> None:
    """With more features than prototypes every wish is met exactly."""

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(1))

    classes = torch.eye(d)[:C]
    visual = normalize(noise(C, K, 1, D), dim=-1)
    texts = noise(C, K, d)
    identity = torch.eye(d)
    p = Prototypes(GRID, visual, texts, texts, classes, noise(D, d), identity, span=identity)
    request = ForgetRequest(["dog"])
    edit = BASELINES["uce-ridge"].fit(p, request, lam=1e-6)
    W = edit.weight(p.W, 1.0)

    mask = request.mask(GRID)
    forgotten = visual[mask].flatten(0, 1)
    retained = visual[~mask].flatten(0, 1)
    others = classes[[0, 2, 3]]
    neutral = normalize(others.mean(0), dim=0)
    reached = normalize(forgotten @ W, dim=-1)
    torch.testing.assert_close(reached, neutral.expand_as(reached), atol=1e-3, rtol=0)
    torch.testing.assert_close(retained @ W, retained @ p.W, atol=5e-3, rtol=0)


def test_random_subspace_is_a_projector_of_the_null_spaces_rank(
    world: World, request_of: ForgetRequest
) -> None:
    edit = BASELINES["random-subspace"].fit(world.p, request_of)
    assert edit.rank() == fit_edit(world.p, request_of, "null-space").rank()
    P = torch.linalg.pinv(world.p.W) @ edit.weight(world.p.W, 1.0)
    torch.testing.assert_close(P @ P, P, atol=1e-4, rtol=0)
    removed = torch.eye(d) - P
    assert torch.linalg.matrix_rank(removed, rtol=1e-3) == edit.rank()


def test_random_subspaces_differ_by_request_and_seed_and_repeat(world: World) -> None:
    def directions(name: str, seed: int) -> Tensor:
        edit = BASELINES["random-subspace"].fit(world.p, ForgetRequest([name]), seed=seed)
        return edit.factors["visual"][1]

    dog = directions("dog", 0)
    assert torch.equal(dog, directions("dog", 0))
    assert not torch.allclose(dog[0], directions("cat", 0)[0])
    assert not torch.allclose(dog[0], directions("dog", 1)[0])


# ---- those that see data, on the data that they were fitted on


@pytest.mark.parametrize(
    ("name", "settings"), [("oracle", {"weight": 10.0}), ("relabel", {}), ("gradient-ascent", {})]
)
def test_what_sees_data_forgets_the_images_that_it_was_fitted_on(
    world: World, request_of: ForgetRequest, name: str, settings: dict[str, float]
) -> None:
    """The oracle's own weight is a compromise with what stays; here forgetting goes before all."""
    W = fitted(name, world, request_of, **settings)
    forget = to_forget(world.images, request_of)
    assert accuracy(world, world.p.W, forget) > 0.9
    assert accuracy(world, W, forget) <= CHANCE


@pytest.mark.parametrize("name", ["oracle", "relabel"])
def test_what_sees_retained_images_keeps_a_forgotten_classes_others(
    world: World, name: str
) -> None:
    request = REQUESTS["global"]
    W = fitted(name, world, request)
    assert accuracy(world, W, ~to_forget(world.images, request)) > 0.9


def test_relabel_trains_the_retained_images_too(world: World, request_of: ForgetRequest) -> None:
    """With next to no weight on the forgotten images, the loss of the others falls by half."""
    retained = ~to_forget(world.images, request_of)
    W = fitted("relabel", world, request_of, weight=1e-6, lam=1e-3)
    assert loss(world, W, retained) < 0.5 * loss(world, world.p.W, retained)


def test_oracle_is_retain_aware_where_the_images_are_the_prototypes(world: World) -> None:
    p = world.p
    request = REQUESTS["domain-specific"]
    settings = {"beta": 2.0, "weight": 0.3, "lam": 0.3}
    cell_of = torch.arange(C * K).repeat_interleave(p.per_cell)
    images = Features(p.visual.flatten(0, 2), cell_of // K, cell_of % K, ())
    of_images = BASELINES["oracle"].fit(p, request, images, **settings)
    of_prototypes = fit_edit(p, request, "retain-aware", **settings)
    torch.testing.assert_close(of_images.weight(p.W, 1.0), of_prototypes.weight(p.W, 1.0))


def test_gradient_ascent_stops_at_chance_and_not_before(world: World) -> None:
    """One step less leaves more than chance; more steps change nothing."""
    request = REQUESTS["global"]
    forget = to_forget(world.images, request)
    weights = [
        fitted("gradient-ascent", world, request, lr=0.03, steps=steps) for steps in range(1, 20)
    ]
    accuracies = [accuracy(world, W, forget) for W in weights]
    last = next(i for i, value in enumerate(accuracies) if value <= CHANCE)
    assert 0 < last < 18
    assert accuracies[last - 1] > CHANCE
    for W in weights[last:]:
        assert torch.equal(W, weights[last])


def test_gradient_ascent_sees_forgotten_images_alone(world: World) -> None:
    request = REQUESTS["domain-specific"]
    retained = ~to_forget(world.images, request)
    other = other_images(world.images, retained)
    method = BASELINES["gradient-ascent"]
    one = method.fit(world.p, request, world.images)
    two = method.fit(world.p, request, other)
    assert torch.equal(one.weight(world.p.W, 1.0), two.weight(world.p.W, 1.0))


# ---- those that train


def test_finetune_learns_what_stays_and_forgets_nothing_on_purpose(
    world: World, request_of: ForgetRequest
) -> None:
    """The loss of what stays falls; what goes has no part in it, and most of it is still known."""
    forget = to_forget(world.images, request_of)
    W = fitted("finetune", world, request_of)
    relabelled = fitted("relabel", world, request_of)
    assert loss(world, W, ~forget) < 0.1 * loss(world, world.p.W, ~forget)
    assert accuracy(world, W, forget) > accuracy(world, relabelled, forget)


def recognised(p: Prototypes, W: Tensor, mask: Tensor) -> float:
    """Share of forgotten prototypes that W still puts in their class."""
    own = mask.nonzero()[:, 0].repeat_interleave(p.per_cell)
    f = p.visual[mask].flatten(0, 1)
    named = (f @ W @ p.class_text.T).argmax(1)
    return named.eq(own).float().mean().item()


def test_lip_stops_when_its_pictures_are_at_chance_and_not_before(world: World) -> None:
    request = REQUESTS["global"]
    mask = request.mask(GRID)
    weights = [fitted("lip", world, request, lr=0.03, steps=steps) for steps in range(1, 60)]
    shares = [recognised(world.p, W, mask) for W in weights]
    last = next(i for i, share in enumerate(shares) if share <= CHANCE)
    assert recognised(world.p, world.p.W, mask) == 1
    assert 0 < last < 58
    assert shares[last - 1] > CHANCE
    for W in weights[last:]:
        assert torch.equal(W, weights[last])


def test_lip_makes_the_embedding_smoother_around_what_it_was_shown(world: World) -> None:
    request = REQUESTS["global"]
    f = world.p.visual[request.mask(GRID)].flatten(0, 1)
    sd = 4 * f.norm(dim=-1).mean() / D**0.5
    noise = sd * torch.randn(64, *f.shape, generator=torch.Generator().manual_seed(5))

    def roughness(W: Tensor) -> Tensor:
        here = normalize(f @ W, dim=-1)
        near = normalize((f + noise) @ W, dim=-1)
        return (here - near).norm(dim=-1).mean()

    assert roughness(fitted("lip", world, request)) < 0.9 * roughness(world.p.W)


def test_lip_follows_its_seed(world: World) -> None:
    request = REQUESTS["global"]
    W = fitted("lip", world, request, seed=0)
    assert torch.equal(W, fitted("lip", world, request, seed=0))
    assert not torch.equal(W, fitted("lip", world, request, seed=1))


# ---- tsa


@pytest.mark.parametrize("classes", [["dog"], ["cat", "cup"]])
def test_tsa_brings_the_forgotten_names_to_the_empty_prompt_and_keeps_the_others(
    world: World, classes: list[str]
) -> None:
    """The forgotten classes lose most images; the others keep their texts, and lose none."""
    p, task, clip = world
    request = ForgetRequest(classes)
    edit = fit("tsa", world, request)
    forgotten = request.mask(GRID).all(1)
    W_text = changed(p, edit)
    texts = clip.text_features(GRID.classes) @ W_text
    (empty,) = clip.text_features([""])

    before = (empty - p.class_text[forgotten]).norm()
    after = (empty - texts[forgotten]).norm()
    assert after <= (1 - TSA_FALL) * before
    assert (texts - p.class_text)[~forgotten].norm() < 0.1

    named = (task.images.f @ p.W @ normalize(texts, dim=-1).T).argmax(1)
    right = named.eq(task.images.class_of).float()
    forget = forgotten[task.images.class_of]
    assert right[forget].mean() < 0.5
    assert right[~forget].mean() > 0.9


def test_tsa_is_at_the_minimum_of_its_objective(world: World) -> None:
    """The authors' formula, written out: no nearby change of the same rank is better."""
    p, _, clip = world
    request = REQUESTS["global"]
    gone = request.mask(GRID).all(1)
    names = clip.text_features(GRID.classes)
    (empty,) = clip.text_features([""])
    A, B = fit("tsa", world, request).factors["text"]

    def objective(A: Tensor, B: Tensor) -> float:
        W = p.W_text + A @ B
        forgotten = (empty - names[gone] @ W).norm()
        kept = (names[~gone] @ p.W_text - names[~gone] @ W).norm()
        return (1.3 * forgotten + 0.4 * kept + (A @ B).norm()).item()

    found = objective(A, B)
    assert found < objective(A, 0 * B) - 0.1
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        away_A = A + 0.1 * torch.randn(A.shape, generator=generator)
        away_B = B + 0.1 * torch.randn(B.shape, generator=generator)
        assert objective(away_A, away_B) > found


def test_tsa_weighs_forgetting_more_until_it_has_fallen(world: World) -> None:
    """With a weight too small to forget, the first try moves nothing; later ones do."""
    request = REQUESTS["global"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "TSA_TRIALS", 1)
        stuck = fit("tsa", world, request, forget=0.95)
    moved = fit("tsa", world, request, forget=0.95)
    gone = request.mask(GRID).all(1)
    (empty,) = world.clip.text_features([""])

    def distance(edit: ProjectionEdit) -> float:
        return (empty - world.p.class_text[gone] @ changed(world.p, edit)).norm().item()

    unedited = (empty - world.p.class_text[gone]).norm().item()
    assert distance(stuck) > (1 - TSA_FALL) * unedited
    assert distance(moved) <= (1 - TSA_FALL) * unedited


def test_tsa_takes_another_goal_if_the_empty_prompt_is_the_class(world: World) -> None:
    """An empty prompt that answers "dog" is no place to hide a dog."""
    request = REQUESTS["global"]
    dog = world.p.class_text[1]
    said = world._replace(clip=Words(world.p.class_text, empty=dog))
    edit = fit("tsa", said, request)
    moved = dog @ changed(world.p, edit)
    assert (moved - dog).norm() > 0.5


@pytest.mark.parametrize("rank", [1, 3])
def test_tsa_is_of_the_rank_that_is_asked_for(world: World, rank: int) -> None:
    edit = fit("tsa", world, REQUESTS["global"], rank=rank)
    delta = changed(world.p, edit) - world.p.W_text
    assert edit.rank("text") == rank
    assert torch.linalg.matrix_rank(delta, rtol=1e-4) <= rank


def test_tsa_asks_for_a_clip(world: World) -> None:
    with pytest.raises(InputError, match='"tsa" encodes texts of its own, and got no `clip`'):
        BASELINES["tsa"].fit(world.p, REQUESTS["global"])


# ---- leace


def forgotten_labels(world: World, request: ForgetRequest) -> Tensor:
    """(n, C) one-hot class of the images to forget, 0 for the others."""
    forget = to_forget(world.images, request)
    return one_hot(world.images.class_of).float() * forget[:, None]


def test_leace_is_what_the_authors_package_computes(
    world: World, request_of: ForgetRequest
) -> None:
    """Up to the constant: theirs keeps the mean of h, ours shifts every h by the same amount."""
    erasure = pytest.importorskip("concept_erasure")
    z = forgotten_labels(world, request_of).double()
    z = z[:, z.any(0)]
    h = (world.images.f @ world.p.W).double()
    theirs = erasure.LeaceEraser.fit(h, z, shrinkage=False)(h)
    ours = (world.images.f @ fitted("leace", world, request_of)).double()
    torch.testing.assert_close(ours - ours.mean(0), theirs - theirs.mean(0), atol=1e-4, rtol=0)
    assert (theirs - h).norm() > 0.1 * (h - h.mean(0)).norm()


def probe_gain(h: Tensor, z: Tensor) -> float:
    """Share of the variance of z that the best linear probe with a bias explains.

    Directions of h that are float32 dust do not count.
    """
    z = z.double()
    ones = torch.ones(len(h), 1)
    x = torch.cat([h, ones], 1).double()
    weights = torch.linalg.lstsq(x, z, rcond=1e-4, driver="gelsd").solution
    rest = (z - x @ weights).square().sum()
    variance = (z - z.mean(0)).square().sum()
    return 1 - (rest / variance).item()


def cross_covariance(h: Tensor, z: Tensor) -> Tensor:
    return (h - h.mean(0)).T @ (z - z.mean(0))


def test_leace_leaves_nothing_to_a_linear_probe(world: World, request_of: ForgetRequest) -> None:
    """arXiv 2306.03819: no linear probe beats the constant on the fitted data.

    The bias of the probe takes up the offset.
    """
    z = forgotten_labels(world, request_of)
    h = world.images.f @ world.p.W
    erased = world.images.f @ fitted("leace", world, request_of)
    assert probe_gain(h, z) > 0.3
    assert abs(probe_gain(erased, z)) < 1e-4
    assert cross_covariance(erased, z).norm() < 1e-5 * cross_covariance(h, z).norm()


def test_leace_removes_as_many_directions_as_labels_and_no_more(
    world: World, request_of: ForgetRequest
) -> None:
    edit = BASELINES["leace"].fit(world.p, request_of, world.images)
    delta = edit.weight(world.p.W, 1.0) - world.p.W
    labels = int(request_of.mask(GRID).any(1).sum())
    assert edit.rank() == labels
    assert torch.linalg.matrix_rank(delta, rtol=1e-3) == labels


# ---- what each may see


def test_the_registry_lists_every_method_of_the_package_and_says_what_it_sees() -> None:
    assert set(METHODS) | set(ADDED) == BASELINES.keys()
    assert set(METHODS).isdisjoint(ADDED)
    assert SETTINGS.keys() <= set(ADDED)
    for name, method in BASELINES.items():
        assert method.name == name
        assert method.sees in SEES
        assert method.of in OF
        assert method.cite
        assert method.idea


def test_the_registry_lists_who_sees_least_first() -> None:
    ranks = [SEES.index(method.sees) for method in BASELINES.values()]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("name", ADDED)
def test_only_what_says_so_takes_images(name: str) -> None:
    function = BASELINES[name].factors
    parameters = set(inspect.signature(function).parameters)
    hints = typing.get_type_hints(function)
    types = [part for parameter in parameters for part in types_in(hints[parameter])]
    takes_images = any(isinstance(t, type) and issubclass(t, FORBIDDEN_TYPES) for t in types)
    assert takes_images == (name in SEEING)
    assert bool(parameters & FORBIDDEN_NAMES) == (name in SEEING)


@pytest.mark.parametrize(
    "name", [n for n in BASELINES if n not in SEEING and "global" in BASELINES[n].fits]
)
def test_images_given_to_a_data_free_method_do_not_matter(world: World, name: str) -> None:
    without = BASELINES[name].fit(world.p, REQUESTS["global"], None, clip=world.clip)
    given = fit(name, world, REQUESTS["global"])
    assert torch.equal(changed(world.p, without), changed(world.p, given))
    assert not torch.equal(changed(world.p, without), original(world.p, without))


@pytest.mark.parametrize("name", [n for n, b in BASELINES.items() if b.sees == TEXT])
def test_what_sees_text_alone_does_not_look_at_pictures(world: World, name: str) -> None:
    p = world.p
    visual = torch.randn_like(p.visual)
    reached = torch.randn_like(p.reached)
    edit = fit(name, world, REQUESTS["global"])
    blind = world._replace(p=replace(p, visual=visual, reached=reached))
    other = fit(name, blind, REQUESTS["global"])
    assert torch.equal(changed(p, edit), changed(p, other))


def other_images(images: Features, chosen: Tensor) -> Features:
    """The same images with noise where `chosen` (n,) says so."""
    noise = torch.randn_like(images.f)
    return replace(images, f=torch.where(chosen[:, None], noise, images.f))


@pytest.mark.parametrize(
    "name", [n for n, b in BASELINES.items() if b.sees in (PICTURES, DATA) and b.of != EVERY]
)
def test_what_needs_some_cells_alone_does_not_look_at_the_others(world: World, name: str) -> None:
    p, task, _ = world
    method = BASELINES[name]
    request = REQUESTS["domain-specific"]
    unseen = request.mask(GRID) == (method.of == STAYS)  # (C, K)
    noise = torch.randn_like(p.visual)
    visual = torch.where(unseen[..., None, None], noise, p.visual)
    if name == "lip":  # it brings all prototypes to their mean norm
        norms = p.visual.norm(dim=-1, keepdim=True)
        visual = normalize(visual, dim=-1) * norms
    images = other_images(task.images, unseen[task.images.class_of, task.images.domain_of])

    edit = method.fit(p, request, task.images)
    other = method.fit(replace(p, visual=visual), request, images)
    torch.testing.assert_close(changed(p, edit), changed(p, other))


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("random-subspace", "nothing"),
        ("tsa", "names of every cell"),
        ("lip", "names, pictures of what goes"),
        ("finetune", "names, labelled images of what stays"),
        ("relabel", "names, labelled images of every cell"),
    ],
)
def test_what_is_needed_follows_from_what_is_seen(name: str, needs: str) -> None:
    assert BASELINES[name].needs == needs


@pytest.mark.parametrize("name", [n for n in SEEING if BASELINES[n].of != STAYS])
def test_what_sees_data_asks_for_images_of_the_request(world: World, name: str) -> None:
    photos = world.images.only((world.images.domain_of == 1).nonzero().flatten())
    message = rf'"{name}" sees real images.* no image of dog in sketch'
    for images in (None, photos):
        with pytest.raises(InputError, match=message):
            BASELINES[name].fit(world.p, REQUESTS["domain-specific"], images)


def test_finetune_asks_for_images_of_what_stays(world: World) -> None:
    dogs = world.images.only((world.images.class_of == 1).nonzero().flatten())
    message = r'"finetune" sees real images.* no image of what stays beside dog in all'
    for images in (None, dogs):
        with pytest.raises(InputError, match=message):
            BASELINES["finetune"].fit(world.p, REQUESTS["global"], images)


@pytest.mark.parametrize(
    ("name", "paradigm"),
    [(n, k) for n, b in BASELINES.items() for k in REQUESTS if k not in b.fits],
)
def test_a_method_refuses_a_request_that_it_does_not_fit(
    world: World, name: str, paradigm: str
) -> None:
    kinds = BASELINES[name].fits[0]
    message = f'"{name}" is for {kinds} requests; this request is {paradigm}'
    with pytest.raises(InputError, match=message):
        BASELINES[name].fit(world.p, REQUESTS[paradigm], world.images)


@pytest.mark.parametrize(("name", "paradigm"), FITTING)
def test_every_baseline_is_a_thin_edit_of_one_tower_that_repeats(
    world: World, name: str, paradigm: str
) -> None:
    p = world.p
    method = BASELINES[name]
    request = REQUESTS[paradigm]
    W_before = p.W.clone()
    W_text_before = p.W_text.clone()
    edit = fit(name, world, request)
    again = fit(name, world, request)

    assert edit.method == name
    assert edit.request == request.on(GRID)
    assert edit.towers == method.tower
    W = original(p, edit)
    assert 0 < edit.rank(method.tower) <= min(W.shape)

    after = changed(p, edit)
    assert torch.isfinite(after).all()
    assert not torch.equal(after, W)
    assert torch.equal(after, changed(p, again))
    assert changed(p, edit, 0.0) is W
    assert torch.equal(p.W, W_before)
    assert torch.equal(p.W_text, W_text_before)


@pytest.mark.parametrize(
    "request_of", [ForgetRequest(["cat", "dog", "house"]), ForgetRequest(["cat"], ["photo"])]
)
@pytest.mark.parametrize("name", ADDED)
def test_no_baseline_needs_many_classes_or_domains_to_stay(
    world: World, name: str, request_of: ForgetRequest
) -> None:
    method = BASELINES[name]
    if request_of.paradigm not in method.fits:
        pytest.skip(f"{name} is not for {request_of.paradigm} requests")
    edit = fit(name, world, request_of)
    assert torch.isfinite(changed(world.p, edit)).all()


# ---- halves


def per_cell(task: Task) -> Tensor:
    """(C * K,) number of images of each cell."""
    cell_of = task.images.cells(K)
    return torch.bincount(cell_of, minlength=C * K)


def test_halves_are_disjoint_and_hold_half_of_every_cell(world: World) -> None:
    fit, held = halves(world.task)
    paths = set(world.images.paths)
    assert set(fit.images.paths).isdisjoint(held.images.paths)
    assert set(fit.images.paths) | set(held.images.paths) == paths

    total = per_cell(world.task)
    assert torch.equal(per_cell(fit), total // 2)
    assert torch.equal(per_cell(held), total - total // 2)
    for part in (fit, held):
        index = [world.images.paths.index(path) for path in part.images.paths]
        for name in ("f", "class_of", "domain_of"):
            expected = getattr(world.images, name)[index]
            assert torch.equal(getattr(part.images, name), expected)


def test_halves_follow_the_seed(world: World) -> None:
    def to_fit(seed: int) -> tuple[Path, ...]:
        fit, _ = halves(world.task, seed)
        return fit.images.paths

    assert to_fit(0) == to_fit(0)
    assert to_fit(0) != to_fit(1)


# ---- the table


@pytest.fixture(scope="module")
def frame(setting: Setting) -> pd.DataFrame:
    """Every method that fits on one request of each paradigm."""
    requests = list(REQUESTS.values())
    return compare(setting, requests, progress=False)


def test_compare_has_a_row_for_every_method_that_fits(frame: pd.DataFrame) -> None:
    rows = frame.groupby("paradigm")["method"].agg(list)
    for paradigm, methods in rows.items():
        assert methods == [name for name, b in BASELINES.items() if paradigm in b.fits]
    assert set(rows["whole-domain"]) ^ set(rows["global"]) == {"redirect", "tsa"}
    needs = [BASELINES[name].needs for name in frame["method"]]
    assert (frame["needs"] == needs).all()

    cells = frame["paradigm"] == "domain-specific"
    assert frame["same_class"].notna().eq(cells).all()


def test_compare_counts_synthesis_only_for_who_sees_pictures(frame: pd.DataFrame) -> None:
    pictures = frame["sees"] == PICTURES
    assert (frame["synthesis"] == pictures * 7.0).all()
    assert (frame["seconds"] > 0).all()
    assert (frame["cost"] == frame["seconds"] + frame["synthesis"]).all()


@pytest.mark.parametrize("name", ["oblique", "oracle", "relabel"])
def test_compare_fits_on_one_half_and_measures_on_the_other(setting: Setting, name: str) -> None:
    request = REQUESTS["domain-specific"]
    frame = compare(setting, request, [name], strength=0.6, seed=3, progress=False)
    row = frame.iloc[0]

    fit, held = halves(setting.task, 3)
    edit = BASELINES[name].fit(setting.prototypes, request, fit.images, seed=3)
    table = evaluate(setting.prototypes, edit, held, [0.0, 0.6])
    before = table[table["strength"] == 0].set_index("group")
    after = table[table["strength"] == 0.6].set_index("group")
    assert row["forget"] == after.loc["forget", "accuracy"]
    assert row["H"] == after.loc["forget", "H"]
    change = after.loc["same_class", "accuracy"] - before.loc["same_class", "accuracy"]
    assert row["same_class"] == pytest.approx(100 * change)


def test_a_changed_model_is_measured_as_an_edit_is(setting: Setting) -> None:
    """Writing an edit into the projections gives its row of `compare`."""
    request = REQUESTS["global"]
    row = compare(setting, request, ["oblique"], seed=2, progress=False).iloc[0]
    p = setting.prototypes
    edit = fit_edit(p, request, "oblique")
    after = replace(setting, prototypes=replace(p, W=edit.weight(p.W, 1.0)))
    outcome = compare_models(setting, after, request, seed=2)
    assert {"before", "forget", "paraphrase", "retained", "H"} <= outcome.keys()
    for column, value in outcome.items():
        assert row[column] == value
    assert outcome["before"] > outcome["forget"]


def test_compare_at_strength_zero_changes_nothing(setting: Setting) -> None:
    methods = ["uce-ridge", "leace", "tsa", "lip"]
    frame = compare(setting, REQUESTS["global"], methods, strength=0, progress=False)
    assert (frame["forget"] == frame["before"]).all()
    assert (frame["retained"] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["magic"]}, r'unknown method "magic": .*uce-ridge'),
        ({"strength": 2.0}, "strength is 2.0"),
        ({"requests": ForgetRequest(["dgo"])}, 'unknown class "dgo"'),
        ({"methods": ["redirect"]}, "redirect.*this request is global"),
        (
            {"methods": ["tsa"], "requests": REQUESTS["whole-domain"]},
            "tsa.*this request is whole-domain",
        ),
    ],
)
def test_compare_names_what_is_wrong(setting: Setting, change: dict, message: str) -> None:
    arguments = {"setting": setting, "requests": REQUESTS["global"], "progress": False}
    with pytest.raises(InputError, match=message):
        compare(**{**arguments, **change})


def test_compare_says_which_request_has_too_few_images(setting: Setting) -> None:
    images = setting.task.images
    dog_sketch = (images.class_of == 1) & (images.domain_of == 2)
    keep = torch.ones(len(images), dtype=torch.bool)
    all_but_one = dog_sketch.nonzero().flatten()[1:]
    keep[all_but_one] = False
    task = replace(setting.task, images=images.only(keep.nonzero().flatten()))
    with pytest.raises(InputError, match="too few images of dog in sketch"):
        compare(replace(setting, task=task), REQUESTS["domain-specific"])


def test_compare_gives_the_threads_back(setting: Setting) -> None:
    """It works on one thread, so that seconds compare; after it there are as many as before.

    So there are after an error.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        compare(setting, REQUESTS["global"], ["leace"], progress=False)
        assert torch.get_num_threads() == 2
        with pytest.raises(InputError):
            compare(setting, REQUESTS["global"], ["redirect"], progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def by_hand(rows: list[tuple[str, str, float, float]]) -> pd.DataFrame:
    """A frame as of `compare`, of rows (method, sees, forget, retained)."""
    frame = pd.DataFrame(rows, columns=["method", "sees", "forget", "retained"])
    return frame.assign(
        paradigm="global", paraphrase=0.1, H=1 - frame["forget"], seconds=0.5, synthesis=0.0
    )


def test_the_table_gives_mean_and_worst_in_the_direction_that_hurts() -> None:
    table = comparison_table(by_hand([("a", TEXT, 0.1, -1.0), ("a", TEXT, 0.3, -5.0)]))
    row = table.loc[("global", "a")]
    assert row["requests"] == 2
    assert row["forget"] == pytest.approx(0.2)
    assert row["forget worst"] == 0.3
    assert row["retained"] == -3.0
    assert row["retained worst"] == -5.0
    assert row["H worst"] == pytest.approx(0.7)
    assert "same_class" not in table
    assert "needs" not in table


def test_the_table_puts_who_sees_least_first_and_then_the_best() -> None:
    rows = [
        ("d", DATA, 0.0, 0.0),
        ("b", TEXT, 0.5, 0.0),
        ("c", PICTURES, 0.1, 0.0),
        ("a", TEXT, 0.2, 0.0),
    ]
    table = comparison_table(by_hand(rows))
    assert table.index.get_level_values("method").tolist() == ["a", "b", "c", "d"]


def test_the_table_has_a_row_for_each_paradigm_and_method(frame: pd.DataFrame) -> None:
    table = comparison_table(frame)
    assert len(table) == sum(len(b.fits) for b in BASELINES.values())
    assert table.loc[("global", "lip"), "needs"] == BASELINES["lip"].needs
    assert (table["cost"] >= table["synthesis"]).all()
