"""The environment check: all passes here, each check can fail, and a failure says what to do."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import psutil
import pytest
import torch
import torchvision
from tiny import ROOT

from clip_unlearn import BUNDLED_SYNONYMS, bundled_images, check, grid_of, load_clip
from clip_unlearn.check import CHECKS, Check, checks, main, report
from clip_unlearn.core import cache as paths
from clip_unlearn.core.ondemand import kept
from clip_unlearn.core.ondemand.store import Rows
from clip_unlearn.core.synthesis import Synthesis
from clip_unlearn.models import clip as models
from clip_unlearn.models import hub as hub_module

ROWS = {row[0]: row for row in CHECKS}
PACKAGES = "packages are installed"
TOOLS = "test tools are installed"
TORCH = "torch and torchvision fit"
FILES = "shipped files are intact"
CLIP = "bundled CLIP names what it sees"
PROTOTYPES = "prototypes are at hand"
WIDGETS = "widgets show in JupyterLab"
KERNEL = "Jupyter's kernel is this Python"
CACHE = "cache can be written"
MEMORY = "memory suffices"
NETWORK = "no network is needed"


def look(name: str) -> Check:
    """One check of the table."""
    return check._look(*ROWS[name])


@pytest.fixture(scope="module")
def ready() -> list[Check]:
    """Every check, on this very machine."""
    return checks()


# ---- a machine that is ready


def test_everything_passes_here_and_what_passes_needs_nothing_done(ready: list[Check]) -> None:
    assert [c.name for c in ready] == [*ROWS, NETWORK]
    for found in ready:
        assert found.ok is True or found.optional
        assert found.detail
        assert not (found.ok and found.fix)


def test_what_is_optional_is_so_whether_it_passes_or_not(ready: list[Check]) -> None:
    assert {c.name for c in ready if c.optional} == {TOOLS, MEMORY}


def test_the_report_for_a_notebook_is_the_same_on_every_ready_machine(ready: list[Check]) -> None:
    """No version, path or number in it but the count; only what is required can change it."""
    text = report(ready)
    *lines, summary = text.splitlines()
    required = [c for c in ready if not c.optional]
    assert lines == [f"[OK]   {c.name}" for c in required]
    assert summary == f"Ready: {len(required)} checks passed."
    assert not re.search(r"[\d/\\]", "".join(lines))

    elsewhere = [replace(c, detail="9.9 elsewhere", fix="other") for c in ready]
    elsewhere = [replace(c, ok=None) if c.optional else c for c in elsewhere]
    assert report(elsewhere) == text


def test_the_report_with_versions_shows_every_detail(ready: list[Check]) -> None:
    text = report(ready, versions=True)
    assert all(f"{c.name}: {c.detail}" in text for c in ready)
    assert torch.__version__ in text and sys.executable in text


def test_failures_are_counted_and_say_what_is_wrong_and_what_to_do_in_either_report() -> None:
    good = Check("a", True, "fine")
    bad = Check("b", False, "broken", "do this")
    missing = Check("c", None, "not there", "or that", True)
    for versions in (False, True):
        text = report([good, bad, missing], versions)
        assert "[FAIL] b: broken\n       fix: do this\n" in text
        assert text.endswith("\n1 check failed; fix them from the top.")
        assert ("[--]   c: not there\n       optional: or that" in text) == versions
    assert report([bad, bad]).endswith("\n2 checks failed; fix them from the top.")
    assert report([good, missing], True).endswith("\nReady: 1 checks passed.")


@pytest.mark.parametrize(
    ("findings", "code"), [((True,), 0), ((True, None), 0), ((False, True), 1), ((None, False), 1)]
)
def test_the_exit_code_is_1_where_something_required_failed(
    findings: tuple, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    found = [Check("a", ok, "", "", ok is None) for ok in findings]
    monkeypatch.setattr(check, "checks", lambda: found)
    assert main([]) == code
    assert capsys.readouterr().out == report(found, versions=True) + "\n"


# ---- each check can fail


def installed_is(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Pretend that distributions have other versions; None: not installed."""
    real, real_version = metadata.distributions, metadata.version

    def distributions(name: str) -> list:
        known = name.replace("-", "_")
        if known not in versions:
            return real(name=name)
        return [SimpleNamespace(version=versions[known])] if versions[known] else []

    monkeypatch.setattr(metadata, "distributions", distributions)
    monkeypatch.setattr(metadata, "version", lambda name: versions.get(name) or real_version(name))


