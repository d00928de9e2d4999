"""Trainings with a watch on each step: the loop of a recipe, and `Trainer` of transformers."""

import contextlib
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Steps that may hold compilation; where it is left out, they count as much as the median.
UNTIMED = 4


class Clock:
    """The time of training alone: it stands still while something else is done."""

    def __init__(self) -> None:
        self._paused = 0.0
        self._began = time.perf_counter()
        self.ends: list[float] = []
        """Seconds from the beginning to the end of each step."""
        self.rows: list[dict[str, Any]] = []
        """Metrics of each step, where the loop keeps them."""

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        before = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - before

    def outside(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function``, during which the clock stands still."""

        def quietly(*words: Any, **more: Any) -> Any:
            with self.paused():
                return function(*words, **more)

        return quietly

    def tick(self) -> None:
        """Note the end of a step."""
        self.ends.append(time.perf_counter() - self._began - self._paused)

    def usual(self) -> float:
        """Return the seconds of the median step, compilation left out."""
        return _usual(_lasted(self.ends))

    def plain(self) -> list[float]:
        """Return when each step would have ended, had the first ones been as fast as the median."""
        return without_compiling(self.ends)


def without_compiling(ends: Sequence[float]) -> list[float]:
    """Return ``ends`` as they would be, had the first steps been as fast as the median.

    From ``[30, 31, 32, 33, 34, 36, 38]`` come ``[2, 4, 6, 8, 9, 11, 13]``.
    """
    lasted = _lasted(ends)
    first = [_usual(lasted)] * min(UNTIMED, len(ends))
    return list(itertools.accumulate(first + lasted[UNTIMED:]))


def _lasted(ends: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise([0.0, *ends])]


def _usual(lasted: Sequence[float]) -> float:
    return statistics.median(lasted[UNTIMED:] or lasted)


def ours(
    model: Any, pack: Any, shares: Mapping[str, float], settings: Mapping[str, Any]
) -> tuple[Clock, dict[str, Any]]:
    """Train as a recipe does, its metrics included; validation and checkpoints are not counted.

    Returns:
        The clock, which began before precision and compilation were settled, and what the run's
        record says happened.
    """
    from workbench import bits, checkpoint, pace, recipe, sections, sequences, train
    from workbench import run as runs

    config = sections.Training(**settings)
    with tempfile.TemporaryDirectory() as home:
        os.environ["WORKBENCH_HOME"] = home
        run = runs.Run.begin(recipe.parse("kind: inspect\nname: timed\nwhy: to time a training\n"))
        clock = Clock()
        metric, of_shards, save = runs.Run.metric, bits.of_shards, checkpoint.save

        def watched(self: Any, **row: Any) -> None:
            metric(self, **row)
            clock.tick()
            clock.rows.append(row)

        runs.Run.metric = watched  # type: ignore[method-assign]
        bits.of_shards = clock.outside(of_shards)
        checkpoint.save = clock.outside(save)
        try:
            chosen = pace.settle(run, model, config)
            phases = [sequences.Phase(pack, dict(shares), config.steps)]
            train.train(run, model, phases, config, Path(home) / "saved", chosen)
        finally:
            runs.Run.metric = metric  # type: ignore[method-assign]
            bits.of_shards, checkpoint.save = of_shards, save
        happened = dict(run.record["happened"])
        run.leave("stopped")
    return clock, happened


def trainer(
    model: Any, rows: Any, flags: Mapping[str, Any], ended: Callable[[Clock, int], None]
) -> Clock:
    """Train with ``Trainer``, on rows in their order.

    Args:
        model: of ``transformers``.
        rows: ids of shape ``(sequences, sequence + 1)``: as many targets as ours has.
        flags: of ``TrainingArguments``.
        ended: called after each step with the number of steps done; the clock stands still.
    """
    from transformers import Trainer, TrainerCallback, TrainingArguments

    # Given apart, targets are not shifted once more.
    data = [{"input_ids": r[:-1], "labels": r[:-1], "shift_labels": r[1:]} for r in rows]

    class Watch(TrainerCallback):
        def on_step_end(self, arguments: Any, state: Any, control: Any, **more: Any) -> None:
            clock.tick()
            with clock.paused():
                ended(clock, state.global_step)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            bf16=True,
            optim="adamw_torch_fused",
            weight_decay=0.1,
            adam_beta1=0.9,
            adam_beta2=0.95,
            max_grad_norm=1.0,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            **flags,
        )
        clock = Clock()
        Trainer(model, arguments, train_dataset=data, callbacks=[Watch()]).train()
    return clock


def random_pack(folder: Path, vocabulary: int, tokens: int) -> Any:
    """Return a pack of random tokens, which cost what real ones cost."""
    import numpy as np

    from workbench import packing

    folder.mkdir(parents=True)
    kind = np.dtype(np.uint16 if vocabulary <= 2**16 else np.uint32)
    drawn = np.random.default_rng(1).integers(1, vocabulary, tokens).astype(kind)
    drawn.tofile(folder / "eng_Latn.train.tokens")
    for part in ("ends", "sizes"):
        np.array([tokens]).tofile(folder / f"eng_Latn.train.{part}")
    counts = {"eng_Latn": {"train": tokens, "validation": 0}}
    facts = {"dtype": kind.name, "end_token": 0, "tokens": counts, "bytes": counts}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return packing.Pack(folder)
