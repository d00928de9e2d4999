"""Inspection runs: text measured, looked at, cleaned, and handed on as a source like any other.

The pieces of the sources are measured in parallel (:mod:`workbench.survey`); what needs all of
them, duplicates and the usual range of each language's signals, is found here; then the pieces
are read a second time, and every document is kept or put aside with the reason.
"""

import concurrent.futures
import contextlib
import itertools
import json
import multiprocessing
import os
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet
import zstandard

from workbench import cleaning, corpus, duplicates, identify, languages, personal, signals, survey
from workbench import run as runs
from workbench.errors import UserError
from workbench.recipe import FILTERS, Clean, InspectRecipe

PARTS, DOCUMENTS, DROPPED, SAMPLES = "parts", "documents", "dropped", "samples.jsonl"
# From so much text on the time that worker processes take to start is well spent.
WORTH_WORKERS = 8 * 2**20
SHOWN_EXAMPLES = 5
SHOWN_LINES, SHOWN_CLUSTERS, SHOWN_MEMBERS, SHOWN_CHARACTERS = 20, 40, 8, 60
# The summary of training content names the top tenth of domains by size.
TOP_DOMAINS = 0.1
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
Given = TypeVar("Given")
Made = TypeVar("Made")


def make(
    run: runs.Run,
    recipe: InspectRecipe,
    workers: int = 0,
    executor: concurrent.futures.Executor | None = None,
) -> None:
    """Measure every document of the chosen languages; clean them if the recipe says how.

    Args:
        run: where results go. Pieces that an earlier session of the run finished are kept.
        recipe: what to read, and what to do with it.
        workers: processes on this machine; 0 decides by the amount of text and the cores.
        executor: does the work in their place: any of ``concurrent.futures``, or of Dask
            (``Client.get_executor()``). Its workers see the same files under the same paths.

    Raises:
        UserError: a source is missing, or there is no document in the chosen languages.
        Stopped: after SIGTERM or SIGINT; what is finished is taken up by the next session.
    """
    units = corpus.units(recipe.data)
    parts = run.path / PARTS
    shutil.rmtree(run.path / f".{PARTS}", ignore_errors=True)
    parts.mkdir(exist_ok=True)
    tasks = [
        survey.Task(
            number=number,
            sources=tuple(unit),
            data=recipe.data,
            folder=parts.resolve(),
            duplicates=recipe.duplicates,
            tokenizer=_tokenizer(recipe.tokenizer),
            contamination=_contamination(recipe, parts),
            contamination_words=recipe.contamination.words,
        )
        for number, unit in enumerate(units)
    ]
    with _pool(tasks, workers, executor) as pool:
        progress = runs.Progress(f"inspect {recipe.name}")
        totals: Counter[str] = Counter()
        for done, counted in enumerate(_each(run, pool, survey.measure, tasks), start=1):
            totals.update(counted)
            progress.update(
                f"{done} of {len(tasks)} pieces, {totals['documents']:,} documents, "
                f"{totals['bytes'] / 1e6:,.1f} MB"
            )
        whole = Survey([task.path for task in tasks])
        _refuse_if_empty(run, whole)
        progress.done(
            f"{totals['documents']:,} documents in {len(whole.tags)} languages, "
            f"{whole.faults['total']:,} set aside"
        )
        found = whole.find(recipe)
        if recipe.clean.filters:
            _clean(run, recipe, pool, tasks, found)
    _results(run, recipe, whole, found)
    _tidy(run, tasks)
    run.used_data(corpus.describe(corpus.resolve(recipe.data)))
    chosen = languages.select(recipe.data.languages)
    run.happened(
        documents=totals["documents"],
        bytes=totals["bytes"],
        pieces=len(tasks),
        faults=whole.faults,
        languages_without_text=[one.tag for one in chosen if one.tag not in whole.tags],
        unknown_to_detector=[tag for tag in whole.tags if tag in identify.unknown_to_detector()],
        dropped={
            name: int((found.reason == number).sum())
            for number, name in enumerate(FILTERS)
            if name in recipe.clean.filters
        },
    )


