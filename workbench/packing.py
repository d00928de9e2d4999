"""Text becomes tokens once, and lies in memory-mapped shards from then on.

One shard holds one language's documents of one split, one after the other, each followed by the
end token; beside it stand where each document ends and how many bytes of text it had. A pack is
named after what it was made from, so that pretraining, adaptation and evaluation share it. It is
derived data: deleting ``runs/tokens`` loses nothing but time.
"""

import functools
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from workbench import corpus, disk, languages, mixing, processes, rows, terminal, tokenizer
from workbench import run as runs
from workbench.errors import UserError
from workbench.sections import Data, Mix

BATCH_BYTES = 2 * 2**20
BATCH_DOCUMENTS = 512
CACHE = "tokens"
# Raised when the facts or shards of a pack change, so that older ones are made anew.
FORM = 2


@dataclass(frozen=True)
class Shard:
    """One language's tokens of one split."""

    tokens: npt.NDArray[Any]
    """All documents, each with its end token; uint16 or uint32."""
    ends: npt.NDArray[np.int64]
    """For each document, the position after its end token."""
    sizes: npt.NDArray[np.int64]
    """For each document, its length in bytes of UTF-8."""

    def document(self, number: int) -> npt.NDArray[np.int64]:
        """Return a document's token ids without the end token, shape ``(tokens,)``."""
        start = 0 if number == 0 else int(self.ends[number - 1])
        return np.asarray(self.tokens[start : int(self.ends[number]) - 1], dtype=np.int64)


def shard_of(texts: Sequence[str], tokenizer_: PreTrainedTokenizerFast) -> Shard:
    """Return a shard in memory that holds ``texts`` as its documents."""
    end = int(tokenizer_.eos_token_id)
    encoded = [[*ids, end] for ids in tokenizer.encode(tokenizer_, list(texts))]
    return Shard(
        tokens=np.array([token for ids in encoded for token in ids], dtype=np.int64),
        ends=np.cumsum([len(ids) for ids in encoded], dtype=np.int64),
        sizes=np.array([len(text.encode()) for text in texts], dtype=np.int64),
    )


class Pack:
    """A folder of shards with the facts that belong into a run's record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = disk.read_json(folder / "facts.json")

    @property
    def tags(self) -> list[str]:
        """The languages that have training text, in the registry's order."""
        return [tag for tag, counts in self.facts["tokens"].items() if counts["train"]]

    def characters_per_token(self) -> dict[str, float]:
        """Return the mean length of a token in each language's training text."""
        return {
            tag: self.facts["characters"][tag]["train"] / self.facts["tokens"][tag]["train"]
            for tag in self.tags
        }

    def sizes(self, unit: Literal["tokens", "bytes"]) -> dict[str, int]:
        """Return how much training text each language has."""
        return {tag: self.facts[unit][tag]["train"] for tag in self.tags}

    def shard(self, tag: str, split: str) -> Shard:
        """Open a shard; one without documents is empty."""
        stem = self.folder / f"{tag}.{split}"
        kind = np.dtype(self.facts["dtype"])
        if not Path(f"{stem}.ends").exists():
            nothing = np.empty(0, dtype=np.int64)
            return Shard(np.empty(0, dtype=kind), nothing, nothing)
        tokens = np.memmap(f"{stem}.tokens", dtype=kind, mode="r")
        ends, sizes = (np.fromfile(f"{stem}.{part}", dtype=np.int64) for part in ("ends", "sizes"))
        return Shard(tokens, ends, sizes)


def pack(run: runs.Run, data: Data, tokenizer_: PreTrainedTokenizerFast) -> Pack:
    """Return the pack of ``data``, made now unless there is one already, and tell the record.

    Raises:
        UserError: the sources hold no document in the chosen languages, or none to train on.
    """
    return packs(run, [data], tokenizer_)[0]


