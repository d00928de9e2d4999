"""Look for words in a row that the starter corpus shares with other text.

``.venv/bin/python tools/check_overlap.py FILE_OR_FOLDER ...`` reads files as recipes do. The
starter's n-grams of words, lower-cased, are held in memory; the other text streams past them.
Thirteen words in a row are what GPT-3's authors took for contamination (Brown et al., "Language
Models are Few-Shot Learners", 2020, appendix C): shorter ones meet by chance.

Not seen: a sentence shorter than the n-gram, which most of the minimal pairs are (``--words 8``
sees most of them, and chance as well), and text that says the same in other words.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import regex

from workbench import corpus, languages, passages, rows, terminal
from workbench.errors import UserError
from workbench.sections import Data

# Letters, their marks and digits, held together by an apostrophe, a middle dot or a hyphen.
WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’·-][\p{L}\p{M}\p{N}]+)*")
WORDS = 13
SHOWN = 5
Gram = tuple[str, ...]


class Overlap:
    """The starter's n-grams, and which of them other text was found to hold."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.own = {tag: set(self._own(tag)) for tag in languages.tags()}
        self._all = set().union(*self.own.values())
        self.seen: Counter[str] = Counter()
        """Language to the n-grams of other text in it, repetitions counted."""
        self.shared: dict[str, set[Gram]] = {}
        """Language of the other text to the starter's n-grams, of any language, found in it."""

    def look(self, tag: str, text: str) -> None:
        """Count the n-grams of a text in a language, and keep those that the starter has."""
        words = lower_words(text)
        self.seen[tag] += max(0, len(words) - self.size + 1)
        self.shared.setdefault(tag, set()).update(self._all.intersection(grams(words, self.size)))

    def _own(self, tag: str) -> Iterator[Gram]:
        texts = [" ".join(sentences) for sentences in passages.read(tag).values()]
        texts += passages.prompts(tag).values()
        for pair in passages.pairs(tag):
            texts += pair.good, pair.bad
        for text in texts:
            yield from grams(lower_words(text), self.size)


def lower_words(text: str) -> list[str]:
    """Return the words of a text, lower-cased, without what stands between them."""
    return [word.lower() for word in WORD.findall(text)]


def grams(words: list[str], size: int) -> Iterable[Gram]:
    """Return every ``size`` words in a row: of a, b, c by two they are (a, b) and (b, c)."""
    return zip(*(words[start:] for start in range(size)), strict=False)


def files_in(places: Iterable[Path]) -> list[Path]:
    """Return the files, and in place of a folder all files below it that are read.

    Raises:
        UserError: a place does not exist, or has nothing to read.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            below = [file for file in sorted(place.rglob("*")) if _is_text(file)]
            if not below:
                raise UserError(f"{place}: no file in it ends in {', '.join(rows.FORMATS)}")
            found += below
        else:
            found.append(place)
    return found


def _is_text(file: Path) -> bool:
    return file.is_file() and rows.format_of(file) in rows.FORMATS


def check(places: Iterable[Path], size: int = WORDS, fields: Iterable[str] = ("text",)) -> int:
    """Compare the files with the starter corpus, print a line a language and what is shared.

    Args:
        places: files and folders.
        size: how many words in a row.
        fields: the rows' fields that hold text.

    Returns:
        How many n-grams are shared.

    Raises:
        UserError: a place does not exist, or no text was read.
    """
    overlap = Overlap(size)
    faults = corpus.Faults()
    progress = terminal.Progress("check_overlap")
    files = files_in(places)
    for number, file in enumerate(files, start=1):
        for field in fields:
            data = Data(sources=[str(file.resolve())], columns={"text": field})
            for document in corpus.read(data, faults):
                overlap.look(document.lang, document.text)
        progress.update(f"{number} of {len(files)} files")
    if not overlap.shared:
        told = f"; first fault {faults.first[0]}" if faults.first else ""
        raise UserError(f"nothing was read{told}")
    shared = _report(overlap)
    if faults.total:
        print(f"{faults.total:,} rows not read, such as {faults.first[0]}")
    return shared


def _report(overlap: Overlap) -> int:
    lines = [
        (languages.get(tag).name, len(own), overlap.seen[tag], len(overlap.shared[tag]))
        for tag, own in overlap.own.items()
        if tag in overlap.shared
    ]
    every = set().union(*overlap.shared.values())
    starter = sum(map(len, overlap.own.values()))
    header = ("language", f"starter's {overlap.size}-grams", "the text's", "shared")
    total = ("all", starter, overlap.seen.total(), len(every))
    print(terminal.table([*lines, total], header))
    for tag, found in overlap.shared.items():
        for gram in sorted(found)[:SHOWN]:
            print(f"{tag}: {' '.join(gram)}")
    return len(every)


def main(words: list[str] | None = None) -> int:
    """Run the check; 1 where something is shared, 2 for a mistake of the user's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("places", nargs="+", type=Path, help="files and folders of text")
    parser.add_argument("--words", type=int, default=WORDS, help="how many in a row (13)")
    parser.add_argument("--fields", default="text", help="the rows' fields of text: text,good,bad")
    asked = parser.parse_args(words)
    if asked.words < 1:
        parser.error(f"--words must be at least 1, it is {asked.words}")
    try:
        return 1 if check(asked.places, asked.words, asked.fields.split(",")) else 0
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return mistake.exit_status


if __name__ == "__main__":
    sys.exit(main())