def _tokenizer(reference: str) -> Path | None:
    if not reference:
        return None
    path = Path(reference).expanduser()
    if reference.startswith("tokenizer/") and reference.count("/") == 1:
        path = runs.find_finished(reference).path / "tokenizer" / "tokenizer.json"
    elif not path.is_absolute():
        path = runs.home() / path
    if not path.is_file():
        raise UserError(f"no tokenizer at {reference!r}; it is 'tokenizer/<name>' or a .json file")
    return path


def _contamination(recipe: InspectRecipe, parts: Path) -> Path | None:
    """Write the hashes of all word sequences in the evaluation sets, once."""
    wanted = recipe.contamination
    if not wanted.sources:
        return None
    path = parts.resolve() / "evaluation.npy"
    if not path.exists():
        found = [np.empty(0, dtype=np.uint64)]
        for word in wanted.sources:
            texts = [text for text in corpus.all_texts(word) if text]
            for batch in signals.batches(texts):
                hashes, offsets = duplicates.shingles(
                    batch.word_hash, batch.doc_words, wanted.words
                )
                long = np.diff(batch.doc_words) >= wanted.words
                found.append(hashes[np.repeat(long, np.diff(offsets))])
        temporary = path.with_suffix(".new.npy")
        np.save(temporary, np.unique(np.concatenate(found)))
        temporary.replace(path)
    return path


