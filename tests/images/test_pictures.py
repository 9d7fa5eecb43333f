"""Image files as people have them: turned, 16 bits deep, hidden, linked in circles, of any kind."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from tiny import picture, write_images

from clip_unlearn import Clip, encode, open_images
from clip_unlearn.images import pictures
from clip_unlearn.images.pictures import open_picture


@pytest.fixture
def dogs(tmp_path: Path) -> Path:
    """A folder of one domain with a class of two pictures, a.png and b.png."""
    folder = tmp_path / "set" / "photo" / "dog"
    folder.mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png")):
        picture(number).save(folder / name)
    return folder


def listed(folder: Path) -> list[str]:
    """The names of the images that are listed below the root of `dogs`."""
    return [path.name for path in open_images(folder.parents[1]).paths]


# ---- opened as a viewer shows them


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_seen_upright_whatever_its_camera_says(tmp_path: Path, orientation: int) -> None:
    upright = picture(3, size=24).crop((0, 0, 24, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright.save(tmp_path / "plain.png")
    # What a camera held that way stores: the tag undoes it.
    turned = upright
    for candidate in Image.Transpose:
        stored = upright.transpose(candidate)
        stored.info["exif"] = exif.tobytes()
        if np.array_equal(np.asarray(ImageOps.exif_transpose(stored)), np.asarray(upright)):
            turned = upright.transpose(candidate)
    turned.save(tmp_path / "turned.png", exif=exif)
    opened = open_picture(tmp_path / "turned.png")
    assert np.array_equal(np.asarray(opened), np.asarray(upright))


def test_a_turned_photo_has_the_features_of_the_upright_one(clip: Clip, dogs: Path) -> None:
    upright = picture(4)
    upright.save(dogs / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(dogs / "b.png", exif=exif)
    features = encode(clip, open_images(dogs.parents[1]), progress=False, cache=False)
    assert np.allclose(features.f[0], features.f[1], atol=1e-5)


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    grey = np.linspace(0, 255, 24 * 24).round().astype(np.uint8).reshape(24, 24)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    opened = np.asarray(open_picture(tmp_path / "deep.png"))
    assert np.array_equal(opened[..., 0], grey) and opened.shape == (24, 24, 3)


def test_whole_numbers_that_fill_eight_bits_stay_as_they_are(tmp_path: Path) -> None:
    grey = np.arange(0, 240, 10, dtype=np.int32).reshape(4, 6)
    Image.fromarray(grey, mode="I").save(tmp_path / "shallow.tif")
    assert np.array_equal(np.asarray(open_picture(tmp_path / "shallow.tif"))[..., 0], grey)


@pytest.mark.parametrize("kind", ["jpg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff"])
def test_every_kind_that_pillow_opens_is_an_image(clip: Clip, dogs: Path, kind: str) -> None:
    picture(7).save(dogs / f"c.{kind}", "JPEG" if kind == "jfif" else None)
    images = open_images(dogs.parents[1])
    assert f"c.{kind}" in [path.name for path in images.paths]
    assert len(encode(clip, images, progress=False, cache=False)) == 3


# ---- passed over, and said once


@pytest.mark.parametrize("kind", ["heic", "avif"])
def test_a_kind_that_pillow_cannot_open_is_counted_in_a_warning(
    dogs: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_readable", lambda: {".png"})
    for name in ("c", "d"):
        (dogs / f"{name}.{kind}").write_bytes(b"a picture of that kind")
    with pytest.warns(UserWarning, match=rf"2 x \.{kind} files, which Pillow cannot open"):
        assert listed(dogs) == ["a.png", "b.png"]


@pytest.mark.parametrize("name", [".ipynb_checkpoints/a.png", "._a.png", "__MACOSX/a.png"])
@pytest.mark.parametrize("where", ["dog", "."])
def test_what_is_not_the_users_own_is_passed_over_and_said_once(
    dogs: Path, name: str, where: str
) -> None:
    if where == "." and "/" not in name:
        pytest.skip("a file beside class folders is no image of a class")
    stray = dogs.parent / where / name
    stray.parent.mkdir(exist_ok=True)
    picture(9).save(stray)
    with pytest.warns(UserWarning, match=name.split("/")[0].replace(".", r"\.")) as said:
        assert listed(dogs) == ["a.png", "b.png"]
    assert len(said) == 1


def test_macos_beside_the_classes_of_an_unpacked_archive(tmp_path: Path) -> None:
    root = write_images(tmp_path / "images")
    (root / "__MACOSX" / "photo" / "dog").mkdir(parents=True)
    (root / "__MACOSX" / "photo" / "dog" / "._0.jpg").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="1 x __MACOSX"):
        assert open_images(root).domains == ("art painting", "photo", "sketch")


def test_a_clean_folder_says_nothing(dogs: Path) -> None:
    (dogs / ".DS_Store").write_bytes(b"")  # no image, and on every Mac
    (dogs / "notes.txt").write_text("good dogs")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert listed(dogs) == ["a.png", "b.png"]


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_link_to_where_it_lies_counts_each_image_once(dogs: Path, target: str) -> None:
    (dogs / "again").symlink_to(target, target_is_directory=True)
    assert listed(dogs) == ["a.png", "b.png"]


def test_a_link_to_another_place_is_followed(dogs: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    picture(5).save(elsewhere / "c.png")
    (dogs / "more").symlink_to(elsewhere, target_is_directory=True)
    assert listed(dogs) == ["a.png", "b.png", "c.png"]
