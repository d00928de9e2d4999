"""Pretraining: from packed text to a plain ``transformers`` folder."""

import shutil
from dataclasses import asdict

from workbench import checkpoint, packing, tokenizer, train
from workbench import model as models
from workbench import run as runs
from workbench.recipe import PretrainRecipe

CHECKPOINTS = "checkpoints"


def make(run: runs.Run, recipe: PretrainRecipe) -> None:
    """Train the model of ``recipe``; go on where an earlier session of the run was stopped."""
    text_tokenizer = tokenizer.load(tokenizer.folder_of(recipe.tokenizer))
    pack = packing.pack(run, recipe.data, text_tokenizer)
    shares = packing.weights(pack, recipe.mix)
    model = models.build(
        recipe.model,
        len(text_tokenizer),
        recipe.train.sequence,
        pack.facts["end_token"],
        recipe.train.seed,
    )
    precision = run.record["happened"].get("precision")
    if precision is None:
        precision, timings = train.choose_precision(model, recipe.train)
        run.happened(precision=precision, precision_seconds=timings)
    run.happened(
        parameters=models.parameters(model),
        flops_per_token=models.flops_per_token(model, recipe.train.sequence),
        shares=shares,
    )
    outcome = train.train(run, model, pack, shares, recipe.train, run.path / CHECKPOINTS, precision)
    with runs.told_when_full(run.path):
        temporary = run.path / ".model"
        shutil.rmtree(temporary, ignore_errors=True)
        checkpoint.write_model(model, temporary)
        text_tokenizer.save_pretrained(temporary)
        shutil.rmtree(run.path / "model", ignore_errors=True)
        temporary.rename(run.path / "model")
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
