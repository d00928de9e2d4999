"""Every language measured alike: bits per byte of a base and of its adapters, with intervals.

On parallel text the languages' totals can be compared too: ``bits_relative_to_english`` is how
much more a model must be told to write the same content.
"""

from typing import Any

from workbench import bits, generate, languages, packing
from workbench import run as runs
from workbench.errors import UserError
from workbench.recipe import EvaluateRecipe

# A mean over fewer documents than this says little about a language; it is shown, never ranked.
ENOUGH_DOCUMENTS = 5
SEQUENCE = 256


def make(run: runs.Run, recipe: EvaluateRecipe) -> None:
    """Measure the base, and each language's own adapter where there is one."""
    speaker = generate.Speaker(recipe.base, recipe.adapters)
    pack = packing.pack(run, recipe.data, speaker.tokenizer)
    progress = runs.Progress(f"evaluate {recipe.name}")
    window = min(SEQUENCE, int(speaker.base.config.max_position_embeddings))
    tags = [tag for tag, counts in pack.facts["documents"].items() if counts[recipe.split]]
    if not tags:
        raise UserError(
            f"{run.reference}: no language has text in the split {recipe.split!r}; "
            f"raise data.{recipe.split} or add documents"
        )
    rows = []
    for number, tag in enumerate(tags, start=1):
        rows.append(_language(speaker, pack, tag, recipe, window))
        progress.update(f"{number} of {len(tags)} languages")
    progress.done(f"{len(tags)} languages")
    _relate_to_english(rows, pack, recipe)
    run.result("languages", rows)
    run.happened(window=window, languages=len(rows))


def _language(
    speaker: generate.Speaker, pack: packing.Pack, tag: str, recipe: EvaluateRecipe, window: int
) -> dict[str, Any]:
    """Return one row: bits per byte before and after, each with its interval."""
    shard = pack.shard(tag, recipe.split)
    row: dict[str, Any] = {"tag": tag, "language": languages.get(tag).name}
    for name, column in ((generate.BASE, "base"), (tag, "adapter")):
        if name not in speaker.models:
            continue
        model = speaker.with_adapter(name)
        measured, sizes = bits.of_documents(
            model, shard, pack.facts["end_token"], window, recipe.documents
        )
        speaker.without_adapter(model)
        low, high = bits.interval(measured, sizes, recipe.resamples)
        tokens = int(shard.ends[len(sizes) - 1]) - len(sizes)
        row |= {
            "documents": len(sizes),
            "enough_documents": len(sizes) >= ENOUGH_DOCUMENTS,
            "bytes": int(sizes.sum()),
            "bytes_per_token": float(sizes.sum() / tokens),
            f"{column}_bits": float(measured.sum()),
            f"{column}_bits_per_byte": bits.per_byte(measured, sizes),
            f"{column}_low": low,
            f"{column}_high": high,
        }
    return row


def _relate_to_english(
    rows: list[dict[str, Any]], pack: packing.Pack, recipe: EvaluateRecipe
) -> None:
    """Add the price of the same content, where the sources are parallel: the starter corpus."""
    english = next((row for row in rows if row["tag"] == "eng_Latn"), None)
    if recipe.data.sources != ["starter"] or english is None:
        return
    for row in rows:
        if row["documents"] == english["documents"]:
            row["bits_relative_to_english"] = row["base_bits"] / english["base_bits"]
