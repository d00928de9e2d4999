"""Documents measured: one table, one row a document, made piece by piece in any order.

A piece is a file or a part of one. What it holds is read as a stream, measured in batches, and
written beside the run; memory does not grow with the piece, and a piece that is whole is not made
again. Pieces are put together in their own order, so the result is the same for any number of
workers, through any executor of ``concurrent.futures``.
"""

import functools
import hashlib
import heapq
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet
import tokenizers

from workbench import cleaning, corpus, duplicates, identify, languages, passages, personal, signals
from workbench import run as runs
from workbench.recipe import Data, Duplicates

TABLE, BANDS, SIGNATURES = "documents.parquet", "bands.npy", "signatures.npy"
TALLY, SAMPLES = "tally.json", "samples.jsonl"
# Documents of one batch, and of one row group of the table.
GROUP_DOCUMENTS = 2**15
SAMPLE_DOCUMENTS, SAMPLE_FLAGGED, SAMPLE_CHARACTERS = 40, 10, 2000
# Counts of lines and word sequences forget the rare ones when there are more than this.
COUNTED = 100_000
LINE_WORDS, SEQUENCE_WORDS, SEQUENCE_SAMPLING = 4, 8, 16
SHOWN, OPENING = 160, 120
EXAMPLES = 12
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
    duplicates: Duplicates
    tokenizer: Path | None
    """A ``tokenizer.json``, to count tokens with."""
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
    """
    if not (task.path / TALLY).exists():
        temporary = task.path.with_name(f".{task.path.name}")
        shutil.rmtree(temporary, ignore_errors=True)
        with runs.told_when_full(temporary):
            temporary.mkdir(parents=True)
            _Piece(task, temporary).make()
            shutil.rmtree(task.path, ignore_errors=True)
            temporary.rename(task.path)
    totals: dict[str, int] = runs.read_json(task.path / TALLY)["totals"]
    return totals


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
        self._bands: list[npt.NDArray[np.uint64]] = []
        self._totals = Counter({"documents": 0, "bytes": 0})
        self._tokenizer = (
            tokenizers.Tokenizer.from_file(str(task.tokenizer)) if task.tokenizer else None
        )
        self._contamination = (
            np.load(task.contamination, mmap_mode="r") if task.contamination else None
        )

    def make(self) -> None:
        signatures = (
            (self._folder / SIGNATURES).open("wb") if self._task.duplicates.verify else None
        )
        for documents in self._batches():
            batch = signals.Batch([document.text for document in documents])
            signature = duplicates.signatures(
                batch.word_hash, batch.doc_words, self._task.duplicates
            )
            if signatures is not None:
                signatures.write(signature.tobytes())
            self._bands.append(duplicates.band_keys(signature, self._task.duplicates))
            self._add(documents, batch)
        if signatures is not None:
            signatures.close()
        self._write()
        if self._writer is not None:
            self._writer.close()
        self._faults.close()
        none = np.empty((0, self._task.duplicates.bands), dtype=np.uint64)
        np.save(self._folder / BANDS, np.concatenate([none, *self._bands]))
        with (self._folder / SAMPLES).open("w", encoding="utf-8") as out:
            for tally in self._tallies.values():
                for row in tally.samples():
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
        runs.write_json(
            self._folder / TALLY,
            {
                "totals": dict(self._totals),
                "faults": self._faults.summary(),
                "languages": {tag: tally.to_dict() for tag, tally in self._tallies.items()},
            },
        )

    def _batches(self) -> Iterator[list[corpus.Document]]:
        waiting: list[corpus.Document] = []
        characters = 0
        for document in corpus.read_from(self._task.sources, self._task.data, self._faults):
            waiting.append(document)
            characters += len(document.text)
            if characters >= signals.BATCH_CHARACTERS or len(waiting) >= signals.BATCH_DOCUMENTS:
                yield waiting
                waiting, characters = [], 0
        if waiting:
            yield waiting

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
        if self._tokenizer is not None:
            encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
            measured["tokens"] = np.array([len(one.ids) for one in encoded], dtype=np.int64)
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
            self._writer = pyarrow.parquet.ParquetWriter(
                self._folder / TABLE, table.schema, compression="zstd"
            )
        self._writer.write_table(table)
        self._columns, self._waiting_documents = [], 0


def _compact(name: str, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if column.dtype == np.float64:
        return column.astype(np.float32)
    return column.astype(np.int32) if name in COUNTS else column


def _text_hash(text: str) -> int:
    digest = hashlib.blake2b(text.strip().encode(), digest_size=8).digest()
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
        "detected_probability": np.array([ranks[0][1] for ranks in padded], dtype=np.float64),
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


@dataclass
class Tally:
    """What is counted of a language beyond its documents' measures; pieces add up."""

    tag: str
    characters: Counter[int] = field(default_factory=Counter)
    """Code point to how often it occurs."""
    lines: dict[int, list[Any]] = field(default_factory=dict)
    """Hash of a line to how often it occurs, and the line."""
    sequences: dict[int, list[Any]] = field(default_factory=dict)
    """Likewise of eight words in a row; one in sixteen is counted, chosen by its hash."""
    licences: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    domains: dict[str, list[int]] = field(default_factory=dict)
    """Host to documents and bytes."""
    personal: dict[str, list[str]] = field(default_factory=dict)
    """Kind to masked examples."""
    mixed: list[str] = field(default_factory=list)
    """Words with letters of two scripts."""
    _heaps: dict[str, list[tuple[int, int, dict[str, Any]]]] = field(
        default_factory=lambda: defaultdict(list)
    )

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
        self._count_characters(chosen, batch)
        self._count_lines(chosen, batch)
        self._count_sequences(chosen, batch)
        self.licences.update(table["licence"][rows].tolist())
        self.sources.update(table["source"][rows].tolist())
        for number in rows[table["domain"][rows] != ""].tolist():
            entry = self.domains.setdefault(str(table["domain"][number]), [0, 0])
            entry[0] += 1
            entry[1] += int(table["bytes"][number])
        self._look(rows, batch, table)
        for number in rows.tolist():
            self._offer("", SAMPLE_DOCUMENTS, number, documents, table, flags)
        for name, flag in flags.items():
            for number in rows[flag[rows]].tolist():
                self._offer(name, SAMPLE_FLAGGED, number, documents, table, flags)

    def _count_characters(self, chosen: npt.NDArray[np.bool_], batch: signals.Batch) -> None:
        points = batch.points
        if not chosen.all():
            points = np.concatenate(
                [
                    batch.points[start:end]
                    for start, end, own in zip(batch.doc_start, batch.doc_end, chosen, strict=True)
                    if own
                ]
            )
        counts = np.bincount(points)
        seen = np.flatnonzero(counts)
        for point, count in zip(seen.tolist(), counts[seen].tolist(), strict=True):
            self.characters[point] += count
        # The separator between documents is not a character of theirs.
        if chosen.all():
            self.characters[0] -= batch.documents + 1
            if self.characters[0] <= 0:
                del self.characters[0]

    def _count_lines(self, chosen: npt.NDArray[np.bool_], batch: signals.Batch) -> None:
        spaces = np.searchsorted(batch.word_start, batch.line_start)
        words = np.searchsorted(batch.word_start, batch.line_end) - spaces
        lines = np.flatnonzero(chosen[batch.line_doc] & (words >= LINE_WORDS))
        self._count(
            self.lines, batch.line_hash[lines], lines, batch.line_start, batch.line_end, batch
        )

    def _count_sequences(self, chosen: npt.NDArray[np.bool_], batch: signals.Batch) -> None:
        last = np.arange(len(batch.word_hash)) + SEQUENCE_WORDS - 1
        places = np.flatnonzero(last < len(batch.word_hash))
        places = places[batch.word_doc[last[places]] == batch.word_doc[places]]
        # Chosen by the first word's hash, so that the same sequences are counted everywhere.
        places = places[batch.word_hash[places] % np.uint64(SEQUENCE_SAMPLING) == 0]
        places = places[chosen[batch.word_doc[places]]]
        keys = np.zeros(len(places), dtype=np.uint64)
        for step in range(SEQUENCE_WORDS):
            keys = keys * duplicates.MULTIPLIER + batch.word_hash[places + step]
        ends = np.append(batch.word_end, 0)[np.minimum(last, len(batch.word_end))]
        self._count(self.sequences, keys, places, batch.word_start, ends, batch)

    def _count(
        self,
        table: dict[int, list[Any]],
        keys: npt.NDArray[np.uint64],
        places: npt.NDArray[np.int64],
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        batch: signals.Batch,
    ) -> None:
        """Count stretches by their hash, and keep the text of those that come again."""
        unique, first, counts = np.unique(keys, return_index=True, return_counts=True)
        for key, at, count in zip(unique.tolist(), first.tolist(), counts.tolist(), strict=True):
            entry = table.get(key)
            if entry is None:
                entry = table[key] = [0, ""]
            entry[0] += count
            if entry[0] > 1 and not entry[1]:
                place = places[at]
                doc = int(batch.doc_of(starts[place : place + 1])[0])
                offset = int(batch.doc_start[doc])
                text = batch.texts[doc][int(starts[place]) - offset : int(ends[place]) - offset]
                entry[1] = text[:SHOWN]
        if len(table) > COUNTED:
            _forget(table)

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
            for word in cleaning.mixed_words(batch.texts[number], languages.get(self.tag).script):
                if word not in self.mixed:
                    self.mixed.append(word)
            del self.mixed[EXAMPLES:]

    def _offer(
        self,
        flag: str,
        keep: int,
        number: int,
        documents: Sequence[corpus.Document],
        table: Mapping[str, npt.NDArray[Any]],
        flags: Mapping[str, npt.NDArray[np.bool_]],
    ) -> None:
        """Keep the documents of the lowest hashes: a random sample that pieces agree on."""
        heap = self._heaps[flag]
        rank = int(table["hash"][number])
        if len(heap) >= keep and -rank <= heap[0][0]:
            return
        document = documents[number]
        row = {
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
        entry = (-rank, len(heap), row)
        if len(heap) < keep:
            heapq.heappush(heap, entry)
        else:
            heapq.heapreplace(heap, entry)

    def samples(self) -> Iterator[dict[str, Any]]:
        """Yield the kept documents, flag by flag, in the order of their hashes."""
        for heap in self._heaps.values():
            for _, _, row in sorted(heap, key=lambda entry: -entry[0]):
                yield row

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; of lines and sequences only those that came again."""
        return {
            "characters": {str(point): count for point, count in sorted(self.characters.items())},
            "lines": _again(self.lines),
            "sequences": _again(self.sequences),
            "licences": dict(self.licences),
            "sources": dict(self.sources),
            "domains": self.domains,
            "personal": self.personal,
            "mixed": self.mixed,
        }


def _again(table: dict[int, list[Any]]) -> list[list[Any]]:
    return sorted([key, *entry] for key, entry in table.items() if entry[0] > 1)


def _forget(table: dict[int, list[Any]]) -> None:
    """Drop the rarer half of what is counted (lossy counting, Manku and Motwani 2002).

    What occurs often in a piece is never lost; what came once or twice long ago may be.
    """
    middle = sorted(entry[0] for entry in table.values())[len(table) // 2]
    for key in [key for key, entry in table.items() if entry[0] <= middle]:
        del table[key]
