"""A model in shards over several processes (FSDP2), and its tensors whole or in rows.

Every layer is gathered just before it computes and let go right after, so that a process holds its
part of weights, gradients and moments, and one layer whole (ZeRO, arXiv 1910.02054; FSDP,
arXiv 2304.11277). Whether to shard is not the recipe's business, because it changes nothing but
memory: ``accelerate launch --use_fsdp --fsdp_version 2`` says so.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import FullyShardedDataParallelPlugin, parse_flag_from_env
from safetensors import safe_open
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor

from workbench import processes
from workbench.errors import UserError


def shard(
    model: torch.nn.Module, layers: Sequence[torch.nn.Module], precision: str, reshard: bool
) -> None:
    """Put ``model`` into shards, in place: each layer for itself, and the rest together.

    In bf16 the layers are gathered in bf16 while sums of gradients, the weights that are kept, and
    embedding and output stay in float32, so that it computes what one process computes.

    Args:
        model: on the device that it shall compute on.
        layers: those that it repeats.
        precision: ``fp32`` or ``bf16``.
        reshard: let layers go after the forward pass and gather them again for the backward pass;
            needs less memory and half as much traffic again.
    """
    half = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for layer in layers:
        fully_shard(
            layer,
            mp_policy=half if precision == "bf16" else MixedPrecisionPolicy(),
            reshard_after_forward=reshard,
        )
    fully_shard(model)


def asked(model: torch.nn.Module) -> FullyShardedDataParallelPlugin | None:
    """Return how the launcher wants ``model`` put into shards; ``None`` if it does not.

    Raises:
        UserError: it asks for FSDP 1, for weights kept on the CPU, or for an adapter in shards.
    """
    # Accelerate itself looks at this on GPUs only.
    if not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return None
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise UserError("the launcher asks for FSDP 1; give it --fsdp_version 2")
    plugin = FullyShardedDataParallelPlugin()
    if isinstance(plugin.cpu_offload, CPUOffloadPolicy):
        raise UserError("weights stay on their devices; give --fsdp_offload_params false")
    if hasattr(model, "peft_config"):
        raise UserError("adapters are not put into shards; launch without --use_fsdp")
    return plugin


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether a process holds but a part of each of the model's weights."""
    return any(isinstance(weight, DTensor) for weight in model.parameters())


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as it is over all processes; each of them must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@contextlib.contextmanager
def no_traffic(model: Any) -> Iterator[None]:
    """Have gradients of a model in shards added up where they are while the context lasts."""
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def let_go(model: torch.nn.Module) -> None:
    """Have a model in shards forget what it gathered, because its weights were put in by hand."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@torch.no_grad()
def take_weights(model: torch.nn.Module, other: torch.nn.Module) -> None:
    """Give a model in shards the weights of an ``other`` of its form, in shards over as many.

    Nothing is sent: each process has the rows that it needs.
    """
    let_go(other)
    for own, its in zip(model.parameters(), other.parameters(), strict=True):
        start, stop = _own_range(own)
        # Weights of no layer may still be whole after a forward pass.
        own_rows(own).copy_(own_rows(its) if isinstance(its, DTensor) else its[start:stop])


def own_rows(tensor: torch.Tensor) -> torch.Tensor:
    """Return what this process holds of a tensor; all of it, where it is in no shards."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(parameter: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return this process's rows of a tensor in the form of ``parameter``, on its device."""
    rows = rows.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return rows
    return DTensor.from_local(
        rows,
        parameter.device_mesh,
        parameter.placements,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


def whole_weights(model: torch.nn.Module) -> dict[str, Any]:
    """Return all weights of a model in shards, on the CPU; to the others than the first, none."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    return get_model_state_dict(
        model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )


def set_weights(model: torch.nn.Module, weights: dict[str, Any]) -> Any:
    """Give a model in shards the weights that the first process knows.

    Returns:
        Names that were missing and names that are unknown, as ``load_state_dict`` does.
    """
    from torch.distributed.checkpoint import state_dict

    options = state_dict.StateDictOptions(
        full_state_dict=True, broadcast_from_rank0=True, strict=False
    )
    return state_dict.set_model_state_dict(model, weights, options=options)


class Rows:
    """Tensors whose rows lie in several files, one file for each process that wrote them.

    A process reads the rows that it needs and no others, whatever the number of processes was.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files: list[Any] = [safe_open(file, framework="pt") for file in files]
        self.names: list[str] = sorted(set().union(*(file.keys() for file in self._files)))

    def read(self, name: str, parameter: torch.Tensor) -> torch.Tensor:
        """Return this process's part of the tensor ``name``, laid out as ``parameter``.

        A number, such as a count of steps, is the same in all files.
        """
        slices = [file.get_slice(name) for file in self._files]
        if not slices[0].get_shape():
            number: torch.Tensor = self._files[0].get_tensor(name)
            return number
        start, stop = _own_range(parameter)
        parts, before = [], 0
        for one in slices:
            length = one.get_shape()[0]
            low, high = max(start, before), min(stop, before + length)
            if low < high:
                parts.append(one[low - before : high - before])
            before += length
        return like(parameter, torch.cat(parts) if parts else slices[0][0:0])


def _own_range(parameter: torch.Tensor) -> tuple[int, int]:
    """Return the first row that this process holds of ``parameter``, and the one after the last.

    Rows are dealt out in runs of equal length, the last ones shorter or empty, as
    ``torch.chunk`` does.
    """
    rows = parameter.shape[0]
    if not isinstance(parameter, DTensor):
        return 0, rows
    each = -(-rows // processes.count())
    start = min(rows, parameter.device_mesh.get_local_rank() * each)
    return start, min(rows, start + each)
