"""Inspection runs: text measured, looked at, cleaned, and handed on as a source like any other.

The pieces of the sources are measured in parallel (:mod:`workbench.survey`); what needs all of
them, duplicates and the usual range of each language's signals, is found then
(:mod:`workbench.overview`); and the pieces are read a second time, where every document is kept,
or put aside with the reason.

A run that was ended goes on with the pieces that it lacks. Its results are the same for any number
of workers and of interruptions.
"""

import concurrent.futures
import contextlib
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import zstandard

from workbench import (
    cleaning,
    corpus,
    croissant,
    cutters,
    disk,
    duplicates,
    executors,
    identify,
    languages,
    overview,
    personal,
    signals,
    survey,
    terminal,
)
from workbench import run as runs
from workbench.errors import UserError
from workbench.recipe import InspectRecipe
from workbench.sections import FILTERS, Clean

PARTS, DOCUMENTS, DROPPED, SAMPLES = "parts", "documents", "dropped", "samples.jsonl"
EVALUATION, COLUMNS = "evaluation.npy", ".columns"
# From so much text on the time that worker processes take to start is well spent.
WORTH_WORKERS = 8 * 2**20


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
        UserError: a source is missing, or has changed since an earlier session of the run; there
            is no document in the chosen languages.
        Stopped: after SIGTERM or SIGINT; what is finished is taken up by the next session.
    """
    if workers < 0:
        raise UserError(f"workers must not be negative, it is {workers}")
    shutil.rmtree(run.path / f".{PARTS}", ignore_errors=True)
    if "pieces" in run.record["happened"] and not (run.path / PARTS).exists():
        return  # an earlier session had come to its end, but for figures and manifest
    units = corpus.units(recipe.data)
    tokenizer = _tokenizer(recipe.tokenizer)
    _settle_sources(run, recipe)
    with _folder(run.path / PARTS) as parts:
        evaluation = _evaluation(run, recipe, parts)
        tasks = [
            survey.Task(
                number=number,
                sources=tuple(unit),
                data=recipe.data,
                folder=parts,
                stop=run.path / runs.STOP,
                duplicates=recipe.duplicates,
                tokenizer=tokenizer,
                contamination=evaluation,
                contamination_words=recipe.contamination.words,
            )
            for number, unit in enumerate(units)
        ]
        with contextlib.ExitStack() as stack:
            if executor is None:
                count = min(workers or _sensible(units), len(tasks))
                executor = stack.enter_context(executors.pool(count))
            whole = _measure(run, recipe, executor, tasks)
            found = whole.find(recipe)
            if recipe.clean.filters:
                _clean(run, recipe, executor, tasks, found)
        for name, rows in overview.results(whole, recipe, found):
            run.result(name, rows)
        _write_lines(run.path / SAMPLES, overview.samples(whole))
    facts = _facts(recipe, whole, found)
    if recipe.clean.filters:
        _describe(run, recipe, facts["dropped"])
    run.happened(**facts)
    _tidy(run, tasks)


def _settle_sources(run: runs.Run, recipe: InspectRecipe) -> None:
    """State what is read, before it is; a later session of the run must find the same."""
    sources = corpus.describe(corpus.resolve(recipe.data))
    for word in recipe.contamination.sources:
        found = corpus.describe(corpus.files(word))
        sources += [{**one, "used_for": "contamination"} for one in found]
    before = run.record["provenance"].get("data", sources)
    if before != sources:
        differing = [
            one["source"] for one in (*before, *sources) if (one in before) != (one in sources)
        ]
        raise UserError(
            f"{run.reference} was begun when {differing[0]} was another; say --fresh to begin anew"
        )
    run.used_data(sources)


def _tokenizer(reference: str) -> str:
    """Return the tokenizer to count with as workers find it; empty where none is asked for.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if not reference:
        return ""
    cutters.cutter(reference)
    return reference if reference.startswith("hub:") else str(cutters.find(reference).resolve())


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """Yield the folder of the pieces; a mistake that leaves it without any takes it away."""
    path.mkdir(exist_ok=True)
    for leftover in path.glob(".*"):  # of a killed session
        shutil.rmtree(leftover)
    try:
        yield path.resolve()
    except UserError:
        if not any(path.glob(f"*/{survey.TALLY}")):
            shutil.rmtree(path, ignore_errors=True)
        raise


