"""Stopping anywhere and going on equals never having stopped, bit for bit on a CPU."""

import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import PROJECT
from safetensors.torch import load_file

from workbench import __main__, bits, checkpoint, commands, disk, loss, packing, recipe, train
from workbench import model as models
from workbench import run as runs
from workbench.pace import Pace
from workbench.sections import Training
from workbench.sequences import Phase

STARTER = "recipes/pretrain/starter.yaml"


def weights(name):
    return load_file(runs.root() / "pretrain" / name / "model" / "model.safetensors")


def losses(name):
    return [row["loss"] for row in runs.find(f"pretrain/{name}").metrics()]


def same(one, other):
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


def start(name, *overrides):
    return subprocess.Popen(
        [sys.executable, "-m", "workbench", "run", STARTER, f"name={name}", *overrides],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(name, step, process):
    metrics = runs.root() / "pretrain" / name / "metrics.jsonl"
    for _ in range(1200):
        if len(disk.read_jsonl(metrics)) >= step:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError(f"{name} never reached step {step}")


def test_a_seed_repeats_itself(series):
    commands.run(STARTER, "name=again", quiet=True)
    assert same("again", "starter")
    assert losses("again") == losses("starter")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_run_goes_on_to_the_same_bits(series, number, status):
    name = f"signal-{number}"
    process = start(name)
    wait_for_step(name, 3, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == status, said
    assert "workbench resume pretrain/" in said
    assert not runs.find(f"pretrain/{name}").finished
    commands.resume(f"pretrain/{name}")
    assert same(name, "starter")
    assert losses(name) == losses("starter"), "the metrics go on without gap or repetition"


@pytest.mark.parametrize("step", [2, 9, 17])
def test_killed_hard_a_loadable_checkpoint_remains(series, step):
    name = f"killed-{step}"
    process = start(name)
    wait_for_step(name, step, process)
    process.kill()
    process.wait()
    found, problems = checkpoint.latest(runs.root() / "pretrain" / name / "checkpoints")
    assert not problems
    assert (found is None) == (step < 8)
    commands.run(STARTER, f"name={name}", quiet=True)
    assert same(name, "starter")


@pytest.mark.parametrize(
    ("optimizer", "others"),
    [
        ("muon", ("average=0.9", "packing=best_fit", "attention=document", "rate_transfer=true")),
        ("adamw", ("z_loss=0.001", "recompute=true", "schedule=cosine")),
    ],
)
def test_every_option_goes_on_to_the_same_bits(series, optimizer, others):
    more = (f"train.optimizer={optimizer}", "train.steps=12", *(f"train.{one}" for one in others))
    commands.run(STARTER, f"name=whole-{optimizer}", *more, quiet=True)
    process = start(f"parts-{optimizer}", *more)
    wait_for_step(f"parts-{optimizer}", 9, process)
    process.kill()
    process.wait()
    commands.resume(f"pretrain/parts-{optimizer}")
    assert same(f"parts-{optimizer}", f"whole-{optimizer}")
    assert losses(f"parts-{optimizer}") == losses(f"whole-{optimizer}")


def test_the_middle_of_an_accumulated_step_is_no_special_place(series):
    more = ("train.accumulation=3", "train.batch=2", "train.steps=6", "train.checkpoint_every=2")
    commands.run(STARTER, "name=whole", *more, quiet=True)
    process = start("parts", *more)
    wait_for_step("parts", 3, process)
    process.kill()
    process.wait()
    commands.resume("pretrain/parts")
    assert same("parts", "whole")


def test_a_full_disk_ends_with_one_line_and_loses_nothing(series, monkeypatch, capsys):
    real = checkpoint.save_file

    def full(tensors, path):
        if "00000016" in str(path):
            raise OSError(28, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    status = __main__.main(["run", str(series / STARTER), "name=full"])
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 1
    assert said.startswith("workbench: no space left on the disk while writing")
    found, problems = checkpoint.latest(runs.root() / "pretrain/full/checkpoints")
    assert (found.name, problems) == ("step-00000008", [])
    monkeypatch.setattr(checkpoint, "save_file", real)
    commands.run(STARTER, "name=full", quiet=True)
    assert same("full", "starter")


def test_loss_that_is_not_finite_never_reaches_the_weights(series, monkeypatch):
    real = loss.linear_cross_entropy
    calls = iter(range(10**6))

    def sometimes(*words, **more):
        objective, nats = real(*words, **more)
        return (objective * math.nan, nats) if next(calls) == 3 else (objective, nats)

    monkeypatch.setattr(loss, "linear_cross_entropy", sometimes)
    more = ("train.steps=7", "train.compile=never")  # so that nothing is timed before
    run = commands.run(STARTER, "name=nan", *more, quiet=True)
    assert run.record["happened"]["skipped_steps"] == 1
    assert [row["step"] for row in run.metrics() if row["loss"] is None] == [4]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights("nan").values())


def test_too_many_such_steps_end_the_run_and_say_where(series, monkeypatch):
    monkeypatch.setattr(
        loss,
        "linear_cross_entropy",
        lambda *words, **more: (torch.full((), math.nan, requires_grad=True), torch.zeros(())),
    )
    with pytest.raises(RuntimeError, match="3 steps in a row had no finite loss"):
        commands.run(STARTER, "name=hopeless", "train.bad_steps=3", quiet=True)


def test_validation_falls_in_every_language(series):
    measured = [row for row in runs.find("pretrain/starter").metrics() if "bits_per_byte" in row]
    assert len(measured) == 3
    for tag, first in measured[0]["bits_per_byte"].items():
        assert measured[-1]["bits_per_byte"][tag] < first


def test_bf16_trains(series):
    run = commands.run(STARTER, "name=bf16", "train.precision=bf16", "train.steps=4", quiet=True)
    assert run.record["happened"]["precision"] == "bf16"
    assert {tensor.dtype for tensor in weights("bf16").values()} == {torch.float32}
    assert losses("bf16") == pytest.approx(losses("starter")[:4], rel=0.02)


def test_the_loop_needs_no_validation_text(series):
    run = commands.run(STARTER, "name=blind", "data.validation=0", "train.steps=3", quiet=True)
    assert run.record["happened"]["bits_per_byte"] == {}
    pack = packing.Pack(runs.root() / packing.CACHE / run.record["happened"]["pack"])
    assert all(counts["validation"] == 0 for counts in pack.facts["tokens"].values())
    assert recipe.load(run.path / "recipe.yaml").data.validation == 0


def test_a_model_comes_out_of_mixed_precision_as_it_went_in(series):
    run = runs.find("pretrain/starter")
    pack = packing.Pack(runs.root() / packing.CACHE / run.record["happened"]["pack"])
    model = models.load("pretrain/starter")
    tokens = torch.arange(30).unsqueeze(0)
    config = Training(steps=1, batch=1, sequence=32, learning_rate=1e-30, weight_decay=0.0)
    with torch.inference_mode():
        before = model(input_ids=tokens).logits
    scratch = runs.Run.begin(
        recipe.parse("kind: inspect\nname: scratch\nwhy: a place to train in\n")
    )
    folder = scratch.path / "checkpoints"
    phases = [Phase(pack, {"mlt_Latn": 1.0}, 1)]
    train.train(scratch, model, phases, config, folder, Pace("bf16"))
    scratch.leave("stopped")
    with torch.inference_mode():
        after = model.eval()(input_ids=tokens).logits
    assert torch.equal(before, after)


def test_the_average_is_measured_and_kept_and_the_weights_go_on_without_it(series):
    short = ("train.steps=9", "train.validate_every=9")
    commands.run(STARTER, "name=plain", *short, quiet=True)
    averaged = commands.run(STARTER, "name=averaged", *short, "train.average=0.9", quiet=True)
    assert losses("averaged") == losses("plain")
    assert not same("averaged", "plain")
    (newest,) = sorted((averaged.path / "checkpoints").glob("*9"))
    kept = load_file(newest / "state.safetensors")
    final = weights("averaged")
    for name, tensor in load_file(newest / "model.safetensors").items():
        assert torch.equal(final[name], kept[f"average.{name}"])
        assert torch.equal(tensor, weights("plain")[name])
    # What was measured at the last step is what the finished model has.
    model = models.load("pretrain/averaged")
    pack = packing.Pack(runs.root() / packing.CACHE / averaged.record["happened"]["pack"])
    shard, end = pack.shard("mlt_Latn", "validation"), pack.facts["end_token"]
    measured = bits.per_byte(*bits.of_documents(model, shard, end, 64, 2))
    assert averaged.record["happened"]["bits_per_byte"]["mlt_Latn"] == pytest.approx(measured)


def test_documents_kept_whole_leave_a_share_that_is_told(series):
    run = commands.run(STARTER, "name=whole-text", "train.packing=best_fit", "train.steps=3")
    told = run.record["happened"]["layout"]["phases"][0]
    assert told["lost"] == 0
    assert 0 < told["padded"] < 0.2
    assert 0 <= run.record["happened"]["wait_share"] < 1
    assert all(row["loss"] > 0 for row in run.metrics())
