"""Model FLOPs utilisation on one GPU, ours beside Trainer; and whether a GPU learns as a CPU does.

`python -m benchmarks.training_gpu` trains the sizes base and medium at sequence 2048 in bf16, each
contender in a process of its own for every micro batch, and takes the fastest that fits. Ours is
the loop of a recipe, compiled; the peer is `Trainer` of transformers with bf16, `torch_compile` and
fused AdamW, and with Liger's kernels besides where they are installed. Both use the attention of
torch. Tokens are random: they cost what real ones cost.

MFU = tokens a second x FLOPs a token / peak FLOP/s of the card in dense bf16. FLOPs a token are
those of `workbench.family.Shape.flops_per_token`: 6 for each weight that is multiplied, and
12 x layers x width of all queries x sequence for attention, as if every token saw the whole
sequence (PaLM, arXiv 2204.02311, appendix B). A causal kernel computes half of the latter; what
MFU is when only that half counts stands beside it. Peaks are those of `workbench/machines.tsv`.

Then nano reads the starter corpus for 20 steps on the CPU in fp32, on the GPU in fp32, and on the
GPU in bf16, from the same weights: the losses are held against each other. Without a GPU only
`--smoke` runs, on the CPU, with nano in place of the others and without any claim.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import common, time_to_quality, timed
from workbench import machines
from workbench.errors import UserError
from workbench.family import SIZES

RESULT = common.RESULTS / "training_gpu.json"
ABOUT = "Tokens a second and MFU of training on one GPU, the workbench beside Trainer."
PACKAGES = ("workbench-europe", "torch", "transformers", "accelerate")
OURS, PEER, LIGER = "workbench", "Trainer", "Trainer with Liger"
TRAINED = ("base", "medium")
SEQUENCE = 2048
BATCHES = (8, 16, 32, 64)
TIMED = 20
# Of the losses of the first steps, in nats a token, against those of the CPU in fp32.
TOLERANCES = {"fp32": 2e-3, "bf16": 5e-2}
LOSS_STEPS = 20
NO_ROOM = "no room"


@dataclass(frozen=True)
class Job:
    """One training, in a process of its own."""

    by: str
    size: str
    sequence: int
    batch: int
    steps: int
    cuda: bool
    precision: str = "bf16"
    compiled: bool = True
    text: bool = False
    """Read the starter corpus rather than random tokens."""


def child(work: Path, spec: Path, report: Path) -> None:
    """Carry out the job that ``spec`` tells, and write what was found to ``report``."""
    job = Job(**json.loads(spec.read_text(encoding="utf-8")))
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not job.cuda:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    try:
        clock = _trained(job, work)
    except torch.OutOfMemoryError:
        common.write_json(report, {NO_ROOM: True})
        return
    step = clock.usual()
    common.write_json(
        report,
        {
            "tokens_per_second": round(job.batch * job.sequence / step),
            "seconds_a_step": step,
            "seconds_to_first_step": round(clock.ends[0], 1),
            "peak_bytes": torch.cuda.max_memory_allocated() if job.cuda else None,
            "losses": [row["loss"] for row in clock.rows],
        },
    )


def _trained(job: Job, work: Path) -> timed.Clock:
    import torch

    from workbench import model as models
    from workbench import packing

    if job.text:
        text = time_to_quality.Text(["starter"], 0, 4096, validation=0.1)
        pack = packing.Pack(time_to_quality.packed(text, work))
        vocabulary, shares = pack.facts["vocabulary"], time_to_quality.shares(pack)
    else:
        vocabulary, shares = SIZES[job.size].vocabulary, {"eng_Latn": 1.0}
    model = models.build(job.size, vocabulary, job.sequence, end_token=0, seed=1)
    if job.by != OURS:
        rows = torch.randint(1, vocabulary, (job.steps * job.batch, job.sequence + 1))
        flags = {
            "per_device_train_batch_size": job.batch,
            "max_steps": job.steps,
            "learning_rate": 1e-3,
            "torch_compile": job.compiled,
            "use_cpu": not job.cuda,
            "use_liger_kernel": job.by == LIGER,
        }
        model.config.use_cache = False

        # Both loops wait for the card at every step, to see whether the loss is finite.
        return timed.trainer(model, rows, flags, lambda clock, step: None)
    settings = {
        "steps": job.steps,
        "batch": job.batch,
        "sequence": job.sequence,
        "learning_rate": 1e-3,
        "precision": job.precision,
        "compile": "always" if job.compiled else "never",
        "validate_every": job.steps,
        "validation_documents": 1,
        "checkpoint_every": job.steps,
    }
    with tempfile.TemporaryDirectory() as folder:
        if not job.text:
            tokens = job.steps * job.batch * job.sequence
            pack = timed.random_pack(Path(folder) / "pack", vocabulary, tokens)
        return timed.ours(model, pack, shares, settings)[0]


class Bench:
    """Runs jobs one after the other."""

    def __init__(self, work: Path, cuda: bool, compiled: bool, steps: int) -> None:
        self.work, self.cuda, self.compiled, self.steps = work, cuda, compiled, steps

    def found(self, by: str, size: str, sequence: int, batch: int, **more: Any) -> dict[str, Any]:
        """Return what one training found; ``NO_ROOM`` alone if its memory was too small."""
        words = {"cuda": self.cuda, "compiled": self.compiled, "steps": self.steps} | more
        job = Job(by, size, sequence, batch, **words)
        row, done = common.run_job("training_gpu", self.work, asdict(job))
        speed = row.get("tokens_per_second")
        told = NO_ROOM if speed is None else f"{speed:,} tokens/s"
        print(f"{by}, {size}, {sequence} x {batch}: {told}", flush=True)
        return row | {"load": done.load}

    def fastest(self, by: str, size: str, sequence: int, batches: Sequence[int]) -> dict[str, Any]:
        """Return the fastest micro batch that fits, and the speed of all.

        Raises:
            UserError: not even the smallest fits.
        """
        tried = {}
        for batch in batches:
            tried[batch] = self.found(by, size, sequence, batch)
            if NO_ROOM in tried[batch]:
                break
        fitted = {batch: row for batch, row in tried.items() if NO_ROOM not in row}
        if not fitted:
            raise UserError(f"{by}: {size} has no room with a micro batch of {batches[0]}")
        best = max(fitted, key=lambda batch: fitted[batch]["tokens_per_second"])
        speeds = {str(batch): row["tokens_per_second"] for batch, row in fitted.items()}
        row = {key: value for key, value in fitted[best].items() if key != "losses"}
        return {"by": by, "size": size, "batch": best, **row, "tokens_per_second_of": speeds}

    def losses(self, steps: int) -> dict[str, Any]:
        """Hold the first losses of nano against those of the CPU in fp32."""
        how: dict[str, dict[str, Any]] = {
            "cpu fp32": {"cuda": False, "precision": "fp32", "compiled": False},
            "fp32": {"precision": "fp32"},
            "bf16": {"precision": "bf16"},
        }
        found = {
            name: self.found(OURS, "nano", 256, 8, steps=steps, text=True, **words)["losses"]
            for name, words in how.items()
        }
        return agreement(found.pop("cpu fp32"), found)


def agreement(reference: Sequence[float], others: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return how far losses stray from those of the CPU, in nats, and whether that is tolerated."""
    rows = {}
    for name, losses in others.items():
        apart = max(abs(one - other) for one, other in zip(reference, losses, strict=True))
        rows[name] = {
            "losses": list(losses),
            "furthest_apart": apart,
            "tolerance": TOLERANCES[name],
            "within": apart <= TOLERANCES[name],
        }
    return {"cpu fp32": list(reference), **rows}


