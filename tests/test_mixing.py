"""Shares worked by hand, and mixes that come back from OpenEuroLLM's form."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest

from workbench import commands, languages, mixing, train
from workbench import run as runs
from workbench.errors import Stopped, UserError
from workbench.sections import Mix

SIZES = {"mlt_Latn": 10, "fin_Latn": 100, "eng_Latn": 1000}


def exact(shares):
    """Shares as the simplest fractions near them."""
    return {tag: Fraction(share).limit_denominator(10_000) for tag, share in shares.items()}


@pytest.mark.parametrize(
    ("budget", "parts"),
    [
        # Thirds of 27 are 9 each; the smallest language allows 40.
        (27, (9, 9, 9)),
        # A third is 200, Maltese takes 40 of it; the others halve the 560 that are left.
        (600, (40, 280, 280)),
        # Maltese takes 40, Finnish 400 of half of 1,960, English the other 1,560.
        (2000, (40, 400, 1560)),
        # All are at four times their size, 4,440; the rest of the budget goes to nobody.
        (9000, (40, 400, 4000)),
    ],
)
def test_unimax_by_hand(budget, parts):
    shuffled = {tag: SIZES[tag] for tag in ("fin_Latn", "eng_Latn", "mlt_Latn")}
    got = mixing.unimax(shuffled, budget, 4)
    assert list(got) == list(shuffled)
    assert got == dict(zip(SIZES, parts, strict=True))
    shares = mixing.shares(shuffled, Mix("unimax"), budget)
    assert exact(shares) == {
        tag: Fraction(part, sum(parts)) for tag, part in zip(SIZES, parts, strict=True)
    }


def test_unimax_on_fineweb_2():
    # Characters in FineWeb-2, and the answer that the package unimax-sampling publishes for them.
    sizes = {
        "swe": 179_955_884_499,
        "fas": 184_595_788_282,
        "ekk": 42_541_080_893,
        "isl": 10_027_573_389,
        "fao": 549_707_867,
    }
    third = 69_230_291_658 + 2 / 3
    answer = {"swe": third, "fas": third, "ekk": third, "isl": 40_110_293_556, "fao": 2_198_831_468}
    budget = 250_000_000_000
    assert mixing.unimax(sizes, budget, 4) == pytest.approx(answer, rel=1e-12)
    epochs = mixing.repetitions(sizes, mixing.shares(sizes, Mix("unimax"), budget), budget)
    assert epochs["isl"] == pytest.approx(4)
    assert epochs["ekk"] == pytest.approx(1.627375003300828)
    assert mixing.warnings(epochs, Mix("unimax")) == []


def test_unimax_needs_a_budget_and_takes_that_of_the_mix():
    for missing in (None, 0):
        with pytest.raises(UserError, match="give mix.budget.* such as 1110 .* is missing"):
            mixing.shares(SIZES, Mix("unimax"), missing)
    of_mix = mixing.shares(SIZES, Mix("unimax", budget=600))
    assert of_mix == mixing.shares(SIZES, Mix("unimax", budget=600), 27)
    assert exact(of_mix)["mlt_Latn"] == Fraction(40, 600)


def test_max_epochs_moves_the_limit():
    # At most one epoch: Maltese 10, Finnish 100, English what is left of 600.
    shares = mixing.shares(SIZES, Mix("unimax", max_epochs=1), 600)
    assert exact(shares) == dict(
        zip(SIZES, (Fraction(10, 600), Fraction(100, 600), Fraction(490, 600)), strict=True)
    )


def test_shares_are_exact_fractions():
    assert exact(mixing.shares(SIZES, Mix("natural"))) == {
        tag: Fraction(size, 1110) for tag, size in SIZES.items()
    }
    assert set(exact(mixing.shares(SIZES, Mix("uniform"))).values()) == {Fraction(1, 3)}
    squares = {"mlt_Latn": 4, "fin_Latn": 9, "eng_Latn": 25}
    assert exact(mixing.shares(squares, Mix("temperature", exponent=0.5))) == dict(
        zip(squares, (Fraction(2, 10), Fraction(3, 10), Fraction(5, 10)), strict=True)
    )
    asked = mixing.shares(SIZES, Mix("weights", weights={"Malti": 3, "en": 1}))
    assert asked == {"mlt_Latn": 0.75, "fin_Latn": 0.0, "eng_Latn": 0.25}


def test_temperature_runs_from_uniform_to_natural():
    for exponent, limit in ((0, "uniform"), (1, "natural")):
        got = mixing.shares(SIZES, Mix("temperature", exponent=exponent))
        assert got == mixing.shares(SIZES, Mix(limit))
    small = [
        mixing.shares(SIZES, Mix("temperature", exponent=tenths / 10))["mlt_Latn"]
        for tenths in range(11)
    ]
    assert small == sorted(small, reverse=True)
    assert len(set(small)) == 11


def test_only_unimax_looks_at_the_budget_and_only_in_proportion():
    for strategy in ("natural", "uniform", "temperature"):
        mix = Mix(strategy)
        assert mixing.shares(SIZES, mix, 5) == mixing.shares(SIZES, mix, 10**12)
    larger = {tag: size * 1024 for tag, size in SIZES.items()}
    for budget in (27, 600, 2000, 9000):
        once = mixing.shares(SIZES, Mix("unimax"), budget)
        assert mixing.shares(larger, Mix("unimax"), budget * 1024) == once
    assert mixing.shares(SIZES, Mix("unimax"), 27) != mixing.shares(SIZES, Mix("unimax"), 600)


@pytest.mark.parametrize("strategy", ["natural", "uniform", "temperature", "unimax"])
def test_shares_add_up_over_the_whole_registry_and_nothing_comes_of_nothing(strategy):
    sizes = {tag: number**3 for number, tag in enumerate(languages.tags())}
    shares = mixing.shares(sizes, Mix(strategy), 10**5)
    assert list(shares) == list(sizes)
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12)
    assert [tag for tag, share in shares.items() if not share] == [languages.tags()[0]]
    with pytest.raises(UserError, match="no language has text"):
        mixing.shares({"mlt_Latn": 0}, Mix(strategy), 10)


def test_a_weight_on_a_language_without_text_is_refused(tmp_path):
    with pytest.raises(UserError, match="mix.weights names swe_Latn, which has no training"):
        mixing.shares(SIZES, Mix("weights", weights={"sv": 1, "mt": 1}))
    assert mixing.shares(SIZES, Mix("weights", weights={"sv": 0, "mt": 1}))["mlt_Latn"] == 1
    (tmp_path / "mix.txt").write_text("1 a/mlt_Latn\n1 a/swe_Latn\n1 a/dan_Latn\n")
    told = "mix.datamix .*mix.txt names dan_Latn, swe_Latn, which have no training text;"
    with pytest.raises(UserError, match=told):
        mixing.shares(SIZES, Mix("weights", datamix=str(tmp_path / "mix.txt")))


def test_shares_of_bytes_become_shares_of_tokens():
    # Greek has 6 bytes a token here and Maltese 3: for as many bytes, Maltese takes twice the
    # tokens.
    sizes = {"ell_Grek": 600, "mlt_Latn": 300}
    tokens = {"ell_Grek": 100, "mlt_Latn": 100}
    halves = mixing.shares(sizes, Mix("uniform", unit="bytes"))
    assert exact(mixing.of_tokens(halves, sizes, tokens)) == {
        "ell_Grek": Fraction(1, 3),
        "mlt_Latn": Fraction(2, 3),
    }
    natural = mixing.shares(sizes, Mix("natural", unit="bytes"))
    assert mixing.of_tokens(natural, sizes, tokens) == mixing.shares(tokens, Mix("natural"))
    one = {"ell_Grek": 0.0, "mlt_Latn": 1.0}
    assert mixing.of_tokens(one, sizes | {"ell_Grek": 0}, tokens) == one


def test_what_is_repeated_is_named_with_its_number():
    shares = mixing.shares(SIZES, Mix("uniform"))
    epochs = mixing.repetitions(SIZES, shares, 1500)
    assert epochs == pytest.approx({"mlt_Latn": 50, "fin_Latn": 5, "eng_Latn": 0.5})
    (told,) = mixing.warnings(epochs, Mix("uniform"))
    assert "mlt_Latn 50.00 times, fin_Latn 5.00 times;" in told
    assert "eng_Latn" not in told
    assert "unimax" in told
    assert mixing.warnings({"mlt_Latn": 4.0, "fin_Latn": 0.0}, Mix("uniform")) == []
    assert mixing.warnings({}, Mix("unimax")) == []


def test_unimax_tells_where_it_cannot_keep_its_limit():
    mix = Mix("unimax", max_epochs=2)
    within = mixing.repetitions(SIZES, mixing.shares(SIZES, mix, 2220), 2220)
    assert within == pytest.approx(dict.fromkeys(SIZES, 2))
    assert mixing.warnings(within, mix) == []
    beyond = mixing.repetitions(SIZES, mixing.shares(SIZES, mix, 3330), 3330)
    (told,) = mixing.warnings(beyond, mix)
    assert "read up to 3.00 times, mix.max_epochs is 2" in told


def test_the_table_shows_what_a_language_has_and_gets():
    rows = mixing.table(SIZES, Mix("uniform"), 1500)
    assert rows[0] == {
        "tag": "mlt_Latn",
        "language": "Maltese",
        "size": 10,
        "share": pytest.approx(1 / 3),
        "budget": pytest.approx(500),
        "epochs": pytest.approx(50),
        "repeated": True,
    }
    assert [row["repeated"] for row in rows] == [True, True, False]
    assert sum(row["budget"] for row in rows) == pytest.approx(1500)
    assert [row["repeated"] for row in mixing.table(SIZES, Mix("unimax"), 2000)] == [False] * 3


@pytest.mark.parametrize(
    ("mix", "told"),
    [
        ({"strategy": "unimax", "max_epochs": 0.0}, "max_epochs must be positive, it is 0.0"),
        ({"strategy": "unimax", "budget": -1}, "budget must not be negative, it is -1"),
        ({"strategy": "unimax", "unit": "bytes"}, "budget is missing: .* such as 100000000"),
        ({"strategy": "natural", "budget": 5}, "budget is given, but strategy 'natural' ignores"),
        ({"strategy": "uniform", "max_epochs": 2.0}, "max_epochs is given, but strategy 'uniform'"),
        ({"strategy": "natural", "exponent": 0.3}, "exponent is given, but strategy 'natural'"),
        ({"datamix": "m.txt"}, "datamix is given, but strategy 'temperature' ignores it"),
        (
            {"strategy": "weights", "weights": {"mt": 1.0}, "datamix": "m.txt"},
            "weights are given, and datamix too",
        ),
        ({"strategy": "weights"}, "strategy 'weights' needs weights, .* or a datamix"),
        (
            {"strategy": "weights", "weights": {"mt": 1.0, "Malti": 2.0}},
            "weights names mlt_Latn twice, as mt and Malti",
        ),
        (
            {"strategy": "weights", "weights": {"mt": math.inf}},
            "weights.mt must be finite and not negative, it is inf",
        ),
    ],
)
def test_a_mix_that_cannot_be_meant_is_refused(mix, told):
    with pytest.raises(UserError, match=told):
        Mix(**mix)


@pytest.mark.parametrize(
    ("path", "tag"),
    [
        ("hplt-3.0/megatron-lm/ces_Latn", "ces_Latn"),
        ("hplt-4.0/megatron-lm/clean/eng_Latn/shard_0000_text_document", "eng_Latn"),
        ("fineopus/megatron-lm//eng_source-als_Latn", "als_Latn"),
        ("nemotron-cc-opus-1.1/megatron-lm/lav_Latn", "lvs_Latn"),
        ("finewiki/nor_Latn", "nob_Latn"),
        ("mono/cs.jsonl.gz", "ces_Latn"),
        ("mono/sr-Cyrl.jsonl.gz", "srp_Cyrl"),
        ("wikipedia/20231101.mt/part-00001.parquet", "mlt_Latn"),
        ("texts/ελληνικά/all.txt", "ell_Grek"),
        ("C:\\texts\\Maltese\\all.txt", "mlt_Latn"),
        # The part nearest to the file counts, and a tag before other words.
        ("from/eng_Latn/to/deu_Latn/x.bin", "deu_Latn"),
        ("de/fin_Latn-v2/en.jsonl", "fin_Latn"),
    ],
)
def test_the_language_stands_in_the_path(path, tag):
    assert mixing.language_in(path) == tag


def test_every_language_is_recognised_by_tag_and_by_its_shortest_code():
    for language in languages.all_languages():
        assert mixing.language_in(f"set-1.0/{language.tag}/shard_00") == language.tag
        assert mixing.language_in(f"mono/{language.bcp47}.jsonl.zst") == language.tag


REAL = """\
#
# English
#
0.256345 finepdfs-1.0.0/megatron-lm/eng_Latn
0.0025958041789 hplt-4.0/megatron-lm/clean/eng_Latn/ab

