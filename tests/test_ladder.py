"""A ladder says what comes before it comes, and stopping anywhere changes nothing of it."""

import os
import subprocess
import sys
import time

import pytest
import torch
from conftest import PROJECT, TAGS
from safetensors.torch import load_file

from workbench import commands, disk, document, ladder, plan, recipe, scaling, train
from workbench import model as models
from workbench import run as runs
from workbench.errors import UserError
from workbench.family import SIZES

STARTER = "recipes/pretrain/starter.yaml"
WORDS = ("ladder={rungs: [femto, pico], documents: 4, resamples: 100}", "train.steps=60")
TABLES = ("rungs", "laws", "validation", "languages")
TEXT = "kind: pretrain\nname: x\nwhy: to see\ntokenizer: tokenizer/starter\n"


@pytest.fixture(scope="module")
def climbed(series):
    return commands.run(STARTER, "name=climbed", *WORDS, quiet=True)


def start(name):
    return subprocess.Popen(
        [sys.executable, "-m", "workbench", "run", STARTER, f"name={name}", *WORDS],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(name, label, step, process):
    metrics = runs.root() / "pretrain" / name / "metrics.jsonl"
    for _ in range(2400):
        rows = disk.read_jsonl(metrics)
        if any(row["label"] == label and row["step"] >= step for row in rows):
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.025)
    raise AssertionError(f"{name} never reached step {step} of {label}")


