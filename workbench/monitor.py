"""A training as it stands now, read from its folder: the same for a panel and for a terminal.

Nothing here asks the process that trains: it reads the record, ``metrics.jsonl`` as far as it is
written, and whether the run's lock is held.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workbench import energy, languages, terminal
from workbench import run as runs
from workbench.errors import UserError

Status = Literal["not begun", "running", "stopping", "stopped", "killed", "failed", "finished"]
BLOCKS = "▁▂▃▄▅▆▇█"
Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Now:
    """What is known of a training at one moment."""

    reference: str
    status: Status
    steps: int
    """Of one loop; 0 where the recipe is not known."""
    step: int = 0
    label: str = ""
    """Which loop it is, where a run has several: ``mlt_Latn (2/5)``."""
    loss: Sequence[tuple[int, float]] = ()
    """Of that loop: step, nats a token."""
    bits: Mapping[str, Points] | None = None
    """Validation by language tag: step, bits per byte."""
    skipped: int = 0
    """Steps whose loss or gradient was not finite."""
    tokens_per_second: float | None = None
    seconds_to_go: float | None = None
    joules: float | None = None
    measured: bool = False
    """Whether the joules are measured, and no estimate."""
    energy_source: str = ""
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    checkpoint: str = ""
    """The newest one, relative to the run's folder."""

    @property
    def share(self) -> float:
        """How much of the whole run is done, from 0 to 1."""
        done = self.step / self.steps if self.steps else 0.0
        number, of = _place(self.label)
        return (number - 1 + done) / of

    @property
    def mean_bits(self) -> Points:
        """Step, and the mean over the languages measured there."""
        found: dict[int, list[float]] = {}
        for points in (self.bits or {}).values():
            for step, value in points:
                found.setdefault(step, []).append(value)
        return [(step, sum(values) / len(values)) for step, values in sorted(found.items())]


class Watch:
    """Reads a training again and again; what was read before is not read twice."""

    def __init__(self, path: Path) -> None:
        """Watch the run in ``path``, which need not be there yet."""
        self._path = path
        self._forget(())

    def _forget(self, session: tuple[object, ...]) -> None:
        self._session, self._size = session, 0
        self._last: dict[str, Any] = {}
        self._loss: Points = []
        self._bits: dict[str, Points] = {}
        self._skipped = 0

    def look(self) -> Now:
        """Return the training as it stands.

        Raises:
            UserError: the run is no training.
        """
        run = runs.Run(self._path)
        if not (run.path / runs.RECIPE).exists():
            return Now(run.reference, "not begun", 0)
        happened = run.record.get("happened", {})
        training = run.record.get("asked", {}).get("recipe", {}).get("train")
        if run.record and training is None:
            raise UserError(f"{run.reference} is no training")
        # A session that goes on from a checkpoint writes the rows after it anew.
        session = (happened.get("started"), happened.get("sessions"))
        if session != self._session or run.metrics_size() < self._size:
            self._forget(session)
        self._read(run)
        told = happened.get("energy", {})
        return Now(
            run.reference,
            _status(run, happened),
            self._last.get("steps", (training or {}).get("steps", 0)),
            self._last.get("step", 0),
            self._last.get("label", ""),
            tuple(self._loss),
            {tag: list(points) for tag, points in self._bits.items()},
            self._skipped,
            self._last.get("tokens_per_second"),
            self._last.get("seconds_to_go"),
            max(
                (one for one in (told.get("joules"), self._last.get("energy_joules")) if one),
                default=None,
            ),
            told.get("measured", False),
            told.get("source", ""),
            self._last.get("memory_bytes"),
            self._last.get("gpu_memory_bytes"),
            _newest_checkpoint(run.path),
        )

    def _read(self, run: runs.Run) -> None:
        file = run.path / runs.METRICS
        if not file.exists():
            return
        with file.open("rb") as lines:
            lines.seek(self._size)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self._size += len(line)
                self._take(json.loads(line))

    def _take(self, row: dict[str, Any]) -> None:
        if row.get("label") != self._last.get("label"):
            self._loss = []
            # Every rung of a ladder measures all languages, each adapter one of them.
            if _place(row.get("label", "")) == (1, 1):
                self._bits = {}
        self._last = row
        if row.get("loss") is None:
            self._skipped += 1
        else:
            self._loss.append((row["step"], row["loss"]))
        for tag, value in row.get("bits_per_byte", {}).items():
            self._bits.setdefault(tag, []).append((row["step"], value))


