"""Prototypes: from text alone, the same for the same seed, nearer to it than noise, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors import safe_open
from tiny import CLASSES, DOMAINS
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from clip_unlearn import (
    BUNDLED_SYNONYMS,
    Clip,
    ConceptGrid,
    Prototypes,
    bundled_images,
    grid_of,
    load_clip,
    synthesize_prototypes,
)
from clip_unlearn.core import InputError
from clip_unlearn.core.cache import save_tensors
from clip_unlearn.core.concepts import fill
from clip_unlearn.core.ondemand import kept as ondemand
from clip_unlearn.core.ondemand.kept import OnDemand, climbed
from clip_unlearn.core.prototypes import text_prototypes
from clip_unlearn.core.synthesis import Synthesis, pixel_prototypes
from clip_unlearn.core.variants import data_free_images, latent_prototypes

KINDS = ("blend", "pixel", "latent")
QUICK = Synthesis(steps=2)


def forbid(*_: object, **__: object) -> None:
    raise AssertionError("made again")


@pytest.fixture
def knowing(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> Clip:
    """The tiny CLIP as if it had learnt some words."""
    words = ["cat", "house", "photo", "red", "sketch", "tree"]
    monkeypatch.setattr(Clip, "vocabulary", lambda self, most: words[:most])
    return clip


def make(clip: Clip, grid: ConceptGrid, **changes: object) -> Prototypes:
    arguments = {"per_cell": 2, "how": QUICK, "progress": False, "cache": False, **changes}
    return synthesize_prototypes(clip, grid, **arguments)


def agreement(p: Prototypes) -> Tensor:
    """(C, K, m) cosine of each prototype's embedding to the text of its cell."""
    return cosine_similarity(p.visual @ p.seen_projection, p.text[:, :, None], dim=-1)


# ---- text


def test_class_text_is_open_clips_zero_shot_classifier(
    clip: Clip, grid: ConceptGrid, prototypes: Prototypes
) -> None:
    templates = [lambda c, t=t: fill(t, "class", c) for t in grid.class_templates]
    with torch.no_grad():
        expected = open_clip.build_zero_shot_classifier(
            clip.model, clip.tokenizer, grid.classes, templates
        )
    torch.testing.assert_close(prototypes.class_text, expected.T, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["vit", "text-bias", "custom-text-bias"])
def test_cell_text_is_open_clips_zero_shot_classifier_of_the_domain(
    clips: Callable[[str], Clip], grid: ConceptGrid, kind: str
) -> None:
    clip = clips(kind)
    cells, _, _ = text_prototypes(clip, grid)
    found = normalize(cells @ clip.heads["text"].weight, dim=-1)
    for k, domain in enumerate(grid.domains):
        templates = [
            lambda c, t=t, w=w: fill(fill(t, "domain", w), "class", c)
            for t in grid.cell_templates
            for w in grid.words_for(domain)
        ]
        with torch.no_grad():
            expected = open_clip.build_zero_shot_classifier(
                clip.model, clip.tokenizer, grid.classes, templates
            )
        torch.testing.assert_close(found[:, k], expected.T, atol=1e-5, rtol=0)


def test_shapes_are_those_of_the_grid(prototypes: Prototypes) -> None:
    C, K = prototypes.grid.shape
    D, d = prototypes.W.shape
    assert prototypes.visual.shape == (C, K, 2, D) and prototypes.per_cell == 2
    assert prototypes.text.shape == (C, K, d) and prototypes.class_text.shape == (C, d)
    assert not prototypes.visual.requires_grad and prototypes.visual.dtype is torch.float32


