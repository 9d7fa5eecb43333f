"""Pieces side by side: how many, what each is given, and that nothing global stays changed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from clip_unlearn import Clip, load_clip
from clip_unlearn.core.ondemand.kept import climbed
from clip_unlearn.core.ondemand.threads import StoppedError, go_on, in_pieces, pieces, side_by_side
from clip_unlearn.core.synthesis import Synthesis, climb
from clip_unlearn.models.texts import FEW_TEXTS
from clip_unlearn.models.towers import image_head

CPU = torch.device("cpu")
THREADS = 4


@pytest.fixture
def four_threads() -> Iterator[None]:
    """torch with four threads, whatever this machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def threads_of_torch() -> set[int]:
    """What torch says here, and in a thread that has not asked it before."""
    said = {torch.get_num_threads()}
    other = threading.Thread(target=lambda: said.add(torch.get_num_threads()))
    other.start()
    other.join()
    return said


# ---- how many


@pytest.mark.parametrize(
    ("n", "least", "device", "expected"),
    [
        (100, 2, "cpu", 4),
        (8, 2, "cpu", 4),
        (7, 2, "cpu", 3),
        (3, 2, "cpu", 1),
        (1, 2, "cpu", 1),
        (100, 2, "cuda", 1),
    ],
)
def test_a_piece_a_thread_if_there_is_enough_to_do(
    four_threads: None, n: int, least: int, device: str, expected: int
) -> None:
    assert pieces(n, least, torch.device(device)) == expected


@pytest.mark.parametrize("chosen", [1, 2, 3])
def test_a_number_that_the_user_set_wins(four_threads: None, chosen: int) -> None:
    torch.set_num_threads(chosen)
    assert pieces(100, 1, CPU) == chosen
    side_by_side(lambda _: None, range(chosen))
    assert torch.get_num_threads() == chosen


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_variable_of_the_user_wins(name: str) -> None:
    code = (
        "import torch; from clip_unlearn.core.ondemand.threads import pieces;"
        "print(pieces(100, 1, torch.device('cpu')))"
    )
    free = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    said = subprocess.run(
        [sys.executable, "-c", code], env=free | {name: "1"}, capture_output=True, text=True
    )
    assert said.stdout == "1\n", said.stderr


# ---- what a piece is given


def test_results_come_in_order_and_each_piece_has_a_thread_of_its_own(four_threads: None) -> None:
    together = threading.Barrier(THREADS, timeout=60)  # passes if all four are at work at once

    def work(part: int) -> tuple[int, int, int]:
        together.wait()
        return part, threading.get_ident(), torch.get_num_threads()

    done = side_by_side(work, range(THREADS))
    assert [part for part, _, _ in done] == [0, 1, 2, 3]
    assert len({name for _, name, _ in done}) == THREADS
    assert done[0][1] == threading.get_ident()
    assert {threads for _, _, threads in done} == {1}


def test_two_pieces_share_four_threads(four_threads: None) -> None:
    assert side_by_side(lambda _: torch.get_num_threads(), range(2)) == [2, 2]


def test_one_piece_is_left_all_threads(four_threads: None) -> None:
    assert side_by_side(lambda _: torch.get_num_threads(), [0]) == [THREADS]


@pytest.mark.parametrize("gradients", [True, False])
def test_gradients_and_variables_of_the_context_are_those_outside(
    four_threads: None, gradients: bool
) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    variable.set("set")
    with torch.set_grad_enabled(gradients):
        seen = side_by_side(lambda _: (torch.is_grad_enabled(), variable.get()), range(3))
    assert set(seen) == {(gradients, "set")}


# ---- what stays as it was


def test_nothing_global_stays_changed(four_threads: None) -> None:
    environment = dict(os.environ)
    side_by_side(lambda _: torch.rand(50, 50) @ torch.rand(50, 50), range(THREADS))
    assert threads_of_torch() == {THREADS}
    assert dict(os.environ) == environment
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("where", range(3))
def test_an_error_in_a_piece_is_raised_and_the_threads_are_given_back(
    four_threads: None, where: int
) -> None:
    def work(part: int) -> None:
        if part == where:
            raise KeyError(part)

    with pytest.raises(KeyError, match=str(where)):
        side_by_side(work, range(3))
    assert threads_of_torch() == {THREADS}


def test_an_interrupt_ends_all_pieces(four_threads: None) -> None:
    """An interrupt arrives in the main thread; the others stop at their next step."""
    stopped: list[int] = []
    begun = threading.Barrier(3, timeout=60)

    def work(part: int) -> None:
        begun.wait()
        if part == 0:
            raise KeyboardInterrupt
        try:
            while True:
                go_on()
        except StoppedError:
            stopped.append(part)
            raise

    with pytest.raises(KeyboardInterrupt):
        side_by_side(work, range(3))
    assert sorted(stopped) == [1, 2]
    assert threads_of_torch() == {THREADS}
    go_on()  # what stopped them does not stop the next work


# ---- a CLIP in pieces


@pytest.fixture(scope="module")
def clip() -> Clip:
    return load_clip("bundled", device="cpu")


def test_a_twin_has_the_same_weights_and_a_tower_of_its_own(clip: Clip) -> None:
    twin = clip.twin()
    assert twin.fingerprint() == clip.fingerprint()
    for one, other in zip(clip.model.parameters(), twin.model.parameters(), strict=True):
        assert one is other
    with image_head(clip.model).bypassed():
        assert image_head(twin.model).weight.shape == twin.heads["visual"].weight.shape
    W = clip.heads["visual"].weight
    twin.heads["visual"].write(2 * W)
    assert clip.heads["visual"].weight.equal(2 * W)
    clip.heads["visual"].write(W)


def test_pictures_in_pieces_are_those_of_one_batch(clip: Clip, four_threads: None) -> None:
    W = clip.heads["visual"].weight
    goals = normalize(clip.text_features(["a dog"] * 8) @ clip.heads["text"].weight, dim=-1)
    how = Synthesis(steps=3)
    ticks: list[int] = []
    in_four = climbed(clip, W, goals, range(8), how, ticks.append)
    assert sum(ticks) == 8 * how.steps and len(ticks) == THREADS * how.steps
    in_one = climb(clip, W, goals, range(8), how)[0]
    assert (in_four - in_one).norm() < 1e-3 * in_one.norm()


@torch.no_grad()
def test_features_in_pieces_are_those_of_one_batch(clip: Clip, four_threads: None) -> None:
    prompts = [f"a photo of thing {i}" for i in range(4 * FEW_TEXTS)]
    pixels = torch.rand(17, 3, 64, 64)
    images, texts = clip.image_features(pixels), clip.text_features(prompts)
    torch.set_num_threads(1)
    assert (images - clip.image_features(pixels)).abs().max() < 1e-4
    assert (texts - clip.text_features(prompts)).abs().max() < 1e-4


def test_work_on_rows_is_split_and_joined_in_order(four_threads: None) -> None:
    sizes: list[int] = []

    def work(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return 2 * rows

    rows = torch.arange(10)
    assert in_pieces(work, rows, least=3).equal(2 * rows)
    assert sorted(sizes) == [2, 4, 4]
    sizes.clear()
    assert in_pieces(work, rows, least=10).equal(2 * rows) and sizes == [10]
