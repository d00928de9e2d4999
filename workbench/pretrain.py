"""Pretraining: from packed text to a plain ``transformers`` folder, by way of a ladder or not."""

import math
from collections.abc import Sequence
from dataclasses import asdict

from transformers import PreTrainedTokenizerFast

from workbench import (
    checkpoint,
    cutters,
    fairness,
    ladder,
    languages,
    mixing,
    pace,
    packing,
    parallel,
    processes,
    sequences,
    terminal,
    tokenizer,
    tracking,
    train,
)
from workbench import model as models
from workbench import run as runs
from workbench.recipe import PretrainRecipe

CHECKPOINTS = "checkpoints"


def make(run: runs.Run, recipe: PretrainRecipe) -> None:
    """Train the model of ``recipe``; go on where an earlier session of the run was stopped."""
    tracking.require(recipe.train)
    text_tokenizer = tokenizer.load(cutters.find(recipe.tokenizer))
    _read_datamixes(run, recipe)
    wanted = recipe.phases()
    packs = packing.packs(run, [phase.data or recipe.data for phase in wanted], text_tokenizer)
    pack = packs[0]
    processes.from_first(lambda: _gate(run, recipe, packs, text_tokenizer))
    phases = _phases(run, recipe, packs)
    if recipe.ladder.rungs:
        ladder.climb(run, recipe, phases[0], text_tokenizer)
    model = models.build(
        recipe.model,
        len(text_tokenizer),
        recipe.train.sequence,
        pack.facts["end_token"],
        recipe.train.seed,
    )
    chosen = pace.settle(run, model, recipe.train)
    run.happened(
        processes=processes.count(),
        parameters=models.parameters(model),
        flops_per_token=models.flops_per_token(model, recipe.train.sequence),
    )
    label = recipe.model if recipe.ladder.rungs else ""
    outcome = train.train(run, model, phases, recipe.train, run.path / CHECKPOINTS, chosen, label)
    checkpoint.publish(model, run.path / "model", text_tokenizer.save_pretrained)
    run.result(
        "languages",
        [
            {
                "tag": tag,
                "documents": run.record["happened"]["documents"][tag]["train"],
                "bytes": run.record["happened"]["text_bytes"][tag]["train"],
                "tokens": run.record["happened"]["tokens_packed"][tag]["train"],
                "epochs": outcome.epochs.get(tag, 0.0),
                "validation_bits_per_byte": outcome.bits_per_byte.get(tag),
            }
            for tag in _tags(packs)
        ],
    )
    if recipe.ladder.rungs:
        ladder.compare(run, recipe, phases[0], model, outcome)
    run.happened(**asdict(outcome))


def _tags(packs: Sequence[packing.Pack]) -> list[str]:
    """Return the languages with training text in any pack, in the registry's order."""
    return [tag for tag in languages.tags() if any(tag in pack.tags for pack in packs)]


def _read_datamixes(run: runs.Run, recipe: PretrainRecipe) -> None:
    """Put files of weights into the record: a mapping, or a list of one a phase or ``None``.

    Before the long work, so that a fault in a file is told at once.
    """
    files = [phase.mix.datamix if phase.mix else "" for phase in recipe.phases()]
    if any(files) and "datamix" not in run.record["happened"]:
        weights = [mixing.load_weights(file) if file else None for file in files]
        run.happened(datamix=weights if recipe.curriculum else weights[0])


