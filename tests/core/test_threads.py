"""How many threads torch gets: what is free, what the user says, and what it was before."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from clip_unlearn.core.ondemand import threads
from clip_unlearn.core.ondemand.threads import _Times, free_cores, free_threads

CORES = 4


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A machine of four cores on which others and this process keep so many busy."""
    state = {"others": 0.0, "own": 0.0}
    clock = iter(range(1, 1000))

    def times() -> _Times:
        now = next(clock)
        return _Times(float(now), now * (state["others"] + state["own"]), now * state["own"])

    monkeypatch.setattr(threads, "_times", times)
    monkeypatch.setattr(threads, "cores", lambda: list(range(CORES)))
    monkeypatch.setattr(threads, "QUOTA", Path("there is none"))
    monkeypatch.setattr(threads, "FIRST_LOOK", 0.0)
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(CORES)
    yield state
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("others", "own", "expected"),
    [(0, 0, 4), (0, 4, 4), (1, 3, 3), (2, 1, 2), (3.6, 0.4, 1), (4, 0, 1), (0.3, 0.5, 4)],
)
def test_it_takes_the_cores_that_others_leave(
    machine: dict[str, float], others: float, own: float, expected: int
) -> None:
    machine.update(others=others, own=own)
    with free_threads():
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == CORES


def test_a_long_job_looks_again(machine: dict[str, float]) -> None:
    with free_threads() as look:
        assert torch.get_num_threads() == 4
        state = threads._times()
        machine.update(others=1000.0)  # from now on: counted from the beginning of time
        look(-1e9)
        assert torch.get_num_threads() == 1 and state.clock > 0


def test_the_quota_of_a_container_counts(
    machine: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(threads, "QUOTA", quota)
    for text, expected in (("150000 100000", 2), ("max 100000", 4), ("nonsense", 4)):
        quota.write_text(text)
        with free_threads():
            assert torch.get_num_threads() == expected


@pytest.mark.parametrize("name", threads.VARIABLES)
def test_a_variable_of_the_user_wins(
    machine: dict[str, float], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.update(others=4.0)
    monkeypatch.setenv(name, "4")
    with free_threads():
        assert torch.get_num_threads() == CORES


def test_a_number_that_the_user_set_wins(machine: dict[str, float]) -> None:
    machine.update(others=4.0)
    torch.set_num_threads(3)
    with free_threads():
        assert torch.get_num_threads() == 3


def test_an_error_inside_leaves_the_number_as_it_was(machine: dict[str, float]) -> None:
    machine.update(others=4.0)
    with pytest.raises(KeyboardInterrupt), free_threads():
        raise KeyboardInterrupt
    assert torch.get_num_threads() == CORES


def test_real_readings_add_up() -> None:
    first = threads._times()
    busy = threading.Event()

    def work() -> None:
        while not busy.wait(0):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(20):
        torch.rand(200, 200) @ torch.rand(200, 200)
    busy.wait(0.3)
    busy.set()
    thread.join()
    now = threads._times()
    assert now.clock > first.clock and now.own_work > first.own_work
    assert now.all_work >= first.all_work
    assert 0 <= free_cores(first, now) <= len(threads.cores()) and threads.quota() > 0
