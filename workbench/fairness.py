"""What the same content costs each language in tokens, how unequal that is, and the gate.

Everything here works on counts of tokens by sentence of a parallel text, so it serves for any
tokenizer, and needs none to be loaded. Intervals are basic bootstrap intervals over sentences
(Davison and Hinkley 1997, section 5.2); the same sentences are drawn in all languages, because
they are aligned. Basic, because languages lie further apart in a sample than in all text, and in a
sample of the sample once more: percentiles would lie too high.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from workbench import languages
from workbench.errors import UserError

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
REFERENCE = "eng_Latn"
# Of the median of its peers, a language has at least so many characters a token; below the lower
# share it has nearly been cut into bytes. OpenEuroLLM's first vocabulary gave Georgian 0.11 of the
# Latin median, Latvian 0.67, Latgalian 0.67, Albanian 0.74 and Greek 0.78.
LENGTH_FAILS, LENGTH_WARNS = 0.5, 0.75
# Of the median of its peers, the same content takes at most so many tokens.
COST_FAILS, COST_WARNS = 2.0, 4 / 3
# Scripts with fewer languages are held against the languages of every script.
PEERS = 3
Verdict = Literal["pass", "warn", "fail"]
REMEDY = (
    "train the vocabulary with parity and with text of this language, or make it larger; "
    "or accept it in the recipe with a reason: 'gate: {accept: {TAG: why}}'"
)


def gini(costs: npt.ArrayLike) -> float:
    """Return the Gini coefficient of costs: 0 where all pay alike (Gini 1912).

    Args:
        costs: positive numbers, shape ``(languages,)``.
    """
    return float(_gini(np.asarray(costs, dtype=np.float64)[None])[0])


def _gini(costs: Values) -> Values:
    """Return the Gini coefficient of each row; half the relative mean absolute difference."""
    ranked = np.sort(costs, axis=1)
    count = ranked.shape[1]
    rank = 2 * np.arange(1, count + 1) - count - 1
    result: Values = ranked @ rank / (count * ranked.sum(axis=1))
    return result


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % bootstrap interval.

    The interval lies below the number where little but chance sets the languages apart.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Inequality:
    """How unequally one content is priced over languages."""

    gini: Estimate
    max_to_min: Estimate
    """The dearest language's tokens by the cheapest's."""
    dearest: str
    cheapest: str
    tokens: int
    """Of all languages together."""
    languages: int
    sentences: int

    def row(self) -> dict[str, Any]:
        """Return plain values for a table."""
        return {
            "languages": self.languages,
            "sentences": self.sentences,
            "tokens": self.tokens,
            **_columns("gini", self.gini),
            **_columns("max_to_min", self.max_to_min),
            "dearest": self.dearest,
            "cheapest": self.cheapest,
        }


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def inequality(counts: Mapping[str, Counts], resamples: int = 1000, seed: int = 1) -> Inequality:
    """Measure how unequal the costs of a parallel text are.

    Args:
        counts: language to the tokens of each sentence, all of shape ``(sentences,)``.
        resamples: bootstrap samples of sentences behind each interval.
        seed: of the resampling.

    Raises:
        UserError: there are fewer than two languages, or the text is not parallel.
    """
    tags, matrix = _matrix(counts)
    if len(tags) < 2:
        raise UserError("a comparison of costs needs a parallel text in at least two languages")
    totals = matrix.sum(axis=0)
    drawn = _resampled(matrix, resamples, seed)
    ordered = [tags[n] for n in np.argsort(totals, kind="stable")]
    return Inequality(
        gini=_estimate(gini(totals), _gini(drawn), least=0),
        max_to_min=_estimate(
            float(totals.max() / totals.min()), drawn.max(axis=1) / drawn.min(axis=1), least=1
        ),
        dearest=ordered[-1],
        cheapest=ordered[0],
        tokens=int(totals.sum()),
        languages=len(tags),
        sentences=len(matrix),
    )


def relative_costs(
    counts: Mapping[str, Counts],
    reference: str = REFERENCE,
    resamples: int = 1000,
    seed: int = 1,
) -> dict[str, Estimate]:
    """Return each language's tokens for the same content, relative to ``reference``.

    The ratio is of totals, so that long sentences count for what they are. Without the reference
    among the languages, costs are relative to the mean of all.
    """
    tags, matrix = _matrix(counts)
    totals = matrix.sum(axis=0)
    drawn = _resampled(matrix, resamples, seed)
    if reference in tags:
        column = tags.index(reference)
        values, samples = totals / totals[column], drawn / drawn[:, column, None]
    else:
        values, samples = totals / totals.mean(), drawn / drawn.mean(axis=1)[:, None]
    return {tag: _estimate(float(values[n]), samples[:, n], least=0) for n, tag in enumerate(tags)}


def _matrix(counts: Mapping[str, Counts]) -> tuple[list[str], Values]:
    """Return the languages in the registry's order and their counts, ``(sentences, languages)``."""
    tags = [tag for tag in languages.tags() if tag in counts]
    lengths = {len(counts[tag]) for tag in tags}
    if len(lengths) > 1:
        raise UserError(f"a parallel text has as many sentences everywhere, not {sorted(lengths)}")
    if not tags or lengths == {0}:
        raise UserError("the parallel text is empty")
    return tags, np.stack([counts[tag] for tag in tags], axis=1).astype(np.float64)


