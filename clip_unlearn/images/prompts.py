"""Prompts of the user's own: templates, domain words, synonyms and translations from a small file.

`check_prompts` looks at what a tokenizer makes of them.
"""

from __future__ import annotations

import difflib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import open_clip
import torch
import yaml

from ..core import InputError, first_line
from ..core.concepts import ConceptGrid, fill
from .classnames import is_text

# open_clip's own templates by name, as test templates.
NAMED = {
    "imagenet": open_clip.OPENAI_IMAGENET_TEMPLATES,
    "simple": open_clip.SIMPLE_IMAGENET_TEMPLATES,
}
_LISTS = ("class_templates", "cell_templates", "test_templates", "paraphrase_templates")
_MAPPINGS = ("domain_words", "synonyms", "translations")
# open_clip's templates have no {domain}.
_MAY_BE_NAMED = frozenset(_LISTS) - {"cell_templates"}


class PromptError(InputError):
    """A prompts file that cannot be used, or names that a tokenizer cannot tell apart."""


@dataclass(frozen=True)
class Prompts:
    """What a prompts file says; where a field is empty, the package's own prompts are used."""

    class_templates: tuple[str, ...] = ()
    cell_templates: tuple[str, ...] = ()
    test_templates: tuple[str, ...] = ()
    paraphrase_templates: tuple[str, ...] = ()
    # Words by domain, words by class, and words or whole sentences by class.
    domain_words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    translations: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def grid(self, classes: Sequence[str], domains: Sequence[str]) -> ConceptGrid:
        """The grid of these names with these prompts.

        Raises UnknownNameError for a word list of a class or domain it does not have, PromptError
        for a translation that two classes share.
        """
        stated = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}
        grid = ConceptGrid(tuple(classes), tuple(domains), **stated)
        for name in self.domain_words:
            grid.domain_index(name)
        for name in (*self.synonyms, *self.translations):
            grid.class_index(name)
        _check_translations(self.translations)
        return grid


def _check_translations(translations: Mapping[str, Sequence[str]]) -> None:
    """Refuse a translation that two classes share."""
    class_of: dict[str, str] = {}
    for name, texts in translations.items():
        for text in texts:
            other = class_of.setdefault(text.casefold(), name)
            if other != name:
                raise PromptError(
                    f'the translation "{text}" is given for "{other}" and for "{name}"; '
                    "it can name only one class."
                )


def read_prompts(source: str | Path) -> Prompts:
    """The prompts of a YAML or JSON file.

    "imagenet" or "simple" in place of a file are open_clip's templates to test with. The keys are
    class_templates, cell_templates, test_templates, paraphrase_templates (lists of texts with
    {class}, and {domain} in cell_templates; or one of those two names, except for cell_templates),
    domain_words and synonyms (name -> list of words), translations (class -> words or whole
    sentences, which stand in no template and only test). Raises PromptError with the file, the
    wrong key and the nearest right one.
    """
    if str(source) in NAMED:
        return Prompts(test_templates=_named(str(source)))
    data = _read(Path(source), (*_LISTS, *_MAPPINGS))
    return _prompts(data, source)


def read_grid(file: str | Path) -> ConceptGrid:
    """The grid of a YAML or JSON file with the lists `classes` and `domains`.

    It may also have any key of a prompts file. Raises PromptError as `read_prompts` does.
    """
    data = _read(Path(file), ("classes", "domains", *_LISTS, *_MAPPINGS))
    for key in ("classes", "domains"):
        if key not in data:
            raise PromptError(f"{file} has no `{key}`; a grid file lists classes and domains.")
    classes = _texts(data.pop("classes"), "classes", file)
    domains = _texts(data.pop("domains"), "domains", file)
    prompts = _prompts(data, file)
    return prompts.grid(classes, domains)


# ---- from a file to its prompts


def _read(file: Path, known: Sequence[str]) -> dict[str, object]:
    """The mapping in a file; any key that is not among `known` is an error."""
    if not file.is_file():
        raise PromptError(
            f"no prompts file {file}; give a YAML or JSON file, or {' or '.join(NAMED)}."
        )
    try:
        data = _parsed(file)
    except (ValueError, yaml.YAMLError) as error:
        raise _unreadable(file, error) from error
    if not isinstance(data, dict):
        raise PromptError(f"{file} is not a mapping; its keys may be {', '.join(known)}.")
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.3)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            raise PromptError(
                f'unknown key "{key}" in {file}.{hint} The keys are: {", ".join(known)}.'
            )
    return data


