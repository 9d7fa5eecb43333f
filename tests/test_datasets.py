"""Image folders: what is read, what is refused with its name, and what is remembered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny import picture

from clip_unlearn import Clip, datasets, encode, grid_of, open_images
from clip_unlearn.datasets import DataError, ImageSet, bundled_images, subset

# ---- folders


def test_domains_and_classes_are_the_folder_names_as_words(folder: Path) -> None:
    images = open_images(folder)
    assert images.domains == ("art painting", "photo", "sketch") and images.classes == ("cat", "dog", "house")
    assert grid_of(images).shape == (3, 3)


def test_every_image_is_listed_under_its_own_class_and_domain(folder: Path) -> None:
    images = open_images(str(folder))
    assert len(images) == len(images.paths) == 16
    for path, c, k in zip(images.paths, images.class_of.tolist(), images.domain_of.tolist(), strict=True):
        assert (path.parent.name, path.parent.parent.name.replace("_", " ")) == (images.classes[c], images.domains[k])


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
    with pytest.raises(DataError, match=rf"{tmp_path.name} is empty; it should hold <domain>/<class>"):
        open_images(tmp_path)


def test_domain_that_holds_images_directly_is_named(tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    picture(1).save(tmp_path / "dog" / "a.png")
    with pytest.raises(DataError, match=r"dog holds no class folders"):
        open_images(tmp_path)


def test_class_folder_without_images_is_named(folder: Path) -> None:
    (folder / "photo" / "zebra").mkdir()
    (folder / "photo" / "zebra" / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"zebra holds no images"):
        open_images(folder)


def test_subset_keeps_the_first_images_of_each_cell(folder: Path) -> None:
    images = open_images(folder)
    one = subset(images, 1)
    assert len(one) == 8 and all(p.stem == "0" for p in one.paths)
    assert one.classes == images.classes and one.domains == images.domains
    lookup = {p: (c, k) for p, c, k in zip(images.paths, images.class_of, images.domain_of, strict=True)}
    assert all(lookup[p] == (c, k) for p, c, k in zip(one.paths, one.class_of, one.domain_of, strict=True))
    assert subset(images, 99).paths == images.paths


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
        one_by_one = [clip.image_features(clip.preprocess(Image.open(p).convert("RGB"))[None]) for p in images.paths]
    torch.testing.assert_close(features.f, torch.cat(one_by_one), atol=1e-5, rtol=1e-5)
    assert features.paths == images.paths and torch.equal(features.class_of, images.class_of)


def spoil(path: Path, how: str) -> None:
    good = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"hello", "truncated": good[: len(good) // 2]}[how])


@pytest.mark.parametrize("how", ["empty", "text", "truncated"])
@pytest.mark.parametrize("number", [0, 1])
def test_an_unreadable_image_is_named(clip: Clip, folder: Path, fresh_cache: Path, how: str, number: int) -> None:
    bad = sorted((folder / "photo" / "dog").iterdir())[number]
    spoil(bad, how)
    with pytest.raises(DataError, match=rf"unreadable image photo/dog/{bad.name}: .*--skip-unreadable"):
        encode(clip, open_images(folder), progress=False)


def test_skipped_images_are_listed_and_left_out(clip: Clip, folder: Path, fresh_cache: Path) -> None:
    bad = sorted((folder / "photo" / "dog").iterdir())[0]
    spoil(bad, "text")
    images = open_images(folder)
    features = encode(clip, images, skip_unreadable=True, progress=False)
    assert len(features) == len(features.paths) == len(features.class_of) == len(features.domain_of) == 15
    assert bad not in features.paths and len(features.skipped) == 1
    assert features.skipped[0].startswith(f"photo/dog/{bad.name}: ")
    with pytest.raises(DataError, match="unreadable"):  # being skipped once does not make it pass later
        encode(clip, images, progress=False)


def test_a_folder_of_unreadable_images_is_an_error_even_when_skipping(clip: Clip, tmp_path: Path) -> None:
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
    assert torch.equal(again.class_of, encoded.class_of) and torch.equal(again.domain_of, encoded.domain_of)


def test_a_moved_folder_is_still_in_the_cache(
    clip: Clip, folder: Path, encoded: datasets.Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "_encode", forbid)
    assert torch.equal(encode(clip, open_images(folder.rename(folder.with_name("moved"))), progress=False).f, encoded.f)


@pytest.mark.parametrize("change", ["size", "time", "added", "removed"])
def test_a_changed_folder_is_encoded_again(
    clip: Clip, folder: Path, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    file = folder / "photo" / "dog" / "a.png"
    picture(98).save(file)
    before = encode(clip, open_images(folder), progress=False)
    stat = file.stat()
    if change == "size":
        picture(99, size=30).save(file)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif change == "time":
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    elif change == "added":
        picture(99).save(file.with_name("b.png"))
    else:
        file.unlink()
    calls, real = [], datasets._encode
    monkeypatch.setattr(datasets, "_encode", lambda *a: calls.append(1) or real(*a))
    after = encode(clip, open_images(folder), progress=False)
    assert calls and torch.equal(after.f, before.f) == (change == "time")


def test_another_model_does_not_meet_this_ones_features(
    clip: Clip, clips, folder: Path, encoded: datasets.Features
) -> None:
    other = encode(clips("timm-linear"), open_images(folder), progress=False)
    assert other.f.shape[1] == 512 != encoded.f.shape[1]


def test_without_cache_nothing_is_written(clip: Clip, folder: Path, fresh_cache: Path) -> None:
    encode(clip, open_images(folder), progress=False, cache=False)
    assert not fresh_cache.exists()
