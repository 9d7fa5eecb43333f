"""The README.md of an edited CLIP: what was removed, how it was measured, and the edit's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from huggingface_hub import ModelCardData

from .markdown import markdown_table

Measured = Mapping[str, Mapping[str, float]]

_SIDES = {"visual": "image", "text": "text"}
LIMITS = """\
- Only the last matrix of a tower is edited, nothing before it. The features in front of it still
  know what was forgotten: a linear probe reads it out, and a few images teach it back.
- It answers to the prompts and images that were not tried only as far as they resemble those that
  were.
- It is no claim about privacy: no training data was erased, and nothing is proved about what can be
  recovered.
- All other limits, biases and terms of use of the base model hold as before."""


def model_card(
    facts: Mapping, measured: Measured | None = None, measured_on: str = "", license: str = "other"
) -> str:
    """The card as Markdown with YAML front matter.

    `facts` is what edit.json says; `saved.save_edited` explains the rest.
    """
    front = ModelCardData(
        license=license,
        library_name="open_clip",
        pipeline_tag="zero-shot-image-classification",
        tags=["clip", "machine-unlearning", "clip_unlearn"],
        base_model=facts["base_repo"] or None,
    )
    base = facts["base_repo"] or facts["origin"] or facts["base"]
    removed = "\n".join(_removed(edit) for edit in facts["edits"])
    return f"""---
{front.to_yaml()}
---

# {facts["base"]}, made to forget

`{base}` (weights {facts["base_fingerprint"]}) with the last projection edited in closed form, by
[arXiv 2512.14113](https://arxiv.org/abs/2512.14113)'s idea: no training, and no image of a data
set.

## What was removed

{removed}

## How it was measured

{_measured(measured, measured_on)}

## Use

Any open_clip loads this folder: `open_clip.create_model_and_transforms("local-dir:FOLDER")`, or
`"hf-hub:OWNER/NAME"` once it is pushed. `edit.json` holds the request, the settings and the
versions.

## Limits

{LIMITS}

Made by clip_unlearn {facts["versions"]["clip_unlearn"]}.
"""


def _removed(edit: Mapping) -> str:
    """One edit as a line of a list."""
    classes = _listed(edit["classes"], "class")
    domains = _listed(edit["domains"], "domain")
    kind = edit["paradigm"]
    if edit.get("complete"):
        kind += ", from a search there too"
    request = f"**{classes}** in {domains} ({kind})"

    ranks = []
    for tower, rank in edit["rank"].items():
        ranks.append(f"rank {rank} on the {_SIDES[tower]} side")
    how = f"the {edit['method']} edit at strength {edit['strength']:g}"
    return f"- {request}: {', '.join([how, *ranks])}."


def _listed(names: Sequence[str] | None, kind: str) -> str:
    return ", ".join(names) if names else f"every {kind}"


def _measured(measured: Measured | None, images: str) -> str:
    """A table of the numbers, or that there are none."""
    groups = {name: numbers for name, numbers in (measured or {}).items() if numbers}
    if not groups:
        return (
            "It was not measured when it was saved. "
            "Measure it on images of your own before you rely on it."
        )
    columns = list(next(iter(groups.values())))
    rows = []
    for name, numbers in groups.items():
        values = [_shown(numbers[column]) for column in columns]
        rows.append([name.replace("_", " "), *values])
    table = markdown_table(["images", *columns], rows)
    source = f"On {images}:" if images else "As given by who saved it:"
    return f"{source}\n\n{table}"


def _shown(number: float) -> str:
    """Accuracies at three decimals, counts as they are."""
    return f"{number:.3f}" if isinstance(number, float) else str(number)