def old_python(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setattr(platform, "python_version", lambda: "3.9.18")


def no_seaborn_and_old_torch(patch: pytest.MonkeyPatch, _: Path) -> None:
    installed_is(patch, seaborn=None, torch="2.3.1")


def too_new_open_clip(patch: pytest.MonkeyPatch, _: Path) -> None:
    installed_is(patch, open_clip_torch="4.0.0")


def no_nbval(patch: pytest.MonkeyPatch, _: Path) -> None:
    installed_is(patch, nbval=None)


def other_torchvision(patch: pytest.MonkeyPatch, _: Path) -> None:
    def nms(*_) -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    patch.setattr(torchvision.ops, "nms", nms)


def wrong_torchvision(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setattr(torchvision.ops, "nms", lambda *_: torch.tensor([0]))


def no_open_clip(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setitem(sys.modules, "open_clip", None)


def ship(patch: pytest.MonkeyPatch, root: Path) -> Path:
    """A small data folder with one file in each place, checksums in step; returns one of them."""
    files = [
        root / "data" / folder / "x.bin"
        for folder in ("four_domains", "bundled_clip", "prototypes")
    ]
    for path in files:
        path.parent.mkdir(parents=True)
        path.write_bytes(path.parent.name.encode())
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.parent.name}/x.bin\n" for p in files
    ]
    (root / "data" / "CHECKSUMS.txt").write_text("".join(lines))
    patch.setattr(paths, "PACKAGE", root / "clip_unlearn")
    assert look(FILES).ok
    return files[0]


def changed_file(patch: pytest.MonkeyPatch, root: Path) -> None:
    ship(patch, root).write_bytes(b"changed")


def missing_file(patch: pytest.MonkeyPatch, root: Path) -> None:
    ship(patch, root).unlink()


def unknown_file(patch: pytest.MonkeyPatch, root: Path) -> None:
    ship(patch, root).with_name("y.bin").write_bytes(b"")


def clip_without_sense(patch: pytest.MonkeyPatch, _: Path) -> None:
    clip = load_clip(device="cpu")
    head = clip.heads["visual"]
    head.write(torch.rand(head.weight.shape, generator=torch.Generator().manual_seed(0)))
    patch.setattr(models, "load_clip", lambda **_: clip)


def no_bundled_files(patch: pytest.MonkeyPatch, root: Path) -> None:
    patch.setattr(paths, "PACKAGE", root / "clip_unlearn")


def other_recipe(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setattr(kept, "RECIPE", "another")


def old_ipywidgets(patch: pytest.MonkeyPatch, _: Path) -> None:
    installed_is(patch, ipywidgets="7.8.1")


def other_half_of_the_pair(patch: pytest.MonkeyPatch, _: Path) -> None:
    installed_is(patch, jupyterlab_widgets="1.1.7")


def no_labextension(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setattr(metadata, "files", lambda _: [])


def kernelspec(patch: pytest.MonkeyPatch, root: Path, python: str) -> None:
    """A kernelspec `python3` that Jupyter finds before all others."""
    folder = root / "kernels" / "python3"
    folder.mkdir(parents=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "x", "language": "python"})
    )
    patch.setenv("JUPYTER_PATH", str(root))


def kernel_of_a_python_that_is_gone(patch: pytest.MonkeyPatch, root: Path) -> None:
    kernelspec(patch, root, str(root / "gone" / "python"))


def kernel_of_another_python(patch: pytest.MonkeyPatch, root: Path) -> None:
    other = root / "python"
    other.write_text(f'#!{sys.executable}\nprint("elsewhere", {sys.hexversion})\n')
    other.chmod(0o755)
    kernelspec(patch, root, str(other))


def cache_in_a_file(patch: pytest.MonkeyPatch, root: Path) -> None:
    (root / "file").write_text("")
    patch.setenv("CLIP_UNLEARN_CACHE", str(root / "file" / "cache"))


def cache_of_somebody_else(patch: pytest.MonkeyPatch, _: Path) -> None:
    """Not by chmod, which does not bind everybody."""

    def refuse(**_) -> None:
        raise PermissionError("not yours")

    patch.setattr(tempfile, "TemporaryFile", refuse)


def full_disk(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4e8))


