"""Plans: counts against real models and the literature, and against runs that were made."""

import dataclasses
import json
import re

import pytest
import torch
from conftest import PROJECT

from workbench import __main__, chunks, commands, loss, machines, optimizers, plan, plots_plan
from workbench import model as models
from workbench import recipe as recipes
from workbench import run as runs
from workbench.averages import Average
from workbench.errors import UserError
from workbench.family import SIZES, Shape

STARTER = PROJECT / "recipes/pretrain/starter.yaml"


def prelude(**assumed):
    """Prelude as it was trained: 10T tokens on 256 nodes of 4 A100, 2,800 tokens/s on each."""
    given = {"tokens": 10e12, "tokens_per_second": 2800.0} | assumed
    return plan.make("prelude-9b", plan.Assumptions(**given), "leonardo-booster", 1024)


@pytest.mark.parametrize("size", SIZES)
def test_counts_are_those_of_the_built_model(size):
    vocabulary = 1000
    with torch.device("meta"):
        model = models.build(size, vocabulary, 128, 0, 1)
    assert SIZES[size].parameters(vocabulary) == models.parameters(model)
    counted = sum(SIZES[size].flops_per_token(vocabulary, 128).values())
    assert counted == models.flops_per_token(model, 128)


def test_prelude_is_what_was_published_of_it():
    made = prelude()
    assert made.days == pytest.approx(40, rel=0.02)
    assert made.gpu_hours == pytest.approx(0.99e6, rel=0.005)
    assert made.flops_6nd == pytest.approx(5.4e23, rel=0.02)
    assert made.flops == pytest.approx(5.4e23, rel=0.03)
    assert made.parameters == pytest.approx(9e9, rel=0.02)
    assert 0.35 < made.mfu < 0.5
    assert made.fits(checkpointing=True)


def test_prelude_by_hand():
    made = prelude()
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 12288
    assert made.parameters == 36 * (layer + 2 * 4096 + 2 * 128) + 4096 + 2 * 262144 * 4096
    per_token = 6 * (36 * layer + 262144 * 4096) + 12 * 36 * 4096 * 4096
    assert made.flops == per_token * 10e12
    assert made.days == pytest.approx(10e12 / (1024 * 2800) / 86400)
    energy = made.energy()
    assert energy["accelerator"] == pytest.approx(made.gpu_hours * 0.44)
    assert energy["node"] == pytest.approx(made.gpu_hours / 4 * 2.168)
    assert energy["facility"] == pytest.approx(energy["node"] * 1.1)


def test_mfu_and_speed_are_two_ways_to_say_one_thing():
    by_speed = prelude()
    by_mfu = prelude(tokens_per_second=0.0, mfu=by_speed.mfu)
    assert by_mfu.tokens_per_second == pytest.approx(2800)
    assert by_mfu.days == pytest.approx(by_speed.days)


def test_activations_of_a_classic_layer_are_those_of_the_literature():
    # Korthikanti et al. count 34 bytes a token and unit of width, scores apart, of which 2 are
    # dropout masks. SwiGLU keeps 8 bytes a unit where GELU keeps 4, so half the width is classic.
    width, heads = 1024, 16
    classic = Shape(width, 24, heads, heads, 2 * width)
    parts = classic.activation_bytes_per_token()
    norms_of_queries_and_keys, logarithms = 2 * 2 * width, 4 * heads
    assert sum(parts.values()) == (34 - 2) * width + norms_of_queries_and_keys + logarithms
    assert parts["norms"] == 4 * width


def test_memory_by_hand():
    assumed = plan.Assumptions(vocabulary=1000, sequence=64, batch=2, tokens=1e6)
    one = plan.make("nano", assumed)
    shape, total = SIZES["nano"], one.parameters
    assert total == 4 * (128 * 128 * 2 + 2 * 128 * 64 + 3 * 128 * 384 + 2 * 128 + 64) + 128 * 1001
    kept = one.memory()
    assert (kept["weights"], kept["gradients"], kept["optimizer"]) == (
        *(4 * total,) * 2,
        8 * total,
    )
    layer = 4 * 128 + 2 * (128 + 3 * 128 + 3 * 64) + 4 * 4 + 2 * (128 + 4 * 384)
    assert kept["activations"] == 128 * (4 * layer + 12 * 128)
    matrices = 4 * (128 * 128 * 2 + 2 * 128 * 64 + 3 * 128 * 384)
    assert kept["gathered"] == 2 * matrices
    assert kept["average"] == 0
    # All logits at once; hidden states; output matrix in bf16, its gradient, what one chunk adds.
    assert kept["loss"] == 2 * 128 * 1000 + 4 * 128 * 128 + (2 + 4 + 2) * 1000 * 128
    again = one.memory(checkpointing=True)
    assert again["activations"] == 128 * (4 * 128 * 4 + layer + 12 * 128)
    assert {part: again[part] for part in again if part != "activations"} == {
        part: kept[part] for part in kept if part != "activations"
    }
    more = dataclasses.replace(assumed, optimizer="muon", compiled=False, average=True)
    muon = plan.make("nano", more).memory()
    assert muon["optimizer"] == 4 * matrices + 8 * (total - matrices)
    assert muon["average"] == 4 * total
    assert muon["loss"] - kept["loss"] == (8 - 2) * 128 * 1000
    assert matrices == 4 * shape.layer_matrices


