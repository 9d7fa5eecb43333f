"""Prompts of the user's own and names of every script, from files and folders to tokens."""

from __future__ import annotations

import json
import unicodedata
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
from tiny import picture

from clip_unlearn import Clip, ConceptGrid, ForgetRequest, encode, grid_of, make_task, open_images
from clip_unlearn.core import InputError, UnknownNameError
from clip_unlearn.core.concepts import TEST_TEMPLATES
from clip_unlearn.images.datasets import Features, features_key
from clip_unlearn.images.prompts import PromptError, check_prompts, read_grid, read_prompts

NAMES = (
    "palm_tree",
    "2d_barcode",
    "7",
    "café",
    "cafe",
    "Übergröße",
    "犬",
    "猫",
    "犬小屋",
    "собака",
    "كلب",
    "naïve-dog",
)
TOKENIZER = open_clip.get_tokenizer("ViT-B-32")
YAML = """
class_templates: ["the {class}"]
cell_templates:
  - a {domain} showing a {class}
test_templates: simple
paraphrase_templates: ["look, a {class}"]
domain_words:
  art_painting: [canvas, oil]
  Sketch: pencil
synonyms:
  no: [nope]
translations:
  No: [nein, "das ist kein Ja"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "prompts.yaml").write_text(YAML, encoding="utf-8")
    return tmp_path / "prompts.yaml"


# ---- files


def test_every_key_reaches_the_prompts(file: Path) -> None:
    grid = read_prompts(file).grid(["no", "yes"], ["art painting", "sketch"])
    assert grid.class_prompts("no") == ["the no"]
    assert grid.cell_prompts("no", "art painting") == [
        "a canvas showing a no",
        "an oil showing a no",
    ]
    assert grid.cell_prompts("no", "sketch") == ["a pencil showing a no"]
    assert grid.test_prompts()[0] == [t("no") for t in open_clip.SIMPLE_IMAGENET_TEMPLATES]
    assert grid.paraphrase_prompts() == [["look, a nope"], ["look, a yes"]]
    assert grid.translation_prompts() == [["nein", "das ist kein Ja"], []]


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    data = {"test_templates": ["my {class}"], "synonyms": {"dog": ["puppy"]}}
    (tmp_path / "a.json").write_text(json.dumps(data))
    (tmp_path / "a.yml").write_text('test_templates: ["my {class}"]\nsynonyms: {dog: puppy}\n')
    assert read_prompts(tmp_path / "a.json") == read_prompts(tmp_path / "a.yml")


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("imagenet", open_clip.OPENAI_IMAGENET_TEMPLATES),
        ("simple", open_clip.SIMPLE_IMAGENET_TEMPLATES),
    ],
)
def test_open_clips_templates_by_name_are_open_clips(name: str, theirs: tuple) -> None:
    grid = read_prompts(name).grid(["dog", "cat"], ["photo"])
    assert grid.test_prompts() == [[t(c) for t in theirs] for c in ("dog", "cat")]
    assert grid.class_prompts("dog") == ConceptGrid(["dog"], ["photo"]).class_prompts("dog")


def test_a_grid_file_lists_classes_and_domains_and_keeps_every_name_a_text(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(
        'classes: [no, 007, "a, b"]\ndomains: [photo]\nclass_templates: ["my {class}"]\n'
    )
    grid = read_grid(tmp_path / "g.yaml")
    assert grid.classes == ("no", "007", "a, b") and grid.class_prompts("a, b") == ["my a, b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "test_template: [a]",
            ['unknown key "test_template"', 'mean "test_templates"', "synonyms"],
        ),
        ("classes: [dog]", ['unknown key "classes"']),
        ("- a", ["is not a mapping"]),
        ("test_templates: openai", ["`test_templates`", "'openai'", "imagenet or simple"]),
        ("cell_templates: imagenet", ["`cell_templates`", "list of texts"]),
        ("test_templates: []", ["`test_templates`", "list of texts"]),
        ("test_templates: [{a: b}]", ["`test_templates`", "list of texts"]),
        ("test_templates: ['a dog']", ["a dog", "has no {class}"]),
        ("test_templates: ['a {class} in {domain}']", ["{domain}", "which nothing fills"]),
        ("cell_templates: ['a {class}']", ["has no {domain}"]),
        ("domain_words: [a]", ["`domain_words`", "mapping"]),
        ("domain_words: {skecth: [x]}", ['unknown domain "skecth"', 'mean "sketch"']),
        ("synonyms: {dgo: [x]}", ['unknown class "dgo"', 'mean "dog"']),
        ("translations: [Hund]", ["`translations`", "mapping"]),
        ("translations: {dgo: [Hund]}", ['unknown class "dgo"', 'mean "dog"']),
        ("translations: {dog: []}", ["`translations: dog`", "list of texts"]),
        (
            "translations: {dog: [Hund], cat: [Katze, hund]}",
            ['"hund"', 'for "dog" and for "cat"', "one class"],
        ),
        ("translation: {dog: [Hund]}", ['unknown key "translation"', 'mean "translations"']),
        ("synonyms: {dog: {a: b}}", ["`synonyms: dog`", "list of texts"]),
        ("a: [", ["cannot be read"]),
        (
            "a: b\ntest_templates: [my {class}]",
            ["p.yaml, line 2 cannot be read", 'need quotes: "a {class}"'],
        ),
        ("!!python/object/apply:os.system [ls]", ["is not a mapping"]),
    ],
)
def test_a_wrong_file_is_named_with_what_would_be_right(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_prompts(tmp_path / "p.yaml").grid(["dog", "cat"], ["photo", "sketch"])
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_missing_file_and_a_grid_without_domains_are_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"no prompts file .*none\.yaml.*imagenet or simple"):
        read_prompts(tmp_path / "none.yaml")
    (tmp_path / "g.yaml").write_text("classes: [dog]")
    with pytest.raises(PromptError, match=r"g\.yaml has no `domains`"):
        read_grid(tmp_path / "g.yaml")
    with pytest.raises(UnknownNameError, match="sketch"):
        (tmp_path / "g.yaml").write_text(
            "classes: [dog]\ndomains: [sketch]\ndomain_words: {skech: [x]}"
        )
        read_grid(tmp_path / "g.yaml")


# ---- names of every script


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_every_script_go_from_folder_to_distinct_tokens(
    tmp_path: Path, form: str, clip: Clip
) -> None:
    """NFD is how macOS may write a name; a request is typed as NFC."""
    for number, name in enumerate(NAMES):
        folder = tmp_path / "photo" / unicodedata.normalize(form, name)
        folder.mkdir(parents=True)
        picture(number, 8).save(folder / "0.png")
    images = open_images(tmp_path)
    grid = grid_of(images)
    assert set(grid.classes) == {n.replace("_", " ").replace("-", " ") for n in NAMES}
    assert all(ForgetRequest([name]).on(grid).classes for name in NAMES)
    rows = TOKENIZER([grid.test_prompts()[i][0] for i in range(len(NAMES))])
    assert len({tuple(row.tolist()) for row in rows}) == len(NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_prompts(TOKENIZER, grid)
    task = make_task(clip, grid, encode(clip, images, progress=False, cache=False))
    assert len(task.images) == len(NAMES) and len(features_key(clip, images)) == 16


@pytest.mark.parametrize(("a", "b"), [("ｄｏｇ", "dog"), ("a&amp;b", "a&b")])
def test_two_names_of_the_same_tokens_are_refused_by_name(a: str, b: str) -> None:
    assert torch.equal(*TOKENIZER([a, b]))
    with pytest.raises(PromptError) as caught:
        check_prompts(TOKENIZER, ConceptGrid([a, b, "cat"], ["photo"]))
    assert f'"{a}" and "{b}"' in str(caught.value)


def test_long_names_that_differ_past_the_context_are_refused() -> None:
    long = "very " * 80
    with pytest.raises(PromptError, match="same tokens"):
        check_prompts(TOKENIZER, ConceptGrid([f"{long} dog", f"{long} cat"], ["photo"]))


@pytest.mark.parametrize(("words", "warned"), [(72, False), (90, True)])
def test_a_prompt_that_is_cut_off_is_a_warning(words: int, warned: bool) -> None:
    grid = ConceptGrid(
        ["dog " * words, "cat"],
        ["photo"],
        class_templates=["{class}"],
        test_templates=["a {class}"],
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_prompts(TOKENIZER, grid)
    assert bool(caught) == warned
    if warned:
        assert "context of 77 tokens" in str(caught[0].message)


def test_the_usual_templates_still_hold_where_a_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("synonyms: {dog: [puppy]}")
    grid = read_prompts(tmp_path / "p.yaml").grid(["dog", "cat"], ["photo"])
    assert grid.test_templates == TEST_TEMPLATES and grid.words_for("photo")[0] == "photo"


def test_translations_are_encoded_as_they_stand_and_only_where_given(
    clip: Clip, features: Features
) -> None:
    given = ConceptGrid(
        ["cat", "dog", "house"], ["art painting", "photo", "sketch"], translations={"dog": "Hund"}
    )
    task = make_task(clip, given, features)
    assert [len(rows) for rows in task.translations] == [0, 1, 0]
    torch.testing.assert_close(task.translations[1], clip.text_features(["Hund"]))
    plain = make_task(clip, ConceptGrid(given.classes, given.domains), features)
    assert plain.translations == () and all(map(torch.equal, plain.paraphrases, task.paraphrases))
