"""Curricula through the whole of a pretraining: the record, the packs, going on."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import PROJECT, TAGS
from safetensors.torch import load_file

from workbench import commands, disk, document, packing, passages, tokenizer, train
from workbench import run as runs
from workbench.errors import Stopped, UserError
from workbench.sequences import Feed, Phase

STARTER = "recipes/pretrain/starter.yaml"
FILTERED = "clean.filters=[length]"
EVEN = "{strategy: uniform}"
NATURAL = "{strategy: natural}"


@pytest.fixture(scope="module")
def cleaned(series):
    commands.run("recipes/inspect/starter.yaml", "name=cleaned", FILTERED, quiet=True)
    return "inspect/cleaned"


def annealed(cleaned):
    data = f"{{sources: [{cleaned}], languages: [{', '.join(TAGS)}]}}"
    return (
        f"curriculum=[{{share: 0.5, mix: {EVEN}}}, {{share: 0.5, mix: {NATURAL}, data: {data}}}]",
        "train.packing=best_fit",
    )


@pytest.fixture(scope="module")
def annealing(cleaned):
    return commands.run(STARTER, "name=annealed", *annealed(cleaned), quiet=True)


def test_a_curriculum_is_planned_told_recorded_and_kept(series, monkeypatch, capsys):
    drawn = []

    def stop_at_once(run, model, phases, config, *rest):
        drawn.append(phases)
        raise Stopped("enough seen")

    monkeypatch.setattr(train, "train", stop_at_once)
    unimax = "{strategy: unimax, max_epochs: 0.001}"
    words = (f"curriculum=[{{share: 0.25, mix: {EVEN}}}, {{share: 0.75, mix: {unimax}}}]",)
    for _ in range(2):
        with pytest.raises(Stopped):
            commands.run(STARTER, "name=phased", *words, quiet=True)
    happened = runs.find("pretrain/phased").record["happened"]
    assert [(one["begins"], one["steps"]) for one in happened["phases"]] == [(0, 6), (6, 18)]
    for phases in drawn:
        assert [one.shares for one in phases] == [one["shares"] for one in happened["phases"]]
    even, other = (one.shares for one in drawn[0])
    assert even == pytest.approx(dict.fromkeys(TAGS, 0.2))
    assert happened["shares"] == pytest.approx(
        {tag: 0.25 * even[tag] + 0.75 * other[tag] for tag in even}
    )
    told = capsys.readouterr().err
    assert told.count("curriculum[1]: the training reads more than the mix was planned for") == 1
    assert "curriculum[0]:" not in told
    assert len({one["pack"] for one in happened["phases"]}) == 1
    assert happened["epochs_planned"] == pytest.approx(
        {tag: sum(one["epochs_planned"][tag] for one in happened["phases"]) for tag in even}
    )


def test_the_gate_is_passed_and_told_once(series, tmp_path, monkeypatch, capsys):
    def stop_at_once(*words):
        raise Stopped("enough seen")

    monkeypatch.setattr(train, "train", stop_at_once)
    english = [" ".join(one) for one in passages.read("eng_Latn").values()]
    tokenizer.train(iter(english), 600).save(str(tmp_path / "english.json"))
    words = [STARTER, f"tokenizer={tmp_path / 'english.json'}"]
    with pytest.raises(UserError, match="the vocabulary falls short for .*Georgian"):
        commands.run(*words, "name=refused", quiet=True)
    words += ["name=accepted", f"gate.accept={{{', '.join(f'{tag}: to see' for tag in TAGS)}}}"]
    capsys.readouterr()
    gates = []
    for first in (True, False):
        with pytest.raises(Stopped):
            commands.run(*words, quiet=True)
        assert ("gate, fail for Georgian" in capsys.readouterr().err) == first
        gates.append(runs.find("pretrain/accepted").record["happened"]["gate"])
    assert gates[0] == gates[1]
    (georgian,) = (one for one in gates[0] if one["tag"] == "kat_Geor")
    assert (georgian["verdict"], georgian["accepted"]) == ("fail", "to see")
    # A record that does not pass holds nobody to it: the run is judged anew.
    run = runs.find("pretrain/accepted")
    run.happened(gate=[{**one, "accepted": ""} for one in gates[0]])
    with pytest.raises(Stopped):
        commands.run(*words, quiet=True)
    assert runs.find("pretrain/accepted").record["happened"]["gate"] == gates[0]


def test_annealing_reads_another_pack_and_the_record_tells_both(annealing, cleaned):
    run = annealing
    happened = run.record["happened"]
    first, last = happened["phases"]
    assert first["pack"] == happened["pack"] != last["pack"]
    packs = [packing.Pack(runs.root() / packing.CACHE / one["pack"]) for one in (first, last)]
    for tag in TAGS:
        assert happened["tokens_packed"][tag]["train"] == sum(
            one.facts["tokens"][tag]["train"] for one in packs
        )
    assert set(run.record["asked"]["inputs"]) >= {cleaned, "tokenizer/starter"}
    named = [source["source"] for source in run.record["provenance"]["data"]]
    assert named.count("starter") == 1
    assert [happened["layout"]["packing"], happened["layout"]["phases"][0]["lost"]] == [
        "best_fit",
        0,
    ]
    assert happened["epochs"] == pytest.approx(happened["epochs_planned"], rel=0.15)
    paper = next(path for path in document.write(run) if "card" in path.name.lower())
    assert "12 steps of starter, mix uniform; then 12 steps of inspect/cleaned" in paper.read_text()


def test_stopped_after_the_packs_changed_it_goes_on_to_the_same_bits(annealing, cleaned):
    words = annealed(cleaned)
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", "run", STARTER, "name=annealed-parts", *words],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = runs.root() / "pretrain" / "annealed-parts" / "metrics.jsonl"
    while process.poll() is None and len(disk.read_jsonl(metrics)) < 14:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143, said
    commands.resume("pretrain/annealed-parts")
    one, other = (
        load_file(runs.root() / "pretrain" / name / "model" / "model.safetensors")
        for name in ("annealed", "annealed-parts")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_feed_of_the_record_draws_what_the_training_drew(annealing):
    run = annealing
    happened = run.record["happened"]
    phases = [
        Phase(packing.Pack(runs.root() / packing.CACHE / one["pack"]), one["shares"], one["steps"])
        for one in happened["phases"]
    ]
    feed = Feed(phases, run.recipe.train.sequence, run.recipe.train.seed, "best_fit")
    for step in range(24):
        state = feed.batch(step, 4, slice(0)).state
    assert feed.epochs() == happened["epochs"]
    assert sum(state["drawn"][happened["phases"][1]["pack"]].values()) == 48
    assert json.loads(json.dumps(feed.facts())) == happened["layout"]
