"""README: its code runs, its commands and links exist, its tables are those of the CSVs."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import click
import nbformat
import pytest
from click.testing import CliRunner
from tiny import ROOT

from clip_unlearn.cli import main

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = (
    "README.md",
    "data/README.md",
    "notebooks/INSTRUCTORS.md",
    "tests/benchmarks/README.md",
    "tests/benchmarks/towers.md",
)
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^ {4}clip-unlearn (\w+)(.*?)(?: #.*)?$", re.MULTILINE)


def links(document: str) -> list[str]:
    """What a document links to, pictures left out."""
    return [target for picture, target in LINK.findall(document) if not picture]


def test_it_is_short_and_its_first_link_is_the_first_notebook() -> None:
    assert len(README.splitlines()) <= 150
    assert links(README)[0] == "notebooks/00_setup_check.ipynb"


# ---- code and commands


def test_ten_lines_of_python_forget_dog_sketches_and_save_the_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    assert len(ast.parse(block).body) == 10
    names: dict[str, object] = {}
    monkeypatch.chdir(tmp_path)

    exec(compile(block, "README.md", "exec"), names)

    accuracy = names["result"].pivot(index="group", columns="strength", values="accuracy")
    assert accuracy.loc["forget", 1] < 1 / 16 < accuracy.loc["forget", 0]
    assert (tmp_path / "dogless" / "open_clip_config.json").is_file()


def test_six_commands_are_shown_first_and_every_named_one_exists() -> None:
    section = README.split("## Six commands")[1].split("\n## ")[0]
    assert len(COMMAND.findall(section)) == 6
    named = set(re.findall(r"clip-unlearn (\w+)", README))
    assert named == set(main.commands)


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0 and "Usage:" in result.output


def test_commands_are_shown_with_options_that_they_have() -> None:
    for command, arguments in COMMAND.findall(README):
        options = [p for p in main.commands[command].params if isinstance(p, click.Option)]
        known = {name for option in options for name in option.opts}
        assert set(re.findall(r"--[a-z-]+", arguments)) <= known, command


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", README, re.MULTILINE)) <= targets


# ---- links, course, map


def anchors(document: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_relative_link_and_picture_resolves(name: str) -> None:
    document = ROOT / name
    for _, target in LINK.findall(document.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


def test_the_course_is_all_notebooks_with_the_minutes_that_they_name() -> None:
    rows = re.findall(r"^\| \[.+?\]\(notebooks/(.+?)\.ipynb\) \| (\d+) \|", README, re.MULTILINE)
    course = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    assert [name for name, _ in rows] == [path.stem for path in course]
    for (_, minutes), path in zip(rows, course, strict=True):
        header = nbformat.read(path, 4).cells[0].source
        assert re.search(r"\*\*Time\*\*: (\d+) minutes", header)[1] == minutes, path.stem


def test_the_map_names_exactly_the_rooms() -> None:
    package = ROOT / "clip_unlearn"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    table = README.split("## Map")[1]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(rooms)


# ---- tables

TABLES = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "tables.py"))


def test_tables_are_those_of_the_csvs() -> None:
    """If this fails, run `python tests/benchmarks/tables.py`."""
    shown: list[str] = []
    for path in TABLES["DOCUMENTS"]:
        document = path.read_text(encoding="utf-8")
        assert TABLES["renewed"](document) == document, path.name
        shown += [name for _, name, _ in TABLES["BLOCK"].findall(document)]
    assert sorted(shown) == sorted(TABLES["TABLES"])


def test_readme_has_one_table_of_results_with_at_most_eight_rows() -> None:
    ((_, name, _),) = TABLES["BLOCK"].findall(README)
    assert len(TABLES["TABLES"][name]().splitlines()) <= 2 + 8
