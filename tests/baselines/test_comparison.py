"""Other ways to forget: each against the theorem or the limit that defines it, and what each is allowed to see."""

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

from clip_unlearn import Clip, ConceptGrid, ForgetRequest, Prototypes, evaluate, fit_edit
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
    comparison_table,
)
from clip_unlearn.core.edit import METHODS, ProjectionEdit
from clip_unlearn.core.errors import InputError
from clip_unlearn.images.datasets import Features
from clip_unlearn.measure.evaluate import Task, halves, one_thread
from clip_unlearn.measure.setting import Setting

SEEING = [name for name, b in BASELINES.items() if b.sees == DATA]
ADDED = [name for name, b in BASELINES.items() if b.factors is not None]
FITTING = [(name, paradigm) for name in ADDED for paradigm in BASELINES[name].fits]
GRID = ConceptGrid(["cat", "dog", "house", "cup"], ["art painting", "photo", "sketch"])
C, K, D, d = 4, 3, 24, 12


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    """The matrices are tiny: on a busy machine threads wait for each other far longer than they work."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def world() -> tuple[Prototypes, Task]:
    """A CLIP in which a class and a domain are directions: texts hold both, features meet them with noise.

    Each cell has between 7 and 10 images; prompts are the classes themselves.
    """
    generator = torch.Generator().manual_seed(0)
    noise = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    directions = torch.linalg.qr(noise(d, d)).Q
    classes, domains = directions[:C], directions[C : C + K]
    W = noise(D, d)
    back = torch.linalg.pinv(W)
    cells = normalize(classes[:, None] + 0.5 * domains, dim=-1)
    visual = (cells[:, :, None] + 0.05 * noise(C, K, 4, d)) @ back
    p = Prototypes(GRID, visual, cells, cells, classes, W, torch.eye(d), seconds=7.0)
    count = 7 + torch.arange(C * K) % 4
    cell = torch.arange(C * K).repeat_interleave(count)
    f = (cells.flatten(0, 1)[cell] + 0.15 * noise(len(cell), d)) @ back + 0.02 * noise(len(cell), D)
    images = Features(f, cell // K, cell % K, tuple(Path(f"{i}.png") for i in range(len(cell))))
    prompts = tuple(classes[:, None])
    return p, Task(GRID, images, prompts, prompts)


@pytest.fixture(scope="module")
def setting(clip: Clip, world: tuple[Prototypes, Task]) -> Setting:
    return Setting(clip, *world, None, 0.0)


def fitted(
    name: str, world: tuple[Prototypes, Task], request: ForgetRequest, **settings: float
) -> Tensor:
    """The edited projection, with everything that may be seen."""
    p, task = world
    return BASELINES[name].fit(p, request, task.images, **settings).weight(p.W, 1.0)


def changed(p: Prototypes, edit: ProjectionEdit, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """The matrix that an edit is for, before and after."""
    W = p.W if edit.towers == "visual" else p.W_text
    return W, edit.weight(W, strength, edit.towers)


def accuracy(
    world: tuple[Prototypes, Task], W: Tensor, request: ForgetRequest, forgotten: bool
) -> float:
    p, task = world
    x = task.images
    chosen = request.mask(GRID)[x.class_of, x.domain_of] == forgotten
    return (x.f @ W @ p.class_text.T).argmax(1).eq(x.class_of)[chosen].float().mean().item()


# ---- the limits that define them


def test_ccup_ridge_without_retained_texts_tends_to_the_text_null_space(
    world: tuple[Prototypes, Task], request_of: ForgetRequest
) -> None:
    W = fitted("ccup-ridge", world, request_of, lam=1e8, mu=0.0)
    expected = fit_edit(world[0], request_of, "null-space-text", rtol=1e-4).weight(world[0].W, 1.0)
    torch.testing.assert_close(W, expected, atol=1e-4, rtol=1e-4)
    assert (W - world[0].W).norm() > 0.1


def test_ccup_ridge_is_the_minimum_of_its_objective(
    world: tuple[Prototypes, Task], request_of: ForgetRequest
) -> None:
    """The gradient of |M - I|^2 + lam |M T_f|^2 + mu |M T_r - T_r|^2 vanishes at the M that W M was made with."""
    p, lam, mu = world[0], 3.0, 0.7
    M = torch.linalg.pinv(p.W) @ fitted("ccup-ridge", world, request_of, lam=lam, mu=mu)
    mask = request_of.mask(GRID)
    forget, retain, eye = p.text[mask].T, p.text[~mask].T, torch.eye(d)
    gradient = (M - eye) + lam * M @ forget @ forget.T + mu * (M - eye) @ retain @ retain.T
    torch.testing.assert_close(gradient, torch.zeros(d, d), atol=1e-4, rtol=0)


def test_ccup_ridge_keeps_the_scores_of_retained_texts_as_mu_grows(
    world: tuple[Prototypes, Task],
) -> None:
    p, request = world[0], ForgetRequest(["dog"])
    kept = p.text[~request.mask(GRID)]
    moved = [
        ((fitted("ccup-ridge", world, request, mu=mu) - p.W) @ kept.T).norm()
        for mu in (0.0, 1.0, 1e6)
    ]
    assert moved[0] > moved[1] > 1e3 * moved[2]


def test_uce_ridge_with_a_huge_ridge_changes_nothing(
    world: tuple[Prototypes, Task], request_of: ForgetRequest
) -> None:
    W = world[0].W
    torch.testing.assert_close(
        fitted("uce-ridge", world, request_of, lam=1e8), W, atol=1e-5, rtol=0
    )
    assert (fitted("uce-ridge", world, request_of, lam=0.1) - W).norm() > 0.1


def test_uce_ridge_without_a_ridge_maps_forgotten_prototypes_to_one_neutral_embedding() -> None:
    """With more features than prototypes every wish is met exactly."""
    noise = lambda *shape: torch.randn(*shape, generator=torch.Generator().manual_seed(1))  # noqa: E731
    classes = torch.eye(d)[:C]
    visual = normalize(noise(C, K, 1, D), dim=-1)
    p = Prototypes(GRID, visual, noise(C, K, d), noise(C, K, d), classes, noise(D, d), torch.eye(d))
    request = ForgetRequest(["dog"])
    mask, W = request.mask(GRID), BASELINES["uce-ridge"].fit(p, request, lam=1e-6).weight(p.W, 1.0)
    neutral = normalize(classes[[0, 2, 3]].mean(0), dim=0)
    met = normalize(visual[mask].flatten(0, 1) @ W, dim=-1)
    torch.testing.assert_close(met, neutral.expand_as(met), atol=1e-3, rtol=0)
    torch.testing.assert_close(visual[~mask] @ W, visual[~mask] @ p.W, atol=5e-3, rtol=0)


def test_random_subspace_is_a_projector_of_the_null_spaces_rank(
    world: tuple[Prototypes, Task], request_of: ForgetRequest
) -> None:
    p = world[0]
    edit = BASELINES["random-subspace"].fit(p, request_of)
    assert edit.rank() == fit_edit(p, request_of, "null-space").rank()
    P = torch.linalg.pinv(p.W) @ edit.weight(p.W, 1.0)
    torch.testing.assert_close(P @ P, P, atol=1e-4, rtol=0)
    assert torch.linalg.matrix_rank(torch.eye(d) - P, rtol=1e-3) == edit.rank()


def test_random_subspaces_differ_by_request_and_seed_and_repeat(
    world: tuple[Prototypes, Task],
) -> None:
    fit = BASELINES["random-subspace"].fit
    one, again, other, seed = (
        fit(world[0], ForgetRequest([name]), seed=seed).factors["visual"][1]
        for name, seed in (("dog", 0), ("dog", 0), ("cat", 0), ("dog", 1))
    )
    assert torch.equal(one, again)
    assert not torch.allclose(one[0], other[0]) and not torch.allclose(one[0], seed[0])


# ---- those that see data, on the data that they were fitted on


@pytest.mark.parametrize(
    ("name", "settings"), [("oracle", {"weight": 10.0}), ("relabel", {}), ("gradient-ascent", {})]
)
def test_what_sees_data_forgets_the_images_that_it_was_fitted_on(
    world: tuple[Prototypes, Task], request_of: ForgetRequest, name: str, settings: dict[str, float]
) -> None:
    """The oracle's own weight is a compromise with what stays; with the forgotten images before all else it forgets."""
    W = fitted(name, world, request_of, **settings)
    assert (
        accuracy(world, W, request_of, True)
        <= 0.25
        < 0.9
        < accuracy(world, world[0].W, request_of, True)
    )


