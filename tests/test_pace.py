import os
import subprocess
import sys

import pytest
import torch
from conftest import PROJECT
from safetensors.torch import load_file

from workbench import commands, loss, pace
from workbench import model as models
from workbench import run as runs
from workbench.sections import Training

STARTER = "recipes/pretrain/starter.yaml"
needs_compiler = pytest.mark.skipif(
    pace.missing_compiler() is not None, reason="torch.compile needs a C++ compiler"
)


@pytest.fixture
def model():
    return models.build("nano", 300, 64, 0, 1)


def test_precision_is_measured_and_an_explicit_one_obeyed(model):
    assert pace.choose_precision(model, Training(precision="bf16")) == ("bf16", {})
    chosen, seconds = pace.choose_precision(model, Training(batch=1, sequence=32))
    assert chosen in ("fp32", "bf16")
    assert set(seconds) == {"fp32", "bf16"} or torch.cuda.is_available()
    assert all(weight.grad is None for weight in model.parameters())


@needs_compiler
def test_a_short_run_is_not_compiled_and_says_why(model):
    config = Training(steps=100, batch=4, sequence=256)
    # Two of its four sequences take half a second: the run takes 100 s.
    chosen, why, seconds = pace.choose_compiled(model, config, "fp32", plain=0.5)
    assert (chosen, why) == (False, "about 100 s of steps are too few to repay it")
    assert seconds == {"plain": 1.0}


def test_without_a_compiler_nothing_is_tried(model, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for asked in ("auto", "always"):
        chosen = pace.choose_compiled(model, Training(compile=asked, steps=10**9), "fp32")
        assert chosen == (False, "there is no C++ compiler (no-such-compiler)", {})
    never = pace.choose_compiled(model, Training(compile="never"), "fp32")
    assert never == (False, "the recipe says never", {})


@needs_compiler
def test_a_compilation_that_fails_is_a_reason_and_leaves_the_model_whole(model, monkeypatch):
    def broken(*words, **more):
        raise RuntimeError("the linker is on holiday\nand more")

    monkeypatch.setattr(loss, "_compiled", lambda: (broken, broken))
    monkeypatch.setattr(torch.nn.Module, "compile", lambda *words, **more: None)
    config = Training(batch=1, sequence=16, steps=10**9)
    chosen, why, seconds = pace.choose_compiled(model, config, "fp32")
    assert (chosen, why) == (False, "compiling failed: the linker is on holiday")
    assert set(seconds) == {"plain"}
    assert all(weight.grad is None for weight in model.parameters())
    loss.NextToken(model)(torch.arange(17).unsqueeze(0))[0].backward()


@needs_compiler
def test_a_compiled_run_goes_on_to_the_same_bits_and_stays_compiled(series):
    """Killed after its first checkpoint; its loss is near that of the run that is not compiled."""
    more = ("train.compile=always", "train.steps=10", "train.validate_every=5")
    whole = commands.run(STARTER, "name=compiled", *more, quiet=True)
    happened = whole.record["happened"]
    assert happened["compiled"] is True
    assert {"plain", "compiled", "compiling"} == set(happened["compile_seconds"])
    plain = [row["loss"] for row in runs.find("pretrain/starter").metrics()]
    assert [row["loss"] for row in whole.metrics()] == pytest.approx(plain[:10], rel=1e-3)

    code = (
        "import os\nfrom workbench import checkpoint, commands\nreal = checkpoint.save\n"
        "def save(*words):\n    real(*words)\n    os._exit(9)\n"
        f"checkpoint.save = save\ncommands.run({STARTER!r}, 'name=compiled-parts', *{more!r})\n"
    )
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, timeout=300, check=False)
    assert ended.returncode == 9
    parts = commands.resume("pretrain/compiled-parts")
    assert parts.record["happened"]["compiled"] is True
    assert [row["loss"] for row in parts.metrics()] == [row["loss"] for row in whole.metrics()]
    one, other = (load_file(run.path / "model/model.safetensors") for run in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_lost_its_compiler_goes_on_and_says_so(series, empty_runs, monkeypatch, model):
    from workbench import recipe

    monkeypatch.setattr(pace, "missing_compiler", lambda: "there is no C++ compiler (g++)")
    run = runs.Run.begin(recipe.parse("kind: inspect\nname: lost\nwhy: a record\n"))
    run.happened(precision="fp32", compiled=True)
    assert pace.settle(run, model, Training()) == pace.Pace("fp32", compiled=False)
    assert run.record["happened"]["compile_lost"]["why"] == "there is no C++ compiler (g++)"
    assert run.record["happened"]["compiled"] is True
    run.leave("stopped")
