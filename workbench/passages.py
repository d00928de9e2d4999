"""The starter corpus: original, machine-written parallel text, shipped in the package under CC0.

Passages are aligned by id and sentence by sentence over all languages; so are the prompts, which
are kept apart from the passages and never trained on. Minimal pairs, a right sentence and a wrong
one that differ in one place, are each language's own. They are for evaluation only: they lie in a
folder that no source of text reads, and have no field ``text``, so that a recipe that names their
files by mistake gets faults and no documents.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from workbench import languages
from workbench.errors import UserError

FOLDER = Path(__file__).with_name("starter")
LICENCE = "CC0-1.0"
VERSION = "1.0.0"
PUBLISHED = "2026-11-26"


class Index(TypedDict):
    """What holds for all languages, and what is known to be weak in each."""

    passages: dict[str, dict[str, str]]
    """Id to theme and register."""
    prompts: dict[str, dict[str, str]]
    """Id to category."""
    phenomena: dict[str, str]
    """What a minimal pair may test, and one line that says it."""
    weaknesses: dict[str, str]
    """Language tag to the most notable weakness of its text, in one line."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sentences of which one breaks one rule of grammar and the other none."""

    id: str
    phenomenon: str
    """A key of the index's ``phenomena``."""
    good: str
    bad: str


@functools.cache
def index() -> Index:
    """Return themes, registers, kinds of prompts, phenomena of pairs, and known weaknesses."""
    content: Index = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))
    return content


def read(tag: str) -> dict[str, list[str]]:
    """Return a language's passages: id to sentences, in the index's order.

    Raises:
        UserError: the corpus has no text in that language.
    """
    return {row["id"]: row["sentences"] for row in _rows("passages", tag)}


def prompts(tag: str) -> dict[str, str]:
    """Return a language's prompts: id to text, in the index's order."""
    return {row["id"]: row["text"] for row in _rows("prompts", tag)}


def pairs(tag: str) -> list[Pair]:
    """Return a language's minimal pairs, in the order of their ids; never train on them.

    Raises:
        UserError: the corpus has no pairs in that language.
    """
    return [Pair(**row) for row in _rows("pairs", tag)]


def files() -> list[Path]:
    """Return the files of passages, one a language, in a fixed order."""
    return sorted((FOLDER / "passages").glob("*.jsonl"))


def _rows(part: str, tag: str) -> list[dict[str, Any]]:
    path = FOLDER / part / f"{tag}.jsonl"
    if not path.exists():
        raise UserError(f"the starter corpus has no {part} in {languages.get(tag).name} ({tag})")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