def _resampled(matrix: Values, resamples: int, seed: int) -> Values:
    """Return the languages' totals in bootstrap samples, shape ``(resamples, languages)``."""
    generator = np.random.default_rng(seed)
    sentences = len(matrix)
    even = np.full(sentences, 1 / sentences)
    # One after the other, so that a long text takes no more memory than its counts do.
    return np.stack([generator.multinomial(sentences, even) @ matrix for _ in range(resamples)])


def _estimate(value: float, samples: Values, least: float) -> Estimate:
    """Reflect the percentiles of bootstrap samples at ``value``; nothing is below ``least``."""
    low, high = 2 * value - np.percentile(samples, [97.5, 2.5])
    return Estimate(value, max(least, float(low)), max(least, float(high)))


@dataclass(frozen=True)
class Judgement:
    """What the gate says of one language."""

    tag: str
    language: str
    verdict: Verdict
    reason: str
    """Empty where it passes."""
    remedy: str
    accepted: str
    """Why the recipe goes on all the same; empty where it does not say so."""
    characters_per_token: float | None
    """None where no text was measured."""
    length_share: float | None
    """Characters a token relative to the median of the peers."""
    cost_share: float | None
    """Tokens for the same content relative to the median of the peers."""
    peers: str
    """Whose median it was: a script, or all languages."""

    def row(self) -> dict[str, Any]:
        """Return plain values for a table."""
        return asdict(self)


def judge(
    characters_per_token: Mapping[str, float],
    costs: Mapping[str, float] | None = None,
    accepted: Mapping[str, str] | None = None,
) -> list[Judgement]:
    """Hold every language against what languages of its script get from the same vocabulary.

    Args:
        characters_per_token: language to the mean length of its tokens, on any text of its own.
        costs: language to its tokens for one content, in any common unit. A language that pays no
            more than the median for the same content is not warned about because its tokens are
            short: then its words are.
        accepted: language to the reason for which a recipe takes it as it is.

    Returns:
        One judgement a language, in the registry's order. A length counts against the median of
        the languages of the same script, of all languages where a script has fewer than three;
        a cost counts against the median of all, because the content is the same.
    """
    costs = costs or {}
    accepted = accepted or {}
    known = characters_per_token.keys() | costs.keys()
    return [
        _judge(language, characters_per_token, costs, accepted.get(language.tag, ""))
        for language in languages.all_languages()
        if language.tag in known
    ]


def _judge(
    language: languages.Language,
    lengths: Mapping[str, float],
    costs: Mapping[str, float],
    accepted: str,
) -> Judgement:
    tag = language.tag
    script = languages.SCRIPTS[language.script]
    own_script = [
        value for other, value in lengths.items() if languages.get(other).script == language.script
    ]
    same = len(own_script) >= PEERS
    peers = f"languages in {script} script" if same else "languages of all scripts"
    length = cost = None
    worst: Verdict = "pass"
    reasons = []
    if tag in costs:
        cost = costs[tag] / float(np.median(list(costs.values())))
        if cost > COST_WARNS:
            worst = "fail" if cost > COST_FAILS else "warn"
            reasons.append(f"{cost:.2f} times the median's tokens for the same content")
    if tag in lengths:
        middle = float(np.median(own_script if same else list(lengths.values())))
        length = lengths[tag] / middle
        cheap = cost is not None and cost <= 1
        if length < LENGTH_FAILS or (length < LENGTH_WARNS and not cheap):
            worst = "fail" if length < LENGTH_FAILS or worst == "fail" else "warn"
            reasons.append(
                f"{lengths[tag]:.2f} characters a token, {length:.0%} of the median {middle:.2f} "
                f"of {peers}"
            )
    return Judgement(
        tag=tag,
        language=language.name,
        verdict=worst,
        reason="; ".join(reasons),
        remedy=REMEDY.replace("TAG", tag) if reasons else "",
        accepted=accepted if reasons else "",
        characters_per_token=lengths.get(tag),
        length_share=length,
        cost_share=cost,
        peers=peers,
    )


def pass_gate(judgements: Sequence[Judgement], where: str) -> None:
    """Refuse to go on if a language falls short and nobody said why that is accepted.

    Raises:
        UserError: naming the languages, what was measured and the remedy.
    """
    failed = [one for one in judgements if one.verdict == "fail" and not one.accepted]
    if failed:
        named = "; ".join(f"{one.language} ({one.tag}): {one.reason}" for one in failed)
        raise UserError(f"{where}: the vocabulary falls short for {named}; {failed[0].remedy}")
