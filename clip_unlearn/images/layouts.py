"""Which folder is which class of which domain, and which images lie in it.

The layout of a set is named by the user, or recognised from the names of its folders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..core import InputError
from ..core.concepts import words
from .classnames import WORDNET_ID, class_names
from .pictures import EXTENSIONS, MACOS, image_files, is_hidden, is_image, warn_of

# The sets whose domain folders have known names, in the words that prompts use.
DOMAINS_OF = {
    "pacs": ("photo", "art painting", "cartoon", "sketch"),
    "office-home": ("art", "clipart", "product", "real world"),
    "domainnet": ("clipart", "infograph", "painting", "quickdraw", "real", "sketch"),
}
LAYOUTS = ("folders", "flat", *DOMAINS_OF, "imagenet")
_SPLITS = {"train", "val", "test"}
_FILES = "*.jpg|png|webp"
_SHAPE = f"it should hold <domain>/<class>/{_FILES} or, as one domain, <class>/{_FILES}"


class DataError(InputError):
    """An image folder that cannot be used; the message names the folder or file."""


@dataclass(frozen=True)
class DomainFolder:
    """One domain of an image set."""

    name: str  # in words: "art painting"
    folder: Path
    classes: dict[str, str]  # the name of each class folder in it -> the name of the class


class ImageFile(NamedTuple):
    """An image that was listed but not opened, with the names of its class and domain."""

    path: Path
    class_name: str
    domain: str


def read_layout(
    source: str | Path | Sequence[str],
    layout: str = "",
    split: str = "",
    names_file: str | Path = "",
) -> tuple[DomainFolder, ...]:
    """The domains and classes of an image folder, from the names of folders alone.

    `source` is a folder, or several "domain=folder" with class folders in each. `layout` is one of
    LAYOUTS, or "" to recognise it. `split` matters here where it is a folder (ImageNet's train and
    val); see `list_files` for lists. `names_file` names classes whose folders carry ids. No image
    is opened. Raises DataError, which names the folder and the right shape, and ClassNameError for
    ids without a name.
    """
    if layout and layout not in LAYOUTS:
        raise DataError(f'unknown layout "{layout}": {", ".join(LAYOUTS)}.')

    # The folder of each domain.
    pairs = named_folders(source)
    if not pairs:
        domains = _domains(_existing(Path(source)), layout, split)
    elif layout in ("", "flat", "imagenet"):
        domains = {name: _imagenet_root(folder, split) for name, folder in pairs.items()}
    else:
        raise DataError(
            f'layout "{layout}" is for one folder; domain=folder holds <class>/{_FILES} in each.'
        )

    # The class of each folder inside, named over all domains at once.
    folders_in = {name: _class_folders(folder) for name, folder in domains.items()}
    all_folders = {folder for inside in folders_in.values() for folder in inside}
    class_of = class_names(all_folders, names_file)
    return tuple(
        DomainFolder(name, domains[name], {folder: class_of[folder] for folder in inside})
        for name, inside in folders_in.items()
    )


def named_folders(source: str | Path | Sequence[str]) -> dict[str, Path]:
    """{domain: folder} of "domain=folder" sources; {} for one plain folder."""
    parts = [source] if isinstance(source, (str, Path)) else list(source)
    if len(parts) == 1 and _is_plain_folder(parts[0]):
        return {}
    folders: dict[str, Path] = {}
    for part in parts:
        name, folder = _name_and_folder(str(part))
        if name in folders:
            raise DataError(f'the domain "{name}" is given twice.')
        folders[name] = folder
    return folders


def list_files(domains: Sequence[DomainFolder], split: str = "") -> list[ImageFile]:
    """Every image, domain by domain in the order of its folders.

    `split` takes only the images in <domain>_<split>.txt beside the domain folders, as DomainNet
    comes (lines "path label"). Files that are no images of the user's are passed over, with one
    warning for all. Raises DataError: a class folder without images, a list that is missing or
    wrong.
    """
    files = []
    passed_over: Counter[str] = Counter()
    for domain in domains:
        # A split that is a folder, as in ImageNet, has been chosen already.
        if split and domain.folder.name != split:
            files += _files_in_list(domain, split)
        else:
            files += _files_in_folders(domain, passed_over)
    beside = {domain.folder.parent / MACOS for domain in domains}
    passed_over.update(path.name for path in beside if path.is_dir())
    warn_of(passed_over, domains[0].folder.parent)
    return files


# ---- from a source to the folders of its domains


def _is_plain_folder(part: str | Path) -> bool:
    """Whether a source is no "domain=folder"; an existing folder may have "=" in its name."""
    return "=" not in str(part) or Path(part).is_dir()


def _name_and_folder(part: str) -> tuple[str, Path]:
    """The two sides of "domain=folder"."""
    domain, _, folder = part.partition("=")
    name = words(domain)
    if not name or not folder:
        raise DataError(
            f'"{part}": several image folders are given as domain=folder, such as photo={part}.'
        )
    return name, _existing(Path(folder).expanduser())


def _domains(root: Path, layout: str, split: str) -> dict[str, Path]:
    """{domain: folder with class folders} under one root."""
    if layout in DOMAINS_OF:
        return _known_domains(root, layout)
    inside = _subfolders(root)
    if not inside:
        state = "holds images but no folders" if _holds_images(root) else "is empty"
        raise DataError(f"{root} {state}; {_SHAPE}.")
    layout = layout or _recognised(root, inside)
    if layout == "flat":
        return {"photo": root}
    if layout == "imagenet":
        return {"photo": _imagenet_root(root, split)}
    return _by_words(inside)


def _known_domains(root: Path, layout: str) -> dict[str, Path]:
    """The domain folders of a known set, in root or one folder below, without other folders."""
    spelling = {_plain(name): name for name in DOMAINS_OF[layout]}
    for base in (root, *_subfolders(root)):
        folder_of = {}
        for folder in _subfolders(base):
            name = spelling.get(_plain(folder.name))
            if name:
                folder_of[name] = folder
        if folder_of:
            return folder_of
    there = ", ".join(folder.name for folder in _subfolders(root)) or "no folder"
    raise DataError(
        f"{root} holds {there}; layout {layout} has the folders {', '.join(DOMAINS_OF[layout])}."
    )


def _plain(name: str) -> str:
    """A domain name without spaces and capitals: "RealWorld" and "Real World" are the same."""
    return words(name).replace(" ", "").casefold()


def _recognised(root: Path, inside: Sequence[Path]) -> str:
    """The layout that the folders in root look like: "imagenet", "flat" or "folders"."""
    are_splits = {folder.name for folder in inside} <= _SPLITS
    if are_splits and _hold_ids(inside):
        return "imagenet"
    if _is_flat(inside):
        return "flat"
    if are_splits:
        one = inside[-1]
        raise DataError(
            f"{root} holds splits, not domains: give one of them, {one}, or several as photo={one}."
        )
    return "folders"


def _hold_ids(folders: Sequence[Path]) -> bool:
    """Whether all folders in these are named by WordNet ids."""
    names = [inner.name for folder in folders for inner in _subfolders(folder)]
    return bool(names) and all(WORDNET_ID.fullmatch(name) for name in names)


def _is_flat(inside: Sequence[Path]) -> bool:
    """Whether images lie directly in these folders; in some but not in others is an error."""
    domains = [folder for folder in inside if _subfolders(folder)]
    classes = [folder for folder in inside if not _subfolders(folder) and _holds_images(folder)]
    if classes and domains:
        raise DataError(
            f"{classes[0]} holds images but {domains[0]} holds folders; "
            f"{classes[0].parent}: {_SHAPE}."
        )
    return bool(classes)


def _imagenet_root(root: Path, split: str) -> Path:
    """The folder of class folders: that of the split if one is named, else root or its val."""
    if split:
        if not (root / split).is_dir():
            raise DataError(f'{root} has no folder "{split}" for that split.')
        return root / split
    has_ids = any(WORDNET_ID.fullmatch(folder.name) for folder in _subfolders(root))
    has_val = (root / "val").is_dir()
    return root / "val" if has_val and not has_ids else root


def _by_words(folders: Sequence[Path]) -> dict[str, Path]:
    """The folders by their names in words."""
    folder_of: dict[str, Path] = {}
    for folder in folders:
        other = folder_of.setdefault(words(folder.name), folder)
        if other != folder:
            raise DataError(f"{other} and {folder} are one domain in two spellings.")
    return folder_of


def _class_folders(domain: Path) -> list[str]:
    """The names of the class folders of a domain."""
    folders = _subfolders(domain)
    if not folders:
        holds = "holds images but" if _holds_images(domain) else "holds"
        raise DataError(f"{domain} {holds} no class folders; it should hold <class>/{_FILES}.")
    return [folder.name for folder in folders]


def _existing(root: Path) -> Path:
    """The folder itself, if there is one."""
    if root.is_file():
        raise DataError(f"{root} is a file; an image folder is needed: {_SHAPE}.")
    if not root.is_dir():
        raise DataError(f"no image folder {root}.")
    return root


def _subfolders(folder: Path) -> list[Path]:
    """The folders in one, without those that are not the user's own."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not is_hidden(p.name))


