"""Each module of the room says in its docstring which notebooks it serves."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from tiny import ROOT

MODULES = sorted(path for path in (ROOT / "clip_unlearn/lessons").glob("[a-z]*.py"))


def imported(notebook: Path) -> set[str]:
    """The modules of lessons that a notebook imports from."""
    cells = json.loads(notebook.read_text())["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules |= set(re.findall(r"clip_unlearn\.lessons\.(\w+)", " ".join(names)))
    return modules


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_names_the_notebooks_that_import_it(module: Path) -> None:
    notebooks = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    users = [path.name[:2] for path in notebooks if module.stem in imported(path)]
    docstring = ast.get_docstring(ast.parse(module.read_text()))
    assert users
    assert re.findall(r"\b\d\d\b", docstring) == users
