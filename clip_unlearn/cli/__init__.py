"""The command line: one command a job (forget, apply, evaluate, report, survey, audit, sweep)."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..core.applied import check_strength
from ..core.concepts import PARADIGMS
from ..core.edit import METHODS
from ..measure.setting import SurveyConfig
from ..report.analysis import ReportConfig
from . import options as shared
from .auditing import audit
from .editing import apply, forget
from .options import BadInput, Names, check_parent, flat, of_config, plain_messages


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clip_unlearn")
def main() -> None:
    """Make a pretrained CLIP forget classes, domains, or classes in domains: no training, no
    images of a data set.

    \b
    clip-unlearn report --classes dog --domains sketch --out out/    the bundled CLIP and images
    clip-unlearn report --help                                       what a command does, with examples
    """  # noqa: E501


@main.command(short_help="Measure a CLIP, edited or not, on an image folder.")
@shared.MODEL
@shared.LAYOUT
@shared.MEASURED
@shared.PROMPTS
@click.option(
    "--csv", type=click.Path(path_type=Path, dir_okay=False), help="Also write one row a cell here."
)
@click.option(
    "--json",
    "json_",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write all numbers here.",
)
def evaluate(csv: Path | None, json_: Path | None, **options) -> None:
    """Measure a CLIP on an image folder: accuracy of each class in each domain.

    For a folder that `forget` or `report` made, its edit.json says what was forgotten, and the
    accuracy of what was to go and of what was to stay is printed too. Run it on the base and on the
    edited CLIP to compare.

    \b
    clip-unlearn evaluate --model dogless --images FOLDER --csv cells.csv
    clip-unlearn evaluate --model ViT-B-32 --pretrained openai --images FOLDER --limit 50
    """
    from ..measure.zero_shot import measure, numbers, table

    check_parent(csv)
    check_parent(json_)
    with plain_messages():
        measurement = measure(SurveyConfig(**of_config(options)))
    click.echo(table(measurement))
    if csv:
        measurement.cells().to_csv(csv, index=False, float_format="%.4f")
    if json_:
        text = json.dumps(numbers(measurement), indent=2, ensure_ascii=False)
        json_.write_text(text + "\n", encoding="utf-8")


@main.command(short_help="Edit, measure, and explain it on one page.")
@shared.REQUEST
@shared.MODEL
@shared.LAYOUT
@shared.MEASURED
@shared.PROMPTS
@shared.PROTOTYPES
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the report and the edited CLIP.",
)
def report(out: Path, classes: tuple, domains: tuple, **options) -> None:
    """Forget, measure what it cost, and write report.html, report.ipynb, metrics.json and
    edited-clip/ into OUT.

    \b
    clip-unlearn report --classes dog --domains sketch --out out/     dog sketches; dog photos stay
    clip-unlearn report --classes dog,cat --out out/                  dogs and cats, everywhere
    clip-unlearn report --domains sketch --out out/                   every sketch
    clip-unlearn report --classes dog --domains sketch --complete --out out/    from a search too
    clip-unlearn report --classes 'cup\\, saucer' --images FOLDER --out out/    a name with a comma
    """
    # matplotlib takes a second to import: not for --help.
    from ..report.report import result_table, write_report

    with plain_messages():
        config = ReportConfig(classes=flat(classes), domains=flat(domains), **of_config(options))
        numbers = write_report(config, out)
    click.echo(result_table(numbers))
    click.echo(f"\nreport   {out / 'report.html'}")
    click.echo(f"numbers  {out / 'metrics.json'}")
    click.echo(f"CLIP     {out / 'edited-clip'}")


@main.command(short_help="Every request of a kind: mean and worst.")
@shared.MODEL
@shared.LAYOUT
@shared.MEASURED
@shared.PROMPTS
@shared.PROTOTYPES
@click.option(
    "--paradigm",
    "paradigms",
    type=click.Choice(PARADIGMS),
    multiple=True,
    help="Only these kinds of request.",
)
@click.option(
    "--method", default="default", help=f"default (each paradigm's best), {', '.join(METHODS)}."
)
@shared.STRENGTH
@shared.TOWERS_OF_MANY
@click.option(
    "--complete",
    is_flag=True,
    help="Also each class in each domain, complete: can a search there still find it?",
)
@click.option(
    "--csv",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write one row a request here.",
)
def survey(
    paradigms: tuple[str, ...],
    method: str,
    strength: float,
    towers: str,
    complete: bool,
    csv: Path | None,
    **options,
) -> None:
    """Try EVERY request of a kind (each class, each cell, each domain) and print mean and worst, in
    Markdown.

    \b
    clip-unlearn survey --model MODEL --images FOLDER                       all three kinds
    clip-unlearn survey --paradigm global --method null-space --csv rows.csv
    clip-unlearn survey --paradigm domain-specific --complete               what a search finds
    """
    from ..measure.survey import survey_all

    check_parent(csv)
    if not paradigms:
        paradigms = METHODS[method].paradigms if method in METHODS else PARADIGMS
    with plain_messages():
        config = SurveyConfig(method=method, **of_config(options))
        frame, table = survey_all(config, paradigms, check_strength(strength), towers, complete)
    click.echo(table)
    if csv:
        frame.to_csv(csv, index=False, float_format="%.4f")


@main.command(short_help="Many reports, and one table of them.")
@click.option(
    "--classes",
    "classes",
    type=shared.Points(),
    multiple=True,
    help="Classes; dog+cat is both at once, * all.",
)
@click.option(
    "--domains",
    "domains",
    type=shared.Points(),
    multiple=True,
    help="Domains; photo+sketch is both, * all.",
)
@click.option("--every-class", is_flag=True, help="Each class of the grid, one after the other.")
@click.option("--every-domain", is_flag=True, help="Each domain of the grid, one after the other.")
@click.option(
    "--strengths",
    type=shared.Numbers(),
    default="1",
    show_default=True,
    help="Strengths from 0 to 1.",
)
@click.option(
    "--methods",
    type=Names(),
    default="default",
    show_default=True,
    help=f"default, {', '.join(METHODS)}.",
)
@shared.TOWERS_OF_MANY
@shared.MODEL
@shared.LAYOUT
@shared.MEASURED
@shared.PROMPTS
@shared.PROTOTYPES
@click.option(
    "--keep-clips",
    "save_clip",
    is_flag=True,
    help="Also keep each edited CLIP: the size of the model each.",
)
@click.option("--again", is_flag=True, help="Make reports anew that are finished already.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the sweep.")
def sweep(
    classes: tuple,
    domains: tuple,
    every_class: bool,
    every_domain: bool,
    strengths: list[float],
    methods: list[str],
    out: Path,
    again: bool,
    **options,
) -> None:
    """A report for each combination of classes, domains, strengths and methods, a table and a page
    of them all.

    OUT gets summary.csv, index.html and a folder for each report. A combination that is finished
    already, with the same parameters, is not made again, so an interrupted sweep goes on where it
    was. One that fails is named in the table and the others go on; the exit code is then 1.

    \b
    clip-unlearn sweep --classes dog,cat --domains sketch,photo --strengths 0.5,1 --out sweep/    8 reports
    clip-unlearn sweep --every-class --methods calibrated,null-space --out sweep/
    clip-unlearn sweep --classes 'dog,cat+horse' --domains 'sketch,*' --out sweep/    * is all domains
    """  # noqa: E501
    from ..report.sweep import Axes, run_sweep

    if every_class and classes:
        raise BadInput("--every-class already takes each of them; leave out the list.")
    if every_domain and domains:
        raise BadInput("--every-domain already takes each of them; leave out the list.")
    with plain_messages():
        axes = Axes(flat(classes), flat(domains), methods, strengths, every_class, every_domain)
        failed = run_sweep(of_config(options), axes, out, again)
    if failed:
        raise SystemExit(1)


for command in (forget, apply, audit):
    main.add_command(command)
