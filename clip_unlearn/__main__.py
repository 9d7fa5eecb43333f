"""`python -m clip_unlearn` is `clip-unlearn`, where the script is not on the PATH."""

from .cli import main

main(prog_name="clip-unlearn")
