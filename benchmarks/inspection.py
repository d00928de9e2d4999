"""How fast text is inspected, and whether the same near-duplicates are found as by others.

`python -m benchmarks.inspection [DATA] --peer-python PEER/bin/python` writes
`results/inspection.json` and draws `results/inspection.png`. DATA holds `mono/*.jsonl.gz` and
`eval/`; PEER is an environment with datatrove, which README.md tells how to make. About 11 minutes
on two cores, on which nothing else should run: every time is of a process from its start to its
end, on two cores.

Three parts:

`work`
    What the workbench and datatrove both do: the signals of Gopher and FineWeb, MinHash signatures
    of 5 words in 14 bands of 8 rows, buckets, clusters. Both read the same uncompressed JSON Lines,
    the first documents of every language and edited copies of some, with two workers. datatrove
    cuts words once with spaCy, as it does by default, and once at white space, the fastest that
    Python has. Its filters get limits so wide that every document goes through every measure; the
    workbench measures some signals more and writes them all. Language identification is no part
    of the comparison, because datatrove's needs a model that has to be downloaded; the
    workbench's is timed on its own.
`duplicates`
    The near-duplicates of the same text, held against datasketch (`near_duplicates.py`) and, as
    far as `work` was run, against datatrove, which makes other words of a text.
`whole`
    Whole inspections of all text, as `workbench run recipes/inspect/real.yaml` makes them.
"""

import argparse
import gzip
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import common, near_duplicates
from workbench import drawing, languages
from workbench.errors import UserError

ABOUT = (
    "Seconds of whole processes on two cores, and their memory; megabytes are 10**6 bytes of UTF-8 "
    "text, without the JSON around it. Ratios are of seconds on the same documents."
)
RESULT = common.RESULTS / "inspection.json"
PACKAGES = ("workbench-europe", "numpy", "pyarrow", "py3langid", "regex", "zstandard", "datasketch")
PARTS = ("work", "duplicates", "whole")
CORES = 2
# Of every language: documents from the beginning, and copies of some of them.
DOCUMENTS, COPIES = 180, 70
OURS = "workbench"
PEERS = {"spacy": "datatrove", "whitespace": "datatrove, words cut at white space"}
MAKE_PEER = (
    "python -m venv PEER && PEER/bin/pip install 'datatrove[processing]==0.10.1' orjson spacy"
)