@pytest.mark.parametrize("name", ["oracle", "relabel"])
def test_what_sees_retained_images_keeps_a_forgotten_classes_others(
    world: tuple[Prototypes, Task], name: str
) -> None:
    request = REQUESTS["global"]
    assert accuracy(world, fitted(name, world, request), request, False) > 0.9


def test_relabel_trains_the_retained_images_too(
    world: tuple[Prototypes, Task], request_of: ForgetRequest
) -> None:
    """With next to no weight on the forgotten images, theirs is the loss that falls: by half and more."""
    p, task = world
    x, stays = task.images, ~request_of.mask(GRID)[task.images.class_of, task.images.domain_of]
    before, after = (
        cross_entropy(30 * normalize(x.f[stays] @ W, dim=-1) @ p.class_text.T, x.class_of[stays])
        for W in (p.W, fitted("relabel", world, request_of, weight=1e-6, lam=1e-3))
    )
    assert after < 0.5 * before


def test_oracle_is_retain_aware_where_the_images_are_the_prototypes(
    world: tuple[Prototypes, Task],
) -> None:
    p, request = world[0], REQUESTS["domain-specific"]
    m = p.per_cell
    cell = torch.arange(C * K).repeat_interleave(m)
    images = Features(p.visual.flatten(0, 2), cell // K, cell % K, ())
    settings = {"beta": 2.0, "weight": 0.3, "lam": 0.3}
    found = BASELINES["oracle"].fit(p, request, images, **settings).weight(p.W, 1.0)
    torch.testing.assert_close(
        found, fit_edit(p, request, "retain-aware", **settings).weight(p.W, 1.0)
    )


def test_gradient_ascent_stops_at_chance_and_not_before(world: tuple[Prototypes, Task]) -> None:
    """One step less leaves more than chance; more steps change nothing."""
    request, lr = REQUESTS["global"], 0.03
    weights = [
        fitted("gradient-ascent", world, request, lr=lr, steps=steps) for steps in range(1, 20)
    ]
    last = next(i for i, W in enumerate(weights) if accuracy(world, W, request, True) <= 0.25)
    assert 0 < last < 18
    assert accuracy(world, weights[last - 1], request, True) > 0.25
    assert all(torch.equal(W, weights[last]) for W in weights[last:])


def test_gradient_ascent_sees_forgotten_images_alone(world: tuple[Prototypes, Task]) -> None:
    p, task = world
    request, x = REQUESTS["domain-specific"], task.images
    stays = ~request.mask(GRID)[x.class_of, x.domain_of]
    other = replace(x, f=torch.where(stays[:, None], torch.randn_like(x.f), x.f))
    one, two = (
        BASELINES["gradient-ascent"].fit(p, request, images).weight(p.W, 1.0)
        for images in (x, other)
    )
    assert torch.equal(one, two)


# ---- those that train


def test_finetune_learns_what_stays_and_forgets_nothing_on_purpose(
    world: tuple[Prototypes, Task], request_of: ForgetRequest
) -> None:
    """The loss of what stays falls; that of what goes has no part in it, and most of it is still known."""
    p, task = world
    x, stays = task.images, ~request_of.mask(GRID)[task.images.class_of, task.images.domain_of]
    W = fitted("finetune", world, request_of)
    losses = [
        cross_entropy(30 * normalize(x.f[stays] @ w, dim=-1) @ p.class_text.T, x.class_of[stays])
        for w in (p.W, W)
    ]
    assert losses[1] < 0.1 * losses[0]
    assert accuracy(world, W, request_of, True) > accuracy(
        world, fitted("relabel", world, request_of), request_of, True
    )


def recognised(p: Prototypes, W: Tensor, mask: Tensor) -> float:
    """Share of forgotten prototypes that W still puts in their class."""
    own = mask.nonzero()[:, 0].repeat_interleave(p.per_cell)
    return (
        (p.visual[mask].flatten(0, 1) @ W @ p.class_text.T).argmax(1).eq(own).float().mean().item()
    )


def test_lip_stops_when_its_pictures_are_at_chance_and_not_before(
    world: tuple[Prototypes, Task],
) -> None:
    p, request = world[0], REQUESTS["global"]
    mask = request.mask(GRID)
    weights = [fitted("lip", world, request, lr=0.03, steps=steps) for steps in range(1, 60)]
    last = next(i for i, W in enumerate(weights) if recognised(p, W, mask) <= 0.25)
    assert 0 < last < 58 and recognised(p, p.W, mask) == 1
    assert recognised(p, weights[last - 1], mask) > 0.25
    assert all(torch.equal(W, weights[last]) for W in weights[last:])


def test_lip_makes_the_embedding_smoother_around_what_it_was_shown(
    world: tuple[Prototypes, Task],
) -> None:
    p, request = world[0], REQUESTS["global"]
    f = p.visual[request.mask(GRID)].flatten(0, 1)
    noise = (
        4
        * torch.randn(64, *f.shape, generator=torch.Generator().manual_seed(5))
        * f.norm(dim=-1).mean()
        / D**0.5
    )

    def rough(W: Tensor) -> Tensor:
        return (normalize(f @ W, dim=-1) - normalize((f + noise) @ W, dim=-1)).norm(dim=-1).mean()

    assert rough(fitted("lip", world, request)) < 0.9 * rough(p.W)


def test_lip_follows_its_seed(world: tuple[Prototypes, Task]) -> None:
    one, again, other = (fitted("lip", world, REQUESTS["global"], seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_tsa_moves_the_forgotten_texts_and_keeps_the_others(world: tuple[Prototypes, Task]) -> None:
    """Forgotten, they lose every image of their class; the other classes keep their texts, and lose none."""
    p, task = world
    for classes in (["dog"], ["cat", "cup"]):
        edit = BASELINES["tsa"].fit(p, ForgetRequest(classes))
        gone = ForgetRequest(classes).mask(GRID).all(1)
        texts = normalize(p.class_features @ changed(p, edit)[1], dim=-1)
        cosine = (texts * p.class_text).sum(1)
        assert cosine[gone].max() < 0.3 and cosine[~gone].min() > 0.97
        right = (task.images.f @ p.W @ texts.T).argmax(1).eq(task.images.class_of)
        goes = gone[task.images.class_of]
        assert right[goes].float().mean() <= 0.25 and right[~goes].float().mean() > 0.9


def test_tsa_is_of_the_rank_it_is_told(world: tuple[Prototypes, Task]) -> None:
    for rank in (1, 3):
        edit = BASELINES["tsa"].fit(world[0], REQUESTS["global"], rank=rank)
        W, after = changed(world[0], edit)
        assert edit.rank("text") == rank >= torch.linalg.matrix_rank(after - W, rtol=1e-4)


# ---- leace


def test_leace_is_what_the_authors_package_computes(
    world: tuple[Prototypes, Task], request_of: ForgetRequest
) -> None:
    """Up to the constant: theirs keeps the mean of h, ours shifts every h alike."""
    erasure = pytest.importorskip("concept_erasure")
    p, task = world
    x = task.images
    z = one_hot(x.class_of).double() * request_of.mask(GRID)[x.class_of, x.domain_of, None]
    h = (x.f @ p.W).double()
    theirs = erasure.LeaceEraser.fit(h, z[:, z.any(0)], shrinkage=False)(h)
    ours = (x.f @ fitted("leace", world, request_of)).double()
    torch.testing.assert_close(ours - ours.mean(0), theirs - theirs.mean(0), atol=1e-4, rtol=0)
    assert (theirs - h).norm() > 0.1 * (h - h.mean(0)).norm()


def probe_gain(h: Tensor, z: Tensor) -> float:
    """Share of the variance of z that the best linear probe with a bias explains; float32 dust is not to be read."""
    h1, z = torch.cat([h, torch.ones(len(h), 1)], 1).double(), z.double()
    rest = z - h1 @ torch.linalg.lstsq(h1, z, rcond=1e-4, driver="gelsd").solution
    return 1 - (rest.square().sum() / (z - z.mean(0)).square().sum()).item()


def test_leace_leaves_nothing_to_a_linear_probe(
    world: tuple[Prototypes, Task], request_of: ForgetRequest
) -> None:
    """arXiv 2306.03819: no linear probe beats the constant on the fitted data; the probe's bias takes up the offset."""
    p, task = world
    x = task.images
    z = (one_hot(x.class_of) * request_of.mask(GRID)[x.class_of, x.domain_of, None]).float()
    h, erased = x.f @ p.W, x.f @ fitted("leace", world, request_of)
    assert probe_gain(h, z) > 0.3 and abs(probe_gain(erased, z)) < 1e-4
    cross = [(v - v.mean(0)).T @ (z - z.mean(0)) for v in (h, erased)]
    assert cross[1].norm() < 1e-5 * cross[0].norm()


def test_leace_removes_as_many_directions_as_labels_and_no_more(
    world: tuple[Prototypes, Task], request_of: ForgetRequest
) -> None:
    p, task = world
    edit = BASELINES["leace"].fit(p, request_of, task.images)
    labels = int(request_of.mask(GRID).any(1).sum())
    assert edit.rank() == labels == torch.linalg.matrix_rank(edit.weight(p.W, 1.0) - p.W, rtol=1e-3)


# ---- what each may see


def test_the_registry_lists_every_method_of_the_package_and_says_what_it_sees() -> None:
    assert set(METHODS) | set(ADDED) == BASELINES.keys() and not set(METHODS) & set(ADDED)
    assert all(
        b.name == name and b.sees in SEES and b.of in OF and b.cite and b.idea
        for name, b in BASELINES.items()
    )
    assert SETTINGS.keys() <= set(ADDED)


@pytest.mark.parametrize("name", ADDED)
def test_only_what_says_so_takes_images(name: str) -> None:
    function = BASELINES[name].factors
    taken, hints = set(inspect.signature(function).parameters), typing.get_type_hints(function)
    types = [t for n in taken for t in types_in(hints[n])]
    seen = any(isinstance(t, type) and issubclass(t, FORBIDDEN_TYPES) for t in types)
    assert seen == bool(taken & FORBIDDEN_NAMES) == (name in SEEING)


@pytest.mark.parametrize(
    "name", [n for n in BASELINES if n not in SEEING and "global" in BASELINES[n].fits]
)
def test_images_given_to_a_data_free_method_do_not_matter(
    world: tuple[Prototypes, Task], name: str
) -> None:
    p, task = world
    (W, one), (_, two) = (
        changed(p, BASELINES[name].fit(p, REQUESTS["global"], x)) for x in (None, task.images)
    )
    assert torch.equal(one, two) and not torch.equal(one, W)


@pytest.mark.parametrize("name", [n for n, b in BASELINES.items() if b.sees == TEXT])
def test_what_sees_text_alone_does_not_look_at_pictures(
    world: tuple[Prototypes, Task], name: str
) -> None:
    p = world[0]
    other = replace(p, visual=torch.randn_like(p.visual), reached=torch.randn_like(p.reached))
    one, two = (changed(p, BASELINES[name].fit(q, REQUESTS["global"]))[1] for q in (p, other))
    assert torch.equal(one, two)


def other_images(x: Features, cells: Tensor) -> Features:
    """The same images with noise where `cells` (n,) says so."""
    return replace(x, f=torch.where(cells[:, None], torch.randn_like(x.f), x.f))


@pytest.mark.parametrize(
    "name", [n for n, b in BASELINES.items() if b.sees in (PICTURES, DATA) and b.of != EVERY]
)
def test_what_needs_some_cells_alone_does_not_look_at_the_others(
    world: tuple[Prototypes, Task], name: str
) -> None:
    p, task = world
    b, request, x = BASELINES[name], REQUESTS["domain-specific"], task.images
    unseen = request.mask(GRID) == (b.of == STAYS)
    other = torch.where(unseen[..., None, None], torch.randn_like(p.visual), p.visual)
    if name == "lip":  # it brings all prototypes to their mean norm
        other = other / other.norm(dim=-1, keepdim=True) * p.visual.norm(dim=-1, keepdim=True)
    images = other_images(x, unseen[x.class_of, x.domain_of])
    (_, one), (_, two) = (
        changed(p, b.fit(*args))
        for args in ((p, request, x), (replace(p, visual=other), request, images))
    )
    torch.testing.assert_close(one, two)


def test_what_is_needed_follows_from_what_is_seen() -> None:
    needs = {
        n: BASELINES[n].needs for n in ("random-subspace", "tsa", "lip", "finetune", "relabel")
    }
    assert needs == {
        "random-subspace": "nothing",
        "tsa": "names of every cell",
        "lip": "names, pictures of what goes",
        "finetune": "names, labelled images of what stays",
        "relabel": "names, labelled images of every cell",
    }


@pytest.mark.parametrize("name", [n for n in SEEING if BASELINES[n].of != STAYS])
def test_what_sees_data_asks_for_images_of_the_request(
    world: tuple[Prototypes, Task], name: str
) -> None:
    p, task = world
    photos = task.images.domain_of == 1
    x = replace(
        task.images, **{n: getattr(task.images, n)[photos] for n in ("f", "class_of", "domain_of")}
    )
    for images in (None, x):
        with pytest.raises(
            InputError, match=rf'"{name}" sees real images.* no image of dog in sketch'
        ):
            BASELINES[name].fit(p, REQUESTS["domain-specific"], images)


def test_finetune_asks_for_images_of_what_stays(world: tuple[Prototypes, Task]) -> None:
    p, task = world
    images = task.images.only((task.images.class_of == 1).nonzero().flatten())
    for given in (None, images):
        with pytest.raises(
            InputError,
            match=r'"finetune" sees real images.* no image of what stays beside dog in all',
        ):
            BASELINES["finetune"].fit(p, REQUESTS["global"], given)


@pytest.mark.parametrize(
    ("name", "paradigm"),
    [(n, k) for n, b in BASELINES.items() for k in REQUESTS if k not in b.fits],
)
def test_a_method_refuses_a_request_that_it_does_not_fit(
    world: tuple[Prototypes, Task], name: str, paradigm: str
) -> None:
    kinds = BASELINES[name].fits[0]
    with pytest.raises(
        InputError, match=f'"{name}" is for {kinds} requests; this request is {paradigm}'
    ):
        BASELINES[name].fit(world[0], REQUESTS[paradigm], world[1].images)


@pytest.mark.parametrize(("name", "paradigm"), FITTING)
def test_every_baseline_is_a_thin_edit_of_one_tower_that_repeats(
    world: tuple[Prototypes, Task], name: str, paradigm: str
) -> None:
    p, task = world
    b, request, kept = BASELINES[name], REQUESTS[paradigm], (p.W.clone(), p.W_text.clone())
    edit, again = (b.fit(p, request, task.images) for _ in range(2))
    (W, after), (_, same) = changed(p, edit), changed(p, again)
    assert edit.method == name and edit.towers == b.tower and 0 < edit.rank(b.tower) <= min(W.shape)
    assert edit.request == request.on(GRID) and changed(p, edit, 0.0)[1] is W
    assert torch.equal(after, same) and torch.equal(p.W, kept[0]) and torch.equal(p.W_text, kept[1])
    assert torch.isfinite(after).all() and not torch.equal(after, W)


@pytest.mark.parametrize(
    "request_of", [ForgetRequest(["cat", "dog", "house"]), ForgetRequest(["cat"], ["photo"])]
)
@pytest.mark.parametrize("name", ADDED)
def test_no_baseline_needs_many_classes_or_domains_to_stay(
    world: tuple[Prototypes, Task], name: str, request_of: ForgetRequest
) -> None:
    if request_of.paradigm not in BASELINES[name].fits:
        pytest.skip(f"{name} is not for {request_of.paradigm} requests")
    edit = BASELINES[name].fit(world[0], request_of, world[1].images)
    assert torch.isfinite(changed(world[0], edit)[1]).all()


# ---- halves


def test_halves_are_disjoint_and_hold_half_of_every_cell(world: tuple[Prototypes, Task]) -> None:
    task = world[1]
    fit, held = halves(task)
    assert not set(fit.images.paths) & set(held.images.paths)
    assert set(fit.images.paths) | set(held.images.paths) == set(task.images.paths)
    total, taken, left = (
        torch.bincount(t.images.class_of * K + t.images.domain_of, minlength=C * K)
        for t in (task, fit, held)
    )
    assert torch.equal(taken, total // 2) and torch.equal(left, total - total // 2)
    for part in (fit, held):
        index = [task.images.paths.index(path) for path in part.images.paths]
        for name in ("f", "class_of", "domain_of"):
            assert torch.equal(getattr(part.images, name), getattr(task.images, name)[index])


def test_halves_follow_the_seed(world: tuple[Prototypes, Task]) -> None:
    one, again, other = (halves(world[1], seed)[0].images.paths for seed in (0, 0, 1))
    assert one == again != other


# ---- the table


@pytest.fixture(scope="module")
def frame(setting: Setting) -> pd.DataFrame:
    return compare(setting, list(REQUESTS.values()), progress=False)


def test_compare_has_a_row_for_every_method_that_fits(frame: pd.DataFrame) -> None:
    rows = frame.groupby("paradigm")["method"].agg(list)
    for paradigm, methods in rows.items():
        assert methods == [n for n, b in BASELINES.items() if paradigm in b.fits]
    assert set(rows["whole-domain"]) ^ set(rows["global"]) == {"redirect", "tsa"}
    pictures = frame["sees"] == PICTURES
    assert (frame["synthesis"] == pictures * 7.0).all() and (frame["seconds"] > 0).all()
    assert (frame["cost"] == frame["seconds"] + frame["synthesis"]).all()
    assert (frame["needs"] == [BASELINES[name].needs for name in frame["method"]]).all()
    assert frame["same_class"].notna().eq(frame["paradigm"] == "domain-specific").all()


@pytest.mark.parametrize("name", ["oblique", "oracle", "relabel"])
def test_compare_fits_on_one_half_and_measures_on_the_other(setting: Setting, name: str) -> None:
    request = REQUESTS["domain-specific"]
    row = compare(setting, request, [name], strength=0.6, seed=3, progress=False).iloc[0]
    p, (fit, held) = setting.prototypes, halves(setting.task, 3)
    edit = BASELINES[name].fit(p, request, fit.images, seed=3)
    table = evaluate(p, edit, held, [0.0, 0.6]).set_index(["group", "strength"])
    assert (
        row["forget"] == table.loc[("forget", 0.6), "accuracy"]
        and row["H"] == table.loc[("forget", 0.6), "H"]
    )
    lost = table.loc[("same_class", 0.6), "accuracy"] - table.loc[("same_class", 0.0), "accuracy"]
    assert row["same_class"] == pytest.approx(100 * lost)


def test_compare_at_strength_zero_changes_nothing(setting: Setting) -> None:
    frame = compare(
        setting,
        REQUESTS["global"],
        ["uce-ridge", "leace", "tsa", "lip"],
        strength=0,
        progress=False,
    )
    assert (frame["forget"] == frame["before"]).all() and (frame["retained"] == 0).all()


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
    with pytest.raises(InputError, match=message):
        compare(**{"setting": setting, "requests": REQUESTS["global"], "progress": False, **change})


def test_compare_says_which_request_has_too_few_images(setting: Setting) -> None:
    x = setting.task.images
    dogs = ((x.class_of == 1) & (x.domain_of == 2)).nonzero().flatten()
    keep = torch.ones(len(x), dtype=torch.bool)
    keep[dogs[1:]] = False
    fewer = Features(
        x.f[keep], x.class_of[keep], x.domain_of[keep], tuple(x.paths[i] for i in keep.nonzero())
    )
    with pytest.raises(InputError, match="too few images of dog in sketch"):
        compare(
            replace(setting, task=replace(setting.task, images=fewer)), REQUESTS["domain-specific"]
        )


def test_compare_gives_the_threads_back(setting: Setting) -> None:
    """It works on one thread, so that seconds compare; afterwards, and after an error, there are as many as before."""
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
    names = ["method", "sees", "forget", "retained"]
    return pd.DataFrame(rows, columns=names).assign(
        paradigm="global", paraphrase=0.1, H=lambda f: 1 - f["forget"], seconds=0.5, synthesis=0.0
    )


def test_the_table_gives_mean_and_worst_in_the_direction_that_hurts() -> None:
    table = comparison_table(by_hand([("a", TEXT, 0.1, -1.0), ("a", TEXT, 0.3, -5.0)]))
    row = table.loc[("global", "a")]
    assert (
        row["requests"] == 2 and row["forget"] == pytest.approx(0.2) and row["forget worst"] == 0.3
    )
    assert (
        row["retained"] == -3.0
        and row["retained worst"] == -5.0
        and row["H worst"] == pytest.approx(0.7)
    )
    assert "same_class" not in table and "needs" not in table


def test_the_table_puts_who_sees_least_first_and_then_the_best(frame: pd.DataFrame) -> None:
    rows = [
        ("d", DATA, 0.0, 0.0),
        ("b", TEXT, 0.5, 0.0),
        ("c", PICTURES, 0.1, 0.0),
        ("a", TEXT, 0.2, 0.0),
    ]
    assert [name for _, name in comparison_table(by_hand(rows)).index] == ["a", "b", "c", "d"]
    table = comparison_table(frame)
    assert table.loc[("global", "lip"), "needs"] == BASELINES["lip"].needs
    assert (table["cost"] >= table["synthesis"]).all() and len(table) == sum(
        len(b.fits) for b in BASELINES.values()
    )
