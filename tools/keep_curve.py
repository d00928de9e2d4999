"""Keep the loss curve of a finished run as a small file of JSON, to compare later runs with.

``.venv/bin/python tools/keep_curve.py pretrain/starter tests/curves/FILE.json`` writes the loss,
validation bits per byte, the resolved recipe, and what the numbers depend on beyond it: versions,
hardware, threads. Long curves are thinned: each number is then the mean over its stretch of steps.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from workbench import disk
from workbench import run as runs
from workbench.errors import UserError

POINTS = 200


def curve(run: runs.Run, points: int = POINTS) -> dict[str, Any]:
    """Return what is kept of a run with one training loop.

    ``loss`` has ``step`` and ``nats_per_token``, at most ``points`` of each: a step is the last
    one of its stretch, and steps that had no finite loss are left out. ``bits_per_byte`` has the
    mean over languages at each validation, and every language after the last.

    Raises:
        UserError: the run is not finished, or is none that trains one model.
    """
    if not run.finished:
        raise UserError(f"{run.reference} is not finished; take it up: workbench resume")
    steps = [row for row in run.metrics() if row.get("loss") is not None]
    if not steps or any("label" in row for row in steps):
        raise UserError(f"{run.reference} has no training loss of one model; take a pretraining")
    length = -(-len(steps) // points)
    stretches = [steps[start : start + length] for start in range(0, len(steps), length)]
    measured = [row for row in run.metrics() if row.get("bits_per_byte")]
    record = run.record
    return {
        "run": run.reference,
        "loss": {
            "step": [stretch[-1]["step"] for stretch in stretches],
            "nats_per_token": [_mean([row["loss"] for row in stretch]) for stretch in stretches],
        },
        "bits_per_byte": {
            "step": [row["step"] for row in measured],
            "mean": [_mean(list(row["bits_per_byte"].values())) for row in measured],
            "languages": {
                tag: round(bits, 6)
                for tag, bits in (measured[-1]["bits_per_byte"] if measured else {}).items()
            },
        },
        "recipe": record["asked"]["recipe"],
        "precision": record["happened"].get("precision"),
        "compiled": record["happened"].get("compiled"),
        "threads": record["happened"].get("threads"),
        "python": record["provenance"]["python"],
        "packages": record["provenance"]["packages"],
        "hardware": record["provenance"]["hardware"],
    }


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 6)


def main(words: list[str] | None = None) -> int:
    """Write the curve; 2 for a mistake of the user's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("run", help="kind/name, or the path of the run's folder")
    parser.add_argument("file", type=Path, help="where to write")
    parser.add_argument("--points", type=int, default=POINTS, help=f"at most so many ({POINTS})")
    asked = parser.parse_args(words)
    if asked.points < 1:
        parser.error(f"--points must be at least 1, it is {asked.points}")
    try:
        kept = curve(runs.find(asked.run), asked.points)
        asked.file.parent.mkdir(parents=True, exist_ok=True)
        disk.write_json(asked.file, kept)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return mistake.exit_status
    print(f"{asked.file}: {len(kept['loss']['step'])} points")
    return 0


if __name__ == "__main__":
    sys.exit(main())
