"""The notebooks in a real JupyterLab: every cell runs, and the slider moves picture and numbers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

NOTEBOOKS = (
    "00_setup_check",
    "04_forget_everywhere",
    "05_forget_in_one_domain",
    "07_choosing_the_strength",
)
# What JupyterLab itself says in the console, whatever notebook is open.
NOISE = (r"favicon",)
# The notebook as JupyterLab holds it, so that cells scrolled out of sight count as well.
CELLS = """() => {
    const panel = window.jupyterapp?.shell.currentWidget
    if (!panel?.content?.model) return null
    const numbered = [...panel.content.model.cells].map((c, i) => [c, i])
    const code = numbered.filter(([c]) => c.type === "code")
    const shown = ([c, i]) => ({index: i, count: c.executionCount, outputs: c.outputs.toJSON()})
    return {
        idle: panel.sessionContext.session?.kernel?.status === "idle",
        cells: code.map(shown),
    }
}"""
SCROLL = "i => window.jupyterapp.shell.currentWidget.content.scrollToItem(i, 'start')"
PICTURE = """async img => {
    const bytes = new Uint8Array(await (await fetch(img.src)).arrayBuffer())
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
    return [img.naturalWidth, img.naturalHeight, bytes.length, ...digest].join(" ")
}"""
# The time from the release of a key or of the mouse to the new picture on the screen.
STOPWATCH = """img => {
    window.released = window.answered = null
    const release = () => { window.released ??= performance.now() }
    for (const end of ["keyup", "pointerup", "mouseup"])
        document.addEventListener(end, release, {capture: true, once: true})
    const drawn = () => requestAnimationFrame(() => { window.answered = performance.now() })
    img.addEventListener("load", drawn, {once: true})
}"""


class Notebook:
    """A notebook open in JupyterLab."""

    def __init__(self, page, name: str) -> None:
        self.page, self.name = page, name

    def run_all(self, seconds: float = 120) -> list[dict]:
        """Click Run > Run All Cells and wait until each cell has a number; returns the cells."""
        self.page.wait_for_function(
            f"() => {{ const s = ({CELLS})(); return s && s.idle }}", timeout=60_000
        )
        self.page.locator("#jp-MainMenu").get_by_text("Run", exact=True).click()
        self.page.locator(".lm-Menu").get_by_text(re.compile("^Run All Cells$")).click()
        done = f"() => {{ const s = ({CELLS})(); return s.idle && s.cells.every(c => c.count) }}"
        failed = f"({CELLS})().cells.some(c => c.outputs.some(o => o.output_type === 'error'))"
        self.page.wait_for_function(
            f"() => {failed} || ({done})()", timeout=seconds * 1000, polling=250
        )
        return self.cells()

    def cells(self) -> list[dict]:
        return self.page.evaluate(CELLS)["cells"]

    def shot(self, what: str) -> None:
        """Keep a screenshot where CLIP_UNLEARN_SHOTS says."""
        if folder := os.environ.get("CLIP_UNLEARN_SHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{self.name}-{what}.png")

    def show_panel(self) -> Panel:
        """Scroll to the first cell with a live panel."""
        (index, *_) = [
            cell["index"]
            for cell in self.cells()
            if any(
                "Live panel" in "".join(o.get("data", {}).get("text/plain", ""))
                for o in cell["outputs"]
            )
        ]
        self.page.evaluate(SCROLL, index)
        return Panel(self.page)


class Panel:
    """The panel on the screen: its first slider, its picture, its line of numbers."""

    def __init__(self, page) -> None:
        self.page = page
        box = (
            page.locator(".jp-OutputArea .widget-vbox")
            .filter(has=page.locator("img.widget-image"))
            .first
        )
        self.handle = box.locator(".noUi-handle").first
        self.track = box.locator(".noUi-base").first
        self.image = box.locator("img.widget-image")
        self.line = box.locator(".widget-html-content").last
        self.image.wait_for(state="visible", timeout=30_000)
        self.handle.scroll_into_view_if_needed()

    def state(self) -> tuple[str, str]:
        return self.image.evaluate(PICTURE), self.line.inner_text()

    def answer(self, move) -> float:
        """Make a move, wait until picture and numbers have both changed; returns milliseconds."""
        before = self.state()
        self.image.evaluate(STOPWATCH)
        move()
        self.page.wait_for_function("() => window.released && window.answered", timeout=20_000)
        for _ in range(40):
            after = self.state()
            if all(a != b for a, b in zip(after, before, strict=True)):
                return self.page.evaluate("() => window.answered - window.released")
            self.page.wait_for_timeout(50)
        pytest.fail(
            f"the slider moved and not both of picture and numbers changed: {before} -> {after}"
        )

    def right_is_farther(self) -> bool:
        """Whether the handle stands in the left half of the track."""
        now, low, high = (
            float(self.handle.get_attribute(f"aria-value{x}")) for x in ("now", "min", "max")
        )
        return now - low < high - now

    def step(self) -> None:
        """One step by an arrow key, towards the end that is farther away."""
        self.handle.focus()
        self.page.keyboard.press("ArrowRight" if self.right_is_farther() else "ArrowLeft")

    def drag(self) -> None:
        """Take the handle to the other half of the track with the mouse."""
        share = 0.8 if self.right_is_farther() else 0.2
        handle, track = self.handle.bounding_box(), self.track.bounding_box()
        y = handle["y"] + handle["height"] / 2
        self.page.mouse.move(handle["x"] + handle["width"] / 2, y)
        self.page.mouse.down()
        self.page.mouse.move(track["x"] + share * track["width"], y, steps=8)
        self.page.mouse.up()


@pytest.fixture
def notebook(name: str, lab, browser) -> Iterator[Notebook]:
    """An open notebook.

    Afterwards the console must be clean, and no other machine may have been asked for anything.
    """
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    complaints: list[str] = []
    abroad: list[str] = []
    page.on(
        "console",
        lambda m: (
            complaints.append(f"{m.text} ({m.location['url']})") if m.type == "error" else None
        ),
    )
    page.on("pageerror", lambda e: complaints.append(str(e)))
    page.on(
        "request",
        lambda r: (
            abroad.append(r.url) if not r.url.startswith((lab.url, "blob:", "data:")) else None
        ),
    )
    try:
        page.goto(lab.page(f"{name}.ipynb"))
        yield Notebook(page, name)
    finally:
        context.close()
        lab.stop_kernels()
    assert [c for c in complaints if not any(re.search(n, c) for n in NOISE)] == []
    assert abroad == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_cell_runs_and_the_slider_answers(notebook: Notebook) -> None:
    outputs = [o for cell in notebook.run_all() for o in cell["outputs"]]
    notebook.shot("run")
    assert [f"{o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"] == []
    panel = notebook.show_panel()
    width, height = map(int, panel.state()[0].split()[:2])
    assert width > 100 and height > 50
    notebook.shot("panel")
    milliseconds = [panel.answer(panel.step) for _ in range(3)]
    milliseconds.append(panel.answer(panel.drag))
    notebook.shot("moved")
    times = ", ".join(f"{m:.0f}" for m in milliseconds)
    print(f"\n{notebook.name}: key, key, key, mouse answered in {times} ms")
