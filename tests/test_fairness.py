import re

import numpy as np
import pytest

from workbench import fairness, languages
from workbench.errors import UserError

# Characters a token of OpenEuroLLM's first tokenizer (tokenizer-256k v1), from the published
# counts of its training-data collection. Of the other languages in Latin script only the median,
# 3.58, is published; they are set around it here.
PUBLISHED = {
    "kat_Geor": 0.386,
    "lvs_Latn": 2.386,
    "ltg_Latn": 2.414,
    "als_Latn": 2.632,
    "ell_Grek": 2.80,
}
LATIN_MEDIAN = 3.58
LOW = ("lvs_Latn", "ltg_Latn", "als_Latn")


def published():
    """Return characters a token by language, the healthy ones in Latin script around 3.58."""
    healthy = [
        one.tag for one in languages.all_languages() if one.script == "Latn" and one.tag not in LOW
    ]
    # Three well above make up for the three below, the rest lies evenly on both sides.
    around = [*np.linspace(-0.4, 0.4, len(healthy) - len(LOW)), *([0.5] * len(LOW))]
    return PUBLISHED | {
        tag: LATIN_MEDIAN + float(step) for tag, step in zip(healthy, around, strict=True)
    }


def sentences(count, shares, seed=1):
    """Return made-up costs of aligned sentences: a length each, times a language's share."""
    draw = np.random.default_rng(seed)
    length = draw.lognormal(3, 0.5, count)
    return {
        tag: np.rint(length * share * draw.lognormal(0, 0.15, count)).astype(np.int64) + 1
        for tag, share in shares.items()
    }


FOUR = {"eng_Latn": 1.0, "mlt_Latn": 1.3, "ell_Grek": 1.6, "kat_Geor": 2.0}


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([5, 5, 5, 5], 0),
        # One has everything: (n - 1) / n.
        ([0, 0, 0, 1], 3 / 4),
        ([0] * 9 + [1], 9 / 10),
        # By hand: the mean absolute difference of all ordered pairs is 1, the mean is 2.
        ([1, 3], 1 / 4),
        # The examples in the manuals of two R packages, phylotools and ineq.
        ([1, 3, 2, 1, 1, 1, 4], 0.3076923),
        ([541, 1463, 2445, 3438, 4437, 5401, 6392, 8304, 11904, 22261], 0.4620911),
    ],
)
def test_gini_of_known_examples(costs, expected):
    assert fairness.gini(costs) == pytest.approx(expected, abs=5e-8)
    assert fairness.gini(costs[::-1]) == pytest.approx(expected, abs=5e-8)
    assert fairness.gini(np.array(costs) * 7.5) == pytest.approx(expected, abs=5e-8)


def test_gini_is_half_the_relative_mean_difference():
    costs = np.random.default_rng(1).gamma(2, 1, 43)
    differences = np.abs(costs[:, None] - costs[None]).mean()
    assert fairness.gini(costs) == pytest.approx(differences / 2 / costs.mean())


def test_inequality_by_hand():
    counts = {
        "eng_Latn": np.array([1, 3]),
        "mlt_Latn": np.array([2, 4]),
        "kat_Geor": np.array([4, 10]),
    }
    found = fairness.inequality(counts, resamples=200)
    # Totals 4, 6 and 14: differences 2, 8 and 10, each twice, over 9 pairs, by twice the mean of 8.
    assert found.gini.value == pytest.approx((2 + 8 + 10) * 2 / 9 / 16)
    assert found.max_to_min.value == 14 / 4
    assert (found.dearest, found.cheapest) == ("kat_Geor", "eng_Latn")
    assert (found.tokens, found.languages, found.sentences) == (24, 3, 2)
    row = found.row()
    assert row["gini"] == found.gini.value
    assert row["max_to_min_low"] == found.max_to_min.low


