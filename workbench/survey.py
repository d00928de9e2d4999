"""Documents measured: one table, one row a document, made piece by piece in any order.

A piece is a file or a part of one. What it holds is read as a stream, measured in batches, and
written beside the run; memory does not grow with the piece, and a piece that is whole is not made
again. Pieces are put together in their own order, so the result is the same for any number of
workers, through any executor of ``concurrent.futures``.
"""

import contextlib
import functools
import hashlib
import json
import shutil
import unicodedata
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet

from workbench import (
    cleaning,
    corpus,
    cutters,
    disk,
    duplicates,
    identify,
    languages,
    passages,
    personal,
    signals,
)
from workbench import run as runs
from workbench.errors import Stopped
from workbench.sections import Data, Duplicates

TABLE, BANDS, SIGNATURES = "documents.parquet", "bands.bin", "signatures.bin"
TALLY, SAMPLES = "tally.json", "samples.jsonl"
# Documents of one row group of the table.
GROUP_DOCUMENTS = 2**14
# So many documents of a language, and of each flag, are kept to be looked at.
SAMPLE = {"": 40, **dict.fromkeys(cleaning.FLAGS, 10)}
SAMPLE_CHARACTERS = 2000
# Counts of lines and word sequences may be too low by one in so many.
COUNTED = 100_000
# A piece hands on so many of a language's repeated lines and sequences.
MOST_REPEATED = 100
LINE_WORDS, SEQUENCE_WORDS, SEQUENCE_SAMPLING = 4, 8, 16
SHOWN, OPENING = 160, 120
EXAMPLES = 12
# Matrix products are the same to about seven digits wherever they are computed.
PROBABILITY_DIGITS = 4
# A word is frequent if it stands in so many of the starter corpus's passages.
FREQUENT_SHARE = 0.2
COUNTS = (
    *(name for name in signals.SIGNALS if not name.endswith(("share", "_per_word", "length"))),
    "frequent_words",
    "contaminated",
    *personal.KINDS,
)


@dataclass(frozen=True)
class Task:
    """What a worker is told: one piece of the sources, and how to measure it."""

    number: int
    sources: tuple[corpus.Source, ...]
    data: Data
    folder: Path
    """Of all pieces; this one's is named by its number."""
    stop: Path
    """Work ends, and what is unfinished is lost, when this file appears."""
    duplicates: Duplicates
    tokenizer: str
    """What :func:`workbench.cutters.cutter` opens, to count tokens with; empty counts none."""
    contamination: Path | None
    """Sorted hashes of the word sequences that evaluation sets hold, uint64."""
    contamination_words: int

    @property
    def path(self) -> Path:
        """Where the piece's measures lie when they are whole."""
        return self.folder / f"{self.number:06d}"


