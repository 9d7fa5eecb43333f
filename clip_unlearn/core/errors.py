"""Errors that a user's input can cause: the command line shows their message and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class InputError(ValueError):
    """Bad input; the message names what is wrong and what would be right."""


class ModelError(InputError):
    """A model that cannot be loaded or edited; the message says which file or tower it is about."""


class UnknownNameError(InputError):
    """A class or domain that the grid does not have; the message names the nearest one."""


def unknown_name(kind: str, name: str, known: Sequence[str]) -> UnknownNameError:
    """The error for a name that is not among `known`; `kind` is "class" or "domain"."""
    spelled = {plain_name.casefold(): plain_name for plain_name in known}
    nearest = difflib.get_close_matches(name.casefold(), spelled, n=1, cutoff=0.3)
    hint = ""
    if nearest:
        hint = f' Did you mean "{spelled[nearest[0]]}"?'
    listed = ", ".join(known)
    return UnknownNameError(f'unknown {kind} "{name}".{hint} The {kind} names are: {listed}.')


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
