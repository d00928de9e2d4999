"""The one training loop, for whole models and for adapters, on Accelerate.

The learning rate is a function of the step, the data position a count per language, and every
random state is in the checkpoint: a run that was stopped goes on as if it had not been.
Numbers go to ``metrics.jsonl``; whoever wants to draw or report reads them there.
"""

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from workbench import bits, checkpoint, loss, pace, tracking
from workbench import model as models
from workbench import run as runs
from workbench.pace import Pace
from workbench.packing import Pack, Sequences
from workbench.recipe import Training

# By how much a parameter group's rate differs from the schedule's.
TIMES = "times"


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


def learning_rate(config: Training, step: int) -> float:
    """Return the rate of ``step``, counted from 0.

    ``wsd`` rises over ``warmup`` steps, stays, and falls in a line over the last ``decay`` share;
    ``cosine`` falls along half a cosine (arXiv 1608.03983) to ``final_rate``.
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "cosine":
        progress = (step - config.warmup) / max(1, config.steps - config.warmup)
        share = (1 + math.cos(math.pi * progress)) / 2
    else:
        falling = max(1, round(config.decay * config.steps))
        share = min(1.0, (config.steps - step) / falling) if config.decay else 1.0
    floor = config.final_rate
    return config.learning_rate * (floor + (1 - floor) * share)


def train(
    run: runs.Run,
    model: torch.nn.Module,
    pack: Pack,
    shares: dict[str, float],
    config: Training,
    checkpoints: Path,
    pace_: Pace,
    label: str = "",
) -> Outcome:
    """Train the parameters of ``model`` that require gradients, from the last whole checkpoint.

    Args:
        run: takes the metrics; its stop button is obeyed.
        model: a causal language model on the CPU, as ``transformers`` or PEFT makes it.
        pack: the shards to draw from, and to validate on.
        shares: each language's share of the sequences.
        config: steps, rates, batch and the like.
        checkpoints: folder of this loop's checkpoints.
        pace_: precision and compilation, from :func:`pace.settle`.
        label: what metrics call this loop, where a run has several.

    Raises:
        Stopped: a signal or the stop button came; a checkpoint of that step was written.
        RuntimeError: too many steps in a row had no finite loss or gradient.
    """
    loop = _Loop(run, model, pack, shares, config, checkpoints, pace_, label)
    with runs.StopSignal(run) as stop, loop.tracker:
        if not pace_.compiled:
            return loop.go(stop)
        try:
            with pace.compiled_blocks(model):
                return loop.go(stop)
        finally:
            # Torch keeps few compiled forms of one function; the next loop has a model of its own.
            torch.compiler.reset()


def optimizers_for(model: torch.nn.Module, config: Training) -> list[torch.optim.Optimizer]:
    """Return fused AdamW (arXiv 1711.05101) over what is to be trained, and Muon where asked.

    Matrices decay; norms, which have one dimension, do not. Muon (Keller Jordan, 2024) takes the
    matrices of the layers, never embedding and output, and scales its updates to the size of
    AdamW's (arXiv 2502.16982, section 2.2).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizers: list[torch.optim.Optimizer] = []
    if config.optimizer == "muon":
        within = {id(weight) for block in loss.blocks(model) for weight in block.parameters()}
        hidden = [weight for weight in trained if weight.dim() == 2 and id(weight) in within]
        if hidden:
            optimizers.append(
                torch.optim.Muon(
                    [{"params": hidden, TIMES: config.muon_rate}],
                    lr=config.learning_rate,
                    weight_decay=config.weight_decay,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
            moved = {id(weight) for weight in hidden}
            trained = [weight for weight in trained if id(weight) not in moved]
    groups = [
        {
            "params": [weight for weight in trained if weight.dim() >= 2],
            "weight_decay": config.weight_decay,
        },
        {"params": [weight for weight in trained if weight.dim() < 2], "weight_decay": 0.0},
    ]
    if trained:
        optimizers.append(
            torch.optim.AdamW(
                [group for group in groups if group["params"]],
                lr=config.learning_rate,
                betas=(config.beta1, config.beta2),
                fused=True,
            )
        )
    return optimizers


class _Loop:
    """The state of one loop; :meth:`go` runs it."""

    def __init__(
        self,
        run: runs.Run,
        model: torch.nn.Module,
        pack: Pack,
        shares: dict[str, float],
        config: Training,
        checkpoints: Path,
        pace_: Pace,
        label: str,
    ) -> None:
        self.run, self.pack, self.config, self.label = run, pack, config, label
        self.checkpoints = checkpoints
        self.pace = pace_
        # Accelerate keeps the first precision of a process for good unless told otherwise.
        AcceleratorState._reset_state(reset_partial_state=False)
        self.accelerator = Accelerator(
            mixed_precision="no" if pace_.precision == "fp32" else pace_.precision,
            **tracking.arguments(run, config),
        )
        self.sequences = Sequences(pack, shares, config.sequence, config.seed)
        self.step = 0
        self.tokens = 0
        self.skipped = 0
        self.flops_per_token = models.flops_per_token(model, config.sequence)
        torch.manual_seed(config.seed)
        objective = loss.NextToken(model, config.z_loss, pace_.compiled)
        self.in_chunks = objective.in_chunks
        # The model inside stays as it is: only what gives the loss is wrapped.
        self.plain_model = model
        self.model = self.accelerator.prepare(objective)
        self.optimizers = optimizers_for(model, config)
        self._take_up()
        self.tracker = tracking.Tracker(self.accelerator, run, label)

    def _take_up(self) -> None:
        found, problems = checkpoint.latest(self.checkpoints)
        for problem in problems:
            runs.Progress(self._name).update(problem, last=True)
        if found is None:
            if not self.label:
                self.run.rewind_metrics(0)
            return
        state = checkpoint.restore(found, self.plain_model, self.optimizers)
        self.step, self.tokens = state["step"], state["tokens"]
        self.skipped = state["skipped"]
        self.sequences.restore(state["drawn"])
        self.run.rewind_metrics(state["metrics_size"])
        runs.Progress(self._name).update(f"goes on from step {self.step}", last=True)

    @property
    def _name(self) -> str:
        return f"{self.run.reference} {self.label}".strip()

    def go(self, stop: runs.StopSignal) -> Outcome:
        progress = runs.Progress(self._name)
        measured: dict[str, float] = {}
        bad_in_a_row = 0
        self.model.train()
        began, first_tokens = time.monotonic(), self.tokens
        validating = 0.0
        while self.step < self.config.steps:
            rate = learning_rate(self.config, self.step)
            nats, norm = self._optimize(rate)
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
                "loss": nats if finite else None,
                "learning_rate": rate,
                "gradient_norm": norm if finite else None,
                "tokens": self.tokens,
                "flops": self.tokens * self.flops_per_token,
                "tokens_per_second": round(speed, 1),
                "seconds_to_go": round(self._tokens_to_go() / speed, 1),
                "energy_joules": round(self.run.joules(), 3),
                "memory_bytes": runs.memory(),
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
            if stop.requested:
                self._save()
                stop.raise_stopped(
                    f"{self._name} stopped at step {self.step} and saved; go on with: "
                    f"workbench resume {self.run.reference}"
                )
            if last or self.step % self.config.checkpoint_every == 0:
                self._save()
        if not measured:
            measured = self._validate()
        progress.done(f"{self.step} steps, {_mean(measured):.3f} bits per byte in validation")
        return Outcome(
            self.step,
            self.tokens,
            self.tokens * self.flops_per_token,
            self.skipped,
            self.pace.precision,
            self.in_chunks,
            measured,
            self.sequences.epochs(),
        )

    def _optimize(self, rate: float) -> tuple[float, float]:
        """Take one step; return cross-entropy in nats a token and gradient norm.

        A step whose loss or gradient is not finite leaves weights and moments as they were, and
        gives no cross-entropy.
        """
        config = self.config
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get(TIMES, 1.0)
        total = torch.zeros(2, device=self.accelerator.device)
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        for part in range(config.accumulation):
            # Every process draws the same sequences and takes its own slice of them.
            drawn = self.sequences.batch(config.batch * ranks)
            own = torch.from_numpy(drawn[rank * config.batch : (rank + 1) * config.batch])
            tokens = own.to(self.accelerator.device)  # (batch, sequence + 1)
            waits = part < config.accumulation - 1
            with self.accelerator.no_sync(self.model) if waits else contextlib.nullcontext():
                objective, nats = self.model(tokens)
                self.accelerator.backward(objective / config.accumulation)
            total += torch.stack((nats, objective.detach())) / config.accumulation
            self.tokens += config.batch * ranks * config.sequence
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), config.clip)
        total = self.accelerator.reduce(total, reduction="mean")
        nats_seen, minimised = total.tolist()
        norm_seen = float(norm)
        finite = math.isfinite(minimised) and math.isfinite(norm_seen)
        for optimizer in self.optimizers:
            if finite:
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return (nats_seen if finite else math.nan), norm_seen

    def _validate(self) -> dict[str, float]:
        """Return validation bits per byte by language; a language without such text is left out."""
        result = {}
        for tag in self.sequences.tags:
            shard = self.pack.shard(tag, "validation")
            if not len(shard.ends):
                continue
            with pace.plainly(self.pace):
                measured = bits.of_documents(
                    self.plain_model,
                    shard,
                    self.pack.facts["end_token"],
                    self.config.sequence,
                    self.config.validation_documents,
                    self.accelerator.autocast(),
                )
            result[tag] = bits.per_byte(*measured)
        return result

    def _save(self) -> None:
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        checkpoint.save(
            self.checkpoints,
            self.step,
            self.plain_model,
            self.optimizers,
            {
                "tokens": self.tokens,
                "skipped": self.skipped,
                "drawn": self.sequences.state(),
                "metrics_size": self.run.metrics_size(),
                "precision": self.pace.precision,
            },
            self.config.keep_checkpoints,
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
        per_step = self.config.batch * self.config.accumulation * self.config.sequence
        return float(left * per_step * self.accelerator.num_processes)

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
