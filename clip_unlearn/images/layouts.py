"""Which folder is which class of which domain: known layouts of image sets, by flag or by looking at the folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets import ImageFolder

from ..core.concepts import words
from ..core.errors import InputError
from .classnames import WORDNET_ID, class_names

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")
# The sets whose domain folders have known names, in the words that prompts use.
DOMAINS_OF = {
    "pacs": ("photo", "art painting", "cartoon", "sketch"),
    "office-home": ("art", "clipart", "product", "real world"),
    "domainnet": ("clipart", "infograph", "painting", "quickdraw", "real", "sketch"),
}
LAYOUTS = ("folders", "flat", *DOMAINS_OF, "imagenet")
_FILES = "*.jpg|png|webp"
_SHAPE = f"it should hold <domain>/<class>/{_FILES} or, as one domain, <class>/{_FILES}"


class DataError(InputError):
    """An image folder that cannot be used; the message names the folder or file."""


@dataclass(frozen=True)
class DomainFolder:
    """One domain: its name in words, its folder, and the class name of each class folder in it."""

    name: str
    folder: Path
    classes: dict[str, str]


def read_layout(
    source: str | Path | Sequence[str],
    layout: str = "",
    split: str = "",
    names_file: str | Path = "",
) -> tuple[DomainFolder, ...]:
    """The domains and classes of an image folder, from the names of folders alone; no image is opened.

    `source` is a folder, or several "domain=folder" with class folders in each. `layout` is one of
    LAYOUTS, "" to look. `split` matters here where it is a folder (ImageNet's train and val); see
    `list_files` for lists. `names_file` names classes whose folders carry ids. Raises DataError
    naming the folder and the right shape, ClassNameError for ids without a name.
    """
    if layout and layout not in LAYOUTS:
        raise DataError(f'unknown layout "{layout}": {", ".join(LAYOUTS)}.')
    pairs = named_folders(source)
    if pairs:
        if layout not in ("", "flat", "imagenet"):
            raise DataError(
                f'layout "{layout}" is for one folder; domain=folder holds <class>/{_FILES} in each.'
            )
        domains = {name: _imagenet_root(folder, split) for name, folder in pairs.items()}
    else:
        domains = _domains(_existing(Path(source)), layout, split)
    folders = {name: _class_folders(folder) for name, folder in domains.items()}
    named = class_names([c.name for inside in folders.values() for c in inside], names_file)
    return tuple(
        DomainFolder(name, folder, {c.name: named[c.name] for c in folders[name]})
        for name, folder in domains.items()
    )


def named_folders(source: str | Path | Sequence[str]) -> dict[str, Path]:
    """{domain: folder} of "domain=folder" sources; {} for one plain folder."""
    parts = [source] if isinstance(source, (str, Path)) else list(source)
    if len(parts) == 1 and ("=" not in str(parts[0]) or Path(parts[0]).is_dir()):
        return {}
    found: dict[str, Path] = {}
    for part in map(str, parts):
        name, equals, folder = part.partition("=")
        if not equals or not words(name) or not folder:
            raise DataError(
                f'"{part}": several image folders are given as domain=folder, such as photo={part}.'
            )
        if words(name) in found:
            raise DataError(f'the domain "{words(name)}" is given twice.')
        found[words(name)] = _existing(Path(folder).expanduser())
    return found


def _existing(root: Path) -> Path:
    if root.is_file():
        raise DataError(f"{root} is a file; an image folder is needed: {_SHAPE}.")
    if not root.is_dir():
        raise DataError(f"no image folder {root}.")
    return root


def _subfolders(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))


def _holds_images(folder: Path) -> bool:
    return any(p.suffix.lower() in EXTENSIONS and p.is_file() for p in folder.iterdir())


def _domains(root: Path, layout: str, split: str) -> dict[str, Path]:
    """{domain: folder with class folders} under one root."""
    if layout in DOMAINS_OF:
        return _known_domains(root, layout)
    inside = _subfolders(root)
    if not inside:
        what = "holds images but no folders" if _holds_images(root) else "is empty"
        raise DataError(f"{root} {what}; {_SHAPE}.")
    if layout == "flat":
        return {"photo": root}
    if layout == "imagenet" or (not layout and _is_imagenet(inside)):
        return {"photo": _imagenet_root(root, split)}
    if not layout and _is_flat(inside):
        return {"photo": root}
    if not layout and {f.name for f in inside} <= {"train", "val", "test"}:
        one = inside[-1]
        raise DataError(
            f"{root} holds splits, not domains: give one of them, {one}, or several as photo={one}."
        )
    return _by_words(inside)


def _by_words(folders: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        if words(folder.name) in found:
            raise DataError(
                f"{found[words(folder.name)]} and {folder} are one domain in two spellings."
            )
        found[words(folder.name)] = folder
    return found


def _is_flat(inside: Sequence[Path]) -> bool:
    """Whether images lie directly in the first-level folders; some but not others is an error."""
    classes = [f for f in inside if not _subfolders(f) and _holds_images(f)]
    domains = [f for f in inside if _subfolders(f)]
    if classes and domains:
        raise DataError(
            f"{classes[0]} holds images but {domains[0]} holds folders; {classes[0].parent}: {_SHAPE}."
        )
    return bool(classes)


def _plain(name: str) -> str:
    """A domain name without spaces and capitals: "RealWorld" and "Real World" are the same."""
    return words(name).replace(" ", "").casefold()


def _known_domains(root: Path, layout: str) -> dict[str, Path]:
    """The domain folders of a known set, in root or one folder below; other folders are passed over."""
    known = {_plain(name): name for name in DOMAINS_OF[layout]}
    for base in (root, *_subfolders(root)):
        found = {known[_plain(f.name)]: f for f in _subfolders(base) if _plain(f.name) in known}
        if found:
            return found
    there = ", ".join(f.name for f in _subfolders(root)) or "no folder"
    raise DataError(
        f"{root} holds {there}; layout {layout} has the folders {', '.join(DOMAINS_OF[layout])}."
    )


def _is_imagenet(inside: Sequence[Path]) -> bool:
    """train/ and val/ with WordNet ids in them are splits, not domains."""
    if not {f.name for f in inside} <= {"train", "val", "test"}:
        return False
    ids = [WORDNET_ID.fullmatch(c.name) for f in inside for c in _subfolders(f)]
    return bool(ids) and all(ids)


def _imagenet_root(root: Path, split: str) -> Path:
    """The folder of class folders: the folder of the split if one is named, else root itself or its val."""
    if split and not (root / split).is_dir():
        raise DataError(f'{root} has no folder "{split}" for that split.')
    if split:
        return root / split
    ids = any(WORDNET_ID.fullmatch(f.name) for f in _subfolders(root))
    return root if ids or not (root / "val").is_dir() else root / "val"


def _class_folders(domain: Path) -> list[Path]:
    classes = _subfolders(domain)
    if not classes:
        what = (
            "holds images but no class folders"
            if _holds_images(domain)
            else "holds no class folders"
        )
        raise DataError(f"{domain} {what}; it should hold <class>/{_FILES}.")
    return classes


def list_files(domains: Sequence[DomainFolder], split: str = "") -> list[tuple[Path, str, str]]:
    """(path, class, domain) of every image, domain by domain in the order of its folders.

    `split` takes only the images in <domain>_<split>.txt beside the domain folders, as DomainNet
    comes (lines "path label"). Raises DataError: a class folder without images, a list that is
    missing or wrong.
    """
    found = []
    for domain in domains:
        if (
            split and domain.folder.name != split
        ):  # a split that is a folder has been chosen already
            found += [(path, name, domain.name) for path, name in _listed(domain, split)]
            continue
        samples = _ClassFolder(domain.folder, is_valid_file=_is_image)
        found += [
            (Path(path), domain.classes[samples.classes[c]], domain.name)
            for path, c in samples.samples
        ]
    return found


def _is_image(path: str) -> bool:
    return path.lower().endswith(EXTENSIONS)


class _ClassFolder(ImageFolder):
    """ImageFolder that passes over hidden folders, such as .ipynb_checkpoints, and names an empty one."""

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        names = [f.name for f in _subfolders(Path(directory))]
        for name in names:
            if not any(_is_image(p.name) for p in (Path(directory) / name).rglob("*")):
                raise DataError(
                    f"class folder {Path(directory) / name} holds no images ({', '.join(EXTENSIONS)})."
                )
        return names, {n: i for i, n in enumerate(names)}


def _listed(domain: DomainFolder, split: str) -> list[tuple[Path, str]]:
    """The images of one domain that its list names, with their classes."""
    home = domain.folder.parent
    file = home / f"{domain.folder.name}_{split}.txt"
    if not file.is_file():
        there = (
            ", ".join(sorted(p.name for p in home.glob(f"{domain.folder.name}_*.txt"))) or "none"
        )
        raise DataError(
            f'no list {file} for the split "{split}"; lists of this domain there: {there}.'
        )
    found, label_of = [], {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        path, _, label = line.strip().rpartition(" ")
        parts = path.split("/")
        if len(parts) < 3 or parts[0] != domain.folder.name or ".." in parts or not label.isdigit():
            shape = f"{domain.folder.name}/<class>/<file> <label>"
            raise DataError(f'{file}, line {number}: "{line.strip()}" is not "{shape}".')
        if parts[1] not in domain.classes or not (home / path).is_file():
            raise DataError(f"{file}, line {number}: there is no {home / path}.")
        if label_of.setdefault(label, parts[1]) != parts[1]:
            raise DataError(
                f'{file}, line {number}: label {label} is "{label_of[label]}" before, "{parts[1]}" here.'
            )
        found.append((home / path, domain.classes[parts[1]]))
    if not found:
        raise DataError(f"{file} lists no image.")
    return found
