"""The one kind of error that a user's input can cause; the command line shows its message and exits with 2."""


class InputError(ValueError):
    """Bad input; the message names the offending thing and what would be right."""


class ModelError(InputError):
    """A model that cannot be loaded or edited; the message says which file or tower, and what would be right."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
