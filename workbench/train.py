"""The one training loop, for whole models and for adapters, on Accelerate.

The learning rate is a function of the step, the data position a count per language, and every
random state is in the checkpoint: a run that was stopped goes on as if it had not been.
Numbers go to ``metrics.jsonl``; whoever wants to draw or report reads them there.

Several processes train one model as one does: a step's sequences are the recipe's, whatever their
number, and are dealt out among them, as are the documents of a validation.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from workbench import (
    bits,
    checkpoint,
    loss,
    memory,
    optimizers,
    pace,
    processes,
    sharding,
    terminal,
    tracking,
)
from workbench import model as models
from workbench import run as runs
from workbench.averages import Average
from workbench.pace import Pace
from workbench.sections import Training
from workbench.sequences import Ahead, Batch, Feed, Phase


@dataclass(frozen=True)
class Outcome:
    """What a finished loop did."""

    steps: int
    tokens: int
    flops: float
    skipped_steps: int
    precision: str
    loss_in_chunks: bool
    """Whether the logits of all tokens were never held at once."""
    bits_per_byte: dict[str, float]
    """Validation bits per byte by language after the last step."""
    epochs: dict[str, float]
    wait_share: float
    """Share of the last session's time, validation left out, in which batches were waited for."""


def train(
    run: runs.Run,
    model: torch.nn.Module,
    phases: Sequence[Phase],
    config: Training,
    checkpoints: Path,
    pace_: Pace,
    label: str = "",
) -> Outcome:
    """Train the parameters of ``model`` that require gradients, from the last whole checkpoint.

    Args:
        run: takes the metrics; its stop button is obeyed.
        model: a causal language model on the CPU, as ``transformers`` or PEFT makes it.
        phases: what to draw from, and in which mix; validation is on the first one's pack.
        config: steps, rates, batch and the like.
        checkpoints: folder of this loop's checkpoints.
        pace_: precision and compilation, from :func:`pace.settle`.
        label: what metrics call this loop, where a run has several.

    Raises:
        Stopped: a signal or the stop button came; a checkpoint of that step was written.
        RuntimeError: too many steps in a row had no finite loss or gradient.
    """
    loop = _Loop(run, model, phases, config, checkpoints, pace_, label)
    with runs.StopSignal(run) as stop, loop.tracker:
        if not pace_.compiled:
            return loop.go(stop)
        try:
            with pace.compiled_blocks(model):
                return loop.go(stop)
        finally:
            # Torch keeps few compiled forms of one function; the next loop has a model of its own.
            torch.compiler.reset()


