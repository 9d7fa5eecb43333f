"""What holds the project together: files in step, small, free of one machine's paths, and drawn."""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # a dependency of pytest there

DATA = ROOT / "data"
SOURCES = sorted([*(ROOT / "clip_unlearn").rglob("*.py"), *DATA.rglob("*.py")])
# Written in pieces, so that this file does not hold what it forbids.
MACHINE_PATH = re.compile(
    rf"(?<![\w.])/(?:{'|'.join(('work', 'tmp', 'root', 'home', 'Users'))})/[\w.]"
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


# ---- environments


@pytest.fixture(scope="module")
def environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def test_environment_takes_conda_forge_and_no_defaults(environment: dict) -> None:
    assert environment["channels"] == ["conda-forge", "nodefaults"]


def test_environment_installs_what_pyproject_names_and_nothing_else(
    environment: dict, pyproject: dict
) -> None:
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    (installed,) = pip
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", installed)[1].split(",")
    assert "test" in extras and set(extras) <= pyproject["project"]["optional-dependencies"].keys()
    assert {re.match(r"[\w.-]+", d)[0] for d in plain} == {"python", "pip"}
    (python,) = [d for d in plain if d.startswith("python")]
    assert python.removeprefix("python") == pyproject["project"]["requires-python"]
    assert environment["name"] == pyproject["project"]["name"]


def test_every_import_is_declared_or_comes_with_what_is(pyproject: dict) -> None:
    """The packages of the design card, and what they bring with them."""
    # PIL comes with open_clip_torch, for example, and yaml with papermill.
    brought = {"PIL", "numpy", "pandas", "matplotlib", "mpl_toolkits", "safetensors"}
    brought |= {"torchvision", "timm", "tqdm", "click", "nbconvert", "nbformat", "nbclient"}
    brought |= {"IPython", "jupyter_client", "huggingface_hub", "yaml"}
    brought |= {"traitlets", "packaging", "psutil"}
    declared = {
        re.match(r"[\w-]+", d)[0].replace("open_clip_torch", "open_clip")
        for d in pyproject["project"]["dependencies"]
    }
    own = {"clip_unlearn", "drawing", "captions", "render", "training", "train_bundled_clip"}
    for source in SOURCES:
        nodes = list(ast.walk(ast.parse(source.read_text())))
        found = {a.name.split(".")[0] for n in nodes if isinstance(n, ast.Import) for a in n.names}
        found |= {
            n.module.split(".")[0] for n in nodes if isinstance(n, ast.ImportFrom) and not n.level
        }
        assert found <= declared | brought | own | sys.stdlib_module_names, name_of(source)


# ---- size


def test_data_is_at_most_25_megabytes() -> None:
    total = sum(
        p.stat().st_size for p in DATA.rglob("*") if p.is_file() and "__pycache__" not in p.parts
    )
    assert 1e6 < total <= 25e6


# ---- drawing


@pytest.fixture(scope="module")
def render() -> Iterator[ModuleType]:
    """data/render.py."""
    sys.path.insert(0, str(DATA))
    try:
        yield importlib.import_module("render")
    finally:
        sys.path.remove(str(DATA))


def test_shipped_files_are_those_of_the_checksums(render: ModuleType) -> None:
    assert render.check() == []


def test_check_names_a_file_that_changed(
    render: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, changed, unknown = (
        tmp_path / "prototypes" / f"{name}.bin" for name in ("kept", "changed", "unknown")
    )
    kept.parent.mkdir()
    for path in (kept, changed):
        path.write_bytes(b"before")
    monkeypatch.setattr(render, "HERE", tmp_path)
    monkeypatch.setattr(render, "CHECKSUMS", tmp_path / "CHECKSUMS.txt")
    render.write_checksums()
    assert render.check() == []
    changed.write_bytes(b"after")
    unknown.write_bytes(b"")
    assert render.check() == ["prototypes/changed.bin", "prototypes/unknown.bin"]


CELLS = [("photo", "dog"), ("painting", "teapot"), ("cartoon", "bus"), ("sketch", "palm_tree")]


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


@pytest.mark.parametrize(("domain", "name"), CELLS)
def test_a_picture_drawn_twice_is_the_same_and_others_differ(
    render: ModuleType, domain: str, name: str
) -> None:
    first, again = (render.draw("evaluation", domain, name, 0) for _ in range(2))
    assert first.shape == (96, 96, 3) and first.dtype == np.uint8 and np.array_equal(first, again)
    others = [("evaluation", domain, name, 1), ("training", domain, name, 0)]
    assert all(np.abs(render.draw(*other).astype(int) - first).mean() > 3 for other in others)


def test_a_picture_drawn_in_a_fresh_process_has_the_same_bytes(render: ModuleType) -> None:
    code = (
        "import hashlib, render\n"
        f"for domain, name in {CELLS}:\n"
        "    pixels = render.draw('evaluation', domain, name, 3)\n"
        "    print(hashlib.sha256(pixels.tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=DATA, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [digest(render.draw("evaluation", d, c, 3)) for d, c in CELLS]


@pytest.mark.parametrize(("domain", "name"), CELLS)
def test_shipped_images_are_what_the_script_draws(
    render: ModuleType, domain: str, name: str
) -> None:
    """Up to JPEG, and to what another machine rounds differently."""
    with Image.open(DATA / "four_domains" / "images" / domain / name / "007.jpg") as image:
        shipped = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(shipped - render.draw("evaluation", domain, name, 7)).mean() < 6


def test_evaluation_holds_every_class_in_every_domain(render: ModuleType) -> None:
    for folder, count in render.PER_CELL.items():
        for domain, name in render.cells(folder):
            cell = DATA / "four_domains" / folder / domain / name
            assert sorted(p.name for p in cell.iterdir()) == [
                f"{i:03d}.jpg" for i in range(count)
            ], cell


# ---- machine paths


def shipped_files() -> list[Path]:
    """What git tracks or would track; without git, every file outside hidden folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split("\0")
        files = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        files = [
            p
            for p in ROOT.rglob("*")
            if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)
        ]
    return [p for p in files if p.is_file()]


def test_no_file_speaks_of_one_machine() -> None:
    text = {".py", ".ipynb", ".md", ".toml", ".yml", ".yaml", ".json", ".txt", ".cfg", ".sh", ""}
    found = []
    for path in shipped_files():
        if path.suffix not in text or path == Path(__file__):
            continue
        content = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{name_of(path)}: {m[0]}" for m in MACHINE_PATH.finditer(content)]
    assert not found


def test_the_pattern_of_machine_paths_finds_them_and_spares_addresses() -> None:
    slash = "/"
    for bad in ("work/main", "tmp/x", "home/me", "root/.cache"):
        assert MACHINE_PATH.search(f'"{slash}{bad}"')
    for good in ("https://example.org/home/page", "notebooks/work/x", "./tmp/x"):
        assert not MACHINE_PATH.search(good)
