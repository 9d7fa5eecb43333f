"""The command that attacks an edit: `clip-unlearn audit`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.concepts import PARADIGMS, ForgetRequest
from ..measure.setting import SurveyConfig
from ..models.files import writable_home
from . import options as shared
from .options import BadInput, flat, of_config, told


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
    classes: tuple, domains: tuple, edit_file: Path | None, every: str | None, unrelated: str, strength: float,
    towers: str, out: Path, **options,
) -> None:  # fmt: skip
    """Attack an edit with more than prompts, print the verdict, and write audit.csv, neighbours.csv and audit.png.

    Linear probes before and behind the edited matrix, relearning from a few images, paraphrases and translations
    (from --prompts), nearest prototypes, search; and what it cost neighbours and an unrelated task. With --every,
    audit.csv has the rows of every request, and the mean and the worst are printed, since one request proves nothing.

    \b
    clip-unlearn audit --classes dog --domains sketch --out audit/
    clip-unlearn audit --classes dog --model MODEL --images FOLDER --unrelated OTHERS --out audit/
    clip-unlearn audit --edit dogless.safetensors --model MODEL --images FOLDER --out audit/
    clip-unlearn audit --every domain-specific --out audit/
    """
    if sum(map(bool, (classes or domains, edit_file, every))) != 1:
        raise BadInput(
            "name what to audit in one way: --classes and --domains, or --edit FILE, or --every KIND."
        )
    if edit_file and (options["method"] != "default" or towers != "visual"):
        raise BadInput(f"{edit_file} is fitted already; leave out --method and --towers.")
    with told():
        writable_home(out)
        config = SurveyConfig(**of_config(options))
        if every:
            _every(config, every, strength, towers, unrelated, out)
        else:
            request = (
                None if edit_file else ForgetRequest(flat(classes) or None, flat(domains) or None)
            )
            _one(config, request, edit_file, strength, towers, unrelated, out)


def _one(
    config: SurveyConfig, request: ForgetRequest | None, edit_file: Path | None, strength: float, towers: str,
    unrelated: str, out: Path,
) -> None:  # fmt: skip
    """Audit one edit; print its verdict, a sentence a line, and write its files."""
    from ..audit.figure import audit_figure
    from ..audit.requests import audit_of

    found, edit = audit_of(config, request, edit_file, strength, towers, unrelated)
    out.mkdir(parents=True, exist_ok=True)
    found.frame.to_csv(out / "audit.csv", index=False, float_format="%.4f")
    found.neighbours.to_csv(out / "neighbours.csv", index=False, float_format="%.4f")
    title = f"Forget {edit.request}: audit of the {edit.method} edit at strength {strength:g}"
    audit_figure(found, title).savefig(out / "audit.png", dpi=130)
    click.echo(found.verdict.replace(". ", ".\n"))
    click.echo(
        f"\nnumbers  {out / 'audit.csv'}, {out / 'neighbours.csv'}\nfigure   {out / 'audit.png'}"
    )


def _every(
    config: SurveyConfig, every: str, strength: float, towers: str, unrelated: str, out: Path
) -> None:
    """Audit every request of a kind; print the table and write the rows."""
    from ..audit.requests import audit_all, audit_table

    frame = audit_all(config, every, strength, towers, unrelated)
    out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(out / "audit.csv", index=False, float_format="%.4f")
    click.echo(audit_table(frame))
    click.echo(f"\nnumbers  {out / 'audit.csv'}")