def _gate(
    run: runs.Run,
    recipe: PretrainRecipe,
    packs: Sequence[packing.Pack],
    text_tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Hold the vocabulary against every language of the recipe before an hour is spent on it.

    Token lengths are those of the recipe's own text, in the first phase that has some; the cost of
    the same content is that of the starter corpus. Fewer than three languages are held against all
    of the registry. A run that passed, as its record says, is not held again when it goes on.

    Raises:
        UserError: it falls short for a language that the recipe does not accept by name.
    """
    before = run.record["happened"].get("gate", [])
    if before and all(one["verdict"] != "fail" or one["accepted"] for one in before):
        return
    cutter = cutters.FastCutter(text_tokenizer.backend_tokenizer)
    own_tags = _tags(packs)
    chosen = own_tags if len(own_tags) >= fairness.PEERS else languages.tags()
    lengths: dict[str, float] = {}
    for pack in reversed(packs):
        lengths |= pack.characters_per_token()
    texts = {tag: list(parallel.starter(tag).values()) for tag in chosen}
    costs = cutters.sentence_costs(cutter, texts)
    judgements = fairness.judge(
        {tag: lengths[tag] for tag in own_tags},
        {tag: float(counts.sum()) for tag, counts in costs.items()},
        {languages.get(word).tag: reason for word, reason in recipe.gate.accept.items()},
    )
    own = [one for one in judgements if one.tag in own_tags]
    run.happened(gate=[one.row() for one in own])
    for one in own:
        if one.verdict != "pass":
            accepted = f"; accepted: {one.accepted}" if one.accepted else ""
            terminal.Progress(run.reference).update(
                f"gate, {one.verdict} for {one.language}: {one.reason}{accepted}", last=True
            )
    fairness.pass_gate(own, run.reference)


def _phases(
    run: runs.Run, recipe: PretrainRecipe, packs: Sequence[packing.Pack]
) -> list[sequences.Phase]:
    """Return the phases with their shares, and tell once which text will be read too often.

    A run that goes on keeps the shares of its first session, even if a ``datamix`` is another now.
    The record's ``shares`` and ``epochs_planned`` are those of the
    whole training; where there is a curriculum, ``phases`` has those of each phase. ``layout``
    says how much text is lost, and how many positions are padded, in each phase and language.
    """
    config, wanted = recipe.train, recipe.phases()
    per_step = config.batch * config.accumulation
    drawn = [steps * per_step for steps in recipe.steps_by_phase()]
    happened = run.record["happened"]
    planned = "shares" in happened
    if planned:
        by_phase = [one["shares"] for one in happened.get("phases", [happened])]
    else:
        by_phase = [
            packing.weights(pack, phase.mix or recipe.mix, count * config.sequence)
            for pack, phase, count in zip(packs, wanted, drawn, strict=True)
        ]
    phases = [
        sequences.Phase(*words)
        for words in zip(packs, by_phase, recipe.steps_by_phase(), strict=True)
    ]
    if planned:
        return phases
    feed = sequences.Feed(phases, config.sequence, config.seed, config.packing)
    by_phase_epochs = [
        {tag: epochs.get(tag, 0.0) for tag in pack.tags}
        for pack, epochs in zip(packs, feed.planned(drawn), strict=True)
    ]
    epochs = {tag: sum(one.get(tag, 0.0) for one in by_phase_epochs) for tag in _tags(packs)}
    shares = {
        tag: math.fsum(
            phase.shares.get(tag, 0.0) * count / sum(drawn)
            for phase, count in zip(phases, drawn, strict=True)
        )
        for tag in epochs
    }
    facts = feed.facts()
    run.happened(
        shares=shares,
        epochs_planned=epochs,
        repeated=[tag for tag, times in epochs.items() if mixing.repeated(times)],
        layout=facts,
    )
    if recipe.curriculum:
        run.happened(
            phases=[
                {
                    "begins": fact["begins"],
                    "steps": phase.steps,
                    "pack": fact["pack"],
                    "shares": phase.shares,
                    "epochs_planned": planned_epochs,
                }
                for phase, fact, planned_epochs in zip(
                    phases, facts["phases"], by_phase_epochs, strict=True
                )
            ]
        )
    progress = terminal.Progress(run.reference)
    mixes = [phase.mix or recipe.mix for phase in wanted]
    for line in mixing.repeated_text(epochs, any(mix.strategy == "unimax" for mix in mixes)):
        progress.update(line, last=True)
    for number, (mix, one) in enumerate(zip(mixes, by_phase_epochs, strict=True)):
        where = f"curriculum[{number}]: " if recipe.curriculum else ""
        for line in mixing.beyond_limit(one, mix):
            progress.update(f"{where}{line}", last=True)
    return phases
