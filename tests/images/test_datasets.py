"""Image folders: what is read, what is refused with its name, and what is remembered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny import ROOT, picture, write_images

from clip_unlearn import Clip, encode, grid_of, open_images
from clip_unlearn.core import cache
from clip_unlearn.images import datasets, encoding
from clip_unlearn.images.datasets import ImageSet, bundled_images, subset
from clip_unlearn.images.layouts import DataError

# ---- folders


def test_domains_and_classes_are_the_folder_names_as_words(folder: Path) -> None:
    images = open_images(folder)
    assert images.domains == ("art painting", "photo", "sketch") and images.classes == (
        "cat",
        "dog",
        "house",
    )
    assert grid_of(images).shape == (3, 3)


def test_every_image_is_listed_under_its_own_class_and_domain(folder: Path) -> None:
    images = open_images(str(folder))
    assert len(images) == len(images.paths) == 16
    for path, c, k in zip(
        images.paths, images.class_of.tolist(), images.domain_of.tolist(), strict=True
    ):
        assert (path.parent.name, path.parent.parent.name.replace("_", " ")) == (
            images.classes[c],
            images.domains[k],
        )


def test_a_class_may_be_absent_from_a_domain(folder: Path) -> None:
    images = open_images(folder)
    cells = set(zip(images.class_of.tolist(), images.domain_of.tolist(), strict=True))
    assert len(cells) == 8 and (0, 0) not in cells


def test_one_class_in_two_spellings_is_one_class(tmp_path: Path) -> None:
    for domain, name in (("photo", "palm_tree"), ("sketch", "palm tree")):
        (tmp_path / domain / name).mkdir(parents=True)
        picture(1).save(tmp_path / domain / name / "a.png")
    assert open_images(tmp_path).classes == ("palm tree",)


def test_other_files_are_not_images(folder: Path) -> None:
    (folder / "photo" / "dog" / "notes.txt").write_text("good dog")
    (folder / "LICENSE").write_text("")
    assert len(open_images(folder)) == 16


@pytest.mark.filterwarnings("ignore:left out in")
@pytest.mark.parametrize("where", ["", "photo", "photo/dog"])
def test_hidden_folders_are_ignored(folder: Path, where: str) -> None:
    """JupyterLab leaves .ipynb_checkpoints wherever a file was opened."""
    (folder / where / ".ipynb_checkpoints").mkdir()
    images = open_images(folder)
    assert len(images) == 16 and images.classes == ("cat", "dog", "house")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no image folder .*nowhere"):
        open_images(tmp_path / "nowhere")


def test_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"{tmp_path.name} is empty; it should hold <domain>/<class>"
    ):
        open_images(tmp_path)


def test_class_folder_without_images_is_named(folder: Path) -> None:
    (folder / "photo" / "zebra").mkdir()
    (folder / "photo" / "zebra" / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"zebra holds no images"):
        open_images(folder)


def test_cells_number_the_pairs_of_class_and_domain(
    images: ImageSet, features: datasets.Features
) -> None:
    for labelled in (images, features):
        pairs = torch.stack([labelled.class_of, labelled.domain_of])
        assert torch.equal(torch.stack([labelled.cells(3) // 3, labelled.cells(3) % 3]), pairs)
    assert not images.cells(3).is_floating_point()


def test_subset_keeps_the_first_images_of_each_cell(folder: Path) -> None:
    images = open_images(folder)
    one = subset(images, 1)
    assert len(one) == 8 and all(p.stem == "0" for p in one.paths)
    assert one.classes == images.classes and one.domains == images.domains
    lookup = {
        p: (c, k) for p, c, k in zip(images.paths, images.class_of, images.domain_of, strict=True)
    }
    assert all(
        lookup[p] == (c, k) for p, c, k in zip(one.paths, one.class_of, one.domain_of, strict=True)
    )
    assert subset(images, 99).paths == images.paths


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seeded_subset_is_a_choice_that_the_seed_decides(tmp_path: Path, seed: int) -> None:
    images = open_images(write_images(tmp_path / "i", per_cell=6))
    chosen = subset(images, 3, seed)
    cells = Counter(zip(chosen.class_of.tolist(), chosen.domain_of.tolist(), strict=True))
    assert set(cells.values()) == {3} and len(cells) == 8
    assert chosen.paths == subset(images, 3, seed).paths != subset(images, 3, seed + 1).paths
    assert chosen.paths != subset(images, 3).paths and set(chosen.paths) < set(images.paths)
    order = [images.paths.index(p) for p in chosen.paths]
    assert order == sorted(order)


def test_a_seeded_choice_in_a_cell_does_not_depend_on_other_cells(tmp_path: Path) -> None:
    root = write_images(tmp_path / "i", per_cell=6)
    before = [p for p in subset(open_images(root), 3, 0).paths if p.parent.name != "cat"]
    for cell in root.glob("*/cat"):
        shutil.rmtree(cell)
    assert list(subset(open_images(root), 3, 0).paths) == before


def test_bundled_images_are_the_grids_the_package_promises() -> None:
    images, unrelated = bundled_images(), bundled_images(unrelated=True)
    assert len(images.classes) == 16 and len(unrelated.classes) == 8
    assert images.domains == unrelated.domains == ("cartoon", "painting", "photo", "sketch")
    assert len(images) == 16 * 4 * 20 and len(unrelated) == 8 * 4 * 8
    assert not set(images.classes) & set(unrelated.classes)


# ---- encoding


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(s, m) for s in ("jpg", "jpeg", "JPG") for m in ("RGB", "L", "CMYK")]
    + [("png", m) for m in ("RGB", "L", "RGBA", "P", "1", "I;16")]
    + [("webp", m) for m in ("RGB", "RGBA")],
)
def test_every_format_and_mode_is_read(clip: Clip, tmp_path: Path, suffix: str, mode: str) -> None:
    (tmp_path / "photo" / "dog").mkdir(parents=True)
    picture(5).convert(mode).save(tmp_path / "photo" / "dog" / f"a.{suffix}")
    f = encode(clip, open_images(tmp_path), progress=False, cache=False).f
    assert f.shape == (1, 32) and f.isfinite().all()


def test_features_are_those_of_each_image_in_order(clip: Clip, images: ImageSet) -> None:
    features = encode(clip, images, progress=False, cache=False, batch=5)
    with torch.no_grad():
        one_by_one = [
            clip.image_features(clip.preprocess(Image.open(p).convert("RGB"))[None])
            for p in images.paths
        ]
    torch.testing.assert_close(features.f, torch.cat(one_by_one), atol=1e-5, rtol=1e-5)
    assert features.paths == images.paths and torch.equal(features.class_of, images.class_of)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_give_the_same_features_and_name_the_same_broken_images(
    clip: Clip, folder: Path, workers: int, features: datasets.Features
) -> None:
    broken = folder / "photo" / "dog" / "0.webp"
    broken.with_name("broken.png").write_bytes(b"no picture")
    encoded = encode(
        clip,
        open_images(folder),
        skip_unreadable=True,
        progress=False,
        cache=False,
        batch=3,
        workers=workers,
    )
    assert [s.split(":")[0] for s in encoded.skipped] == ["photo/dog/broken.png"]
    assert [p.name for p in encoded.paths] == [p.name for p in features.paths]
    torch.testing.assert_close(encoded.f, features.f, atol=1e-5, rtol=1e-5)


class Counted:
    """A preprocessing that counts the images, over all processes, that are open at once.

    An image is open from its preprocessing until the model has let go of it.
    """

    def __init__(self, clip: Clip) -> None:
        self.clip, self.lock = clip, torch.multiprocessing.get_context("fork")
        self.opened, self.done, self.peak = (self.lock.Value("i", 0) for _ in range(3))

    def __call__(self, image: Image.Image) -> torch.Tensor:
        with self.opened.get_lock():
            self.opened.value += 1
            self.peak.value = max(self.peak.value, self.opened.value - self.done.value)
        return self.clip.preprocess(image)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_no_more_than_a_window_of_images_is_open_at_once(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    (tmp_path / "photo" / "dog").mkdir(parents=True)
    for i in range(120):
        picture(i, 8).save(tmp_path / "photo" / "dog" / f"{i}.png")
    monkeypatch.setattr(encoding, "WINDOW", 24)
    counted = Counted(clip)

    def slowly(self: Clip, pixels: torch.Tensor) -> torch.Tensor:
        if workers:
            time.sleep(0.05)  # so that workers run ahead as far as they may
        counted.done.value += len(pixels)
        return pixels.flatten(1)[:, :4]

    monkeypatch.setattr(Clip, "image_features", slowly)
    watched = replace(clip, preprocess=counted)
    assert (
        len(encode(watched, open_images(tmp_path), progress=False, cache=False, workers=workers))
        == 120
    )
    assert (
        counted.opened.value == 120 and encoding.fitting(128, workers) <= counted.peak.value <= 24
    )


def test_pixels_do_not_pile_up(clip: Clip, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixels alive in this process are those of the batch in the model, none of an earlier."""
    alive: weakref.WeakSet = weakref.WeakSet()
    peak = []

    def preprocess(image: Image.Image) -> torch.Tensor:
        pixels = clip.preprocess(image)
        alive.add(pixels)
        peak.append(len(alive))
        return pixels

    def watch(self: Clip, pixels: torch.Tensor) -> torch.Tensor:
        alive.add(pixels)
        return pixels.flatten(1)[:, :4].clone()

    monkeypatch.setattr(Clip, "image_features", watch)
    watched = replace(clip, preprocess=preprocess)
    encode(watched, open_images(folder), progress=False, cache=False, batch=2, workers=0)
    assert len(peak) == 16 and max(peak) == 2 and not alive