def little_memory(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2.9e9))


# What is broken, the check that notices, words of its detail, words of what to do.
BROKEN = [
    (old_python, "Python is new enough", ["3.9.18", ">=3.10"], ["newer Python"]),
    (
        no_seaborn_and_old_torch,
        PACKAGES,
        ["seaborn is not", "torch 2.3.1"],
        ['pip install "seaborn>=', '"torch>='],
    ),
    (too_new_open_clip, PACKAGES, ["4.0.0"], ['pip install "open-clip-torch<4,>=']),
    (no_nbval, TOOLS, ["nbval is not installed"], ['pip install "nbval>=']),
    (
        other_torchvision,
        TORCH,
        ["operator torchvision::nms"],
        ["pip install --force-reinstall torch torchvision"],
    ),
    (wrong_torchvision, TORCH, [torchvision.__version__], ["both in one go"]),
    (no_open_clip, "open_clip imports", ["open_clip"], ["pip install open_clip_torch"]),
    (changed_file, FILES, ["four_domains/x.bin (1)"], ["git restore data"]),
    (missing_file, FILES, ["four_domains/x.bin (1)"], ["git restore data"]),
    (unknown_file, FILES, ["four_domains/y.bin (1)"], ["git restore data, and remove"]),
    (clip_without_sense, CLIP, ["of 13 pictures"], ["git restore data"]),
    (no_bundled_files, CLIP, ["bundled_clip"], ["git restore data"]),
    (other_recipe, PROTOTYPES, ["512 of 512 pictures"], ["git restore data", "minutes"]),
    (
        old_ipywidgets,
        WIDGETS,
        ["ipywidgets 7.8.1"],
        ["pip install --force-reinstall ipywidgets jupyterlab_widgets"],
    ),
    (
        other_half_of_the_pair,
        WIDGETS,
        ["jupyterlab_widgets 1.1.7"],
        ["ipywidgets jupyterlab_widgets"],
    ),
    (no_labextension, WIDGETS, ["labextension not in"], ["ipywidgets jupyterlab_widgets"]),
    (
        kernel_of_a_python_that_is_gone,
        KERNEL,
        ["gone", sys.executable],
        ["ipykernel install --sys-prefix", "remove"],
    ),
    (
        kernel_of_another_python,
        KERNEL,
        [sys.executable],
        ["python -m ipykernel install --sys-prefix"],
    ),
    (cache_in_a_file, CACHE, ["file"], ["CLIP_UNLEARN_CACHE"]),
    (cache_of_somebody_else, CACHE, ["not yours"], ["CLIP_UNLEARN_CACHE"]),
    (full_disk, CACHE, ["0.4 GB free"], ["CLIP_UNLEARN_CACHE"]),
    (little_memory, MEMORY, ["2.9 GB free"], ["close other programs"]),
]


