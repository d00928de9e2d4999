"""Run directories: what was asked, what happened, where it ran, and proof that nothing changed.

``runs/<kind>/<name>/`` holds the resolved recipe, ``record.json`` with its three blocks,
``metrics.jsonl``, results, and ``MANIFEST.json`` with the SHA-256 of every file. The manifest is
written last: a run that has one is complete. No module above this one writes a record by itself.
"""

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Self

from workbench import energy
from workbench import recipe as recipes
from workbench.errors import OutOfSpace, Stopped, UserError, nearest

PACKAGES = (
    "workbench-europe",
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "tokenizers",
    "datasets",
    "safetensors",
    "numpy",
    "pyarrow",
)
MANIFEST, RECORD, RECIPE, METRICS = "MANIFEST.json", "record.json", "recipe.yaml", "metrics.jsonl"
REPORT = "report.html"
QUARANTINE, LOCK, STOP = "quarantine.jsonl", ".lock", ".stop"
PRIVATE = (MANIFEST, LOCK, STOP)
# What write_text has not yet renamed: the name, the process, the thread.
TEMPORARY = ".*.[0-9]*-[0-9]*"


def home() -> Path:
    """Return the project's folder: ``WORKBENCH_HOME``, or the nearest one with ``recipes/``.

    Relative paths in recipes and ``runs/`` are taken from here, so that a notebook in
    ``notebooks/`` and a terminal in the project's root mean the same files.
    """
    if "WORKBENCH_HOME" in os.environ:
        return Path(os.environ["WORKBENCH_HOME"]).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "recipes").is_dir():
            return folder
    return here


def root() -> Path:
    """Return the folder of all runs: ``WORKBENCH_RUNS``, or ``runs/`` in :func:`home`."""
    return Path(os.environ.get("WORKBENCH_RUNS", home() / "runs")).resolve()


def process_rank() -> int:
    """Return this process's number among those that train together, from 0.

    Launchers say it in ``RANK``, as ``torchrun`` does.
    """
    return int(os.environ.get("RANK", "0"))


def is_first_process() -> bool:
    """Whether this process writes; of several that train together, the first one does."""
    return process_rank() == 0