def _evaluation(run: runs.Run, recipe: InspectRecipe, parts: Path) -> Path | None:
    """Write the hashes of all word sequences in the evaluation sets, once."""
    wanted = recipe.contamination
    if not wanted.sources:
        return None
    path = parts / EVALUATION
    if path.exists():
        return path
    found = [np.empty(0, dtype=np.uint64)]
    counts: Counter[str] = Counter()
    for source in (source for word in wanted.sources for source in corpus.files(word)):
        for batch in signals.batches(corpus.all_texts(source)):
            hashes, offsets = duplicates.shingles(batch.word_hash, batch.doc_words, wanted.words)
            long = np.diff(batch.doc_words) >= wanted.words
            # A shorter text is one sequence of all its words, which proves nothing.
            found.append(np.unique(hashes[np.repeat(long, np.diff(offsets))]))
            counts.update(texts=batch.documents, too_short=int((~long).sum()))
    run.happened(evaluation=dict(counts))
    with disk.told_when_full(path), _whole(path) as temporary, temporary.open("wb") as out:
        np.save(out, np.unique(np.concatenate(found)))
    return path


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write, which then becomes ``path``."""
    # A name of its own: a worker that outlived a killed run may still be at the same file.
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sensible(units: Sequence[Sequence[corpus.Source]]) -> int:
    """Return the cores that may be used, or 1 where there is little text."""
    files = [one for unit in units for one in unit if isinstance(one, corpus.FileSource)]
    remote = any(file.bytes is None for file in files)
    much = remote or sum(file.bytes or 0 for file in files) > WORTH_WORKERS
    return executors.cores() if much else 1


def _measure(
    run: runs.Run,
    recipe: InspectRecipe,
    executor: concurrent.futures.Executor,
    tasks: Sequence[survey.Task],
) -> overview.Overview:
    progress = terminal.Progress(f"inspect {recipe.name}")
    totals: Counter[str] = Counter()
    for done, counted in enumerate(executors.each(run, executor, survey.measure, tasks), start=1):
        totals.update(counted)
        progress.update(
            f"{done} of {len(tasks)} pieces, {totals['documents']:,} documents, "
            f"{totals['bytes'] / 1e6:,.1f} MB"
        )
    with disk.told_when_full(run.path):
        whole = overview.Overview([task.path for task in tasks], run.path / PARTS / COLUMNS)
    told = f"; first fault {whole.faults['first'][0]}" if whole.faults["total"] else ""
    if not whole.tags:
        _collect_faults(run, tasks)
        shutil.rmtree(run.path / PARTS)
        raise UserError(f"{run.reference}: no document in the chosen languages{told}")
    progress.done(
        f"{totals['documents']:,} documents in {len(whole.tags)} languages, "
        f"{whole.faults['total']:,} set aside"
    )
    return whole


@dataclass(frozen=True)
class CleaningTask:
    """What a worker is told: a piece, and what becomes of each of its documents."""

    piece: survey.Task
    clean: Clean
    kept: Path
    dropped: Path
    reasons: Path
    """The piece's part of :attr:`overview.Found.reason`, as ``.npy``."""


def _clean(
    run: runs.Run,
    recipe: InspectRecipe,
    executor: concurrent.futures.Executor,
    tasks: Sequence[survey.Task],
    found: overview.Found,
) -> None:
    kept, dropped = ((run.path / name).resolve() for name in (corpus.CLEANED, DROPPED))
    for folder in (kept, dropped):
        folder.mkdir(exist_ok=True)
        for leftover in folder.glob(".*"):  # of a killed session
            leftover.unlink()
    todo = []
    start = 0
    for task in tasks:
        size = disk.read_json(task.path / survey.TALLY)["totals"]["documents"]
        reasons = task.path / "reasons.npy"
        np.save(reasons, found.reason[start : start + size])
        start += size
        name = f"{task.number:06d}.jsonl.zst"
        if size:
            todo.append(CleaningTask(task, recipe.clean, kept / name, dropped / name, reasons))
    progress = terminal.Progress(f"clean {recipe.name}")
    for done, _ in enumerate(executors.each(run, executor, clean_piece, todo), start=1):
        progress.update(f"{done} of {len(todo)} pieces")
    gone = int((found.reason >= 0).sum())
    progress.done(f"{gone:,} of {len(found.reason):,} documents dropped")