def test_intervals_hold_the_value_and_shrink_with_more_sentences():
    few, many = (fairness.inequality(sentences(count, FOUR)) for count in (40, 4000))
    for name in ("gini", "max_to_min"):
        small, large = getattr(few, name), getattr(many, name)
        assert small.low < small.value < small.high
        assert large.low < large.value < large.high
        # A hundred times the sentences, a tenth of the width, up to chance.
        assert 5 < (small.high - small.low) / (large.high - large.low) < 20


def test_intervals_cover_the_truth_of_a_small_sample():
    """95 % are promised; percentiles would lie too high in every one of these samples."""
    shares = {tag: 1 + 0.002 * n for n, tag in enumerate(languages.tags())}
    everything = sentences(4000, shares)
    truth = fairness.gini([own.sum() for own in everything.values()])
    draw = np.random.default_rng(2)
    held = 0
    for _ in range(100):
        chosen = draw.integers(0, 4000, 40)
        sample = {tag: own[chosen] for tag, own in everything.items()}
        found = fairness.inequality(sample, resamples=200).gini
        held += found.low <= truth <= found.high
    assert held >= 85


def test_intervals_stay_where_the_measure_can_be():
    alike = sentences(30, dict.fromkeys(FOUR, 1.0))
    found = fairness.inequality(alike)
    assert found.gini.low >= 0
    assert found.max_to_min.low >= 1
    equal = fairness.inequality(dict.fromkeys(FOUR, alike["eng_Latn"]))
    assert equal.gini == fairness.Estimate(0, 0, 0)
    assert equal.max_to_min == fairness.Estimate(1, 1, 1)


def test_the_same_seed_gives_the_same_interval():
    counts = sentences(50, FOUR)
    first = fairness.inequality(counts, resamples=200, seed=1)
    assert fairness.inequality(counts, resamples=200, seed=1) == first
    other = fairness.inequality(counts, resamples=200, seed=2)
    assert other.gini.value == first.gini.value
    assert other.gini.low != first.gini.low


def test_costs_are_relative_to_english_and_its_own_is_one():
    counts = {"ell_Grek": np.array([300, 10]), "eng_Latn": np.array([100, 10])}
    relative = fairness.relative_costs(counts, resamples=100)
    assert list(relative) == [tag for tag in languages.tags() if tag in counts]
    # Of totals, so that a long sentence counts for more; the mean of the two ratios is 2.
    assert relative["ell_Grek"].value == pytest.approx(310 / 110)
    assert relative["eng_Latn"] == fairness.Estimate(1, 1, 1)


def test_without_english_costs_are_relative_to_the_mean():
    counts = {"ell_Grek": np.array([30]), "mlt_Latn": np.array([10])}
    relative = fairness.relative_costs(counts, resamples=100)
    assert {tag: one.value for tag, one in relative.items()} == {"ell_Grek": 1.5, "mlt_Latn": 0.5}


def test_intervals_of_relative_costs_hold_the_share():
    for tag, one in fairness.relative_costs(sentences(2000, FOUR)).items():
        assert one.low <= one.value <= one.high
        assert one.value == pytest.approx(FOUR[tag], rel=0.05)


@pytest.mark.parametrize("measure", [fairness.inequality, fairness.relative_costs])
def test_text_that_is_not_parallel_is_refused(measure):
    with pytest.raises(UserError, match=r"as many sentences everywhere, not \[1, 2\]"):
        measure({"eng_Latn": np.array([1]), "mlt_Latn": np.array([1, 2])})
    with pytest.raises(UserError, match="empty"):
        measure({})
    with pytest.raises(UserError, match="empty"):
        measure({"eng_Latn": np.array([], dtype=int), "mlt_Latn": np.array([], dtype=int)})


def test_one_language_has_nothing_to_be_compared_with():
    with pytest.raises(UserError, match="at least two languages"):
        fairness.inequality({"eng_Latn": np.array([1, 2])})
    alone = fairness.relative_costs({"mlt_Latn": np.array([4, 5])}, resamples=100)
    assert alone["mlt_Latn"].value == 1


