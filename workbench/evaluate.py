"""Every language measured alike: bits per byte of a base and of its adapters, with intervals.

On parallel text the languages' totals can be compared too: ``bits_relative_to_english`` is how
much more a model must be told to write the same content. Grammar is measured on the minimal pairs
of the starter corpus: how often the correct sentence of a pair takes fewer bits than the one that
breaks a rule (as in BLiMP, arXiv 1912.00582). Every language has pairs of its own, so this score
compares models, never languages.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench import bits, generate, languages, packing, passages
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
    phenomena: list[dict[str, Any]] = []
    for number, tag in enumerate(tags, start=1):
        row = _language(speaker, pack, tag, recipe, window)
        if recipe.pairs:
            found = _pairs(speaker, pack, tag, recipe, window)
            row |= found[0]
            phenomena += found[1]
        rows.append(row)
        progress.update(f"{number} of {len(tags)} languages")
    progress.done(f"{len(tags)} languages")
    _relate_to_english(rows, pack, recipe)
    run.result("languages", rows)
    if phenomena:
        run.result("phenomena", phenomena)
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


def _pairs(
    speaker: generate.Speaker, pack: packing.Pack, tag: str, recipe: EvaluateRecipe, window: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the share of minimal pairs that each model gets right, and the same by phenomenon."""
    pairs = passages.pairs(tag)
    texts = [text for pair in pairs for text in (pair.good, pair.bad)]
    shard = packing.shard_of(texts, speaker.tokenizer)
    row: dict[str, Any] = {"pairs": len(pairs)}
    by_phenomenon: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, column in ((generate.BASE, "base"), (tag, "adapter")):
        if name not in speaker.models:
            continue
        model = speaker.with_adapter(name)
        measured, _ = bits.of_documents(model, shard, pack.facts["end_token"], window)
        speaker.without_adapter(model)
        right = measured[::2] < measured[1::2]
        low, high = _interval(right, recipe.resamples)
        row |= {
            f"{column}_pairs_right": float(right.mean()),
            f"{column}_pairs_low": low,
            f"{column}_pairs_high": high,
        }
        for phenomenon in {pair.phenomenon for pair in pairs}:
            own = [pair.phenomenon == phenomenon for pair in pairs]
            by_phenomenon[phenomenon] |= {
                "pairs": int(np.sum(own)),
                f"{column}_pairs_right": float(right[own].mean()),
            }
    return row, [
        {"tag": tag, "phenomenon": name, **found} for name, found in sorted(by_phenomenon.items())
    ]


def _interval(right: npt.NDArray[np.bool_], resamples: int) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a share, resampling pairs."""
    ones = np.ones(len(right), dtype=np.int64)
    return bits.interval(right.astype(np.float64), ones, resamples)


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
