"""How fast a training goes: precision and compilation, chosen by timing them on this machine.

Both are chosen once, in a run's first session, and stand in its record from then on: a session
that goes on computes as the first one did.
"""

import contextlib
import ctypes
import gc
import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch._functorch.config

from workbench import attention, processes, terminal
from workbench import run as runs
from workbench.loss import NextToken, blocks
from workbench.sections import Training

# What is timed must win by more than a timing's noise before it is taken.
BF16_GAIN = 1.1
COMPILED_GAIN = 1.1
# Compiling one layer takes 10 to 30 seconds on two CPU cores and saves a fifth to a third of the
# time: a run below this length would hardly get back what it costs.
REPAYS_SECONDS = 120.0


# Of what a compiled layer could keep for its backward pass, the share that it keeps; what is
# cheapest to compute anew goes first. On 2 CPU cores 0.7 took no longer than all, and 50 MB less in
# a model of 11 million weights; 0.5 saved little more and took longer.
KEPT_ON_CPU = 0.7


@dataclass(frozen=True)
class Pace:
    """What a loop computes with."""

    precision: str = "fp32"
    """``fp32`` or ``bf16``."""
    compiled: bool = False
    """Whether layers and loss are compiled."""


def settle(run: runs.Run, model: torch.nn.Module, config: Training, part: str = "") -> Pace:
    """Return the pace of a loop: what the record says, or what is chosen now and recorded.

    The record gets ``precision`` and ``precision_seconds``, ``compiled`` with ``compile_why`` and
    ``compile_seconds``, and ``threads``, on whose number the order of sums depends. A compiled run
    that goes on where there is no compiler any more is told and recorded as ``compile_lost``: it
    goes on, but not bit for bit. Of several processes the first chooses for all.

    Args:
        run: holds the record.
        model: a causal language model, whose parameters have no gradients yet.
        config: of the loop that is to come.
        part: which of a run's loops, where they differ in size; such a pace stands in the record
            under ``paces``, by this name.
    """
    return processes.from_first(lambda: _settle(run, model, config, part))


def _settle(run: runs.Run, model: torch.nn.Module, config: Training, part: str) -> Pace:
    happened = run.record["happened"]
    known = happened.get("paces", {}).get(part, {}) if part else happened
    if "compiled" in known:
        return Pace(known["precision"], _still_compiled(run, known["compiled"]))
    precision, timings = choose_precision(model, config)
    began = time.perf_counter()
    compiled, why, seconds = choose_compiled(model, config, precision, timings.get(precision))
    _give_back()
    facts = {
        "precision": precision,
        "precision_seconds": timings,
        "compiled": compiled,
        "compile_why": why,
        "compile_seconds": seconds,
        "threads": torch.get_num_threads(),
    }
    run.happened(**({"paces": happened.get("paces", {}) | {part: facts}} if part else facts))
    if "compiling" in seconds or config.compile == "always":
        word = "compiled" if compiled else "not compiled"
        terminal.Progress(f"{run.reference} {part}".strip()).update(
            f"{word}: {why} ({time.perf_counter() - began:.0f} s to find out)", last=True
        )
    return Pace(precision, compiled)


def choose_precision(model: torch.nn.Module, config: Training) -> tuple[str, dict[str, float]]:
    """Return ``fp32`` or ``bf16``, and the seconds a step took in each where both were timed.

    ``auto`` takes bf16 on GPUs that have it; on a CPU it times both, because only some processors
    multiply bf16 in hardware.
    """
    if config.precision != "auto":
        return config.precision, {}
    if torch.cuda.is_available():
        return ("bf16" if torch.cuda.is_bf16_supported() else "fp32"), {}
    objective = NextToken(model, config.z_loss)
    tokens = _few_tokens(config)
    seconds = {}
    for name in ("fp32", "bf16"):
        timed = [_seconds(objective, tokens, name) for _ in range(4)]
        seconds[name] = min(timed[1:])
        _give_back()
    return ("bf16" if seconds["fp32"] > BF16_GAIN * seconds["bf16"] else "fp32"), seconds