def packs(run: runs.Run, parts: Sequence[Data], tokenizer_: PreTrainedTokenizerFast) -> list[Pack]:
    """Return the pack of each part, and tell the record of all; equal parts share one pack.

    Where there are several packs, what the record counts is their sum: text that stands in two of
    them counts twice. ``pack`` is the name of the first.

    Raises:
        UserError: as :func:`pack`.
    """
    made: dict[str, Pack] = {}
    sources: list[dict[str, Any]] = []
    names = []
    for data in parts:
        found = corpus.describe(corpus.resolve(data))
        asked = {
            "form": FORM,
            "data": asdict(data),
            "sources": found,
            "tokenizer": tokenizer.fingerprint(tokenizer_),
        }
        folder = runs.root() / CACHE / disk.text_hash(asked)
        processes.from_first(functools.partial(_make_if_missing, run, folder, data, tokenizer_))
        made.setdefault(folder.name, Pack(folder))
        names.append(folder.name)
        sources += [source for source in found if source not in sources]
    if processes.is_first():
        _gather_quarantines(run, list(made.values()))
    run.used_data(sources)
    run.happened(
        pack=names[0],
        documents=_sum(made.values(), "documents"),
        text_bytes=_sum(made.values(), "bytes"),
        tokens_packed=_sum(made.values(), "tokens"),
        faults=_faults(made.values()),
    )
    return [made[name] for name in names]


def _gather_quarantines(run: runs.Run, made: Sequence[Pack]) -> None:
    files = [one.folder / runs.QUARANTINE for one in made]
    files = [file for file in files if file.exists()]
    if files:
        with disk.told_when_full(run.path), (run.path / runs.QUARANTINE).open("wb") as out:
            for file in files:
                with file.open("rb") as part:
                    shutil.copyfileobj(part, out)


def _sum(made: Iterable[Pack], name: str) -> dict[str, dict[str, int]]:
    """Return a count by language and split, over all packs."""
    total: dict[str, Counter[str]] = defaultdict(Counter)
    for one in made:
        for tag, counts in one.facts[name].items():
            total[tag].update(counts)
    return {
        tag: {split: total[tag][split] for split in corpus.SPLITS}
        for tag in languages.tags()
        if tag in total
    }


def _faults(made: Iterable[Pack]) -> dict[str, Any]:
    """Return the faults of all packs in the form of one, :meth:`corpus.Faults.summary`."""
    first, *others = (one.facts["faults"] for one in made)
    for one in others:
        first = {
            "total": first["total"] + one["total"],
            "by_reason": dict(Counter(first["by_reason"]) + Counter(one["by_reason"])),
            "first": (first["first"] + one["first"])[: rows.SHOWN_FAULTS],
        }
    return dict(first)


def _make_if_missing(
    run: runs.Run, folder: Path, data: Data, tokenizer_: PreTrainedTokenizerFast
) -> None:
    if not (folder / "facts.json").exists():
        _make(run, folder, data, tokenizer_)


