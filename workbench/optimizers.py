"""What moves the weights: optimizers for each kind of parameter, and the rate at each step."""

import math

import torch

from workbench import loss
from workbench.recipe import Training

# By how much a parameter group's rate differs from the schedule's.
TIMES = "times"


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
