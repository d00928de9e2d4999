"""Two processes over gloo train as one does, stop and go on exactly, and end together."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from conftest import PROJECT
from safetensors.torch import load_file

from workbench import bits, commands, disk, packing, processes
from workbench import model as models
from workbench import run as runs
from workbench.errors import OutOfSpace, Stopped, UserError
from workbench.sections import Training

STARTER = "recipes/pretrain/starter.yaml"
SHARDS = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
}
SHORT = ("train.steps=12", "train.checkpoint_every=4", "train.validate_every=12")


def launch(count, *words, **variables):
    """Start the command line in ``count`` processes, as ``accelerate launch`` does."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), "--standalone"]
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "workbench", *words],
        env=os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", **variables},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return told


def weights(name):
    return load_file(runs.root() / "pretrain" / name / "model" / "model.safetensors")


def losses(name):
    return [row["loss"] for row in runs.find(f"pretrain/{name}").metrics()]


def measure(model, run, tag, documents):
    """Measure validation text of ``run`` in this process; return bits and bytes."""
    pack = packing.Pack(runs.root() / packing.CACHE / run.record["happened"]["pack"])
    shard, end = pack.shard(tag, "validation"), pack.facts["end_token"]
    return bits.of_documents(models.load(model), shard, end, 64, documents)


def wait_for_step(name, step, process):
    for _ in range(2400):
        if len(disk.read_jsonl(runs.root() / "pretrain" / name / runs.METRICS)) >= step:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError(f"{name} never reached step {step}")


@pytest.fixture(scope="module")
def alone(series):
    """A run of one process, to hold the others against."""
    return commands.run(STARTER, "name=one-process", *SHORT, quiet=True)


@pytest.fixture(scope="module")
def pair(alone):
    """The same by two processes."""
    told = finish(launch(2, "run", STARTER, "name=pair", *SHORT))
    assert told.count("12 steps") == 1
    return runs.find("pretrain/pair")


def test_two_processes_have_the_loss_of_one(alone, pair):
    assert losses("pair") == pytest.approx(losses("one-process"), rel=1e-5)
    assert pair.record["happened"]["tokens"] == alone.record["happened"]["tokens"]
    assert pair.record["happened"]["processes"] == 2
    assert runs.verify(pair) == []
    for name, tensor in weights("one-process").items():
        assert torch.allclose(weights("pair")[name], tensor, atol=1e-4), name
    both = pair.metrics()[-1]["bits_per_byte"], alone.metrics()[-1]["bits_per_byte"]
    assert both[0] == pytest.approx(both[1], rel=1e-4)
    # Each measured half of the documents; together they have what one process measures.
    again = {
        tag: bits.per_byte(*measure("pretrain/pair", pair, tag, documents=2)) for tag in both[0]
    }
    assert both[0] == pytest.approx(again, rel=1e-6)


def test_when_one_of_two_is_killed_both_end_and_the_run_goes_on_to_the_same_bits(pair):
    process = launch(2, "run", STARTER, "name=widow", *SHORT)
    wait_for_step("widow", 6, process)
    (second,) = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if child.environ().get("RANK") == "1"
    ]
    second.kill()
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert not runs.find("pretrain/widow").finished
    told = finish(launch(2, "resume", "pretrain/widow"))
    assert "goes on from step 4" in told
    assert losses("widow") == losses("pair")
    measured = [
        [row.get("bits_per_byte") for row in runs.find(f"pretrain/{name}").metrics()]
        for name in ("widow", "pair")
    ]
    assert measured[0] == measured[1]
    first, other = weights("pair"), weights("widow")
    assert all(torch.equal(first[name], other[name]) for name in first)


