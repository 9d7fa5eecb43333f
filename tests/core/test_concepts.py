"""The grid and the request: paradigms are masks, and only the spelling of names is forgiving."""

from __future__ import annotations

import re

import pytest
import torch

from clip_unlearn import BUNDLED_SYNONYMS, ConceptGrid, ForgetRequest, all_requests
from clip_unlearn.core import InputError, UnknownNameError
from clip_unlearn.core.concepts import PARAPHRASE_TEMPLATES, TEST_TEMPLATES, fill, words

GRID = ConceptGrid(["cat", "dog", "palm_tree"], ["art_painting", "sketch"])


@pytest.mark.parametrize(
    ("request_", "paradigm", "mask"),
    [
        (ForgetRequest(["dog"]), "global", [[0, 0], [1, 1], [0, 0]]),
        (ForgetRequest(["cat", "dog"]), "global", [[1, 1], [1, 1], [0, 0]]),
        (ForgetRequest(["dog"], ["sketch"]), "domain-specific", [[0, 0], [0, 1], [0, 0]]),
        (
            ForgetRequest(["dog", "cat"], ["art painting"]),
            "domain-specific",
            [[1, 0], [1, 0], [0, 0]],
        ),
        (ForgetRequest(None, ["sketch"]), "whole-domain", [[0, 1], [0, 1], [0, 1]]),
    ],
    ids=str,
)
def test_a_paradigm_is_a_mask(
    request_: ForgetRequest, paradigm: str, mask: list[list[int]]
) -> None:
    assert request_.paradigm == paradigm
    assert torch.equal(request_.mask(GRID), torch.tensor(mask, dtype=torch.bool))


@pytest.mark.parametrize("spelling", ["palm_tree", "palm tree", "Palm-Tree", "  PALM  tree "])
def test_folder_spelling_and_capitals_do_not_matter(spelling: str) -> None:
    assert GRID.class_index(spelling) == 2
    assert ForgetRequest([spelling], ["Art_Painting"]).on(GRID) == ForgetRequest(
        ["palm tree"], ["art painting"]
    )


def test_names_are_words() -> None:
    assert GRID.classes == ("cat", "dog", "palm tree") and GRID.domains == (
        "art painting",
        "sketch",
    )
    assert words("art_painting") == words("art painting") == "art painting"


def test_an_unknown_name_names_the_nearest_and_lists_all() -> None:
    with pytest.raises(
        UnknownNameError, match=r'unknown class "dgo"\. Did you mean "dog"\?.*cat, dog, palm tree'
    ):
        ForgetRequest(["dgo"]).mask(GRID)
    with pytest.raises(
        UnknownNameError, match=r'unknown domain "sketsh"\. Did you mean "sketch"\?'
    ):
        ForgetRequest(["dog"], ["sketsh"]).mask(GRID)
    with pytest.raises(
        UnknownNameError, match=r'unknown class "xyzzy"\. The class names are'
    ) as caught:
        GRID.class_index("xyzzy")
    assert "Did you mean" not in str(caught.value)


def test_a_single_name_is_a_list_of_one() -> None:
    assert ForgetRequest("dog", "sketch") == ForgetRequest(["dog"], ["sketch"])


def test_a_name_given_twice_counts_once() -> None:
    assert ForgetRequest(["dog", "dog"]) == ForgetRequest(["dog"])
    assert ForgetRequest(["dog", "Dog"]).on(GRID) == ForgetRequest(["dog"])


@pytest.mark.parametrize("names", [(None, None), ([], []), ((), None)])
def test_naming_nothing_is_an_error(names: tuple) -> None:
    with pytest.raises(InputError, match="nothing to forget"):
        ForgetRequest(*names)


@pytest.mark.parametrize(
    "request_",
    [
        ForgetRequest(GRID.classes),
        ForgetRequest(None, GRID.domains),
        ForgetRequest(GRID.classes, GRID.domains),
    ],
    ids=str,
)
def test_a_request_for_everything_is_an_error(request_: ForgetRequest) -> None:
    with pytest.raises(InputError, match="covers the whole grid"):
        request_.mask(GRID)


def test_a_complete_request_stays_complete_and_is_for_classes(grid: ConceptGrid) -> None:
    request = ForgetRequest(["Dog"], ["sketch"], complete=True)
    assert request.on(grid).complete and "complete" in str(request)
    assert torch.equal(request.mask(grid), ForgetRequest(["dog"], ["sketch"]).mask(grid))
    assert all(r.complete for r in all_requests(grid, "domain-specific", complete=True))
    for whole in ({"domains": ["sketch"]}, {"classes": grid.classes, "domains": ["sketch"]}):
        with pytest.raises(InputError, match="complete is for classes"):
            ForgetRequest(**whole, complete=True).on(grid)


def test_a_request_reads_as_a_phrase() -> None:
    assert str(ForgetRequest(["dog"])) == "dog in all domains"
    assert str(ForgetRequest(None, ["sketch"])) == "everything in sketch"
    assert str(ForgetRequest(["dog", "cat"], ["sketch"])) == "dog, cat in sketch"


@pytest.mark.parametrize(
    ("paradigm", "count"), [("global", 3), ("domain-specific", 6), ("whole-domain", 2)]
)
def test_all_requests_cover_the_grid_once_each(paradigm: str, count: int) -> None:
    requests = all_requests(GRID, paradigm)
    assert len(requests) == count and {r.paradigm for r in requests} == {paradigm}
    assert torch.equal(
        sum(r.mask(GRID).int() for r in requests), torch.ones(GRID.shape, dtype=torch.int)
    )


