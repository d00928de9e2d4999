"""Our side of the benchmarks, on a handful of documents; the peers are not needed."""

import importlib
import json
from collections import Counter

import numpy as np
import pytest
from conftest import PROJECT

from benchmarks import inspection, inspection_job, near_duplicates, rate_transfer
from workbench import passages

TAGS = ("ell_Grek", "kat_Geor", "mlt_Latn")
MODULES = sorted(file.stem for file in (PROJECT / "benchmarks").glob("*.py"))


def lines_of(tag, first=0):
    """Documents of a hundred words and more: a few passages each."""
    texts = [" ".join(sentences) for sentences in passages.read(tag).values()]
    return [
        json.dumps({"id": f"{number}", "lang": tag, "text": " ".join(texts[number : number + 6])})
        + "\n"
        for number in range(first, len(texts) - 6, 6)
    ]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Three languages, and copies of three documents in each with hardly a word changed."""
    folder = tmp_path_factory.mktemp("text")
    for number, tag in enumerate(TAGS):
        planted = near_duplicates.plant(lines_of(tag), 3, seed=number)
        (folder / f"{tag}.jsonl").write_text("".join(planted), encoding="utf-8")
    return folder


def test_every_module_can_be_imported():
    assert len(MODULES) > 2
    for name in MODULES:
        importlib.import_module(f"benchmarks.{name}")


def test_the_timed_work_measures_every_document_and_finds_the_copies(text, tmp_path):
    files = sorted(text.glob("*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.open(encoding="utf-8")]
    found = inspection_job.signals_and_duplicates(files, tmp_path / "work", workers=2)
    assert found["documents"] == len(rows)
    assert found["bytes"] == sum(len(row["text"].encode()) for row in rows)
    copies = {number for number, row in enumerate(rows) if near_duplicates.COPY in row["id"]}
    assert len(copies) == 9
    # The three lowest rates change about one word in a hundred, which no band can overlook.
    assert set(found["dropped"]) == copies
    with np.load(tmp_path / "work" / "mlt_Latn.jsonl.signals.npz") as table:
        assert table["words"].min() > 50
        assert table["stop_words"].min() >= 2


def test_copies_come_after_the_originals_and_differ_by_words():
    lines = lines_of("fin_Latn")
    planted = near_duplicates.plant(lines, 4, seed=7)
    assert planted[: len(lines)] == lines
    assert planted == near_duplicates.plant(lines, 4, seed=7)
    assert planted != near_duplicates.plant(lines, 4, seed=8)
    originals = {row["id"]: row["text"] for row in map(json.loads, lines)}
    for row in map(json.loads, planted[len(lines) :]):
        name, _, rate = row["id"].partition(near_duplicates.COPY)
        assert float(rate) in near_duplicates.RATES
        before, after = (Counter(one.split()) for one in (originals[name], row["text"]))
        assert 1 <= (before - after).total() + (after - before).total() < 0.2 * before.total()


def test_one_edit_of_three_words():
    random = np.random.default_rng(0)
    seen = {near_duplicates.edited("a b\n\nc", 0.0, ["x"], random) for _ in range(200)}
    assert seen == {
        *("x b\n\nc", "a x\n\nc", "a b\n\nx"),
        *(" b\n\nc", "a \n\nc", "a b\n\n"),
        *("a x b\n\nc", "a b x\n\nc", "a b\n\nc x"),
    }


def test_documents_joined_to_an_earlier_one_are_dropped():
    assert near_duplicates.dropped([]) == set()
    # 1 and 3 come to 0 over 2; 4 is joined to 5 only.
    assert near_duplicates.dropped([(2, 3), (1, 2), (0, 3), (4, 5)]) == {1, 2, 3, 5}


def test_pairs_share_a_band_and_none_joins_documents_without_words():
    none = near_duplicates.duplicates.NO_KEY
    keys = np.array([[1, 2], [9, 2], [1, 7], [none, none], [none, none]], dtype=np.uint64)
    assert near_duplicates.sharing(keys) == {(0, 1), (0, 2)}


def test_the_curve_of_14_bands_with_8_rows():
    """datatrove's documentation states 0.924 for an index of 0.8."""
    chances = near_duplicates.chance(np.array([0.0, 0.8, 1.0]))
    np.testing.assert_allclose(chances, [0, 0.924, 1], atol=0.0005)


