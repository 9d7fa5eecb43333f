"""Names of classes whose folders carry ids.

They come from a file of the user's, or for the ids of ImageNet from open_clip.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from ..core import InputError
from ..core.concepts import words

WORDNET_ID = re.compile(r"n\d{8}")
_SHAPE = 'JSON {"id": "name", ...}, or lines "id name"'
# open_clip gives these the name of another class; here they have WordNet's own.
_IMAGENET_TWINS = {"n04008634": "projectile", "n04355933": "sunglass"}


class ClassNameError(InputError):
    """A class-name file that cannot be used, or an id without a name; the message names it."""


def class_names(folders: Iterable[str], file: str | Path = "") -> dict[str, str]:
    """{folder: class name}: by the file if there is one, by ImageNet's ids, or the folder's words.

    With a file, a folder may also carry the name itself: ImageNet's ids and a set with names then
    share classes. Raises ClassNameError: no such file, not its shape, an id without a name, two ids
    of one name.
    """
    folders = sorted(set(folders))
    name_of_id = _known_ids(folders, file)
    plain_names = {words(name).casefold() for name in name_of_id.values()}
    names: dict[str, str] = {}
    id_of_name: dict[str, str] = {}
    for folder in folders:
        name = words(name_of_id.get(folder, folder))
        plain = name.casefold()
        if folder in name_of_id:
            other = id_of_name.setdefault(plain, folder)
            if other != folder:
                raise ClassNameError(
                    f'"{other}" and "{folder}" are both called "{name}": '
                    "prompts cannot tell them apart."
                )
        elif file and plain not in plain_names:
            raise ClassNameError(
                f'class folder "{folder}" has no name in {file}; it should be {_SHAPE}.'
            )
        elif not file and WORDNET_ID.fullmatch(folder):
            raise ClassNameError(
                f'"{folder}" is no class of ImageNet-1k; --class-names FILE names it: {_SHAPE}.'
            )
        names[folder] = name
    return names


def _known_ids(folders: Iterable[str], file: str | Path) -> dict[str, str]:
    """{id: name} of the file; without one, ImageNet's if any folder carries such an id."""
    if file:
        return read_class_names(file)
    if any(WORDNET_ID.fullmatch(folder) for folder in folders):
        return imagenet_names()
    return {}


def read_class_names(file: str | Path) -> dict[str, str]:
    """{id: name} of a file: JSON {"id": "name"}, or lines "id name".

    JSON may also be ImageNet's class index, {"0": ["id", "name"]}. In a line, what follows the
    first comma is further names of the same class, as in ImageNet's synset_words.txt. Raises
    ClassNameError.
    """
    file = Path(file)
    if not file.is_file():
        raise ClassNameError(f"no class-name file {file}.")
    try:
        text = file.read_text(encoding="utf-8-sig")
        names = _from_json(json.loads(text)) if file.suffix == ".json" else _from_lines(text)
    except UnicodeDecodeError as error:
        raise ClassNameError(f"{file} is not UTF-8 text; it should be {_SHAPE}.") from error
    except ValueError as error:
        raise ClassNameError(f"{file}: {error}; it should be {_SHAPE}.") from error
    if not names:
        raise ClassNameError(f"{file} names no class; it should be {_SHAPE}.")
    return names


def _from_json(data: object) -> dict[str, str]:
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    names = {}
    for key, value in data.items():
        is_index_entry = key.isdigit() and isinstance(value, list) and len(value) == 2
        class_id, name = value if is_index_entry else (key, value)
        if not (is_text(class_id) and is_text(name)):
            raise ValueError(f'the entry of "{key}" is {json.dumps(value)}')
        names[class_id] = name
    return names


def is_text(value: object) -> bool:
    """Whether a value that a file holds is a text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def _from_lines(text: str) -> dict[str, str]:
    names = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line:
            continue
        class_id, _, rest = line.replace("\t", " ").partition(" ")
        name = rest.split(",")[0].strip()
        if not name:
            raise ValueError(f'line {number} is "{line}"')
        names[class_id] = name
    return names


def imagenet_names() -> dict[str, str]:
    """{WordNet id: name} of the 1,000 classes of ImageNet: timm's ids, open_clip's names."""
    import open_clip
    from timm.data import ImageNetInfo

    ids = ImageNetInfo().label_names()
    return dict(zip(ids, open_clip.IMAGENET_CLASSNAMES, strict=True)) | _IMAGENET_TWINS


# ---- names in one text, separated


def split(text: str, separator: str) -> list[str]:
    """The parts between separators that have no backslash before them; backslashes stay."""
    return re.split(rf"(?<!\\){re.escape(separator)}", text)


def unescaped(text: str) -> str:
    r"""A name without the backslashes that kept its commas and plus signs: "a\, b" -> "a, b"."""
    return re.sub(r"\\([,+])", r"\1", text)


def names_in(text: str) -> list[str]:
    """The names of a text such as "dog, cat"; a comma in a name has a backslash before it."""
    parts = [part.strip() for part in split(text, ",")]
    return [unescaped(part) for part in parts if part]
