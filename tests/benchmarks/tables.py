"""Write the tables of README.md and tests/benchmarks/README.md from the CSVs in results.

    python tests/benchmarks/tables.py

A document holds a table between two comments, `<!-- table: NAME -->` and `<!-- end of table -->`;
TABLES says how each NAME is made. Only what lies between them is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from clip_unlearn.audit.requests import audit_summary
from clip_unlearn.measure.survey import summary
from clip_unlearn.models.markdown import markdown_table

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "tests" / "benchmarks" / "README.md")
BLOCK = re.compile(r"(<!-- table: ([\w -]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)

# Words for the names in the CSVs.
REQUESTS = {"global": "classes", "domain-specific": "cells", "whole-domain": "domains"}
ZOO = {"pacs": "resnet18, real", "bundled": "bundled ViT, drawn"}
SETS = {"pacs": "PACS", "bundled": "bundled"}
OTHERS = (
    "null-space",
    "null-space-text",
    "null-space-visual",
    "retain-aware",
    "refined",
    "oblique",
)
SETTINGS = ["beta", "neighbours", "share"]  # of the default edit
GROUPS = ("retained", "same_class", "same_domain", "unrelated")
SEES = {
    "nothing": "nothing",
    "text": "text",
    "text + synthesised pictures": "text, pictures",
    "real images and labels": "**data**",
}


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv")


# ---- numbers


def accuracy(row: pd.Series, column: str) -> str:
    """Mean and worst of an accuracy: 0.015 (0.25)."""
    return f"{row[column]:.3f} ({row[f'{column} worst']:.2f})"


def change(row: pd.Series, column: str) -> str:
    """Mean and worst of a change in points: -0.4 (-3.5); nothing for a group that is not there."""
    if pd.isna(row.get(column)):
        return ""
    return f"{signed(row[column])} ({signed(row[f'{column} worst'])})"


def signed(points: float) -> str:
    """One decimal and the sign; a zero has none."""
    text = f"{points:+.1f}"
    return "0.0" if float(text) == 0 else text


def spoken(name: str) -> str:
    return name.replace("_", " ")


# ---- surveys


def surveyed(*names: str) -> list[pd.Series]:
    """One row for each survey and kind of request: its means and worsts, and its kind in words."""
    rows = []
    for name in names:
        frame = read(name)
        for kind, words in REQUESTS.items():
            row = pd.Series(summary(frame[frame["paradigm"] == kind]))
            row["requests"] = f"{row['requests']} {words}"
            row["kind"] = kind
            rows.append(row)
    return rows


def survey_table(*names: str) -> str:
    """Every kind of request of some surveys, with every column."""
    header = ["requests", "edit", "before", "forget", "paraphrased", *map(spoken, GROUPS)]
    rows = []
    for row in surveyed(*names):
        cells = [row["requests"], row["method"], f"{row['before']:.3f}"]
        cells += [accuracy(row, "forget"), accuracy(row, "paraphrase")]
        cells += [change(row, group) for group in GROUPS]
        rows.append(cells)
    return markdown_table(header, rows, texts=2)


def in_short() -> str:
    """The table of README.md: the default edit on each CLIP, with the setting of all others."""
    frame = read("zoo")
    frame = frame[(frame["setting"] == "left out") & (frame["geometry"] == "as it is")]
    header = ["CLIP", "before", "classes, after", "cells, after", "all that stays", "same class"]
    header += ["domains, after", "all that stays"]
    rows = []
    for name, part in frame.groupby("data", sort=False):
        of_kind = part.set_index("requests")
        of_cells = of_kind.loc["domain-specific"]
        of_domains = of_kind.loc["whole-domain"]
        cells = [zoo_name(name), f"{of_cells['before']:.3f}"]
        cells += [accuracy(of_kind.loc["global"], "forget"), accuracy(of_cells, "forget")]
        cells += [change(of_cells, "retained"), change(of_cells, "same_class")]
        cells += [accuracy(of_domains, "forget"), change(of_domains, "retained")]
        rows.append(cells)
    return markdown_table(header, rows)


def methods() -> str:
    """The survey of every other method."""
    return survey_table(*(f"survey_bundled_{method}" for method in OTHERS))


# ---- both data sets beside each other


def beside(frame: pd.DataFrame, key: Sequence[str], columns: Sequence[str]) -> str:
    """A row for each key, with the columns of PACS and then those of the bundled set."""
    header = list(key)
    measured = {}
    for data, name in SETS.items():
        of_set = frame[frame["data"] == data]
        measured[data] = [c for c in columns if of_set[c].notna().any()]
        header += [f"{name}: {spoken(c)}" for c in measured[data]]

    rows = []
    for values, both in frame.groupby(list(key), sort=False):
        cells = list(values)
        for data in SETS:
            row = both[both["data"] == data].iloc[0]
            for column in measured[data]:
                number = accuracy if column in ("forget", "H") else change
                cells.append(number(row, column))
        rows.append(cells)
    return markdown_table(header, rows, texts=len(key))


def comparison(kind: str) -> str:
    """Every method on one kind of request, those that see least first."""
    frame = read("comparison")
    frame = frame[frame["paradigm"] == kind].assign(sees=frame["sees"].map(SEES))
    columns = ["forget", "retained", "same_class", "unrelated", "H"]
    return beside(frame, ["method", "sees"], columns)


def ablation(kind: str) -> str:
    """Every idea of the default edit on one kind of request."""
    frame = read("ablation")
    frame = frame[frame["requests"] == kind]
    return beside(frame, ["idea"], ["forget", "retained", "same_class", "unrelated"])


# ---- single tables


def as_published() -> str:
    """Lip in full on one request at a time, beside the default edit and the quick baselines."""
    header = ["images", "request", "method", "its own pictures", "forget", "retained"]
    header += ["same class", "unrelated", "H", "seconds"]
    rows = []
    for _, row in read("as_published").iterrows():
        method, left = row["method"], row["pictures recognised"]
        if row["times the rate"] > 1:
            method += f", rate x {row['times the rate']:g}"
        cells = [SETS[row["data"]], row["request"], method]
        cells += ["" if pd.isna(left) else f"{left:.2f}"]
        cells += [f"{row['before']:.3f} -> {row['forget']:.3f}"]
        for group in ("retained", "same_class", "unrelated"):
            points = row.get(group)
            cells.append("" if pd.isna(points) else signed(points))
        cells += [f"{row['H']:.3f}", f"{row['synthesis'] + row['seconds']:.0f}"]
        rows.append(cells)
    return markdown_table(header, rows, texts=3)


def audits() -> str:
    """What every attack finds before and after, mean (worst), for each kind of request."""
    summaries = [audit_summary(read(f"audit_{kind}")).assign(kind=kind) for kind in REQUESTS]
    frame = pd.concat(summaries)
    frame = frame[(frame["requests"] > 0) & ~frame["check"].str.startswith("regained")]

    rows = []
    for check, of_check in frame.groupby("check", sort=False):
        for where, of_group in of_check.groupby("where", sort=False):
            by_kind = of_group.set_index("kind")
            cells = [f"{check}, {spoken(where)}"]
            for kind in REQUESTS:
                cells.append(before_and_after(by_kind.loc[kind]) if kind in by_kind.index else "")
            rows.append(cells)
    return markdown_table(["attack, on what", "16 classes", "64 cells", "4 domains"], rows)


def before_and_after(row: pd.Series) -> str:
    """Mean before and after, and the worst: 0.994 -> 0.015 (0.25)."""
    return f"{row['before']:.3f} -> {row['after']:.3f} ({row['worst']:.2f})"


def complete() -> str:
    """Whether taking out more directions makes forgetting complete."""
    frame = read("complete")
    rows = []
    for directions, *numbers in frame.itertuples(index=False):
        rows.append([f"{directions:.0f}", *(f"{number:.3f}" for number in numbers)])
    return markdown_table(list(frame), rows, texts=0)


def searches(name: str) -> str:
    """What a search finds after each edit, and what the edit costs by prompts."""
    header = ["edit", "in the domain", "elsewhere", "forget", "retained", "same class"]
    rows = []
    for _, row in read(f"search_{name}").iterrows():
        found = [accuracy(row, column) for column in ("inside", "elsewhere", "forget")]
        cost = [change(row, column) for column in ("retained", "same_class")]
        rows.append([row["edit"], *found, *cost])
    return markdown_table(header, rows)


def zoo() -> str:
    """Each CLIP with the setting that costs least on all others; then its stretched copy."""
    header = ["CLIP", "geometry", "requests", "before", "forget", "retained", "same class"]
    header += ["unrelated"]
    frame = read("zoo")
    rows = []
    for _, row in frame[frame["setting"] == "left out"].iterrows():
        cells = [zoo_name(row["data"]), row["geometry"], REQUESTS[row["requests"]]]
        cells += [f"{row['before']:.3f}", accuracy(row, "forget")]
        cells += [change(row, group) for group in ("retained", "same_class", "unrelated")]
        rows.append(cells)
    return markdown_table(header, rows, texts=3)


def zoo_geometry() -> str:
    """Where the images of each CLIP lie, and which setting the others chose for it."""
    header = [
        "CLIP",
        "geometry",
        "logit scale",
        "cosine to own text",
        "domains in images",
        "estimated",
    ]
    header += SETTINGS
    frame = read("zoo")
    frame = frame[(frame["setting"] == "left out") & (frame["requests"] == "global")]
    rows = []
    for _, row in frame.iterrows():
        cells = [zoo_name(row["data"]), row["geometry"], f"{row['logit scale']:.1f}"]
        cells += [f"{row[name]:.2f}" for name in ("cosine to own text", "scale", "estimated scale")]
        cells += [f"{row[name]:g}" for name in SETTINGS]
        rows.append(cells)
    return markdown_table(header, rows, texts=2)


def never_named() -> str:
    """A domain that is forgotten whole, for classes that the request did not name."""
    header = ["images", "left out", "pull for every word", "never named, before", "after"]
    header += ["where it stays", "named: forget", "named: retained"]
    rows = []
    for _, row in read("never_named").iterrows():
        if row["data"] not in SETS:
            continue
        cells = [SETS[row["data"]], row["left out"], "yes" if row["every_word"] else "no"]
        cells += [f"{row['never_named before']:.3f}", accuracy(row, "never_named")]
        cells += [change(row, "unrelated"), accuracy(row, "forget"), change(row, "retained")]
        rows.append(cells)
    return markdown_table(header, rows, texts=3)


def zoo_oracle() -> str:
    """The default edit, and one with detectors fitted to real images, on the same half of them."""
    header = ["CLIP", "detector", "requests", "forget", "retained", "same class"]
    rows = []
    for _, row in read("zoo_oracle").iterrows():
        cells = [zoo_name(row["data"]), row["detector"], REQUESTS[row["requests"]]]
        cells += [accuracy(row, "forget"), change(row, "retained"), change(row, "same_class")]
        rows.append(cells)
    return markdown_table(header, rows, texts=3)


def zoo_everything() -> str:
    """The default, fitted through the whole projection, on a CLIP and on its stretched copy."""
    header = ["CLIP", "geometry", "requests", "forget", "retained", "same class"]
    rows = []
    for _, row in read("zoo_everything").iterrows():
        cells = [zoo_name(row["data"]), row["geometry"], REQUESTS[row["requests"]]]
        cells += [accuracy(row, "forget"), change(row, "retained"), change(row, "same_class")]
        rows.append(cells)
    return markdown_table(header, rows, texts=3)


def zoo_name(data: str) -> str:
    """ "resnet-folder" -> "resnet, real"."""
    tower, _, pictures = data.partition("-")
    return f"{tower}, {'real' if pictures == 'folder' else pictures}" if pictures else ZOO[data]


def real_geometry() -> str:
    """What the edits assume, on a real CLIP, by the number of captions that span what is seen."""
    header = ["captions", "dimensions", "share of images", "scale", "level", "of captions"]
    header += ["scale, seen", "level, seen", "of captions, seen"]
    rows = []
    for _, row in read("real_geometry").iterrows():
        cells = [f"{row['captions']:.0f}", f"{row['span']:.0f}", f"{row['share']:.2f}"]
        for seen in ("", "seen "):
            for name in ("scale", "level"):
                cells.append(f"{row[seen + name]:.2f} (sd {row[f'{seen}{name} sd']:.2f})")
            cells.append(f"{row[f'{seen}level of captions']:.2f}")
        rows.append(cells)
    return markdown_table(header, rows, texts=0)


def likeness() -> str:
    """Cosine of each part of the prototypes to the same part of real images, and relative size."""
    frame = read("prototypes")
    frame = frame[frame["variant"] == "as it is"]
    parts = ["mean", "class", "domain", "interaction"]
    rows = []
    for _, row in frame.iterrows():
        cells = [SETS[row["data"]], row["space"], row["prototypes"]]
        cells += [f"{row[part]:.2f} (x {row[f'{part} size']:.2f})" for part in parts]
        rows.append(cells)
    return markdown_table(["images", "space", "prototypes", *parts], rows, texts=3)


def scaling() -> str:
    """Seconds of `fit_edit` by the number of classes, beside the bare linear algebra."""
    frame = read("scaling")
    counts = sorted(set(frame["classes"]))
    header = ["method", "forgotten", *(f"{n:,}" for n in counts), "of bare", "most memory"]
    rows = []
    for (method, where), part in frame.groupby(["method", "forget"], sort=False):
        seconds = part.set_index("classes")["seconds"]
        ratio = part["ratio"]
        cells = [method, where, *(f"{seconds[n]:.2f} s" for n in counts)]
        cells += [f"{ratio.min():.1f} to {ratio.max():.1f} x", f"{part['peak MB'].max()} MB"]
        rows.append(cells)
    return markdown_table(header, rows, texts=2)


def on_demand() -> str:
    """Every request of each kind, by the number of pictures that it is fitted on."""
    frame = read("on_demand").sort_values(["data", "paradigm", "pictures"], kind="stable")
    header = ["CLIP", "requests", "pictures", "steps", "forget", "retained", "same class"]
    rows = []
    for _, row in frame.iterrows():
        usual = " (usual)" if row["usual"] else ""
        pictures = f"{row['pictures']}{usual}" if row["sample"] else f"{row['pictures']} (all)"
        kind = f"{row['requests']} {REQUESTS[row['paradigm']]}"
        cells = [SETS[row["data"]], kind, pictures, f"{row['steps']:,}"]
        rows.append(
            [*cells, accuracy(row, "forget"), change(row, "retained"), change(row, "same_class")]
        )
    return markdown_table(header, rows, texts=3)


def real_size() -> str:
    """`clip-unlearn forget` for one cell of 1,000 classes x 4 domains."""
    header = ["CLIP", "run", "classes", "seconds", "most memory", "what the command said"]
    rows = []
    for _, row in read("real_size").iterrows():
        cells = [row["architecture"], row["run"], f"{row['classes']:,}", str(row["seconds"])]
        rows.append([*cells, f"{row['peak_MB'] / 1000:.1f} GB", row["said"]])
    return markdown_table(header, rows, texts=2)


def crowded() -> str:
    """Times beside others, in those of one thread alone."""
    frame = read("crowded")
    rows = []
    for _, row in frame[frame["threads"] != "one"].iterrows():
        numbers = [f"{row[name]:.2f}" for name in ("ratio", "fair", "times fair")]
        rows.append([row["work"], row["threads"], row["case"], *numbers])
    header = ["work", "threads", "case", "of one thread alone", "a fair share", "times fair"]
    return markdown_table(header, rows, texts=3)


def many_images() -> str:
    """Encoding a large folder, beside a bare loop."""
    rows = []
    for _, row in read("many_images").iterrows():
        seconds = "" if pd.isna(row["seconds"]) else f"{row['seconds']:.1f}"
        bare = "" if pd.isna(row["bare_seconds"]) else f"{row['bare_seconds']:.1f}"
        memory = "" if pd.isna(row["peak_MB"]) else f"{row['peak_MB'] / 1000:.1f} GB"
        encoded = "" if pd.isna(row["encoded"]) else f"{row['encoded']:,.0f}"
        rows.append([row["run"], f"{row['images']:,}", seconds, bare, memory, encoded])
    header = ["run", "images", "seconds", "of the bare loop", "most memory", "images encoded"]
    return markdown_table(header, rows, texts=1)


def imports() -> str:
    """What a notebook's kernel holds after each import."""
    rows = [
        [row["after"], f"{row['MB']:,} MB", f"{row['seconds']:.1f} s"]
        for _, row in read("imports").iterrows()
    ]
    return markdown_table(["after", "memory", "seconds"], rows, texts=1)


