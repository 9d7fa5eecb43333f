"""Draw the bundled image set from nothing but code, check it, or show it on one sheet.

    python data/render.py                   draw data/four_domains and data/CHECKSUMS.txt anew
    python data/render.py --check           compare what is shipped with its checksums
    python data/render.py --sheet FILE.png  one contact sheet, class x domain

Each image has a seed of its own, from its split, domain, class and number: any image can be drawn
alone, evaluation images are never training images, and the same script gives the same bytes on the
same machine.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from drawing.animals import ANIMALS
from drawing.others_air import OTHERS_AIR
from drawing.others_ground import OTHERS_GROUND
from drawing.plants import PLANTS
from drawing.styles import STYLES, render
from drawing.things import THINGS
from drawing.vehicles import VEHICLES
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
CHECKSUMS = HERE / "CHECKSUMS.txt"
CLASSES = {**ANIMALS, **VEHICLES, **PLANTS, **THINGS}
UNRELATED = {**OTHERS_AIR, **OTHERS_GROUND}
FIGURES = {**CLASSES, **UNRELATED}
DOMAINS = tuple(STYLES)
SIZE = 96
PER_CELL = {"images": 20, "unrelated": 8}


def draw(split: str, domain: str, name: str, number: int) -> np.ndarray:
    """One picture, (96, 96, 3) uint8; split "evaluation" or "training"."""
    seed = np.random.SeedSequence([zlib.crc32(f"{split}/{domain}/{name}".encode()), number])
    rng = np.random.default_rng(seed)
    return render(FIGURES[name](rng), domain, rng, SIZE)


def draw_cell(job: tuple[str, str, str, int]) -> np.ndarray:
    """All pictures of one cell, (n, 96, 96, 3) uint8: the unit of work of a process pool."""
    split, domain, name, count = job
    return np.stack([draw(split, domain, name, i) for i in range(count)])


def cells(folder: str) -> list[tuple[str, str]]:
    """The (domain, class) pairs of one of the two evaluation folders."""
    return [(d, c) for d in DOMAINS for c in (CLASSES if folder == "images" else UNRELATED)]


def write_evaluation(root: Path, workers: int = 2) -> None:
    """Draw root/images and root/unrelated, <domain>/<class>/NNN.jpg."""
    jobs = [(f, d, c) for f in PER_CELL for d, c in cells(f)]
    work = [("evaluation", d, c, PER_CELL[f]) for f, d, c in jobs]
    with ProcessPoolExecutor(workers) as pool:
        for (folder, d, c), pictures in zip(
            jobs, tqdm(pool.map(draw_cell, work), total=len(work)), strict=True
        ):
            target = root / folder / d / c
            target.mkdir(parents=True, exist_ok=True)
            for i, picture in enumerate(pictures):
                Image.fromarray(picture).save(target / f"{i:03d}.jpg", quality=88)


def shipped() -> Iterator[Path]:
    """Every file under data/ whose checksum is kept: images, model, prototypes."""
    for folder in ("four_domains", "bundled_clip", "prototypes"):
        yield from sorted(
            p for p in (HERE / folder).rglob("*") if p.is_file() and not p.name.startswith(".")
        )


def checksums() -> dict[str, str]:
    """sha256 of every shipped file, by its path below data/."""
    return {
        p.relative_to(HERE).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in shipped()
    }


def write_checksums() -> None:
    """Write CHECKSUMS.txt in the format of sha256sum."""
    CHECKSUMS.write_text("".join(f"{digest}  {name}\n" for name, digest in checksums().items()))


def check() -> list[str]:
    """What differs from CHECKSUMS.txt: changed, missing or unknown files."""
    listed = dict(reversed(line.split("  ", 1)) for line in CHECKSUMS.read_text().splitlines())
    found = checksums()
    return sorted(
        name for name in listed.keys() | found.keys() if listed.get(name) != found.get(name)
    )


def contact_sheet(path: Path, columns: int = 2, names: list[str] | None = None) -> None:
    """One page: a row a class, `columns` pictures for each domain."""
    names, label, head = names or list(FIGURES), 110, 24
    width = label + len(DOMAINS) * (columns * SIZE + 12)
    sheet = Image.new("RGB", (width, head + len(names) * (SIZE + 4)), "white")
    ink, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for k, domain in enumerate(DOMAINS):
        left = label + k * (columns * SIZE + 12)
        ink.text((left, 4), domain, fill="black", font=font)
        for row, name in enumerate(names):
            top = head + row * (SIZE + 4)
            ink.text((4, top + SIZE // 2 - 8), name.replace("_", " "), fill="black", font=font)
            for i in range(columns):
                sheet.paste(
                    Image.fromarray(draw("evaluation", domain, name, i)), (left + i * SIZE, top)
                )
    sheet.save(path, quality=85)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--classes", nargs="*")
    options = parser.parse_args()
    if options.check:
        wrong = check()
        print(
            "\n".join(["differs from CHECKSUMS.txt:", *wrong])
            if wrong
            else "all shipped files match"
        )
        raise SystemExit(bool(wrong))
    if options.sheet:
        return contact_sheet(options.sheet, options.columns, options.classes)
    shutil.rmtree(HERE / "four_domains", ignore_errors=True)
    write_evaluation(HERE / "four_domains")
    write_checksums()


if __name__ == "__main__":
    main()
