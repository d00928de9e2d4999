import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import PROJECT, TAGS
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from workbench import commands, disk, generate
from workbench import model as models
from workbench import run as runs

STARTER = "recipes/adapt/starter.yaml"


def adapters(name):
    return {
        tag: load_file(
            runs.root() / "adapt" / name / "adapters" / tag / "adapter_model.safetensors"
        )
        for tag in TAGS
    }


def test_every_language_gets_an_adapter_and_is_measured(series):
    rows = runs.find("adapt/starter").read_result("languages")
    assert {row["tag"] for row in rows} == set(TAGS)
    for row in rows:
        assert row["validation_bits_per_byte_after"] < row["validation_bits_per_byte_before"]


def test_an_adapter_opens_in_plain_peft_with_equal_logits(series):
    speaker = generate.Speaker("pretrain/starter", "adapt/starter")
    ours = speaker.with_adapter("mlt_Latn")
    base = AutoModelForCausalLM.from_pretrained(series / "runs/pretrain/starter/model")
    plain = PeftModel.from_pretrained(base, series / "runs/adapt/starter/adapters/mlt_Latn").eval()
    tokens = torch.arange(40).unsqueeze(0)
    with torch.inference_mode():
        adapted = ours(tokens).logits
        assert torch.equal(adapted, plain(tokens).logits)
        speaker.without_adapter(ours)
        alone = speaker.base(tokens).logits
        untouched = models.load("pretrain/starter")(tokens).logits
    assert torch.equal(alone, untouched), "taking an adapter off leaves the base as it was"
    assert not torch.equal(alone, adapted)


def test_an_adapters_folder_names_no_path_of_a_machine(series):
    text = (series / "runs/adapt/starter/adapters/mlt_Latn/adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] == "pretrain/starter"
    assert str(series) not in text


@pytest.mark.parametrize(
    # Eight steps a language: in the first one, and in the second one before it was ever saved.
    ("number", "rows", "status"),
    [(signal.SIGTERM, 6, 143), (signal.SIGKILL, 10, -9)],
)
def test_stopped_in_any_language_it_goes_on_to_the_same_adapters(series, number, rows, status):
    name = f"stopped-{number}"
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", "run", STARTER, f"name={name}"],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = runs.root() / "adapt" / name / "metrics.jsonl"
    while len(disk.read_jsonl(metrics)) < rows:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == status
    commands.resume(f"adapt/{name}")
    whole, parts = adapters("starter"), adapters(name)
    for tag in TAGS:
        assert all(torch.equal(whole[tag][key], parts[tag][key]) for key in whole[tag])
    steps = [(row["label"], row["step"]) for row in runs.find(f"adapt/{name}").metrics()]
    assert steps == [(row["label"], row["step"]) for row in runs.find("adapt/starter").metrics()]
