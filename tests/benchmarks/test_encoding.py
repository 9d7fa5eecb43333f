"""Encoding an image folder against a bare loop of open_clip and DataLoader: `make benchmarks`.

Both are measured in turn in one run. Nothing here passes or fails on time; each case prints images
per second of both, and their ratio.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader
from torchvision.datasets import ImageFolder

from clip_unlearn import Clip, encode, load_clip, open_images
from clip_unlearn.core.cache import bundled
from clip_unlearn.images.datasets import ImageSet

ROUNDS, BATCH = 5, 128


def bare(clip: Clip, root: Path, workers: int) -> torch.Tensor:
    """What one writes by hand: (n, d) embeddings of every image under root."""
    folders = [ImageFolder(domain, clip.preprocess) for domain in sorted(root.iterdir())]
    loader = DataLoader(ConcatDataset(folders), BATCH, num_workers=workers)
    embeddings = []
    with torch.no_grad():
        for pixels, _ in loader:
            embeddings.append(clip.model.encode_image(pixels.to(clip.device)).cpu())
    return torch.cat(embeddings)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(
    clip: Clip, root: Path, workers: int, rounds: int = ROUNDS
) -> tuple[ImageSet, float, float]:
    """Median seconds of ours and of the bare loop, measured in turn; round 1 only warms up."""
    images = open_images(root)

    def encode_all() -> None:
        encode(clip, images, progress=False, cache=False, batch=BATCH, workers=workers)

    def encode_bare() -> None:
        bare(clip, root, workers)

    ours, theirs = [], []
    for number in range(rounds + 1):
        both = [(ours, encode_all), (theirs, encode_bare)]
        if number % 2 == 0:
            both.reverse()
        for times, run in both:
            times.append(seconds(run))
    return images, statistics.median(ours[1:]), statistics.median(theirs[1:])


def show(
    capsys: pytest.CaptureFixture, what: str, workers: int, measured: tuple[ImageSet, float, float]
) -> None:
    images, ours, theirs = measured
    speed, bare_speed = len(images) / ours, len(images) / theirs
    with capsys.disabled():
        print(f"\n{what}, {workers} workers: {speed:.1f} images/s, ", end="")
        print(f"bare loop {bare_speed:.1f}, ratio {theirs / ours:.3f}")


@pytest.mark.parametrize("workers", [0, 2])
def test_throughput_on_the_bundled_images(capsys: pytest.CaptureFixture, workers: int) -> None:
    clip, root = load_clip("bundled"), bundled("four_domains") / "images"
    embeddings = bare(clip, root, workers)
    features = encode(clip, open_images(root), progress=False, cache=False, workers=workers)
    ours = features.f @ clip.heads["visual"].weight
    torch.testing.assert_close(ours, embeddings, atol=1e-4, rtol=1e-3)
    show(capsys, "bundled CLIP", workers, compare(clip, root, workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_throughput_of_vit_b_32_shape(
    capsys: pytest.CaptureFixture, tmp_path: Path, workers: int
) -> None:
    """Random weights; 256 JPEGs of 500 x 375, the middle size of ImageNet."""
    rng = torch.Generator().manual_seed(0)
    for i in range(256):
        folder = tmp_path / ("photo", "sketch")[i % 2] / ("cat", "dog")[i // 2 % 2]
        folder.mkdir(parents=True, exist_ok=True)
        small = (torch.rand(15, 20, 3, generator=rng) * 255).to(torch.uint8).numpy()
        picture = Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC)
        picture.save(folder / f"{i:03d}.jpg", quality=90)
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32")
    clip = replace(
        load_clip("bundled", device="cpu"),
        model=model.eval().requires_grad_(False),
        preprocess=preprocess,
    )
    show(capsys, "ViT-B/32 shape", workers, compare(clip, tmp_path, workers, rounds=3))
    with capsys.disabled():
        print(f"its fingerprint, once a run: {seconds(clip.fingerprint):.2f} s")
