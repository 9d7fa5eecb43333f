"""The course: its form, and that each notebook runs alone in a clean copy, exercises solved.

Their outputs are compared by `make nbval`; here they are read as committed, then executed by
papermill.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future
from functools import cache
from pathlib import Path

import nbformat
import pytest
from execute import execute, offline_profile, selected, two_at_a_time
from nbformat import NotebookNode
from tiny import ROOT

COURSE = (
    "00_setup_check",
    "01_what_clip_knows",
    "02_visual_prototypes",
    "03_the_null_space",
    "04_forget_everywhere",
    "05_forget_in_one_domain",
    "06_forget_a_whole_domain",
    "07_choosing_the_strength",
    "08_what_was_really_forgotten",
    "09_compare_methods",
    "10_your_own_clip_and_images",
)
FOLDER = ROOT / "notebooks"
SOLUTION = re.compile(
    r"<details><summary>Solution</summary>\n\n"
    r"```python\n(.+?)\n```\n\n"
    r"```text\n(.+?)\n```\n\n"
    r"(?:Why: .+?)</details>",
    re.DOTALL,
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Anything from the root of a file system, or of a Windows drive; addresses and closing tags are
# none.
ABSOLUTE = re.compile(r"(?<![\w.:/<~])/(?:[\w.@+-]+/)+[\w.@+-]*|\b[A-Z]:\\\w")

of_the_course = pytest.mark.parametrize("name", COURSE)
of_all = pytest.mark.parametrize("name", (*COURSE, "report"))


@cache
def read(name: str) -> NotebookNode:
    path = FOLDER / f"{name}.ipynb"
    assert path.is_file(), f"notebooks/{name}.ipynb is missing"
    return nbformat.read(path, 4)


def code(name: str) -> list[NotebookNode]:
    return [c for c in read(name).cells if c.cell_type == "code"]


def prose(name: str) -> list[NotebookNode]:
    return [c for c in read(name).cells if c.cell_type == "markdown"]


def texts(output: NotebookNode) -> list[str]:
    """What an output says, pictures left out."""
    if output.output_type == "stream":
        return [output.text]
    if output.output_type == "error":
        return [output.evalue, *output.traceback]
    return [v for k, v in output.data.items() if isinstance(v, str) and not k.startswith("image/")]


def complaints(cells: list[NotebookNode]) -> list[str]:
    """Errors, warnings and outputs over a megabyte, as lines."""
    found = []
    for cell in cells:
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"{output.ename}: {output.evalue}")
            if output.output_type == "stream" and output.name == "stderr":
                found.append(f"stderr: {output.text[:300]}")
            if (size := len(json.dumps(output))) > 1_000_000:
                found.append(f"an output of {size / 1e6:.1f} MB after: {cell.source[:60]}")
    return found


# ---- the committed files


def test_the_notebooks_are_the_course_and_the_report() -> None:
    assert {p.stem for p in FOLDER.glob("*.ipynb")} == {*COURSE, "report"}


@of_all
def test_it_is_a_valid_notebook_without_widget_state(name: str) -> None:
    """The state of a widget is random names and pictures; the static row below stands in for it."""
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3" and "widgets" not in notebook.metadata
    assert len({c.id for c in notebook.cells}) == len(notebook.cells)


@of_all
def test_every_code_cell_was_executed_in_order(name: str) -> None:
    """nbval does not compare a notebook whose execution_count is null."""
    assert [c.execution_count for c in code(name)] == list(range(1, len(code(name)) + 1))


@of_all
def test_committed_outputs_hold_no_error_no_warning_and_no_megabyte(name: str) -> None:
    assert complaints(code(name)) == []


@of_all
def test_nothing_speaks_of_one_machine(name: str) -> None:
    said = [t for c in code(name) for o in c.outputs for t in texts(o)] + [
        c.source for c in read(name).cells
    ]
    assert [m[0] for t in said for m in ABSOLUTE.finditer(t)] == []


def test_the_pattern_of_absolute_paths_finds_them_and_spares_the_rest() -> None:
    slash = "/"
    for bad in ("opt/x.py", "data/clip", "var/cache/x", "usr/lib/python3"):
        assert ABSOLUTE.search(f"saved to {slash}{bad}") and ABSOLUTE.search(f'"{slash}{bad}"')
    assert ABSOLUTE.search(r"C:\Users")
    for good in (
        "https://arxiv.org/abs/2103.00020",
        "and/or/not",
        "./out/clip",
        "../data/x",
        "</td></tr>",
        "1 / 16 / 2",
    ):
        assert not ABSOLUTE.search(good), good


# ---- the form of a lesson


@of_the_course
def test_cells_are_short_and_explained(name: str) -> None:
    lines = [sum(bool(line.strip()) for line in c.source.splitlines()) for c in code(name)]
    median, longest, share = (
        statistics.median(lines),
        max(lines),
        len(prose(name)) / len(code(name)),
    )
    assert median <= 6 and longest <= 20 and share >= 1.2


@of_the_course
def test_code_is_plain_python_with_all_imports_on_top(name: str) -> None:
    """No magics (they are no Python), no path tricks, nothing that hides an error of a callback."""
    trees = [ast.parse(c.source) for c in code(name)]
    nodes = [list(ast.walk(tree)) for tree in trees]
    imports = [
        i
        for i, tree in enumerate(nodes)
        if any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in tree)
    ]
    assert imports == [0], "imports belong in the first code cell"
    names = {n.id for tree in nodes for n in tree if isinstance(n, ast.Name)}
    names |= {n.attr for tree in nodes for n in tree if isinstance(n, ast.Attribute)}
    names |= {
        a.name
        for tree in nodes
        for n in tree
        if isinstance(n, (ast.Import, ast.ImportFrom))
        for a in n.names
    }
    assert not names & {
        "Output",
        "interact",
        "interactive",
        "interactive_output",
        "interact_manual",
        "get_ipython",
    }
    assert not any("sys.path" in c.source or "tqdm" in c.source for c in code(name))


@of_the_course
def test_every_picture_has_a_text_for_those_who_do_not_see_it(name: str) -> None:
    shown = [o for c in code(name) for o in c.outputs if "data" in o]
    assert [
        o.data
        for o in shown
        if "<Figure" in o.data.get("text/plain", "") and "image/png" not in o.data
    ] == []
    pictures = [o for o in shown if "image/png" in o.data]
    assert all(o.metadata.get("image/png", {}).get("alt", "").strip() for o in pictures)
    assert not any("![](" in c.source for c in prose(name))


@of_the_course
def test_it_opens_with_aims_and_closes_with_what_next(name: str) -> None:
    first, number = prose(name)[0].source, name[:2]
    assert read(name).cells[0].cell_type == "markdown" and first.startswith(f"# {number} · ")
    assert all(f"**{word}**" in first for word in ("You will be able to", "Before", "Time"))
    end = "\n".join(c.source for c in read(name).cells[-4:] if c.cell_type == "markdown")
    assert re.search(r"\bSummary\b", end) and re.search(r"\bFurther reading\b", end)
    if name != COURSE[-1]:
        after = COURSE[COURSE.index(name) + 1]
        assert re.search(rf"\bNext\b.*\]\({after}\.ipynb\)", end, re.DOTALL)


@of_the_course
def test_links_lead_somewhere(name: str) -> None:
    links = [m[1] for c in prose(name) for m in LINK.finditer(c.source)]
    local = [link for link in links if not re.match(r"https?://|#|attachment:", link)]
    assert [link for link in local if not (FOLDER / link.split("#")[0]).exists()] == []


@pytest.mark.parametrize("name", COURSE[1:-1])
def test_it_has_a_live_panel(name: str) -> None:
    shown = [o.get("data", {}).get("text/plain", "") for c in code(name) for o in c.outputs]
    assert any(text.startswith("Live panel") for text in shown)


@of_the_course
def test_every_exercise_has_a_folded_solution_with_its_output(name: str) -> None:
    text = "\n\n".join(c.source for c in prose(name))
    tasks, folded = len(re.findall(r"(?m)^### Exercise", text)), text.count("<summary>Solution")
    assert len(SOLUTION.findall(text)) == folded == tasks >= 2
    assert text.count("<details>") == text.count("</details>")


# ---- executed in a clean copy


def copy_of_the_notebooks(to: Path) -> Path:
    """The notebooks as git would ship them, far from the checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "notebooks"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    names = (
        listed.stdout.split("\0")
        if not listed.returncode
        else [f"notebooks/{p.name}" for p in FOLDER.iterdir()]
    )
    for path in (ROOT / n for n in names if n):
        if path.is_file():
            shutil.copy(path, to)
    return to