class _Loop:
    """The state of one loop; :meth:`go` runs it."""

    def __init__(
        self,
        run: runs.Run,
        model: torch.nn.Module,
        phases: Sequence[Phase],
        config: Training,
        checkpoints: Path,
        pace_: Pace,
        label: str,
    ) -> None:
        self.run, self.config, self.label = run, config, label
        self.pack = phases[0].pack
        self.checkpoints = checkpoints
        self.pace = pace_
        self.parts, self.rows = config.share_of_step(processes.count())
        # Accelerate keeps the first precision of a process for good unless told otherwise.
        AcceleratorState._reset_state(reset_partial_state=False)
        self.accelerator = Accelerator(
            mixed_precision="no" if pace_.precision == "fp32" else pace_.precision,
            **tracking.arguments(run, config),
        )
        plugin = sharding.asked(model)
        self.feed = Feed(phases, config.sequence, config.seed, config.packing)
        self.step = 0
        self.tokens = 0
        self.skipped = 0
        self.flops_per_token = models.flops_per_token(model, config.sequence)
        # Processes differ in what dropout leaves out.
        torch.manual_seed(config.seed + processes.rank())
        end_token = self.pack.facts["end_token"] if config.attention == "document" else None
        objective = loss.NextToken(model, config.z_loss, pace_.compiled, end_token)
        self.in_chunks = objective.in_chunks
        if config.recompute or (plugin is not None and plugin.activation_checkpointing):
            models.recompute_layers(model)
        # The model inside stays as it is: only what gives the loss is wrapped.
        self.plain_model = model
        self.model: torch.nn.Module
        if plugin is None:
            self.model = self.accelerator.prepare(objective)
        else:
            self.model = objective.to(self.accelerator.device)
            sharding.shard(
                self.model, loss.blocks(model), pace_.precision, bool(plugin.reshard_after_forward)
            )
        self.sharded = plugin is not None
        self.optimizers = optimizers.of(model, config)
        self.average = Average(model, config.average) if config.average else None
        self._take_up()
        self.tracker = tracking.Tracker(self.accelerator, run, label)

    def _take_up(self) -> None:
        found, problems = checkpoint.latest(self.checkpoints)
        for problem in problems:
            terminal.Progress(self._name).update(problem, last=True)
        if found is None:
            # A session that was killed may have left rows of this loop, which begins anew.
            self.run.rewind_metrics(self.run.metrics_before(self.label))
            return
        state = checkpoint.restore(found, self.plain_model, self.optimizers, self.average)
        self.step, self.tokens = state["step"], state["tokens"]
        self.skipped = state["skipped"]
        self.feed.restore(state["drawn"])
        self.run.rewind_metrics(state["metrics_size"])
        terminal.Progress(self._name).update(f"goes on from step {self.step}", last=True)

    @property
    def _name(self) -> str:
        return f"{self.run.reference} {self.label}".strip()

    def go(self, stop: runs.StopSignal) -> Outcome:
        """Take all steps that are left; batches are prepared ahead, in a thread."""
        together, rank = processes.count(), processes.rank()
        own = slice(self.rows * rank, self.rows * (rank + 1))
        steps = range(self.step, self.config.steps)
        with Ahead(self.feed, steps, self.parts, self.rows * together, own) as ahead:
            return self._go(ahead, stop)

    def _go(self, ahead: Ahead, stop: runs.StopSignal) -> Outcome:
        progress = terminal.Progress(self._name)
        measured: dict[str, float] = {}
        bad_in_a_row = 0
        self.model.train()
        began, first_tokens = time.monotonic(), self.tokens
        validating = 0.0
        while self.step < self.config.steps:
            rate = optimizers.learning_rate(self.config, self.step)
            nats, norm, asked_to_stop = self._optimize(rate, ahead, stop)
            finite = math.isfinite(nats) and math.isfinite(norm)
            bad_in_a_row = 0 if finite else bad_in_a_row + 1
            self.skipped += not finite
            if bad_in_a_row >= self.config.bad_steps:
                self._give_up(bad_in_a_row)
            self.step += 1
            training = time.monotonic() - began - validating
            speed = (self.tokens - first_tokens) / training
            row: dict[str, Any] = {
                "step": self.step,
                "steps": self.config.steps,
                "loss": nats if finite else None,
                "learning_rate": rate,
                "gradient_norm": norm if finite else None,
                "tokens": self.tokens,
                "flops": self.tokens * self.flops_per_token,
                "tokens_per_second": round(speed, 1),
                "wait_share": round(ahead.waited / training, 6),
                "seconds_to_go": round(self._tokens_to_go() / speed, 1),
                "energy_joules": round(self.run.joules(), 3),
                "memory_bytes": memory.now(),
            }
            if self.accelerator.device.type == "cuda":
                row["gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
            last = self.step == self.config.steps
            if last or self.step % self.config.validate_every == 0:
                before = time.monotonic()
                measured = self._validate()
                validating += time.monotonic() - before
                row["bits_per_byte"] = measured
            if self.label:
                row["label"] = self.label
            self.run.metric(**row)
            self.tracker.log(row)
            progress.update(self._line(row, measured))
            if asked_to_stop:
                self._save(ahead)
                stop.raise_stopped(
                    f"{self._name} stopped at step {self.step} and saved; go on with: "
                    f"workbench resume {self.run.reference}"
                )
            if last or self.step % self.config.checkpoint_every == 0:
                self._save(ahead)
        if not measured:
            measured = self._validate()
        if self.average is not None:
            self.average.keep()
        progress.done(f"{self.step} steps, {_mean(measured):.3f} bits per byte in validation")
        return Outcome(
            self.step,
            self.tokens,
            self.tokens * self.flops_per_token,
            self.skipped,
            self.pace.precision,
            self.in_chunks,
            measured,
            self.feed.epochs(),
            ahead.waited / max(time.monotonic() - began - validating, 1e-9),
        )

    def _optimize(
        self, rate: float, ahead: Ahead, stop: runs.StopSignal
    ) -> tuple[float, float, bool]:
        """Take one step; return nats a token, gradient norm, and whether to stop.

        A step whose loss or gradient is not finite leaves weights and moments as they were, and
        gives no cross-entropy.
        """
        config = self.config
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get(optimizers.TIMES, 1.0)
        batches = list(itertools.islice(ahead, self.parts))
        # Cross-entropy, what is minimised, and whether someone asked to stop.
        total = torch.zeros(3, device=self.accelerator.device)
        for number, (batch, weight) in enumerate(zip(batches, self._weights(batches), strict=True)):
            tokens, targets = (
                torch.from_numpy(part).to(self.accelerator.device)
                for part in (batch.tokens, batch.targets)
            )
            last = number == len(batches) - 1
            with contextlib.nullcontext() if last else self._no_traffic():
                # A prepared model computes in the run's precision by itself, not one in shards.
                with self.accelerator.autocast():
                    objective, nats = self.model(tokens, targets)
                self.accelerator.backward(objective * weight)
            total[:2] += torch.stack((nats, objective.detach())) * weight
        norm = torch.nn.utils.clip_grad_norm_(
            [weight for weight in self.plain_model.parameters() if weight.requires_grad],
            config.clip,
        )
        norm_seen = float(sharding.whole(norm))
        total[2] = stop.requested
        nats_seen, minimised, stops = self.accelerator.reduce(total, reduction="mean").tolist()
        finite = math.isfinite(minimised) and math.isfinite(norm_seen)
        for optimizer in self.optimizers:
            if finite:
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if finite and self.average is not None:
            self.average.update()
        self.tokens += config.tokens_a_step
        return (nats_seen if finite else math.nan), norm_seen, stops > 0

    def _weights(self, batches: Sequence[Batch]) -> list[float]:
        """Return what each batch counts for, so that every target of the step counts alike.

        Gradients of processes are averaged, so the weights of one of them add up to 1 on average.
        """
        if self.config.packing == "cut":
            return [1 / len(batches)] * len(batches)
        counts = [int((batch.targets != loss.IGNORED).sum()) for batch in batches]
        mean = torch.tensor(float(sum(counts)), device=self.accelerator.device)
        mean = self.accelerator.reduce(mean, reduction="mean")
        return [count / float(mean) for count in counts]

    def _no_traffic(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which gradients are added up here and not yet shared."""
        if self.sharded:
            return sharding.no_traffic(self.model)
        alone: contextlib.AbstractContextManager[Any] = self.accelerator.no_sync(self.model)
        return alone

    def _validate(self) -> dict[str, float]:
        """Return validation bits per byte by language; a language without such text is left out.

        Where weights are averaged it is the average that is measured, because it will be kept.
        """
        if self.average is None:
            return self._bits_per_byte()
        with self.average.applied():
            sharding.let_go(self.model)
            measured = self._bits_per_byte()
        sharding.let_go(self.model)
        return measured

    def _bits_per_byte(self) -> dict[str, float]:
        shards = {tag: self.pack.shard(tag, "validation") for tag in self.feed.tags}
        with pace.plainly(self.pace):
            measured = bits.of_shards(
                # A model in shards is whole only while it is called as a whole.
                self.model if self.sharded else self.plain_model,
                {tag: shard for tag, shard in shards.items() if len(shard.ends)},
                self.pack.facts["end_token"],
                self.config.sequence,
                self.config.validation_documents,
                self.accelerator.autocast(),
            )
        return {tag: bits.per_byte(*one) for tag, one in measured.items()}

    def _save(self, ahead: Ahead) -> None:
        checkpoint.save(
            self.checkpoints,
            self.step,
            self.plain_model,
            self.optimizers,
            {
                "tokens": self.tokens,
                "skipped": self.skipped,
                "drawn": ahead.state,
                "metrics_size": self.run.metrics_size(),
                "precision": self.pace.precision,
            },
            self.config.keep_checkpoints,
            self.average,
        )

    def _give_up(self, count: int) -> None:
        found, _ = checkpoint.latest(self.checkpoints)
        kept = f"the last good checkpoint is {found}" if found else "there is no checkpoint yet"
        raise RuntimeError(
            f"{self._name}: {count} steps in a row had no finite loss or gradient, none of them "
            f"reached the weights; {kept}; try a lower train.learning_rate"
        )

    def _tokens_to_go(self) -> float:
        left = self.config.steps - self.step
        return float(left * self.config.tokens_a_step)

    def _line(self, row: dict[str, Any], measured: dict[str, float]) -> str:
        nats = "not finite" if row["loss"] is None else f"{row['loss']:.3f}"
        validation = f", {_mean(measured):.3f} bits per byte" if measured else ""
        minutes, seconds = divmod(round(row["seconds_to_go"]), 60)
        return (
            f"step {self.step}/{self.config.steps}, loss {nats}{validation}, "
            f"{row['tokens_per_second']:,.0f} tokens/s, {minutes}:{seconds:02d} to go"
        )


def _mean(values: dict[str, float]) -> float:
    numbers: Sequence[float] = list(values.values())
    return sum(numbers) / len(numbers) if numbers else math.nan