def test_the_gate_would_have_caught_the_georgian_gap():
    judged = {one.tag: one for one in fairness.judge(published())}
    assert set(judged) == set(published())
    assert {tag for tag, one in judged.items() if one.verdict == "fail"} == {"kat_Geor"}
    assert {tag for tag, one in judged.items() if one.verdict == "warn"} == set(LOW)
    assert judged["ell_Grek"].verdict == "pass"
    latvian = judged["lvs_Latn"]
    assert latvian.length_share == pytest.approx(2.386 / LATIN_MEDIAN)
    assert latvian.peers == "languages in Latin script"
    assert judged["kat_Geor"].peers == "languages of all scripts"
    assert judged["fra_Latn"].reason == judged["fra_Latn"].remedy == ""


def test_a_refusal_is_one_line_with_tag_number_and_remedy():
    with pytest.raises(UserError) as told:
        fairness.pass_gate(fairness.judge(published()), "pretrain/x")
    line = str(told.value)
    assert "\n" not in line
    assert line.startswith("pretrain/x: the vocabulary falls short for Georgian (kat_Geor): 0.39")
    assert re.search(r"11% of the median 3\.5\d of languages of all scripts", line)
    assert "gate: {accept: {kat_Geor: why}}" in line
    assert "Latvian" not in line


def test_what_is_accepted_with_a_reason_passes_and_keeps_its_verdict():
    accepted = {"kat_Geor": "to be replaced by v2", "fra_Latn": "no need"}
    judgements = fairness.judge(published(), accepted=accepted)
    judged = {one.tag: one for one in judgements}
    assert (judged["kat_Geor"].verdict, judged["kat_Geor"].accepted) == (
        "fail",
        "to be replaced by v2",
    )
    assert judged["fra_Latn"].accepted == ""
    fairness.pass_gate(judgements, "pretrain/x")
    with pytest.raises(UserError, match="kat_Geor"):
        fairness.pass_gate(fairness.judge(published(), accepted={"fra_Latn": "x"}), "pretrain/x")


def test_short_words_are_no_fault_where_the_content_is_cheap():
    """Latvian's tokens are as short as before, but it needs few of them, or many."""
    lengths = published()
    even = dict.fromkeys(lengths, 100.0)
    cheap = {one.tag: one for one in fairness.judge(lengths, even | {"lvs_Latn": 90.0})}
    assert (cheap["lvs_Latn"].verdict, cheap["lvs_Latn"].cost_share) == ("pass", 0.9)
    dear = {one.tag: one for one in fairness.judge(lengths, even | {"lvs_Latn": 120.0})}
    assert dear["lvs_Latn"].verdict == "warn"
    # A language cut into bytes fails, however little its text says.
    assert cheap["kat_Geor"].verdict == "fail"


@pytest.mark.parametrize(
    ("cost", "verdict"), [(133, "pass"), (134, "warn"), (200, "warn"), (201, "fail")]
)
def test_costs_are_judged_on_their_own(cost, verdict):
    costs = dict.fromkeys(languages.tags(), 100.0) | {"mlt_Latn": float(cost)}
    lengths = dict.fromkeys(languages.tags(), 4.0)
    judged = {one.tag: one for one in fairness.judge(lengths, costs)}
    assert judged["mlt_Latn"].verdict == verdict
    only_costs = {one.tag: one for one in fairness.judge({}, costs)}
    assert only_costs["mlt_Latn"].verdict == verdict
    assert only_costs["mlt_Latn"].characters_per_token is None


def test_a_fail_by_cost_is_not_softened_by_a_warning_for_length():
    lengths = published()
    costs = dict.fromkeys(lengths, 100.0) | {"als_Latn": 300.0}
    albanian = next(one for one in fairness.judge(lengths, costs) if one.tag == "als_Latn")
    assert albanian.verdict == "fail"
    assert "3.00 times" in albanian.reason
    assert "of the median" in albanian.reason
    assert set(albanian.row()) >= {"tag", "verdict", "reason", "remedy", "length_share"}
