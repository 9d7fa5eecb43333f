"""Lip as published: its loss against the formula, its pictures, and what training may change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import CLASSES, DOMAINS
from torch import Tensor
from torch.nn.functional import normalize

from clip_unlearn import Clip, ConceptGrid, ForgetRequest
from clip_unlearn.baselines.whole_model import (
    MORE_TENSORS,
    NOISE,
    Lip,
    lip_pictures,
    lip_prompt,
    lip_unlearned,
    lipschitz_loss,
    recognised,
)
from clip_unlearn.core import InputError

GRID = ConceptGrid(CLASSES, DOMAINS)
DOG = ForgetRequest(["dog"])
QUICK = Lip(pictures=3, steps=4, confidence=0.0, draws=2, tensors=3, rounds=2)


@pytest.fixture
def pictures(clip: Clip) -> Tensor:
    size = clip.image_size
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def texts(clip: Clip) -> Tensor:
    """(3, d) one text for each class."""
    features = clip.text_features([f"a {name}" for name in CLASSES])
    return normalize(features @ clip.heads["text"].weight, dim=-1)


def test_the_numbers_are_the_authors() -> None:
    how = Lip()
    assert (how.steps, how.length, how.jitter, how.blur_every) == (3000, 25, 16, 10)
    assert (how.pictures, how.draws) == (64, 5)
    assert len(NOISE) == len(MORE_TENSORS)


def test_the_loss_is_the_formula(clip: Clip, pictures: Tensor) -> None:
    """(|T - I(x + e)| + |I(x) - I(x + e)|) / (2 |e|), by another way to the embeddings."""
    tokens = clip.tokenizer(["a picture of dog"])
    loss = lipschitz_loss(clip.model, tokens, pictures, 0.3, 2, torch.Generator().manual_seed(1))

    W = clip.heads["visual"].weight
    text = clip.text_features(["a picture of dog"]) @ clip.heads["text"].weight
    generator = torch.Generator().manual_seed(1)
    total = 0.0
    for _ in range(2):
        e = 0.3 * torch.randn(pictures.shape, generator=generator)
        shaken = clip.image_features(pictures + e) @ W
        for x, size, there in zip(pictures, e, shaken, strict=True):
            here = clip.image_features(x[None]) @ W
            moved = (text - there).norm() + (here - there).norm()
            total += (moved / (2 * size.norm())).item()
    assert loss.item() == pytest.approx(total / 4, rel=1e-4)


def test_each_part_of_the_loss_moves_one_tower(clip: Clip, pictures: Tensor) -> None:
    """I(x + e) is held fixed: nothing pulls a picture to the very text that it should lose."""
    tokens = clip.tokenizer(["a picture of dog"])

    def gradient(tokens: Tensor) -> Tensor:
        W = clip.model.visual.proj
        W.requires_grad_()
        generator = torch.Generator().manual_seed(1)
        loss = lipschitz_loss(clip.model, tokens, pictures, 0.3, 2, generator)
        (of_W,) = torch.autograd.grad(loss, W)
        W.requires_grad_(False)
        return of_W

    other = clip.tokenizer(["something else"])
    assert gradient(tokens).norm() > 0
    torch.testing.assert_close(gradient(tokens), gradient(other))


def test_pictures_are_recognised_and_stretched_from_black_to_white(
    clip: Clip, texts: Tensor
) -> None:
    how = replace(QUICK, steps=200, confidence=0.34)
    made = lip_pictures(clip, texts, 1, how, progress=False)
    assert made.shape == (3, 3, clip.image_size, clip.image_size)
    h = clip.image_features(made) @ clip.heads["visual"].weight
    assert (h @ texts.T).argmax(1).eq(1).all()

    mean, deviation = (torch.tensor(x)[:, None, None] for x in clip.normalization)
    pixels = made * deviation + mean
    torch.testing.assert_close(pixels.amin((1, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(pixels.amax((1, 2, 3)), torch.ones(3), atol=1e-5, rtol=0)


def test_pictures_follow_their_seed(clip: Clip, texts: Tensor) -> None:
    how = replace(QUICK, steps=200, confidence=0.34)
    one, again, other = (
        lip_pictures(clip, texts, 1, how, seed, progress=False) for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_pictures_that_do_not_come_out_are_told(clip: Clip, texts: Tensor) -> None:
    """Confidence falls by .025 a time, and not below .45."""
    same = texts[:1].expand(3, -1)  # no picture tells them apart
    with pytest.raises(InputError, match=r"in 1 steps no picture is recognised .* 0\.45"):
        lip_pictures(clip, same, 1, replace(QUICK, steps=1, confidence=0.5), progress=False)


def test_training_changes_a_copy_and_few_tensors_of_each_tower(
    clip: Clip, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rounds, each with fewer pictures recognised, so that none is taken back."""
    shares = iter([0.8, 0.6])
    monkeypatch.setattr("clip_unlearn.baselines.whole_model.recognised", lambda *_: next(shares))
    before = clip.fingerprint()
    changed = lip_unlearned(clip, GRID, DOG, pictures, QUICK)
    assert clip.fingerprint() == before
    assert changed.fingerprint() != before
    assert not any(tensor.requires_grad for tensor in changed.model.parameters())

    old = dict(clip.model.named_parameters())
    moved = {name for name, x in changed.model.named_parameters() if not torch.equal(x, old[name])}
    of_images = {name for name in moved if name.startswith("visual.")}
    assert 3 <= len(of_images) <= 6
    assert 3 <= len(moved - of_images) <= 6
    assert all(name.startswith(("visual.", "transformer.")) for name in moved)


def test_a_round_that_does_not_help_is_taken_back_and_more_noise_is_tried(
    clip: Clip, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "clip_unlearn.baselines.whole_model"
    noises = []

    def loss(model, tokens, pictures, sd, draws, generator) -> Tensor:
        noises.append(sd)
        return lipschitz_loss(model, tokens, pictures, sd, draws, generator)

    monkeypatch.setattr(f"{module}.lipschitz_loss", loss)
    monkeypatch.setattr(f"{module}.recognised", lambda *_: 1.0)
    changed = lip_unlearned(clip, GRID, DOG, pictures, replace(QUICK, rounds=30))
    assert noises == list(NOISE)
    assert changed.fingerprint() == clip.fingerprint()


def test_training_ends_when_few_pictures_are_recognised(
    clip: Clip, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = iter([0.8, 0.2])  # a third would raise StopIteration
    monkeypatch.setattr("clip_unlearn.baselines.whole_model.recognised", lambda *_: next(shares))
    lip_unlearned(clip, GRID, DOG, pictures, replace(QUICK, rounds=30))
    assert not list(shares)


def test_recognised_is_the_share_that_the_grids_prompts_name(clip: Clip, pictures: Tensor) -> None:
    shares = [recognised(clip, GRID, pictures, c) for c in range(len(CLASSES))]
    assert sum(shares) == pytest.approx(1)


def test_the_prompt_says_what_the_pictures_are_of() -> None:
    assert lip_prompt(GRID, DOG) == ("dog", "a picture of dog")
    assert lip_prompt(GRID, ForgetRequest(["dog"], ["sketch"])) == ("dog", "a sketch of dog")
    for request in (ForgetRequest(None, ["sketch"]), ForgetRequest(["dog", "cat"])):
        with pytest.raises(InputError, match="for one class, everywhere or in one domain"):
            lip_prompt(GRID, request)
