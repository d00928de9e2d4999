"""Checkpoints that are whole or absent: safetensors and JSON, renamed into place, sums last.

A checkpoint is a plain ``save_pretrained`` folder (of a model, or of a PEFT adapter) plus
``state.json`` and ``state.safetensors``: optimizer, random states, data position. Where a model
lies in shards over several processes, each writes its rows of the optimizer's tensors into a file
of its own, and any other number of processes reads them back. Nothing in it is pickled.
"""

import base64
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from workbench import disk, processes, sharding
from workbench.averages import Average
from workbench.errors import UserError

STATE, TENSORS = "state.json", "state*.safetensors"
# What stands before the names of averaged weights among the tensors.
AVERAGE = "average."
LOADED = (".json", ".safetensors")


def save(
    folder: Path,
    step: int,
    model: Any,
    optimizers: Sequence[torch.optim.Optimizer],
    state: dict[str, Any],
    keep: int,
    average: Average | None = None,
) -> Path:
    """Write the checkpoint of ``step`` below ``folder``; keep the newest ``keep`` ones.

    Everything goes to a temporary folder first, is flushed to the disk, and gets its checksums
    before the rename: killed at any moment, what has the final name is whole. Of several processes
    each calls this; one whose model is in shards writes what it holds.
    """
    final = folder / f"step-{step:08d}"

    def clear() -> int:
        for left in folder.glob(".step-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        return os.getpid()

    temporary = folder / f".{final.name}.{processes.from_first(clear)}"
    weights = _whole_weights(model)
    states = processes.gathered(_random_state())

    def write_own_part() -> None:
        with disk.told_when_full(final):
            temporary.mkdir(parents=True, exist_ok=True)
            if processes.is_first():
                write_model(model, temporary, weights)
                disk.write_json(temporary / STATE, {"step": step, "random": states, **state})
            if processes.is_first() or weights is not None:
                tensors = {
                    name: sharding.own_rows(value).detach().cpu().contiguous()
                    for name, value in _tensors(optimizers, average).items()
                }
                save_file(tensors, temporary / _tensors_file(weights is not None))

    def make_whole() -> None:
        with disk.told_when_full(final):
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush(file)
            disk.write_manifest(temporary)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            _flush(folder)
            for old in _all(folder)[:-keep]:
                shutil.rmtree(old)

    try:
        processes.agree(write_own_part)
        processes.from_first(make_whole)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return final


def publish(model: Any, folder: Path, beside: Callable[[Path], Any]) -> None:
    """Write a trained model and what stands ``beside`` it to ``folder``, in one piece.

    Every process calls this; the first one writes.

    Args:
        model: from :mod:`workbench.model`, or an adapter around one.
        folder: takes the place of an earlier one.
        beside: writes the rest into the folder that it is given.
    """
    weights = _whole_weights(model)

    def write() -> None:
        with disk.told_when_full(folder):
            temporary = folder.with_name(f".{folder.name}")
            shutil.rmtree(temporary, ignore_errors=True)
            write_model(model, temporary, weights)
            beside(temporary)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)

    processes.from_first(write)


