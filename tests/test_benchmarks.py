"""Our side of the benchmarks, on a handful of documents; the peers are not needed."""

import importlib
import json
import os
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from conftest import PROJECT

from benchmarks import (
    common,
    exactness,
    inspection,
    inspection_job,
    near_duplicates,
    rate_transfer,
    time_to_quality,
    timed,
    training_gpu,
)
from workbench import disk, passages

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


@pytest.mark.skipif(sys.platform != "linux", reason="it forks a process that has loaded torch")
def test_a_training_killed_twice_ends_as_one_undisturbed(tmp_path):
    """In a process of its own: a process that others have used may have threads."""
    out = tmp_path / "exactness.json"
    few = {"kills": 2, "stops": 1, "steps": 63, "size": 800, "flips": 2, "whole": 0, "out": out}
    words = [word for name, value in few.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.exactness", *words],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 kills, ")
    found = json.loads(out.read_text(encoding="utf-8"))
    training, files = found["training"], found["damage"]["files"]
    assert training["kills"] == sum(training["kills_while_it"].values()) == 2
    assert training["stops"] == {"SIGTERM": 1}
    assert set(training["equal"].values()) == {True}
    assert {"MANIFEST.json", "model.safetensors", "state.json"} < {row["file"] for row in files}
    for row in files:
        assert (row["flips"], row["cuts"], row["deletions"]) == (2, 3, 1)
        assert row["undetected"] == row["told_wrongly"] == row["previous_not_taken"] == 0


def test_damage_that_goes_unnoticed_is_counted(tmp_path):
    """A checkpoint whose note no manifest names: four changes, three cuts and a deletion."""
    for step in (1, 2):
        folder = tmp_path / f"step-{step:08d}"
        folder.mkdir()
        (folder / "state.json").write_text("{}")
        disk.write_manifest(folder)
    note = folder / "note.txt"
    note.write_text("good")
    manifest, noted, state = exactness.damage(tmp_path, 4, 8, random.Random(1))
    assert noted == {
        **{"file": "note.txt", "bytes": 4, "flips": 4, "cuts": 3, "deletions": 1},
        **{"undetected": 8, "told_wrongly": 8, "previous_not_taken": 8},
    }
    assert state["flips"] == 2
    assert manifest["flips"] == 4
    assert manifest["undetected"] == manifest["told_wrongly"] == state["undetected"] == 0
    assert note.read_text() == "good"
    assert not exactness.right({"training": {"equal": {}}, "damage": {"files": [noted]}})


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


def test_compiling_is_left_out_by_the_median_of_the_later_steps():
    ends = timed.without_compiling([30, 31, 32, 33, 34, 36, 38])
    assert ends == [2, 4, 6, 8, 9, 11, 13]


def test_a_seed_is_reached_only_at_or_below_the_peers_end():
    def row(bits, seconds, tokens):
        return {
            "seed": 1,
            "bits_per_byte": bits,
            "seconds": seconds,
            "seconds_without_compiling": seconds - 10,
            "tokens": tokens,
        }

    peers = [row(2.5, 110, 400), row(2.5, 110, 400)]
    found = time_to_quality.summary([row(2.5, 60, 300), row(2.6, 35, 200)], peers)
    assert [one["reached"] for one in found["seeds"]] == [True, False]
    assert found["reached_by_all"] is False
    assert found["wall_ratio_without_compiling_highest"] == 0.5
    assert found["wall_ratio_without_compiling_mean"] == 0.375
    assert found["seeds"][0]["token_ratio"] == 0.75


@pytest.fixture
def here(monkeypatch):
    """Children of benchmarks run in this process, which has everything imported."""
    threads, environment = torch.get_num_threads(), dict(os.environ)

    def run_child(command):
        _, _, module, *words = command
        assert importlib.import_module(module).main(words) == 0
        return common.Child(1.0, 1, 1, 0, (0.0, 0.0), "")

    monkeypatch.setattr(common, "run_child", run_child)
    yield
    torch.set_num_threads(threads)
    os.environ.clear()
    os.environ.update(environment)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("here")
def test_time_to_quality_on_the_starter_corpus(tmp_path, capsys):
    """Two rates on one seed: three trainings, kept when they are asked for again."""
    out = tmp_path / "found.json"
    words = ["--smoke", "--keep", "--steps", "6", "--own-steps", "4", "--seeds", "3"]
    words += ["--rates", "1e-9", "5e-3"]
    assert time_to_quality.main([*words, "--threads", "1", "--out", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["tuning"]["best"] == 5e-3
    (own,), (their,) = found[time_to_quality.OURS], found[time_to_quality.PEER]
    assert (own["tokens"], their["tokens"]) == (4 * 2048, 6 * 2048)
    assert [point["step"] for point in own["curve"]] == [1, 2, 3, 4]
    # A rate of next to nothing leaves the first weights as they were: the same in both.
    untaught = found["tuning"]["bits_per_byte"]["1e-09"]
    assert untaught > their["bits_per_byte"]
    assert untaught > own["bits_per_byte"]
    assert out.with_suffix(".png").read_bytes()[1:4] == b"PNG"
    assert "workbench, seed 3, 4 steps" in capsys.readouterr().out
    assert time_to_quality.main([*words, "--threads", "1", "--out", str(out)]) == 0
    assert "workbench, seed 3" not in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_training_gpu_walks_on_a_cpu_and_claims_nothing(tmp_path):
    out = tmp_path / "found.json"
    assert training_gpu.main(["--smoke", "--steps", "2", "--out", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["smoke"] is True
    assert found["peak_flops"] is None
    assert [row["by"] for row in found["rows"]] == [training_gpu.OURS, training_gpu.PEER]
    assert not any("mfu" in row for row in found["rows"])
    assert found["losses"]["fp32"]["within"]
    assert len(found["losses"]["bf16"]["losses"]) == 2


def test_mfu_of_base_by_hand():
    """12 layers of 768 with 12 heads, 4 of keys and values, of 64; SwiGLU of 2304; 2048 tokens.

    A layer multiplies 2 x 768 x (768 + 256) + 3 x 768 x 2304 = 6,881,280 weights, the output
    50,304 x 768 = 38,633,472; attention takes 12 x 12 x 768 x 2048 = 226,492,416.
    """
    spent = 6 * (12 * 6_881_280 + 38_633_472) + 226_492_416
    found = training_gpu.utilisation(1e5, "base", 2048, spent * 2e5)
    assert found == {
        "flops_per_token": spent,
        "mfu": 0.5,
        "mfu_attention_halved": round(0.5 * (1 - 113_246_208 / spent), 4),
    }


def test_cards_are_known_by_the_names_of_their_driver():
    assert training_gpu.machine_of("NVIDIA H200").name == "h200"
    assert training_gpu.machine_of("NVIDIA H100 80GB HBM3").name == "h100"
    assert training_gpu.machine_of("NVIDIA A100-SXM4-80GB").name == "a100"
    for other in ("NVIDIA H100 PCIe", "NVIDIA H200 NVL", "NVIDIA GeForce RTX 4090"):
        assert training_gpu.machine_of(other) is None


def test_losses_too_far_apart_are_not_within():
    found = training_gpu.agreement([9.0, 8.0], {"fp32": [9.0, 8.001], "bf16": [9.2, 8.0]})
    assert found["fp32"]["within"]
    assert not found["bf16"]["within"]
    assert found["bf16"]["furthest_apart"] == pytest.approx(0.2)