0.0000332950\tfineopus-filtered-0.4/megatron-lm//eng_source-mlt_Latn
  # Maltese
0.00015151\thplt-4.0/megatron-lm/clean/mlt_Latn
0 hplt-4.0/megatron-lm/noisy/kat_Geor
1e-3 with a space/fin_Latn
"""


@pytest.mark.parametrize("form", ["{}", "\ufeff{}", "crlf"])
def test_a_datamix_is_read_and_lines_of_a_language_add_up(tmp_path, form):
    text = REAL.replace("\n", "\r\n") if form == "crlf" else form.format(REAL)
    (tmp_path / "datamix.txt").write_bytes(text.encode())
    entries = mixing.load(tmp_path / "datamix.txt")
    assert len(entries) == 6
    assert entries[0] == (0.256345, "finepdfs-1.0.0/megatron-lm/eng_Latn")
    assert entries[2] == (0.000033295, "fineopus-filtered-0.4/megatron-lm//eng_source-mlt_Latn")
    assert entries[5] == (0.001, "with a space/fin_Latn")
    assert mixing.load_weights(tmp_path / "datamix.txt") == pytest.approx(
        {
            "eng_Latn": 0.2589408041789,
            "fin_Latn": 0.001,
            "mlt_Latn": 0.000184805,
            "kat_Geor": 0.0,
        }
    )
    shares = mixing.shares(SIZES, Mix("weights", datamix=str(tmp_path / "datamix.txt")))
    assert shares["mlt_Latn"] == pytest.approx(0.000184805 / 0.2601256091789)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("hplt-3.0/ces_Latn", "m.txt:3: a line begins with a weight, .* not 'hplt-3.0/ces_Latn'"),
        ("-0.25 hplt-3.0/ces_Latn", "m.txt:3: a weight must not be negative, it is -0.25"),
        ("much hplt-3.0/ces_Latn", "m.txt:3: .* is a number, not 'much': 0.25 hplt"),
        ("0,25 hplt-3.0/ces_Latn", r"m.txt:3: .* not '0,25' \(did you mean '0.25'\?\)"),
        ("nan hplt-3.0/ces_Latn", "m.txt:3: .* not 'nan'"),
        ("1e999 hplt-3.0/ces_Latn", "m.txt:3: .* not '1e999'"),
        ("1_0 hplt-3.0/ces_Latn", "m.txt:3: .* not '1_0'"),
        ("0.25", "m.txt:3: the weight 0.25 has no path after it"),
    ],
)
def test_a_faulty_line_is_told_by_file_and_line(tmp_path, line, told):
    (tmp_path / "m.txt").write_text(f"# a mix\n0.5 a/mlt_Latn\n{line}\n")
    with pytest.raises(UserError, match=told) as caught:
        mixing.load(tmp_path / "m.txt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("hplt-3.0/ces_Lat", r"m.txt:2: no language in 'hplt-3.0/ces_Lat' \(did you mean 'ces_L"),
        ("texts/Maltees", r"m.txt:2: no language in .* \(did you mean 'Maltese'\?\); put a tag"),
        ("dclm-1.0/7b", "m.txt:2: no language in 'dclm-1.0/7b'; put a tag .* or '#' before"),
        ("hplt-3.0/rus_Cyrl", r"m.txt:2: unknown language 'rus_Cyrl' \(did you mean '...?_Cyrl'"),
        ("opus/eng_Latn-fra_Latn", "m.txt:2: .* names 2 languages: eng_Latn, fra_Latn"),
    ],
)
def test_a_path_without_a_language_is_told_with_the_nearest(tmp_path, path, told):
    (tmp_path / "m.txt").write_text(f"0.5 a/mlt_Latn\n0.5 {path}\n")
    assert len(mixing.load(tmp_path / "m.txt")) == 2
    with pytest.raises(UserError, match=told):
        mixing.load_weights(tmp_path / "m.txt")


def test_a_file_that_holds_no_mix_is_refused(tmp_path):
    for text in ("", "\ufeff", "# only a comment\n\n"):
        (tmp_path / "datamix.txt").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="datamix.txt: empty; a line is a weight and a path"):
            mixing.load(tmp_path / "datamix.txt")
    (tmp_path / "datamix.txt").write_text("0 a/mlt_Latn\n0.0 a/fin_Latn\n")
    with pytest.raises(UserError, match="datamix.txt: every weight is 0"):
        mixing.load_weights(tmp_path / "datamix.txt")
    (tmp_path / "datamix.txt").write_bytes(b"0.5 caf\xe9/fra_Latn\n")
    with pytest.raises(UserError, match="datamix.txt: not readable as UTF-8"):
        mixing.load(tmp_path / "datamix.txt")
    with pytest.raises(UserError, match=r"no datamix at .* \(did you mean '.*datamix.txt'\?\)"):
        mixing.load(tmp_path / "datamx.txt")


def test_an_exported_mix_comes_back_equal(tmp_path):
    sizes = {tag: number**4 for number, tag in enumerate(languages.tags())}
    shares = mixing.shares(sizes, Mix("natural"))
    shares |= {"mlt_Latn": 1.25e-9, "fin_Latn": 1 / 3}
    paths = {tag: f"set 1.0/megatron-lm/{tag}" for tag in shares}
    file = tmp_path / "new folder" / "datamix.txt"
    mixing.export(file, shares, paths)
    given = {tag: share for tag, share in shares.items() if share}
    assert len(given) == len(sizes) - 1
    assert mixing.load(file) == [(share, paths[tag]) for tag, share in given.items()]
    assert mixing.load_weights(file) == given
    # OpenEuroLLM's planner takes a line for one only in this form.
    lines = file.read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"0\.[0-9]+[ \t].+", line) for line in lines)
    assert "0.00000000125 set 1.0/megatron-lm/mlt_Latn" in lines


@pytest.mark.parametrize(
    ("shares", "paths", "told"),
    [
        ({"mlt_Latn": 0.5}, {}, "no path is given for mlt_Latn, which has a share of 0.5"),
        ({"mlt_Latn": 0.5}, {"mlt_Latn": "a/fin_Latn"}, "of mlt_Latn names another language"),
        ({"mlt_Latn": 0.5}, {"mlt_Latn": "a\nb"}, "cannot stand on a line of its own: 'a\\\\nb'"),
        ({"mlt_Latn": 0.5}, {"mlt_Latn": " "}, "cannot stand on a line of its own"),
        ({"mlt_Latn": math.nan}, {"mlt_Latn": "mt"}, "the share of mlt_Latn must be finite"),
        ({"mlt_Latn": 0.0}, {}, "no language has a share to write"),
    ],
)
def test_a_mix_that_would_not_come_back_is_not_written(tmp_path, shares, paths, told):
    with pytest.raises(UserError, match=told):
        mixing.export(tmp_path / "datamix.txt", shares, paths)
    assert not (tmp_path / "datamix.txt").exists()


def test_turns_stay_within_one_of_every_share_where_the_furthest_behind_would_not():
    generator = np.random.default_rng(3)
    worst = 0.0
    for _ in range(60):
        count = int(generator.integers(2, 42))
        shares = generator.dirichlet(np.full(count, generator.choice([0.2, 1.0, 9.0])))
        shares = np.maximum(shares, 1e-4) / np.maximum(shares, 1e-4).sum()
        turns = mixing.Turns(shares.tolist())
        greedy = np.zeros(count)
        for number in range(1, 700):
            turns.next()
            apart = np.abs(np.array(turns.counts) - shares * number).max()
            assert apart <= 1 - 1 / (2 * count - 2) + 1e-9
            greedy[(shares * number - greedy).argmax()] += 1
            worst = max(worst, np.abs(greedy - shares * number).max())
    assert worst > 1


def test_turns_by_hand_and_from_their_counts():
    halves = mixing.Turns([2, 1, 1])
    order = [halves.next() for _ in range(8)]
    assert sorted(order[:4]) == sorted(order[4:]) == [0, 0, 1, 2]
    other = mixing.Turns([2, 1, 1], [1, 1, 1])
    assert [mixing.Turns([5]).next(), other.next()] == [0, 0]
    whole, parts = mixing.Turns([5, 3, 2.5]), mixing.Turns([5, 3, 2.5])
    for _ in range(50):
        parts = mixing.Turns([5, 3, 2.5], parts.counts)
        assert parts.next() == whole.next()


def test_pretraining_plans_tells_and_records_the_mix_once(series, monkeypatch, capsys, tmp_path):
    drawn = []

    def stop_at_once(run, model, phases, config, *rest):
        drawn.append(phases[0].shares)
        raise Stopped("enough seen")

    monkeypatch.setattr(train, "train", stop_at_once)
    file = tmp_path / "datamix.txt"
    file.write_text("0.2 a/mlt_Latn\n0.5 a/ell_Grek\n0.1 b/mlt_Latn\n0.2 a/fin_Latn\n")
    words = ["name=mixed", f"mix={{strategy: weights, datamix: {file}}}", "train.steps=4000"]
    for _ in range(2):
        with pytest.raises(Stopped):
            commands.run("recipes/pretrain/starter.yaml", *words, quiet=True)
        # A run that goes on keeps its shares, whatever becomes of the file.
        file.write_text("1 a/ell_Grek\n")
    assert drawn[0] == drawn[1]
    assert {tag: share for tag, share in drawn[0].items() if share} == pytest.approx(
        {"mlt_Latn": 0.3, "ell_Grek": 0.5, "fin_Latn": 0.2}
    )
    happened = runs.find("pretrain/mixed").record["happened"]
    assert happened["shares"] == drawn[0]
    assert happened["datamix"]["mlt_Latn"] == pytest.approx(0.3)
    # 4,000 steps of 4 sequences of 64 tokens, of which each text has a whole number.
    tokens = happened["tokens_packed"]
    assert happened["epochs_planned"] == pytest.approx(
        {tag: share * 16_000 / (tokens[tag]["train"] // 64) for tag, share in drawn[0].items()}
    )
    assert "phases" not in happened
    repeated = [tag for tag, times in happened["epochs_planned"].items() if times > 4]
    assert happened["repeated"] == repeated
    assert 0 < len(repeated) < len(drawn[0])
    told = capsys.readouterr().err
    assert told.count("text read more than 4 times teaches less") == 1
    assert all(f"{tag} " in told for tag in repeated)


def test_a_fault_in_a_datamix_is_told_before_the_work_begins(series, tmp_path):
    (tmp_path / "datamix.txt").write_text("0.2 a/mlt_Latn\nhalf a/ell_Grek\n")
    mix = f"mix={{strategy: weights, datamix: {tmp_path / 'datamix.txt'}}}"
    with pytest.raises(UserError, match="datamix.txt:2: a line begins with a weight"):
        commands.run("recipes/pretrain/starter.yaml", "name=faulty", mix, quiet=True)
    assert not (runs.root() / "pretrain" / "faulty").exists()


def test_the_plan_comes_true(series):
    happened = runs.find("pretrain/starter").record["happened"]
    # A language's sequences, 24 x 4 in all, are within one of its share.
    assert happened["epochs"] == pytest.approx(happened["epochs_planned"], rel=0.05)
