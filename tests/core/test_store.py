"""Rows under names: found again whole, by many at once, or not at all."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
import torch

from clip_unlearn.core.ondemand import store
from clip_unlearn.core.ondemand.store import Rows, name_of, on_demand

STORE = Rows("things", "a model")


def test_what_was_added_is_found_in_float32(fresh_cache: Path) -> None:
    STORE.add(["a", "b"], torch.tensor([[1.0, 2.0], [3.0, 4.0]]).half(), seconds=4.0)
    STORE.add(["c"], torch.tensor([[5.0, 6.0]]), seconds=1.0)
    rows, seconds = STORE.get(["c", "a", "unknown"])
    assert rows.keys() == {"a", "c"} and rows["a"].dtype is torch.float32
    assert rows["c"].tolist() == [5, 6] and seconds == 2.0 + 1.0


@pytest.mark.parametrize("other", [Rows("things", "another"), Rows("others", "a model")])
def test_another_model_or_kind_finds_nothing(fresh_cache: Path, other: Rows) -> None:
    STORE.add(["a"], torch.ones(1, 2))
    assert other.get(["a"]) == ({}, 0.0)


def test_only_what_is_missing_is_made_a_batch_at_a_time(fresh_cache: Path) -> None:
    STORE.add(["1", "3"], torch.tensor([[1.0], [3.0]]), seconds=2.0)
    asked: list[list[int]] = []
    told: list[int] = []

    def make(places: list[int]) -> torch.Tensor:
        asked.append(places)
        return torch.tensor([[float(place)] for place in places])

    names = [str(i) for i in range(6)]
    rows, seconds, kept = on_demand(STORE, names, make, at_once=3, announce=told.append)
    assert rows.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert asked == [[0, 2, 4], [5]] and told == [4] and seconds >= 2.0 and not kept

    rows, _, kept = on_demand(STORE, names[::-1], make, at_once=3, announce=told.append)
    assert rows.flatten().tolist() == [5, 4, 3, 2, 1, 0] and kept
    assert len(asked) == 2 and told == [4]


def test_without_a_store_everything_is_made_and_nothing_written(fresh_cache: Path) -> None:
    rows, _, kept = on_demand(None, ["a", "b"], lambda places: torch.ones(len(places), 1), 8)
    assert len(rows) == 2 and not kept and not fresh_cache.exists()


def test_many_writers_at_once_lose_nothing(fresh_cache: Path) -> None:
    def write(i: int) -> None:
        for j in range(10):
            STORE.add([f"{i} {j}", f"every {j}"], torch.tensor([[i], [j]], dtype=torch.float))

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [f"{i} {j}" for i in range(8) for j in range(10)]
    rows, _ = STORE.get([*names, *(f"every {j}" for j in range(10))])
    assert [rows[name].item() for name in names] == [i for i in range(8) for _ in range(10)]
    assert all(rows[f"every {j}"].item() == j for j in range(10))
    assert not list(fresh_cache.rglob("*.partial*"))


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04K\x01."])
def test_a_damaged_file_is_a_warning_and_its_rows_are_missing(
    fresh_cache: Path, content: bytes
) -> None:
    STORE.add(["a"], torch.ones(1, 2))
    (file,) = fresh_cache.rglob("*.safetensors")
    file.write_bytes(content)
    assert STORE.names() == set()
    with pytest.warns(UserWarning, match="cannot be read"):
        assert STORE.get(["a"]) == ({}, 0.0)


def test_names_are_known_without_reading_a_row(
    fresh_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    STORE.add(["a", "b"], torch.ones(2, 2))
    monkeypatch.setattr(store, "bundled", lambda kind: tmp_path / "package" / kind)
    shutil.copytree(fresh_cache / "things", tmp_path / "package" / "things")
    STORE.add(["c"], torch.ones(1, 2))
    monkeypatch.setattr(store, "_read", None)
    assert STORE.names() == {"a", "b", "c"} and STORE.shipped() == {"a", "b"}


def test_names_differ_in_whatever_differs() -> None:
    parts = [("a", 1), ("a", "1"), (["a", 1],), ("a", [1]), ("a", 1, None), ("a", 1.5)]
    assert len({name_of(*part) for part in parts}) == len(parts)
    assert name_of("a", [1, 2]) == name_of("a", (1, 2))