def test_all_requests_of_an_unknown_paradigm_are_an_error() -> None:
    with pytest.raises(InputError, match='unknown paradigm "local"'):
        all_requests(GRID, "local")


# ---- grids and prompts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": []}, "at least one name in `classes`"),
        ({"domains": []}, "at least one name in `domains`"),
        ({"classes": ["dog", "dog"]}, "`classes` has the same name twice"),
        ({"classes": ["dog", "Dog"]}, "`classes` has the same name twice"),
        ({"domains": ["art_painting", "art painting"]}, "`domains` has the same name twice"),
        ({"class_templates": []}, "`class_templates` is empty"),
        (
            {"class_templates": ["a photo"]},
            r'template "a photo" in `class_templates` has no \{class\}',
        ),
        (
            {"cell_templates": ["a {class}"]},
            r'template "a \{class\}" in `cell_templates` has no \{domain\}',
        ),
        ({"cell_templates": ["a {domain}"]}, r"has no \{class\}"),
    ],
)
def test_a_grid_that_makes_no_sense_is_an_error(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ConceptGrid(**{"classes": ["cat"], "domains": ["photo"], **arguments})


def test_cell_prompts_are_templates_times_domain_words() -> None:
    templates = ["{domain}: {class}", "{class}/{domain}"]
    grid = ConceptGrid(
        ["dog"], ["sketch"], cell_templates=templates, domain_words={"sketch": ["A", "B"]}
    )
    assert grid.cell_prompts("dog", "sketch") == ["A: dog", "B: dog", "dog/A", "dog/B"]


def test_domain_words_are_the_grids_own_else_the_usual_else_the_name() -> None:
    grid = ConceptGrid(["dog"], ["sketch", "photo", "x ray"], domain_words={"sketch": ["scribble"]})
    assert grid.words_for("sketch") == ("scribble",)
    assert "photograph" in grid.words_for("photo")
    assert grid.words_for("x ray") == ("x ray",)


def test_class_prompts_name_no_domain() -> None:
    every_word = {w for d in GRID.domains for w in GRID.words_for(d)}
    for c in GRID.classes:
        prompts = GRID.class_prompts(c)
        assert prompts and all(c in p for p in prompts)
        assert not any(w in p for w in every_word for p in prompts)


def test_prompts_are_filled_even_where_names_hold_braces() -> None:
    grid = ConceptGrid(["dog {domain}"], ["photo"], domain_words={"photo": ["photo"]})
    assert all("{class}" not in p for p in grid.cell_prompts("dog {domain}", "photo"))
    assert "a dog {domain}" in grid.class_prompts("dog {domain}")


@pytest.mark.parametrize("request_", [([], ["sketch"]), (["dog"], ())], ids=str)
def test_an_empty_axis_is_no_axis_and_no_request_for_everything(request_: tuple) -> None:
    with pytest.raises(InputError, match="names nothing"):
        ForgetRequest(*request_)


@pytest.mark.parametrize(
    ("template", "name", "expected"),
    [
        ("a {class}", "dog", "a dog"),
        ("a {class}", "elephant", "an elephant"),
        ("an {class}", "dog", "a dog"),
        ("A {class}!", "umbrella", "An umbrella!"),
        ("this is a {class}", "unicorn", "this is a unicorn"),
        ("a {class}", "hour glass", "an hour glass"),
        ("the {class}", "apple", "the apple"),
        ("a nice {class}", "apple", "a nice apple"),
        ("banana {class}", "apple", "banana apple"),
    ],
)
def test_an_article_follows_the_name_after_it(template: str, name: str, expected: str) -> None:
    assert fill(template, "class", name) == expected


def test_articles_are_right_in_every_prompt_of_a_grid() -> None:
    grid = ConceptGrid(["apple", "dog"], ["art painting"], synonyms={"dog": ["old hound"]})
    of_cells = [p for c in grid.classes for p in grid.cell_prompts(c, "art painting")]
    assert "an art painting of an apple" in of_cells
    assert "an apple in an oil painting" in of_cells
    of_classes = [p for c in grid.classes for p in grid.class_prompts(c)]
    rest = [p for row in (*grid.test_prompts(), *grid.paraphrase_prompts()) for p in row]
    for prompt in (*of_cells, *of_classes, *rest):
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", prompt), prompt


def test_test_prompts_are_the_customary_ones() -> None:
    assert GRID.test_prompts()[1] == [fill(t, "class", "dog") for t in TEST_TEMPLATES]


def test_paraphrases_share_no_prompt_with_what_built_the_prototypes_or_what_classifies() -> None:
    grid = ConceptGrid(tuple(BUNDLED_SYNONYMS), ["photo", "sketch"], synonyms=BUNDLED_SYNONYMS)
    built = {
        p
        for c in grid.classes
        for d in grid.domains
        for p in grid.cell_prompts(c, d) + grid.class_prompts(c)
    }
    used = built | {p for row in grid.test_prompts() for p in row}
    for name, row in zip(grid.classes, grid.paraphrase_prompts(), strict=True):
        assert len(row) == len(PARAPHRASE_TEMPLATES) * len(BUNDLED_SYNONYMS[name])
        assert not used & set(row)


def test_synonyms_are_no_ones_class_name_and_belong_to_one_class() -> None:
    synonyms = [s for row in BUNDLED_SYNONYMS.values() for s in row]
    assert len(synonyms) == len(set(synonyms)) and not set(synonyms) & set(BUNDLED_SYNONYMS)
