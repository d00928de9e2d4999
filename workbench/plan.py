"""What a training will need, counted before it starts: parameters, FLOPs, memory, time, energy.

Nothing is simulated. Parameters and FLOPs are counts; memory is a count of what the one training
loop puts on a GPU, in shards (FSDP2) where there are several; time follows from a stated share of
the machine's peak (MFU) or a stated speed, and energy from rated power and time. Not planned for:
restarts, waiting in the queue, validation, writing checkpoints, and slowness that grows with the
number of nodes unless the MFU says so.
"""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workbench import chunks, disk, machines, strict, terminal
from workbench import recipe as recipes
from workbench import run as runs
from workbench.errors import UserError, nearest
from workbench.family import BYTES, SIZES, Precision, Shape
from workbench.machines import Machine

GENERAL_PURPOSE, SYSTEMIC_RISK = 1e23, 1e25
# Tokens for each parameter that use a fixed compute best (Hoffmann et al., arXiv 2203.15556).
OPTIMAL_TOKENS = 20
# Of a GPU's memory: the driver's context, the communication buffers, fragmentation. An assumption.
RESERVE_BYTES = 3 * 2**30
BYTES_OF_MOMENTS = {"adamw": 8, "muon": 4}
HOURS_A_DAY, SECONDS_AN_HOUR = 24, 3600


@dataclass(frozen=True)
class Assumptions:
    """What a plan takes as given; 0 takes it from the recipe, or from the default that is named."""

    tokens: float = 0.0
    """Tokens to train on; a recipe's steps and batch say it, a bare size takes 20 a parameter."""
    vocabulary: int = 0
    """Number of tokens in the vocabulary; the recipe's tokenizer says it, or the size's own."""
    sequence: int = 0
    """Tokens a sequence; 4096 for a bare size."""
    batch: int = 0
    """Sequences that a GPU works on at a time; 1 for a bare size."""
    mfu: float = 0.4
    """Share of the peak that the model's own FLOPs reach; recomputed ones do not count."""
    tokens_per_second: float = 0.0
    """Of one GPU, in place of ``mfu``."""
    checkpointing: bool = False
    """Keep only each layer's input and compute the rest again (full activation recomputation)."""
    compiled: bool = True
    """Layers and loss are compiled, as ``train.compile: auto`` does in trainings that are long
    enough; a recipe that says ``never`` is not."""
    average: bool = False
    """Keep a moving average of the weights."""
    optimizer: Literal["auto", "adamw", "muon"] = "auto"
    """AdamW keeps two moments of each weight; Muon keeps one of the layers' matrices. ``auto`` is
    what the recipe says, and AdamW for a bare size."""
    pue: float = 0.0
    """Power usage effectiveness of the facility; the machine's own where it is known."""
    price: float = 0.0
    """Of a GPU-hour as billed, in any currency."""
    original_flops: float = 0.0
    """Where a model of others is trained further: the training compute of the original."""

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, (int, float)) and not 0 <= value < float("inf"):
                raise UserError(f"{entry.name} must be finite and not negative, it is {value}")
        if not 0 < self.mfu <= 1:
            raise UserError(f"mfu must be above 0 and up to 1, it is {self.mfu}")
        if self.pue and self.pue < 1:
            raise UserError(f"pue must be at least 1, it is {self.pue}")