@pytest.mark.parametrize(
    ("broken", "name", "detail", "fix"), BROKEN, ids=lambda x: getattr(x, "__name__", "")
)
def test_what_is_broken_is_found_and_what_to_do_is_said(
    broken: Callable,
    name: str,
    detail: list,
    fix: list,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    broken(monkeypatch, tmp_path)
    found = look(name)
    assert found.ok is (None if name in (TOOLS, MEMORY) else False)
    assert all(words in found.detail for words in detail), found
    assert all(words in found.fix for words in fix), found
    assert "\n" not in found.detail + found.fix


def test_every_check_is_broken_once_above() -> None:
    assert {row[1] for row in BROKEN} == ROWS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_whatever_a_check_raises_is_its_finding(name: str) -> None:
    def raises() -> tuple:
        raise KeyError("unforeseen")

    found = check._look(name, raises, *ROWS[name][2:])
    assert not found.ok and "unforeseen" in found.detail and found.fix == ROWS[name][2]


def test_markers_and_extras_decide_what_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ['absent>=1; python_version < "3"', 'absent; extra == "gpu"', "seaborn>=0.1"]
    monkeypatch.setattr(metadata, "requires", lambda _: requires)
    assert look(PACKAGES).ok and look(PACKAGES).detail.startswith("seaborn")
    assert look(TOOLS).ok and not look(TOOLS).detail
    requires.append('absent; python_version >= "3"')
    assert look(PACKAGES).ok is False and 'install "absent"' in look(PACKAGES).fix


def test_an_installed_wheel_has_no_checksums_and_that_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "clip_unlearn" / "_data").mkdir(parents=True)
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "clip_unlearn")
    found = look(FILES)
    assert found.ok is None and found.optional and "checkout only" in found.detail


def test_prototypes_in_the_cache_will_do(
    monkeypatch: pytest.MonkeyPatch, fresh_cache: Path
) -> None:
    monkeypatch.setattr(kept, "RECIPE", "another")
    clip, grid = load_clip(device="cpu"), grid_of(bundled_images(), BUNDLED_SYNONYMS)
    cells = [(c, k, i) for c in range(16) for k in range(4) for i in range(8)]
    names, _ = kept.picture_names(clip, grid, cells, torch.eye(1), 0, Synthesis())
    store = Rows(kept.PICTURES, clip.fingerprint())
    store.add(names[1:], torch.ones(len(names) - 1, 1))
    assert not look(PROTOTYPES).ok and "1 of 512" in look(PROTOTYPES).detail
    store.add(names[:1], torch.ones(1, 1))
    assert look(PROTOTYPES).ok


