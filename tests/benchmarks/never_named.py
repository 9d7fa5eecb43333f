"""Is a domain forgotten for words nobody named? `python tests/benchmarks/never_named.py`

    python tests/benchmarks/never_named.py                                       the bundled CLIP
    python tests/benchmarks/never_named.py --name pacs --model DIR --images DIR     another one
    python tests/benchmarks/never_named.py --name captions --embeddings FILE  captions of a real one

Each domain is forgotten whole, with and without the pull for every word. On the bundled CLIP the
classes never named are its unrelated task, and five splits of its 16 classes; elsewhere five splits
of the classes of the images. The tests are strict in what the fit sees and lenient in one thing: a
small CLIP knows few words, and those left out are most of them.

So the third form asks how the pull fares among many words. FILE (.npy) holds n images and their n
captions, as unit rows (2, n, d); captions stand for words, and an image for the images of its word.
Seven are named, some are known, and lists of others are told apart by their images, as if in a
domain that goes (a reading of 1) or stays (0), with a standard deviation of .15.
Writes never_named.csv to tests/benchmarks/results; rows of other names stay as they are.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from clip_unlearn import Setting, every_request, prepare
from clip_unlearn.core.nullspace import TowerPrototypes
from clip_unlearn.core.variants import pull_of_words
from clip_unlearn.measure.evaluate import one_thread
from clip_unlearn.measure.never_named import every_split, splits
from clip_unlearn.measure.setting import SurveyConfig

PATH = Path(__file__).parent / "results" / "never_named.csv"
SPLITS = 5
NAMED = 7
OVERSTATED = 1.4  # pictures lead by so much more than images do, on PACS
READING_SD = 0.15


def on_images(setting: Setting, worth: float | None) -> list[dict]:
    """A row without the pull and one with it, for each way to leave classes out."""
    rows = []
    for every_word in (False, True):
        how = {"every_word": every_word}
        if worth is not None:
            how["worth"] = worth
        if setting.unrelated is not None:
            asked = (setting.prototypes, setting.task, "whole-domain", None, setting.unrelated)
            frame = every_request(*asked, progress=False, **how)
            rows.append({"left out": "the unrelated task", **how, **outcome(frame)})
        drawn = splits(len(setting.prototypes.grid.classes), many=SPLITS)
        frame = every_split(setting, drawn, **how)
        rows.append({"left out": f"{SPLITS} splits", **how, **outcome(frame)})
    return rows


def outcome(frame: pd.DataFrame) -> dict[str, float]:
    """Mean and worst over the requests of every split."""
    row = {"requests": len(frame)}
    for column in (
        "before",
        "forget",
        "retained",
        "never_named before",
        "never_named",
        "unrelated",
    ):
        row[column] = frame[column].mean()
    for column in ("forget", "never_named"):
        row[f"{column} worst"] = frame[column].max()
    for column in ("retained", "unrelated"):
        row[f"{column} worst"] = frame[column].min()
    return row


def on_captions(file: Path, worth: float | None) -> list[dict]:
    """Rows for lists of 3 and 8 captions that the pull knew, and that it did not."""
    images, captions = normalize(torch.from_numpy(np.load(file)).float(), dim=-1)
    how = {} if worth is None else {"worth": worth}
    rows = []
    for known in (60, 240):
        measured = []
        for seed in range(SPLITS):
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
            named, words = order[:NAMED], order[NAMED : NAMED + known]
            unknown = order[NAMED + 240 :]
            pictures = centre_moved(images[named], OVERSTATED)[:, None]
            p = TowerPrototypes(
                torch.eye(images.shape[1]),
                captions[named][:, None],
                captions[named],
                pictures[:, :, None],
                pictures,
                captions[words],
            )
            no_pull = torch.zeros(images.shape[1])
            q = pull_of_words(p, pictures, no_pull, **how)
            for whose, index in (("known", words), ("unknown", unknown)):
                for length in (3, 8):
                    found = told_apart(images[index], captions[index], q, length)
                    measured.append({"left out": f"{whose} words, lists of {length}", **found})
        frame = pd.DataFrame(measured).groupby("left out", sort=False).mean().reset_index()
        rows += frame.assign(words=known, every_word=True).to_dict("records")
    return rows


def centre_moved(images: Tensor, factor: float) -> Tensor:
    """Images farther from their mean by a factor."""
    return images.mean(0) + factor * (images - images.mean(0))


def told_apart(images: Tensor, texts: Tensor, q: Tensor, length: int) -> dict[str, float]:
    """Accuracy before, where the domain goes, and its change where it stays, over random lists."""
    generator = torch.Generator().manual_seed(1)
    lists = torch.stack(
        [torch.randperm(len(images), generator=generator)[:length] for _ in range(400)]
    )
    noise = READING_SD * torch.randn(len(images), generator=generator)

    def right(readings: Tensor) -> float:
        scores = (images + readings[:, None] * q) @ texts.T
        among = scores[lists[:, :, None], lists[:, None, :]]  # (400, length, length)
        return among.argmax(-1).eq(torch.arange(length)).float().mean().item()

    before = right(torch.zeros(len(images)))
    change = 100 * (right(noise) - before)
    return {"never_named before": before, "never_named": right(1 + noise), "unrelated": change}


@click.command(help=__doc__)
@click.option("--name", default="bundled")
@click.option("--model", default="bundled")
@click.option("--images", default="bundled")
@click.option("--embeddings", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--worth", type=float, help="of what stays against what goes; the default's if not given"
)
@one_thread()
def main(name: str, model: str, images: str, embeddings: Path | None, worth: float | None) -> None:
    """Measure one CLIP."""
    if embeddings:
        rows = on_captions(embeddings, worth)
    else:
        rows = on_images(prepare(SurveyConfig(model=model, images=images)), worth)
    table = pd.DataFrame([{"data": name, **row} for row in rows])
    print(table.round(3).to_string(index=False))
    if worth is None:
        old = pd.read_csv(PATH) if PATH.is_file() else pd.DataFrame(columns=["data"])
        together = pd.concat([old[old["data"] != name], table])
        together.round(3).to_csv(PATH, index=False)


if __name__ == "__main__":
    main()