def test_a_model_in_shards_goes_on_in_another_number_of_processes(alone):
    """Muon, documents for themselves, averages and recomputing ride along and change nothing."""
    more = ("train.optimizer=muon", "train.attention=document", "train.average=0.9")
    more = (*more, "train.validate_every=3")
    commands.run(STARTER, "name=unsharded", *SHORT, *more, quiet=True)
    words = ("name=shards", *SHORT, *more, "train.recompute=true")
    process = launch(2, "run", STARTER, *words, **SHARDS)
    wait_for_step("shards", 5, process)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert told.count("stopped at step") == 1, told
    (*_, newest) = sorted((runs.root() / "pretrain/shards/checkpoints").iterdir())
    parts = [load_file(newest / f"state-0000{number}-of-00002.safetensors") for number in (1, 2)]
    assert parts[0].keys() == parts[1].keys()
    # Each holds its rows of the embedding's moments: 800 tokens in all.
    assert [part["28.exp_avg"].shape[0] for part in parts] == [400, 400]
    told = finish(launch(1, "resume", "pretrain/shards"))
    assert "goes on from step" in told
    assert losses("shards") == pytest.approx(losses("unsharded"), rel=1e-3)
    whole, shards = weights("unsharded"), weights("shards")
    assert whole.keys() == shards.keys()
    # Muon computes in bf16, so that sums in another order show.
    assert max((whole[name] - shards[name]).abs().max() for name in whole) < 3e-3


def test_shards_compute_in_bf16_as_one_process_does_and_each_size_of_a_ladder_is_measured(series):
    ladder = "ladder={rungs: [femto, pico], documents: 3, resamples: 100}"
    words = ("train.steps=3", "train.precision=bf16", "train.validate_every=3", ladder)
    one = commands.run(STARTER, "name=unsharded-bf16", *words, quiet=True)
    finish(launch(2, "run", STARTER, "name=shards-bf16", *words, **SHARDS))
    assert losses("shards-bf16") == pytest.approx(losses("unsharded-bf16"), rel=1e-3)
    assert {weight.dtype for weight in weights("shards-bf16").values()} == {torch.float32}
    two = runs.find("pretrain/shards-bf16")
    measured = [[row["bits_per_byte"] for row in run.read_result("rungs")] for run in (one, two)]
    assert measured[1] == pytest.approx(measured[0], rel=1e-3)
    # What was measured in shards is what the rung that was written has, in full precision.
    again, _ = measure(str(two.path / "rungs" / "pico"), two, "mlt_Latn", documents=3)
    told = disk.read_json(two.path / "rungs" / "pico" / "done.json")["measured"]["mlt_Latn"]["bits"]
    assert told == pytest.approx(again.tolist(), rel=1e-5)


def test_mistakes_are_told_once_and_end_all(series):
    process = launch(2, "run", "recipes/inspect/starter.yaml", "name=many")
    _, told = process.communicate(timeout=120)
    assert process.returncode != 0
    assert told.count("several processes are for what trains") == 1
    assert "UserError" not in told
    process = launch(2, "run", STARTER, "name=odd", "train.batch=3")
    _, told = process.communicate(timeout=120)
    assert told.count("the 3 sequences of a step cannot be dealt out evenly to 2") == 1
    assert not (runs.root() / "pretrain" / "odd").exists()


@pytest.mark.parametrize(
    ("batch", "accumulation", "number", "share"),
    [(4, 1, 1, (1, 4)), (4, 6, 2, (3, 4)), (4, 1, 2, (1, 2)), (8, 3, 4, (1, 6)), (4, 5, 2, (5, 2))],
)
def test_a_step_is_dealt_out_evenly(batch, accumulation, number, share):
    config = Training(batch=batch, accumulation=accumulation)
    assert config.share_of_step(number) == share
    parts, rows = share
    assert parts * rows * number * config.sequence == config.tokens_a_step


def test_alone_nothing_is_asked_of_others():
    assert processes.count() == 1
    assert processes.rank() == 0
    assert processes.from_first(lambda: 3) == 3
    assert processes.gathered("x") == ["x"]
    with pytest.raises(UserError, match="mine"):
        processes.agree(lambda: _raise(UserError("mine")))


def _raise(fault):
    raise fault


@pytest.mark.parametrize("kind", [UserError, OutOfSpace, Stopped])
def test_the_fault_of_another_process_is_not_told_again(kind):
    fault = processes._fault(kind.__name__, "why")
    assert type(fault) is kind
    assert str(fault) == "why"
    assert processes.told(fault)
    assert not processes.told(UserError("own"))
    assert "KeyError: x" in str(processes._fault("KeyError", "x"))
