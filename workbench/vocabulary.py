"""Tokenizer runs: learn a vocabulary, and measure what it costs each language beside others."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tokenizers

from workbench import corpus, cutters, disk, fairness, languages, parallel, terminal, tokenizer
from workbench import run as runs
from workbench.errors import UserError
from workbench.recipe import TokenizerRecipe

OWN = "this run"


def make(run: runs.Run, recipe: TokenizerRecipe) -> None:
    """Train the vocabulary that ``recipe`` asks for, and measure it on held-out text.

    Raises:
        UserError: the sources hold no text, too little of it for so many tokens, or no parallel
            text; or a tokenizer to measure beside it cannot be opened.
    """
    # Before the long work, so that a mistyped name is told at once.
    others = {reference: cutters.cutter(reference) for reference in recipe.against}
    faults = corpus.Faults(run.path / runs.QUARANTINE)
    same = parallel.read(recipe.parallel, recipe.data.languages, faults)
    held_out = same.where("test", recipe.data)
    if not held_out.ids:
        raise UserError(
            f"{run.reference}: no parallel sentence falls into the test split; raise data.test"
        )
    sample = Sample(recipe, faults)
    trained, facts = _train(recipe, sample, _leading(same, recipe))
    faults.close()
    wrapped = tokenizer.wrap(trained)
    with disk.told_when_full(run.path):
        wrapped.save_pretrained(run.path / "tokenizer")
    own = cutters.FastCutter(trained)
    tables, compared = {}, []
    for name, one in {OWN: own, **others}.items():
        tables[name], together = measure(one, held_out.texts, recipe.resamples)
        if together is not None:
            compared.append({"tokenizer": name, **together})
    for row in tables[OWN]:
        texts = sample.held_out.get(row["tag"], [])
        row.update({f"own_text_{key}": value for key, value in _own_text(own, texts).items()})
    run.result("languages", tables[OWN])
    run.result("scripts", [{"script": k, "tokens": n} for k, n in cutters.scripts(own).items()])
    run.result("comparison", compared)
    if others:
        run.result(
            "others",
            [
                {"tokenizer": name, **row}
                for name, rows in tables.items()
                if name != OWN
                for row in rows
            ],
        )
    run.used_data(corpus.describe(corpus.resolve(recipe.data)))
    run.happened(
        documents=dict(sample.documents),
        trained_on_bytes=dict(sample.bytes),
        faults=faults.summary(),
        vocabulary=trained.get_vocab_size(),
        parallel_sentences=len(held_out.ids),
        without_parallel=same.incomplete,
        gini=compared[0]["gini"] if compared else None,
        **facts,
    )


def _leading(same: parallel.Parallel, recipe: TokenizerRecipe) -> dict[str, list[str]]:
    """Return the parallel text that leads to parity: all that is not measured on."""
    parts = [same.where(split, recipe.data) for split in ("train", "validation")]
    if recipe.vocabulary.parity and not any(part.ids for part in parts):
        raise UserError(
            f"tokenizer/{recipe.name}: every parallel sentence falls into the test split, and none "
            "is left to lead to parity; lower data.test or set vocabulary.parity=0"
        )
    return {tag: [text for part in parts for text in part.texts[tag]] for tag in same.texts}


def _train(
    recipe: TokenizerRecipe, sample: "Sample", leading: Mapping[str, Sequence[str]]
) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """Return the tokenizer and what the record says of its training."""
    wanted = recipe.vocabulary
    progress = terminal.Progress(f"tokenizer {recipe.name}")
    facts: dict[str, Any] = {}
    if wanted.parity:
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        for tag, text in sample:
            counted[tag].update(tokenizer.words([text]))
        _refuse_if_empty(sample, recipe)
        trained, learned = tokenizer.train_in_parity(
            counted,
            leading,
            wanted.size,
            wanted.min_frequency,
            wanted.parity,
            lambda done: progress.update(f"{done:,} of {wanted.size:,} merges"),
        )
        facts = {"leading_tokens": learned.costs, "weights": learned.weights}
    else:
        texts = (text for _, text in sample)
        trained = tokenizer.train(texts, wanted.size, wanted.min_frequency, wanted.model)
        _refuse_if_empty(sample, recipe)
    reached = trained.get_vocab_size()
    if reached < wanted.size:
        smaller = f"set vocabulary.size={reached // 100 * 100} or " if reached >= 300 else ""
        raise UserError(
            f"the text fills only {reached:,} of the {wanted.size:,} tokens asked for; "
            f"{smaller}add text"
        )
    progress.done(f"{reached:,} tokens from {sum(sample.bytes.values()) / 1e6:,.1f} MB of text")
    return trained, facts


def _refuse_if_empty(sample: "Sample", recipe: TokenizerRecipe) -> None:
    if not sample.documents.total():
        raise UserError(f"the sources of tokenizer/{recipe.name} hold no document; see its record")


def _own_text(cutter: cutters.Cutter, texts: Sequence[str]) -> dict[str, Any]:
    """Return what held-out text of the sources becomes; natural text, where they hold any."""
    facts = cutters.describe(cutter, texts, cutter.encode(texts))
    keys = ("documents", "characters", "characters_per_token", "bytes_per_token")
    return {key: facts[key] if texts or key == "documents" else None for key in keys}


def measure(
    cutter: cutters.Cutter, texts: Mapping[str, Sequence[str]], resamples: int = 1000
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Measure what a vocabulary makes of the same content in several languages.

    Args:
        cutter: what cuts; it encodes each text once.
        texts: language to its version of the parallel text.
        resamples: bootstrap samples behind each interval.

    Returns:
        A row for each language, and one of all together; ``None`` for the latter where there is
        one language, which has nothing to be compared with.
    """
    encoded = {tag: cutter.encode(own) for tag, own in texts.items()}
    costs = {tag: cutters.counts(own) for tag, own in encoded.items()}
    described = {tag: cutters.describe(cutter, texts[tag], own) for tag, own in encoded.items()}
    rows = _language_rows(described, costs, resamples)
    if len(costs) < 2:
        return rows, None
    together = {
        "size": cutter.size,
        "tokens_per_word": float(np.mean([own["tokens_per_word"] for own in described.values()])),
        **fairness.inequality(costs, resamples).row(),
    }
    return rows, together


