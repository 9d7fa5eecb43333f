"""The command line: `clip-unlearn report` makes a report and an edited CLIP, `clip-unlearn survey` the full tables."""

from __future__ import annotations

from pathlib import Path

import click

from .analysis import ReportConfig, SurveyConfig
from .errors import InputError
from .unlearn import METHODS, TOWERS, check_strength

PARADIGMS = ("global", "domain-specific", "whole-domain")


class _Names(click.ParamType):
    """Names, separated by commas; the option may also be given several times."""

    name = "NAME[,NAME...]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        names = [part.strip() for part in value.split(",") if part.strip()]
        if not names:  # an unset shell variable must not widen the request to everything
            self.fail("no name given; leave the option out to mean all of them.", param, ctx)
        return names


def _flat(names: tuple[list[str], ...]) -> list[str]:
    return [name for part in names for name in part]


class _BadInput(click.ClickException):
    """An InputError on its way to the terminal."""

    exit_code = 2


def _model_and_images(command):
    """The options that name a CLIP and images."""
    for option in reversed(
        (
            click.option("--model", default="bundled", help="bundled, a local open_clip folder, or an open_clip name."),
            click.option("--pretrained", default="", help="Tag of an open_clip name, such as laion2b_s34b_b79k."),
            click.option("--images", default="bundled", help="Folder <domain>/<class>/*.jpg|png|webp, or bundled."),
            click.option(
                "--per-cell", default=8, show_default=True, help="Visual prototypes of each class in each domain."
            ),
            click.option("--seed", default=0, show_default=True, help="Seed of the synthesis."),
            click.option("--skip-unreadable", is_flag=True, help="Go on without images that cannot be opened."),
        )
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clip_unlearn")
def main() -> None:
    """Make a pretrained CLIP forget classes, domains, or classes in domains: no training, no images of a data set."""


@main.command()
@click.option("--classes", type=_Names(), multiple=True, help="What to forget; omitted: everything in the domains.")
@click.option("--domains", type=_Names(), multiple=True, help="Where to forget it; omitted: everywhere.")
@click.option("--strength", type=float, default=1.0, show_default=True, help="From 0 (unchanged) to 1 (full edit).")
@click.option("--method", default="default", help=f"default (the paradigm's best), {', '.join(METHODS)}.")
@click.option("--towers", default="visual", show_default=True, help=f"Which projections change: {', '.join(TOWERS)}.")
@_model_and_images
@click.option("--images-per-cell", default=0, help="Only the first N images of each class in each domain; 0 is all.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the report and the edited CLIP."
)
def report(out: Path, classes: tuple, domains: tuple, **options) -> None:
    """Forget, measure what it cost, and write report.html, report.ipynb, metrics.json and edited-clip/ into OUT.

    \b
    clip-unlearn report --classes dog --domains sketch --out out/     dog sketches; dog photos stay
    clip-unlearn report --classes dog,cat --out out/                  dogs and cats, everywhere
    clip-unlearn report --domains sketch --out out/                   every sketch
    """
    from .report import write_report  # papermill and nbconvert take a second to import: not for --help

    try:
        config = ReportConfig(classes=_flat(classes), domains=_flat(domains), **options)
        found = write_report(config, out)
    except InputError as error:
        raise _BadInput(str(error)) from error
    click.echo(result_table(found))
    click.echo(f"\nreport   {out / 'report.html'}\nnumbers  {out / 'metrics.json'}\nCLIP     {out / 'edited-clip'}")


def result_table(found: dict) -> str:
    """The result of a report as a few lines for a terminal."""
    what = ", ".join(found["classes"]) if found["paradigm"] != "whole-domain" else "everything"
    where = ", ".join(found["domains"]) if found["paradigm"] != "global" else "all domains"
    lines = [f"forget {what} in {where}: {found['method']}, strength {found['strength']:g}", ""]
    lines.append(f"{'images':30s}{'n':>6s}{'before':>9s}{'after':>9s}")
    rows = [(name.replace("_", " "), g) for name, g in found["groups"].items() if g]
    rows.insert(1, ("forget, paraphrased", {"n": rows[0][1]["n"], **found["paraphrase"]}))
    lines += [f"{name:30s}{g['n']:6d}{100 * g['before']:8.1f}%{100 * g['after']:8.1f}%" for name, g in rows]
    seconds = ", ".join(f"{k} {v:.1f} s" for k, v in found["seconds"].items())
    return "\n".join([*lines, "", f"H {found['H']:.3f}   {seconds}" if found["H"] is not None else seconds])


@main.command()
@_model_and_images
@click.option("--paradigm", type=click.Choice(PARADIGMS), multiple=True, help="Only these kinds of request.")
@click.option("--method", default="default", help=f"default (each paradigm's best), {', '.join(METHODS)}.")
@click.option("--strength", type=float, default=1.0, show_default=True, help="From 0 (unchanged) to 1 (full edit).")
@click.option("--towers", default="visual", show_default=True, help="Which projections change (global requests).")
@click.option("--csv", type=click.Path(path_type=Path, dir_okay=False), help="Also write one row a request here.")
def survey(paradigm: tuple[str, ...], method: str, strength: float, towers: str, csv: Path | None, **options) -> None:
    """Try EVERY request of a kind (each class, each cell, each domain) and print mean and worst, in Markdown."""
    from .survey import survey_all

    if csv and not csv.absolute().parent.is_dir():
        raise _BadInput(f"no folder {csv.absolute().parent} for the CSV file.")
    if method == "redirect" and not paradigm:
        paradigm = ("whole-domain",)
    try:
        config = SurveyConfig(method=method, **options)
        frame, table = survey_all(config, paradigm or PARADIGMS, check_strength(strength), towers)
    except InputError as error:
        raise _BadInput(str(error)) from error
    click.echo(table)
    if csv:
        frame.to_csv(csv, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