def clean_piece(task: CleaningTask) -> None:
    """Write a piece's documents to what is kept and what is dropped, unless that is done.

    Of a document its text, id, language, source, licence and address are kept. Whatever else its
    source said of it is left out, for nobody has looked at it.

    Raises:
        Stopped: it was asked to.
    """
    survey.stop_if_asked(task.piece)
    if task.kept.exists() and task.dropped.exists():
        return
    reasons = np.load(task.reasons)
    names = ["mixed_script_words", *personal.KINDS]
    table = pyarrow.parquet.read_table(task.piece.path / survey.TABLE, columns=names)
    mixed = table["mixed_script_words"].to_numpy() > 0
    private = np.any([table[kind].to_numpy() > 0 for kind in personal.KINDS], axis=0)
    with _compressed(task.kept) as keep, _compressed(task.dropped) as drop:
        # What cannot be read was told when the piece was measured.
        documents = corpus.read_from(task.piece.sources, task.piece.data, corpus.Faults())
        for number, document in enumerate(documents):
            if number % 1000 == 999:
                survey.stop_if_asked(task.piece)
            row = {
                "id": document.id,
                "lang": document.lang,
                "text": document.text,
                "source": document.source,
                "licence": document.licence,
                "url": document.url,
            }
            if reasons[number] >= 0:
                drop({"reason": FILTERS[reasons[number]], **row})
                continue
            row["text"] = cleaning.mend(
                document.text, document.lang, task.clean, mixed[number], private[number]
            )
            keep(row)


@contextlib.contextmanager
def _compressed(path: Path) -> Iterator[Callable[[dict[str, Any]], int]]:
    """Open a file of JSON Lines that appears under its name when it is whole."""
    with (
        disk.told_when_full(path),
        _whole(path) as temporary,
        temporary.open("wb") as file,
        zstandard.ZstdCompressor(level=3).stream_writer(file) as out,
    ):
        yield lambda row: out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def _facts(
    recipe: InspectRecipe, whole: overview.Overview, found: overview.Found
) -> dict[str, Any]:
    chosen = languages.select(recipe.data.languages)
    return {
        "documents": len(found.reason),
        "bytes": int(whole.column("bytes").sum()),
        "pieces": len(whole.parts),
        "faults": whole.faults,
        "languages_without_text": [one.tag for one in chosen if one.tag not in whole.tags],
        "unknown_to_detector": [tag for tag in whole.tags if tag in identify.unknown_to_detector()],
        "dropped": {
            name: int((found.reason == FILTERS.index(name)).sum()) for name in recipe.clean.filters
        },
    }


def _describe(run: runs.Run, recipe: InspectRecipe, dropped: Mapping[str, int]) -> None:
    """Write Croissant metadata beside the cleaned documents."""
    rows = [row for row in run.read_result("languages") if row["documents_kept"]]
    if not rows:
        return
    kept, private = (
        sum(row[name] for row in rows)
        for name in ("documents_kept", "documents_with_personal_data")
    )
    folder = run.path / corpus.CLEANED
    about = croissant.of_documents(
        folder,
        name=recipe.name,
        description=(
            f"{kept:,} documents in {len(rows)} languages, kept by an inspection that asked: "
            f"{recipe.why}"
        ),
        licences=sorted({row["licence"] for row in run.read_result("sources")} - {""}),
        files=["*.jsonl.zst"],
        languages=[row["tag"] for row in rows],
        responsible_ai={
            "dataCollectionRawData": f"Sources: {', '.join(recipe.data.sources)}.",
            "dataPreprocessingProtocol": cleaning.in_words(recipe.clean, dropped),
            "personalSensitiveInformation": [
                f"Before cleaning {private:,} documents held an e-mail address, a telephone, IP, "
                "bank or card number. Names and postal addresses were not looked for."
            ],
        },
    )
    disk.write_json(folder / croissant.FILE, about)


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with disk.told_when_full(path), path.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _collect_faults(run: runs.Run, tasks: Sequence[survey.Task]) -> None:
    """Put the quarantines of all pieces into one, where there is any."""
    found = [file for task in tasks if (file := task.path / runs.QUARANTINE).exists()]
    if not found:
        return
    with disk.told_when_full(run.path), (run.path / runs.QUARANTINE).open("wb") as out:
        for file in found:
            with file.open("rb") as own:
                shutil.copyfileobj(own, out)


def _tidy(run: runs.Run, tasks: Sequence[survey.Task]) -> None:
    """Keep one table a piece and the quarantine; the rest served to make the results."""
    tables = run.path / DOCUMENTS
    with disk.told_when_full(run.path):
        tables.mkdir(exist_ok=True)
        for task in tasks:
            if (task.path / survey.TABLE).exists():
                shutil.copyfile(task.path / survey.TABLE, tables / f"{task.number:06d}.parquet")
    _collect_faults(run, tasks)
    # In one step, so that a kill leaves all pieces or none for the next session.
    gone = run.path / f".{PARTS}"
    shutil.rmtree(gone, ignore_errors=True)
    (run.path / PARTS).rename(gone)
    shutil.rmtree(gone)
