"""The options that several commands share, and what they make of their values."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from ..core.edit import METHODS, TOWERS
from ..core.errors import InputError
from ..images.layouts import LAYOUTS
from ..models.clip import PRECISIONS


class Names(click.ParamType):
    """Names, separated by commas; the option may also be given several times. A comma of a name is written \\,."""

    name = "NAME[,NAME...]"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        names = [name for part in split(value, ",") if (name := unescaped(part.strip()))]
        if not names:  # an unset shell variable must not widen the request to everything
            self.fail("no name given; leave the option out to mean all of them.", param, ctx)
        return names


class Points(click.ParamType):
    """Points of a sweep, separated by commas; each one is a name, several joined by +, or * for all of them."""

    name = "NAME[+NAME][,...]"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[tuple[str, ...]]:
        points = [part.strip() for part in split(value, ",")]
        if not all(points):
            self.fail("an empty name; * means all of them.", param, ctx)
        return [
            () if p == "*" else tuple(unescaped(name.strip()) for name in split(p, "+"))
            for p in points
        ]


class Numbers(click.ParamType):
    """Numbers separated by commas."""

    name = "NUMBER[,NUMBER...]"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float]:
        try:
            return [float(part) for part in value.split(",")]
        except ValueError:
            self.fail(f'"{value}" is no list of numbers such as 0.5,1.', param, ctx)


def split(text: str, separator: str) -> list[str]:
    """The parts between separators that have no backslash before them; backslashes stay."""
    return re.split(rf"(?<!\\){re.escape(separator)}", text)


def unescaped(text: str) -> str:
    r"""A name without the backslashes that kept its commas and plus signs: "a\, b" -> "a, b"."""
    return re.sub(r"\\([,+])", r"\1", text)


def flat(names: tuple[list[str], ...]) -> list[str]:
    return [name for part in names for name in part]


class BadInput(click.ClickException):
    """An InputError on its way to the terminal."""

    exit_code = 2


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Inside, an InputError becomes a message with exit code 2, and a warning of ours one line without its origin."""

    def show(
        message: Warning | str, category: type[Warning], *where: object, **more: object
    ) -> None:
        if category is UserWarning:
            click.echo(f"Warning: {message}", err=True)
        else:
            usual(message, category, *where, **more)

    with warnings.catch_warnings():
        usual, warnings.showwarning = warnings.showwarning, show
        try:
            yield
        except InputError as error:
            raise BadInput(str(error)) from error


def check_parent(file: Path | None) -> None:
    """Refuse a file in a folder that does not exist before the work, not after."""
    if file and not file.absolute().parent.is_dir():
        raise BadInput(f"no folder {file.absolute().parent} for {file.name}.")


def _together(*options: Callable) -> Callable:
    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


MODEL = _together(
    click.option(
        "--model",
        default="bundled",
        show_default=True,
        help="bundled, a local open_clip folder, or an open_clip name.",
    ),
    click.option(
        "--pretrained",
        default="",
        help="Tag of an open_clip name, such as laion2b_s34b_b79k, or a weights file.",
    ),
    click.option(
        "--precision",
        default="fp32",
        show_default=True,
        help=f"Precision of the weights: {', '.join(PRECISIONS)}.",
    ),
)
LAYOUT = _together(
    click.option(
        "--images",
        multiple=True,
        default=("bundled",),
        metavar="FOLDER",
        help="Folder <domain>/<class>/*.jpg|png|webp, or <class>/* (one domain, photo), or bundled. Several folders "
        "of <class>/*: --images photo=DIR --images sketch=DIR2.",
    ),
    click.option(
        "--layout",
        default="",
        metavar="NAME",
        help=f"How the folder is laid out, if not found: {', '.join(LAYOUTS)}.",
    ),
    click.option(
        "--class-names",
        default="",
        metavar="FILE",
        help='Names of class folders that carry ids: JSON or "id name" lines.',
    ),
)
PROMPTS = click.option(
    "--prompts",
    default="",
    metavar="FILE",
    help="YAML or JSON: class_templates, cell_templates, test_templates, paraphrase_templates, domain_words, synonyms, "
    "translations; or imagenet or simple, open_clip's templates to test with.",
)
MEASURED = _together(
    click.option(
        "--split",
        default="",
        metavar="NAME",
        help="Only the images in <domain>_NAME.txt (DomainNet's lists).",
    ),
    click.option(
        "--limit",
        type=click.IntRange(0),
        default=0,
        metavar="N",
        help="At most N images of each class in each domain, chosen by seed.",
    ),
    click.option(
        "--limit-seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Seed of that choice.",
    ),
    click.option(
        "--images-per-cell",
        default=0,
        hidden=True,
        help="The first N images, where --limit chooses.",
    ),
    click.option(
        "--skip-unreadable", is_flag=True, help="Go on without images that cannot be opened."
    ),
    click.option(
        "--workers",
        type=click.IntRange(0),
        help="Processes that open images; left out: as many as suit the folder.",
    ),
)
PROTOTYPES = _together(
    click.option(
        "--per-cell",
        default=8,
        show_default=True,
        help="Visual prototypes of each class in each domain.",
    ),
    click.option("--seed", default=0, show_default=True, help="Seed of the synthesis."),
)
REQUEST = _together(
    click.option(
        "--classes",
        type=Names(),
        multiple=True,
        help="What to forget; left out: everything in the domains. A comma in a name is written \\,.",
    ),
    click.option(
        "--domains", type=Names(), multiple=True, help="Where to forget it; left out: everywhere."
    ),
    click.option(
        "--strength",
        type=float,
        default=1.0,
        show_default=True,
        help="From 0 (unchanged) to 1 (full edit).",
    ),
    click.option(
        "--method", default="default", help=f"default (the paradigm's best), {', '.join(METHODS)}."
    ),
    click.option(
        "--towers",
        default="visual",
        show_default=True,
        help=f"Which projections change: {', '.join(TOWERS)}.",
    ),
)


def of_config(options: dict) -> dict:
    """The options as the parameters of a config: one folder as a text, and the limit as its number and seed."""
    images, limit, seed = options.pop("images"), options.pop("limit"), options.pop("limit_seed")
    if limit and options["images_per_cell"]:
        raise BadInput(
            "--limit and --images-per-cell are two ways to say the same; give one of them."
        )
    chosen = {"images_per_cell": limit, "limit_seed": seed} if limit else {}
    return {**options, "images": images[0] if len(images) == 1 else images, **chosen}