def _make(run: runs.Run, folder: Path, data: Data, tokenizer_: PreTrainedTokenizerFast) -> None:
    """Write the shards beside the final folder, and move them there in one piece at the end."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    faults = corpus.Faults(temporary / runs.QUARANTINE)
    progress = terminal.Progress(f"packing for {run.reference}")
    with disk.told_when_full(temporary):
        temporary.mkdir(parents=True)
        try:
            writer = _Writer(temporary, tokenizer_)
            for document in corpus.read(data, faults):
                writer.add(document, corpus.split_of(document.id, data))
                progress.update(f"{writer.total():,} documents")
            writer.flush()
            faults.close()
            _refuse_if_empty(run, writer, faults)
            disk.write_json(temporary / "facts.json", writer.facts() | {"faults": faults.summary()})
            if folder.exists():
                shutil.rmtree(folder)
            temporary.rename(folder)
        finally:
            if (temporary / runs.QUARANTINE).exists():
                shutil.copyfile(temporary / runs.QUARANTINE, run.path / runs.QUARANTINE)
            shutil.rmtree(temporary, ignore_errors=True)
    progress.done(f"{writer.total():,} documents, {faults.total:,} set aside")


def _refuse_if_empty(run: runs.Run, writer: "_Writer", faults: corpus.Faults) -> None:
    if writer.total():
        return
    told = f"; {faults.total} could not be read, first {faults.first[0]}" if faults.total else ""
    raise UserError(f"{run.reference}: no document in the chosen languages{told}")


class _Writer:
    """Encodes documents in batches and appends them to their shards."""

    def __init__(self, folder: Path, tokenizer_: PreTrainedTokenizerFast) -> None:
        self._folder = folder
        self._tokenizer = tokenizer_
        self._end = int(tokenizer_.eos_token_id)
        self._dtype = np.dtype(np.uint16 if len(tokenizer_) <= 2**16 else np.uint32)
        self._waiting: list[tuple[str, str, str]] = []
        self._waiting_bytes = 0
        self._documents: dict[str, Counter[str]] = defaultdict(Counter)
        self._bytes: dict[str, Counter[str]] = defaultdict(Counter)
        self._characters: dict[str, Counter[str]] = defaultdict(Counter)
        self._tokens: dict[str, Counter[str]] = defaultdict(Counter)

    def total(self) -> int:
        return sum(counts.total() for counts in self._documents.values()) + len(self._waiting)

    def add(self, document: corpus.Document, split: str) -> None:
        self._waiting.append((document.lang, split, document.text))
        self._waiting_bytes += len(document.text)
        if self._waiting_bytes >= BATCH_BYTES or len(self._waiting) >= BATCH_DOCUMENTS:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        encoded = tokenizer.encode(self._tokenizer, [text for _, _, text in self._waiting])
        grouped: dict[tuple[str, str], list[tuple[list[int], int]]] = defaultdict(list)
        for (tag, split, text), ids in zip(self._waiting, encoded, strict=True):
            grouped[tag, split].append((ids, len(text.encode())))
            self._characters[tag][split] += len(text)
        for (tag, split), entries in grouped.items():
            self._append(tag, split, entries)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _append(self, tag: str, split: str, entries: list[tuple[list[int], int]]) -> None:
        start = self._tokens[tag][split]
        lengths = np.array([len(ids) + 1 for ids, _ in entries], dtype=np.int64)
        flat = np.fromiter(
            (token for ids, _ in entries for token in (*ids, self._end)), dtype=self._dtype
        )
        sizes = np.array([size for _, size in entries], dtype=np.int64)
        parts = {"tokens": flat, "ends": start + np.cumsum(lengths), "sizes": sizes}
        for part, values in parts.items():
            with (self._folder / f"{tag}.{split}.{part}").open("ab") as out:
                out.write(values.tobytes())
        self._tokens[tag][split] += int(lengths.sum())
        self._documents[tag][split] += len(entries)
        self._bytes[tag][split] += int(sizes.sum())

    def facts(self) -> dict[str, Any]:
        return {
            "dtype": self._dtype.name,
            "vocabulary": len(self._tokenizer),
            "end_token": self._end,
            **{
                name: {
                    tag: {split: counts[tag][split] for split in corpus.SPLITS}
                    for tag in languages.tags()
                    if tag in counts
                }
                for name, counts in (
                    ("documents", self._documents),
                    ("bytes", self._bytes),
                    ("characters", self._characters),
                    ("tokens", self._tokens),
                )
            },
        }


def weights(pack_: Pack, mix: Mix, budget: int | None = None) -> dict[str, float]:
    """Return each language's share of the training sequences; the shares add up to 1.

    Args:
        pack_: holds the sizes.
        mix: the strategy; its ``unit`` is what sizes and shares are planned in.
        budget: tokens that the training reads; UniMax needs it unless ``mix`` has its own.

    Raises:
        UserError: as :func:`mixing.shares`.
    """
    tokens = pack_.sizes("tokens")
    if mix.unit == "tokens":
        return mixing.shares(tokens, mix, budget)
    sizes = pack_.sizes(mix.unit)
    return mixing.of_tokens(mixing.shares(sizes, mix), sizes, tokens)
