"""The documents that an inspection laid out to be read: its sample, and what it dropped.

``samples.jsonl`` holds a few documents of every language, drawn at random, and a few more for
every flag; ``dropped/`` holds all that cleaning took out, with the reason. The latter is read as a
stream each time something is looked for, so that memory stays flat however much it is; a search
reads at most ``READ_BYTES`` of it, and says so where there is more.
"""

import dataclasses
import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import regex

from workbench import cleaning, disk, identify, inspection, languages, personal, render, rows
from workbench import run as runs
from workbench.errors import UserError, nearest
from workbench.sections import FILTERS

# Of one document, of what a search keeps, and of what it reads.
SHOWN_CHARACTERS, KEPT, READ_BYTES = 20_000, 1000, 200 * 2**20
RANDOM, DROPPED = "random", "dropped"
FIELDS = ("id", "lang", "source", "licence", "url", "text")


@dataclass(frozen=True)
class Sample:
    """One document to read."""

    id: str
    lang: str
    source: str
    licence: str
    url: str
    text: str
    """Of a long document only the beginning."""
    characters: int
    """Of the whole document."""
    detected: str = ""
    """Language; empty for a document that was dropped and is not in the sample."""
    flags: tuple[str, ...] = ()
    """The filters that object to it, of those that need no other document to tell."""
    reason: str = ""
    """The filter for which it was dropped; empty where it was kept."""
    random: bool = False
    """Whether it belongs to the random sample of its language."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Tells documents apart; ids of different sources may be equal."""
        return self.lang, self.id, self.text[:80]

    def masked(self) -> "Sample":
        """Return the document with personal data replaced by their kind."""
        return dataclasses.replace(self, text=personal.mask(self.text))

    def beginning(self, characters: int) -> "Sample":
        """Return the document with so much of its text."""
        return dataclasses.replace(self, text=self.text[:characters])

    def about(self) -> dict[str, str]:
        """Return what is known of the document, in words; what is not is empty."""
        declared = languages.get(self.lang).name
        cut = f", of which {len(self.text):,} are shown" if len(self.text) < self.characters else ""
        return {
            "document": self.id,
            "language": declared,
            "detected as": identify.name(self.detected),
            "source": self.source,
            "licence": self.licence or "not stated",
            "address": self.url,
            "characters": f"{self.characters:,}{cut}",
            "flags": ", ".join(self.flags),
            "dropped for": self.reason,
        }

    def marks(self, search: str = "") -> list[render.Mark]:
        """Return where ``search`` stands in the text, and where words of two scripts do."""
        pattern = searched(search)
        hits = pattern.finditer(self.text) if pattern else ()
        words = set(cleaning.mixed_words(self.text, languages.get(self.lang).script))
        mixed = "|".join(map(regex.escape, sorted(words, key=len, reverse=True)))
        found = regex.finditer(mixed, self.text) if words else ()
        return [
            *(render.Mark(one.start(), one.end(), "hit") for one in hits),
            *(render.Mark(one.start(), one.end(), "mixed") for one in found),
        ]


@dataclass(frozen=True)
class Found:
    """What a search found."""

    samples: Sequence[Sample]
    """Those of the sample first, then dropped ones; at most ``KEPT`` of the latter."""
    total: int
    cut_short: bool
    """Whether more was dropped than a search reads."""


