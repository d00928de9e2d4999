"""Tokens a second and peak memory of one training step, ours beside others on the same model.

    python -m benchmarks.training_throughput [--steps 16] [--rounds 2] [--threads N]

Every contender trains the same Qwen3 (width 256, 6 layers, vocabulary 16,384) on the same random
tokens, sequence 256, batch 8, each in a process of its own. Processes are started in turn for some
rounds, so that a busy machine strikes all of them; the figure of a contender is the median over
rounds of the median step, and compiling lies before the first timed step. Random tokens cost what
real ones cost; nothing here says anything of quality. On a machine that others use, one thread is
the better measure: threads that wait for one another at every operation lose whole time slices.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common, timed
from benchmarks.timed import UNTIMED

RESULT = Path(__file__).parent / "results" / "training_throughput.json"
BATCH, SEQUENCE, VOCABULARY = 8, 256, 16384
CONTENDERS = (
    "ours",
    "ours, never compiled",
    "ours, Muon",
    "bare loop over ours",
    "bare loop, bf16 and compile",
    "Trainer, bf16 and compile",
    "Trainer, bf16",
    "Trainer, defaults",
)
HERE = Path(__file__).parent.parent


def model():
    return common.qwen3(VOCABULARY)


def ours(name, steps):
    """The loop as a recipe runs it: metrics and data included, one validation at the end."""
    settings = {
        "steps": UNTIMED + steps,
        "batch": BATCH,
        "sequence": SEQUENCE,
        "validate_every": 10**6,
        "checkpoint_every": 10**6,
        "optimizer": "muon" if "Muon" in name else "adamw",
        "compile": "never" if "never" in name else "always",
    }
    with tempfile.TemporaryDirectory() as folder:
        pack = timed.random_pack(Path(folder) / "pack", VOCABULARY, 300_000)
        began = time.perf_counter()
        clock, happened = timed.ours(model(), pack, {"eng_Latn": 1.0}, settings)
    ends = [began + end for end in clock.ends]
    return ends, {key: happened[key] for key in ("precision", "compiled", "compile_seconds")}


def bare(name, steps):
    """The shortest loop one can write, over the loss of ``transformers`` or over ours."""
    import torch

    from workbench import loss, pace

    trained = model()
    tokens = torch.randint(1, VOCABULARY, (BATCH, SEQUENCE + 1))
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-3, fused=True)
    if "ours" in name:
        objective = loss.NextToken(trained, compiled=True)
        contexts = pace.compiled_blocks(trained)
        contexts.__enter__()

        def value():
            return objective(tokens)[0]

    else:
        compiled = torch.compile(trained)

        def value():
            inputs, targets = tokens[:, :-1], tokens[:, 1:].flatten()
            logits = compiled(input_ids=inputs, use_cache=False).logits
            return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets)

    ends = []
    for _ in range(UNTIMED + steps):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = value()
        found.backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        found.item()
        ends.append(time.perf_counter())
    return ends, {}


def trainer(name, steps):
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    # As many ids as ours reads to predict as many: Trainer shifts labels itself.
    rows = torch.randint(1, VOCABULARY, (64, SEQUENCE))
    ends = []

    class Clock(TrainerCallback):
        def on_step_end(self, *words, **more):
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            max_steps=UNTIMED + steps,
            bf16="bf16" in name,
            torch_compile="compile" in name,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        data = [{"input_ids": row, "labels": row} for row in rows]
        Trainer(model(), arguments, train_dataset=data, callbacks=[Clock()]).train()
    return ends, {}


def one(name, steps):
    """Time one contender in this process and print what was found as the last line."""
    began = time.perf_counter()
    way = ours if name.startswith("ours") else bare if name.startswith("bare") else trainer
    ends, more = way(name, steps)
    timed = [later - earlier for earlier, later in itertools.pairwise(ends[UNTIMED - 1 :])]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    found = {
        "seconds_a_step": statistics.median(timed),
        "fastest_step": min(timed),
        "peak_bytes": peak,
        "to_first_timed_step": ends[UNTIMED - 1] - began,
        **more,
    }
    print("\n" + json.dumps(found))


def main():
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--steps", type=int, default=16, help="timed steps a process")
    asked.add_argument("--rounds", type=int, default=2, help="processes a contender")
    asked.add_argument("--threads", type=int, default=os.cpu_count(), help="of each process")
    asked.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    asked.add_argument("--out", type=Path, default=RESULT)
    words = asked.parse_args()
    if words.one:
        one(words.one, words.steps)
        return
    found = {name: [] for name in CONTENDERS}
    loads = [os.getloadavg()[0]]
    environment = os.environ | {"PYTHONPATH": str(HERE), "HF_HUB_OFFLINE": "1"}
    environment["OMP_NUM_THREADS"] = str(words.threads)
    for number in range(words.rounds):
        # Every other round in the opposite order, so that a drift favours nobody.
        for name in CONTENDERS[:: -1 if number % 2 else 1]:
            module = [sys.executable, "-m", "benchmarks.training_throughput"]
            command = [*module, "--one", name, "--steps", str(words.steps)]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
            found[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
            loads.append(os.getloadavg()[0])
            step = found[name][-1]["seconds_a_step"]
            print(f"{name}: {BATCH * SEQUENCE / step:,.0f} tokens/s", file=sys.stderr)
    report(found, loads, words)


def report(found, loads, words):
    summary = {}
    for name, rounds in found.items():
        step = statistics.median(entry["seconds_a_step"] for entry in rounds)
        summary[name] = {
            "tokens_per_second": round(BATCH * SEQUENCE / step),
            "tokens_per_second_of_the_fastest_step": round(
                BATCH * SEQUENCE / min(entry["fastest_step"] for entry in rounds)
            ),
            "peak_megabytes": round(max(entry["peak_bytes"] for entry in rounds) / 1e6),
            "rounds": rounds,
        }

    def ratio(one, other, what="tokens_per_second"):
        return round(summary[one][what] / summary[other][what], 3)

    best = "Trainer, bf16 and compile"
    fastest = "tokens_per_second_of_the_fastest_step"
    ratios = {
        "ours to Trainer's best": ratio("ours", best),
        "ours to Trainer's defaults": ratio("ours", "Trainer, defaults"),
        "ours to a bare loop over the same compiled loss": ratio("ours", "bare loop over ours"),
        "the same, fastest steps": ratio("ours", "bare loop over ours", fastest),
        "ours to a bare loop, bf16 and compile": ratio("ours", "bare loop, bf16 and compile"),
        "Muon to AdamW": ratio("ours, Muon", "ours"),
        "peak memory of ours to Trainer's best": ratio("ours", best, "peak_megabytes"),
        "peak memory of ours to Trainer's defaults": ratio(
            "ours", "Trainer, defaults", "peak_megabytes"
        ),
    }
    content = {
        "question": "how many tokens a second, and in how much memory, against Trainer?",
        "setting": {"batch": BATCH, "sequence": SEQUENCE, "vocabulary": VOCABULARY, "width": 256}
        | {"layers": 6, "timed_steps": words.steps, "rounds": words.rounds},
        "ratios": ratios,
        "contenders": summary,
        "load_average": {"lowest": min(loads), "highest": max(loads)},
        "versions": common.versions("torch", "transformers", "accelerate", "numpy"),
        "threads": words.threads,
        "hardware": common.hardware(),
    }
    words.out.parent.mkdir(parents=True, exist_ok=True)
    words.out.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(ratios, indent=1))


if __name__ == "__main__":
    main()
