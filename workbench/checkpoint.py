"""Checkpoints that are whole or absent: safetensors and JSON, renamed into place, sums last.

A checkpoint is a plain ``save_pretrained`` folder (of a model, or of a PEFT adapter) plus
``state.json`` and ``state.safetensors``: optimizer, random states, data position. Nothing in it
is pickled.
"""

import base64
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from workbench import run as runs
from workbench.errors import UserError

STATE, TENSORS = "state.json", "state.safetensors"
LOADED = (".json", ".safetensors")


def save(
    folder: Path,
    step: int,
    model: Any,
    optimizers: Sequence[torch.optim.Optimizer],
    state: dict[str, Any],
    keep: int,
) -> Path:
    """Write the checkpoint of ``step`` below ``folder``; keep the newest ``keep`` ones.

    Everything goes to a temporary folder first, is flushed to the disk, and gets its checksums
    before the rename: killed at any moment, what has the final name is whole.
    """
    final = folder / f"step-{step:08d}"
    temporary = folder / f".{final.name}.{os.getpid()}"
    with runs.told_when_full(final):
        try:
            for left in folder.glob(".step-*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            temporary.mkdir(parents=True)
            write_model(model, temporary)
            save_file(_optimizer_tensors(optimizers), temporary / TENSORS)
            runs.write_json(temporary / STATE, {"step": step, "random": _random_state(), **state})
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush(file)
            runs.write_manifest(temporary)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            _flush(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def write_model(model: Any, folder: Path) -> None:
    """Write a model, or the adapter around one, as the plain folder that its library reads.

    An adapter is told not to look whether its base's vocabulary has grown: PEFT would ask a hub.
    """
    kind = {"save_embedding_layers": False} if hasattr(model, "peft_config") else {}
    model.save_pretrained(folder, **kind)


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
    checkpoint: Path, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Any]:
    """Put a checkpoint's weights, optimizers and random states back in place; return its state.

    Raises:
        UserError: the checkpoint belongs to a model of another shape.
    """
    state: dict[str, Any] = runs.read_json(checkpoint / STATE)
    try:
        _load_weights(checkpoint, model)
        _load_optimizers(load_file(checkpoint / TENSORS), optimizers)
    except (RuntimeError, KeyError, SafetensorError) as fault:
        first = str(fault).splitlines()[0]
        raise UserError(f"{checkpoint} does not fit this model: {first}") from None
    _set_random_state(state["random"])
    return state


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def _damage(checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint in a few words, or ``None``.

    A file that came later is no fault, be it a note or one that a file browser hid there, unless
    it is of a kind that is loaded: then it could take the place of what was saved.
    """
    if not (checkpoint / runs.MANIFEST).exists():
        return f"{runs.MANIFEST} is missing"
    try:
        stated = runs.read_manifest(checkpoint)
    except UserError:
        return f"{runs.MANIFEST} is changed"
    found = runs.checksums(checkpoint)
    for name, checksum in stated.items():
        if found.get(name) != checksum:
            return f"{name} is {'changed' if name in found else 'missing'}"
    for name in sorted(found.keys() - stated.keys()):
        if name.endswith(LOADED) and not Path(name).name.startswith("."):
            return f"{name} is not in {runs.MANIFEST}"
    return None


def _load_weights(checkpoint: Path, model: Any) -> None:
    if (checkpoint / "adapter_model.safetensors").exists():
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, load_file(checkpoint / "adapter_model.safetensors"))
        return
    weights: dict[str, torch.Tensor] = {}
    for file in sorted(checkpoint.glob("model*.safetensors")):
        weights.update(load_file(file))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    if unexpected or set(missing) - tied:
        raise KeyError(f"weights missing or unknown: {sorted({*missing, *unexpected} - tied)[:3]}")
    model.tie_weights()


def _optimizer_tensors(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    return {
        f"{number}.{name}": value.detach().cpu().contiguous()
        for number, (parameter, state) in enumerate(_states(optimizers))
        for name, value in state.get(parameter, {}).items()
    }


def _load_optimizers(
    tensors: dict[str, torch.Tensor], optimizers: Sequence[torch.optim.Optimizer]
) -> None:
    states = _states(optimizers)
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        if int(number) >= len(states):
            raise KeyError(f"state of {int(number) + 1} parameters or more, {len(states)} trained")
        parameter, state = states[int(number)]
        # The step count stays where torch keeps it; moments lie beside their parameter.
        state[parameter][name] = value if name == "step" else value.to(parameter.device)


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