def test_mixing_is_undone():
    """MurmurHash3 of nothing with seed 1 is its finalizer of 1: 0x514e28b7."""
    assert near_duplicates.unmixed(np.array([0x514E28B7, 0], dtype=np.uint32)).tolist() == [1, 0]


def test_with_equal_permutations_datasketch_finds_the_same_pairs(text):
    found = near_duplicates.compare(text)
    same = found["same_permutations"]
    assert same["by_both"] >= 9
    assert (same["only_by_ours"], same["only_by_theirs"]) == (0, 0)
    assert len(found["planted"]) == found["planted_pairs"] == 9
    last = next(row for row in found["by_jaccard"] if row["from"] == 0.9)
    assert last["ours_of_theirs"] == last["theirs_of_ours"] == 1


def test_what_is_missing_is_told_in_one_line(tmp_path, capsys):
    words = [str(tmp_path), "--parts", "whole", "--out", str(tmp_path / "out.json")]
    assert inspection.main(words) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"no mono/*.jsonl.gz in {tmp_path}" in told
    with pytest.raises(SystemExit) as ended:
        inspection.main(["--parts", "duplicates"])
    assert ended.value.code == 2
    assert "needs --out" in capsys.readouterr().err


def test_the_best_rate_is_the_vertex_of_a_parabola():
    """Loss 3 + (log2(rate / 0.005))^2 / 10, measured at powers of two of a thousandth."""
    losses = {1e-3 * 2**power: 3 + np.log2(1e-3 * 2**power / 0.005) ** 2 / 10 for power in range(5)}
    assert rate_transfer.optimum(losses) == pytest.approx((0.005, 3))
    assert rate_transfer.between(losses, 0.01) == pytest.approx(3.1)


def test_rates_are_tried_until_the_best_has_two_on_either_side(tmp_path, monkeypatch, capsys):
    tried = []

    def train(text, series, rate):
        tried.append(rate)
        return [9.0] + [float(abs(np.log2(rate / 0.001)))] * rate_transfer.LAST

    monkeypatch.setattr(rate_transfer, "Text", lambda: None)
    monkeypatch.setattr(rate_transfer, "train", train)
    series = rate_transfer.Series("muon", 64)
    rate_transfer.Cells(tmp_path / "cells.jsonl").measure(series)
    assert sorted(tried) == [0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008]
    # What is finished is not measured again, and the base computes the same with rates transferred.
    tried.clear()
    cells = rate_transfer.Cells(tmp_path / "cells.jsonl")
    cells.measure(series)
    assert tried == []
    cells.measure(rate_transfer.Series("muon", 128, output=0.5))
    assert cells.found(rate_transfer.Series("muon", 128)).keys() == set(tried)
    assert capsys.readouterr().err.count("nats") == 12


def test_a_training_of_the_benchmark_learns_and_has_its_own_width(monkeypatch):
    monkeypatch.setattr(rate_transfer, "STEPS", 6)
    text = rate_transfer.Text()
    found = rate_transfer.train(text, rate_transfer.Series("muon", 32, 1, output=0.5), 0.004)
    assert len(found) == 6
    assert found[-1] < found[0]
    before = rate_transfer.train(text, rate_transfer.Series("muon", 32, 1), 0.004)
    assert before[0] == found[0]
    assert before[-1] != found[-1]
    assert "one" not in rate_transfer.family.SIZES
    assert rate_transfer.optimizers.POWERS["adamw"]["output"] == rate_transfer.OUTPUT