@pytest.mark.parametrize(
    ("n", "cores", "expected"), [(1280, 8, 0), (2000, 8, 2), (100_000, 8, 8), (100_000, 1, 0)]
)
def test_workers_by_default(
    monkeypatch: pytest.MonkeyPatch, n: int, cores: int, expected: int
) -> None:
    monkeypatch.setattr(
        encoding.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False
    )
    monkeypatch.setattr(encoding.multiprocessing, "get_start_method", lambda: "fork")
    assert encoding.default_workers(n) == expected
    monkeypatch.setattr(encoding.multiprocessing, "get_start_method", lambda: "spawn")
    assert encoding.default_workers(n) == 0


def test_a_negative_number_of_workers_is_an_error(clip: Clip, images: ImageSet) -> None:
    with pytest.raises(DataError, match="workers is -1"):
        encode(clip, images, workers=-1)


def spoil(path: Path, how: str) -> None:
    good = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"hello", "truncated": good[: len(good) // 2]}[how])


@pytest.mark.parametrize("how", ["empty", "text", "truncated"])
@pytest.mark.parametrize("number", [0, 1])
def test_an_unreadable_image_is_named(
    clip: Clip, folder: Path, fresh_cache: Path, how: str, number: int
) -> None:
    bad = sorted((folder / "photo" / "dog").iterdir())[number]
    spoil(bad, how)
    with pytest.raises(
        DataError, match=rf"unreadable image photo/dog/{bad.name}: .*--skip-unreadable"
    ):
        encode(clip, open_images(folder), progress=False)


def test_skipped_images_are_listed_and_left_out(
    clip: Clip, folder: Path, fresh_cache: Path
) -> None:
    bad = sorted((folder / "photo" / "dog").iterdir())[0]
    spoil(bad, "text")
    images = open_images(folder)
    features = encode(clip, images, skip_unreadable=True, progress=False)
    assert (
        len(features)
        == len(features.paths)
        == len(features.class_of)
        == len(features.domain_of)
        == 15
    )
    assert bad not in features.paths and len(features.skipped) == 1
    assert features.skipped[0].startswith(f"photo/dog/{bad.name}: ")
    with pytest.raises(
        DataError, match="unreadable"
    ):  # being skipped once does not make it pass later
        encode(clip, images, progress=False)


def test_a_folder_of_unreadable_images_is_an_error_even_when_skipping(
    clip: Clip, tmp_path: Path
) -> None:
    (tmp_path / "photo" / "dog").mkdir(parents=True)
    (tmp_path / "photo" / "dog" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="no readable image"):
        encode(clip, open_images(tmp_path), skip_unreadable=True, progress=False, cache=False)


# ---- cache


@pytest.fixture
def encoded(clip: Clip, folder: Path, fresh_cache: Path) -> datasets.Features:
    """The features of `folder`, now in the cache."""
    return encode(clip, open_images(folder), progress=False)


def forbid(*_: object) -> None:
    raise AssertionError("encoded again")


def test_a_second_call_reads_identical_features_from_the_cache(
    clip: Clip, folder: Path, encoded: datasets.Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "_encode", forbid)
    again = encode(clip, open_images(folder), progress=False)
    assert torch.equal(again.f, encoded.f) and again.paths == encoded.paths
    assert torch.equal(again.class_of, encoded.class_of) and torch.equal(
        again.domain_of, encoded.domain_of
    )


def test_a_moved_folder_is_still_in_the_cache(
    clip: Clip, folder: Path, encoded: datasets.Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "_encode", forbid)
    assert torch.equal(
        encode(clip, open_images(folder.rename(folder.with_name("moved"))), progress=False).f,
        encoded.f,
    )


@pytest.fixture
def images_encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of images in each batch that goes through the image tower."""
    counts = []
    features = Clip.image_features

    def counting(clip: Clip, pixels: torch.Tensor) -> torch.Tensor:
        counts.append(len(pixels))
        return features(clip, pixels)

    monkeypatch.setattr(Clip, "image_features", counting)
    return counts


@pytest.mark.parametrize(
    ("change", "anew"), [("size", 1), ("time", 1), ("bytes", 1), ("added", 1), ("removed", 0)]
)
def test_only_what_has_changed_in_a_folder_is_encoded_again(
    clip: Clip, folder: Path, fresh_cache: Path, images_encoded: list[int], change: str, anew: int
) -> None:
    file = folder / "photo" / "dog" / "a.bmp"  # of the same length, whatever it shows
    picture(98).save(file)
    before = encode(clip, open_images(folder), progress=False)
    stat = file.stat()
    if change in ("size", "bytes"):
        side = 30 if change == "size" else picture(98).width
        picture(99, size=side).save(file)
        assert (file.stat().st_size == stat.st_size) == (change == "bytes")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif change == "time":
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    elif change == "added":
        picture(99).save(file.with_name("b.png"))
    else:
        file.unlink()
    images_encoded.clear()
    after = encode(clip, open_images(folder), progress=False)
    assert sum(images_encoded) == anew and after.cached == (anew == 0)
    assert torch.equal(after.f, before.f) == (change == "time")


def test_an_interrupted_run_goes_on_where_it_stopped(
    clip: Clip,
    images: ImageSet,
    fresh_cache: Path,
    images_encoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datasets, "SHARD", 4)
    whole = encode(clip, images, progress=False, cache=False, batch=2)
    images_encoded.clear()
    opened = datasets.batches

    def interrupted(*arguments: object, **named: object) -> Iterator[datasets.Batch]:
        for number, part in enumerate(opened(*arguments, **named)):
            if number == 3:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(datasets, "batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode(clip, images, progress=False, batch=2)
    monkeypatch.setattr(datasets, "batches", opened)
    assert images_encoded == [2, 2, 2]

    resumed = encode(clip, images, progress=False, batch=2)
    assert sum(images_encoded) == len(images)
    torch.testing.assert_close(resumed.f, whole.f)
    shards = (fresh_cache / "features").rglob("*.safetensors")
    assert sorted(len(load_file(file)["rows"]) for file in shards)[-1] == 4
    assert encode(clip, images, progress=False).cached


def test_an_unreadable_image_is_tried_again_and_no_other(
    clip: Clip, folder: Path, fresh_cache: Path, images_encoded: list[int]
) -> None:
    (folder / "photo" / "dog" / "broken.png").write_bytes(b"no picture")
    first = encode(clip, open_images(folder), skip_unreadable=True, progress=False)
    images_encoded.clear()
    again = encode(clip, open_images(folder), skip_unreadable=True, progress=False)
    assert again.skipped == first.skipped and len(again.skipped) == 1
    assert not images_encoded and torch.equal(again.f, first.f) and not again.cached
    picture(5).save(folder / "photo" / "dog" / "broken.png")
    mended = encode(clip, open_images(folder), progress=False)
    assert sum(images_encoded) == 1 and len(mended) == len(first) + 1


def test_a_killed_run_loses_less_than_a_shard(
    clip: Clip,
    images: ImageSet,
    fresh_cache: Path,
    images_encoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that is killed writes nothing at its end."""
    monkeypatch.setattr(datasets, "SHARD", 6)
    with monkeypatch.context() as killed:
        killed.setattr(datasets._Known, "kept", lambda _: nullcontext())
        encode(clip, images, progress=False, batch=2)
    images_encoded.clear()
    encode(clip, images, progress=False, batch=2)
    assert sum(images_encoded) == len(images) - 2 * 6  # two shards


@pytest.mark.parametrize("cached", [False, True])
def test_a_folder_that_is_named_twice_is_two_domains(
    clip: Clip, folder: Path, fresh_cache: Path, images_encoded: list[int], cached: bool
) -> None:
    photos = folder / "photo"
    images = open_images([f"photo={photos}", f"picture={photos}"])
    for _ in range(2):
        encoded = encode(clip, images, progress=False, cache=cached)
        first, second = encoded.f.chunk(2)
        assert len(encoded) == len(images) == 12 and torch.equal(first, second)
    assert encoded.cached == cached and sum(images_encoded) == (12 if cached else 24)


@pytest.mark.parametrize("shard", [2, 2048])
def test_leaving_out_unreadable_images_copies_no_features(
    clip: Clip,
    folder: Path,
    features: datasets.Features,
    shard: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datasets, "SHARD", shard)
    images = open_images(folder)
    broken = [1, 2, 7]
    for place in broken:
        images.paths[place].write_bytes(b"no picture")
    encoded = encode(clip, images, skip_unreadable=True, progress=False, cache=False, batch=4)
    readable = [place for place in range(len(images)) if place not in broken]
    torch.testing.assert_close(encoded.f, features.f[readable], atol=1e-5, rtol=1e-5)
    assert encoded.f.untyped_storage().nbytes() == len(images) * encoded.f[0].nbytes


def test_another_model_does_not_meet_this_ones_features(
    clip: Clip, clips, folder: Path, encoded: datasets.Features
) -> None:
    other = encode(clips("timm-linear"), open_images(folder), progress=False)
    assert other.f.shape[1] == 512 != encoded.f.shape[1]


def test_without_cache_nothing_is_written(clip: Clip, folder: Path, fresh_cache: Path) -> None:
    encode(clip, open_images(folder), progress=False, cache=False)
    assert not fresh_cache.exists()


@pytest.mark.parametrize("spoiled", [b"", b"half a file"])
def test_a_cache_entry_that_cannot_be_read_is_made_again(
    clip: Clip, folder: Path, encoded: datasets.Features, fresh_cache: Path, spoiled: bytes
) -> None:
    (entry,) = (fresh_cache / "features").rglob("*.safetensors")
    entry.write_bytes(spoiled)
    with pytest.warns(UserWarning, match="made again"):
        again = encode(clip, open_images(folder), progress=False)
    assert torch.equal(again.f, encoded.f) and entry.stat().st_size > len(spoiled)


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("rows", {}),
        ("rows", {"names": "["}),
        ("rows", {"names": "[]", "seconds": "soon"}),
        ("rows", {"names": '["a", "b"]', "seconds": "1"}),
        ("features", {"names": "[]", "seconds": "1"}),
    ],
)
def test_a_cache_entry_of_another_shape_is_made_again(
    clip: Clip,
    folder: Path,
    encoded: datasets.Features,
    fresh_cache: Path,
    name: str,
    metadata: dict[str, str],
) -> None:
    (entry,) = (fresh_cache / "features").rglob("*.safetensors")
    cache.save_tensors(entry, {name: torch.ones(1, 1)}, metadata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = encode(clip, open_images(folder), progress=False)
    assert torch.equal(again.f, encoded.f)
    assert load_file(entry)["rows"].shape == encoded.f.shape


def test_the_same_features_are_found_by_another_process(
    clip_folder: Path, folder: Path, fresh_cache: Path
) -> None:
    """No address or hash seed of a process is part of an entry's name.

    The two processes also run at once, on one cache.
    """
    code = (
        "import sys, clip_unlearn as cu; c = cu.load_clip(sys.argv[1], device='cpu'); "
        "f = cu.encode(c, cu.open_images(sys.argv[2]), progress=False); "
        "print(f.f.double().sum().item())"
    )
    command = [
        sys.executable,
        "-W",
        "error::UserWarning:clip_unlearn",
        "-c",
        code,
        str(clip_folder),
        str(folder),
    ]
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)
    ]
    printed = {run.communicate()[0] for run in runs}
    assert [run.returncode for run in runs] == [0, 0] and len(printed) == 1
    files = [p for p in (fresh_cache / "features").rglob("*") if p.is_file()]
    assert [p.suffix for p in files] == [".safetensors"]


