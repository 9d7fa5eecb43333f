"""A CLIP loaded by open_clip, with its features before the final projection.

`load_clip` takes every kind of name and says what is wrong with one that it cannot load;
`save_model` writes a model back as an open_clip folder.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import open_clip
import torch
from open_clip.utils import to_2tuple
from torch import Tensor, nn

from ..core import ModelError
from ..core.cache import save_tensors
from ..core.ondemand.progress import PROMPTS, advance
from ..core.ondemand.store import Rows, name_of, on_demand
from ..core.ondemand.threads import in_pieces
from .hub import CONFIG, prepared
from .sources import WEIGHTS, Source, find_source
from .texts import (
    PROBES,
    encode_texts,
    encode_trimmed,
    in_batches,
    lengths,
    padding_of,
    trims,
    unique,
)
from .towers import Head, add_projections, check_head, image_head, text_head

PRECISIONS = ("fp32", "fp16", "bf16")
AUTO = "auto"
# Kinds of devices, the best first, and whether this machine has one.
_DEVICES = {
    "cuda": lambda: torch.cuda.is_available(),
    "mps": lambda: torch.backends.mps.is_available(),
    "cpu": lambda: True,
}
DEVICES = (AUTO, *_DEVICES)
FEW_IMAGES = 4  # the least that are worth a thread of their own
TEXT_RECIPE = 1  # increase it when text features change: what is kept then no longer matches
PROMPTS_KEPT_AT_ONCE = 4096
_KEPT_FROM = 10_000_000  # weights of a text tower; below, a prompt takes less than a millisecond
_END_OF_WORD = "</w>"
# A row of a Gaussian beginning varies in length by this over the root of twice its dimensions. Rows
# that vary by up to 1.5 times as much were mostly never learnt, and one that stands out was.
_AS_AT_THE_START = 1.5
_STANDS_OUT = 5.5


class _Fingerprint:
    """The hash of a model, computed anew only after one of its tensors has changed.

    torch counts the in-place changes of every tensor, so looking for a change reads no weight. The
    counter misses a change through `.data` or through a NumPy array that shares the memory; nothing
    here makes one.
    """

    def __init__(self) -> None:
        self._state: list[tuple] = []
        self._held: list[tuple] = []
        self._digest = ""

    def of(self, architecture: str, tensors: Mapping[str, Tensor]) -> str:
        """The hash of an architecture and the tensors of a state dict by name."""
        state = [(architecture,)]
        state += [(name, *_version(tensor)) for name, tensor in tensors.items()]
        if state != self._state:
            self._digest = _hash(architecture, tensors)
            self._state = state
            # Held, so that nothing else gets the identity or the memory of one of these tensors.
            self._held = [(tensor, tensor.untyped_storage()) for tensor in tensors.values()]
        return self._digest


def _version(tensor: Tensor) -> tuple[int, int, object]:
    """The object, its memory, and the number of its in-place changes."""
    # An inference tensor counts no changes; a new object is equal to nothing.
    changes = object() if tensor.is_inference() else tensor._version
    return id(tensor), tensor.data_ptr(), changes


def _hash(architecture: str, tensors: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits from an architecture and the bytes of all tensors, on any device."""
    digest = hashlib.sha256(architecture.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        values = tensors[name].detach().cpu().contiguous().flatten()
        digest.update(values.view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Clip:
    """A loaded CLIP in eval mode, with all that belongs to it."""

    model: nn.Module
    """The open_clip model."""

    preprocess: Callable
    """Makes a picture into pixels (3, s, s) for `image_features`."""

    tokenizer: Callable
    """Makes a list of prompts into tokens."""

    name: str
    """Its name for people: that of its folder, or the one it was loaded by."""

    config: dict
    """What its open_clip_config.json says: "model_cfg" and "preprocess_cfg"."""

    precision: str = "fp32"
    """That of the weights: fp32, fp16 or bf16."""

    origin: str = ""
    """What names these very weights: MODEL:TAG, an "hf-hub:" name, or "" for local files."""

    edits: tuple[dict, ...] = ()
    """What was forgotten before, by the edit.json of its folder."""

    _fingerprint: _Fingerprint = field(
        default_factory=_Fingerprint, init=False, repr=False, compare=False
    )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def image_size(self) -> int:
        """The side s of the square images that the model takes, in pixels."""
        return to_2tuple(self.model.visual.image_size)[0]

    @property
    def normalization(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each colour, which `normalized` takes out."""
        visual = self.model.visual
        return list(visual.image_mean), list(visual.image_std)

    @property
    def heads(self) -> dict[str, Head]:
        """The two editable projections by tower: {"visual": Head, "text": Head}."""
        return {"visual": image_head(self.model), "text": text_head(self.model)}

    def normalized(self, pixels: Tensor) -> Tensor:
        """(pixels - mean) / std, which `image_features` takes; differentiable.

        `pixels` (n, 3, s, s) are in [0, 1], on any device; so is the result.
        """
        means, deviations = self.normalization
        mean = torch.tensor(means, device=pixels.device)[:, None, None]  # (3, 1, 1)
        std = torch.tensor(deviations, device=pixels.device)[:, None, None]  # (3, 1, 1)
        return (pixels - mean) / std

    def image_features(self, pixels: Tensor) -> Tensor:
        """f (n, D[+1]) of normalized pixels (n, 3, s, s), before the projection.

        float32, on the model's device; differentiable.
        """
        pixels = pixels.to(self.device, open_clip.get_input_dtype(self.precision))
        with image_head(self.model).bypassed() as finish:
            # CoCa would scale them to length 1 without being asked.
            run = partial(self.model.encode_image, normalize=False)
            if torch.is_grad_enabled():
                return finish(run(pixels))
            return finish(in_pieces(run, pixels, FEW_IMAGES))

    @torch.no_grad()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """g (n, D_text) of prompts, before the projection; float32, on the CPU.

        Each prompt is computed once. Those of a large text tower are kept for the next run.
        """
        texts, place = unique(prompts)
        rows, _, _ = on_demand(
            self._kept_texts(),
            [self._text_name(text) for text in texts],
            lambda missing: self._encode([texts[i] for i in missing]),
            at_once=PROMPTS_KEPT_AT_ONCE,
        )
        return rows[place]

    def new_texts(self, prompts: Sequence[str]) -> list[str]:
        """Those of the prompts that would have to be computed, each once."""
        texts, _ = unique(prompts)
        store = self._kept_texts()
        if store is None:
            return texts
        kept = store.names()
        return [text for text in texts if self._text_name(text) not in kept]

    def _text_name(self, text: str) -> str:
        """The name of a prompt's features among those of this model."""
        return name_of(TEXT_RECIPE, self._tokenizer_name, text)

    def _kept_texts(self) -> Rows | None:
        """Where text features are kept; None if computing them is faster than reading."""
        return Rows("texts", self.fingerprint()) if self._texts_are_worth_keeping else None

    def _encode(self, texts: Sequence[str]) -> Tensor:
        """g (n, D_text) of different texts."""
        tokens = self.tokenizer(list(texts))  # (n, context)
        trimmed = self._trims
        needed = lengths(tokens, padding_of(self.tokenizer))
        if not trimmed:
            needed = needed.new_full(needed.shape, tokens.shape[1])

        with text_head(self.model).bypassed() as finish:

            def encode(part: Tensor, length: int) -> Tensor:
                part = part.to(self.device)
                if trimmed:
                    features = encode_trimmed(self.model, part, length)
                else:
                    features = encode_texts(self.model, part)
                advance(PROMPTS, len(part))
                return finish(features).float().cpu()

            return in_batches(tokens, needed, encode)

    @cached_property
    def _tokenizer_name(self) -> str:
        """A hash of what the tokenizer makes of some prompts: the fingerprint is of weights only.

        To tokenize every prompt would say more, but takes longer than to read its features.
        """
        return name_of(self.tokenizer(list(PROBES)).tolist())

    @cached_property
    def _trims(self) -> bool:
        """Whether the text tower gives trimmed prompts the embeddings of padded ones."""
        return trims(self.model, self.tokenizer, self.device)

    @cached_property
    def _texts_are_worth_keeping(self) -> bool:
        """Whether to compute a prompt takes longer than to read it: in towers of a real size."""
        text = getattr(self.model, "text", self.model).transformer
        return sum(weight.numel() for weight in text.parameters()) > _KEPT_FROM

    def vocabulary(self, most: int) -> list[str]:
        """At most so many whole words that the text tower has learnt; [] if nothing tells which.

        A token that training never met has the row it began with, of nearly the same length as all
        others of its kind, or zero. If that holds for most tokens, a word counts if its row is
        longer; if not, all words count, and every n-th is taken, from frequent to rare. Tokenizers
        that mark the end of a word (CLIP's own) only.
        """
        ranks = getattr(self.tokenizer, "encoder", None) or {}
        text = getattr(self.model, "text", self.model)
        table = getattr(text, "token_embedding", None)
        names = [token.removesuffix(_END_OF_WORD) for token in ranks if _is_word(token)]
        if table is None or not names:
            return []
        rows = table.weight[[ranks[name + _END_OF_WORD] for name in names]].float()

        length = rows.norm(dim=1).cpu()
        usual = length.median()
        spread = 1.4826 * (length - usual).abs().median()  # the sd of a Gaussian
        at_the_start = usual * (2 * rows.shape[1]) ** -0.5
        if spread > _AS_AT_THE_START * at_the_start:
            return names[:: -(-len(names) // most)]
        learnt = length > usual + _STANDS_OUT * spread
        longest_first = length.argsort(descending=True)[: int(learnt.sum())]
        return [names[i] for i in longest_first[:most].tolist()]

    def twin(self) -> Clip:
        """The same weights in modules of their own, for another thread.

        Features are taken with the head off, which one thread must not do to another's tower.
        """
        tensors = [*self.model.parameters(), *self.model.buffers()]
        shared = {id(tensor): tensor for tensor in tensors}
        return replace(self, model=copy.deepcopy(self.model, shared))

    def fingerprint(self) -> str:
        """A hash of the architecture and every weight, the same on every device.

        Caches and saved edits know a model by it. The weights alone would not do: with another
        activation the same weights make another model. It is kept until a tensor changes.
        """
        architecture = json.dumps(self.config["model_cfg"], sort_keys=True, default=str)
        tensors = self.model.state_dict(keep_vars=True)
        return self._fingerprint.of(architecture, tensors)


def _is_word(token: str) -> bool:
    """Whether a token of CLIP's tokenizer is, or ends, a word, and has three letters or more."""
    return re.fullmatch(rf"[a-z]{{3,}}{_END_OF_WORD}", token) is not None


def load_clip(
    name: str | Path = "bundled",
    pretrained: str | None = None,
    device: str | None = None,
    precision: str = "fp32",
) -> Clip:
    """Load a CLIP: "bundled", an open_clip folder, an "hf-hub:" name, or an open_clip name.

    An open_clip name needs `pretrained`: one of its tags, or a file (.safetensors, or a state dict
    as .pt, .pth or .bin). A file says nothing of its preprocessing, so the one that all tags of
    the architecture share is taken, or else open_clip's default. `device` is "cpu", "cuda" or
    "mps"; None or "auto" is the GPU if there is one. `precision` (fp32, fp16, bf16) is that of the
    weights; an edit is computed in float32 in any case.

    Raises ModelError: no config or weights, a pickle, no such name or tag, mismatched QuickGELU, a
    tower that cannot be edited, or weights that are not on this machine and cannot be fetched.
    """
    if precision not in PRECISIONS:
        raise ModelError(f'unknown precision "{precision}": {", ".join(PRECISIONS)}.')
    device = _device(device or AUTO)
    source = find_source(str(name), str(pretrained) if pretrained else None)

    with prepared(source.files, source.origin or source.label):
        try:
            model, preprocess = _build(source, device, precision)
            tokenizer = open_clip.get_tokenizer(source.name)
            config = source.config(model)
            add_projections(model, config["model_cfg"])
        except Exception as error:
            raise ModelError(f"cannot load {source.described}: {_reason(error)}") from error

    model.eval().requires_grad_(False)
    clip = Clip(
        model=model,
        preprocess=preprocess,
        tokenizer=tokenizer,
        name=source.label,
        config=config,
        precision=precision,
        origin=source.origin,
        edits=source.edits(),
    )
    _check_towers(clip)
    return clip


def _device(name: str) -> str:
    """The device of that name; of "auto" the best that is there."""
    found = [kind for kind, there in _DEVICES.items() if there()]
    if name == AUTO:
        return found[0]
    kind, _, _ = name.partition(":")  # "cuda:1" is a device too
    if kind not in _DEVICES:
        raise ModelError(f'unknown device "{name}": {AUTO}, {", ".join(_DEVICES)}.')
    if kind not in found:
        raise ModelError(f'no device "{name}" on this machine: {", ".join(found)}.')
    return name


def _reason(error: Exception, most: int = 4) -> str:
    """An error's message on one line: torch says in later lines which weights do not fit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    more = f" (and {len(lines) - most} more)" if len(lines) > most else ""
    return " ".join(lines[:most]) + more


def _build(source: Source, device: str, precision: str) -> tuple[nn.Module, Callable]:
    """The model with its weights, and its preprocessing."""
    with _only_weights_are_unpickled():
        model, _, preprocess = open_clip.create_model_and_transforms(
            source.name,
            pretrained=source.pretrained,
            device=device,
            precision=precision,
            weights_only=True,
            **source.preprocess,
        )
    return model, preprocess


@contextlib.contextmanager
def _only_weights_are_unpickled() -> Iterator[None]:
    """Inside, torch.load reads nothing but tensors, even where it is called without weights_only.

    open_clip reads a file again without that argument if the first reading fails with a TypeError,
    which a file can bring about; no argument of open_clip's keeps it from doing so, but torch heeds
    this variable.
    """
    variable = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before


def _check_towers(clip: Clip) -> None:
    """Raise ModelError for a tower that cannot be edited: now, not after minutes of synthesis."""
    # First the place of each projection.
    heads = clip.heads

    # Then the outputs, on any picture and any text.
    height, width = to_2tuple(clip.model.visual.image_size)
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    pixels = noise.to(clip.device, open_clip.get_input_dtype(clip.precision))
    tokens = clip.tokenizer(["a photo"]).to(clip.device)

    def embed_image() -> Tensor:
        return clip.model.encode_image(pixels, normalize=False)

    def embed_text() -> Tensor:
        return clip.model.encode_text(tokens, normalize=False)

    check_head(heads["visual"], embed_image, "image")
    check_head(heads["text"], embed_text, "text")


def save_model(clip: Clip, folder: Path) -> None:
    """Write an open_clip folder.

    `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads it.
    """
    folder.mkdir(parents=True, exist_ok=True)

    # Weights: a copy each, because safetensors refuses tensors that share memory.
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in clip.model.state_dict().items()
    }
    save_tensors(folder / WEIGHTS, tensors)

    # Words: open_clip looks in the folder for a tokenizer of Hugging Face.
    tokenizer = getattr(clip.tokenizer, "tokenizer", None)
    if hasattr(tokenizer, "save_pretrained"):
        tokenizer.save_pretrained(folder)

    # Configuration.
    config = json.dumps(clip.config, indent=2, default=str)
    (folder / CONFIG).write_text(config + "\n")