def test_memory_of_two_gpus_by_hand():
    two = plan.make("prelude-9b", plan.Assumptions(sequence=4096, average=True), gpus=2)
    parts, shape = two.memory(), SIZES["prelude-9b"]
    output = 262144 * 4096
    # Two layers and a gradient in bf16, which is added up in fp32; two matrices and a gradient.
    assert parts["gathered"] == (3 * 2 + 4) * shape.layer_parameters + 4 * 3 * output
    assert parts["average"] == parts["weights"] == 4 * two.parameters / 2
    # 2**30 logits are 8 chunks of 2**27, of 512 tokens each.
    assert chunks.rows(4096, 262144, chunks.AT_ONCE_GPU) == 512
    assert parts["loss"] == 2 * 2**27 + 4 * 4096 * 4096 + 8 * output


def bytes_of_a_step(config, vocabulary):
    """Train a step of ``nano`` as the loop does; return the most bytes that its tensors took."""
    model = models.build("nano", vocabulary, config.sequence, 0, 1)
    objective = loss.NextToken(model)
    if config.recompute:
        models.recompute_layers(model)
    every = optimizers.of(model, config)
    average = Average(model, config.average) if config.average else None
    tokens = torch.randint(vocabulary, (config.batch, config.sequence + 1))

    def step():
        for _ in range(config.accumulation):
            with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
                objective(tokens)[0].backward()
        for optimizer in every:
            optimizer.step()
            optimizer.zero_grad()
        if average is not None:
            average.update()

    step()
    lasting = [*model.parameters(), *(average.tensors().values() if average else ())]
    lasting += [one for each in every for kept in each.state.values() for one in kept.values()]
    with torch.profiler.profile(profile_memory=True) as profiled:
        step()
    events = profiled.profiler.kineto_results.events()
    moves = sorted((one.start_ns(), one.nbytes()) for one in events if one.name() == "[memory]")
    there = most = sum(one.nbytes for one in lasting)
    for _, size in moves:
        there += size
        most = max(most, there)
    return most


@pytest.mark.parametrize(
    "words",
    [
        "precision=bf16",
        "precision=fp32 optimizer=muon",
        "precision=bf16 average=0.9 accumulation=2",
        "precision=bf16 recompute=true",
    ],
)
def test_memory_is_what_a_step_takes(words):
    overrides = [f"train.{word}" for word in ("batch=8", "compile=never", *words.split())]
    text = "kind: pretrain\nname: x\nwhy: to see\ntokenizer: t\nmodel: nano\n"
    recipe = recipes.parse(text, overrides)
    made = plan.of_recipe(recipe, plan.Assumptions(vocabulary=2000), None, 1)
    planned = sum(made.memory().values()) - plan.RESERVE_BYTES
    measured = bytes_of_a_step(recipe.train, 2000)
    # What is at its most at other moments: the gradients, or a layer that is computed again.
    assert 0.99 < planned / measured < (1.4 if recipe.train.recompute else 1.1)


def test_a_plan_takes_the_optimizer_of_its_recipe_unless_told_otherwise(house):
    def planned(optimizer, *overrides):
        assumed = plan.Assumptions(vocabulary=1000, optimizer=optimizer)
        return plan.make(house / "recipes/pretrain/starter.yaml", assumed, overrides=overrides)

    adamw, muon = planned("adamw").memory(), planned("muon").memory()
    assert muon["optimizer"] < adamw["optimizer"]
    assert planned("auto").memory() == adamw
    assert planned("auto", "train.optimizer=muon").memory() == muon
    assert planned("adamw", "train.optimizer=muon").memory() == adamw
    assert plan.make("nano").optimizer == "adamw"


def test_more_gpus_hold_less_each_and_take_less_time_for_the_same_energy():
    few = plan.make("large", plan.Assumptions(tokens=1e11), "jupiter-booster", 4)
    many = dataclasses.replace(few, gpus=64)
    for part in ("weights", "gradients", "optimizer"):
        assert many.memory()[part] == few.memory()[part] / 16
    assert many.memory()["gathered"] == few.memory()["gathered"]
    assert many.days == pytest.approx(few.days / 16)
    assert many.energy() == few.energy()


