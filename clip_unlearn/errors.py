"""The one kind of error that a user's input can cause; the command line shows its message and exits with 2."""


class InputError(ValueError):
    """Bad input; the message names the offending thing and what would be right."""