class Run:
    """One run directory, opened for writing by :meth:`begin` or for reading by :func:`find`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record: dict[str, Any] = {}
        if (path / RECORD).exists():
            self.record = read_json(path / RECORD)
        self._lock: IO[str] | None = None
        self._metrics: IO[str] | None = None
        self._began = time.monotonic()
        self._meter: energy.Meter | None = None

    @property
    def reference(self) -> str:
        """How recipes call the run: ``kind/name``."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def finished(self) -> bool:
        """Whether the manifest, which is written last, is there."""
        return (self.path / MANIFEST).exists()

    @property
    def recipe(self) -> recipes.Recipe:
        """The resolved recipe."""
        return recipes.load(self.path / RECIPE)

    @classmethod
    def begin(
        cls,
        recipe: recipes.Recipe,
        recipe_file: str = "",
        overrides: Sequence[str] = (),
        fresh: bool = False,
    ) -> Self:
        """Open the run of ``recipe``: a new one, an unfinished one to go on with, a finished one.

        A caller looks at :attr:`finished` and leaves a finished run as it is.

        Raises:
            UserError: the directory holds a run of another recipe, or one whose inputs have
                changed since, and ``fresh`` was not said; another process is writing it; or a run
                that the recipe builds upon is missing or unfinished.
        """
        inputs = {reference: _manifest_hash(find_finished(reference)) for reference in recipe.needs}
        path = root() / recipe.kind / recipe.name
        if fresh and path.exists():
            _refuse_if_locked(path)
            _set_aside(path)
        run = cls(path)
        if (path / RECIPE).exists():
            run._refuse_if_another(recipe, inputs)
            if run.finished:
                return run
        elif path.exists() and any(not file.name.startswith(".") for file in path.iterdir()):
            raise UserError(f"{path} exists and is no run; choose another name in the recipe")
        _make_folder(path)
        run._take_lock()
        (path / STOP).unlink(missing_ok=True)
        for left in path.glob(TEMPORARY):  # by a process that was killed
            left.unlink()
        if not run.record:
            write_text(path / RECIPE, recipe.to_yaml())
            run.record = {
                "asked": {
                    "recipe": recipe.to_dict(),
                    "recipe_file": recipe_file,
                    "overrides": list(overrides),
                    "inputs": inputs,
                },
                "happened": {"status": "running", "started": _now(), "sessions": 0},
                "provenance": {},
            }
        run.record["happened"]["sessions"] += 1
        run._meter = energy.Meter(run._energy_before())
        run.record["happened"]["energy"] = run._meter.record()
        run.record["provenance"].update(_provenance())
        run.save_record()
        return run

    def _refuse_if_another(self, recipe: recipes.Recipe, inputs: dict[str, str]) -> None:
        if read_text(self.path / RECIPE) != recipe.to_yaml():
            differing = _first_difference(self.recipe.to_dict(), recipe.to_dict())
            raise UserError(
                f"{self.reference} holds a run of another recipe ({differing}); "
                "give the recipe another name, or --fresh to set the old run aside"
            )
        if not self.record:
            return  # killed between its first two files, before anything was made
        for reference, checksum in inputs.items():
            if self.record.get("asked", {}).get("inputs", {}).get(reference) != checksum:
                raise UserError(
                    f"{self.reference} was made from an earlier {reference}, which has been "
                    "replaced since; say --fresh to make it again"
                )
        for source in self.record.get("provenance", {}).get("data", []):
            for entry in source.get("files", []):
                file = home() / entry["path"]
                if not file.exists() or file.stat().st_size != entry["bytes"]:
                    raise UserError(
                        f"{self.reference} was made from {entry['path']}, which has changed or "
                        "gone since; say --fresh to make it again"
                    )

    def _take_lock(self) -> None:
        self._lock = (self.path / LOCK).open("a+")
        # Whoever looks whether the run is being written holds the lock for a moment.
        for last in (False, False, True):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not last:
                    time.sleep(0.02)
        self._lock.close()
        self._lock = None
        raise UserError(f"{self.reference} is being written by another process")

    def _energy_before(self) -> dict[str, Any] | None:
        """Return the energy of earlier sessions; of one that was killed, what its metrics tell."""
        known: dict[str, Any] = dict(self.record["happened"].get("energy") or {})
        told = max((row.get("energy_joules", 0.0) for row in self.metrics()), default=0.0)
        if told > known.get("joules", 0.0):
            known["joules"] = told
        return known or None

    def joules(self) -> float:
        """Return the energy that the run has taken so far, over all its sessions, in joules."""
        assert self._meter is not None, "only a run that was begun takes energy"
        return self._meter.joules()

    def happened(self, **facts: object) -> None:
        """Add facts to the record's ``happened`` block."""
        self.record["happened"].update(facts)
        self.save_record()

    def used_data(self, sources: list[dict[str, Any]]) -> None:
        """State the sources that were read: paths with SHA-256 and size, or hub revisions."""
        self.record["provenance"]["data"] = sources
        self.save_record()

    def save_record(self) -> None:
        """Write ``record.json`` in one piece."""
        write_json(self.path / RECORD, self.record)

    def metric(self, **row: object) -> None:
        """Append one row to ``metrics.jsonl``; it is on disk when the call returns."""
        if self._metrics is None:
            self._metrics = (self.path / METRICS).open("a", encoding="utf-8")
        with told_when_full(self.path):
            self._metrics.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._metrics.flush()

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.jsonl``; a last line cut off by a crash is left out."""
        return read_jsonl(self.path / METRICS)

    def metrics_size(self) -> int:
        """Return the size of ``metrics.jsonl`` in bytes, the position that a checkpoint keeps."""
        file = self.path / METRICS
        return file.stat().st_size if file.exists() else 0

    def metrics_before(self, label: str) -> int:
        """Return the size of ``metrics.jsonl`` before the first row of that label, in bytes.

        Where there is none, up to the end of the last whole row; without a label, nothing.
        """
        size, file = 0, self.path / METRICS
        if label and file.exists():
            with file.open("rb") as rows:
                for row in rows:
                    if not row.endswith(b"\n") or json.loads(row).get("label") == label:
                        break
                    size += len(row)
        return size

    def rewind_metrics(self, size: int) -> None:
        """Forget the rows after ``size`` bytes: they will be measured again after a resume."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        if (self.path / METRICS).exists():
            os.truncate(self.path / METRICS, size)

    def result(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Write a table as ``<name>.json`` and ``<name>.parquet``."""
        import pyarrow
        import pyarrow.parquet

        write_json(self.path / f"{name}.json", rows)
        with told_when_full(self.path):
            pyarrow.parquet.write_table(
                pyarrow.Table.from_pylist(rows), self.path / f"{name}.parquet"
            )

    def read_result(self, name: str) -> list[dict[str, Any]]:
        """Read a table that :meth:`result` wrote.

        Raises:
            UserError: the run has no such table.
        """
        file = self.path / f"{name}.json"
        if not file.exists():
            raise UserError(f"{self.reference} has no {name}.json; is it a finished run?")
        rows: list[dict[str, Any]] = read_json(file)
        return rows

    def finish(self) -> None:
        """State how it went, then write the manifest: from now on the run is complete."""
        self.record["happened"].update(
            status="finished",
            ended=_now(),
            peak_memory_bytes=peak_memory(),
            **self._spent(),
        )
        self.save_record()
        self._close()
        write_manifest(self.path)

    def leave(self, status: str) -> None:
        """State that the run ended early; it can be taken up again."""
        with contextlib.suppress(OutOfSpace):
            self.happened(status=status, **self._spent())
        self._close()

    def _spent(self) -> dict[str, Any]:
        before = self.record["happened"].get("seconds", 0.0)
        spent: dict[str, Any] = {"seconds": round(before + time.monotonic() - self._began, 3)}
        if self._meter is not None:
            spent["energy"] = self._meter.record()
        return spent

    def _close(self) -> None:
        if self._meter is not None:
            self._meter.close()
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        if self._lock is not None:
            (self.path / LOCK).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None


class Follower(Run):
    """A run as it is known to a process that trains along with the first, and writes nothing."""

    def joules(self) -> float:
        return 0.0

    def save_record(self) -> None:
        pass

    def metric(self, **row: object) -> None:
        pass

    def rewind_metrics(self, size: int) -> None:
        pass

    def result(self, name: str, rows: list[dict[str, Any]]) -> None:
        pass

    def finish(self) -> None:
        pass

    def leave(self, status: str) -> None:
        pass


def find(reference: str | Path) -> Run:
    """Open an existing run by ``kind/name``, by path, or by a name that only one run has.

    Raises:
        UserError: there is none, or the name is ambiguous; the message names the nearest.
    """
    text = str(reference).rstrip("/")
    for candidate in (root() / text, Path(text), home() / text):
        if (candidate / RECIPE).exists():
            return Run(candidate.resolve())
    known = {run.reference: run for run in every()}
    named = [run for run in known.values() if run.path.name == text]
    if len(named) == 1:
        return named[0]
    if named:
        raise UserError(f"{text!r} is ambiguous: {', '.join(run.reference for run in named)}")
    raise UserError(f"no run {text!r} in {root()}{nearest(text, known)}")


def find_finished(reference: str) -> Run:
    """Like :func:`find`, but the run must be complete, because another builds upon it."""
    kind, _, name = reference.partition("/")
    if not (root() / reference / RECIPE).exists():
        known = [run.reference for run in every()]
        raise UserError(
            f"no run {reference!r} to build upon{nearest(reference, known)}; "
            f"make it first: workbench run recipes/{kind}/{name}.yaml"
        )
    run = Run(root() / reference)
    if not run.finished:
        raise UserError(f"{reference} is not finished; take it up: workbench resume {reference}")
    return run


def every() -> list[Run]:
    """Return all runs, ordered by kind as in a whole cycle, then by name."""
    return [
        Run(folder)
        for kind in recipes.KINDS
        for folder in sorted((root() / kind).glob("*"))
        if (folder / RECIPE).exists()
    ]


def verify(run: Run) -> list[str]:
    """Hold every file against the manifest; return one line for each that differs.

    Raises:
        UserError: the run is not finished, so that there is nothing to hold it against.
    """
    if not run.finished:
        raise UserError(f"{run.reference} is not finished: it has no {MANIFEST} yet")
    try:
        stated = read_manifest(run.path)
    except UserError:
        return [f"{MANIFEST}: damaged"]
    found = checksums(run.path)
    return (
        [f"{name}: missing" for name in stated if name not in found]
        + [f"{name}: changed" for name in stated if name in found and found[name] != stated[name]]
        + [f"{name}: not in the manifest" for name in found if name not in stated]
    )


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below ``folder``, by relative path."""
    return {
        file.relative_to(folder).as_posix(): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not (file.parent == folder and file.name in PRIVATE)
    }


def write_manifest(folder: Path) -> None:
    """Write the SHA-256 of every file below ``folder``, and one of that list itself."""
    write_json(folder / MANIFEST, _manifest(checksums(folder)))


def read_manifest(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below ``folder``, as :func:`write_manifest` found them.

    The manifest itself must be byte for byte what its content is written as, and the list must
    have the checksum beside it: whatever byte of it changes, the fault is the manifest's and not
    that of the file whose line it is. Manifests of earlier versions have no such checksum.

    Raises:
        UserError: it is damaged, or cannot be read.
    """
    file = folder / MANIFEST
    try:
        written = file.read_bytes()
        files: dict[str, str] = dict(json.loads(written)["files"])
        right = written in (_json(_manifest(files)).encode(), _json({"files": files}).encode())
    except (OSError, ValueError, KeyError, TypeError):
        right = False
    if not right:
        raise UserError(f"{file} is damaged")
    return files


def _manifest(files: dict[str, str]) -> dict[str, Any]:
    return {"files": files, "sha256": hashlib.sha256(_json(files).encode()).hexdigest()}


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def text_hash(value: object) -> str:
    """Return a short, stable hash of plain JSON values, to name derived data by."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def read_text(file: Path) -> str:
    """Read a text file of a run."""
    return file.read_text(encoding="utf-8")


def read_json(file: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        UserError: it is damaged; the message names it.
    """
    try:
        return json.loads(read_text(file))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{file} is damaged: not JSON") from None


def read_jsonl(file: Path) -> list[dict[str, Any]]:
    """Read JSON Lines that another process may be writing: a last line without its end waits."""
    if not file.exists():
        return []
    text = file.read_bytes().decode("utf-8", "replace")
    whole = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line]


def write_json(file: Path, value: object) -> None:
    """Write JSON to a temporary file, then rename it: readers see the old or the new, whole."""
    write_text(file, _json(value))


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def write_text(file: Path, text: str) -> None:
    """Write text to a temporary file, flush it to disk, then rename it."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}")
    with told_when_full(file):
        try:
            with temporary.open("w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def told_when_full(path: Path) -> Iterator[None]:
    """Turn a full disk, or a folder that may not be written, into one clear line.

    Libraries that write files in compiled code report a full disk in errors of their own, so the
    message is looked at as well.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as fault:
        number = getattr(fault, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(fault):
            raise OutOfSpace(
                f"no space left on the disk while writing {path}; what was saved before is whole: "
                "make room and run the same command again"
            ) from None
        if number in (errno.EACCES, errno.EROFS):
            raise UserError(f"{path} may not be written: {os.strerror(number)}") from None
        raise


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    # On Linux what getrusage says includes the process that started this one.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def memory() -> int:
    """Return the resident memory of this process now, in bytes; where it is not told, the peak."""
    with contextlib.suppress(OSError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()
    return peak_memory()


class StopSignal:
    """Remembers a request to stop, so that a loop can save its state at the next good moment.

    The request is a SIGTERM, a SIGINT, or a file that a button in a notebook writes. Signals can
    be caught in a process's main thread only; elsewhere the file still works.
    """

    def __init__(self, run: Run) -> None:
        self._file = run.path / STOP
        self._number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._number == signal.SIGINT == number:
            raise KeyboardInterrupt  # asked twice: the user does not want to wait for the save
        self._number = number

    @property
    def requested(self) -> bool:
        """Whether someone asked to stop."""
        return bool(self._number) or self._file.exists()

    def raise_stopped(self, message: str) -> None:
        """Raise :class:`Stopped` with the signal's number."""
        raise Stopped(message, self._number or signal.SIGTERM)


def being_written(run: Run) -> bool:
    """Return whether a process, be it this one, is writing ``run`` now."""
    try:
        with (run.path / LOCK).open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def request_stop(run: Run) -> None:
    """Ask the process that is writing ``run`` to save and stop."""
    (run.path / STOP).touch()


class Progress:
    """A progress line: rewritten in place on a terminal, now and then a line of its own elsewhere.

    It goes to standard error, so that a command's output can be piped. Of several processes that
    train together only the first shows it.
    """

    def __init__(self, label: str, every: float = 5.0) -> None:
        self._label = label
        self._began = self._shown = time.monotonic()
        self._live = sys.stderr.isatty()
        self._every = 0.2 if self._live else every
        self._width = 0

    def update(self, text: str, last: bool = False) -> None:
        """Show ``text`` if enough time has passed, or if it is the ``last`` word."""
        now = time.monotonic()
        if (not last and now - self._shown < self._every) or not is_first_process():
            return
        self._shown = now
        line = f"{self._label}: {text}"
        if self._live:
            print(f"\r{line:<{self._width}}", end="\n" if last else "", file=sys.stderr, flush=True)
            self._width = len(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def done(self, text: str) -> None:
        """Show the last line, with the time it took."""
        self.update(f"{text} ({time.monotonic() - self._began:.1f} s)", last=True)


def table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> str:
    """Lay rows out as plain text: words to the left, numbers to the right, widths in characters."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        bool(cells) and all(_is_number(row[column]) for row in cells)
        for column in range(len(header))
    ]
    widths = [
        max(len(line[column]) for line in [list(header), *cells]) for column in range(len(header))
    ]

    def lay(line: Sequence[str]) -> str:
        return "  ".join(
            f"{text:>{width}}" if right else f"{text:<{width}}"
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()

    return "\n".join([lay(header), lay(["-" * width for width in widths]), *map(lay, cells)])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(",", "").replace(".", "").lstrip("+-").isdigit()


def _manifest_hash(run: Run) -> str:
    return sha256(run.path / MANIFEST)


def _refuse_if_locked(path: Path) -> None:
    if being_written(Run(path)):
        raise UserError(f"{path.parent.name}/{path.name} is being written by another process")


def _set_aside(path: Path) -> None:
    """Move a run that is to be made again out of the way; it is the user's to delete."""
    shelf = root() / "replaced" / path.parent.name
    shelf.mkdir(parents=True, exist_ok=True)
    number = 1
    while (shelf / f"{path.name}-{number}").exists():
        number += 1
    shutil.move(path, shelf / f"{path.name}-{number}")


def _make_folder(path: Path) -> None:
    with told_when_full(path):
        path.mkdir(parents=True, exist_ok=True)


def _first_difference(old: Any, new: Any, prefix: str = "") -> str:
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key), new.get(key)
        if before != after:
            if isinstance(before, dict) and isinstance(after, dict):
                return _first_difference(before, after, f"{prefix}{key}.")
            return f"{prefix}{key} was {before!r}, is now {after!r}"
    return "only the writing of the file differs"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _provenance() -> dict[str, Any]:
    """Return where the run takes place: code, package versions, hardware. No host or user name."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "git": _git_state(),
        "python": platform.python_version(),
        "packages": versions,
        "hardware": {
            "system": platform.system(),
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        },
    }


def _git_state() -> dict[str, Any] | None:
    """Return commit and cleanliness of the project's checkout; ``None`` outside one."""
    source = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(source), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
