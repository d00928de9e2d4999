"""Pretraining: from packed text to a plain ``transformers`` folder."""

import shutil
from dataclasses import asdict
from typing import Any

from transformers import PreTrainedTokenizerFast

from workbench import (
    checkpoint,
    fairness,
    languages,
    mixing,
    pace,
    packing,
    parallel,
    processes,
    tokenizer,
    train,
)
from workbench import model as models
from workbench import run as runs
from workbench.recipe import Mix, PretrainRecipe, Training

CHECKPOINTS = "checkpoints"


def make(run: runs.Run, recipe: PretrainRecipe) -> None:
    """Train the model of ``recipe``; go on where an earlier session of the run was stopped."""
    text_tokenizer = tokenizer.load(tokenizer.folder_of(recipe.tokenizer))
    if recipe.mix.datamix and "datamix" not in run.record["happened"]:
        # Before the long work, so that a fault in the file is told at once.
        run.happened(datamix=mixing.load_weights(recipe.mix.datamix))
    pack = packing.pack(run, recipe.data, text_tokenizer)
    _gate(run, recipe, pack, text_tokenizer)
    shares = _shares(run, pack, recipe.mix, recipe.train)
    model = models.build(
        recipe.model,
        len(text_tokenizer),
        recipe.train.sequence,
        pack.facts["end_token"],
        recipe.train.seed,
    )
    chosen = processes.from_first(lambda: pace.settle(run, model, recipe.train))
    run.happened(
        processes=processes.count(),
        parameters=models.parameters(model),
        flops_per_token=models.flops_per_token(model, recipe.train.sequence),
    )
    outcome = train.train(run, model, pack, shares, recipe.train, run.path / CHECKPOINTS, chosen)
    weights = checkpoint.whole_weights(model)
    processes.from_first(lambda: _write(run, model, text_tokenizer, weights))
    run.result(
        "languages",
        [
            {
                "tag": tag,
                "documents": pack.facts["documents"][tag]["train"],
                "bytes": pack.facts["bytes"][tag]["train"],
                "tokens": pack.facts["tokens"][tag]["train"],
                "epochs": outcome.epochs.get(tag, 0.0),
                "validation_bits_per_byte": outcome.bits_per_byte.get(tag),
            }
            for tag in pack.tags
        ],
    )
    run.happened(**asdict(outcome))


def _write(
    run: runs.Run, model: Any, text_tokenizer: PreTrainedTokenizerFast, weights: Any
) -> None:
    """Write the trained model and its tokenizer beside each other, in one piece."""
    with runs.told_when_full(run.path):
        temporary = run.path / ".model"
        shutil.rmtree(temporary, ignore_errors=True)
        checkpoint.write_model(model, temporary, weights)
        text_tokenizer.save_pretrained(temporary)
        shutil.rmtree(run.path / "model", ignore_errors=True)
        temporary.rename(run.path / "model")


def _gate(
    run: runs.Run,
    recipe: PretrainRecipe,
    pack: packing.Pack,
    text_tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Hold the vocabulary against every language of the recipe before an hour is spent on it.

    Token lengths are those of the recipe's own text, the cost of the same content is that of the
    starter corpus. Fewer than three languages are held against all of the registry.

    Raises:
        UserError: it falls short for a language that the recipe does not accept by name.
    """
    cutter = tokenizer.FastCutter(text_tokenizer.backend_tokenizer)
    chosen = pack.tags if len(pack.tags) >= fairness.PEERS else languages.tags()
    texts = {tag: list(parallel.starter(tag).values()) for tag in chosen}
    costs = tokenizer.sentence_costs(cutter, texts)
    judgements = fairness.judge(
        pack.characters_per_token(),
        {tag: float(counts.sum()) for tag, counts in costs.items()},
        {languages.get(word).tag: reason for word, reason in recipe.gate.accept.items()},
    )
    own = [one for one in judgements if one.tag in pack.tags]
    run.happened(gate=[one.row() for one in own])
    for one in own:
        if one.verdict != "pass":
            accepted = f"; accepted: {one.accepted}" if one.accepted else ""
            runs.Progress(run.reference).update(
                f"gate, {one.verdict} for {one.language}: {one.reason}{accepted}", last=True
            )
    fairness.pass_gate(own, run.reference)


def _shares(run: runs.Run, pack: packing.Pack, mix: Mix, config: Training) -> dict[str, float]:
    """Return each language's share, and tell once which text will be read too often.

    A run that goes on keeps the shares of its first session, even if ``mix.datamix`` has changed.
    """
    planned: dict[str, float] | None = run.record["happened"].get("shares")
    if planned is not None:
        return planned
    budget = config.steps * config.tokens_a_step
    shares = packing.weights(pack, mix, budget)
    epochs = mixing.repetitions(pack.sizes("tokens"), shares, budget)
    run.happened(
        shares=shares,
        epochs_planned=epochs,
        repeated=[tag for tag, times in epochs.items() if mixing.repeated(times)],
    )
    for line in mixing.warnings(epochs, mix):
        runs.Progress(run.reference).update(line, last=True)
    return shares