class Samples:
    """What there is to read in a finished inspection."""

    def __init__(self, reference: str) -> None:
        self.run = runs.find(reference)
        file = self.run.path / inspection.SAMPLES
        if not file.exists():
            known = [run.reference for run in runs.every() if run.path.parent.name == "inspect"]
            raise UserError(
                f"{self.run.reference} has no samples to read: it is no finished inspection"
                f"{nearest(self.run.reference, known)}"
            )
        self._sampled: dict[tuple[str, str, str], Sample] = {}
        for row in disk.read_jsonl(file):
            sample = Sample(
                **{name: row[name] for name in FIELDS},
                characters=row["characters"],
                detected=row["detected"],
                flags=tuple(row["flags"]),
                random=not row["of"],
            )
            # A document may be there twice: drawn at random, and for a flag of its own.
            if sample.random or sample.key not in self._sampled:
                self._sampled[sample.key] = sample
        self.languages = [row["tag"] for row in self.run.read_result("languages")]
        self.sources = sorted({row["source"] for row in self.run.read_result("sources")})
        self._dropped = sorted((self.run.path / inspection.DROPPED).glob("*.jsonl.zst"))
        present = {flag for sample in self._sampled.values() for flag in sample.flags}
        if self._dropped:
            present.update(
                row["reason"] for row in self.run.read_result("dropped") if row["documents"]
            )
        self.flags = [
            RANDOM,
            *([DROPPED] if self._dropped else []),
            *(name for name in FILTERS if name in present),
        ]
        """What ``flag`` of :meth:`find` may be."""

    def find(self, lang: str = "", source: str = "", flag: str = "", search: str = "") -> Found:
        """Return the documents that answer to everything asked; empty asks for nothing.

        Args:
            lang: any code or name of a language.
            source: name of a source, as the table ``sources`` has it.
            flag: a filter: documents flagged by it or dropped for it. ``dropped``: all dropped
                ones. ``random``: the random sample alone, which shows a language as it is.
            search: a stretch of the text or of the id, whatever the case.

        Raises:
            UserError: the inspection has no such language, source or flag, or a file of dropped
                documents is damaged.
        """
        tag = languages.get(lang).tag if lang else ""
        self._expect("language", tag, self.languages)
        self._expect("source", source, self.sources)
        self._expect("flag", flag, self.flags)
        pattern = searched(search)

        def answers(sample: Sample) -> bool:
            return (
                tag in ("", sample.lang)
                and source in ("", sample.source)
                and _has(sample, flag)
                and (
                    pattern is None
                    or pattern.search(sample.text) is not None
                    or pattern.search(sample.id) is not None
                )
            )

        sampled = dict(self._sampled)
        more: list[Sample] = []
        total, size = 0, 0
        for sample, read in self._read_dropped(READ_BYTES):
            size = read
            known = sampled.get(sample.key)
            if known is not None:
                sampled[sample.key] = dataclasses.replace(
                    known, text=sample.text, reason=sample.reason
                )
            elif answers(sample):
                total += 1
                if len(more) < KEPT:
                    more.append(sample)
        hits = [sample for sample in sampled.values() if answers(sample)]
        return Found([*hits, *more], len(hits) + total, cut_short=size >= READ_BYTES)

    @property
    def sampled(self) -> Sequence[Sample]:
        """The sample: by language, first the documents drawn at random, then flagged ones."""
        return list(self._sampled.values())

    def examples(self, each: int) -> dict[str, list[Sample]]:
        """Return a few documents for every flag and reason, of as many languages as possible."""
        found: dict[str, dict[str, list[Sample]]] = {name: {} for name in FILTERS}
        dropped = (sample for sample, _ in self._read_dropped(READ_BYTES))
        for sample in itertools.chain(dropped, self._sampled.values()):
            for name in {sample.reason, *sample.flags} - {""}:
                own = found[name].setdefault(sample.lang, [])
                if len(own) < each and sample.key not in (one.key for one in own):
                    own.append(sample)
        return {name: _in_turn(own.values())[:each] for name, own in found.items() if own}

    def _expect(self, what: str, word: str, known: Sequence[str]) -> None:
        if word and word not in known:
            shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
            raise UserError(
                f"{self.run.reference} has no {what} {word!r}{nearest(word, known)}; it has {shown}"
            )

    def _read_dropped(self, most: int) -> Iterator[tuple[Sample, int]]:
        """Yield dropped documents, each with the bytes read so far, until those are ``most``."""
        size = 0
        for file in self._dropped:
            faults = rows.Faults()
            for _, row, raw in rows.read(file, faults):
                size += len(raw)
                sample = Sample(
                    **{name: row[name] for name in FIELDS if name != "text"},
                    text=row["text"][:SHOWN_CHARACTERS],
                    characters=len(row["text"]),
                    reason=row["reason"],
                )
                yield sample, size
                if size >= most:
                    return
            if faults.total:
                raise UserError(f"{file} is damaged: {faults.first[0]}")


def _in_turn(lists: Iterable[Sequence[Sample]]) -> list[Sample]:
    """Return the first of each list, then the second of each, and so on."""
    ranks = itertools.zip_longest(*lists)
    return [sample for rank in ranks for sample in rank if sample is not None]


def _has(sample: Sample, flag: str) -> bool:
    if flag == RANDOM:
        return sample.random
    if flag == DROPPED:
        return bool(sample.reason)
    return not flag or flag in sample.flags or flag == sample.reason


def searched(search: str) -> "regex.Pattern[str] | None":
    """Return a pattern that finds ``search`` in any case, composed or not; None for nothing."""
    if not search.strip():
        return None
    spelled = {unicodedata.normalize(form, search) for form in ("NFC", "NFD")} | {search}
    pattern = "|".join(map(regex.escape, sorted(spelled)))
    return regex.compile(pattern, regex.IGNORECASE | regex.FULLCASE)
