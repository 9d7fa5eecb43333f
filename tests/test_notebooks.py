"""The course: its form, and that each notebook runs alone in a clean copy, exercises solved.

They are read as committed, then executed by nbval, which compares what they show.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import statistics
import subprocess
from functools import cache
from pathlib import Path

import nbformat
import pytest
from execute import compare, execute, offline_profile
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


def with_solutions(path: Path) -> int:
    """Put each solution, with what it should print, into a cell after its text; how many."""
    notebook = nbformat.read(path, 4)
    cells: list[NotebookNode] = []
    solutions = 0
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type != "markdown":
            continue
        for source, printed in SOLUTION.findall(cell.source):
            output = nbformat.v4.new_output("stream", text=printed.strip("\n") + "\n")
            solution = nbformat.v4.new_code_cell(source, outputs=[output], execution_count=1)
            cells.append(solution)
            solutions += 1
    notebook.cells = cells
    nbformat.write(notebook, path)
    return solutions


@of_all
def test_it_runs_alone_in_a_clean_copy_and_shows_what_it_promises(
    name: str, tmp_path: Path
) -> None:
    """Outputs are those that are committed, and solutions print what their text says."""
    folder = tmp_path / "copy"
    folder.mkdir()
    copy_of_the_notebooks(folder)
    with_solutions(folder / f"{name}.ipynb")
    done = compare(folder / f"{name}.ipynb", offline_profile(tmp_path / "ipython"))
    assert done.returncode == 0, done.stdout


def test_a_notebook_that_shows_something_else_fails(tmp_path: Path) -> None:
    """What this file relies on: nbval compares, solutions too."""
    cell = nbformat.v4.new_code_cell("print(6 * 7)", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", text="42\n")]
    text = """<details><summary>Solution</summary>

```python
print(6 + 7)
```

```text
13
```

Why: it adds.</details>"""
    ipython = offline_profile(tmp_path / "ipython")
    for said, code in (("13", 0), ("12", 1)):
        cells = [cell, nbformat.v4.new_markdown_cell(text.replace("13", said))]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "", "language": "python"}
        nbformat.write(notebook, tmp_path / "small.ipynb")
        assert with_solutions(tmp_path / "small.ipynb") == 1
        done = compare(tmp_path / "small.ipynb", ipython)
        assert done.returncode == code, done.stdout


def test_papermill_runs_a_notebook_as_it_is(tmp_path: Path) -> None:
    folder = copy_of_the_notebooks(tmp_path)
    done = execute(folder / f"{COURSE[0]}.ipynb", folder, offline_profile(tmp_path / "ipython"))
    assert done.returncode == 0, done.stderr
    executed = nbformat.read(folder / f"{COURSE[0]}.executed.ipynb", 4).cells
    assert complaints([c for c in executed if c.cell_type == "code"]) == []