@dataclass(frozen=True)
class Plan:
    """A training, counted. Where no machine is named, what depends on one is ``None``."""

    name: str
    size: str
    shape: Shape
    vocabulary: int
    sequence: int
    batch: int
    optimizer: Literal["adamw", "muon"]
    precision: Precision
    tokens: float
    gpus: int
    machine: Machine | None
    assumptions: Assumptions
    rungs: tuple["Plan", ...] = ()
    """Of a recipe with a ladder: the smaller trainings before this one, which add to it."""

    @property
    def parameters(self) -> int:
        """All weights; tied ones count once."""
        return self.shape.parameters(self.vocabulary)

    @property
    def flops_per_token(self) -> float:
        """Counted, forward and backward; see :meth:`workbench.family.Shape.flops_per_token`."""
        return float(sum(self.shape.flops_per_token(self.vocabulary, self.sequence).values()))

    @property
    def flops(self) -> float:
        """Of the whole training, counted."""
        return self.flops_per_token * self.tokens

    @property
    def flops_6nd(self) -> float:
        """Six for each parameter and token, the rule of thumb (arXiv 2001.08361)."""
        return 6.0 * self.parameters * self.tokens

    @property
    def tokens_per_second(self) -> float | None:
        """Of one GPU."""
        if self.assumptions.tokens_per_second:
            return self.assumptions.tokens_per_second
        if self.machine is None:
            return None
        return self.assumptions.mfu * self.machine.peak_flops / self.flops_per_token

    @property
    def mfu(self) -> float | None:
        """Share of the machine's peak that the model's FLOPs reach."""
        speed = self.tokens_per_second
        if self.machine is None or speed is None:
            return None
        return speed * self.flops_per_token / self.machine.peak_flops

    @property
    def gpu_hours(self) -> float | None:
        """Hours of all accelerators together."""
        speed = self.tokens_per_second
        return None if speed is None else self.tokens / speed / SECONDS_AN_HOUR

    @property
    def billed_hours(self) -> float | None:
        """GPU-hours as the machine charges them."""
        if self.machine is None or self.gpu_hours is None:
            return None
        return self.gpu_hours * self.machine.billed

    @property
    def days(self) -> float | None:
        """Wall-clock days, without waiting and restarts."""
        return None if self.gpu_hours is None else self.gpu_hours / self.gpus / HOURS_A_DAY

    @property
    def cost(self) -> float | None:
        """Price of the billed GPU-hours, where a price is given."""
        if not self.assumptions.price or self.billed_hours is None:
            return None
        return self.assumptions.price * self.billed_hours

    def energy(self) -> dict[str, float | None]:
        """Return the energy in kWh within each boundary; ``None`` where its figures are missing.

        ``accelerator``: rated power of the accelerators. ``node``: power of whole nodes and their
        network under HPL. ``facility``: the node's, times PUE. Training mostly draws less.
        """
        if self.machine is None or self.gpu_hours is None:
            return {"accelerator": None, "node": None, "facility": None}
        machine, pue = self.machine, self.assumptions.pue or self.machine.pue
        node = machine.node_watts and self.gpu_hours * machine.node_watts / machine.per_node / 1e3
        return {
            "accelerator": self.gpu_hours * machine.accelerator_watts / 1e3,
            "node": node,
            "facility": node * pue if node and pue else None,
        }

    def memory(self, checkpointing: bool | None = None) -> dict[str, float]:
        """Return the bytes on each GPU by part, in shards over all GPUs.

        The sum is more than there ever is at once, because the parts do not have their most at one
        moment: a step of ``nano`` took 0 to 8 % less on a CPU (torch 2.13), and 22 to 27 % less
        where layers are recomputed.

        - ``weights`` and ``gradients``: sharded, in fp32.
        - ``optimizer``: AdamW's two moments of each weight, in fp32; Muon's one of each matrix in
          the layers.
        - ``average``: the moving average, in fp32. What it displaces while validation runs takes
          the place of the gradients.
        - ``gathered``: what FSDP2 holds whole for a moment. In the run's precision two layers'
          weights (one works, one is fetched) and one layer's gradient, which is added up in fp32;
          in fp32 embedding and output, and a gradient of the embedding. On one GPU the copies in
          bf16 that autocast makes of the layers' matrices.
        - ``activations``: see :meth:`workbench.family.Shape.activation_bytes_per_token`; of each
          layer, or where they are recomputed of one layer and the others' inputs, in fp32. The last
          norm is never compiled.
        - ``loss``: a chunk's logits, as many as :mod:`workbench.chunks` says for a GPU; the
          gradient of the last hidden states and of the output matrix, in fp32; its copy in bf16,
          and what a chunk adds to its gradient.
        - ``reserve``: an assumption.

        Args:
            checkpointing: with or without recomputation; ``None`` takes what the plan assumes.
        """
        shape, assumed, each = self.shape, self.assumptions, BYTES[self.precision]
        recompute = assumed.checkpointing if checkpointing is None else checkpointing
        matrices = shape.layers * shape.layer_matrices
        moments = matrices * BYTES_OF_MOMENTS[self.optimizer] + (self.parameters - matrices) * 8
        output = self.vocabulary * shape.width
        if self.gpus == 1:
            gathered = 2 * matrices if self.precision == "bf16" else 0
        else:
            whole = shape.vocabulary_parameters(self.vocabulary) + output
            gathered = (3 * each + 4) * shape.layer_parameters + 4 * whole
        here = self.batch * self.sequence
        layer = sum(shape.activation_bytes_per_token(self.precision, assumed.compiled).values())
        kept = 4 * shape.width * shape.layers + layer if recompute else layer * shape.layers
        logits = chunks.rows(here, self.vocabulary, chunks.AT_ONCE_GPU) * self.vocabulary
        return {
            "weights": 4 * self.parameters / self.gpus,
            "gradients": 4 * self.parameters / self.gpus,
            "optimizer": moments / self.gpus,
            "average": 4 * self.parameters / self.gpus if assumed.average else 0.0,
            "gathered": float(gathered),
            # Beside the layers: the last norm's input, that input normed, and the output.
            "activations": float(here * (kept + 12 * shape.width)),
            # Of the output, 4 bytes for its gradient; copy and chunk take 2 and 2, or none and 4.
            "loss": float(
                logits * (each if assumed.compiled else chunks.PLAIN_BYTES)
                + 4 * here * shape.width
                + 8 * output
            ),
            "reserve": float(RESERVE_BYTES),
        }

    def fits(self, checkpointing: bool | None = None) -> bool | None:
        """Whether the memory of one accelerator suffices."""
        if self.machine is None:
            return None
        return sum(self.memory(checkpointing).values()) <= self.machine.memory_bytes

    def duties(self) -> dict[str, Any]:
        """Return how far the compute is from the AI Act's indicative lines (see Art. 51 and 53).

        A figure is a ratio, never an attestation: whether a line binds a provider is for a person
        to say. Cumulative compute of earlier stages is not known here.
        """
        original = self.assumptions.original_flops
        return {
            "of_general_purpose": self.flops / GENERAL_PURPOSE,
            "of_systemic_risk": self.flops / SYSTEMIC_RISK,
            "modifier_line": (original or self.flops) / 3,
            "of_modifier_line": self.flops / (original / 3) if original else None,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return every figure of the plan, with what was assumed, as plain values."""
        return {
            "name": self.name,
            "size": self.size,
            "shape": dataclasses.asdict(self.shape),
            "vocabulary": self.vocabulary,
            "sequence": self.sequence,
            "batch": self.batch,
            "optimizer": self.optimizer,
            "precision": self.precision,
            "tokens": self.tokens,
            "gpus": self.gpus,
            "machine": self.machine and dataclasses.asdict(self.machine),
            "assumptions": dataclasses.asdict(self.assumptions),
            "parameters": self.parameters,
            "flops_per_token": self.shape.flops_per_token(self.vocabulary, self.sequence),
            "flops": self.flops,
            "flops_6nd": self.flops_6nd,
            "memory_bytes": {
                "kept": self.memory(checkpointing=False),
                "recomputed": self.memory(checkpointing=True),
            },
            "fits": {"kept": self.fits(False), "recomputed": self.fits(True)},
            "mfu": self.mfu,
            "tokens_per_second": self.tokens_per_second,
            "gpu_hours": self.gpu_hours,
            "billed_hours": self.billed_hours,
            "days": self.days,
            "energy_kwh": self.energy(),
            "cost": self.cost,
            "ai_act": self.duties(),
            "rungs": [rung.to_dict() for rung in self.rungs],
        }


def make(
    subject: str | Path,
    assumptions: Assumptions | None = None,
    machine: str = "",
    gpus: int = 0,
    overrides: tuple[str, ...] = (),
) -> Plan:
    """Return the plan of a size of the family, or of a pretraining recipe.

    Args:
        subject: a key of :data:`workbench.family.SIZES`, or the path of a recipe.
        assumptions: what to take as given in place of the recipe's or the default.
        machine: a name in ``machines.tsv``; empty plans no time and no energy.
        gpus: accelerators; 0 takes one node of the machine, or 1.
        overrides: settings of the recipe, such as ``train.steps=50``.

    Raises:
        UserError: there is no such size, recipe or machine, or a recipe is of another kind.
    """
    assumed = assumptions or Assumptions()
    place = machines.get(machine) if machine else None
    if gpus < 0:
        raise UserError(f"gpus must not be negative, it is {gpus}")
    count = gpus or (place.per_node if place else 1)
    text = str(subject)
    if text in SIZES:
        if overrides:
            raise UserError(f"{overrides[0]!r} is a setting of a recipe, and {text} is a bare size")
        return _of_size(text, assumed, place, count)
    if not text.endswith((".yaml", ".yml")):
        known = [*SIZES, *(run.reference for run in runs.every())]
        raise UserError(
            f"no size, recipe or run {text!r}{nearest(text, known)}; "
            f"the sizes are {', '.join(SIZES)}"
        )
    wanted = recipes.load(subject, overrides)
    if not isinstance(wanted, recipes.PretrainRecipe):
        raise UserError(f"{subject} is of kind {wanted.kind!r}; only 'pretrain' can be planned")
    return of_recipe(wanted, assumed, place, count)


def of_recipe(
    wanted: recipes.PretrainRecipe, assumed: Assumptions, place: Machine | None, gpus: int
) -> Plan:
    """Return the plan of a pretraining recipe; its steps are shared out to all GPUs.

    A ladder's rungs are planned with the same MFU, which flatters them, or at the same speed.

    Raises:
        UserError: a step cannot be dealt out evenly to so many.
    """
    train = wanted.train
    sequence = assumed.sequence or train.sequence
    batch = assumed.batch or train.share_of_step(gpus)[1]
    assumed = dataclasses.replace(
        assumed,
        checkpointing=assumed.checkpointing or train.recompute,
        compiled=assumed.compiled and train.compile != "never",
        average=assumed.average or train.average > 0,
    )
    made = Plan(
        name=f"{wanted.kind}/{wanted.name}",
        size=wanted.model,
        shape=SIZES[wanted.model],
        vocabulary=assumed.vocabulary or _vocabulary(wanted),
        sequence=sequence,
        batch=batch,
        optimizer=train.optimizer if assumed.optimizer == "auto" else assumed.optimizer,
        precision="fp32" if train.precision == "fp32" else "bf16",
        tokens=assumed.tokens or train.steps * train.batch * train.accumulation * sequence,
        gpus=gpus,
        machine=place,
        assumptions=assumed,
    )
    rungs = []
    for size in wanted.ladder.rungs:
        share = wanted.training_of(size, made.vocabulary).steps / train.steps
        tokens = share * made.tokens
        rungs.append(dataclasses.replace(made, size=size, shape=SIZES[size], tokens=tokens))
    return dataclasses.replace(made, rungs=tuple(rungs))


def of_run(run: runs.Run) -> Plan:
    """Return the plan of a run as it was made: its recipe, and the vocabulary of its model.

    The number of processes is what makes the recipe's tokens those of the record.

    Raises:
        UserError: it is no pretraining, or it is not finished.
    """
    wanted, happened = run.recipe, run.record.get("happened", {})
    if not isinstance(wanted, recipes.PretrainRecipe):
        raise UserError(f"{run.reference} is no pretraining; only such runs can be planned")
    config = run.path / "model" / "config.json"
    if "tokens" not in happened or not config.exists():
        raise UserError(f"{run.reference} is not finished, so that nothing can be held against it")
    vocabulary = int(disk.read_json(config)["vocab_size"])
    processes = happened.get("processes", 1)
    return of_recipe(wanted, Assumptions(vocabulary=vocabulary), None, processes)


def against(plan: Plan, run: runs.Run) -> list[dict[str, Any]]:
    """Hold a plan against the record of a finished run; return planned and measured, and a ratio.

    Raises:
        UserError: the record lacks the figures, because the run is not finished.
    """
    happened = run.record.get("happened", {})
    figures = {
        "parameters": plan.parameters,
        "flops_per_token": plan.flops_per_token,
        "tokens": plan.tokens,
        "flops": plan.flops,
    }
    missing = [name for name in figures if name not in happened]
    if missing:
        raise UserError(f"the record of {run.reference} has no {missing[0]!r}; is it finished?")
    return [
        {
            "figure": name,
            "planned": planned,
            "measured": happened[name],
            "ratio": planned / happened[name],
        }
        for name, planned in figures.items()
    ]


def fitting(plan: Plan, allocation: float) -> list[dict[str, Any]]:
    """Return what each size of the family could read within an allocation of billed GPU-hours.

    The speed of every size is taken from the plan's MFU; small models reach less of the peak than
    large ones, so that their rows flatter. ``optimal`` says whether at least 20 tokens for each
    parameter fit (arXiv 2203.15556). The sequence is the plan's, and so is its vocabulary for its
    own size; the others take the one that their names are counted with.

    Raises:
        UserError: the plan names no machine, or the allocation is not positive.
    """
    if plan.machine is None or plan.mfu is None:
        raise UserError("an allocation is hours of a machine; name one, such as --machine lumi-g")
    if not 0 < allocation < float("inf"):
        raise UserError(f"an allocation is a positive number of GPU-hours, not {allocation}")
    hours = allocation / plan.machine.billed
    budget = hours * SECONDS_AN_HOUR * plan.machine.peak_flops * plan.mfu
    rows = []
    for size, shape in SIZES.items():
        vocabulary = plan.vocabulary if size == plan.size else shape.vocabulary
        parameters = shape.parameters(vocabulary)
        tokens = budget / sum(shape.flops_per_token(vocabulary, plan.sequence).values())
        rows.append(
            {
                "size": size,
                "parameters": parameters,
                "tokens": tokens,
                "tokens_per_parameter": tokens / parameters,
                "optimal": tokens >= OPTIMAL_TOKENS * parameters,
                "reads_the_plans_tokens": tokens >= plan.tokens,
            }
        )
    return rows


def table(plan: Plan, allocation: float = 0.0) -> str:
    """Return a plan as text: what is asked for, what it takes, and what was assumed."""
    parts = plan.shape.flops_per_token(plan.vocabulary, plan.sequence)
    share = ", ".join(f"{name} {part / plan.flops_per_token:.0%}" for name, part in parts.items())
    lines = [
        f"{plan.name}: {plan.size}, {_si(plan.parameters)} parameters ({plan.parameters:,}), "
        f"{_si(plan.tokens)} tokens ({plan.tokens / plan.parameters:.1f} a parameter)",
        f"  vocabulary {plan.vocabulary:,}, sequence {plan.sequence:,}, batch {plan.batch} a GPU, "
        f"{plan.gpus:,} GPU{'s' if plan.gpus > 1 else ''}",
        "",
        f"  FLOP, counted    {plan.flops:.3g}  ({share})",
        f"  FLOP, 6ND        {plan.flops_6nd:.3g}",
        *_time_lines(plan),
        "",
        *_ladder_lines(plan),
        *(f"  {line}" for line in _memory_table(plan).splitlines()),
        "",
        *_duty_lines(plan),
        "",
        *_assumption_lines(plan),
    ]
    if allocation:
        fits = fitting(plan, allocation)
        rows = [
            (
                row["size"],
                _si(row["parameters"]),
                _si(row["tokens"]),
                f"{row['tokens_per_parameter']:,.0f}",
                "yes" if row["optimal"] else "no",
                "yes" if row["reads_the_plans_tokens"] else "no",
            )
            for row in fits
        ]
        header = (
            *("size", "parameters", "tokens that fit", "a parameter", "20 a parameter"),
            f"{_si(plan.tokens)} tokens",
        )
        lines += ["", f"  within {allocation:,.0f} GPU-hours as billed:"]
        lines += [f"  {line}" for line in terminal.table(rows, header).splitlines()]
        largest = [row["size"] for row in fits if row["reads_the_plans_tokens"]]
        lines.append(
            f"  largest that reads {_si(plan.tokens)} tokens: {largest[-1] if largest else 'none'}"
        )
    return "\n".join(lines)


def comparison(plan: Plan, run: runs.Run) -> str:
    """Return :func:`against` as text."""
    rows = [
        (row["figure"], _exact(row["planned"]), _exact(row["measured"]), f"{row['ratio']:.4f}")
        for row in against(plan, run)
    ]
    return terminal.table(rows, (run.reference, "planned", "measured", "ratio"))


def split(words: tuple[str, ...]) -> tuple[Assumptions, tuple[str, ...]]:
    """Divide ``key=value`` words into the plan's assumptions and the settings of a recipe.

    Raises:
        UserError: a value is not of its key's kind.
    """
    known = {entry.name for entry in dataclasses.fields(Assumptions)}
    own = tuple(word for word in words if word.partition("=")[0] in known)
    rest = tuple(word for word in words if word not in own)
    made: Assumptions = strict.settings(Assumptions, "{}", own, "plan")
    return made, rest


def _of_size(size: str, assumed: Assumptions, place: Machine | None, gpus: int) -> Plan:
    shape = SIZES[size]
    vocabulary = assumed.vocabulary or shape.vocabulary
    return Plan(
        name="plan",
        size=size,
        shape=shape,
        vocabulary=vocabulary,
        sequence=assumed.sequence or 4096,
        batch=assumed.batch or 1,
        optimizer="adamw" if assumed.optimizer == "auto" else assumed.optimizer,
        precision="bf16",
        tokens=assumed.tokens or OPTIMAL_TOKENS * shape.parameters(vocabulary),
        gpus=gpus,
        machine=place,
        assumptions=assumed,
    )


def _vocabulary(wanted: recipes.PretrainRecipe) -> int:
    """Return the size of the recipe's vocabulary: of its file, or as its run's recipe asks.

    A tokenizer run that is finished knows best; without one its recipe beside the project is read.
    """
    if wanted.needs and wanted.tokenizer in wanted.needs:
        file = runs.root() / wanted.tokenizer / "tokenizer" / "tokenizer.json"
    else:
        given = Path(wanted.tokenizer).expanduser()
        file = given if given.is_absolute() else runs.home() / given
        file = file / "tokenizer.json" if file.is_dir() else file
    if file.exists():
        content = disk.read_json(file)
        try:
            ids = {entry["id"] for entry in content.get("added_tokens", [])}
            words = content["model"]["vocab"]
            ids |= set(words.values() if isinstance(words, dict) else range(len(words)))
        except (AttributeError, KeyError, TypeError):
            raise UserError(f"{file} is no tokenizer.json of a kind that we know") from None
        return len(ids)
    asked = runs.home() / "recipes" / f"{wanted.tokenizer}.yaml"
    if asked.exists():
        of_tokenizer = recipes.load(asked)
        if isinstance(of_tokenizer, recipes.TokenizerRecipe):
            return of_tokenizer.vocabulary.size
    raise UserError(
        f"the vocabulary of {wanted.tokenizer!r} is not known yet; state it: vocabulary=32768"
    )


def _time_lines(plan: Plan) -> list[str]:
    speed, hours, days = plan.tokens_per_second, plan.gpu_hours, plan.days
    if speed is None or hours is None or days is None:
        return ["  time, energy     name a machine: " + ", ".join(machines.all_machines())]
    stated = plan.assumptions.tokens_per_second > 0
    lines = [
        f"  speed            {speed:,.0f} tokens/s a GPU"
        + (f", MFU {plan.mfu:.1%}" if plan.mfu is not None else "")
        + (" (speed stated)" if stated else " (MFU stated)"),
        f"  GPU-hours        {_plain(hours)}"
        + (
            f", billed as {_plain(plan.billed_hours)}"
            if plan.billed_hours is not None and plan.billed_hours != hours
            else ""
        ),
        f"  wall clock       {_duration(days)}",
    ]
    boundaries = {
        "accelerator": "accelerators at rated power",
        "node": "nodes and network, power under HPL",
        "facility": "nodes x PUE",
    }
    for boundary, amount in plan.energy().items():
        told = "not stated" if amount is None else _energy(amount)
        lines.append(f"  energy           {told}  ({boundary}: {boundaries[boundary]})")
    if plan.cost is not None:
        lines.append(
            f"  cost             {_plain(plan.cost)} at {plan.assumptions.price:g} a GPU-hour"
        )
    return lines


def _ladder_lines(plan: Plan) -> list[str]:
    """Return what rungs add to the model, a row each, and the sum."""
    if not plan.rungs:
        return []
    every = [*plan.rungs, plan]
    hours = [one.gpu_hours for one in every]
    rows = [
        (one.size, _si(one.parameters), _si(one.tokens), f"{one.flops:.3g}", _hours(one.gpu_hours))
        for one in every
    ]
    total = math.fsum(one for one in hours if one is not None) if None not in hours else None
    tokens, flops = (math.fsum(getattr(one, name) for one in every) for name in ("tokens", "flops"))
    rows.append(("sum", "", _si(tokens), f"{flops:.3g}", _hours(total)))
    header = ("ladder", "parameters", "tokens", "FLOP", "GPU-hours")
    return [*(f"  {line}" for line in terminal.table(rows, header).splitlines()), ""]


def _memory_table(plan: Plan) -> str:
    kept, recomputed = plan.memory(False), plan.memory(True)
    rows: list[tuple[str, ...]] = [
        (part, f"{kept[part] / 1e9:.3f}", f"{recomputed[part] / 1e9:.3f}")
        for part in kept
        if kept[part]
    ]
    rows.append(("sum", *(f"{sum(sums.values()) / 1e9:.3f}" for sums in (kept, recomputed))))
    if plan.machine is not None:
        words = ["fits" if plan.fits(way) else "too much" for way in (False, True)]
        rows.append((f"of {plan.machine.memory_bytes / 1e9:.0f} GB", *words))
    ways = ("activations kept", "recomputed")
    # A verdict among them makes words of the columns; numbers are set to the right all the same.
    set_right = [(row[0], *map(str.rjust, row[1:], map(len, ways))) for row in rows]
    return terminal.table(set_right, ("GB on each GPU", *ways))


def _duty_lines(plan: Plan) -> list[str]:
    duties = plan.duties()
    lines = [
        f"  AI Act           {duties['of_general_purpose']:.3g} of the general-purpose line "
        f"({GENERAL_PURPOSE:.0e} FLOP), {duties['of_systemic_risk']:.3g} of the systemic-risk line "
        f"({SYSTEMIC_RISK:.0e})",
    ]
    if duties["of_modifier_line"] is None:
        lines.append(
            f"                   who trains it further becomes a provider above "
            f"{duties['modifier_line']:.3g} FLOP, a third of its compute"
        )
    else:
        lines.append(
            f"                   {duties['of_modifier_line']:.3g} of the modifier's line, a third "
            f"of the original's {plan.assumptions.original_flops:.3g} FLOP"
        )
    return lines


def _assumption_lines(plan: Plan) -> list[str]:
    compiled = "compiled" if plan.assumptions.compiled else "not compiled"
    lines = [
        "  assumed: weights, gradients and moments in fp32, sharded over all GPUs (FSDP2); "
        f"matrices in {plan.precision}; {plan.optimizer};",
        f"  layers and loss {compiled}; attention counted in full; flash attention; no restarts "
        "and no waiting",
    ]
    if plan.machine is not None:
        lines.append(f"  {plan.machine.title}: {plan.machine.accelerator}")
        if plan.machine.unverified:
            lines.append(f"  not verified at a source: {', '.join(plan.machine.unverified)}")
    return lines


def _si(value: float) -> str:
    if value >= 1e15:
        return f"{value:.3g}"
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def _exact(value: float) -> str:
    """Return every digit, as far as a double holds whole numbers."""
    return f"{value:,.0f}" if value < 2**53 and value == int(value) else f"{value:.6g}"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _hours(value: float | None) -> str:
    return "-" if value is None else _plain(value)


def _duration(days: float) -> str:
    if days >= 1:
        return f"{days:,.1f} days"
    hours = days * HOURS_A_DAY
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.1f} minutes" if hours * 60 >= 1 else f"{hours * 3600:.3g} seconds"


def _energy(kilowatt_hours: float) -> str:
    if kilowatt_hours >= 1000:
        return f"{kilowatt_hours / 1000:,.1f} MWh"
    return f"{kilowatt_hours:.3g} kWh" if kilowatt_hours >= 1 else f"{kilowatt_hours * 1e3:.3g} Wh"
