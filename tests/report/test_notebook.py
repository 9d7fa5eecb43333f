"""The kernel of a report has what it needs, and the process that starts it is left as it was."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from clip_unlearn.report import notebook, report
from clip_unlearn.report.analysis import ReportConfig

SHOW = "import os; print(os.environ['CLIP_UNLEARN_CACHE'], os.getcwd())"
WRITE = "import pathlib; pathlib.Path('metrics.json').write_text('{\"seconds\": {}}')"


def write_template(folder: Path, code: str) -> None:
    """A report.ipynb of one cell of code, which takes the place of the real one."""
    parameters = new_code_cell("strength = 1.0", metadata={"tags": ["parameters"]})
    template = new_notebook(cells=[parameters, new_code_cell(code)])
    template.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    folder.mkdir()
    nbformat.write(template, folder / "report.ipynb")


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for a template, which stands for the bundled one; the cache is a relative path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", "own-cache")
    for module in (notebook, report):
        monkeypatch.setattr(module, "bundled", lambda _: tmp_path / "template")
    return tmp_path / "template"


def process_state() -> dict[str, object]:
    """Everything of this process that running a notebook may touch."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "threads": torch.get_num_threads(),
        "disabled": logging.root.manager.disable,
        "loggers": {
            logger.name: (logger.level, logger.disabled, logger.propagate, list(logger.filters))
            for logger in loggers
            if isinstance(logger, logging.Logger)
        },
    }


@contextmanager
def process_left_alone() -> Iterator[None]:
    """Fail if the block changes the state of the process; loggers of new imports may be added."""
    before = process_state()
    yield
    after = process_state()
    after["loggers"] = {name: after["loggers"][name] for name in before["loggers"]}
    assert after == before


def test_write_report_leaves_the_process_as_it_was(template: Path, tmp_path: Path) -> None:
    write_template(template, WRITE)
    config = ReportConfig(classes=("dog",), images_per_cell=1, save_clip=False)
    with process_left_alone():
        report.write_report(config, tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_report_that_fails_leaves_the_process_as_it_was(template: Path, tmp_path: Path) -> None:
    write_template(template, "raise ValueError('the cell failed')")
    config = ReportConfig(classes=("dog",), images_per_cell=1, save_clip=False)
    with process_left_alone(), pytest.raises(RuntimeError, match="ValueError: the cell failed"):
        report.write_report(config, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_the_kernel_has_the_cache_of_this_process_from_another_folder(
    template: Path, tmp_path: Path
) -> None:
    write_template(template, SHOW)
    out = tmp_path / "stage" / "report.ipynb"
    out.parent.mkdir()
    notebook.run_notebook({}, out)
    (printed,) = nbformat.read(out, 4).cells[-1].outputs
    assert printed.text.split() == [str(tmp_path / "own-cache"), str(tmp_path / "stage")]


def test_a_parameter_that_the_first_cell_leaves_out_is_no_warning(
    template: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_template(template, "assert limit_seed == 3")
    out = tmp_path / "stage" / "report.ipynb"
    out.parent.mkdir()
    notebook.run_notebook({"limit_seed": 3}, out)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
