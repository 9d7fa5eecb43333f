"""Prompts through the text tower: each one once, and short ones at short lengths.

A tower pads every prompt to its context, 77 tokens for CLIP's own, and computes all of them; most
prompts have ten. Where what comes after the end of a prompt changes nothing, it is cut off. Whether
it changes anything is tried once for each model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..core.ondemand.threads import in_pieces

AT_ONCE = 512  # prompts in a batch
FEW_TEXTS = 16  # the least that are worth a thread of their own
# Prompts of several lengths, to try what a tower and its tokenizer do with them.
PROBES = ("", "dog", "a photo of a dog", "an oil painting of two small dogs in the tall grass")
# How far a trimmed embedding may be off, relative to its length; rounding is coarser in 16 bits.
_SAME = {torch.float32: 1e-5}
_SAME_IN_16_BITS = 1e-2
_SWAPPED = ("positional_embedding", "attn_mask")  # what a tower has of its full context


class _TextTower(nn.Module):
    """`encode_text` as a forward pass, which is what functional_call runs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        return encode_texts(self.model, tokens)


def encode_texts(model: nn.Module, tokens: Tensor) -> Tensor:
    """`model.encode_text` of tokens (n, context), several at a time."""
    return in_pieces(partial(model.encode_text, normalize=False), tokens, FEW_TEXTS)


def encode_trimmed(model: nn.Module, tokens: Tensor, length: int) -> Tensor:
    """`model.encode_text` of tokens (n, context), of which only the first `length` are looked at.

    Positions and the causal mask are cut to that length for this one call.
    """
    holder = getattr(model, "text", model)
    prefix = "model." if holder is model else "model.text."
    own = dict(holder.named_parameters(recurse=False)) | dict(holder.named_buffers(recurse=False))
    shorter = {}
    for name in _SWAPPED:
        full = own.get(name)
        if full is None:
            continue
        cut = full[:length, :length] if name == "attn_mask" else full[:length]
        shorter[prefix + name] = cut
    return functional_call(_TextTower(model), shorter, (tokens[:, :length],))


def lengths(tokens: Tensor, padding: int) -> Tensor:
    """(n,) how many tokens come before the padding."""
    places = torch.arange(1, tokens.shape[1] + 1)
    return (places * (tokens != padding)).amax(1).clamp_min(1)


def padding_of(tokenizer: Callable) -> int:
    """The token that fills what a prompt leaves of the context."""
    return int(tokenizer([""])[0, -1])


@torch.no_grad()
def trims(model: nn.Module, tokenizer: Callable, device: torch.device) -> bool:
    """Whether trimmed prompts have the embeddings of padded ones."""
    tokens = tokenizer(list(PROBES))
    needed = lengths(tokens, padding_of(tokenizer))
    if int(needed.max()) == tokens.shape[1]:
        return False  # this tokenizer does not pad
    full = model.encode_text(tokens.to(device), normalize=False)
    same = _SAME.get(next(model.parameters()).dtype, _SAME_IN_16_BITS)
    try:
        for length in needed.unique().tolist():
            fitting = needed <= length
            short = encode_trimmed(model, tokens[fitting].to(device), length)
            off = (short - full[fitting]).float().norm(dim=-1) / full[fitting].float().norm(dim=-1)
            if not bool((off < same).all()):
                return False
    except (RuntimeError, IndexError, AssertionError):
        return False  # a tower that takes its full context only
    return True


def in_batches(tokens: Tensor, needed: Tensor, encode: Callable[[Tensor, int], Tensor]) -> Tensor:
    """encode(tokens, length) of all prompts (n, context), those of like length together.

    needed (n,) is the length of each.
    """
    order = needed.argsort()
    rows: Tensor | None = None
    for part in order.split(AT_ONCE):
        encoded = encode(tokens[part], int(needed[part].max()))
        if rows is None:
            rows = encoded.new_empty(len(tokens), encoded.shape[1])
        rows[part] = encoded
    return rows


def unique(prompts: Sequence[str]) -> tuple[list[str], Tensor]:
    """The different prompts, and the place among them (n,) of each prompt."""
    place = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    return list(place), torch.tensor([place[prompt] for prompt in prompts], dtype=torch.long)
