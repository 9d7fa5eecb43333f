"""The versions of all that the package needs, as installed, one a line: `make constraints`.

An instructor installs the same everywhere: `pip install -c tests/constraints.txt -e ".[test]"`.
"""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT, EXTRAS = "clip_unlearn", ("test",)


def needed(name: str, extras: tuple[str, ...] = ()) -> dict[str, str]:
    """Versions by name of everything that a distribution needs here, it alone left out."""
    found: dict[str, str] = {}
    waiting = [(name, extras)]
    while waiting:
        current, its_extras = waiting.pop()
        for line in metadata.requires(current) or ():
            requirement = Requirement(line)
            if not _applies(requirement, its_extras):
                continue
            key = canonicalize_name(requirement.name)
            if key not in found or requirement.extras:
                found[key] = Version(metadata.version(key)).public  # without "+cpu"
                waiting.append((key, tuple(requirement.extras)))
    return found


def _applies(requirement: Requirement, extras: tuple[str, ...]) -> bool:
    """Whether a requirement is one of this machine, or of one of the extras."""
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def is_portable(name: str) -> bool:
    """Whether other machines need it too: CUDA's libraries belong to one build of torch."""
    return not name.startswith(("nvidia-", "cuda-", "triton"))


if __name__ == "__main__":
    for name, version in sorted(needed(PROJECT, EXTRAS).items()):
        if is_portable(name):
            print(f"{name}=={version}")
