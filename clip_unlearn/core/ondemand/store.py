"""Rows that took time to compute, each kept under the name of what made it.

Pictures and prompts are rows. A run writes the rows of each batch at once, as a file of its own, so
one that is interrupted goes on where it stopped, and no two runs wait for each other. What comes
with the package is looked up before what this machine has made.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..cache import bundled, cache_dir, keep


def name_of(*parts: object) -> str:
    """16 hexadecimal digits from everything that decides a row: plain values and lists of them."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Rows:
    """Rows of one kind that one model has made."""

    kind: str  # the folder of its files, "prototypes/pictures" for one
    model: str  # its fingerprint

    def parts(self, names: Iterable[str]) -> Iterator[tuple[list[str], Tensor, float]]:
        """Those of the named rows that are kept, file by file: names, rows, and their seconds."""
        missing = set(names)
        for file in self._files():
            if not missing:
                return
            found, rows, seconds = _read(file, missing)
            if found:
                missing -= set(found)
                yield found, rows, seconds

    def get(self, names: Iterable[str]) -> tuple[dict[str, Tensor], float]:
        """Those of the named rows that are kept, float32, and the seconds that making them took."""
        kept: dict[str, Tensor] = {}
        seconds = 0.0
        for found, rows, took in self.parts(names):
            kept |= dict(zip(found, rows, strict=True))
            seconds += took
        return kept, seconds

    def add(self, names: Sequence[str], rows: Tensor, seconds: float = 0.0) -> None:
        """Keep rows (n, ...) under their n names; `seconds` is what all of them took.

        A cache that cannot be written is a warning, not an error.
        """
        note = {"names": json.dumps(list(names)), "seconds": f"{seconds:.3f}"}
        file = self._own_folder() / f"{name_of(sorted(names))}.safetensors"
        keep(file, {"rows": rows.contiguous()}, note)

    def names(self) -> set[str]:
        """The names of all rows that are kept; no row is read."""
        return {name for file in self._files() for name in _names(file)}

    def shipped(self) -> set[str]:
        """The names of those that come with the package."""
        return {name for file in _files_of(self._shipped_folder()) for name in _names(file)}

    def _shipped_folder(self) -> Path:
        return bundled(self.kind) / self.model

    def _own_folder(self) -> Path:
        return cache_dir() / self.kind / self.model

    def _files(self) -> list[Path]:
        """All files with rows of this kind and model, those of the package first."""
        return [*_files_of(self._shipped_folder()), *_files_of(self._own_folder())]


def _files_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _names(file: Path) -> list[str]:
    """The names of the rows of a file; none if it is damaged, of which reading the rows warns."""
    try:
        with safe_open(file, "pt") as opened:
            return json.loads(opened.metadata()["names"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return []


def _read(file: Path, wanted: set[str]) -> tuple[list[str], Tensor | None, float]:
    """The wanted rows of a file, and the seconds they took; none if the file is damaged."""
    try:
        with safe_open(file, "pt") as opened:
            note = opened.metadata() or {}
            names = json.loads(note["names"])
            seconds = float(note["seconds"])
            places = [i for i, name in enumerate(names) if name in wanted]
            if not places:
                return [], None, 0.0
            rows = opened.get_tensor("rows").float()
        if len(rows) != len(names) or not torch.isfinite(rows).all():
            raise ValueError(f"{len(rows)} rows for {len(names)} names, or not all finite")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        warnings.warn(f"{file} cannot be read, its rows are made again: {error}", stacklevel=2)
        return [], None, 0.0
    if len(places) < len(names):
        rows = rows[places]
    return [names[i] for i in places], rows, seconds * len(places) / len(names)


def on_demand(
    store: Rows | None,
    names: Sequence[str],
    make: Callable[[list[int]], Tensor],
    at_once: int,
    announce: Callable[[int], None] | None = None,
) -> tuple[Tensor, float, bool]:
    """The rows (n, ...) of n names, the seconds that making them took, and whether all were kept.

    `make` is given the places of at most `at_once` missing ones, and returns their rows, which are
    kept at once. `announce` is told how many are missing, if any are. Without a store all of them
    are made, and none is kept.
    """
    found, seconds = store.get(names) if store else ({}, 0.0)
    missing = [i for i, name in enumerate(names) if name not in found]
    if missing and announce:
        announce(len(missing))

    for start in range(0, len(missing), at_once):
        part = missing[start : start + at_once]
        begin = time.perf_counter()
        rows = make(part)
        took = time.perf_counter() - begin

        seconds += took
        made = [names[i] for i in part]
        found |= dict(zip(made, rows, strict=True))
        if store:
            store.add(made, rows, took)
    return torch.stack([found[name] for name in names]), seconds, not missing
