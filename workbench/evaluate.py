"""Every language measured alike: bits per byte of a base and of its adapters, with intervals.

Bits of second halves are Goldfish's score (arXiv 2408.10441): what the second half of a sentence
takes, given the first, on parallel sentences. Goldfish's own figures stand beside it where the
sentences are FLORES's too, and nowhere else.

On parallel text the languages' totals can be compared too: ``bits_relative_to_english`` is how
much more a model must be told to write the same content. Grammar is measured on the minimal pairs
of the starter corpus: how often the correct sentence of a pair takes fewer bits than the one that
breaks a rule (as in BLiMP, arXiv 1912.00582). Every language has pairs of its own, so this score
compares models, never languages.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench import (
    bits,
    corpus,
    generate,
    goldfish,
    languages,
    packing,
    parallel,
    passages,
    terminal,
)
from workbench import run as runs
from workbench.errors import UserError
from workbench.recipe import AdaptRecipe, EvaluateRecipe, InspectRecipe, PretrainRecipe
from workbench.sections import Data

# A mean over fewer documents than this says little about a language; it is shown, never ranked.
ENOUGH_DOCUMENTS = 5
SEQUENCE = 256
# Goldfish's context: a sentence is read whole, where the model's own context allows it.
SENTENCE_SEQUENCE = 512


def make(run: runs.Run, recipe: EvaluateRecipe) -> None:
    """Measure the base, and each language's own adapter where there is one."""
    speaker = generate.Speaker(recipe.base, recipe.adapters)
    pack = packing.pack(run, recipe.data, speaker.tokenizer)
    progress = terminal.Progress(f"evaluate {recipe.name}")
    window = min(SEQUENCE, int(speaker.base.config.max_position_embeddings))
    tags = [tag for tag, counts in pack.facts["documents"].items() if counts[recipe.split]]
    if not tags:
        raise UserError(
            f"{run.reference}: no language has text in the split {recipe.split!r}; "
            f"raise data.{recipe.split} or add documents"
        )
    sentences = _sentences(run, recipe)
    rows = []
    phenomena: list[dict[str, Any]] = []
    for number, tag in enumerate(tags, start=1):
        row = _language(speaker, pack, tag, recipe, window)
        if recipe.sentences:
            row |= _second_halves(speaker, tag, sentences.get(tag, []), recipe)
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


def _sentences(run: runs.Run, recipe: EvaluateRecipe) -> dict[str, list[str]]:
    """Return each language's sentences, of which neither base nor adapters learned, and tell it.

    Raises:
        UserError: the sources are not parallel, or none of their sentences is left to measure on.
    """
    if not recipe.sentences:
        return {}
    faults = corpus.Faults()
    same = parallel.read(recipe.sentences, recipe.data.languages, faults)
    for data in (recipe.data, *_learned_from(recipe)):
        if _origins(data.sources) & _origins(recipe.sentences):
            same = same.where(recipe.split, data)
    if not same.ids:
        raise UserError(
            f"{run.reference}: no sentence of {', '.join(recipe.sentences)} falls into the split "
            f"{recipe.split!r}; raise data.{recipe.split}, name other sentences, or set "
            "sentences=[] to leave them out"
        )
    run.happened(
        sentences=min(len(same.ids), recipe.documents),
        sentence_sources=corpus.describe(corpus.resolve(Data(sources=recipe.sentences))),
        sentence_faults=faults.summary(),
        without_sentences=same.incomplete,
        beside_goldfish=goldfish.same_text(recipe.sentences),
    )
    return {tag: texts[: recipe.documents] for tag, texts in same.texts.items()}


def _learned_from(recipe: EvaluateRecipe) -> list[Data]:
    """Return what the runs behind base and adapters read; of other models nothing is known."""
    behind = [name for name in (recipe.base, recipe.adapters) if name in recipe.needs]
    made = [runs.find_finished(name).recipe for name in behind]
    return [one.data for one in made if isinstance(one, PretrainRecipe | AdaptRecipe)]


def _origins(sources: Sequence[str]) -> set[str]:
    """Return ``sources`` and, of those that an inspection cleaned, what it had read."""
    found = set(sources)
    for word in sources:
        if word.startswith("inspect/") and word.count("/") == 1:
            inspected = runs.find_finished(word).recipe
            assert isinstance(inspected, InspectRecipe)
            found |= _origins(inspected.data.sources)
    return found


def _second_halves(
    speaker: generate.Speaker, tag: str, sentences: list[str], recipe: EvaluateRecipe
) -> dict[str, Any]:
    """Return the mean bits of a second half before and after; ``None`` without sentences.

    Every row has the same columns, so that the first one tells a table which there are.
    """
    row: dict[str, Any] = {"sentences": len(sentences)}
    sequence = min(SENTENCE_SEQUENCE, int(speaker.base.config.max_position_embeddings))
    for name, column in ((generate.BASE, "base"), (tag, "adapter")):
        if name not in speaker.models:
            continue
        mean = low = high = None
        if sentences:
            model = speaker.with_adapter(name)
            measured = bits.of_second_halves(model, speaker.tokenizer, sentences, sequence)
            speaker.without_adapter(model)
            ones = np.ones(len(measured), dtype=np.int64)
            mean = bits.per_byte(measured, ones)
            low, high = bits.interval(measured, ones, recipe.resamples)
        row |= {
            f"{column}_second_half_bits": mean,
            f"{column}_second_half_low": low,
            f"{column}_second_half_high": high,
        }
    if goldfish.same_text(recipe.sentences):
        row |= goldfish.columns(tag)
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
