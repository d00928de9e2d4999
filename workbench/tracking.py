"""Trackers beside ``metrics.jsonl``, through Accelerate: trackio or TensorBoard, where asked.

Both keep what they get on this machine: TensorBoard in the run's folder, ``tracking/``, and
trackio in its own cache. Without a tracker in the recipe nothing here does anything.
"""

import importlib.util
import os
from types import TracebackType
from typing import Any, Self

from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

from workbench import run as runs
from workbench.errors import UserError
from workbench.sections import Training

FOLDER = "tracking"
# What Accelerate's tracker of that name imports; any of them serves.
MODULES = {"trackio": ("trackio",), "tensorboard": ("tensorboard", "tensorboardX")}
# What makes trackio send what it gets to somewhere else.
AWAY = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "TRACKIO_WEBHOOK_URL")


def require(config: Training) -> None:
    """Make sure that what ``train.trackers`` names is installed, before any work is done.

    Accelerate would leave a missing one out without a word.

    Raises:
        UserError: one is not installed, or the environment would have it send the metrics away.
    """
    for name in config.trackers:
        if not any(importlib.util.find_spec(module) for module in MODULES[name]):
            raise UserError(
                f"train.trackers names {name}, which is not installed: pip install {name}, "
                "or leave it out; metrics.jsonl is written anyway"
            )
    away = [name for name in AWAY if os.environ.get(name)]
    if "trackio" in config.trackers and away:
        raise UserError(
            f"{away[0]} is set: trackio would send the metrics away, which no recipe may; unset it"
        )


def arguments(run: runs.Run, config: Training) -> dict[str, Any]:
    """Return what an :class:`~accelerate.Accelerator` is to be made with to log elsewhere."""
    if not config.trackers:
        return {}
    folder = str(run.path / FOLDER)
    return {
        "log_with": list(config.trackers),
        "project_config": ProjectConfiguration(logging_dir=folder),
    }


class Tracker:
    """Hands the rows of one loop to the trackers of ``accelerator``; ends them as a context."""

    def __init__(self, accelerator: Accelerator, run: runs.Run, label: str = "") -> None:
        """Begin to track.

        Args:
            accelerator: made with :func:`arguments`.
            run: names the project.
            label: what metrics call this loop, where a run has several.
        """
        self._accelerator = accelerator
        self._on = bool(accelerator.log_with)
        if not self._on:
            return
        name = "-".join([*run.reference.split("/"), *label.split()[:1]])
        settings = run.record["asked"]["recipe"]["train"]
        session = f"session-{run.record['happened']['sessions']}"
        accelerator.init_trackers(
            name,
            {key: value for key, value in settings.items() if not isinstance(value, list)},
            {"trackio": {"name": session}},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Not end_training(): it also ends the group of processes, which the next loop needs.
        for tracker in self._accelerator.trackers:
            tracker.finish()

    def log(self, row: dict[str, Any]) -> None:
        """Log one row of ``metrics.jsonl`` at its step."""
        if self._on:
            self._accelerator.log(flat(row), step=row["step"])


def flat(row: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a row, those by language under a name each.

    ``{"loss": 2.5, "bits_per_byte": {"mlt_Latn": 1.5}}`` becomes
    ``{"loss": 2.5, "bits_per_byte/mlt_Latn": 1.5}``. A loss that was not finite is left out.
    """
    numbers: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            numbers |= flat({f"{name}/{key}": inner for key, inner in value.items()})
        elif isinstance(value, int | float) and name != "step":
            numbers[name] = value
    return numbers