def test_threads_that_share_a_cache_never_see_half_an_entry(fresh_cache: Path) -> None:
    """Writers of one entry at once, while others read it."""
    path = fresh_cache / "features" / "x.safetensors"
    tensor = torch.arange(300_000.0)

    def write(_: int) -> None:
        cache.keep(path, {"f": tensor}, {"note": "{}"})

    def read(_: int) -> bool:
        return torch.equal(load_file(path)["f"], tensor)

    write(0)
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("error")
        written = [pool.submit(write, i) for i in range(60)]
        seen = [pool.submit(read, i) for i in range(60)]
        assert all(s.result() for s in seen) and not any(w.result() for w in written)
    assert [p.name for p in path.parent.iterdir()] == ["x.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="permissions of Windows are of another kind")
def test_a_cache_entry_can_be_read_by_whoever_may_read_the_folder(fresh_cache: Path) -> None:
    """One account may fill a cache for a whole class."""
    cache.keep(fresh_cache / "entry.safetensors", {"f": torch.ones(1)}, {})
    (fresh_cache / "plain").touch()
    assert (fresh_cache / "entry.safetensors").stat().st_mode == (
        fresh_cache / "plain"
    ).stat().st_mode


def test_a_cache_that_cannot_be_written_is_a_warning(
    fresh_cache: Path, clip: Clip, folder: Path
) -> None:
    fresh_cache.write_text("a file in the way")
    with pytest.warns(UserWarning, match="not kept for the next run"):
        assert len(encode(clip, open_images(folder), progress=False)) == 16