def test_what_does_not_fit_is_told():
    alone = plan.make("prelude-9b", machine="h200", gpus=1)
    assert (alone.fits(False), alone.fits(True)) == (False, False)
    lines = plan.table(alone).splitlines()
    verdict = next(line for line in lines if "too much" in line)
    total = next(line for line in lines if line.split()[:1] == ["sum"])
    assert len(verdict) == len(total), "numbers and verdict end at one edge"
    assert plan.make("base", machine="h100", gpus=1).fits()


def test_a_recipe_is_planned_as_it_would_run(series):
    made = plan.make(STARTER, overrides=("train.accumulation=3", "train.batch=10"), gpus=5)
    assert made.tokens == 600 * 10 * 3 * 256
    assert made.batch == 6
    again = plan.make(STARTER, overrides=("train.recompute=true",))
    assert again.memory() == plan.make(STARTER).memory(checkpointing=True)
    words = ("train.average=0.9", "train.compile=never", "train.precision=fp32")
    more = plan.make(STARTER, overrides=words)
    assert more.memory()["average"] == more.memory()["weights"] > 0
    assert (more.precision, more.assumptions.compiled) == ("fp32", False)
    with pytest.raises(
        UserError, match="the 4 sequences of a step cannot be dealt out evenly to 3"
    ):
        plan.make(STARTER, gpus=3)
    assert made.size == "nano"
    # The tokenizer's run is finished here, and knows better than its recipe.
    tokens = json.loads((series / "runs/tokenizer/starter/tokenizer/tokenizer.json").read_text())
    assert made.vocabulary == len(tokens["model"]["vocab"]) < 4096


def test_a_vocabulary_that_is_not_made_yet_is_that_of_its_recipe(empty_runs, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(PROJECT))
    assert plan.make(STARTER).vocabulary == 4096
    with pytest.raises(UserError, match="state it: vocabulary=32768"):
        plan.make(STARTER, overrides=("tokenizer=tokenizer/nowhere",))
    other = plan.make(STARTER, plan.Assumptions(vocabulary=700), overrides=("tokenizer=t.json",))
    assert other.vocabulary == 700


def test_the_plan_of_a_run_is_what_its_record_measured(series):
    run = runs.find("pretrain/starter")
    rows = plan.against(plan.of_run(run), run)
    assert {row["figure"]: row["ratio"] for row in rows} == dict.fromkeys(
        ("parameters", "flops_per_token", "tokens", "flops"), 1.0
    )
    run.record["happened"]["flops"] *= 2
    assert plan.against(plan.of_run(run), run)[-1]["ratio"] == 0.5
    for other in ("tokenizer/starter", "adapt/starter"):
        with pytest.raises(UserError, match="is no pretraining"):
            plan.of_run(runs.find(other))
    del run.record["happened"]["tokens"]
    with pytest.raises(UserError, match="is not finished"):
        plan.of_run(run)


def test_an_allocation_holds_exactly_what_was_spent():
    made = prelude()
    rows = {row["size"]: row for row in plan.fitting(made, made.billed_hours * (1 + 1e-9))}
    assert rows["prelude-9b"]["tokens"] == pytest.approx(10e12)
    assert rows["prelude-9b"]["reads_the_plans_tokens"]
    less = {row["size"]: row for row in plan.fitting(made, made.billed_hours / 2)}
    assert less["prelude-9b"]["tokens"] == pytest.approx(5e12)
    assert not less["prelude-9b"]["reads_the_plans_tokens"]
    assert "largest that reads 10T tokens: large" in plan.table(made, made.billed_hours / 2)


def test_an_hour_of_a_die_is_billed_as_half_of_its_module():
    made = plan.make("base", plan.Assumptions(price=2.0), "lumi-g", 8)
    assert made.billed_hours == made.gpu_hours / 2
    assert made.cost == made.gpu_hours


@pytest.mark.parametrize(
    ("original", "line", "reached"), [(0.0, 5.54e23 / 3, None), (7.2e23, 2.4e23, 5.54 / 2.4)]
)
def test_lines_of_the_ai_act(original, line, reached):
    duties = prelude(original_flops=original).duties()
    assert duties["of_general_purpose"] == pytest.approx(5.54, rel=0.01)
    assert duties["of_systemic_risk"] == pytest.approx(0.0554, rel=0.01)
    assert duties["modifier_line"] == pytest.approx(line, rel=0.01)
    assert duties["of_modifier_line"] == (reached and pytest.approx(reached, rel=0.01))


