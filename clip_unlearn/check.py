"""Is this machine ready for the notebooks? Run `python -m clip_unlearn.check`.

Only the standard library is imported up here, and whatever a check raises is its finding. So in a
checkout, `python clip_unlearn/check.py` says what to fix even if the package cannot be imported.
With `--prefetch MODEL[:TAG]` it fetches a CLIP and checks nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.markers import Marker

PIP = "python -m pip install"
RESTORE = "git restore data, and remove what git does not know; or install again"
GB = 1e9
LOCAL = ("127.", "::1", "localhost", "0.0.0.0", "/")  # "/": a socket file
SHIPPED = ("four_domains", "bundled_clip", "prototypes")
MARKS = {True: "[OK]", False: "[FAIL]", None: "[--]"}

# ok, detail, and what to do if that is not what the check usually says.
Finding = tuple[bool | None, str] | tuple[bool | None, str, str]


@dataclass(frozen=True)
class Check:
    """One check and what it found."""

    name: str

    ok: bool | None
    """None if something optional is missing."""

    detail: str
    """What is there, or what is wrong."""

    fix: str = ""
    """What to do, unless it is ok."""

    optional: bool = False
    """Whether the course can do without it."""


# ---- Python and its packages


def _python() -> Finding:
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    needed = metadata.metadata("clip_unlearn")["Requires-Python"]
    fits = SpecifierSet(needed).contains(version, prereleases=True)
    return fits, f"{version} at {sys.executable} (needs {needed})"


def _installed(distribution: str, extra: str = "", only: str = "") -> Finding:
    """Whether all that a distribution requires is here; with `extra`, all that the extra adds.

    `only` leaves out requirements without this word in their names. What to do names whatever is
    missing or of a wrong version.
    """
    from packaging.requirements import Requirement

    right = []
    wrong = []
    to_install = []
    for line in metadata.requires(distribution) or ():
        requirement = Requirement(line)
        if only not in requirement.name or not _applies(requirement.marker, extra):
            continue
        version = _version(requirement.name)
        shown = f"{requirement.name} {version or 'is not installed'}"
        if version and requirement.specifier.contains(version, prereleases=True):
            right.append(shown)
        else:
            wrong.append(shown)
            to_install.append(f'"{requirement.name}{requirement.specifier}"')
    return not wrong, ", ".join(wrong or right), f"{PIP} {' '.join(to_install)}"


def _applies(marker: Marker | None, extra: str) -> bool:
    """Whether a requirement holds here; with `extra`, whether the extra alone makes it hold."""
    always = marker is None or marker.evaluate({"extra": ""})
    if not extra:
        return always
    return not always and marker.evaluate({"extra": extra})


def _version(distribution: str) -> str:
    """The version that is installed, or ""."""
    for installed in metadata.distributions(name=distribution):
        return installed.version
    return ""


def _packages() -> Finding:
    return _installed("clip_unlearn")


def _test_tools() -> Finding:
    return _installed("clip_unlearn", "test")


def _torchvision() -> Finding:
    import torch
    import torchvision

    # An operator in C++: it is missing if the two do not fit together.
    boxes = torch.tensor([[0.0, 0, 2, 2], [0.0, 0, 2, 2]])
    scores = torch.tensor([0.5, 0.9])
    kept = torchvision.ops.nms(boxes, scores, 0.5)
    fits = kept.tolist() == [1]
    return fits, f"torch {torch.__version__}, torchvision {torchvision.__version__}"


def _open_clip() -> Finding:
    import open_clip

    return True, open_clip.__version__


# ---- what the course brings along


def _shipped_files() -> Finding:
    from clip_unlearn.core.cache import bundled

    root = bundled("bundled_clip").parent
    checksums = root / "CHECKSUMS.txt"
    if not checksums.is_file():
        return None, "not compared: CHECKSUMS.txt comes with a checkout only", "nothing to do"

    expected = {}
    for line in checksums.read_text().splitlines():
        digest, name = line.split("  ", 1)
        expected[name] = digest

    actual = {}
    for folder in SHIPPED:
        for path in (root / folder).rglob("[!.]*"):
            if path.is_file():
                name = path.relative_to(root).as_posix()
                actual[name] = hashlib.sha256(path.read_bytes()).hexdigest()

    names = sorted(expected | actual)
    wrong = [name for name in names if expected.get(name) != actual.get(name)]
    if wrong:
        return False, f"changed, missing or unknown: {', '.join(wrong[:3])} ({len(wrong)})"
    return True, f"{len(actual)} files"


def _bundled_clip() -> Finding:
    from clip_unlearn.images.datasets import encode
    from clip_unlearn.images.inputs import open_inputs
    from clip_unlearn.measure.evaluate import Task, predict
    from clip_unlearn.models.clip import load_clip

    clip = load_clip(device="cpu")
    images, grid = open_inputs("bundled", 1)
    fifth = slice(None, None, 5)
    few = replace(
        images,
        paths=images.paths[fifth],
        class_of=images.class_of[fifth],
        domain_of=images.domain_of[fifth],
    )
    features = encode(clip, few, progress=False, cache=False)
    prompts = tuple(clip.text_features(row) for row in grid.test_prompts())
    task = Task(grid, features, prompts, ())

    heads = clip.heads
    named = predict(task, heads["visual"].weight, heads["text"].weight)
    right = int((named == few.class_of).sum())
    return right == len(few), f"names {right} of {len(few)} pictures"


def _prototypes() -> Finding:
    import torch

    from clip_unlearn.core.ondemand.kept import OnDemand
    from clip_unlearn.images.inputs import open_inputs
    from clip_unlearn.measure.setting import SurveyConfig
    from clip_unlearn.models.clip import load_clip

    clip = load_clip(device="cpu")
    _, grid = open_inputs("bundled")
    usual = SurveyConfig()
    every = torch.full(grid.shape, usual.per_cell)
    missing = OnDemand(clip, grid, usual.seed).missing(every)
    if not missing:
        return True, f"{usual.per_cell} pictures of each cell"
    return False, f"{missing} of {every.sum()} pictures are missing"


# ---- Jupyter and the machine


def _widgets() -> Finding:
    version = metadata.version("ipywidgets")
    pair_fits, pair, _ = _installed("ipywidgets", only="jupyterlab")
    files = metadata.files("jupyterlab_widgets") or ()
    managers = [file for file in files if file.match("jupyterlab-manager/package.json")]
    extended = any(Path(file.locate()).is_file() for file in managers)
    new_enough = int(version.split(".")[0]) >= 8
    where = f"{'in' if extended else 'not in'} {sys.prefix}"
    detail = f"ipywidgets {version}, {pair}, labextension {where}"
    return new_enough and pair_fits and extended, detail


def _kernel() -> Finding:
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    python = manager.format_kernel_cmd()[0]
    spec = manager.kernel_spec.resource_dir

    # Ask that Python which one it is; it may be gone.
    question = "import os, sys; print(os.path.realpath(sys.prefix), sys.hexversion)"
    command = [python, "-c", question]
    answer = ""
    with contextlib.suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        answer = done.stdout.strip()

    this_python = f"{Path(sys.prefix).resolve()} {sys.hexversion}"
    if answer == this_python:
        return True, f"{spec} starts {python}"
    detail = f"{spec} starts {python}, but this Python is {sys.executable}"
    fix = f"python -m ipykernel install --sys-prefix; where that does not help, remove {spec}"
    return False, detail, fix


def _cache() -> Finding:
    from clip_unlearn.core.cache import cache_dir

    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
    free = shutil.disk_usage(folder).free / GB
    return free >= 0.5, f"{free:.1f} GB free in {folder} (needs 0.5)"


def _memory() -> Finding:
    # It comes with most of Jupyter; without it this optional check fails, and no more.
    from psutil import virtual_memory

    free = virtual_memory().available / GB
    return free >= 3, f"{free:.1f} GB free (3 are comfortable)"


# ---- all checks

# Name, what looks, what to do in the usual case, whether it is optional.
CHECKS: tuple[tuple[str, Callable[[], Finding], str, bool], ...] = (
    (
        "Python is new enough",
        _python,
        "make an environment with a newer Python, then pip install -e .",
        False,
    ),
    ("packages are installed", _packages, f"{PIP} -e . in the checkout", False),
    ("test tools are installed", _test_tools, f'{PIP} -e ".[test]"', True),
    (
        "torch and torchvision fit",
        _torchvision,
        f"{PIP} --force-reinstall torch torchvision, both in one go",
        False,
    ),
    ("open_clip imports", _open_clip, f"{PIP} open_clip_torch", False),
    ("shipped files are intact", _shipped_files, RESTORE, False),
    ("bundled CLIP names what it sees", _bundled_clip, RESTORE, False),
    (
        "prototypes are at hand",
        _prototypes,
        f"{RESTORE}; else the first run makes them, in minutes",
        False,
    ),
    (
        "widgets show in JupyterLab",
        _widgets,
        f"{PIP} --force-reinstall ipywidgets jupyterlab_widgets",
        False,
    ),
    ("Jupyter's kernel is this Python", _kernel, "python -m ipykernel install --sys-prefix", False),
    (
        "cache can be written",
        _cache,
        "set CLIP_UNLEARN_CACHE to a folder with room that you may write to",
        False,
    ),
    ("memory suffices", _memory, "close other programs and other notebooks' kernels", True),
)


def checks() -> list[Check]:
    """Run every check, in the order in which to fix what fails.

    Nothing reaches the network, and whatever tries to is a finding.
    """
    asked_for: list[str] = []
    with _no_network(asked_for), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = [_look(*row) for row in CHECKS]

    hosts = ", ".join(dict.fromkeys(asked_for)) or "nothing"
    network = Check("no network is needed", not asked_for, f"asked for {hosts}")
    if asked_for:
        fix = "fix what failed above; HF_HUB_OFFLINE=1 keeps the hub from asking"
        network = replace(network, fix=fix)
    return [*done, network]


def _look(name: str, look: Callable[[], Finding], fix: str, optional: bool) -> Check:
    """Run one check; an optional one is never a failure."""
    try:
        ok, detail, *special_fix = look()
    except Exception as error:
        first_line = f"{type(error).__name__}: {error}".splitlines()[0]
        ok, detail, special_fix = False, first_line, []
    if ok:
        return Check(name, True, detail, "", optional)
    optional = optional or ok is None
    fix = special_fix[0] if special_fix else fix
    return Check(name, None if optional else False, detail, fix, optional)


@contextlib.contextmanager
def _no_network(asked_for: list[str]) -> Iterator[None]:
    """Inside, looking up or connecting to another machine fails, and is listed in `asked_for`."""
    connect = socket.socket.connect
    look_up = socket.getaddrinfo

    def refuse(host: object) -> None:
        if not isinstance(host, str) or not host or host.startswith(LOCAL):
            return
        asked_for.append(host)
        raise OSError(f"a check may not reach {host}")

    def local_connect(self: socket.socket, address: object) -> None:
        refuse(address[0] if isinstance(address, tuple) else address)
        connect(self, address)

    def local_look_up(host: object, *args: object, **kwargs: object) -> list:
        refuse(host)
        return look_up(host, *args, **kwargs)

    with (
        _replaced(socket.socket, "connect", local_connect),
        _replaced(socket, "getaddrinfo", local_look_up),
    ):
        yield


@contextlib.contextmanager
def _replaced(owner: object, name: str, function: Callable) -> Iterator[None]:
    """Inside, `owner.name` is `function`; afterwards it is what it was, its own or inherited."""
    own = vars(owner).get(name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


# ---- what people read


def report(found: Sequence[Check], versions: bool = False) -> str:
    """A line for each check, what to do about it below, and a summary.

    Without versions it reads the same on every machine that is ready: details and what is optional
    are left out.
    """
    shown = [check for check in found if versions or not check.optional]
    lines = []
    for check in shown:
        line = f"{MARKS[check.ok]:6} {check.name}"
        if versions or not check.ok:
            line += f": {check.detail}"
        lines.append(line)
        if not check.ok:
            label = "optional" if check.optional else "fix"
            lines.append(f"       {label}: {check.fix}")

    failed = sum(check.ok is False for check in shown)
    passed = sum(check.ok is True for check in shown)
    if failed:
        lines.append(f"{failed} check{'s' * (failed > 1)} failed; fix them from the top.")
    else:
        lines.append(f"Ready: {passed} checks passed.")
    return "\n".join(lines)


def prefetch(spec: str) -> None:
    """Load MODEL[:TAG] once, so that the hub's cache keeps it.

    Raises ModelError for a model that cannot be loaded, ConnectionError without network.
    """
    import open_clip
    from huggingface_hub import constants

    from clip_unlearn.models import clip, hub

    if spec.startswith(hub.PREFIX):
        name, tag = spec, ""
        known = True
    else:
        name, _, tag = spec.partition(":")
        known = bool(open_clip.get_pretrained_cfg(name.replace("/", "-"), tag))
    if known:
        hub.reach(constants.ENDPOINT)
    clip.load_clip(name, tag or None, device="cpu")  # it also says what is wrong with a name


def main(arguments: Sequence[str] | None = None) -> int:
    """0: ready (or fetched); 1: something failed; 2: no such model."""
    parser = argparse.ArgumentParser(
        prog="python -m clip_unlearn.check", description="Is this machine ready for the notebooks?"
    )
    parser.add_argument(
        "--prefetch", metavar="MODEL[:TAG]", help="download an open_clip model, and check nothing"
    )
    spec = parser.parse_args(arguments).prefetch
    if spec:
        try:
            prefetch(spec)
        except ConnectionError as error:
            parser.exit(1, f"{error}\n")
        except ValueError as error:  # a ModelError is one
            parser.exit(2, f"{error}\n")
        print(f"{spec} loads; with HF_HUB_OFFLINE=1 it does so without network from now on.")
        return 0

    found = checks()
    print(report(found, versions=True))
    return int(any(check.ok is False for check in found))


if __name__ == "__main__":
    if not __package__:  # run as a file: its folder holds modules that are no top-level modules
        sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.exit(main())