def screen(now: Now) -> list[str]:
    """Return a training as lines of text, in the manner of ``workbench show``."""
    if not now.step:
        return []
    of = f" {now.label}" if now.label else ""
    lines = [
        f"  step     {now.step:,} of {now.steps:,}{of}, {now.share:.0%} of the run, "
        f"{now.skipped} skipped",
        f"           {progress(now.share)}",
    ]
    for name, points, unit in (
        ("loss", now.loss, "nats a token"),
        ("bits", now.mean_bits, f"bits per byte, mean of {len(now.bits or {})} languages"),
    ):
        if points:
            first, last = points[0], points[-1]
            lines += [
                f"  {name:<8} {last[1]:.3f} {unit}, at step {last[0]:,}; "
                f"{first[1]:.3f} at step {first[0]:,}",
                f"           {sparkline([value for _, value in points])}",
            ]
    lines.append(f"  speed    {now.tokens_per_second or 0:,.0f} tokens/s, {to_go(now)}")
    if now.joules is not None:
        word = "measured" if now.measured else "estimated"
        lines.append(f"  energy   {energy.told(now.joules)}, {word}: {now.energy_source}")
    if now.memory_bytes is not None and now.status in ("running", "stopping"):
        gpu = (
            ""
            if now.gpu_memory_bytes is None
            else f", {megabytes(now.gpu_memory_bytes)} of the GPU"
        )
        lines.append(f"  memory   {megabytes(now.memory_bytes)} now{gpu}")
    if now.checkpoint:
        lines.append(f"  saved    {now.checkpoint}")
    return lines


def next_command(now: Now) -> str:
    """Return a line that says how to stop a training, or how to go on with it."""
    if now.status == "running":
        return f"  stop     workbench stop {now.reference}"
    if now.status == "stopping":
        return "  stop     it saves at its next step, then it stops"
    return "" if now.status == "finished" else f"  go on    workbench resume {now.reference}"


def by_language(now: Now, across: int = 3) -> str:
    """Return bits per byte by language, ``across`` languages in a line; dearest first."""
    bits = now.bits or {}
    cells = [
        (languages.get(tag).name, f"{points[-1][1]:.3f}", f"{points[-1][1] - points[0][1]:+.3f}")
        for tag, points in sorted(bits.items(), key=lambda one: -one[1][-1][1])
    ]
    if not cells:
        return ""
    down = -(-len(cells) // across)
    columns = [cells[start : start + down] for start in range(0, len(cells), down)]
    rows = [
        [
            cell
            for column in columns
            for cell in (column[place] if place < len(column) else [""] * 3)
        ]
        for place in range(down)
    ]
    return terminal.table(rows, ("language", "bits/byte", "change") * len(columns))


def sparkline(values: Sequence[float], width: int = 56) -> str:
    """Return numbers as a row of blocks, the lowest as the lowest block.

    ``1, 8, 4.5`` becomes ``▁█▅``. More numbers than ``width`` are averaged in neighbours.
    """
    shown = [middle for _, _, middle, _ in thin(list(enumerate(values)), width)]
    low, high = min(shown), max(shown)
    scale = (len(BLOCKS) - 1) / ((high - low) or 1)
    return "".join(BLOCKS[int((value - low) * scale + 0.5)] for value in shown)


def progress(share: float, width: int = 56) -> str:
    """Return a bar of which ``share`` is filled."""
    full = round(share * width)
    return "█" * full + "░" * (width - full)


def thin(points: Sequence[tuple[int, float]], most: int) -> list[tuple[float, float, float, float]]:
    """Return at most ``most`` groups of neighbours: place of the last, lowest, mean, highest."""
    if not points:
        return []
    size = -(-len(points) // most)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (
            group[-1][0],
            min(value for _, value in group),
            sum(value for _, value in group) / len(group),
            max(value for _, value in group),
        )
        for group in groups
    ]


def duration(seconds: float) -> str:
    """Return a time for people: ``0:09``, ``1:02:03``, ``2 d 3 h``."""
    whole = round(seconds)
    if whole >= 86_400:
        return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def to_go(now: Now) -> str:
    """Say how long the loop still takes; of one that does not run, how long it would."""
    left = duration(now.seconds_to_go or 0)
    if now.status in ("running", "stopping"):
        return f"{left} to go"
    return "nothing to go" if now.status == "finished" else f"{left} left to train"


def megabytes(count: int) -> str:
    """Return an amount of memory for people."""
    return f"{count / 2**20:,.0f} MB" if count < 10 * 2**30 else f"{count / 2**30:,.1f} GB"


def _status(run: runs.Run, happened: Mapping[str, Any]) -> Status:
    if run.finished:
        return "finished"
    if runs.being_written(run):
        return "stopping" if (run.path / runs.STOP).exists() else "running"
    known: Status = happened.get("status", "killed")
    return "killed" if known == "running" else known


def _place(label: str) -> tuple[int, int]:
    """Return which loop of how many ``label`` names."""
    found = re.search(r"\((\d+)/(\d+)\)$", label)
    return (int(found[1]), int(found[2])) if found else (1, 1)


def _newest_checkpoint(path: Path) -> str:
    found = [*path.glob("checkpoints/step-*"), *path.glob("work/*/step-*")]
    newest = max(found, key=lambda one: one.name, default=None)
    return newest.relative_to(path).as_posix() if newest else ""