def latest(folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest whole checkpoint below ``folder``, and a line for each damaged one.

    A damaged checkpoint is named and passed over, never loaded in part.
    """
    problems: list[str] = []
    for candidate in reversed(_all(folder)):
        fault = _damage(candidate)
        if fault is None:
            return candidate, problems
        problems.append(f"{candidate.name} is damaged ({fault}), passed over")
    return None, problems


def restore(
    checkpoint: Path,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    average: Average | None = None,
) -> dict[str, Any]:
    """Put weights, optimizers, average and random states back in place; return the rest.

    Raises:
        UserError: the checkpoint belongs to a model of another shape.
    """
    state: dict[str, Any] = disk.read_json(checkpoint / STATE)
    try:
        _load_weights(checkpoint, model)
        rows = sharding.Rows(sorted(checkpoint.glob(TENSORS)))
        _load_optimizers(rows, optimizers)
        if average is not None:
            average.load(
                {name: rows.read(AVERAGE + name, like) for name, like in average.tensors().items()}
            )
    except (RuntimeError, KeyError, SafetensorError) as fault:
        first = str(fault).splitlines()[0]
        raise UserError(f"{checkpoint} does not fit this model: {first}") from None
    states = state["random"]
    # Where there are more processes than before, the new ones go on from numbers of their own.
    if processes.rank() < len(states):
        _set_random_state(states[processes.rank()])
    return state


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def _damage(checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint in a few words, or ``None``.

    A file that came later is no fault, be it a note or one that a file browser hid there, unless
    it is of a kind that is loaded: then it could take the place of what was saved.
    """
    if not (checkpoint / disk.MANIFEST).exists():
        return f"{disk.MANIFEST} is missing"
    try:
        stated = disk.read_manifest(checkpoint)
    except UserError:
        return f"{disk.MANIFEST} is changed"
    found = disk.checksums(checkpoint)
    for name, checksum in stated.items():
        if found.get(name) != checksum:
            return f"{name} is {'changed' if name in found else 'missing'}"
    for name in sorted(found.keys() - stated.keys()):
        if name.endswith(LOADED) and not Path(name).name.startswith("."):
            return f"{name} is not in {disk.MANIFEST}"
    return None


def _whole_weights(model: Any) -> dict[str, Any] | None:
    """Return what :func:`write_model` must be given of a model in shards; every process must ask.

    Returns:
        All weights on the CPU, in other processes than the first none; ``None`` of a model that is
        whole anyway.
    """
    if not sharding.is_sharded(model):
        return None
    weights = sharding.whole_weights(model)
    return {name: value for name, value in weights.items() if name not in _tied(model)}


def write_model(model: Any, folder: Path, weights: dict[str, Any] | None = None) -> None:
    """Write a model, or the adapter around one, as the plain folder that its library reads.

    An adapter is told not to look whether its base's vocabulary has grown: PEFT would ask a hub.

    Args:
        model: from :mod:`workbench.model`.
        folder: to write to.
        weights: of a model in shards, all of them; otherwise the model's own are written.
    """
    kind: dict[str, Any] = {"save_embedding_layers": False} if hasattr(model, "peft_config") else {}
    if weights is not None:
        kind["state_dict"] = weights
    model.save_pretrained(folder, **kind)


def _load_weights(checkpoint: Path, model: Any) -> None:
    if (checkpoint / "adapter_model.safetensors").exists():
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, load_file(checkpoint / "adapter_model.safetensors"))
        return
    tied = _tied(model)
    sharded = sharding.is_sharded(model)
    weights: dict[str, torch.Tensor] = {}
    # The first process deals the weights out to the others.
    if processes.is_first() or not sharded:
        for file in sorted(checkpoint.glob("model*.safetensors")):
            weights.update(load_file(file))
    if sharded:
        missing, unexpected = sharding.set_weights(model, weights)
    else:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or set(missing) - tied:
        raise KeyError(f"weights missing or unknown: {sorted({*missing, *unexpected} - tied)[:3]}")
    model.tie_weights()


def _tied(model: Any) -> set[str]:
    """Return the names under which weights are known a second time."""
    return set(model._tied_weights_keys or ()) if model.config.tie_word_embeddings else set()


def _tensors_file(sharded: bool) -> str:
    part = f"-{processes.rank() + 1:05d}-of-{processes.count():05d}" if sharded else ""
    return TENSORS.replace("*", part)


def _tensors(
    optimizers: Sequence[torch.optim.Optimizer], average: Average | None
) -> dict[str, torch.Tensor]:
    """Return all that is kept beside the weights, by name."""
    moments = {
        f"{number}.{name}": value
        for number, (parameter, state) in enumerate(_states(optimizers))
        for name, value in state.get(parameter, {}).items()
    }
    averaged = {} if average is None else average.tensors()
    return moments | {AVERAGE + name: value for name, value in averaged.items()}


def _load_optimizers(rows: sharding.Rows, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    states = _states(optimizers)
    for key in rows.names:
        if key.startswith(AVERAGE):
            continue
        number, name = key.split(".", 1)
        if int(number) >= len(states):
            raise KeyError(f"state of {int(number) + 1} parameters or more, {len(states)} trained")
        parameter, state = states[int(number)]
        # The step count stays where torch keeps it; moments lie beside their parameter.
        state[parameter][name] = rows.read(key, parameter)


def _states(optimizers: Sequence[torch.optim.Optimizer]) -> list[tuple[torch.Tensor, Any]]:
    """Return every parameter with the states in which its own is found; the order is its number."""
    return [
        (parameter, optimizer.state)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


def _random_state() -> dict[str, Any]:
    legacy: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, gauss = legacy
    version, internal, following = random.getstate()
    state = {
        "torch": _text(torch.get_rng_state()),
        "python": [version, list(internal), following],
        "numpy": [name, keys.tolist(), position, has_gauss, gauss],
    }
    if torch.cuda.is_available():
        state["cuda"] = [_text(one) for one in torch.cuda.get_rng_state_all()]
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(_tensor(state["torch"]))
    version, internal, following = state["python"]
    random.setstate((version, tuple(internal), following))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([_tensor(one) for one in state["cuda"]])


def _text(state: torch.Tensor) -> str:
    return base64.b64encode(state.cpu().numpy().tobytes()).decode("ascii")


def _tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
