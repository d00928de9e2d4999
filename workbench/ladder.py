"""A scaling ladder: small sizes trained first, and from them what the model will reach.

Every rung reads the same mix in the same order as the model, only less of it: as many tokens for
each of its weights. When it is done it is measured on validation documents of every language. Laws
are fitted to the rungs and what they say of the model is written to the record before the model's
first step; only then is it trained, and measured on the same documents.

All sizes are trained at the recipe's one learning rate and batch. The best rate falls with width
(arXiv 2203.03466), so that a rate that suits the model may be low for the rungs.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from workbench import (
    bits,
    checkpoint,
    disk,
    loss,
    pace,
    processes,
    scaling,
    sharding,
    terminal,
    train,
)
from workbench import model as models
from workbench import run as runs
from workbench.errors import UserError
from workbench.family import SIZES
from workbench.recipe import PretrainRecipe
from workbench.sequences import Phase

RUNGS, WORK, DONE = "rungs", "work", "done.json"
Rows = list[dict[str, Any]]


def climb(
    run: runs.Run,
    recipe: PretrainRecipe,
    text: Phase,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Train and measure the rungs, and write down what they say of the model to be trained.

    The models of the rungs are left in ``rungs/``. A rung that is finished is not trained again
    when a stopped run goes on.

    Args:
        run: of the model that is to be predicted.
        recipe: has rungs.
        text: what the model reads: the shards, and each language's share, alike for all sizes.
        tokenizer: saved with each rung.

    Raises:
        UserError: there is no validation text to measure on.
    """
    if not any(text.pack.facts["documents"][tag]["validation"] for tag in _trained(text)):
        raise UserError(
            f"{run.reference}: a ladder is measured on validation text, and there is none; "
            "data.validation=0.1 holds a tenth of the documents back"
        )
    done: Rows = []
    for size in recipe.ladder.rungs:
        if not (run.path / RUNGS / size / DONE).exists():
            _rung(run, recipe, text, tokenizer, size)
        if processes.is_first():
            shutil.rmtree(run.path / WORK, ignore_errors=True)
        done.append(_read(run, size))
    if "predicted" not in run.record["happened"]:
        _predict(run, recipe, text, done)


def compare(
    run: runs.Run,
    recipe: PretrainRecipe,
    text: Phase,
    model: torch.nn.Module,
    outcome: train.Outcome,
) -> None:
    """Measure the trained model on the documents of the rungs, and hold it against the prediction.

    Writes the tables ``rungs``, ``laws`` and ``validation``, which has the bits of each document.
    """
    rungs = [_read(run, size) for size in recipe.ladder.rungs]
    every = [*rungs, _measure(run, recipe, text, model, outcome, recipe.model)]
    documents = _documents(every)
    resamples = recipe.ladder.resamples
    about = [{key: value for key, value in one.items() if key != "measured"} for one in every]
    run.result("rungs", scaling.points(about, documents, resamples))
    compute = [one["flops"] for one in rungs]
    predicted = run.record["happened"]["predicted"]["laws"]
    run.result("laws", scaling.compare(predicted, compute, outcome.flops, documents, resamples))
    run.result(
        "validation",
        [
            {"size": one["size"], "tag": tag, "document": number, "bits": of_it, "bytes": length}
            for one in every
            for tag, found in one["measured"].items()
            for number, (of_it, length) in enumerate(
                zip(found["bits"], found["bytes"], strict=True)
            )
        ],
    )
    run.happened(
        ladder={
            "sizes": [one["size"] for one in every],
            "tokens": sum(one["tokens"] for one in every),
            "flops": sum(one["flops"] for one in every),
        }
    )


def _rung(
    run: runs.Run,
    recipe: PretrainRecipe,
    text: Phase,
    tokenizer: PreTrainedTokenizerFast,
    size: str,
) -> None:
    """Train a rung as the model will be, measure it, and save it in one piece."""
    config = recipe.training_of(size, len(tokenizer))
    end = text.pack.facts["end_token"]
    model = models.build(size, len(tokenizer), config.sequence, end, config.seed)
    chosen = pace.settle(run, model, config, size)
    phases = [Phase(text.pack, text.shares, config.steps)]
    outcome = train.train(run, model, phases, config, run.path / WORK / size, chosen, size)
    facts = _measure(run, recipe, text, model, outcome, size)

    def beside(made: Path) -> None:
        tokenizer.save_pretrained(made)
        disk.write_json(made / DONE, facts)

    checkpoint.publish(model, run.path / RUNGS / size, beside)