def _language_rows(
    described: Mapping[str, Mapping[str, Any]],
    costs: Mapping[str, fairness.Counts],
    resamples: int,
) -> list[dict[str, Any]]:
    """Return one row a language: what its text becomes, what that costs, what the gate says.

    ``tokens_relative_to_english`` comes with a 95 % interval; it is relative to the mean of all
    languages where English is not among them, and ``relative_to`` says which.
    """
    relative = fairness.relative_costs(costs, resamples=resamples)
    verdicts = {
        one.tag: one
        for one in fairness.judge(
            {tag: facts["characters_per_token"] for tag, facts in described.items()},
            {tag: one.value for tag, one in relative.items()},
        )
    }
    return [
        {
            "tag": language.tag,
            "language": language.name,
            "script": language.script,
            **described[language.tag],
            "tokens_per_sentence": float(costs[language.tag].mean()),
            "relative_to": "English" if fairness.REFERENCE in costs else "mean",
            "tokens_relative_to_english": relative[language.tag].value,
            "relative_low": relative[language.tag].low,
            "relative_high": relative[language.tag].high,
            "verdict": verdicts[language.tag].verdict,
            "reason": verdicts[language.tag].reason,
        }
        for language in languages.all_languages()
        if language.tag in costs
    ]


class Sample:
    """Streams training text, evenly over languages, and keeps some held-out text to measure on."""

    def __init__(self, recipe: TokenizerRecipe, faults: corpus.Faults) -> None:
        self._recipe = recipe
        self._faults = faults
        # Reading ends where enough was seen, or a stream from the hub would go on for weeks; twice
        # as much as is learned from, because some of it falls into the test split.
        enough = round(2 * recipe.vocabulary.bytes_per_language / (1 - recipe.data.test))
        asked = recipe.data.bytes_per_language or enough
        self._data = replace(recipe.data, bytes_per_language=min(asked, enough))
        self.documents: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.held_out: dict[str, list[str]] = defaultdict(list)
        self._held_bytes: Counter[str] = Counter()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield language and text of the documents to learn from."""
        limit = self._recipe.vocabulary.bytes_per_language
        progress = terminal.Progress(f"tokenizer {self._recipe.name}")
        for document in corpus.read(self._data, self._faults):
            self.documents[document.lang] += 1
            size = len(document.text.encode())
            if corpus.split_of(document.id, self._data) == "test":
                if self._held_bytes[document.lang] < limit // 10:
                    self._held_bytes[document.lang] += size
                    self.held_out[document.lang].append(document.text)
            elif self.bytes[document.lang] < limit:
                self.bytes[document.lang] += size
                yield document.lang, document.text
            progress.update(f"{self.documents.total():,} documents read")
        progress.done(f"{self.documents.total():,} documents read, learning the vocabulary")