@pytest.mark.parametrize("python", ["python", "python3", sys.executable])
def test_a_kernelspec_that_starts_this_python_is_fine(
    python: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Jupyter reads a bare `python` as its own."""
    kernelspec(monkeypatch, tmp_path, python)
    found = look(KERNEL)
    assert found.ok and str(tmp_path) in found.detail


# ---- no network


def by_name() -> tuple:
    urllib.request.urlopen("http://example.org")


def by_address() -> tuple:
    with socket.socket() as plain:
        plain.connect(("192.0.2.1", 80))


def by_stealth() -> tuple:
    """As the Hugging Face hub does: the error is swallowed, and the check passes."""
    try:
        by_name()
    except OSError:
        return True, "fine"


@pytest.mark.parametrize(
    ("asks", "host"),
    [(by_name, "example.org"), (by_address, "192.0.2.1"), (by_stealth, "example.org")],
)
def test_asking_the_network_fails_at_once_and_is_named(
    asks: Callable, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (socket.socket.connect, socket.getaddrinfo)
    monkeypatch.setattr(check, "CHECKS", [("asks", asks, "fix", False)])
    start = time.perf_counter()
    first, last = checks()
    assert time.perf_counter() - start < 1
    assert first.ok is (asks is by_stealth)
    assert last.name == NETWORK and last.ok is False
    assert host in last.detail
    assert "HF_HUB_OFFLINE" in last.fix
    assert (socket.socket.connect, socket.getaddrinfo) == before


def test_what_was_replaced_is_exactly_what_it_was() -> None:
    """`connect` is inherited by Python's socket, so it must not stay behind as its own."""

    class Base:
        def inherited(self) -> str:
            return "base"

    class Derived(Base):
        def own(self) -> str:
            return "derived"

    before = dict(vars(Derived))
    for name in ("inherited", "own"):
        with pytest.raises(KeyError), check._replaced(Derived, name, lambda self: "other"):
            assert getattr(Derived(), name)() == "other"
            raise KeyError
    assert dict(vars(Derived)) == before


def test_this_machine_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jupyter talks to its kernels over local sockets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def local() -> tuple:
            socket.create_connection(("localhost", server.getsockname()[1])).close()
            return True, "connected"

        monkeypatch.setattr(check, "CHECKS", [("local", local, "", False)])
        assert all(c.ok for c in checks())


# ---- the package cannot even be imported


def test_as_a_file_it_runs_where_torch_does_not(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text('import sys; raise ImportError(f"broken {sys.path[0]}")')
    command = [sys.executable, str(ROOT / "clip_unlearn" / "check.py")]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "[OK]   Python is new enough" in done.stdout
    assert (
        f"[FAIL] {TORCH}: ImportError: broken {ROOT}\n       fix: python -m pip install"
        in done.stdout
    )
    assert re.search(r"\n\d checks failed; fix them from the top.\n$", done.stdout)


# ---- prefetch


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list:
    """What would have been loaded."""
    calls: list = []
    monkeypatch.setattr(
        models, "load_clip", lambda name, tag, device: calls.append((name, tag, device))
    )
    return calls


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list]:
    """A hub on this machine that refuses every request, which is an answer.

    Yields what it was asked.
    """
    asked: list[str] = []

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(
        huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}"
    )
    yield asked
    server.shutdown()
    server.server_close()


def exit_of(*arguments: str) -> int:
    try:
        return main([*arguments])
    except SystemExit as error:
        return error.code


@pytest.mark.parametrize(
    ("spec", "call"),
    [
        ("ViT-B-32:laion2b_s34b_b79k", ("ViT-B-32", "laion2b_s34b_b79k", "cpu")),
        ("ViT-B/32:openai", ("ViT-B/32", "openai", "cpu")),
        ("hf-hub:someone/some-clip", ("hf-hub:someone/some-clip", None, "cpu")),
    ],
)
def test_prefetch_asks_the_hub_and_loads_the_model_once(
    spec: str, call: tuple, loaded: list, hub: list, capsys
) -> None:
    assert exit_of("--prefetch", spec) == 0
    assert loaded == [call] and len(hub) == 1
    assert spec in capsys.readouterr().out


@pytest.mark.parametrize("hangs", [False, True], ids=["refused", "no answer"])
def test_prefetch_without_network_is_one_line_and_soon(
    hangs: bool, loaded: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
    if hangs:
        monkeypatch.setattr(hub_module.reach, "__defaults__", (1.0,))
    else:
        server.close()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    start = time.perf_counter()
    code = exit_of("--prefetch", "ViT-B-32:laion2b_s34b_b79k")
    seconds = time.perf_counter() - start
    written = capsys.readouterr().err
    server.close()
    assert code == 1 and seconds < 5.5 and loaded == []
    assert written.startswith(f"no network: {endpoint} cannot be reached")
    assert written.count("\n") == 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ViT-B-32:nope", ["nope", "laion2b_s34b_b79k"]),
        ("ViT-X:openai", ["ViT-X"]),
        ("ViT-B-32", ["ViT-B-32 needs"]),
    ],
)
def test_prefetch_of_an_unknown_model_says_so_without_asking_anyone(
    spec: str, words: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(hub_module, "reach", lambda address: pytest.fail(f"asked {address}"))
    assert exit_of("--prefetch", spec) == 2
    assert all(word in capsys.readouterr().err for word in words[:1])
