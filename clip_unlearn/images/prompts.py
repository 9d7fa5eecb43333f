"""Prompts from a small file: templates, domain words, synonyms, translations; and what a tokenizer makes of them."""

from __future__ import annotations

import difflib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import open_clip
import yaml

from ..core.concepts import ConceptGrid
from ..core.errors import InputError, first_line

# open_clip's own templates by name, as test templates.
NAMED = {
    "imagenet": open_clip.OPENAI_IMAGENET_TEMPLATES,
    "simple": open_clip.SIMPLE_IMAGENET_TEMPLATES,
}
_LISTS = ("class_templates", "cell_templates", "test_templates", "paraphrase_templates")
_MAPPINGS = ("domain_words", "synonyms", "translations")


class PromptError(InputError):
    """A prompts file that cannot be used, or names that a tokenizer cannot tell apart."""


@dataclass(frozen=True)
class Prompts:
    """What a prompts file says; what it leaves out, (), stays as the package has it."""

    class_templates: tuple[str, ...] = ()
    cell_templates: tuple[str, ...] = ()
    test_templates: tuple[str, ...] = ()
    paraphrase_templates: tuple[str, ...] = ()
    domain_words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    translations: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def grid(self, classes: Sequence[str], domains: Sequence[str]) -> ConceptGrid:
        """The grid of these names with these prompts.

        Raises UnknownNameError for a word list of a class or domain it does not have, PromptError
        for a translation that two classes share.
        """
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}
        grid = ConceptGrid(tuple(classes), tuple(domains), **given)
        for name in self.domain_words:
            grid.domain_index(name)
        for name in (*self.synonyms, *self.translations):
            grid.class_index(name)
        owner: dict[str, str] = {}
        for name, texts in self.translations.items():
            for text in texts:
                other = owner.setdefault(text.casefold(), name)
                if other != name:
                    raise PromptError(
                        f'the translation "{text}" is given for "{other}" and for "{name}"; it can name one class.'
                    )
        return grid


def read_prompts(source: str | Path) -> Prompts:
    """The prompts of a YAML or JSON file, or "imagenet" or "simple": open_clip's templates to test with.

    Keys: class_templates, cell_templates, test_templates, paraphrase_templates (lists of texts with
    {class}, and {domain} in cell_templates; or one of those two names, but for cell_templates),
    domain_words and synonyms (name -> list of words), translations (class -> words or whole
    sentences, which stand in no template and only test). Raises PromptError with the file, the
    wrong key and the nearest right one.
    """
    if str(source) in NAMED:
        return Prompts(test_templates=_named(str(source)))
    return _prompts(_read(Path(source), (*_LISTS, *_MAPPINGS)), source)


def read_grid(file: str | Path) -> ConceptGrid:
    """The grid of a YAML or JSON file with the lists `classes` and `domains`, and any key of a prompts file."""
    data = _read(Path(file), ("classes", "domains", *_LISTS, *_MAPPINGS))
    for key in ("classes", "domains"):
        if key not in data:
            raise PromptError(f"{file} has no `{key}`; a grid file lists classes and domains.")
    names = {key: _texts(data.pop(key), key, file) for key in ("classes", "domains")}
    return _prompts(data, file).grid(**names)


def _named(name: str) -> tuple[str, ...]:
    return tuple(template("{class}") for template in NAMED[name])


def _read(file: Path, known: Sequence[str]) -> dict[str, object]:
    """The mapping in a file, with known keys alone. Every scalar stays text: a class may be called "no" or "007"."""
    if not file.is_file():
        raise PromptError(f"no prompts file {file}; a YAML or JSON file, or {' or '.join(NAMED)}.")
    try:
        text = file.read_text(encoding="utf-8-sig")
        data = json.loads(text) if file.suffix == ".json" else yaml.load(text, yaml.BaseLoader)
    except (ValueError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        hint = (
            ' Texts with braces need quotes: "a {class}".'
            if isinstance(error, yaml.YAMLError)
            else ""
        )
        why = getattr(error, "problem", None) or first_line(error)
        raise PromptError(f"{file}{where} cannot be read: {why}.{hint}") from error
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


def _prompts(data: Mapping[str, object], file: str | Path) -> Prompts:
    found: dict[str, object] = {}
    for key, value in data.items():
        if key in _LISTS:
            named = isinstance(value, str) and value in NAMED and key != "cell_templates"
            found[key] = _named(value) if named else _texts(value, key, file)
        elif not isinstance(value, dict):
            raise PromptError(
                f"`{key}` in {file} is {value!r}; it should be a mapping from a name to a list of words."
            )
        else:
            found[key] = {
                str(name): _texts(texts, f"{key}: {name}", file) for name, texts in value.items()
            }
    return Prompts(**found)


def _texts(value: object, key: str, file: str | Path) -> tuple[str, ...]:
    """A list of texts; one text alone is a list of one only where words are meant."""
    if isinstance(value, str) and ":" in key and value.strip():
        return (value,)
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(v, str) and v.strip() for v in value)
    ):
        names = f", or {' or '.join(NAMED)}" if key in _LISTS and key != "cell_templates" else ""
        raise PromptError(f"`{key}` in {file} is {value!r}; it should be a list of texts{names}.")
    return tuple(value)


def check_prompts(tokenizer: Callable, grid: ConceptGrid) -> None:
    """Refuse two class names that a tokenizer makes the same prompt of; warn of a prompt that fills the context.

    Raises PromptError naming both. The longest template of each kind is tried: what fits there fits
    in the others.
    """
    for kind in ("class_templates", "test_templates"):
        template = max(getattr(grid, kind), key=len)
        prompts = [template.replace("{class}", name) for name in grid.classes]
        tokens = tokenizer(prompts)
        seen: dict[bytes, str] = {}
        for name, prompt, row in zip(grid.classes, prompts, tokens, strict=True):
            other = seen.setdefault(row.numpy().tobytes(), name)
            if other != name:
                raise PromptError(
                    f'the classes "{other}" and "{name}" become the same tokens in "{prompt}": the model cannot tell '
                    "them apart. Give one of them another name."
                )
        # A prompt that one more word does not change has no room left, so its own last words may be
        # missing.
        full = tokenizer([f"{prompt} x" for prompt in prompts]).eq(tokens).all(1).tolist()
        cut = [prompt for prompt, is_full in zip(prompts, full, strict=True) if is_full]
        if cut:
            warnings.warn(
                f"{len(cut)} of {len(prompts)} prompts fill the context of {tokens.shape[1]} tokens, so their end may "
                f'be cut off; the first is "{cut[0]}".',
                stacklevel=2,
            )