# ---- seeds


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_prototypes(
    clip: Clip, grid: ConceptGrid, kind: str
) -> None:
    first = make(clip, grid, kind=kind, seed=3).visual
    torch.rand(17)  # what the caller draws in between does not matter
    assert torch.equal(first, make(clip, grid, kind=kind, seed=3).visual)
    other = make(clip, grid, kind=kind, seed=4).visual
    assert (first - other).abs().amax(-1).min() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_synthesis_leaves_the_callers_random_state_alone(
    clip: Clip, grid: ConceptGrid, kind: str
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make(clip, grid, kind=kind)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_prototypes_of_a_cell_differ(clip: Clip, grid: ConceptGrid, kind: str) -> None:
    visual = make(clip, grid, kind=kind).visual
    assert (visual[:, :, 0] - visual[:, :, 1]).abs().amax(-1).min() > 1e-4


# ---- agreement with the text


def test_pixel_synthesis_raises_every_cell_above_noise(clip: Clip, grid: ConceptGrid) -> None:
    noise = agreement(make(clip, grid, how=Synthesis(steps=0))).mean(2)
    done = agreement(make(clip, grid, how=Synthesis(steps=25))).mean(2)
    assert (done - noise).min() > 0.02 and (done - noise).mean() > 0.1


def test_pixel_prototypes_are_features_of_pictures(clip: Clip, prototypes: Prototypes) -> None:
    targets = prototypes.text[0]
    features, pixels = pixel_prototypes(clip, targets, 2, 0, QUICK, progress=False)
    assert pixels.shape == (3, 2, 3, 32, 32) and 0 <= pixels.min() < pixels.max() <= 1
    mean, std = (
        torch.tensor(getattr(clip.model.visual, f"image_{k}"))[:, None, None]
        for k in ("mean", "std")
    )
    expected = clip.image_features((pixels.flatten(0, 1) - mean) / std)
    torch.testing.assert_close(features.flatten(0, 1), expected, atol=1e-5, rtol=1e-5)


def test_bfloat16_synthesis_climbs_as_well_and_is_another_entry(
    clip: Clip, grid: ConceptGrid
) -> None:
    short = Synthesis(steps=8, bf16=True)
    p = make(clip, grid, kind="pixel", how=short)
    full = make(clip, grid, kind="pixel", how=Synthesis(steps=8))
    assert p.visual.dtype == torch.float32 and not torch.equal(p.visual, full.visual)
    assert agreement(p).mean() > agreement(full).mean() - 0.05
    one = ([(0, 0, 0)], torch.eye(16), 0)
    names = [ondemand.picture_names(clip, grid, *one, how) for how in (short, Synthesis(steps=8))]
    assert names[0] != names[1]


def test_watch_sees_every_step(clip: Clip, prototypes: Prototypes) -> None:
    seen = []
    pixel_prototypes(
        clip,
        prototypes.text[0],
        1,
        0,
        Synthesis(steps=3),
        False,
        watch=lambda i, x: seen.append((i, x)),
    )
    assert [i for i, _ in seen] == [0, 1, 2] and seen[0][1].shape == (3, 3, 32, 32)
    assert not torch.equal(seen[0][1], seen[2][1])


def test_latent_prototypes_embed_as_their_text(clip: Clip, grid: ConceptGrid) -> None:
    assert agreement(make(clip, grid, kind="latent")).min() > 0.95


def test_latent_prototypes_are_linear_in_the_text(clip: Clip, prototypes: Prototypes) -> None:
    a, b = prototypes.class_text[0], prototypes.class_text[1]
    f = latent_prototypes(clip, torch.stack([a, b, (a + b) / 2]), 2, 0, pool=48)
    torch.testing.assert_close(f[2], (f[0] + f[1]) / 2, atol=1e-3, rtol=1e-3)


def test_pictures_of_nothing_are_pictures(clip: Clip) -> None:
    pictures = data_free_images(6, 32, 0)
    assert pictures.shape == (6, 3, 32, 32) and pictures.min() >= 0 and pictures.max() <= 1
    assert pictures.std((1, 2, 3)).min() > 0.01
    assert torch.equal(pictures, data_free_images(6, 32, 0)) and not torch.equal(
        pictures, data_free_images(6, 32, 1)
    )


# ---- what is kept


@pytest.fixture
def pictures_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of pictures in each batch that is optimised."""
    made = []

    def counting(clip: Clip, W: Tensor, goals: Tensor, *rest: object) -> Tensor:
        made.append(len(goals))
        return climbed(clip, W, goals, *rest)

    monkeypatch.setattr(ondemand, "climbed", counting)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_call_makes_nothing(
    clip: Clip, grid: ConceptGrid, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    first = make(clip, grid, kind=kind, cache=True)
    for name in ("climbed", "features_of_nothing"):
        monkeypatch.setattr(ondemand, name, forbid)
    again = make(clip, grid, kind=kind, cache=True)
    assert torch.equal(first.visual, again.visual) and torch.equal(first.reached, again.reached)
    assert again.seconds == pytest.approx(first.seconds, abs=0.01)
    assert again.cached and first.cached is (kind == "latent")
    with pytest.raises(AssertionError, match="made again"):
        make(clip, grid, kind=kind, cache=False)


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({}, 0),
        ({"seed": 1}, 18),
        ({"per_cell": 1}, 0),
        ({"per_cell": 3}, 9),
        ({"kind": "latent"}, 0),
        ({"how": Synthesis(steps=1)}, 18),
        ({"grid": ConceptGrid([*CLASSES, "horse"], DOMAINS)}, 6),
        ({"grid": ConceptGrid(CLASSES[::-1], DOMAINS[:2])}, 0),
        ({"grid": ConceptGrid(CLASSES, DOMAINS, ["{class} {domain}"])}, 18),
        ({"grid": ConceptGrid(CLASSES, DOMAINS, domain_words={"photo": ["foto"]})}, 6),
    ],
)
def test_only_pictures_that_nobody_has_made_are_made(
    knowing: Clip,
    grid: ConceptGrid,
    fresh_cache: Path,
    pictures_made: list[int],
    change: dict,
    anew: int,
) -> None:
    make(knowing, grid, cache=True)
    assert sum(pictures_made) == 18
    make(knowing, **{"grid": grid, "cache": True, **change})
    assert sum(pictures_made) == 18 + anew


def test_a_picture_is_the_same_in_any_grid_and_batch(
    knowing: Clip, grid: ConceptGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(knowing, grid)
    monkeypatch.setattr(ondemand, "batch_size", lambda _: 5)
    turned = make(knowing, ConceptGrid([*CLASSES[::-1], "horse"], DOMAINS[::-1]))
    again = turned.pictures[:3].flip(0, 1)
    torch.testing.assert_close(again, whole.pictures, atol=1e-3, rtol=1e-3)


def test_without_a_vocabulary_pictures_belong_to_what_the_prompts_of_their_grid_see(
    clip: Clip, grid: ConceptGrid, fresh_cache: Path, pictures_made: list[int]
) -> None:
    """The tiny CLIP has learnt no word; with few prompts some directions are seen by none."""
    few = {"cell_templates": ("{domain} {class}",), "class_templates": ("{class}",)}
    words = {"domain_words": {name: (name,) for name in ("photo", "sketch")}}
    assert not clip.vocabulary(1)
    make(clip, ConceptGrid(("cat", "dog"), ("photo", "sketch"), **few, **words), cache=True)
    assert sum(pictures_made) == 8
    more = ConceptGrid(("cat", "dog", "cow"), ("photo", "sketch"), **few, **words)
    make(clip, more, cache=True)
    assert sum(pictures_made) == 8 + 12


def test_an_interrupted_run_goes_on_where_it_stopped(
    clip: Clip,
    grid: ConceptGrid,
    fresh_cache: Path,
    pictures_made: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ondemand, "batch_size", lambda _: 4)
    whole = make(clip, grid)
    pictures_made.clear()
    counting = ondemand.climbed

    def interrupted(*arguments: object) -> Tensor:
        if len(pictures_made) == 3:
            raise KeyboardInterrupt
        return counting(*arguments)

    monkeypatch.setattr(ondemand, "climbed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(clip, grid, cache=True)
    monkeypatch.setattr(ondemand, "climbed", counting)
    resumed = make(clip, grid, cache=True)
    assert pictures_made == [4, 4, 4, 4, 2]
    assert torch.equal(resumed.visual, whole.visual)


def test_another_model_does_not_meet_this_ones_prototypes(
    clips: Callable[[str], Clip], grid: ConceptGrid, fresh_cache: Path
) -> None:
    vit, resnet = (make(clips(kind), grid, cache=True) for kind in ("vit", "timm-linear"))
    assert vit.visual.shape[-1] == 32 and resnet.visual.shape[-1] == 512


def test_a_model_that_sees_pictures_otherwise_does_not_meet_these_pictures(
    clip: Clip,
    grid: ConceptGrid,
    fresh_cache: Path,
    pictures_made: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make(clip, grid, cache=True)
    monkeypatch.setattr(clip.model.visual, "image_mean", (0.5, 0.5, 0.5))
    make(clip, grid, cache=True)
    assert sum(pictures_made) == 36


def test_without_cache_nothing_is_written(clip: Clip, grid: ConceptGrid, fresh_cache: Path) -> None:
    make(clip, grid)
    assert not fresh_cache.exists()


@pytest.mark.parametrize("damage", ["garbage", "cut", "other", "NaN"])
def test_a_damaged_cache_entry_is_made_again(
    clip: Clip, grid: ConceptGrid, fresh_cache: Path, damage: str
) -> None:
    first = make(clip, grid, cache=True)
    (entry,) = (fresh_cache / "prototypes" / "pictures").rglob("*.safetensors")
    if damage == "garbage":
        entry.write_bytes(b"garbage")
    elif damage == "cut":
        entry.write_bytes(entry.read_bytes()[:-100])
    elif damage == "other":
        save_tensors(entry, {"visual": first.visual}, {"seconds": "soon"})
    else:
        with safe_open(entry, "pt") as opened:
            rows, names = opened.get_tensor("rows"), opened.metadata()
        save_tensors(entry, {"rows": rows * float("nan")}, names)
    with pytest.warns(UserWarning, match="cannot be read, its rows are made again"):
        again = make(clip, grid, cache=True)
    assert torch.equal(first.visual, again.visual)
    assert make(clip, grid, cache=True).cached


def test_what_ships_with_the_bundled_clip_is_what_synthesis_makes(fresh_cache: Path) -> None:
    clip = load_clip("bundled", device="cpu")
    whole = grid_of(bundled_images(), BUNDLED_SYNONYMS)
    assert OnDemand(clip, whole).ship(8) and not OnDemand(clip, whole, seed=1).ship(8)
    cell = ConceptGrid(["dog"], ["sketch"])
    shipped = synthesize_prototypes(clip, cell, per_cell=2, kind="pixel", progress=False)
    made = synthesize_prototypes(clip, cell, per_cell=2, kind="pixel", progress=False, cache=False)
    assert shipped.cached and not made.cached and not fresh_cache.exists()
    assert cosine_similarity(shipped.pictures, made.pictures, dim=-1).min() > 0.99


# ---- bad input


@pytest.mark.parametrize("per_cell", [0, -3])
def test_less_than_one_prototype_a_cell_is_an_error(
    clip: Clip, grid: ConceptGrid, per_cell: int
) -> None:
    with pytest.raises(InputError, match=f"per_cell is {per_cell}"):
        make(clip, grid, per_cell=per_cell)


def test_an_unknown_kind_lists_the_kinds(clip: Clip, grid: ConceptGrid) -> None:
    with pytest.raises(InputError, match='"voxel": blend, pixel or latent'):
        make(clip, grid, kind="voxel")


def test_a_cache_that_cannot_be_written_is_a_warning(
    clip: Clip, grid: ConceptGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="CLIP_UNLEARN_CACHE"):
        assert make(clip, grid, kind="latent", cache=True).per_cell == 2
