"""report.ipynb, run by papermill in a kernel of its own, and the HTML page of what it shows.

papermill and nbconvert take a second to import. Only `write_report` needs them, so it imports this
module when it is called.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import papermill
from jupyter_client.manager import AsyncKernelManager
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError
from traitlets import Dict
from traitlets.config import Config

from ..core.cache import bundled, cache_dir

# What nbconvert's template would fetch from elsewhere when a page is opened; a report uses none of
# it. Which of these traits there are depends on the version of nbconvert.
_REMOTE = (
    "mathjax_url",
    "mermaid_js_url",
    "mermaid_layout_elk_js_url",
    "require_js_url",
    "jquery_url",
    "widget_renderer_url",
)


class ReportKernel(AsyncKernelManager):
    """A kernel with environment variables of its own: neither papermill nor nbclient passes any."""

    variables = Dict(help="Set for the kernel alone, not in this process.").tag(config=True)

    async def start_kernel(self, **options: object) -> None:
        """Start the process with the environment of this one and the variables."""
        environment = os.environ | self.variables
        await super().start_kernel(env=environment, **options)


def run_notebook(parameters: Mapping[str, object], out: Path) -> None:
    """Execute report.ipynb with these parameters, in the folder of `out`, where the result goes.

    Raises RuntimeError for a cell that fails.
    """
    # The kernel runs in another folder, so the path of the cache must be absolute.
    settings: dict[str, object] = {"variables": {"CLIP_UNLEARN_CACHE": str(cache_dir())}}
    # Sockets of this machine rather than open TCP ports; Windows has none.
    if os.name != "nt":
        settings["transport"] = "ipc"
    try:
        with _no_warning_of_parameters():
            papermill.execute_notebook(
                bundled("notebooks") / "report.ipynb",
                out,
                dict(parameters),
                kernel_name="python3",
                # For the kernel, and for this process until it is done: the sockets have short
                # names in this folder, since long ones are an error.
                cwd=out.parent,
                progress_bar=False,
                execution_timeout=3600,
                kernel_manager_class=ReportKernel,
                config=Config({"ReportKernel": settings}),
            )
    except PapermillExecutionError as error:
        raise RuntimeError(f"the report notebook failed: {error.ename}: {error.evalue}") from error


@contextmanager
def _no_warning_of_parameters() -> Iterator[None]:
    """Inside, papermill does not warn of parameters that the first cell of a notebook leaves out.

    `ReportConfig` refuses the wrong ones itself. papermill writes to one logger for everybody, so
    that logger has a filter until the block ends. Blocks in several threads do not disturb each
    other, as they would if each set a level and put it back.
    """

    def other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Passed unknown parameter")

    logger = logging.getLogger("papermill")
    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


def render_html(notebook: Path) -> str:
    """The notebook without its code, as one HTML page that loads nothing from elsewhere."""
    remote = set(_REMOTE) & set(HTMLExporter.class_trait_names())
    exporter = HTMLExporter(
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=True,
        # A logger that nobody else has: pictures without a description are no news to the user.
        log=logging.Logger("report", logging.ERROR),
        **dict.fromkeys(remote, ""),
    )
    page, _ = exporter.from_filename(str(notebook))
    mermaid = r'<script type="module">(?:(?!</script>).)*mermaid.*?</script>'
    return re.sub(mermaid, "", page, flags=re.DOTALL)
