"""The options that several commands share, and what they make of their values."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click

from ..core import InputError
from ..core.edit import METHODS, TOWERS
from ..images.classnames import names_in, split, unescaped
from ..images.layouts import LAYOUTS
from ..models.clip import AUTO, DEVICES, PRECISIONS

# ---- kinds of values


class Names(click.ParamType):
    """Names, separated by commas; the option may also be given several times.

    A comma that belongs to a name is written \\,.
    """

    name = "NAME[,NAME...]"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        names = names_in(value)
        if not names:  # an unset shell variable must not widen the request to everything
            self.fail("no name given; leave the option out to mean all of them.", param, ctx)
        return names


class Points(click.ParamType):
    """Points of a sweep, separated by commas.

    Each one is a name, several names joined by +, or * for all of them.
    """

    name = "NAME[+NAME][,...]"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[tuple[str, ...]]:
        texts = [part.strip() for part in split(value, ",")]
        if not all(texts):
            self.fail("an empty name; * means all of them.", param, ctx)
        points = []
        for text in texts:
            names = [] if text == "*" else split(text, "+")
            points.append(tuple(unescaped(name.strip()) for name in names))
        return points


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


def flat(values: tuple[list, ...]) -> list:
    """The values of an option that was given several times, each time with a list, as one list."""
    return [value for part in values for value in part]


# ---- messages


class BadInput(click.ClickException):
    """An InputError on its way to the terminal."""

    exit_code = 2


@contextlib.contextmanager
def plain_messages() -> Iterator[None]:
    """Inside, an InputError becomes a message with exit code 2, and our warnings one line each.

    A warning of Python shows where in the code it arose, which is of no use to the user of a
    command.
    """

    def show(
        message: Warning | str, category: type[Warning], *where: object, **more: object
    ) -> None:
        if category is UserWarning:
            click.echo(f"Warning: {message}", err=True)
        else:
            usual(message, category, *where, **more)

    with warnings.catch_warnings():  # puts showwarning back
        usual = warnings.showwarning
        warnings.showwarning = show
        try:
            yield
        except InputError as error:
            raise BadInput(str(error)) from error


def check_parent(file: Path | None) -> None:
    """Refuse a file in a folder that does not exist before the work, not after."""
    if file is None:
        return
    folder = file.absolute().parent
    if not folder.is_dir():
        raise BadInput(f"no folder {folder} for {file.name}.")


# ---- options


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
    click.option(
        "--device",
        default=AUTO,
        show_default=True,
        help=f"Where it runs: {', '.join(DEVICES)}.",
    ),
)
LAYOUT = _together(
    click.option(
        "--images",
        multiple=True,
        default=("bundled",),
        metavar="FOLDER",
        help="Folder <domain>/<class>/*.jpg|png|webp, or <class>/* (one domain, photo), or "
        "bundled. Several folders of <class>/*: --images photo=DIR --images sketch=DIR2.",
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
    help="YAML or JSON: class_templates, cell_templates, test_templates, paraphrase_templates, "
    "domain_words, synonyms, translations; or imagenet or simple, open_clip's templates to test "
    "with.",
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
        "--prototypes",
        default=AUTO,
        show_default=True,
        metavar="N",
        help="How many pictures a request is fitted on: more take longer and say more of the cells "
        "that have none. auto: 4 a domain, from 32 to 80; all: --per-cell of every class in every "
        "domain.",
    ),
    click.option(
        "--per-cell",
        default=8,
        show_default=True,
        help="With --prototypes all: pictures of each class in each domain.",
    ),
    click.option("--seed", default=0, show_default=True, help="Seed of the synthesis."),
)
STRENGTH = click.option(
    "--strength",
    type=float,
    default=1.0,
    show_default=True,
    help="From 0 (unchanged) to 1 (full edit).",
)
# Commands that make many edits say of the towers for which requests there is a choice.
TOWERS_OF_MANY = click.option(
    "--towers",
    default="visual",
    show_default=True,
    help="Which projections change (global requests).",
)
REQUEST = _together(
    click.option(
        "--classes",
        type=Names(),
        multiple=True,
        help="What to forget; left out: everything in the domains. A comma in a name is written "
        "\\,.",
    ),
    click.option(
        "--domains", type=Names(), multiple=True, help="Where to forget it; left out: everywhere."
    ),
    click.option(
        "--complete",
        is_flag=True,
        help="A search inside the domains should not find the classes either.",
    ),
    STRENGTH,
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


def of_config(options: Mapping) -> dict:
    """The options of a command as the parameters of a config.

    One folder of images is a text, several are a tuple; --limit N is `images_per_cell` N with the
    seed of the choice, where --images-per-cell N, the first ones, has no seed.
    """
    parameters = dict(options)
    images = parameters["images"]
    if len(images) == 1:
        parameters["images"] = images[0]

    limit = parameters.pop("limit", 0)
    limit_seed = parameters.pop("limit_seed", None)
    if limit and parameters["images_per_cell"]:
        raise BadInput(
            "--limit and --images-per-cell are two ways to say the same; give one of them."
        )
    if limit:
        parameters["images_per_cell"] = limit
        parameters["limit_seed"] = limit_seed
    return parameters