def utilisation(tokens_per_second: float, size: str, sequence: int, peak: float) -> dict[str, Any]:
    """Return MFU with attention counted whole, and with the half that is causal."""
    shape = SIZES[size]
    spent = shape.flops_per_token(shape.vocabulary, sequence)
    whole = sum(spent.values())
    causal = whole - spent["attention"] / 2
    return {
        "flops_per_token": whole,
        "mfu": round(tokens_per_second * whole / peak, 4),
        "mfu_attention_halved": round(tokens_per_second * causal / peak, 4),
    }


def machine_of(card: str) -> machines.Machine | None:
    """Return the row of the table for a card, by the name that its driver gives it.

    Cards of a name in the table that are made otherwise, for a PCIe slot, peak lower: none fits.
    """
    words = card.upper().replace("-", " ").split()
    if "PCIE" in words or "NVL" in words:
        return None
    for name in ("a100", "h100", "h200"):
        if name.upper() in words:
            return machines.get(name)
    return None


def measure(options: argparse.Namespace) -> None:
    """Run all, and write the result.

    Raises:
        UserError: there is no GPU, or no room for a model.
    """
    import importlib.util

    import torch

    cuda = torch.cuda.is_available() and not options.smoke
    if not cuda and not options.smoke:
        raise UserError("torch finds no GPU; --smoke --out FILE runs a little of it on the CPU")
    card = torch.cuda.get_device_name() if cuda else None
    machine = machine_of(card) if card else None
    liger = cuda and importlib.util.find_spec("liger_kernel") is not None
    contenders = (OURS, PEER, LIGER) if liger else (OURS, PEER)
    sizes, sequence, batches = (
        (("nano",), 64, (2,)) if options.smoke else (options.sizes, SEQUENCE, options.batches)
    )
    steps = timed.UNTIMED + (2 if options.smoke else TIMED)
    rows, ratios = [], {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), cuda, not options.smoke, steps)
        for size in sizes:
            own, *theirs = [bench.fastest(by, size, sequence, batches) for by in contenders]
            for row in (own, *theirs):
                if machine:
                    row |= utilisation(row["tokens_per_second"], size, sequence, machine.peak_flops)
                rows.append(row)
            best = max(row["tokens_per_second"] for row in theirs)
            ratios[size] = round(own["tokens_per_second"] / best, 3)
        losses = bench.losses(options.steps)
    content = {
        "about": ABOUT,
        "measured": time.strftime("%Y-%m-%d"),
        "smoke": options.smoke,
        "card": card,
        "peak_flops": machine.peak_flops if machine else None,
        "sequence": sequence,
        "timed_steps": steps - timed.UNTIMED,
        "ours_to_trainers_best": ratios,
        "rows": rows,
        "losses": losses,
        "hardware": common.hardware(),
        "versions": common.versions(*PACKAGES),
    }
    common.write_json(options.out, content)
    print(json.dumps({"ours_to_trainers_best": ratios}, indent=1))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_gpu", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=TRAINED)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="in rising order")
    parser.add_argument("--steps", type=int, default=LOSS_STEPS, help="whose losses are compared")
    parser.add_argument("--out", type=Path, default=RESULT, help="the result, as JSON")
    parser.add_argument("--smoke", action="store_true", help="on the CPU, nano, not compiled")
    parser.add_argument("--child", type=Path, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        child(*options.child)
        return 0
    if options.smoke and options.out == RESULT:
        parser.error(f"--smoke needs --out; {RESULT.name} is for a GPU")
    return common.exit_status("training_gpu", lambda: measure(options))


if __name__ == "__main__":
    raise SystemExit(main())