@contextlib.contextmanager
def _pool(
    tasks: Sequence[survey.Task], workers: int, executor: concurrent.futures.Executor | None
) -> Iterator[concurrent.futures.Executor | None]:
    """Yield what carries tasks out; ``None`` means this process."""
    if executor is not None:
        yield executor
        return
    count = min(workers or _sensible(tasks), len(tasks))
    if count <= 1:
        yield None
        return
    # Started afresh: a copy of a process with threads, such as a notebook's kernel, may hang.
    pool = concurrent.futures.ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn")
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _sensible(tasks: Sequence[survey.Task]) -> int:
    """Return the cores that may be used, or 1 where there is little text."""
    sources = [source for task in tasks for source in task.sources]
    sizes = [one.path.stat().st_size for one in sources if isinstance(one, corpus.FileSource)]
    large = sum(sizes) > WORTH_WORKERS or any(isinstance(one, corpus.HubSource) for one in sources)
    if not large:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _each(
    run: runs.Run,
    pool: concurrent.futures.Executor | None,
    work: Callable[[Given], Made],
    tasks: Sequence[Given],
) -> Iterator[Made]:
    """Carry tasks out and yield their results as they come; stop between two when asked to."""
    told = f"{run.reference} stopped; what is measured is kept, the same command goes on"
    with runs.StopSignal(run) as stop:
        if pool is None:
            for task in tasks:
                if stop.requested:
                    stop.raise_stopped(told)
                yield work(task)
            return
        futures = {pool.submit(work, task) for task in tasks}
        try:
            while futures:
                done, futures = concurrent.futures.wait(
                    futures, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for one in done:
                    yield one.result()
                if stop.requested:
                    stop.raise_stopped(told)
        finally:
            for one in futures:
                one.cancel()


def _refuse_if_empty(run: runs.Run, whole: "Survey") -> None:
    if whole.tags:
        return
    first = whole.faults["first"]
    told = f"; first fault {first[0]}" if first else ""
    raise UserError(f"{run.reference}: no document in the chosen languages{told}")


@dataclass(frozen=True)
class Found:
    """What only all documents together tell; every array has the shape ``(documents,)``."""

    exact: npt.NDArray[np.bool_]
    """Whether an earlier document is the same, white space around it aside."""
    cluster: npt.NDArray[np.int64]
    """Cluster of near-duplicates, named by its first document's number."""
    limits: dict[str, list[cleaning.Range]]
    """Language to the usual range of its signals."""
    reason: npt.NDArray[np.int8]
    """Place in ``FILTERS`` of the filter that drops the document; -1 where it stays."""


class Survey:
    """The finished pieces as one table, read column by column."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self.parts = parts
        self.tallies = [runs.read_json(part / survey.TALLY) for part in parts]
        self.sizes = [tally["totals"]["documents"] for tally in self.tallies]
        self.starts = [0, *itertools.accumulate(self.sizes)]
        present = {tag for tally in self.tallies for tag in tally["languages"]}
        self.tags = [tag for tag in languages.tags() if tag in present]
        self.lang = self.column("lang") if self.tags else np.empty(0, dtype=object)
        place = {tag: number for number, tag in enumerate(self.tags)}
        codes = np.array([place[tag] for tag in self.lang], dtype=np.int16)
        self._order = np.argsort(codes, kind="stable")
        self._cuts = np.cumsum(np.bincount(codes, minlength=len(self.tags)))[:-1]

    @property
    def faults(self) -> dict[str, Any]:
        """What could not be read, over all pieces."""
        summaries = [tally["faults"] for tally in self.tallies]
        reasons: Counter[str] = Counter()
        for summary in summaries:
            reasons.update(summary["by_reason"])
        first = [line for summary in summaries for line in summary["first"]]
        return {
            "total": reasons.total(),
            "by_reason": dict(reasons),
            "first": first[: corpus.SHOWN_FAULTS],
        }

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column over all documents, shape ``(documents,)``."""
        return np.concatenate([table[name] for table in self.tables([name])])

    def tables(self, names: Sequence[str] | None = None) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yield the pieces' tables in order, each column as an array."""
        for part, size in zip(self.parts, self.sizes, strict=True):
            if not size:
                continue
            table = pyarrow.parquet.read_table(part / survey.TABLE, columns=names)
            yield {
                name: table.column(name).to_numpy(zero_copy_only=False)
                for name in table.column_names
            }

    def by_language(self, values: str | npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Return a column, or an array over all documents, cut into languages."""
        array = self.column(values) if isinstance(values, str) else values
        return dict(zip(self.tags, np.split(array[self._order], self._cuts), strict=True))

    def merged(self, tag: str, name: str) -> Counter[str]:
        """Add up a tally of counts over all pieces."""
        total: Counter[str] = Counter()
        for tally in self.tallies:
            total.update(tally["languages"].get(tag, {}).get(name, {}))
        return total

    def examples(self, tag: str, *path: str) -> list[str]:
        """Return the first few examples that the pieces kept."""
        found: list[str] = []
        for tally in self.tallies:
            own = tally["languages"].get(tag)
            for key in path if own else ():
                own = own[key]
            found += own or []
            if len(found) >= SHOWN_EXAMPLES:
                break
        return found[:SHOWN_EXAMPLES]

    def again(self, tag: str, name: str) -> list[tuple[int, str]]:
        """Return lines or word sequences that came again, the most frequent first."""
        total: dict[int, list[Any]] = {}
        for tally in self.tallies:
            for key, count, text in tally["languages"].get(tag, {}).get(name, []):
                entry = total.setdefault(key, [0, text])
                entry[0] += count
        ranked = sorted(total.items(), key=lambda item: (-item[1][0], item[0]))
        return [(count, text) for _, (count, text) in ranked]

    def find(self, recipe: InspectRecipe) -> Found:
        """Find duplicates and usual ranges, and decide what is dropped."""
        hashes = self.column("hash").astype(np.uint64)
        exact = duplicates.exact(hashes) != np.arange(len(hashes))
        bands = [np.load(part / survey.BANDS, mmap_mode="r") for part in self.parts]
        cluster = duplicates.clusters(bands, *self._verified(recipe))
        limits = {}
        if "quality" in recipe.clean.filters:
            columns = {name: self.by_language(name) for name in cleaning.BY_LANGUAGE}
            limits = {
                tag: cleaning.ranges(
                    {name: own[tag] for name, own in columns.items()}, recipe.clean.quantile
                )
                for tag in self.tags
            }
        near = cluster != np.arange(len(cluster))
        reason = np.full(len(hashes), -1, dtype=np.int8)
        start = 0
        for table in self.tables():
            rows = slice(start, start + len(table["lang"]))
            reason[rows] = cleaning.reasons(table, recipe.clean, limits, exact[rows], near[rows])
            start = rows.stop
        return Found(exact, cluster, limits, reason)

    def _verified(self, recipe: InspectRecipe) -> tuple[Any, ...]:
        if not recipe.duplicates.verify:
            return ()
        width = recipe.duplicates.permutations
        signatures = [
            np.memmap(part / survey.SIGNATURES, dtype=np.uint32, mode="r").reshape(-1, width)
            if size
            else np.empty((0, width), dtype=np.uint32)
            for part, size in zip(self.parts, self.sizes, strict=True)
        ]
        return signatures, recipe.duplicates.verify


@dataclass(frozen=True)
class CleaningTask:
    """What a worker is told: a piece, and what becomes of each of its documents."""

    piece: survey.Task
    clean: Clean
    kept: Path
    dropped: Path
    reasons: Path
    """The piece's part of :attr:`Found.reason`, as ``.npy``."""


def clean_piece(task: CleaningTask) -> int:
    """Write a piece's documents to what is kept and what is dropped; return the bytes kept."""
    reasons = np.load(task.reasons)
    names = ["mixed_script_words", *personal.KINDS]
    table = pyarrow.parquet.read_table(task.piece.path / survey.TABLE, columns=names)
    mixed = table.column("mixed_script_words").to_numpy() > 0
    private = np.any([table.column(kind).to_numpy() > 0 for kind in personal.KINDS], axis=0)
    size = 0
    with _compressed(task.kept) as keep, _compressed(task.dropped) as drop:
        # What cannot be read was told when the piece was measured.
        documents = corpus.read_from(task.piece.sources, task.piece.data, corpus.Faults())
        for number, document in enumerate(documents):
            row = {
                "id": document.id,
                "lang": document.lang,
                "text": document.text,
                "source": document.source,
                "licence": document.licence,
                "url": document.url,
            }
            if reasons[number] < 0:
                row["text"] = cleaning.mend(
                    document.text, document.lang, task.clean, mixed[number], private[number]
                )
                size += len(row["text"].encode())
                keep(row)
            else:
                drop({"reason": FILTERS[reasons[number]], **row})
    return size


@contextlib.contextmanager
def _compressed(path: Path) -> Iterator[Callable[[dict[str, Any]], int]]:
    """Open a file of JSON Lines that appears under its name when it is whole."""
    temporary = path.with_name(f".{path.name}")
    with runs.told_when_full(path):
        with (
            temporary.open("wb") as file,
            zstandard.ZstdCompressor(level=3).stream_writer(file) as out,
        ):
            yield lambda row: out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
        temporary.replace(path)


def _clean(
    run: runs.Run,
    recipe: InspectRecipe,
    pool: concurrent.futures.Executor | None,
    tasks: Sequence[survey.Task],
    found: Found,
) -> None:
    kept, dropped = ((run.path / name).resolve() for name in (corpus.CLEANED, DROPPED))
    for folder in (kept, dropped):
        folder.mkdir(exist_ok=True)
    todo = []
    start = 0
    for task in tasks:
        size = runs.read_json(task.path / survey.TALLY)["totals"]["documents"]
        reasons = task.path / "reasons.npy"
        np.save(reasons, found.reason[start : start + size])
        start += size
        name = f"{task.number:06d}.jsonl.zst"
        if size:
            todo.append(CleaningTask(task, recipe.clean, kept / name, dropped / name, reasons))
    progress = runs.Progress(f"clean {recipe.name}")
    size = 0
    for done, written in enumerate(_each(run, pool, clean_piece, todo), start=1):
        size += written
        progress.update(f"{done} of {len(todo)} pieces, {size / 1e6:,.1f} MB kept")
    gone = int((found.reason >= 0).sum())
    progress.done(f"{gone:,} of {len(found.reason):,} documents dropped, {size / 1e6:,.1f} MB kept")


def _results(run: runs.Run, recipe: InspectRecipe, whole: Survey, found: Found) -> None:
    """Write every table of the run."""
    run.result("languages", _language_rows(recipe, whole, found))
    run.result("signals", _signal_rows(whole))
    run.result("confusion", _confusion_rows(whole))
    run.result("characters", [row for tag in whole.tags for row in _character_rows(tag, whole)])
    for name in ("lines", "sequences"):
        run.result(
            f"repeated_{name}",
            [
                {"tag": tag, "times": times, "text": text}
                for tag in whole.tags
                for times, text in whole.again(tag, name)[:SHOWN_LINES]
            ],
        )
    run.result("clusters", _cluster_rows(whole, found))
    run.result("personal", _personal_rows(whole))
    run.result("sources", _source_rows(whole))
    run.result("domains", _domain_rows(whole))
    if recipe.clean.filters:
        run.result("dropped", _dropped_rows(recipe, whole, found))
        run.result(
            "limits",
            [
                {"tag": tag, **{key: _finite(value) for key, value in vars(limit).items()}}
                for tag, own in found.limits.items()
                for limit in own
            ],
        )
    with runs.told_when_full(run.path), (run.path / SAMPLES).open("w", encoding="utf-8") as out:
        for row in _samples(whole):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _language_rows(recipe: InspectRecipe, whole: Survey, found: Found) -> list[dict[str, Any]]:
    """Return one row a language: how much, how long, how clean, and what is kept."""
    own = {
        "exact": whole.by_language(found.exact),
        "near": whole.by_language(found.cluster != np.arange(len(found.cluster))),
        "kept": whole.by_language(found.reason < 0),
    }
    # Column by column, so that never more than a few are in memory.
    facts: dict[str, dict[str, Any]] = {tag: {} for tag in whole.tags}
    counted = (
        "sentences",
        "words",
        "characters",
        "bytes",
        *(["tokens"] if recipe.tokenizer else []),
    )
    for name in (*counted, "not_nfc", "mixed_script_words", *cleaning.ODD):
        for tag, values in whole.by_language(name).items():
            facts[tag][name] = int(values.sum())
    for tag, values in whole.by_language("bytes").items():
        facts[tag]["bytes_of_kept"] = int(values[own["kept"][tag]].sum())
    for tag, values in whole.by_language("characters").items():
        facts[tag]["lengths"] = np.quantile(values, [0.1, 0.5, 0.9], method="inverted_cdf")
    letters, shares = whole.by_language("letters"), whole.by_language("own_script_share")
    detected, openings = whole.by_language("detected"), whole.by_language("opening")
    private = whole.by_language(np.any([whole.column(kind) > 0 for kind in personal.KINDS], axis=0))
    contaminated = whole.by_language("contaminated")
    rows = []
    for tag, fact in facts.items():
        low, middle, high = (int(length) for length in fact["lengths"])
        known = tag not in identify.unknown_to_detector()
        alike = [identify.agrees(tag, one) for one in detected[tag]] if known else []
        licences = whole.merged(tag, "licences").most_common(3)
        row = {
            "tag": tag,
            "language": languages.get(tag).name,
            "documents": len(own["kept"][tag]),
            **{name: fact[name] for name in counted},
            "bytes_per_character": fact["bytes"] / max(1, fact["characters"]),
            "characters_p10": low,
            "characters_median": middle,
            "characters_p90": high,
            "share_own_script": float(
                (shares[tag] * letters[tag]).sum() / max(1, letters[tag].sum())
            ),
            "mixed_script_words": fact["mixed_script_words"],
            "mixed_script_examples": ", ".join(whole.examples(tag, "mixed")),
            "not_nfc": fact["not_nfc"],
            "control_characters": fact["control"],
            "unassigned_characters": fact["unassigned"],
            "private_characters": fact["private_use"],
            "replacement_characters": fact["replacement"],
            "mojibake": fact["mojibake"],
            "share_detected_alike": float(np.mean(alike)) if known else None,
            "exact_duplicates": int(own["exact"][tag].sum()),
            "near_duplicates": int(own["near"][tag].sum()),
            "documents_with_personal_data": int(private[tag].sum()),
            "contaminated_documents": int((contaminated[tag] > 0).sum()),
        }
        if recipe.clean.filters:
            row["documents_kept"] = int(own["kept"][tag].sum())
            row["bytes_kept"] = fact["bytes_of_kept"]
        row["licences"] = "; ".join(
            f"{name or 'not stated'} ({count:,})" for name, count in licences
        )
        row["sample"] = str(openings[tag][0])
        rows.append(row)
    return rows


def _signal_rows(whole: Survey) -> list[dict[str, Any]]:
    """Return the distribution of every signal in every language, as quantiles."""
    rows = []
    for name in (*signals.SIGNALS, "own_script_share", "frequent_word_share"):
        for tag, own in whole.by_language(name).items():
            found = np.quantile(own, QUANTILES)
            rows.append(
                {
                    "tag": tag,
                    "signal": name,
                    "mean": float(own.mean()),
                    **{
                        f"p{share * 100:g}": float(value)
                        for share, value in zip(QUANTILES, found, strict=True)
                    },
                }
            )
    return rows


def _confusion_rows(whole: Survey) -> list[dict[str, Any]]:
    pairs = zip(whole.lang.tolist(), whole.column("detected").tolist(), strict=True)
    return [
        {
            "declared": declared,
            "detected": detected or "none",
            "documents": count,
            "agrees": identify.agrees(declared, detected),
        }
        for declared, row in identify.confusion(pairs).items()
        for detected, count in row.items()
    ]


def _character_rows(tag: str, whole: Survey) -> list[dict[str, Any]]:
    """Return a language's commonest characters, and every one that no text should have."""
    counts = {int(point): count for point, count in whole.merged(tag, "characters").items()}
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    odd = [item for item in ranked[SHOWN_CHARACTERS:] if _is_odd(item[0])]
    return [
        {
            "tag": tag,
            "character": chr(point) if chr(point).isprintable() else "",
            "code_point": f"U+{point:04X}",
            "name": unicodedata.name(chr(point), "no name"),
            "category": unicodedata.category(chr(point)),
            "count": count,
            "share": count / total,
            "odd": _is_odd(point),
        }
        for point, count in (*ranked[:SHOWN_CHARACTERS], *odd[:SHOWN_CHARACTERS])
    ]


def _is_odd(point: int) -> bool:
    category = unicodedata.category(chr(point))
    return (category in ("Cc", "Cn", "Co") and chr(point) not in "\n\r\t") or point == 0xFFFD


def _cluster_rows(whole: Survey, found: Found) -> list[dict[str, Any]]:
    """Return the largest clusters of near-duplicates, with their first members to look at."""
    largest = [
        (cluster, members)
        for cluster, members in duplicates.largest(found.cluster, SHOWN_CLUSTERS)
        if len(members) > 1
    ]
    shown = np.unique(
        np.concatenate([members[:SHOWN_MEMBERS] for _, members in largest])
        if largest
        else np.empty(0, dtype=np.int64)
    )
    names = ("id", "source", "opening")
    columns = {name: whole.column(name)[shown] for name in names} if len(shown) else {}
    rows = []
    for cluster, members in largest:
        for member in members[:SHOWN_MEMBERS].tolist():
            place = int(np.searchsorted(shown, member))
            rows.append(
                {
                    "cluster": int(cluster),
                    "members": len(members),
                    "document": member,
                    "tag": str(whole.lang[member]),
                    **{name: str(column[place]) for name, column in columns.items()},
                    "exact": bool(found.exact[member]),
                }
            )
    return rows


def _personal_rows(whole: Survey) -> list[dict[str, Any]]:
    rows = []
    for kind in personal.KINDS:
        for tag, own in whole.by_language(kind).items():
            examples = whole.examples(tag, "personal", kind)
            rows.append(
                {
                    "tag": tag,
                    "kind": kind,
                    "documents": int((own > 0).sum()),
                    "findings": int(own.sum()),
                    "masked_examples": ", ".join(examples),
                }
            )
    return rows


def _source_rows(whole: Survey) -> list[dict[str, Any]]:
    """Return documents and bytes by language, source and licence."""
    totals: dict[tuple[str, str, str], list[int]] = {}
    for table in whole.tables(["lang", "source", "licence", "bytes"]):
        columns = (table[name].tolist() for name in ("lang", "source", "licence", "bytes"))
        for tag, source, licence, size in zip(*columns, strict=True):
            entry = totals.setdefault((tag, source, licence), [0, 0])
            entry[0] += 1
            entry[1] += size
    place = {tag: number for number, tag in enumerate(whole.tags)}
    return [
        {"tag": tag, "source": source, "licence": licence, "documents": count, "bytes": size}
        for (tag, source, licence), (count, size) in sorted(
            totals.items(), key=lambda item: (place[item[0][0]], -item[1][1])
        )
    ]


def _domain_rows(whole: Survey) -> list[dict[str, Any]]:
    """Return the hosts that together hold the top tenth of all hosts, the largest first."""
    totals: dict[str, list[int]] = {}
    for tally in whole.tallies:
        for own in tally["languages"].values():
            for host, (count, size) in own["domains"].items():
                entry = totals.setdefault(host, [0, 0])
                entry[0] += count
                entry[1] += size
    ranked = sorted(totals.items(), key=lambda item: (-item[1][1], item[0]))
    kept = ranked[: int(np.ceil(len(ranked) * TOP_DOMAINS))]
    return [
        {"domain": host, "documents": count, "bytes": size, "of_domains": len(ranked)}
        for host, (count, size) in kept
    ]


def _dropped_rows(recipe: InspectRecipe, whole: Survey, found: Found) -> list[dict[str, Any]]:
    sizes, reasons = whole.by_language("bytes"), whole.by_language(found.reason)
    rows = []
    for tag in whole.tags:
        for name in recipe.clean.filters:
            gone = reasons[tag] == FILTERS.index(name)
            rows.append(
                {
                    "tag": tag,
                    "reason": name,
                    "documents": int(gone.sum()),
                    "bytes": int(sizes[tag][gone].sum()),
                    "share": float(gone.mean()),
                }
            )
    return rows


def _samples(whole: Survey) -> Iterator[Mapping[str, Any]]:
    """Yield the sample of every language and flag: of all pieces' the lowest hashes."""
    merged: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for part in whole.parts:
        for row in runs.read_jsonl(part / survey.SAMPLES):
            merged.setdefault((row["lang"], row["of"]), []).append(row)
    for (_, flag), rows in sorted(merged.items()):
        keep = survey.SAMPLE_FLAGGED if flag else survey.SAMPLE_DOCUMENTS
        for row in sorted(rows, key=lambda row: (row["rank"], row["id"]))[:keep]:
            yield {key: value for key, value in row.items() if key != "rank"}


def _tidy(run: runs.Run, tasks: Sequence[survey.Task]) -> None:
    """Keep one table a piece and the quarantine; the rest served to make the results."""
    tables = run.path / DOCUMENTS
    with runs.told_when_full(run.path):
        tables.mkdir(exist_ok=True)
        with (run.path / runs.QUARANTINE).open("wb") as out:
            for task in tasks:
                if (task.path / survey.TABLE).exists():
                    shutil.copyfile(task.path / survey.TABLE, tables / f"{task.number:06d}.parquet")
                if (task.path / runs.QUARANTINE).exists():
                    with (task.path / runs.QUARANTINE).open("rb") as own:
                        shutil.copyfileobj(own, out)
    if not (run.path / runs.QUARANTINE).stat().st_size:
        (run.path / runs.QUARANTINE).unlink()
    # In one step, so that a kill leaves all pieces or none for the next session.
    gone = run.path / f".{PARTS}"
    shutil.rmtree(gone, ignore_errors=True)
    (run.path / PARTS).rename(gone)
    shutil.rmtree(gone)