def with_solutions(path: Path) -> dict[str, str]:
    """Put each solution into a cell after its text; returns what each such cell should print."""
    notebook = nbformat.read(path, 4)
    cells: list[NotebookNode] = []
    expected: dict[str, str] = {}
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type != "markdown":
            continue
        for source, printed in SOLUTION.findall(cell.source):
            solution = nbformat.v4.new_code_cell(source)
            cells.append(solution)
            expected[solution.id] = printed
    notebook.cells = cells
    nbformat.write(notebook, path)
    return expected


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future]]:
    """Every notebook of this session, executed: (folder, what solutions should print, process)."""
    ipython = offline_profile(tmp_path_factory.mktemp("ipython"))

    def run(name: str):
        folder = copy_of_the_notebooks(tmp_path_factory.mktemp("copy"))
        expected = with_solutions(folder / f"{name}.ipynb")
        return folder, expected, execute(folder / f"{name}.ipynb", folder, ipython)

    with two_at_a_time(selected(request, "name", "runs"), run) as futures:
        yield futures


@of_the_course
def test_it_runs_alone_in_a_clean_copy_and_its_solutions_print_what_they_promise(
    name: str, runs
) -> None:
    folder, expected, done = runs[name].result()
    assert done.returncode == 0, done.stderr
    cells = [
        c
        for c in nbformat.read(folder / f"{name}.executed.ipynb", 4).cells
        if c.cell_type == "code"
    ]
    assert complaints(cells) == []
    printed = {
        c.id: "".join(o.text for o in c.outputs if o.output_type == "stream" and o.name == "stdout")
        for c in cells
        if c.id in expected
    }
    assert {i: tidy(t) for i, t in printed.items()} == {i: tidy(t) for i, t in expected.items()}


def tidy(text: str) -> list[str]:
    """Lines without what the eye does not see at their ends."""
    return [line.rstrip() for line in text.strip("\n").splitlines()]
