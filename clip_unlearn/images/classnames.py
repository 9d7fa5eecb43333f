"""Names of classes whose folders carry ids: from a file, or open_clip's names for the ids of ImageNet."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from ..core.concepts import words
from ..core.errors import InputError

WORDNET_ID = re.compile(r"n\d{8}")
_SHAPE = 'JSON {"id": "name", ...}, or lines "id name"'
# open_clip gives these the name of another class; these are WordNet's own.
_IMAGENET_TWINS = {"n04008634": "projectile", "n04355933": "sunglass"}


class ClassNameError(InputError):
    """A class-name file that cannot be used, or an id without a name; the message names it."""


def class_names(folders: Iterable[str], file: str | Path = "") -> dict[str, str]:
    """The class name of each folder: by the file if there is one, by ImageNet's ids, or the folder's own words.

    With a file, a folder may also carry the name itself: ImageNet's ids and a set with names then
    share classes. Raises ClassNameError: no such file, not its shape, an id without a name, two ids
    of one name.
    """
    known = read_class_names(file) if file else {}
    plain = {words(name).casefold() for name in known.values()}
    names, owner = {}, {}
    for folder in sorted(set(folders)):
        name = words(folder)
        if not file and WORDNET_ID.fullmatch(folder):
            known = known or imagenet_names()
        if folder in known:
            name = words(known[folder])
            other = owner.setdefault(name.casefold(), folder)
            if other != folder:
                raise ClassNameError(
                    f'"{other}" and "{folder}" are both called "{name}": prompts cannot tell them apart.'
                )
        elif WORDNET_ID.fullmatch(folder) and not file:
            raise ClassNameError(
                f'"{folder}" is no class of ImageNet-1k; --class-names FILE names it: {_SHAPE}.'
            )
        elif file and name.casefold() not in plain:
            raise ClassNameError(
                f'class folder "{folder}" has no name in {file}; it should be {_SHAPE}.'
            )
        names[folder] = name
    return names


def read_class_names(file: str | Path) -> dict[str, str]:
    """{id: name} of a file: JSON {"id": "name"}, JSON {"0": ["id", "name"]} (ImageNet's class index), or lines.

    In a line, what follows the first comma is further names of the same class, as in ImageNet's
    synset_words.txt.
    """
    file = Path(file)
    if not file.is_file():
        raise ClassNameError(f"no class-name file {file}.")
    try:
        text = file.read_text(encoding="utf-8-sig")
        found = _from_json(json.loads(text)) if file.suffix == ".json" else _from_lines(text)
    except UnicodeDecodeError as error:
        raise ClassNameError(f"{file} is not UTF-8 text; it should be {_SHAPE}.") from error
    except ValueError as error:
        raise ClassNameError(f"{file}: {error}; it should be {_SHAPE}.") from error
    if not found:
        raise ClassNameError(f"{file} names no class; it should be {_SHAPE}.")
    return found


def _from_json(data: object) -> dict[str, str]:
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    found = {}
    for key, value in data.items():
        pair = (
            value if isinstance(value, list) and len(value) == 2 and key.isdigit() else (key, value)
        )
        if not all(isinstance(part, str) and part.strip() for part in pair):
            raise ValueError(f'the entry of "{key}" is {json.dumps(value)}')
        found[pair[0]] = pair[1]
    return found


def _from_lines(text: str) -> dict[str, str]:
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, _, names = line.strip().replace("\t", " ").partition(" ")
        name = names.split(",")[0].strip()
        if not name:
            raise ValueError(f'line {number} is "{line.strip()}"')
        found[key] = name
    return found


def imagenet_names() -> dict[str, str]:
    """open_clip's names of the 1,000 classes of ImageNet by WordNet id; timm knows the order of the ids."""
    import open_clip
    from timm.data import ImageNetInfo

    return (
        dict(zip(ImageNetInfo().label_names(), open_clip.IMAGENET_CLASSNAMES, strict=True))
        | _IMAGENET_TWINS
    )