def test_every_machine_has_its_figures_and_a_source():
    everyone = machines.all_machines()
    assert {"lumi-g", "leonardo-booster", "marenostrum5-acc", "jupiter-booster"} <= set(everyone)
    fields = {entry.name for entry in dataclasses.fields(machines.Machine)}
    for name, machine in everyone.items():
        assert machine.name == name
        assert 100e12 < machine.peak_flops < 1e15
        assert 60e9 < machine.memory_bytes < 150e9
        assert machine.node_watts is None or (
            machine.node_watts > 0.9 * machine.per_node * machine.accelerator_watts
        )
        assert machine.pue is None or 1 < machine.pue < 2
        assert machine.source
        columns = {"peak_tflops": "peak_flops", "memory_gb": "memory_bytes"}
        assert {columns.get(word, word) for word in machine.unverified} <= fields


def test_what_was_not_verified_or_is_not_known_is_said():
    said = plan.table(plan.make("base", machine="jupiter-booster"))
    assert "not verified at a source: peak_tflops" in said
    assert "not stated  (facility" in said
    assert "facility: nodes x PUE" in said
    stated = plan.make("base", plan.Assumptions(pue=1.2), "jupiter-booster").energy()
    assert stated["facility"] == pytest.approx(1.2 * stated["node"])


def test_plain_values_hold_every_figure_and_are_json():
    for made in (prelude(), plan.make("nano")):
        values = json.loads(json.dumps(made.to_dict()))
        assert values["flops"] == made.flops
        assert values["days"] == made.days
        assert sum(values["flops_per_token"].values()) == made.flops_per_token
        assert values["memory_bytes"]["recomputed"] == made.memory(True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["bas"], r"no size, recipe or run 'bas' \(did you mean 'base'"),
        (["base", "tokns=3"], "is a setting of a recipe"),
        (["base", "tokens=many"], "tokens is a number, not text"),
        (["base", "tokens=-1"], "tokens must be finite and not negative"),
        (["base", "mfu=0"], "mfu must be above 0"),
        (["base", "mfu=1.5"], "mfu must be above 0 and up to 1"),
        (["base", "pue=0.5"], "pue must be at least 1"),
        (["base", "optimizer=adam"], "did you mean 'adamw'"),
        (["base", "--machine", "lumi"], "did you mean 'lumi-g'"),
        (["base", "--gpus", "-1"], "gpus must not be negative"),
        (["base", "--allocation", "5"], "name one, such as --machine lumi-g"),
        (["base", "--machine", "h100", "--allocation", "-5"], "positive number of GPU-hours"),
        (["recipes/inspect/starter.yaml"], "only 'pretrain' can be planned"),
        (["recipes/pretrain/startr.yaml"], "no recipe at"),
        ([str(STARTER), "train.stepps=1"], "did you mean 'steps'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(house, capsys, words, told):
    assert __main__.main(["plan", *words]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert re.search(told, said.err)


def test_the_command_line_prints_the_plan(capsys):
    words = ["prelude-9b", "tokens=10e12", "tokens_per_second=2800"]
    assert __main__.main(["plan", *words, "--machine", "leonardo-booster", "--gpus", "1024"]) == 0
    said = capsys.readouterr().out
    for word in ("40.4 days", "992,063", "5.54e+23", "5.46e+23", "1.85e+23", "accelerators at"):
        assert word in said


def test_a_run_is_held_against_its_plan(series):
    said = commands.plan("pretrain/starter")
    assert said.count("1.0000") == 4
    parameters = runs.find("pretrain/starter").record["happened"]["parameters"]
    (line,) = [line for line in said.splitlines() if line.startswith("parameters ")]
    assert line.split() == ["parameters", f"{parameters:,}", f"{parameters:,}", "1.0000"]
    with pytest.raises(UserError, match="did you mean 'pretrain/starter'"):
        commands.plan("pretrain/startr")
    with pytest.raises(UserError, match="is a run; its plan"):
        commands.plan("pretrain/starter", "tokens=5")


def test_figures_show_the_plans_numbers():
    made = prelude()
    axes = plots_plan.memory(made).axes[0]
    drawn = sorted(bar.get_width() for bar in axes.patches)
    there = [part / 1e9 for way in (False, True) for part in made.memory(way).values()]
    assert drawn == pytest.approx(sorted(there))
    days, energy = plots_plan.scaling(made, doublings=2).axes
    (line,) = days.lines
    assert list(line.get_xdata()) == [1024, 2048, 4096]
    assert list(line.get_ydata()) == pytest.approx([made.days, made.days / 2, made.days / 4])
    assert len(energy.lines) == 3
    assert plots_plan.show(made).data.startswith(b"\x89PNG")
    with pytest.raises(UserError, match="did you mean 'memory'"):
        plots_plan.show(made, "memry")
    with pytest.raises(UserError, match="need a machine"):
        plots_plan.scaling(plan.make("nano"))
