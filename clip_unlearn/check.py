"""Is this machine ready for the notebooks? `python -m clip_unlearn.check`; --prefetch fetches a CLIP beforehand.

Only the standard library is imported up here, and whatever a check raises is its finding: in a
checkout, `python clip_unlearn/check.py` says what to mend even where the package cannot be
imported.
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
from importlib import import_module, metadata
from pathlib import Path
from unittest import mock

PIP, RESTORE = (
    "python -m pip install",
    "git restore data, and remove what git does not know; or install again",
)
GB, PROBE_SECONDS, LOCAL = (
    1e9,
    4.0,
    ("127.", "::1", "localhost", "0.0.0.0", "/"),
)  # "/": a socket file
Finding = tuple  # ok, detail, and a mend where the usual one of the check does not fit


@dataclass(frozen=True)
class Check:
    """One finding: ok is True, False, or None where something optional is missing; `mend` is then what to do."""

    name: str
    ok: bool | None
    detail: str
    mend: str = ""
    optional: bool = False


def _python() -> Finding:
    found, needed = platform.python_version(), metadata.metadata("clip_unlearn")["Requires-Python"]
    fits = (
        import_module("packaging.specifiers").SpecifierSet(needed).contains(found, prereleases=True)
    )
    return fits, f"{found} at {sys.executable} (needs {needed})"


def _installed(distribution: str, extra: str = "", only: str = "") -> Finding:
    """What a distribution requires here, or what its extra adds; the mend names what is missing or too old."""
    from packaging.requirements import Requirement

    found, wrong = [], []
    for r in map(Requirement, metadata.requires(distribution) or ()):
        plain = r.marker is None or r.marker.evaluate({"extra": ""})
        if (
            plain == bool(extra)
            or not (plain or r.marker.evaluate({"extra": extra}))
            or only not in r.name
        ):
            continue
        version = next((d.version for d in metadata.distributions(name=r.name)), "")
        fits = version and r.specifier.contains(version, prereleases=True)
        (found if fits else wrong).append((r, f"{r.name} {version or 'is not installed'}"))
    mend = " ".join(f'"{r.name}{r.specifier}"' for r, _ in wrong)
    return not wrong, ", ".join(text for _, text in wrong or found), f"{PIP} {mend}"


def _torchvision() -> Finding:
    torch, torchvision = import_module("torch"), import_module("torchvision")
    # Compiled: it is missing where the two do not fit together.
    kept = torchvision.ops.nms(torch.tensor([[0.0, 0, 2, 2]] * 2), torch.tensor([0.5, 0.9]), 0.5)
    return kept.tolist() == [1], f"torch {torch.__version__}, torchvision {torchvision.__version__}"


def _shipped_files() -> Finding:
    root = import_module("clip_unlearn.core.cache").bundled("bundled_clip").parent
    if not (root / "CHECKSUMS.txt").is_file():
        return None, "not compared: CHECKSUMS.txt comes with a checkout only", "nothing to do"
    listed = dict(
        reversed(line.split("  ", 1)) for line in (root / "CHECKSUMS.txt").read_text().splitlines()
    )
    files = [
        p
        for folder in ("four_domains", "bundled_clip", "prototypes")
        for p in (root / folder).rglob("[!.]*")
    ]
    found = {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
        if p.is_file()
    }
    wrong = sorted(name for name in listed | found if listed.get(name) != found.get(name))
    return (
        not wrong,
        f"changed, missing or unknown: {', '.join(wrong[:3])} ({len(wrong)})"
        if wrong
        else f"{len(found)} files",
    )


def _bundled_clip() -> Finding:
    from clip_unlearn.images.datasets import encode
    from clip_unlearn.images.inputs import open_inputs
    from clip_unlearn.measure.evaluate import Task, predict
    from clip_unlearn.models.clip import load_clip

    clip, (images, grid), step = (
        load_clip(device="cpu"),
        open_inputs("bundled", 1),
        slice(None, None, 5),
    )
    few = replace(
        images,
        paths=images.paths[step],
        class_of=images.class_of[step],
        domain_of=images.domain_of[step],
    )
    prompts = tuple(clip.text_features(row) for row in grid.test_prompts())
    task = Task(grid, encode(clip, few, progress=False, cache=False), prompts, ())
    right = int(
        (
            predict(task, clip.heads["visual"].weight, clip.heads["text"].weight) == few.class_of
        ).sum()
    )
    return right == len(few), f"names {right} of {len(few)} pictures"


def _prototypes() -> Finding:
    from clip_unlearn import load_clip
    from clip_unlearn.core import cache, prototypes
    from clip_unlearn.images.inputs import open_inputs
    from clip_unlearn.measure.setting import SurveyConfig

    config, (_, grid) = SurveyConfig(), open_inputs("bundled")
    name = f"{prototypes.prototype_key(load_clip(device='cpu'), grid, config.per_cell, config.seed)}.safetensors"
    places = cache.bundled("prototypes"), cache.cache_dir() / "prototypes"
    found = [f"in {place}" for place in places if (place / name).is_file()]
    return bool(found), f"{name} is {(found or ['not kept anywhere'])[0]}"


def _widgets() -> Finding:
    version, (pair, what, _) = (
        metadata.version("ipywidgets"),
        _installed("ipywidgets", only="jupyterlab"),
    )
    manager = [
        f
        for f in metadata.files("jupyterlab_widgets") or ()
        if f.match("jupyterlab-manager/package.json")
    ]
    here = "in" if any(Path(f.locate()).is_file() for f in manager) else "not in"
    fits = int(version.split(".")[0]) >= 8 and pair and here == "in"
    return fits, f"ipywidgets {version}, {what}, labextension {here} {sys.prefix}"


def _kernel() -> Finding:
    manager = import_module("jupyter_client.manager").KernelManager(kernel_name="python3")
    python, where, told = manager.format_kernel_cmd()[0], manager.kernel_spec.resource_dir, ""
    who = "import os, sys; print(os.path.realpath(sys.prefix), sys.hexversion)"
    with contextlib.suppress(OSError):  # the Python that it names may be gone
        told = subprocess.run(
            [python, "-c", who], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    if told.strip() == f"{Path(sys.prefix).resolve()} {sys.hexversion}":
        return True, f"{where} starts {python}"
    mend = f"python -m ipykernel install --sys-prefix; where that does not help, remove {where}"
    return False, f"{where} starts {python}, but this Python is {sys.executable}", mend


def _cache() -> Finding:
    folder = import_module("clip_unlearn.core.cache").cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
    free = shutil.disk_usage(folder).free / GB
    return free >= 0.5, f"{free:.1f} GB free in {folder} (needs 0.5)"


def _memory() -> Finding:
    from psutil import (
        virtual_memory,
    )  # comes with most of Jupyter; without it memory is not looked at

    return (free := virtual_memory().available / GB) >= 3, f"{free:.1f} GB free (3 are comfortable)"


# Name, what looks, the usual mend, whether it is optional.
CHECKS: tuple[tuple[str, Callable[[], Finding], str, bool], ...] = (
    (
        "Python is new enough",
        _python,
        "make an environment with a newer Python, then pip install -e .",
        False,
    ),
    (
        "packages are installed",
        lambda: _installed("clip_unlearn"),
        f"{PIP} -e . in the checkout",
        False,
    ),
    (
        "test tools are installed",
        lambda: _installed("clip_unlearn", "test"),
        f'{PIP} -e ".[test]"',
        True,
    ),
    (
        "torch and torchvision fit",
        _torchvision,
        f"{PIP} --force-reinstall torch torchvision, both in one go",
        False,
    ),
    (
        "open_clip imports",
        lambda: (True, import_module("open_clip").__version__),
        f"{PIP} open_clip_torch",
        False,
    ),
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


@contextlib.contextmanager
def _no_network(tried: list[str]) -> Iterator[None]:
    """Inside, looking up or connecting to another machine fails, and is listed in `tried`."""

    def guard(real: Callable, place: int) -> Callable:
        def guarded(*args, **kwargs):
            target = (*args, *kwargs.values())[place]
            host = target[0] if isinstance(target, tuple) else target
            if not host or isinstance(host, bytes) or host.startswith(LOCAL):
                return real(*args, **kwargs)
            tried.append(host)
            raise OSError(f"a check may not reach {host}")

        return guarded

    connect, look_up = guard(socket.socket.connect, 1), guard(socket.getaddrinfo, 0)
    with (
        mock.patch.object(socket.socket, "connect", connect),
        mock.patch.object(socket, "getaddrinfo", look_up),
    ):
        yield


def _look(name: str, look: Callable[[], Finding], mend: str, optional: bool) -> Check:
    try:
        ok, detail, *other = look()
    except Exception as error:
        ok, detail, other = False, f"{type(error).__name__}: {error}".splitlines()[0], []
    optional = optional or ok is None
    return Check(
        name,
        ok or (None if optional else False),
        detail,
        "" if ok else (other or [mend])[0],
        optional,
    )


def checks() -> list[Check]:
    """Look at everything, in the order of mending; nothing reaches the network, and what tries to is a finding."""
    tried: list[str] = []
    with _no_network(tried), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [_look(*row) for row in CHECKS]
    asked = ", ".join(dict.fromkeys(tried)) or "nothing"
    last = (
        not tried,
        f"asked for {asked}",
        "mend what failed above; HF_HUB_OFFLINE=1 keeps the hub from asking",
    )
    return [*found, _look("no network is needed", lambda: last, "", False)]


def report(found: Sequence[Check], versions: bool = False) -> str:
    """A line for each check, its mend below it, and a summary.

    Without versions it reads the same on every machine that is ready: details and what is optional
    are left out.
    """
    shown = [c for c in found if versions or not c.optional]
    lines, mark = [], {True: "OK", False: "FAIL", None: "--"}
    for c in shown:
        lines.append(
            f"{f'[{mark[c.ok]}]':6} {c.name}" + (f": {c.detail}" if versions or not c.ok else "")
        )
        lines += [] if c.ok else [f"       {'optional' if c.optional else 'mend'}: {c.mend}"]
    passed, failed = (sum(c.ok is wanted for c in shown) for wanted in (True, False))
    summary = f"{failed} check{'s' * (failed > 1)} failed; mend them from the top."
    return "\n".join([*lines, summary if failed else f"Ready: {passed} checks passed."])


def _reach(address: str) -> None:
    import_module("clip_unlearn.models.hub").reach(address, PROBE_SECONDS)


def prefetch(spec: str) -> None:
    """Load MODEL[:TAG] once, so that open_clip keeps it. Raises ModelError, or ConnectionError without network."""
    import open_clip

    name, tag = (spec, "") if spec.startswith("hf-hub:") else spec.partition(":")[::2]
    if spec.startswith("hf-hub:") or open_clip.get_pretrained_cfg(name.replace("/", "-"), tag):
        _reach(import_module("huggingface_hub.constants").ENDPOINT)
    import_module("clip_unlearn.models.clip").load_clip(
        name, tag or None, device="cpu"
    )  # a wrong name is its to explain


def main(arguments: Sequence[str] | None = None) -> int:
    """0: ready (or fetched); 1: something failed; 2: no such model."""
    parser = argparse.ArgumentParser(
        prog="python -m clip_unlearn.check", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--prefetch", metavar="MODEL[:TAG]", help="download an open_clip model, and check nothing"
    )
    if spec := parser.parse_args(arguments).prefetch:
        try:
            prefetch(spec)
        except (ConnectionError, ValueError) as error:  # an InputError is a ValueError
            parser.exit(1 if isinstance(error, ConnectionError) else 2, f"{error}\n")
        print(f"{spec} loads; with HF_HUB_OFFLINE=1 it does so without network from now on.")
        return 0
    print(report(found := checks(), versions=True))
    return int(any(c.ok is False for c in found))


if __name__ == "__main__":
    if not __package__:  # run as a file: its folder holds modules that are no top-level modules
        sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.exit(main())