TABLES: dict[str, Callable[[], str]] = {
    "results in short": in_short,
    "survey bundled": lambda: survey_table("survey_bundled"),
    "survey pacs": lambda: survey_table("survey_pacs", "survey_pacs_null-space"),
    "methods": methods,
    "comparison classes": lambda: comparison("global"),
    "comparison cells": lambda: comparison("domain-specific"),
    "comparison domains": lambda: comparison("whole-domain"),
    "as published": as_published,
    "ablation cells": lambda: ablation("domain-specific"),
    "ablation classes": lambda: ablation("global"),
    "ablation domains": lambda: ablation("whole-domain"),
    "audits": audits,
    "complete": complete,
    "search bundled": lambda: searches("bundled"),
    "search pacs": lambda: searches("pacs"),
    "prototypes": likeness,
    "zoo": zoo,
    "zoo geometry": zoo_geometry,
    "never named": never_named,
    "zoo oracle": zoo_oracle,
    "zoo everything": zoo_everything,
    "real geometry": real_geometry,
    "scaling": scaling,
    "on demand": on_demand,
    "real size": real_size,
    "crowded": crowded,
    "many images": many_images,
    "imports": imports,
}


def renewed(document: str) -> str:
    """The document with every table as the CSVs have it now."""
    return BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}\n{block[3]}", document)


def main() -> None:
    for path in DOCUMENTS:
        before = path.read_text(encoding="utf-8")
        after = renewed(before)
        path.write_text(after, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'written' if after != before else 'current'}")


if __name__ == "__main__":
    main()