def _holds_images(folder: Path) -> bool:
    return any(is_image(path.name) and path.is_file() for path in folder.iterdir())


# ---- from the folder of a domain to its images


def _files_in_folders(domain: DomainFolder, passed_over: Counter[str]) -> list[ImageFile]:
    """All images in the class folders of a domain; what is left out is counted."""
    hidden = [p.name for p in domain.folder.iterdir() if p.is_dir() and is_hidden(p.name)]
    passed_over.update(hidden)
    files = []
    for folder, class_name in sorted(domain.classes.items()):
        paths = image_files(domain.folder / folder, passed_over)
        if not paths:
            raise DataError(
                f"class folder {domain.folder / folder} holds no images ({', '.join(EXTENSIONS)})."
            )
        files += [ImageFile(path, class_name, domain.name) for path in paths]
    return files


def _files_in_list(domain: DomainFolder, split: str) -> list[ImageFile]:
    """The images of a domain that the list of a split names."""
    file = _list_of(domain, split)
    files = []
    folder_of_label: dict[str, str] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        path, folder, label = _list_entry(line.strip(), domain, where)
        earlier = folder_of_label.setdefault(label, folder)
        if earlier != folder:
            raise DataError(
                f'{where}: label {label} was "{earlier}" before; it is "{folder}" here.'
            )
        files.append(ImageFile(path, domain.classes[folder], domain.name))
    if not files:
        raise DataError(f"{file} lists no image.")
    return files


def _list_of(domain: DomainFolder, split: str) -> Path:
    """The file <domain>_<split>.txt beside the folder of a domain."""
    home = domain.folder.parent
    file = home / f"{domain.folder.name}_{split}.txt"
    if not file.is_file():
        others = sorted(path.name for path in home.glob(f"{domain.folder.name}_*.txt"))
        there = ", ".join(others) or "none"
        raise DataError(
            f'no list {file} for the split "{split}"; lists of this domain there: {there}.'
        )
    return file


def _list_entry(line: str, domain: DomainFolder, where: str) -> tuple[Path, str, str]:
    """(path, class folder, label) of a line "<domain>/<class>/<file> <label>"."""
    name, _, label = line.rpartition(" ")  # the file's own name may hold spaces
    parts = name.split("/")
    is_inside = len(parts) >= 3 and parts[0] == domain.folder.name and ".." not in parts
    if not is_inside or not label.isdigit():
        shape = f"{domain.folder.name}/<class>/<file> <label>"
        raise DataError(f'{where}: "{line}" is not "{shape}".')
    path = domain.folder.parent / name
    folder = parts[1]
    if folder not in domain.classes or not path.is_file():
        raise DataError(f"{where}: there is no {path}.")
    return path, folder, label
