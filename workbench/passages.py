"""The starter corpus: original, machine-written parallel text, shipped in the package under CC0.

Passages are aligned by id and sentence by sentence over all languages; so are the prompts, which
are kept apart from the passages and never trained on.
"""

import functools
import json
from pathlib import Path
from typing import Any

from workbench import languages
from workbench.errors import UserError

FOLDER = Path(__file__).with_name("starter")
LICENCE = "CC0-1.0"


@functools.cache
def index() -> dict[str, dict[str, dict[str, str]]]:
    """Return what holds for all languages: theme and register of passages, kinds of prompts."""
    content: dict[str, dict[str, dict[str, str]]] = json.loads(
        (FOLDER / "index.json").read_text(encoding="utf-8")
    )
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


def files() -> list[Path]:
    """Return the files of passages, one a language, in a fixed order."""
    return sorted((FOLDER / "passages").glob("*.jsonl"))


def _rows(part: str, tag: str) -> list[dict[str, Any]]:
    path = FOLDER / part / f"{tag}.jsonl"
    if not path.exists():
        raise UserError(f"the starter corpus has no {part} in {languages.get(tag).name} ({tag})")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