def choose_compiled(
    model: torch.nn.Module, config: Training, precision: str, plain: float | None = None
) -> tuple[bool, str, dict[str, float]]:
    """Return whether to compile, why, and what was timed.

    ``auto`` does not try where the steps of the whole run, timed plain, would not repay it. Where
    it tries, it times plain and compiled steps in turn, plain ones on a small batch, so that
    memory never holds more than training will. A compilation that fails is a reason not to,
    whatever the recipe says.

    Args:
        model: a causal language model, whose parameters have no gradients yet.
        config: of the loop that is to come.
        precision: to compute in.
        plain: seconds of a plain step on a small batch, if :func:`choose_precision` timed it.

    Returns:
        The choice, the reason, and seconds: of a ``plain`` and a ``compiled`` batch, forward and
        backward, and of ``compiling`` with the first one.
    """
    if config.compile == "never":
        return False, "the recipe says never", {}
    if missing := missing_compiler():
        return False, missing, {}
    if not blocks(model):
        return False, "the model does not say which layers it repeats", {}
    few = _few_tokens(config)
    more = config.batch * config.sequence / (few.shape[0] * (few.shape[1] - 1))
    objective = NextToken(model, config.z_loss)
    if plain is None:
        plain = min(_seconds(objective, few, precision) for _ in range(2))
    seconds = {"plain": more * plain}
    whole = seconds["plain"] * config.steps * config.accumulation
    if config.compile == "auto" and whole < REPAYS_SECONDS:
        return False, f"about {whole:.0f} s of steps are too few to repay it", seconds
    tokens = torch.zeros(config.batch, config.sequence + 1, dtype=torch.long)
    fast = NextToken(model, config.z_loss, compiled=True)
    timed: dict[str, list[float]] = {"plain": [], "compiled": []}
    try:
        with compiled_blocks(model):
            seconds["compiling"] = _seconds(fast, tokens, precision)
            for _ in range(3):
                with torch.compiler.set_stance("force_eager"):
                    timed["plain"].append(more * _seconds(objective, few, precision))
                _give_back()
                timed["compiled"].append(_seconds(fast, tokens, precision))
    except Exception as fault:  # the compiler, the code generator and the tracer raise their own
        lines = str(fault).strip().splitlines() or [type(fault).__name__]
        return False, f"compiling failed: {lines[0][:200]}", seconds
    finally:
        model.zero_grad(set_to_none=True)
    seconds |= {name: min(values) for name, values in timed.items()}
    gain = seconds["plain"] / seconds["compiled"]
    if config.compile == "always":
        return True, f"the recipe says always; a step is {gain:.2f} times as fast", seconds
    return gain > COMPILED_GAIN, f"a compiled step is {gain:.2f} times as fast", seconds


def missing_compiler() -> str | None:
    """Return what keeps torch from compiling on this machine, or ``None``."""
    if torch.cuda.is_available():
        return None if importlib.util.find_spec("triton") else "there is no triton"
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return None if shutil.which(name) else f"there is no C++ compiler ({name})"


@contextlib.contextmanager
def compiled_blocks(model: torch.nn.Module) -> Iterator[None]:
    """Have the layers that ``model`` repeats compiled while the context lasts.

    One layer is compiled and serves for all of them, which takes half the time of compiling the
    whole and is as fast. On a CPU they attend as :mod:`workbench.attention` does, and
    keep less for the backward pass. What is saved of the model stays as it was.
    """
    compiled: list[Any] = blocks(model)
    for block in compiled:
        block.compile(dynamic=False)
    budget = 1.0 if torch.cuda.is_available() else KEPT_ON_CPU
    try:
        with attention.quick(model), torch._functorch.config.patch(activation_memory_budget=budget):
            yield
    finally:
        for block in compiled:
            block._compiled_call_impl = None


def plainly(pace: Pace) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which nothing is compiled anew, for inputs of ever other shapes."""
    if not pace.compiled:
        return contextlib.nullcontext()
    stance: Callable[..., contextlib.AbstractContextManager[Any]] = torch.compiler.set_stance
    return stance("force_eager")


def _still_compiled(run: runs.Run, compiled: bool) -> bool:
    missing = missing_compiler() if compiled else None
    if missing is None:
        return compiled
    run.happened(compile_lost={"session": run.record["happened"]["sessions"], "why": missing})
    terminal.Progress(run.reference).update(
        f"the run began compiled, but now {missing}: it goes on, not bit for bit", last=True
    )
    return False


def _give_back() -> None:
    """Return memory that is free to the system, so that a loop's own is not put on top of it.

    Timing in two precisions and compiling leave the heap of glibc, which alone is asked, in pieces
    too small for the tensors that follow.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _few_tokens(config: Training) -> torch.Tensor:
    """Return a batch small enough to time often, shape ``(rows, length + 1)``.

    Plain steps keep far more for the backward pass than compiled ones: with 512 tokens they stay
    below what the training itself will take.
    """
    length = min(config.sequence, 256)
    return torch.zeros(min(config.batch, max(1, 512 // length)), length + 1, dtype=torch.long)


def _seconds(objective: NextToken, tokens: torch.Tensor, precision: str) -> float:
    """Return the seconds of one forward and backward pass; gradients are thrown away."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    objective.to(device)
    tokens = tokens.to(device)
    began = time.perf_counter()
    with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
        loss, _ = objective(tokens)
    loss.backward()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    objective.zero_grad(set_to_none=True)
    return seconds
