"""What moves the weights: optimizers for each kind of parameter, and the rate at each step."""

import math
from collections import defaultdict
from typing import Any

import torch

from workbench import loss
from workbench.family import SIZES
from workbench.sections import Training

# By how much a parameter group's rate differs from the schedule's.
TIMES = "times"
# The width whose rates are the recipe's own where rates are transferred.
BASE = SIZES["nano"].width
# With which power of ``BASE / width`` a rate goes where rates are transferred; 0 where none stands.
POWERS = {
    "adamw": {"hidden": 1.0, "to rank": 1.0, "output": 0.5},
    "muon": {"hidden": 0.5, "to rank": 1.0},
}

# A role, which decides on rate and decay, and the parameter that has it.
_Part = tuple[str, torch.nn.Parameter]


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


def of(model: torch.nn.Module, config: Training) -> list[torch.optim.Optimizer]:
    """Return fused AdamW (arXiv 1711.05101) over what is to be trained, and Muon where asked.

    Matrices decay; norms and biases, which have one dimension, do not. Muon (Keller Jordan, 2024)
    takes the matrices of the layers, never embedding and output, and scales its updates to the
    size of AdamW's (arXiv 2502.16982, section 2.2).

    With ``config.rate_transfer`` the rate of each group is that of the recipe times
    :func:`transferred`. What a step takes off a weight, rate times decay, stays as it is without:
    over how many steps a weight is an average should not depend on the width (arXiv 2405.13698,
    2510.19093).
    """
    within = {id(weight) for block in loss.blocks(model) for weight in block.parameters()}
    for_muon: list[_Part] = []
    for_adamw: list[_Part] = []
    for role, weight in _trained(model):
        by_muon = config.optimizer == "muon" and weight.dim() == 2 and id(weight) in within
        (for_muon if by_muon else for_adamw).append((role, weight))
    width = int(model.config.hidden_size)  # type: ignore[union-attr, arg-type]
    optimizers: list[torch.optim.Optimizer] = []
    if for_muon:
        optimizers.append(
            torch.optim.Muon(
                _groups(for_muon, "muon", width, config),
                lr=config.learning_rate,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    if for_adamw:
        optimizers.append(
            torch.optim.AdamW(
                _groups(for_adamw, "adamw", width, config),
                lr=config.learning_rate,
                betas=(config.beta1, config.beta2),
                fused=True,
            )
        )
    return optimizers


def transferred(optimizer: str, role: str, width: int) -> float:
    """Return by what a rate found at :data:`BASE` is multiplied at another width.

    A step should move what a layer gives out as much at every width. The entries of AdamW's steps
    all have the size of the rate and are aligned with the layer's input, so the rate goes with
    1 / width (arXiv 2203.03466). Those of Muon, at the size of AdamW's, have a spectral norm of
    0.2 times the root of the longer side, where sqrt(outputs / inputs) is wanted (arXiv
    2310.17813): 1 / sqrt(width). Embedding, norms and biases have no sum over the width and keep
    their rate, as do matrices that lead out of an adapter's rank (arXiv 2402.12354).

    A tied matrix is embedding and output at once and would need 0 and 1; it takes the power between
    them, which is also what large vocabularies ask for (arXiv 2506.15025). Depth changes nothing
    here: the best rate of sixteen layers was that of four (``benchmarks/rate_transfer.py``).

    Args:
        optimizer: ``adamw`` or ``muon``, which moves the parameter.
        role: ``hidden``, ``output``, ``embedding`` or ``vector``; of an adapter's two matrices
            ``to rank`` and ``from rank``.
        width: of the model.
    """
    return float((BASE / width) ** POWERS[optimizer].get(role, 0.0))


def _groups(
    parts: list[_Part], optimizer: str, width: int, config: Training
) -> list[dict[str, Any]]:
    """Return parameter groups, those with equal settings as one; vectors stand last."""
    joined: dict[tuple[float, float], list[torch.nn.Parameter]] = defaultdict(list)
    for role, weight in sorted(parts, key=lambda part: part[0] == "vector"):
        times = transferred(optimizer, role, width) if config.rate_transfer else 1.0
        decay = 0.0 if role == "vector" else config.weight_decay / times
        joined[times, decay].append(weight)
    more = config.muon_rate if optimizer == "muon" else 1.0
    return [
        {"params": weights, "weight_decay": decay, TIMES: times * more}
        for (times, decay), weights in joined.items()
    ]


def _trained(model: torch.nn.Module) -> list[_Part]:
    """Return what is to be trained, each parameter once, with its role."""
    inner: Any = model
    embedding, head = inner.get_input_embeddings(), inner.get_output_embeddings()
    return [
        (_role(name, weight, embedding, head), weight)
        for name, weight in model.named_parameters()
        if weight.requires_grad
    ]


def _role(name: str, weight: torch.nn.Parameter, embedding: Any, head: Any) -> str:
    if weight.dim() < 2:
        return "vector"
    if weight is getattr(head, "weight", None):
        return "output"
    if weight is getattr(embedding, "weight", None):
        return "embedding"
    # PEFT's names for a low-rank adapter's two matrices.
    if ".lora_A." in name:
        return "to rank"
    return "from rank" if ".lora_B." in name else "hidden"
