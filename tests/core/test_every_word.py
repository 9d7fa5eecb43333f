"""The pull for words that nobody named: what it forgets, what it leaves alone, and when it is 0."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from clip_unlearn import Clip, ConceptGrid, Prototypes, load_clip
from clip_unlearn.core.calibrated import centred, redirect
from clip_unlearn.core.nullspace import TowerPrototypes
from clip_unlearn.core.variants import known_words, pull_of_words, redirect_every_word

C, K, D, WORDS = 4, 3, 32, 8
LEAD = 0.5  # of an image over another class, as a share of that of its text


def additive(words: int = WORDS, classes: int = C) -> TowerPrototypes:
    """A CLIP whose images and texts are a class part plus a domain part plus a constant; W = I."""
    basis = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(0))).Q
    constant, domains = basis[0], basis[1 : 1 + K]
    parts = basis[1 + K :][: classes + words]
    text = normalize(parts[:classes, None] + domains + 0.2 * constant, dim=-1)
    images = LEAD * parts[:classes, None] + 0.6 * domains + constant
    images = normalize(images, dim=-1)
    class_text = normalize(parts[:classes] + 0.2 * constant, dim=-1)
    others = normalize(parts[classes:] + 0.2 * constant, dim=-1)
    return TowerPrototypes(torch.eye(D), text, class_text, images[:, :, None], images, others)


def sketches_go() -> Tensor:
    """(C, K) the last domain is forgotten."""
    mask = torch.zeros(C, K, dtype=torch.bool)
    mask[:, -1] = True
    return mask


def told_apart(p: TowerPrototypes, q: Tensor, reading: float) -> float:
    """How many of the words win over all others on an image of theirs, pulled at a reading."""
    lead = LEAD / (LEAD**2 + 0.6**2 + 1) ** 0.5  # of unit embeddings
    images = lead * p.words + reading * q
    return (images @ p.words.T).argmax(1).eq(torch.arange(len(p.words))).float().mean().item()


def test_words_are_forgotten_where_the_domain_goes_and_stay_elsewhere() -> None:
    p = additive()
    q = pull_of_words(p, p.reached, torch.zeros(D))
    assert told_apart(p, q, 0.0) == 1
    assert told_apart(p, q, 1.0) < 0.5
    assert told_apart(p, q, 0.1) == told_apart(p, q, -0.1) == 1


def test_the_named_classes_do_not_feel_it() -> None:
    p = additive()
    A, B = redirect_every_word(p, sketches_go())
    A_named, B_named = redirect(p, sketches_go())
    of_named = centred(p.class_text).T
    assert torch.allclose(A @ B @ of_named, A_named @ B_named @ of_named, atol=1e-3)
    assert not torch.allclose(A @ B, A_named @ B_named, atol=0.1)
    assert len(B) == 1  # still one direction


def test_more_worth_of_what_stays_is_a_shorter_pull() -> None:
    p = additive()
    light, heavy = (pull_of_words(p, p.reached, torch.zeros(D), worth) for worth in (5.0, 500.0))
    assert heavy.norm() < light.norm()


@pytest.mark.parametrize("words", [0, 2])
def test_with_too_few_words_it_is_redirect(words: int) -> None:
    p = additive(words)
    A, B = redirect_every_word(p, sketches_go())
    A_named, B_named = redirect(p, sketches_go())
    assert torch.allclose(A @ B, A_named @ B_named, atol=1e-6)


def test_without_room_beside_the_named_classes_there_is_no_pull() -> None:
    """As many classes as dimensions: no direction is left in which they do not differ."""
    p = additive()
    classes = normalize(torch.eye(D) + 0.01, dim=-1)
    everything = torch.cat([classes, -classes])
    p = p._replace(class_text=everything)
    pictures = everything[:, None]
    assert pull_of_words(p, pictures, torch.zeros(D)).norm() == 0


def test_it_can_be_switched_off() -> None:
    p = additive()
    A, B = redirect_every_word(p, sketches_go(), every_word=False)
    A_named, B_named = redirect(p, sketches_go())
    assert torch.equal(A, A_named) and torch.equal(B, B_named)


class Knowing:
    """A CLIP that says it knows some words."""

    def __init__(self, clip: Clip, words: list[str]) -> None:
        self.clip, self.words = clip, words

    def __getattr__(self, name: str) -> object:
        return getattr(self.clip, name)

    def vocabulary(self, most: int) -> list[str]:
        return self.words[:most]


def test_words_that_the_grid_has_and_repeats_are_left_out(clip: Clip, grid: ConceptGrid) -> None:
    domain_word = grid.words_for(grid.domains[0])[0]
    words = ["violin", "dog", domain_word, "violin", "teapot"]
    texts = known_words(Knowing(clip, words), grid)
    prompts = [prompt for name in ("violin", "teapot") for prompt in grid.class_prompts(name)]
    unit = normalize(clip.text_features(prompts) @ clip.heads["text"].weight, dim=-1)
    expected = normalize(unit.unflatten(0, (2, -1)).mean(1), dim=-1)
    assert torch.allclose(texts, expected, atol=1e-5)


def test_a_clip_that_never_learnt_a_word_knows_none(clip: Clip, prototypes: Prototypes) -> None:
    """All rows of its token table are as they began; a longer one is a word that it learnt."""
    assert clip.vocabulary(10) == [] and prototypes.words.shape == (0, 16)


def test_a_word_whose_row_has_grown_is_known(make_folder: Callable[..., Path]) -> None:
    clip = load_clip(make_folder("vit"), device="cpu")
    table = clip.model.token_embedding.weight
    ranks = clip.tokenizer.encoder
    with torch.no_grad():
        for factor, word in ((3, "violin"), (2, "teapot")):
            table[ranks[f"{word}</w>"]] *= factor
    assert clip.vocabulary(10) == ["violin", "teapot"] and clip.vocabulary(1) == ["violin"]


def test_where_every_row_is_learnt_words_are_taken_evenly(make_folder: Callable[..., Path]) -> None:
    clip = load_clip(make_folder("vit"), device="cpu")
    table = clip.model.token_embedding.weight
    with torch.no_grad():
        lengths = torch.linspace(1, 3, len(table))[torch.randperm(len(table))]
        table *= (lengths / table.norm(dim=1))[:, None]
    words = clip.vocabulary(100)
    assert 90 <= len(words) <= 100 and len(set(words)) == len(words)
    assert all(len(word) >= 3 and word.isalpha() for word in words)
