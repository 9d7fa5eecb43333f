"""The README.md of an edited CLIP: what was removed, how it was measured, and what such an edit does not do."""

from __future__ import annotations

from collections.abc import Mapping

from huggingface_hub import ModelCardData

Measured = Mapping[str, Mapping[str, float]]

LIMITS = """\
- Only the last matrix of a tower is edited, nothing before it. The features in front of it still know what was
  forgotten: a linear probe reads it out, and a few images teach it back.
- It answers to the prompts and images that were not tried only as far as they resemble those that were.
- It is no claim about privacy: no training data was erased, and nothing is proved about what can be recovered.
- All other limits, biases and terms of use of the base model hold as before."""


def model_card(
    facts: Mapping, measured: Measured | None = None, measured_on: str = "", license: str = "other"
) -> str:
    """The card as Markdown with YAML front matter; `facts` is what edit.json says (see `saved.save_edited`)."""
    base = facts["base_repo"] or facts["origin"] or facts["base"]
    front = ModelCardData(
        license=license,
        library_name="open_clip",
        pipeline_tag="zero-shot-image-classification",
        tags=["clip", "machine-unlearning", "clip_unlearn"],
        base_model=facts["base_repo"] or None,
    )
    removed = "\n".join(_removed(edit) for edit in facts["edits"])
    return f"""---
{front.to_yaml()}
---

# {facts["base"]}, made to forget

`{base}` (weights {facts["base_fingerprint"]}) with the last projection edited in closed form, by
[arXiv 2512.14113](https://arxiv.org/abs/2512.14113)'s idea: no training, and no image of a data set.

## What was removed

{removed}

## How it was measured

{_measured(measured, measured_on)}

## Use

Any open_clip loads this folder: `open_clip.create_model_and_transforms("local-dir:FOLDER")`, or `"hf-hub:OWNER/NAME"`
once it is pushed. `edit.json` holds the request, the settings and the versions.

## Limits

{LIMITS}

Made by clip_unlearn {facts["versions"]["clip_unlearn"]}.
"""


def _removed(edit: Mapping) -> str:
    """One edit as a line of a list."""
    what = ", ".join(edit["classes"]) if edit["classes"] else "every class"
    where = f"in {', '.join(edit['domains'])}" if edit["domains"] else "in every domain"
    sides = {"visual": "image", "text": "text"}
    rank = ", ".join(f"rank {r} on the {sides[tower]} side" for tower, r in edit["rank"].items())
    how = f"the {edit['method']} edit at strength {edit['strength']:g}, {rank}"
    return f"- **{what}** {where} ({edit['paradigm']}): {how}."


def _measured(measured: Measured | None, on: str) -> str:
    """A table of the numbers, or that there are none."""
    rows = {name: row for name, row in (measured or {}).items() if row}
    if not rows:
        return "It was not measured when it was saved. Measure it on images of your own before you rely on it."
    columns = list(next(iter(rows.values())))
    lines = [f"| images | {' | '.join(columns)} |", f"|:--|{'--:|' * len(columns)}"]
    for name, row in rows.items():
        values = (f"{row[c]:.3f}" if isinstance(row[c], float) else str(row[c]) for c in columns)
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(values)} |")
    return "\n".join([f"On {on}:\n" if on else "As given by who saved it:\n", *lines])
