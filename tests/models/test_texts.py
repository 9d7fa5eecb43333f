"""Prompts through the text tower: the same embeddings, of fewer tokens, each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from tiny import CONFIGS, TEXT, VIT, tiny_model
from torch import Tensor, nn

from clip_unlearn import Clip
from clip_unlearn.core.ondemand.progress import one_bar
from clip_unlearn.models import clip as module
from clip_unlearn.models import texts
from clip_unlearn.models.towers import text_head

PROMPTS = [
    "a dog",
    "",
    "a photo of a dog",
    "a dog",
    "an oil painting of a cat and a dog in a house",
    "dog",
    "one",
]
# A text tower in which every token sees every other, and one with a token of its own at the end.
NOT_CAUSAL = {**TEXT, "no_causal_mask": True, "pool_type": "last"}
WITH_A_TOKEN = {**TEXT, "embed_cls": True}


@pytest.fixture
def tokens_seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(prompts, length) of each batch that goes through a text tower trimmed."""
    seen = []
    trimmed = texts.encode_trimmed

    def counting(model: nn.Module, tokens: Tensor, length: int) -> Tensor:
        seen.append((len(tokens), length))
        return trimmed(model, tokens, length)

    monkeypatch.setattr(module, "encode_trimmed", counting)
    return seen


def padded(clip: Clip) -> Tensor:
    """Text features of the prompts as open_clip computes them, all at full length."""
    with torch.no_grad(), text_head(clip.model).bypassed() as finish:
        tokens = clip.tokenizer(PROMPTS)
        return finish(clip.model.encode_text(tokens, normalize=False)).float()


@pytest.mark.parametrize("kind", CONFIGS)
def test_trimmed_prompts_have_the_features_of_padded_ones(
    clips: Callable[[str], Clip], kind: str, tokens_seen: list[tuple[int, int]]
) -> None:
    clip = clips(kind)
    torch.testing.assert_close(clip.text_features(PROMPTS), padded(clip), atol=1e-5, rtol=1e-5)
    backwards = clip.text_features(PROMPTS[::-1])
    torch.testing.assert_close(backwards.flip(0), padded(clip), atol=1e-5, rtol=1e-5)
    assert tokens_seen, "this tower could be trimmed"


@pytest.mark.parametrize("text_cfg", [NOT_CAUSAL, WITH_A_TOKEN], ids=["all see all", "own token"])
def test_a_tower_that_looks_at_its_padding_is_not_trimmed(
    clips: Callable[[str], Clip], text_cfg: dict, tokens_seen: list[tuple[int, int]]
) -> None:
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(16, VIT, text_cfg).eval()
    tokenizer = open_clip.SimpleTokenizer(context_length=TEXT["context_length"])
    assert not texts.trims(model, tokenizer, torch.device("cpu"))
    clip = replace(clips("custom-text"), model=model, tokenizer=tokenizer)
    torch.testing.assert_close(clip.text_features(PROMPTS), padded(clip), atol=1e-5, rtol=1e-5)
    assert not tokens_seen


def test_a_tokenizer_that_does_not_pad_is_not_trimmed() -> None:
    model, _ = tiny_model("vit")

    def unpadded(prompts: list[str]) -> Tensor:
        return torch.randint(1, 9, (len(prompts), TEXT["context_length"]))

    assert not texts.trims(model, unpadded, torch.device("cpu"))


def test_trimming_leaves_the_model_as_it_was(clip: Clip) -> None:
    before = clip.model.positional_embedding
    fingerprint = clip.fingerprint()
    clip.text_features(PROMPTS)
    assert clip.model.positional_embedding is before and clip.fingerprint() == fingerprint
    assert len(clip.model.attn_mask) == TEXT["context_length"]


def test_like_lengths_go_together_and_each_prompt_once(
    clip: Clip, tokens_seen: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "AT_ONCE", 2)
    clip.text_features(PROMPTS)
    assert sum(n for n, _ in tokens_seen) == len(set(PROMPTS))
    longest = [length for _, length in tokens_seen]
    assert longest == sorted(longest) and longest[0] <= 3 < longest[-1]


def test_prompts_of_a_large_tower_are_encoded_once_for_all_runs(
    clips: Callable[[str], Clip],
    fresh_cache: Path,
    tokens_seen: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = clips("vit")
    computed = clip.text_features(PROMPTS)
    assert not fresh_cache.exists(), "a tiny tower is faster than a file"

    monkeypatch.setattr(module, "_KEPT_FROM", 0)
    monkeypatch.delitem(clip.__dict__, "_texts_are_worth_keeping")
    tokens_seen.clear()
    clip.text_features(PROMPTS)
    assert sum(n for n, _ in tokens_seen) == len(set(PROMPTS))
    again = clip.text_features([*PROMPTS, "something new"])
    assert sum(n for n, _ in tokens_seen) == len(set(PROMPTS)) + 1
    torch.testing.assert_close(again[:-1], computed, atol=1e-5, rtol=1e-5)


def test_what_is_kept_belongs_to_a_tokenizer(
    clip: Clip, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights with another tokenizer are not met by these features."""
    monkeypatch.setitem(clip.__dict__, "_texts_are_worth_keeping", True)
    clip.text_features(PROMPTS)
    assert clip.new_texts(PROMPTS) == []
    other = replace(clip, tokenizer=lambda prompts: clip.tokenizer([p[::-1] for p in prompts]))
    monkeypatch.setitem(other.__dict__, "_texts_are_worth_keeping", True)
    assert other.new_texts(PROMPTS) == list(dict.fromkeys(PROMPTS))


def test_the_bar_of_a_job_moves_with_every_prompt(
    clip: Clip, capsys: pytest.CaptureFixture
) -> None:
    with one_bar({"prompts": 12}, {"prompts": 0.5}) as bar:
        clip.text_features(PROMPTS)
        clip.text_features(PROMPTS)
        assert bar.n == 0.5 * 12