def _predict(run: runs.Run, recipe: PretrainRecipe, text: Phase, done: Rows) -> None:
    """Write to the record, with the time, what the rungs say of the model."""
    config = recipe.train
    shape = SIZES[recipe.model]
    a_token = sum(shape.flops_per_token(text.pack.facts["vocabulary"], config.sequence).values())
    target = float(config.steps * config.tokens_a_step * a_token)
    compute = [one["flops"] for one in done]
    rows = scaling.predict(compute, target, _documents(done), recipe.ladder.resamples)
    run.result("laws", rows)
    run.happened(
        predicted={
            "model": recipe.model,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "metrics_rows": len(run.metrics()),
            "laws": rows,
        }
    )
    mean = rows[-1]
    terminal.Progress(run.reference).update(
        f"{recipe.model} is predicted to need {mean['predicted']:.3f} bits per byte "
        f"({mean['language']} languages)",
        last=True,
    )


def _measure(
    run: runs.Run,
    recipe: PretrainRecipe,
    text: Phase,
    model: torch.nn.Module,
    outcome: train.Outcome,
    size: str,
) -> dict[str, Any]:
    """Return what a size took, and its bits on validation documents, in full precision."""
    last = [row for row in run.metrics() if row["label"] == size][-1]
    asked = _to_be_asked(recipe, text, model, size)
    measured = {}
    progress = terminal.Progress(f"{run.reference} {size}")
    for tag in _trained(text):
        shard = text.pack.shard(tag, "validation")
        if not len(shard.ends):
            continue
        of_each, sizes = bits.of_documents(
            asked,
            shard,
            text.pack.facts["end_token"],
            recipe.train.sequence,
            recipe.ladder.documents,
        )
        measured[tag] = {"bits": of_each.tolist(), "bytes": sizes.tolist()}
        progress.update(f"measured on {len(sizes)} documents of {tag}")
    return {
        "size": size,
        "parameters": models.parameters(model),
        "steps": outcome.steps,
        "tokens": outcome.tokens,
        "tokens_per_parameter": outcome.tokens / models.parameters(model),
        "flops": outcome.flops,
        # At the speed of the last session, so that a stop in between does not count.
        "seconds": outcome.tokens / last["tokens_per_second"],
        "precision": outcome.precision,
        "measured": measured,
    }


def _to_be_asked(
    recipe: PretrainRecipe, text: Phase, model: torch.nn.Module, size: str
) -> torch.nn.Module:
    """Return what answers for a trained model in full precision: itself, unless it is in shards.

    Then it is whole only inside of what trained it, and there in the precision of the training. A
    second model with its weights, in shards too, answers for it.
    """
    if not sharding.is_sharded(model):
        return model
    vocabulary, end = text.pack.facts["vocabulary"], text.pack.facts["end_token"]
    second = models.build(size, vocabulary, recipe.train.sequence, end, recipe.train.seed)
    asked = loss.NextToken(second).to(next(model.parameters()).device)
    sharding.shard(asked, loss.blocks(second), "fp32", reshard=True)
    sharding.take_weights(second, model)
    return asked


def _trained(text: Phase) -> list[str]:
    """Return the languages that the training reads."""
    return [tag for tag, share in text.shares.items() if share > 0]


def _documents(sizes: Rows) -> dict[str, scaling.Documents]:
    """Return each language's documents with their bits at all ``sizes``."""
    return {
        tag: scaling.Documents(
            np.array([one["measured"][tag]["bits"] for one in sizes]),
            np.array(found["bytes"], dtype=np.int64),
        )
        for tag, found in sizes[0]["measured"].items()
    }


def _read(run: runs.Run, size: str) -> dict[str, Any]:
    facts: dict[str, Any] = disk.read_json(run.path / RUNGS / size / DONE)
    return facts