class Bench:
    """One run of the benchmark: where things lie, and what is known so far."""

    def __init__(
        self, files: Sequence[Path], work: Path, peer: Path | None, documents: int
    ) -> None:
        self.work = work
        self.peer = peer
        self.files = files
        self.evaluation = files[0].parent.parent / "eval" / "*" / "*.jsonl.gz"
        self.subset = work / "subset"
        self.quarter = work / "quarter"
        self.found: dict[str, Any] = {}
        self._prepare(documents)

    def _prepare(self, documents: int) -> None:
        """Write the part of the text that datatrove gets time for, and a quarter of all text."""
        self.subset.mkdir()
        self.quarter.mkdir()
        self.sizes: list[int] = []
        size = copied = 0
        for number, file in enumerate(self.files):
            with gzip.open(file, "rt", encoding="utf-8") as lines:
                every = list(lines)
            tag = languages.get(file.name.split(".")[0]).tag
            first = near_duplicates.plant(
                every[:documents], COPIES * documents // DOCUMENTS, seed=number
            )
            (self.subset / f"{tag}.jsonl").write_text("".join(first), encoding="utf-8")
            with gzip.open(self.quarter / file.name, "wt", encoding="utf-8") as out:
                out.writelines(every[: -(-len(every) // 4)])
        for file in sorted(self.subset.iterdir()):
            sizes = [_bytes_of_text(line) for line in file.open(encoding="utf-8")]
            self.sizes.append(len(sizes))
            size += sum(sizes)
            copied += sum(near_duplicates.COPY in line for line in file.open(encoding="utf-8"))
        self.found["subset"] = {
            "documents": sum(self.sizes),
            "of_them_edited_copies": copied,
            "bytes": size,
            "first_documents_of_every_language": documents,
            "languages": len(self.sizes),
        }

    def work_of_both(self) -> None:
        """Run the workbench before, between and after datatrove's turns."""
        text = self.found["subset"]
        rows = [self._ours(self.subset, text)]
        for words, name in PEERS.items():
            rows.append(self._theirs(words, name, text))
            rows.append(self._ours(self.subset, text))
        own = statistics.median(row["seconds"] for row in rows if row["by"] == OURS)
        self.found["work"] = {
            "rows": rows,
            "median_seconds_of_ours": own,
            "times_as_fast": {
                row["by"]: round(row["seconds"] / own, 1) for row in rows if row["by"] != OURS
            },
            "all_text": self._ours(self.files[0].parent, None),
            "language_identification_of_all_text": self._identified(),
        }

    def _ours(self, text: Path, known: Mapping[str, Any] | None) -> dict[str, Any]:
        report, folder = self.work / "ours.json", self._fresh("ours")
        module = [sys.executable, "-m", "benchmarks.inspection_job"]
        child = _timed(*module, "signals", text, folder, report, "--workers", CORES)
        made = json.loads(report.read_text(encoding="utf-8"))
        if known:
            _check(made["documents"], known["documents"], OURS)
            self.dropped = set(made["dropped"])
        return _row(OURS, child, made["documents"], made["bytes"], stages=made["seconds"])

    def _identified(self) -> dict[str, Any]:
        report = self.work / "identified.json"
        module = [sys.executable, "-m", "benchmarks.inspection_job"]
        child = _timed(*module, "identify", self.files[0].parent, report, "--workers", CORES)
        made = json.loads(report.read_text(encoding="utf-8"))
        agreeing = made["as_declared"]
        return _row(OURS, child, made["documents"], made["bytes"], as_declared=agreeing)

    def _theirs(self, words: str, name: str, known: Mapping[str, Any]) -> dict[str, Any]:
        report, folder = self.work / f"{words}.json", self._fresh(words)
        job = common.PROJECT / "benchmarks" / "peers" / "datatrove_job.py"
        child = _timed(
            self.peer, job, self.subset, folder, report, "--words", words, "--workers", CORES
        )
        made = json.loads(report.read_text(encoding="utf-8"))
        for count in made["documents"].values():
            _check(count, known["documents"], name)
        self.found["peer_versions"] = made["versions"]
        return _row(name, child, known["documents"], known["bytes"], stages=made["seconds"])

    def duplicates(self) -> None:
        """Compare pairs with datasketch, and dropped documents with datatrove."""
        report = self.work / "near.json"
        module = [sys.executable, "-m", "benchmarks.near_duplicates"]
        child = _timed(*module, self.subset, report)
        found = json.loads(report.read_text(encoding="utf-8"))
        planted = found.pop("planted")
        self.found["duplicates"] = {
            "seconds": child.seconds,
            "datasketch": found,
            "datatrove": {
                name: self._against_datatrove(self.work / f"{words}.json", planted)
                for words, name in PEERS.items()
                if (self.work / f"{words}.json").exists()
            },
        }

    def _against_datatrove(self, report: Path, planted: Sequence[Sequence[Any]]) -> dict[str, Any]:
        """Count the documents that both drop if each cluster keeps its first one."""
        starts = [0, *itertools.accumulate(self.sizes)]
        pairs = [
            (starts[file] + number, starts[other_file] + other)
            for file, number, other_file, other in json.loads(report.read_text())["pairs"]
        ]
        theirs = near_duplicates.dropped(pairs)
        copies = []
        for low, high in near_duplicates.BANDS:
            # No copy is like its original in everything, so that none is at 1.
            inside = {copy for _, copy, jaccard in planted if low <= jaccard < high}
            copies.append(
                {
                    "from": low,
                    "to": high,
                    "copies": len(inside),
                    "dropped_by_ours": len(inside & self.dropped),
                    "dropped_by_theirs": len(inside & theirs),
                    "dropped_by_both": len(inside & theirs & self.dropped),
                }
            )
        return {
            "dropped_by_ours": len(self.dropped),
            "dropped_by_theirs": len(theirs),
            "dropped_by_both": len(theirs & self.dropped),
            "planted_by_jaccard": copies,
        }

    def whole(self) -> None:
        """Inspect all text with cleaning and without, by two workers and by one; and a quarter."""
        everything = self.files[0].parent
        self.found["whole"] = [
            self._inspect("all text, cleaned", everything, CORES, clean=True),
            self._inspect("all text", everything, CORES, clean=False),
            self._inspect("all text", everything, 1, clean=False),
            self._inspect("a quarter of every language", self.quarter, CORES, clean=False),
        ]

    def _inspect(self, what: str, text: Path, workers: int, clean: bool) -> dict[str, Any]:
        report = self.work / "whole.json"
        settings = {
            "name": f"bench-{time.monotonic_ns()}",
            "data.sources": json.dumps([str(text / "*.jsonl.gz")]),
            "contamination.sources": json.dumps([str(self.evaluation)]),
            **({} if clean else {"clean.filters": "[]"}),
        }
        recipe = common.PROJECT / "recipes" / "inspect" / "real.yaml"
        module = [sys.executable, "-m", "benchmarks.inspection_job"]
        words = [f"{key}={value}" for key, value in settings.items()]
        child = _timed(*module, "inspect", recipe, report, "--workers", workers, "--set", *words)
        made = json.loads(report.read_text(encoding="utf-8"))
        row = _row(OURS, child, made["documents"], made["bytes"], dropped=made["dropped"])
        return {"what": what, "workers": workers, **row}

    def _fresh(self, name: str) -> Path:
        return self.work / f"{name}-{time.monotonic_ns()}"


def _bytes_of_text(line: str) -> int:
    return len(json.loads(line)["text"].encode())


def _check(count: int, wanted: int, name: str) -> None:
    if count != wanted:
        raise RuntimeError(f"{name} measured {count} documents, there are {wanted}")


def _timed(*command: object) -> common.Child:
    return common.run_child([str(word) for word in command], timeout=600)


def _row(name: str, child: common.Child, documents: int, size: int, **more: Any) -> dict[str, Any]:
    row = {
        "by": name,
        "seconds": child.seconds,
        "documents": documents,
        "bytes": size,
        "mb_per_second": round(size / 1e6 / child.seconds, 3),
        "documents_per_second": round(documents / child.seconds, 1),
        "peak_bytes_of_main_process": child.own_bytes,
        "peak_bytes_of_largest_worker": child.largest_worker_bytes,
        "peak_bytes_together": child.peak_bytes,
        "load": list(child.load),
        **more,
    }
    print(
        f"{name}: {documents:,} documents, {size / 1e6:.1f} MB in {child.seconds:.1f} s, "
        f"{row['mb_per_second']:.2f} MB/s; memory {child.own_bytes / 1e6:,.0f} MB, in a worker "
        f"{child.largest_worker_bytes / 1e6:,.0f} MB",
        flush=True,
    )
    return row


def figure(found: Mapping[str, Any]) -> Any:
    """Draw megabytes a second on the left, and shares of pairs found on the right."""
    made = drawing.new(10, 4)
    left, right = made.subplots(1, 2, width_ratios=(3, 2))
    _speeds(left, found)
    _shares(right, found["duplicates"]["datasketch"]["by_jaccard"])
    return made


def _speeds(axes: Any, found: Mapping[str, Any]) -> None:
    work = found["work"]
    own = work["median_seconds_of_ours"]
    size = found["subset"]["bytes"] / 1e6
    peers = [row for row in work["rows"] if row["by"] != OURS]
    bars = [(row["by"], row["mb_per_second"], "") for row in peers]
    times = " and ".join(f"{row['seconds'] / own:.0f}" for row in peers)
    bars.append((f"workbench, same {size:.0f} MB", size / own, f"{times} times as fast"))
    bars.append(("workbench, same work on all text", work["all_text"]["mb_per_second"], ""))
    for row in found["whole"][:3]:
        name = f"whole inspection, {row['workers']} worker{'s' * (row['workers'] > 1)}"
        cleaned = ", cleaned" if "cleaned" in row["what"] else ""
        bars.append((name + cleaned, row["mb_per_second"], ""))
    bars.reverse()
    kinds = {"datatrove": 1, "workbench": 0, "whole inspection": 2}
    colours = [drawing.PALETTE[kinds[name.split(",")[0]]] for name, _, _ in bars]
    axes.barh(range(len(bars)), [speed for _, speed, _ in bars], color=colours, height=0.7)
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars], fontsize=8)
    for height, (_, speed, ratio) in enumerate(bars):
        text = f" {speed:.2f} MB/s" + (f", {ratio}" if ratio else "")
        axes.annotate(text, (speed, height), va="center", fontsize=8)
    axes.set_xlim(0, 1.3 * max(speed for _, speed, _ in bars))
    axes.set_xlabel("MB of text a second, two cores")
    axes.set_title("Signals, signatures and clusters; whole inspections", fontsize=10, loc="left")
    drawing.plain(axes)


def _shares(axes: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    parted = list(rows)[: len(near_duplicates.BANDS)]
    names = [f"{row['from']:g} to {row['to']:g}\n{row['pairs']} pairs" for row in parted]
    for number, (key, name) in enumerate(
        (
            ("found_in_theory", "theory"),
            ("found_by_ours", "workbench"),
            ("found_by_theirs", "datasketch"),
        )
    ):
        axes.plot(
            [place + (number - 1) * 0.12 for place in range(len(parted))],
            [row[key] for row in parted],
            linestyle="none",
            marker=drawing.MARKERS[number],
            color=(drawing.INK, drawing.PALETTE[0], drawing.PALETTE[1])[number],
            label=name,
        )
    axes.set_xticks(range(len(parted)), names, fontsize=8)
    axes.set_xlabel("Jaccard index")
    axes.set_title("Share of near-duplicates found, five seeds", fontsize=10, loc="left")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    drawing.plain(axes)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inspection", description=__doc__.splitlines()[0]
    )
    parser.add_argument("data", type=Path, nargs="?", default=common.DATA)
    parser.add_argument("--peer-python", type=Path, help=f"datatrove's; {MAKE_PEER}")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--documents", type=int, default=DOCUMENTS, help="of every language, for datatrove too"
    )
    parser.add_argument("--out", type=Path, default=RESULT, help="the results, as JSON")
    options = parser.parse_args(arguments)
    whole = set(options.parts) == set(PARTS) and options.documents == DOCUMENTS
    if options.out == RESULT and not whole:
        parser.error(f"a part of the benchmark needs --out; {RESULT.name} is for the whole")
    if "work" in options.parts and not options.peer_python:
        parser.error(f"--peer-python is missing; {MAKE_PEER}")
    return common.exit_status("inspection", lambda: measure(options))


