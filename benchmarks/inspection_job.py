"""The workbench at the work that the inspection benchmark times, in a process of its own.

`python -m benchmarks.inspection_job signals TEXT WORK REPORT --workers 2` does what datatrove is
held against: every signal of Gopher and FineWeb, signatures, bands, clusters.
`python -m benchmarks.inspection_job identify TEXT REPORT --workers 2` tells every document's
language.
`python -m benchmarks.inspection_job inspect RECIPE REPORT --workers 2 --set key=value` carries a
whole inspection out, as `workbench run` does.
"""

import argparse
import functools
import itertools
import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from workbench import commands, corpus, duplicates, identify, languages, signals, survey
from workbench.sections import Data, Duplicates

SETTINGS = Duplicates()


def signals_and_duplicates(files: Sequence[Path], work: Path, workers: int) -> dict[str, Any]:
    """Measure the documents of all files and find their near-duplicates.

    Returns:
        What was done, how long each part took, and the numbers of the documents to drop, counted
        through all files in their order.
    """
    began = time.perf_counter()
    work.mkdir(parents=True)
    # The largest first, so that no worker is left alone with it at the end.
    order = sorted(files, key=lambda file: -file.stat().st_size)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        counts = list(pool.map(functools.partial(measure, work=work), order))
    measured = time.perf_counter()
    shards = [np.load(bands_of(file, work), mmap_mode="r") for file in files]
    cluster = duplicates.clusters(shards)
    dropped = np.flatnonzero(cluster != np.arange(len(cluster)))
    ended = time.perf_counter()
    return {
        "documents": sum(documents for documents, _ in counts),
        "bytes": sum(size for _, size in counts),
        "dropped": dropped.tolist(),
        "seconds": {
            "signals and signatures": round(measured - began, 2),
            "clusters": round(ended - measured, 2),
            "all, with imports left out": round(ended - began, 2),
        },
    }


def measure(file: Path, work: Path) -> tuple[int, int]:
    """Write a file's signals and band keys; return its documents and the bytes of their text."""
    tag = languages.get(file.name.split(".")[0]).tag
    data = Data(sources=[str(file)])
    faults = corpus.Faults()
    texts = (document.text for document in corpus.read(data, faults))
    keys = [np.empty((0, SETTINGS.bands), dtype=np.uint64)]
    columns: list[dict[str, signals.Signal]] = []
    for batch in signals.batches(texts):
        own = signals.measure(batch)
        own["stop_words"] = signals.distinct_of(batch, survey.frequent_words(tag))
        columns.append(own)
        signature = duplicates.signatures(batch.word_hash, batch.doc_words, SETTINGS)
        keys.append(duplicates.band_keys(signature, SETTINGS))
    if faults.total:
        raise RuntimeError(f"{file}: {faults.first[0]}")
    table = {name: np.concatenate([own[name] for own in columns]) for name in columns[0]}
    np.savez(work / f"{file.name}.signals.npz", **table)
    np.save(bands_of(file, work), np.concatenate(keys))
    return len(table["bytes"]), int(table["bytes"].sum())


def languages_of(files: Sequence[Path], workers: int) -> dict[str, Any]:
    """Tell the language of every document; return how many are as declared, look-alikes too."""
    order = sorted(files, key=lambda file: -file.stat().st_size)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        counts = np.array(list(pool.map(identified, order)))
    documents, size, agreeing = counts.sum(axis=0).tolist()
    return {"documents": documents, "bytes": size, "as_declared": agreeing}


def identified(file: Path) -> tuple[int, int, int]:
    """Return a file's documents, the bytes of their text, and how many are as declared."""
    tag = languages.get(file.name.split(".")[0]).tag
    documents = size = agreeing = 0
    stream = corpus.read(Data(sources=[str(file)]), corpus.Faults())
    while batch := [document.text for document in itertools.islice(stream, identify.BATCH_TEXTS)]:
        documents += len(batch)
        size += sum(len(text.encode()) for text in batch)
        for found in identify.detect(batch, top=1):
            agreeing += bool(found) and identify.agrees(tag, found[0][0])
    return documents, size, agreeing


def bands_of(file: Path, work: Path) -> Path:
    return work / f"{file.name}.bands.npy"


def inspect(recipe: str, overrides: Sequence[str], workers: int) -> dict[str, Any]:
    """Carry an inspection out; return what its record says."""
    made = commands.run(recipe, *overrides, quiet=True, workers=workers)
    happened = made.record["happened"]
    return {key: happened[key] for key in ("documents", "bytes", "seconds", "dropped", "faults")}


def main() -> None:
    parser = argparse.ArgumentParser(description="What the inspection benchmark times.")
    jobs = parser.add_subparsers(dest="job", required=True)
    one = jobs.add_parser("signals")
    one.add_argument("text", type=Path, help="a folder of .jsonl or .jsonl.gz, one a language")
    one.add_argument("work", type=Path, help="a folder that is not there yet")
    other = jobs.add_parser("identify")
    other.add_argument("text", type=Path, help="likewise")
    whole = jobs.add_parser("inspect")
    whole.add_argument("recipe")
    for each in (one, other, whole):
        each.add_argument("report", type=Path, help="what was measured, as JSON")
        each.add_argument("--workers", type=int, default=2)
    whole.add_argument("--set", nargs="*", default=[], metavar="key=value")
    options = parser.parse_args()
    if options.job == "inspect":
        found = inspect(options.recipe, options.set, options.workers)
    else:
        files = sorted(options.text.glob("*.jsonl*"))
        found = (
            languages_of(files, options.workers)
            if options.job == "identify"
            else signals_and_duplicates(files, options.work, options.workers)
        )
    options.report.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
