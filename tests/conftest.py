"""Shared fixtures: a tiny random CLIP, a small image folder, prototypes.

No test reaches the network or the user's cache. The models are random, so the tests are about
algebra and plumbing; what an edit does to a trained CLIP is measured in test_pacs.py and in the
report.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny import CLASSES, DOMAINS, REQUESTS, write_folder, write_images

from clip_unlearn import Clip, ConceptGrid, ForgetRequest, Prototypes, load_clip, make_task
from clip_unlearn.core.prototypes import synthesize_prototypes
from clip_unlearn.core.synthesis import Synthesis
from clip_unlearn.images.datasets import Features, ImageSet, encode, open_images
from clip_unlearn.measure.setting import Setting


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing touches the user's cache, and nothing asks the Hugging Face hub."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIP_UNLEARN_CACHE", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield folder


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """A connection to another machine fails the test that makes it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address):
        internet = self.family in (socket.AF_INET, socket.AF_INET6)
        if internet and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test connects to {address}")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for one test."""
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """`make_folder(kind, seed)` writes a tiny open_clip folder for one test."""
    return lambda kind="vit", seed=0: write_folder(tmp_path / f"{kind}-{seed}", kind, seed)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny ViT's folder, for tests that only read it."""
    return write_folder(tmp_path_factory.mktemp("models") / "tiny-vit")


@pytest.fixture(scope="session")
def clip(clip_folder: Path) -> Iterator[Clip]:
    """A tiny random ViT CLIP (D 32, d 16), shared; checks that whoever edited it restored it."""
    clip = load_clip(clip_folder, device="cpu")
    before = clip.fingerprint()
    yield clip
    assert clip.fingerprint() == before, "a test left the shared CLIP changed"


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Clip]:
    """`clips(kind)` is a tiny CLIP of each kind of tower, made once."""
    folder = tmp_path_factory.mktemp("kinds")
    made: dict[str, Clip] = {}

    def get(kind: str) -> Clip:
        if kind not in made:
            made[kind] = load_clip(write_folder(folder / kind, kind), device="cpu")
        return made[kind]

    return get


@pytest.fixture(scope="session")
def grid() -> ConceptGrid:
    """3 classes x 3 domains, the names of the image folder."""
    return ConceptGrid(CLASSES, DOMAINS)


@pytest.fixture(scope="session")
def prototypes(clip: Clip, grid: ConceptGrid) -> Prototypes:
    """Three steps of synthesis: enough for everything but its own quality."""
    return synthesize_prototypes(
        clip, grid, per_cell=2, how=Synthesis(steps=3), progress=False, cache=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder that a test may change: 3 x 3 cells of 2 images, but no painted cat."""
    return write_images(tmp_path / "images")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """The same folder, shared, opened."""
    return open_images(write_images(tmp_path_factory.mktemp("data") / "images"))


@pytest.fixture(scope="session")
def features(clip: Clip, images: ImageSet) -> Features:
    """Its images, encoded."""
    return encode(clip, images, progress=False, cache=False)


@pytest.fixture(scope="session")
def setting(clip: Clip, prototypes: Prototypes, features: Features) -> Setting:
    """CLIP, prototypes and encoded images in one, as the notebooks use them."""
    return Setting(clip, prototypes, make_task(clip, prototypes.grid, features), None, 0.0)


@pytest.fixture(params=REQUESTS)
def request_of(request: pytest.FixtureRequest) -> ForgetRequest:
    """One request of each paradigm."""
    return REQUESTS[request.param]