def measure(options: argparse.Namespace) -> None:
    """Run the parts and write what was found.

    Raises:
        UserError: there is no text, or no Python of the peer's.
    """
    files = sorted((options.data.resolve() / "mono").glob("*.jsonl.gz"))
    if not files:
        raise UserError(f"no mono/*.jsonl.gz in {options.data}; give a folder that has them")
    # Not resolved: an environment's Python is a link, and is nothing without its place.
    peer = options.peer_python.absolute() if options.peer_python else None
    if peer and not peer.exists():
        raise UserError(f"no Python at {peer}; {MAKE_PEER}")
    began, load = time.perf_counter(), os.getloadavg()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["WORKBENCH_RUNS"] = str(work / "runs")
        bench = Bench(files, work, peer, options.documents)
        if "work" in options.parts:
            bench.work_of_both()
        if "duplicates" in options.parts:
            bench.duplicates()
        if "whole" in options.parts:
            bench.whole()
    found = {
        "about": ABOUT,
        "measured": time.strftime("%Y-%m-%d"),
        "minutes": round((time.perf_counter() - began) / 60, 1),
        "load_before": [round(one, 2) for one in load],
        "load_after": [round(one, 2) for one in os.getloadavg()],
        "other_work_on_the_machine": load[0] > CORES / 4,
        "hardware": common.hardware(),
        "versions": common.versions(*PACKAGES),
        **bench.found,
    }
    common.write_json(options.out, found)
    print(f"{options.out}: {found['minutes']} minutes", flush=True)
    if set(options.parts) == set(PARTS):
        picture = options.out.with_suffix(".png")
        figure(found).savefig(picture, dpi=150)
        print(picture)


if __name__ == "__main__":
    sys.exit(main())