def _parsed(file: Path) -> object:
    """What a file holds. Every scalar of YAML stays text: a class may be called "no" or "007"."""
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix == ".json":
        return json.loads(text)
    return yaml.load(text, yaml.BaseLoader)


def _unreadable(file: Path, error: Exception) -> PromptError:
    """The error of a file that is not JSON or YAML, with the line number if YAML knows it."""
    problem = getattr(error, "problem", None) or first_line(error)
    mark = getattr(error, "problem_mark", None)
    where = f"{file}, line {mark.line + 1}" if mark else f"{file}"
    message = f"{where} cannot be read: {problem}."
    if isinstance(error, yaml.YAMLError):
        message += ' Texts with braces need quotes: "a {class}".'
    return PromptError(message)


def _prompts(data: Mapping[str, object], file: str | Path) -> Prompts:
    """The prompts in the mapping of a file."""
    values: dict[str, object] = {}
    for key, value in data.items():
        if key in _MAPPINGS:
            values[key] = _word_lists(value, key, file)
        elif key in _MAY_BE_NAMED and isinstance(value, str) and value in NAMED:
            values[key] = _named(value)
        else:
            values[key] = _texts(value, key, file)
    return Prompts(**values)


def _named(name: str) -> tuple[str, ...]:
    """open_clip's templates, which are functions, as texts with {class}."""
    return tuple(template("{class}") for template in NAMED[name])


def _word_lists(value: object, key: str, file: str | Path) -> dict[str, tuple[str, ...]]:
    """{name: words}; one word alone is a list of one."""
    if not isinstance(value, dict):
        raise PromptError(
            f"`{key}` in {file} is {value!r}; "
            "it should be a mapping from a name to a list of words."
        )
    lists = {}
    for name, words in value.items():
        several = [words] if is_text(words) else words
        lists[str(name)] = _texts(several, f"{key}: {name}", file)
    return lists


def _texts(value: object, key: str, file: str | Path) -> tuple[str, ...]:
    """A list of texts, none of them empty."""
    is_full_list = isinstance(value, list) and len(value) > 0
    if is_full_list and all(is_text(part) for part in value):
        return tuple(value)
    wanted = "a list of texts"
    if key in _MAY_BE_NAMED:
        wanted += f", or {' or '.join(NAMED)}"
    raise PromptError(f"`{key}` in {file} is {value!r}; it should be {wanted}.")


# ---- from prompts to tokens


def check_prompts(tokenizer: Callable, grid: ConceptGrid) -> None:
    """Refuse two class names that become the same tokens; warn of a prompt that fills the context.

    Raises PromptError naming both. The longest template of each kind is tried: what fits there fits
    in the others.
    """
    for kind in ("class_templates", "test_templates"):
        template = max(getattr(grid, kind), key=len)
        prompts = [fill(template, "class", name) for name in grid.classes]
        tokens = tokenizer(prompts)  # (C, context)
        _check_distinct(grid.classes, prompts, tokens)

        # A prompt that one more word does not change has no room left, so its own last words may be
        # missing.
        longer = tokenizer([f"{prompt} x" for prompt in prompts])
        is_full = longer.eq(tokens).all(1).tolist()  # C
        full = [prompt for prompt, filled in zip(prompts, is_full, strict=True) if filled]
        if full:
            warnings.warn(
                f"{len(full)} of {len(prompts)} prompts fill the context of {tokens.shape[1]} "
                f'tokens, so their end may be cut off; the first is "{full[0]}".',
                stacklevel=2,
            )


def _check_distinct(classes: Sequence[str], prompts: Sequence[str], tokens: torch.Tensor) -> None:
    """Refuse two classes whose prompts are the same tokens (C, context)."""
    class_of: dict[bytes, str] = {}
    for name, prompt, row in zip(classes, prompts, tokens, strict=True):
        other = class_of.setdefault(row.numpy().tobytes(), name)
        if other != name:
            raise PromptError(
                f'the classes "{other}" and "{name}" become the same tokens in "{prompt}": '
                "the model cannot tell them apart. Give one of them another name."
            )
