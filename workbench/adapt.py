"""One LoRA adapter a language on a frozen base, through the same loop as pretraining.

The base stays in memory; adapters are put around it and taken off again. A language whose adapter
is finished is not trained again when a stopped run goes on.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from workbench import (
    bits,
    checkpoint,
    disk,
    languages,
    pace,
    packing,
    processes,
    tokenizer,
    tracking,
    train,
)
from workbench import model as models
from workbench import run as runs
from workbench.errors import UserError
from workbench.recipe import AdaptRecipe
from workbench.sequences import Phase

ADAPTERS, WORK, DONE = "adapters", "work", "done.json"


def make(run: runs.Run, recipe: AdaptRecipe) -> None:
    """Train an adapter for every language that has training text."""
    tracking.require(recipe.train)
    base = models.load(recipe.base)
    text_tokenizer = tokenizer.load(models.folder_of(recipe.base), models.revision_of(recipe.base))
    pack = packing.pack(run, recipe.data, text_tokenizer)
    if not pack.tags:
        raise UserError(f"{run.reference}: no language has training text")
    chosen = pace.settle(run, base, recipe.train)
    rows = []
    for number, tag in enumerate(pack.tags, start=1):
        done = run.path / ADAPTERS / tag / DONE
        if not done.exists():
            label = f"{tag} ({number}/{len(pack.tags)})"
            base = _one(run, recipe, base, pack, tag, chosen, label)
        rows.append(disk.read_json(done))
    run.result("languages", rows)
    run.happened(
        flops=sum(row["flops"] for row in rows),
        tokens=sum(row["tokens"] for row in rows),
        adapters=len(rows),
    )
    if processes.is_first():
        shutil.rmtree(run.path / WORK, ignore_errors=True)


def folder(run: runs.Run, tag: str) -> Path:
    """Return the PEFT folder of a language's adapter.

    Raises:
        UserError: the run has none for it.
    """
    path = run.path / ADAPTERS / tag
    if not (path / DONE).exists():
        raise UserError(f"{run.reference} has no adapter for {languages.get(tag).name} ({tag})")
    return path


def _one(
    run: runs.Run,
    recipe: AdaptRecipe,
    base: PreTrainedModel,
    pack: packing.Pack,
    tag: str,
    chosen: pace.Pace,
    label: str,
) -> PreTrainedModel:
    """Train one adapter, save it, and return the base as it was."""
    before = _validation(base, pack, tag, recipe)
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,  # type: ignore[arg-type]
        lora_dropout=recipe.lora.dropout,
        target_modules=recipe.lora.targets,
    )
    # PEFT draws the adapter's first weights: the seed makes them the same at every start.
    torch.manual_seed(recipe.train.seed)
    adapted: Any = get_peft_model(base, lora)
    # Whoever loads the adapter finds the base by what the recipe calls it, not by a local path.
    adapted.peft_config["default"].base_model_name_or_path = recipe.base
    work = run.path / WORK / tag
    phases = [Phase(pack, {tag: 1.0}, recipe.train.steps)]
    outcome = train.train(run, adapted, phases, recipe.train, work, chosen, label)
    after = _validation(adapted, pack, tag, recipe)
    facts = {
        "tag": tag,
        "language": languages.get(tag).name,
        "documents": pack.facts["documents"][tag]["train"],
        "trained_parameters": sum(
            weight.numel() for weight in adapted.parameters() if weight.requires_grad
        ),
        "steps": outcome.steps,
        "tokens": outcome.tokens,
        "flops": outcome.flops,
        "epochs": outcome.epochs[tag],
        "validation_bits_per_byte_before": before,
        "validation_bits_per_byte_after": after,
    }

    checkpoint.publish(
        adapted,
        run.path / ADAPTERS / tag,
        lambda made: disk.write_json(made / DONE, facts),
    )
    if processes.is_first():
        shutil.rmtree(work, ignore_errors=True)
    plain: PreTrainedModel = adapted.unload()
    plain.requires_grad_(True)
    return plain


def _validation(model: Any, pack: packing.Pack, tag: str, recipe: AdaptRecipe) -> float | None:
    """Return bits per byte on validation text, in full precision; ``None`` without such text."""
    shard = pack.shard(tag, "validation")
    if not len(shard.ends):
        return None
    return bits.per_byte(
        *bits.of_documents(
            model,
            shard,
            pack.facts["end_token"],
            recipe.train.sequence,
            recipe.train.validation_documents,
        )
    )
