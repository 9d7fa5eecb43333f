"""The command that attacks an edit: `clip-unlearn audit`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.concepts import PARADIGMS, ForgetRequest
from ..measure.setting import DEFAULT, SurveyConfig
from ..models.files import writable_home
from . import options as shared
from .options import BadInput, flat, of_config, plain_messages


@click.command(short_help="Attack an edit: what is still there, and what it cost.")
@shared.REQUEST
@click.option(
    "--edit",
    "edit_file",
    type=click.Path(path_type=Path),
    help="The edit of a file, of `forget --edit`.",
)
@click.option(
    "--every", type=click.Choice(PARADIGMS), help="EVERY request of this kind: mean and worst."
)
@shared.MODEL
@shared.LAYOUT
@shared.MEASURED
@click.option(
    "--unrelated",
    default="",
    metavar="FOLDER",
    help="Images of other classes, which should not change.",
)
@shared.PROMPTS
@shared.PROTOTYPES
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the numbers and the figure.",
)
def audit(
    classes: tuple,
    domains: tuple,
    complete: bool,
    edit_file: Path | None,
    every: str | None,
    unrelated: str,
    strength: float,
    towers: str,
    out: Path,
    **options,
) -> None:
    """Attack an edit with more than prompts, print the verdict, and write audit.csv,
    neighbours.csv and audit.png.

    Linear probes before and behind the edited matrix, relearning from a few images, paraphrases
    and translations (from --prompts), nearest prototypes, search; and what it cost neighbours and
    an unrelated task. With --every, audit.csv has the rows of every request, and the mean and the
    worst are printed, since one request proves nothing.

    \b
    clip-unlearn audit --classes dog --domains sketch --out audit/
    clip-unlearn audit --classes dog --model MODEL --images FOLDER --unrelated OTHERS --out audit/
    clip-unlearn audit --edit dogless.safetensors --model MODEL --images FOLDER --out audit/
    clip-unlearn audit --every domain-specific --out audit/
    """
    ways = [classes or domains, edit_file, every]
    if sum(bool(way) for way in ways) != 1:
        raise BadInput(
            "name what to audit in one way: --classes and --domains, or --edit FILE, or "
            "--every KIND."
        )
    if edit_file and (options["method"] != DEFAULT or towers != "visual"):
        raise BadInput(f"{edit_file} is fitted already; leave out --method and --towers.")
    if complete and (edit_file or every):
        raise BadInput("--complete belongs to --classes and --domains; leave it out.")
    with plain_messages():
        writable_home(out)
        config = SurveyConfig(**of_config(options))
        if every:
            _audit_every(config, every, strength, towers, unrelated, out)
        elif edit_file:
            _audit_one(config, None, edit_file, strength, towers, unrelated, out)
        else:
            request = ForgetRequest(flat(classes) or None, flat(domains) or None, complete)
            _audit_one(config, request, None, strength, towers, unrelated, out)


def _audit_one(
    config: SurveyConfig,
    request: ForgetRequest | None,
    edit_file: Path | None,
    strength: float,
    towers: str,
    unrelated: str,
    out: Path,
) -> None:
    """Audit one edit; print its verdict, a sentence a line, and write its files."""
    # matplotlib takes a second to import: not for --help.
    from ..audit.figure import audit_figure
    from ..audit.requests import audit_of

    result, edit = audit_of(config, request, edit_file, strength, towers, unrelated)

    out.mkdir(parents=True, exist_ok=True)
    numbers = out / "audit.csv"
    neighbours = out / "neighbours.csv"
    figure = out / "audit.png"
    result.frame.to_csv(numbers, index=False, float_format="%.4f")
    result.neighbours.to_csv(neighbours, index=False, float_format="%.4f")
    title = f"Forget {edit.request}: audit of the {edit.method} edit at strength {strength:g}"
    audit_figure(result, title).savefig(figure, dpi=130)

    click.echo(result.verdict.replace(". ", ".\n"))
    click.echo(f"\nnumbers  {numbers}, {neighbours}")
    click.echo(f"figure   {figure}")


def _audit_every(
    config: SurveyConfig, paradigm: str, strength: float, towers: str, unrelated: str, out: Path
) -> None:
    """Audit every request of a paradigm; print the table and write the rows."""
    from ..audit.requests import audit_all, audit_table

    frame = audit_all(config, paradigm, strength, towers, unrelated)

    out.mkdir(parents=True, exist_ok=True)
    numbers = out / "audit.csv"
    frame.to_csv(numbers, index=False, float_format="%.4f")

    click.echo(audit_table(frame))
    click.echo(f"\nnumbers  {numbers}")