def measure(task: Task) -> dict[str, int]:
    """Measure a piece, unless that was done before; return its documents and bytes.

    Runs in a worker process: everything it needs is in ``task``.

    Raises:
        Stopped: it was asked to.
    """
    stop_if_asked(task)
    if not (task.path / TALLY).exists():
        with disk.told_when_full(task.folder):
            # A name of its own: a worker that outlived a killed run may still be at this piece.
            temporary = task.folder / f".{uuid.uuid4().hex}"
            temporary.mkdir()
            try:
                _Piece(task, temporary).make()
                if not task.path.exists():
                    temporary.rename(task.path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    totals: dict[str, int] = disk.read_json(task.path / TALLY)["totals"]
    return totals


def stop_if_asked(task: Task) -> None:
    """Look whether somebody wants the work on a piece to end.

    Raises:
        Stopped: that is so.
    """
    if task.stop.exists():
        raise Stopped(f"piece {task.number} was stopped")


def bands(part: Path, settings: Duplicates) -> npt.NDArray[np.uint64]:
    """Open the band keys of a finished piece, shape ``(documents, bands)``."""
    return _mapped(part / BANDS, np.uint64, settings.bands)


def signatures(part: Path, settings: Duplicates) -> npt.NDArray[np.uint32]:
    """Open the signatures of a piece, shape ``(documents, permutations)``.

    They are kept only where ``settings.verify`` asks for them.
    """
    return _mapped(part / SIGNATURES, np.uint32, settings.permutations)


def _mapped(file: Path, kind: type[Any], width: int) -> npt.NDArray[Any]:
    if not file.stat().st_size:  # which cannot be mapped
        return np.empty((0, width), dtype=kind)
    return np.memmap(file, dtype=kind, mode="r").reshape(-1, width)


class _Piece:
    """The measures of one piece while they are made."""

    def __init__(self, task: Task, folder: Path) -> None:
        self._task = task
        self._folder = folder
        self._faults = corpus.Faults(folder / runs.QUARANTINE)
        self._tallies: dict[str, Tally] = {}
        self._columns: list[dict[str, npt.NDArray[Any]]] = []
        self._waiting_documents = 0
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._totals = Counter({"documents": 0, "bytes": 0})
        self._cutter = cutters.cutter(task.tokenizer) if task.tokenizer else None
        self._contamination = (
            np.load(task.contamination, mmap_mode="r") if task.contamination else None
        )

    def make(self) -> None:
        settings = self._task.duplicates
        with (
            self._faults,
            (self._folder / BANDS).open("wb") as bands,
            (self._folder / SIGNATURES).open("wb") as signatures,
            contextlib.ExitStack() as self._open,
        ):
            documents_read = corpus.read_from(self._task.sources, self._task.data, self._faults)
            for documents in signals.groups(documents_read, lambda document: document.text):
                stop_if_asked(self._task)
                batch = signals.Batch([document.text for document in documents])
                signature = duplicates.signatures(batch.word_hash, batch.doc_words, settings)
                bands.write(duplicates.band_keys(signature, settings).tobytes())
                if settings.verify:
                    signatures.write(signature.tobytes())
                self._add(documents, batch)
            self._write()
        tallies = dict(sorted(self._tallies.items()))
        with (self._folder / SAMPLES).open("w", encoding="utf-8") as out:
            for tally in tallies.values():
                for row in tally.sample_rows():
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
        disk.write_json(
            self._folder / TALLY,
            {
                "totals": dict(self._totals),
                "faults": self._faults.summary(),
                "languages": {tag: tally.to_dict() for tag, tally in tallies.items()},
            },
        )

    def _add(self, documents: list[corpus.Document], batch: signals.Batch) -> None:
        table = self._measures(documents, batch)
        flags = {name: flag(table) for name, flag in cleaning.FLAGS.items()}
        tags = table["lang"]
        for tag in sorted(set(tags)):
            tally = self._tallies.setdefault(tag, Tally(tag))
            tally.add(np.flatnonzero(tags == tag), documents, batch, table, flags)
        self._totals.update(documents=len(documents), bytes=int(table["bytes"].sum()))
        self._columns.append(table)
        self._waiting_documents += len(documents)
        if self._waiting_documents >= GROUP_DOCUMENTS:
            self._write()

    def _measures(
        self, documents: list[corpus.Document], batch: signals.Batch
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the table's columns for a batch, each of shape ``(documents,)``."""
        texts = batch.texts
        detected = identify.detect(texts, top=3)
        letters = signals.script_letters(batch)
        tags = np.array([document.lang for document in documents], dtype=object)
        own = np.array(
            [signals.SCRIPT_COLUMNS.index(languages.get(tag).script) for tag in tags], dtype=int
        )
        measured: dict[str, npt.NDArray[Any]] = {
            "id": np.array([document.id for document in documents], dtype=object),
            "lang": tags,
            "source": np.array([document.source for document in documents], dtype=object),
            "licence": np.array([document.licence for document in documents], dtype=object),
            "domain": np.array(
                [personal.registrable(document.url) for document in documents], dtype=object
            ),
            "opening": np.array([text[:OPENING] for text in texts], dtype=object),
            "hash": np.array([_text_hash(text) for text in texts], dtype=np.uint64),
            **_ranked(detected),
            **signals.measure(batch),
            "own_script_share": letters[np.arange(len(own)), own]
            / np.maximum(1, letters.sum(axis=1)),
            **_frequent(batch, tags),
            "contaminated": self._contaminated(batch),
            **personal.count_batch(texts),
        }
        if self._cutter is not None:
            measured["tokens"] = cutters.counts(self._cutter.encode(texts))
        return measured

    def _contaminated(self, batch: signals.Batch) -> npt.NDArray[np.int64]:
        """Return how many word sequences of each document stand in an evaluation set."""
        if self._contamination is None or not len(self._contamination):
            return np.zeros(batch.documents, dtype=np.int64)
        hashes, offsets = duplicates.shingles(
            batch.word_hash, batch.doc_words, self._task.contamination_words
        )
        places = np.minimum(
            np.searchsorted(self._contamination, hashes), len(self._contamination) - 1
        )
        hits = np.append(0, np.cumsum(self._contamination[places] == hashes))
        counts = hits[offsets[1:]] - hits[offsets[:-1]]
        # A shorter text has one sequence of all its words, which proves nothing.
        counts[np.diff(batch.doc_words) < self._task.contamination_words] = 0
        return np.asarray(counts, dtype=np.int64)

    def _write(self) -> None:
        """Append what is waiting to the table as a row group."""
        if not self._columns:
            return
        columns = {
            name: np.concatenate([table[name] for table in self._columns])
            for name in self._columns[0]
        }
        table = pyarrow.table(
            {name: pyarrow.array(_compact(name, column)) for name, column in columns.items()}
        )
        if self._writer is None:
            self._writer = self._open.enter_context(
                pyarrow.parquet.ParquetWriter(
                    self._folder / TABLE, table.schema, compression="zstd"
                )
            )
        self._writer.write_table(table)
        self._columns, self._waiting_documents = [], 0


def _compact(name: str, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if column.dtype == np.float64:
        return column.astype(np.float32)
    return column.astype(np.int32) if name in COUNTS else column


def _text_hash(text: str) -> int:
    """Hash a text; white space around it and the way its accents are composed do not count."""
    composed = unicodedata.normalize("NFC", text.strip())
    digest = hashlib.blake2b(composed.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _ranked(detected: Sequence[Sequence[tuple[str, float]]]) -> dict[str, npt.NDArray[Any]]:
    """Return the three likeliest languages and the first one's probability as columns."""
    padded = [[*ranks, *[("", 0.0)] * 3][:3] for ranks in detected]
    names = ("detected", "detected_second", "detected_third")
    return {
        **{
            name: np.array([ranks[place][0] for ranks in padded], dtype=object)
            for place, name in enumerate(names)
        },
        "detected_probability": np.array(
            [round(ranks[0][1], PROBABILITY_DIGITS) for ranks in padded], dtype=np.float64
        ),
    }


def _frequent(
    batch: signals.Batch, tags: npt.NDArray[Any]
) -> dict[str, npt.NDArray[np.float64] | npt.NDArray[np.int64]]:
    """Return how many words of each document are frequent in its language: share, and distinct."""
    share, distinct = np.zeros(batch.documents), np.zeros(batch.documents, dtype=np.int64)
    for tag in set(tags):
        rows, words = tags == tag, frequent_words(tag)
        share[rows] = signals.share_of(batch, words)[rows]
        distinct[rows] = signals.distinct_of(batch, words)[rows]
    return {"frequent_word_share": share, "frequent_words": distinct}


@functools.cache
def frequent_words(tag: str) -> npt.NDArray[np.uint64]:
    """Return hashes of the words that stand in many of the starter corpus's passages.

    Particles, prepositions and forms of *to be*: what running text of the language cannot do
    without, and lists, menus and tables can (the stop words of Gopher, for every language).
    """
    texts = [" ".join(sentences) for sentences in passages.read(tag).values()]
    batch = signals.Batch(texts)
    pairs = np.unique(np.stack([batch.word_doc.astype(np.uint64), batch.word_hash]), axis=1)
    hashes, counts = np.unique(pairs[1], return_counts=True)
    found: npt.NDArray[np.uint64] = hashes[counts >= FREQUENT_SHARE * len(texts)]
    return found


class Repeated:
    """Counts of stretches of text by their hash, the frequent ones in bounded memory.

    Lossy counting (Manku and Motwani 2002): each time that ``COUNTED`` more have been counted,
    those are forgotten that came about once in each such span. A count is never too high, and too
    low by at most one for each span.
    """

    def __init__(self) -> None:
        self._counts: dict[int, list[int]] = {}
        """Hash to its count, and how much that may be too low."""
        self._texts: dict[int, str] = {}
        """Of those that were seen more than once."""
        self._seen = 0

    def add(
        self,
        keys: npt.NDArray[np.uint64],
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        batch: signals.Batch,
    ) -> None:
        """Count stretches of a batch: hashes, starts and ends, each of shape ``(stretches,)``."""
        spans = self._seen // COUNTED
        unique, first, counts = np.unique(keys, return_index=True, return_counts=True)
        for key, at, count in zip(unique.tolist(), first.tolist(), counts.tolist(), strict=True):
            entry = self._counts.setdefault(key, [0, spans])
            entry[0] += count
            if entry[0] > 1 and key not in self._texts:
                doc = int(batch.doc_of(starts[at : at + 1])[0])
                start, end = (int(place[at] - batch.doc_start[doc]) for place in (starts, ends))
                self._texts[key] = batch.texts[doc][start:end][:SHOWN]
        self._seen += len(keys)
        if self._seen // COUNTED > spans:
            spans = self._seen // COUNTED
            for key in [key for key, (count, low) in self._counts.items() if count + low <= spans]:
                del self._counts[key]
                self._texts.pop(key, None)

    def most(self) -> list[tuple[int, int, str]]:
        """Return hash, count and text of the most repeated ones, the most frequent first."""
        found = [(key, self._counts[key][0], text) for key, text in self._texts.items()]
        return sorted(found, key=lambda entry: (-entry[1], entry[0]))[:MOST_REPEATED]


@dataclass
class Tally:
    """What is counted of a language beyond its documents' measures; pieces add up."""

    tag: str
    characters: Counter[int] = field(default_factory=Counter)
    """Code point to how often it occurs."""
    lines: Repeated = field(default_factory=Repeated)
    sequences: Repeated = field(default_factory=Repeated)
    """Of eight words in a row; one in sixteen is counted, chosen by the hash of its first word."""
    personal: dict[str, list[str]] = field(default_factory=dict)
    """Kind to masked examples."""
    mixed: list[str] = field(default_factory=list)
    """Words with letters of two scripts."""
    samples: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    """Flag to hash to document."""

    def add(
        self,
        rows: npt.NDArray[np.int64],
        documents: Sequence[corpus.Document],
        batch: signals.Batch,
        table: Mapping[str, npt.NDArray[Any]],
        flags: Mapping[str, npt.NDArray[np.bool_]],
    ) -> None:
        """Count the documents of one batch that are in this language."""
        chosen = np.zeros(batch.documents, dtype=np.bool_)
        chosen[rows] = True
        self._count_characters(rows, batch)
        self._count_lines(chosen, batch)
        self._count_sequences(chosen, batch)
        self._look(rows, batch, table)
        for flag in SAMPLE:
            own = rows[flags[flag][rows]] if flag else rows
            self._sample(flag, own, documents, table, flags)

    def _count_characters(self, rows: npt.NDArray[np.int64], batch: signals.Batch) -> None:
        # Text by text, because the separators between them are not theirs.
        points = np.concatenate(
            [batch.points[batch.doc_start[row] : batch.doc_end[row]] for row in rows]
        )
        counts = np.bincount(points)
        seen = np.flatnonzero(counts)
        for point, count in zip(seen.tolist(), counts[seen].tolist(), strict=True):
            self.characters[point] += count

    def _count_lines(self, chosen: npt.NDArray[np.bool_], batch: signals.Batch) -> None:
        first = np.searchsorted(batch.word_start, batch.line_start)
        words = np.searchsorted(batch.word_start, batch.line_end) - first
        lines = np.flatnonzero(chosen[batch.line_doc] & (words >= LINE_WORDS))
        self.lines.add(
            batch.line_hash[lines], batch.line_start[lines], batch.line_end[lines], batch
        )

    def _count_sequences(self, chosen: npt.NDArray[np.bool_], batch: signals.Batch) -> None:
        first = np.arange(max(0, len(batch.word_hash) - SEQUENCE_WORDS + 1))
        last = first + SEQUENCE_WORDS - 1
        # Chosen by the first word's hash, so that the same sequences are counted everywhere.
        kept = batch.word_hash[first] % np.uint64(SEQUENCE_SAMPLING) == 0
        kept &= (batch.word_doc[first] == batch.word_doc[last]) & chosen[batch.word_doc[first]]
        first, last = first[kept], last[kept]
        keys = np.zeros(len(first), dtype=np.uint64)
        for step in range(SEQUENCE_WORDS):
            keys = keys * duplicates.MULTIPLIER + batch.word_hash[first + step]
        self.sequences.add(keys, batch.word_start[first], batch.word_end[last], batch)

    def _look(
        self,
        rows: npt.NDArray[np.int64],
        batch: signals.Batch,
        table: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        """Keep a few examples of personal data, masked, and of words in two scripts."""
        for kind in personal.KINDS:
            known = self.personal.setdefault(kind, [])
            for number in rows[table[kind][rows] > 0].tolist():
                if len(known) >= EXAMPLES:
                    break
                found = personal.find(batch.texts[number])
                known.extend(one.masked for one in found if one.kind == kind)
            del known[EXAMPLES:]
        for number in rows[table["mixed_script_words"][rows] > 0].tolist():
            if len(self.mixed) >= EXAMPLES:
                break
            words = cleaning.mixed_words(batch.texts[number], languages.get(self.tag).script)
            self.mixed = list(dict.fromkeys([*self.mixed, *words]))[:EXAMPLES]

    def _sample(
        self,
        flag: str,
        rows: npt.NDArray[np.int64],
        documents: Sequence[corpus.Document],
        table: Mapping[str, npt.NDArray[Any]],
        flags: Mapping[str, npt.NDArray[np.bool_]],
    ) -> None:
        """Keep the texts of the lowest hashes: a random sample that pieces agree on."""
        known = self.samples.setdefault(flag, {})
        ranks, first = np.unique(table["hash"][rows], return_index=True)
        lowest = slice(SAMPLE[flag])
        for rank, number in zip(ranks[lowest].tolist(), rows[first[lowest]].tolist(), strict=True):
            if rank in known:
                continue
            document = documents[number]
            known[rank] = {
                "id": document.id,
                "lang": document.lang,
                "source": document.source,
                "licence": document.licence,
                "url": document.url,
                "detected": str(table["detected"][number]),
                "characters": int(table["characters"][number]),
                "flags": [name for name, flagged in flags.items() if flagged[number]],
                "text": document.text[:SAMPLE_CHARACTERS],
                "rank": rank,
                "of": flag,
            }
        for rank in sorted(known)[SAMPLE[flag] :]:
            del known[rank]

    def sample_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the kept documents, flag by flag, in the order of their hashes."""
        for known in self.samples.values():
            for rank in sorted(known):
                yield known[rank]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, but for the samples."""
        return {
            "characters": {str(point): count for point, count in sorted(self.characters.items())},
            "lines": self.lines.most(),
            "sequences": self.sequences.most(),
            "personal": self.personal,
            "mixed": self.mixed,
        }