def weights(run, folder="model"):
    return load_file(run.path / folder / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def without_speed(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_sizes_lie_on_one_path_of_tokens_a_weight(climbed):
    rows = [row for row in climbed.read_result("rungs") if row["tag"] == scaling.ALL]
    assert [row["size"] for row in rows] == ["femto", "pico", "nano"]
    vocabulary = models.load(climbed.reference).config.vocab_size
    for row in rows:
        assert row["parameters"] == SIZES[row["size"]].parameters(vocabulary)
        exact = 60 * row["parameters"] / rows[-1]["parameters"]
        assert abs(row["steps"] - exact) <= 0.5
        assert row["tokens"] == row["steps"] * 4 * 64
        assert row["tokens_per_parameter"] == row["tokens"] / row["parameters"]
    assert sum(row["flops"] for row in rows) == climbed.record["happened"]["ladder"]["flops"]
    assert rows[-1]["flops"] == climbed.record["happened"]["flops"]


def test_every_size_has_a_row_and_an_interval_for_every_language(climbed):
    points = climbed.read_result("rungs")
    assert {row["tag"] for row in points} == {*TAGS, scaling.ALL}
    assert len(points) == 3 * (len(TAGS) + 1)
    for row in points:
        assert row["bits_per_byte_low"] <= row["bits_per_byte"] <= row["bits_per_byte_high"]
    table = climbed.read_result("validation")
    own = [row for row in table if (row["size"], row["tag"]) == ("pico", "mlt_Latn")]
    (told,) = [row for row in points if (row["size"], row["tag"]) == ("pico", "mlt_Latn")]
    assert len(own) == told["documents"] == 4
    mean = sum(row["bits"] for row in own) / sum(row["bytes"] for row in own)
    assert mean == pytest.approx(told["bits_per_byte"])


def test_two_rungs_make_the_line_through_them(climbed):
    points = climbed.read_result("rungs")
    for law in climbed.read_result("laws"):
        first, second, model = (row for row in points if row["tag"] == law["tag"])
        slope = torch.tensor([first["bits_per_byte"], second["bits_per_byte"]]).log().diff()
        way = torch.tensor([first["flops"], second["flops"]]).double().log().diff()
        assert law["form"] == "power"
        assert law["exponent"] == pytest.approx(-float(slope / way), rel=1e-4)
        assert law["measured"] == model["bits_per_byte"]
        assert law["flops"] == model["flops"], "the compute that was planned is what was spent"


def test_what_is_predicted_stands_in_the_record_before_the_model_trains(series, monkeypatch):
    seen = {}
    real = train.train

    def watched(run, model, phases, config, checkpoints, pace_, label=""):
        fresh = runs.Run(run.path)
        seen[label] = (fresh.record["happened"].get("predicted"), [one.shares for one in phases])
        return real(run, model, phases, config, checkpoints, pace_, label)

    monkeypatch.setattr(train, "train", watched)
    run = commands.run(STARTER, "name=watched", *WORDS, quiet=True)
    assert list(seen) == ["femto", "pico", "nano"]
    assert seen["femto"][0] is seen["pico"][0] is None
    predicted = seen["nano"][0]
    assert predicted["model"] == "nano"
    labels = [row["label"] for row in run.metrics()]
    assert labels.index("nano") == predicted["metrics_rows"]
    kept = run.record["happened"]["predicted"]
    assert kept == predicted
    for before, after in zip(kept["laws"], run.read_result("laws"), strict=True):
        assert before.items() <= after.items()
        assert after["error_percent"] == pytest.approx(
            100 * (after["measured"] / before["predicted"] - 1)
        )
    assert seen["femto"][1] == seen["pico"][1] == seen["nano"][1], "one mix for all"


@pytest.mark.parametrize(
    ("label", "step", "kill"), [("pico", 4, True), ("pico", 9, False), ("nano", 20, True)]
)
def test_stopped_in_any_size_it_goes_on_to_the_same_bits_and_tables(climbed, label, step, kill):
    name = f"stopped-{label}-{step}"
    process = start(name)
    wait_for(name, label, step, process)
    process.kill() if kill else process.terminate()
    process.communicate(timeout=120)
    begun = runs.find(f"pretrain/{name}")
    assert not begun.finished
    first = (begun.path / ladder.RUNGS / "femto" / ladder.DONE).stat().st_mtime_ns
    run = commands.resume(begun.reference)
    done = run.path / ladder.RUNGS / "femto" / ladder.DONE
    assert done.stat().st_mtime_ns == first, "a finished rung is not trained again"
    assert same(weights(run), weights(climbed))
    assert same(weights(run, "rungs/pico"), weights(climbed, "rungs/pico"))
    for table in TABLES:
        assert without_speed(run.read_result(table)) == without_speed(climbed.read_result(table))
    steps = [(row["label"], row["step"], row["loss"]) for row in run.metrics()]
    assert steps == [(row["label"], row["step"], row["loss"]) for row in climbed.metrics()]
    assert not (run.path / ladder.WORK).exists()


def test_a_model_with_a_ladder_is_the_model_without_one(series, climbed):
    """The rungs leave nothing behind that the model's own training would notice."""
    alone = commands.run(STARTER, "name=alone", WORDS[1], quiet=True)
    assert same(weights(alone), weights(climbed))
    assert alone.record["happened"]["shares"] == climbed.record["happened"]["shares"]


def test_what_comes_after_takes_it_as_any_other_model(climbed):
    after = commands.run(
        "recipes/evaluate/starter.yaml",
        "name=of-ladder",
        f"base={climbed.reference}",
        "adapters=",
        "pairs=false",
        quiet=True,
    )
    assert {row["tag"] for row in after.read_result("languages")} == set(TAGS)
    assert models.load(str(climbed.path / "rungs" / "pico")).config.hidden_size == 64


def test_each_rung_has_a_pace_of_its_own(climbed):
    happened = climbed.record["happened"]
    assert set(happened["paces"]) == {"femto", "pico"}
    for one in (*happened["paces"].values(), happened):
        assert one["precision"] == "fp32"
        assert one["compiled"] is False


def test_it_is_shown_drawn_planned_and_documented(climbed):
    shown = commands.show(climbed.reference)
    assert "mean of 5" in shown
    assert "error_percent" in shown
    assert {"law.png", "prediction.png", "slopes.png"} <= {
        path.name for path in (climbed.path / "figures").glob("*.png")
    }
    made = plan.of_run(climbed)
    assert [rung.size for rung in made.rungs] == ["femto", "pico"]
    told = climbed.record["happened"]["ladder"]
    assert made.flops + sum(rung.flops for rung in made.rungs) == told["flops"]
    assert "sum" in commands.plan(climbed.reference)
    card, _ = document.write(climbed)
    assert "femto, pico were trained first to predict nano" in card.read_text(encoding="utf-8")


def test_an_ordinary_training_has_nothing_of_it(series):
    run = runs.find("pretrain/starter")
    assert not {"predicted", "paces", "ladder"} & set(run.record["happened"])
    assert {path.stem for path in (run.path / "figures").glob("*.png")} == {"training"}
    assert not plan.of_run(run).rungs


def test_without_validation_text_it_is_refused(series):
    with pytest.raises(UserError, match="a ladder is measured on validation text"):
        commands.run(STARTER, "name=blind-ladder", *WORDS, "data.validation=0", quiet=True)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("{rungs: [nanno, pico]}", r"ladder.rungs\[0\] is 'nanno' \(did you mean 'nano'\?\)"),
        ("{rungs: [pico]}", "ladder.rungs must be two sizes or more"),
        ("{rungs: [pico, femto]}", "ladder.rungs must rise .* they are pico, femto"),
        ("{rungs: [pico, pico]}", "ladder.rungs must rise"),
        ("{rungs: [pico, nano]}", "ladder.rungs must be smaller .* 'nano' is not smaller"),
        ("{rungs: [femto, pico], documents: 0}", "ladder.documents must be at least 1"),
        ("{rungs: [femto, pico], resamples: 9}", "ladder.resamples must be at least 100"),
        ("{rung: [femto, pico]}", r"unknown key 'ladder.rung' \(did you mean 'rungs'\?"),
    ],
)
def test_a_mistake_in_a_ladder_is_told_with_its_place(more, told):
    with pytest.raises(UserError, match=f"f.yaml:5: {told}") as caught:
        recipe.parse(f"{TEXT}ladder: {more}\n", origin="f.yaml")
    assert "\n" not in str(caught.value)


def test_a_rungs_training_by_hand():
    """With 1000 tokens femto has 56,800 weights and nano 915,840, which is 16.1 times as many.

    Femto, of width 32: 32,000 in its embedding, in each of 2 layers 3,072 for attention, 9,216 for
    the rest and 96 in norms, 32 in the last norm.
    """
    assert SIZES["femto"].parameters(1000) == 32_000 + 2 * (3_072 + 9_216 + 96) + 32
    wanted = recipe.parse(f"{TEXT}ladder: {{rungs: [femto, pico]}}\ntrain: {{steps: 1000}}\n")
    of_rung = wanted.training_of("femto", 1000)
    assert (of_rung.steps, of_rung.warmup) == (62, 1)
    assert wanted.training_of("nano", 1000) == wanted.train


def test_a_ladder_is_of_one_mix():
    phases = "curriculum: [{share: 0.5}, {share: 0.5, mix: {strategy: uniform}}]\n"
    with pytest.raises(UserError, match="f.yaml:5: ladder.rungs are given, and a curriculum too"):
        recipe.parse(f"{TEXT}ladder: {{rungs: [femto, pico]}}\n{phases}", origin="f.yaml")
