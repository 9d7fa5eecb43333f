"""Known layouts of image sets: which folder is which class, and what is refused by its name."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tiny import picture

from clip_unlearn import grid_of, open_images
from clip_unlearn.core.concepts import DOMAIN_WORDS
from clip_unlearn.images.classnames import (
    ClassNameError,
    class_names,
    imagenet_names,
    read_class_names,
)
from clip_unlearn.images.datasets import ImageSet
from clip_unlearn.images.layouts import DOMAINS_OF, DataError, read_layout

DOMAINNET = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")


def write(root: Path, *files: str) -> Path:
    """Small pictures at these places."""
    for number, file in enumerate(files):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, 8).save(path, format="png")
    return root


def cells(images: ImageSet) -> Counter[tuple[str, str]]:
    """Number of images of each (domain, class)."""
    pairs = zip(images.domain_of.tolist(), images.class_of.tolist(), strict=True)
    return Counter((images.domains[k], images.classes[c]) for k, c in pairs)


# ---- one folder


def test_a_flat_folder_is_one_domain_photo(tmp_path: Path) -> None:
    images = open_images(write(tmp_path, "dog/1.jpg", "dog/2.jpg", "palm_tree/1.jpg"))
    assert cells(images) == {("photo", "dog"): 2, ("photo", "palm tree"): 1}


def test_a_stray_picture_in_a_domain_folder_does_not_make_it_flat(tmp_path: Path) -> None:
    images = open_images(
        write(tmp_path, "photo/preview.jpg", "photo/dog/1.jpg", "sketch/dog/1.jpg")
    )
    assert cells(images) == {("photo", "dog"): 1, ("sketch", "dog"): 1}


@pytest.mark.parametrize(
    ("layout", "folders", "domains"),
    [
        (
            "pacs",
            ("art_painting", "cartoon", "photo", "sketch"),
            {"art painting", "cartoon", "photo", "sketch"},
        ),
        (
            "office-home",
            ("Art", "Clipart", "Product", "Real World"),
            {"art", "clipart", "product", "real world"},
        ),
        (
            "office-home",
            ("Art", "Clipart", "Product", "RealWorld"),
            {"art", "clipart", "product", "real world"},
        ),
        ("domainnet", DOMAINNET, set(DOMAINNET)),
    ],
)
@pytest.mark.parametrize("nested", ["", "unpacked/"])
def test_a_known_set_by_flag_passes_over_other_folders(
    tmp_path: Path, layout: str, folders: tuple[str, ...], domains: set[str], nested: str
) -> None:
    write(tmp_path, *(f"{nested}{f}/Alarm_Clock/1.jpg" for f in folders))
    (tmp_path / nested / "splits").mkdir()
    images = open_images(tmp_path, layout=layout)
    assert set(images.domains) == domains and images.classes == ("Alarm Clock",)


@pytest.mark.parametrize("folder", ["Art", "Clipart", "Product", "Real World", "Real_World"])
def test_office_home_by_looking_has_the_domain_words_of_its_domains(
    tmp_path: Path, folder: str
) -> None:
    images = open_images(write(tmp_path, f"{folder}/Bike/1.jpg", "photo/Bike/1.jpg"))
    (domain,) = set(images.domains) - {"photo"}
    expected = DOMAIN_WORDS[folder.lower().replace("_", " ")]
    assert grid_of(images).words_for(domain) == expected and "artwork" in DOMAIN_WORDS["art"]


@pytest.mark.parametrize("domain", sorted({d for known in DOMAINS_OF.values() for d in known}))
def test_every_known_domain_has_words(domain: str) -> None:
    assert len(DOMAIN_WORDS[domain]) > 1


@pytest.mark.parametrize(
    ("files", "layout", "words"),
    [
        (["a.jpg"], "", ["holds images but no folders", "<domain>/<class>/"]),
        (
            ["dog/1.jpg", "photo/cat/1.jpg"],
            "",
            ["dog holds images but", "photo holds folders", "<class>/*.jpg"],
        ),
        (["photo/dog/1.jpg"], "office-home", ["holds photo", "art, clipart, product, real world"]),
        (["photo/dog/1.jpg"], "imagenette", ['unknown layout "imagenette"', "domainnet"]),
        (["photo/1.jpg"], "folders", ["photo holds images but no class folders", "<class>/"]),
        (
            ["val/1.jpg", "train/n01440764/1.jpg"],
            "imagenet",
            ["val holds images but no class folders"],
        ),
        (["art_painting/dog/1.jpg", "art painting/dog/1.jpg"], "", ["one domain in two spellings"]),
    ],
)
def test_a_wrong_folder_is_named_with_the_right_shape(
    tmp_path: Path, files: list[str], layout: str, words: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        open_images(write(tmp_path, *files), layout=layout)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jpg is a file; an image folder is needed"):
        open_images(write(tmp_path, "a.jpg") / "a.jpg")


# ---- several folders


def test_folders_given_by_domain_are_its_domains(tmp_path: Path) -> None:
    write(tmp_path, "in/tench/1.jpg", "in/goldfish/1.jpg", "elsewhere/sk/tench/1.jpg")
    images = open_images([f"photo={tmp_path / 'in'}", f"sketch={tmp_path / 'elsewhere' / 'sk'}"])
    assert images.domains == ("photo", "sketch")
    assert cells(images) == {
        ("photo", "tench"): 1,
        ("photo", "goldfish"): 1,
        ("sketch", "tench"): 1,
    }
    assert {p.relative_to(images.root).parts[0] for p in images.paths} == {"in", "elsewhere"}


def test_a_folder_with_an_equals_sign_in_its_name_is_one_folder(tmp_path: Path) -> None:
    assert len(open_images(write(tmp_path / "size=big", "photo/dog/1.jpg"))) == 1


@pytest.mark.parametrize(
    ("sources", "word"),
    [
        (["{0}", "sketch={0}"], "given as domain=folder"),
        (["photo={0}", "photo={0}"], "given twice"),
        (["photo={0}/none"], "no image folder"),
        (["photo={0}", "={0}"], "given as domain=folder"),
    ],
)
def test_wrong_pairs_are_named(tmp_path: Path, sources: list[str], word: str) -> None:
    write(tmp_path, "dog/1.jpg")
    with pytest.raises(DataError, match=word):
        open_images([s.format(tmp_path) for s in sources])


# ---- ids


def test_imagenet_ids_become_the_names_that_open_clip_gives_them(tmp_path: Path) -> None:
    write(tmp_path, "val/n01440764/1.JPEG", "train/n01440764/1.JPEG", "val/n02012849/1.JPEG")
    images = open_images(tmp_path)
    assert images.domains == ("photo",) and images.classes == ("crane bird", "tench")
    assert all(p.relative_to(tmp_path).parts[0] == "val" for p in images.paths)
    assert cells(open_images(tmp_path, split="train")) == {("photo", "tench"): 1}


def test_imagenet_names_are_a_thousand_different_ones() -> None:
    names = [n.casefold() for n in imagenet_names().values()]
    assert len(names) == len(set(names)) == 1000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "n01440764 tench, Tinca tinca\n\nn99999999\tgreat white shark\n"),
        ("names.json", json.dumps({"n01440764": "tench", "n99999999": "great_white_shark"})),
        (
            "index.json",
            json.dumps({"0": ["n01440764", "tench"], "1": ["n99999999", "great_white_shark"]}),
        ),
    ],
)
def test_a_class_name_file_names_ids(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    root = write(tmp_path / "images", "n01440764/1.jpg", "n99999999/1.jpg")
    assert open_images(root, class_names=tmp_path / name).classes == ("great white shark", "tench")


def test_ids_and_names_of_one_class_meet(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("n01440764 tench\n")
    write(tmp_path, "in/n01440764/1.jpg", "r/tench/1.jpg")
    pairs = [f"photo={tmp_path / 'in'}", f"rendition={tmp_path / 'r'}"]
    assert open_images(pairs, class_names=tmp_path / "names.txt").classes == ("tench",)
    assert open_images(pairs).classes == ("tench",)  # by ImageNet's own names


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("n.json", "[1]", ["not a JSON object", 'lines "id name"']),
        ("n.json", "{", ["n.json", "JSON"]),
        ("n.json", '{"a": 3}', ['the entry of "a" is 3']),
        ("n.txt", "n01440764\n", ['line 1 is "n01440764"']),
        ("n.txt", "", ["names no class"]),
        ("n.txt", "n01440764 tench\n", ['"n02012849" has no name in']),
        (
            "n.txt",
            "n01440764 crane\nn02012849 crane\n",
            ["n01440764", "n02012849", 'both called "crane"'],
        ),
    ],
)
def test_a_wrong_class_name_file_is_named(
    tmp_path: Path, name: str, text: str, words: list[str]
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ClassNameError) as caught:
        class_names(["n01440764", "n02012849"], tmp_path / name)
    assert all(word in str(caught.value) for word in words), caught.value


def test_other_troubles_with_class_names(tmp_path: Path) -> None:
    with pytest.raises(ClassNameError, match=r"no class-name file .*none\.txt"):
        read_class_names(tmp_path / "none.txt")
    (tmp_path / "picture.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ClassNameError, match="not UTF-8 text"):
        read_class_names(tmp_path / "picture.txt")
    with pytest.raises(
        ClassNameError, match=r'"n99999999" is no class of ImageNet-1k; --class-names FILE'
    ):
        class_names(["n01440764", "n99999999"])


def test_splits_are_not_taken_for_domains(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds splits, not domains"):
        open_images(write(tmp_path, "train/dog/1.jpg", "val/dog/1.jpg"))


# ---- split lists


@pytest.fixture
def domainnet(tmp_path: Path) -> Path:
    """Two domains, two classes, lists of a train and a test split."""
    for domain in ("real", "sketch"):
        write(
            tmp_path,
            *(
                f"{domain}/{c}/{domain} {i}.jpg"
                for c in ("The_Eiffel_Tower", "dog")
                for i in range(3)
            ),
        )
        rows = {s: [] for s in ("train", "test")}
        for label, c in enumerate(("The_Eiffel_Tower", "dog")):
            rows["test"].append(f"{domain}/{c}/{domain} 0.jpg {label}")
            rows["train"] += [f"{domain}/{c}/{domain} {i}.jpg {label}" for i in (1, 2)]
        for split, lines in rows.items():
            (tmp_path / f"{domain}_{split}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize(("split", "count"), [("test", 1), ("train", 2), ("", 3)])
@pytest.mark.parametrize("layout", ["", "domainnet"])
def test_a_split_takes_the_images_of_its_lists(
    domainnet: Path, split: str, count: int, layout: str
) -> None:
    images = open_images(domainnet, layout=layout, split=split)
    expected = {(d, c): count for d in ("real", "sketch") for c in ("The Eiffel Tower", "dog")}
    assert cells(images) == expected
    if split == "test":
        assert all(p.stem.endswith("0") for p in images.paths)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("real/dog/none.jpg 1", ["line 1", "there is no", "none.jpg"]),
        ("real/cat/real 0.jpg 1", ["line 1", "there is no"]),
        ("sketch/dog/sketch 0.jpg 1", ["is not", "real/<class>/<file> <label>"]),
        ("real/../real/dog/real 0.jpg 1", ["is not"]),
        ("real/dog/real 0.jpg", ["is not"]),
        (
            "real/dog/real 0.jpg 1\nreal/The_Eiffel_Tower/real 0.jpg 1",
            ["line 2", 'label 1 was "dog" before'],
        ),
        ("", ["lists no image"]),
    ],
)
def test_a_wrong_list_is_named_with_its_line(domainnet: Path, line: str, words: list[str]) -> None:
    (domainnet / "real_test.txt").write_text(line)
    with pytest.raises(DataError) as caught:
        open_images(domainnet, split="test")
    assert all(word in str(caught.value) for word in ["real_test.txt", *words]), caught.value


def test_a_missing_list_is_named_beside_those_there_are(domainnet: Path) -> None:
    with pytest.raises(
        DataError, match=r'real_val\.txt for the split "val"; .*real_test\.txt, real_train\.txt'
    ):
        open_images(domainnet, split="val")


# ---- names alone


def test_the_layout_is_read_where_there_are_no_images(tmp_path: Path) -> None:
    for cell in ("photo/dog", "photo/cat", "sketch/dog"):
        (tmp_path / cell).mkdir(parents=True)
    assert [(d.name, sorted(d.classes.values())) for d in read_layout(tmp_path)] == [
        ("photo", ["cat", "dog"]),
        ("sketch", ["dog"]),
    ]
