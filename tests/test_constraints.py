"""The file of tested versions: it holds every direct dependency, at a version that suits it."""

from __future__ import annotations

import re
from importlib import metadata

from constraints import EXTRAS, PROJECT, needed
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tiny import ROOT

LINES = (ROOT / "tests" / "constraints.txt").read_text().splitlines()
PINNED = dict(line.split("==") for line in LINES)


def test_it_names_versions_and_nothing_of_one_machine() -> None:
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in LINES), LINES
    assert sorted(PINNED) == list(PINNED) and PROJECT not in PINNED
    assert not any(name.startswith("nvidia") for name in PINNED)


def test_every_direct_dependency_is_there_at_a_version_that_suits() -> None:
    direct = [Requirement(line) for line in metadata.requires(PROJECT)]
    asked = [r for r in direct if r.marker is None or r.marker.evaluate({"extra": EXTRAS[0]})]
    assert len(asked) >= 10
    for requirement in asked:
        version = PINNED[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_what_needs_something_brings_it_along() -> None:
    """The closure: what a dependency needs is there too, for all that is installed here."""
    portable = {name for name in needed("jupyterlab") if name in needed(PROJECT)}
    assert portable <= PINNED.keys() and len(PINNED) > 80
