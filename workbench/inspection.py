"""What a researcher looks at before spending time on text: how much, how long, what letters."""

import hashlib
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
import regex

from workbench import corpus, languages
from workbench import run as runs
from workbench.errors import UserError
from workbench.recipe import InspectRecipe

WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’·-][\p{L}\p{M}\p{N}]+)*")
SENTENCE_END = regex.compile(r"[.!?…։;](?=[\s\"'”“»)]|$)")
LETTERS_OF = {
    name: regex.compile(rf"[\p{{Script={name}}}&&\p{{L}}]", regex.V1)
    for name in languages.SCRIPTS.values()
}
LETTER = regex.compile(r"\p{L}")
CONTROL = regex.compile(r"[\p{Cc}\p{Cn}\p{Co}--[\n\r\t]]", regex.V1)
SAMPLE_CHARACTERS = 160


def make(run: runs.Run, recipe: InspectRecipe) -> None:
    """Count and describe the documents of every chosen language."""
    faults = corpus.Faults(run.path / runs.QUARANTINE)
    seen: dict[str, _Language] = {}
    progress = runs.Progress(f"inspect {recipe.name}")
    total = 0
    for document in corpus.read(recipe.data, faults):
        seen.setdefault(document.lang, _Language(document.lang)).add(document)
        total += 1
        progress.update(f"{total:,} documents")
    faults.close()
    if not total:
        told = f"; first fault {faults.first[0]}" if faults.first else ""
        raise UserError(f"{run.reference}: no document in the chosen languages{told}")
    progress.done(f"{total:,} documents in {len(seen)} languages, {faults.total:,} set aside")
    chosen = languages.select(recipe.data.languages)
    run.result("languages", [seen[one.tag].row() for one in chosen if one.tag in seen])
    run.used_data(corpus.describe(corpus.resolve(recipe.data)))
    run.happened(
        documents=total,
        faults=faults.summary(),
        languages_without_text=[one.tag for one in chosen if one.tag not in seen],
    )


class _Language:
    """Running totals of one language; lengths are kept as a histogram, so memory stays flat."""

    def __init__(self, tag: str) -> None:
        self._language = languages.get(tag)
        self._counts: Counter[str] = Counter()
        self._letters: Counter[str] = Counter()
        self._lengths: Counter[int] = Counter()
        self._hashes: set[bytes] = set()
        self._licences: Counter[str] = Counter()
        self._sample = ""

    def add(self, document: corpus.Document) -> None:
        text = document.text
        self._sample = self._sample or text[:SAMPLE_CHARACTERS]
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        self._counts.update(
            documents=1,
            sentences=max(1, len(SENTENCE_END.findall(text))),
            words=len(WORD.findall(text)),
            characters=len(text),
            bytes=len(text.encode()),
            not_nfc=not unicodedata.is_normalized("NFC", text),
            control=len(CONTROL.findall(text)),
            replacement=text.count("\ufffd"),
            duplicates=digest in self._hashes,
        )
        self._hashes.add(digest)
        self._lengths[len(text)] += 1
        self._licences[document.licence or "not stated"] += 1
        letters = len(LETTER.findall(text))
        self._letters["all"] += letters
        for script, pattern in LETTERS_OF.items():
            self._letters[script] += len(pattern.findall(text))

    def row(self) -> dict[str, Any]:
        counts = self._counts
        script = languages.SCRIPTS[self._language.script]
        low, middle, high = self._quantiles()
        return {
            "tag": self._language.tag,
            "language": self._language.name,
            "documents": counts["documents"],
            "sentences": counts["sentences"],
            "words": counts["words"],
            "characters": counts["characters"],
            "bytes": counts["bytes"],
            "bytes_per_character": counts["bytes"] / counts["characters"],
            "characters_p10": low,
            "characters_median": middle,
            "characters_p90": high,
            "share_own_script": self._letters[script] / max(1, self._letters["all"]),
            "not_nfc": counts["not_nfc"],
            "control_characters": counts["control"],
            "replacement_characters": counts["replacement"],
            "exact_duplicates": counts["duplicates"],
            "licences": "; ".join(f"{name} ({n})" for name, n in self._licences.most_common(3)),
            "sample": self._sample,
        }

    def _quantiles(self) -> tuple[int, int, int]:
        """Return the 10th, 50th and 90th percentile of document length in characters."""
        lengths = np.array(sorted(self._lengths))
        reached = np.cumsum([self._lengths[int(length)] for length in lengths])
        positions = np.searchsorted(reached, np.array([0.1, 0.5, 0.9]) * reached[-1])
        low, middle, high = (int(lengths[position]) for position in positions)
        return low, middle, high
