"""Slurm scripts for Europe's large machines, filled from one small YAML a machine.

``recipes/cluster/<name>.yaml`` says how a machine wants to be asked; :func:`script` writes the job.
A minute of Slurm's life decides its form: before the time limit Slurm signals the batch shell,
which signals the step, so that every process saves and stops (the path of SIGTERM); then the job
asks to be queued again, and the same command takes the run up. Nothing is ever submitted from here.

Whatever comes from a recipe or a command line is quoted for the shell. ``setup`` is shell itself:
its lines are run as they stand, so a cluster file is to be trusted like a script.
"""

import re
import shlex
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from workbench import machines, recipe, strict
from workbench import run as runs
from workbench.errors import UserError, nearest

FOLDER = "recipes/cluster"
PREFIX = "cluster."
# The time that processes get to save, less what Slurm and the launcher need for themselves.
MARGIN_SECONDS = 60
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]*")
_TIME = re.compile(r"(\d+-)?\d{1,2}:\d{2}:\d{2}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """How one machine is asked for nodes, and what its processes need."""

    machine: str
    """The machine's name in the table that plans are made with."""
    partition: str
    account: str = ""
    """The project that is charged; empty leaves it to ``SBATCH_ACCOUNT`` or ``sbatch -A``."""
    qos: str = ""
    nodes: int = 1
    gpus_per_node: int = 4
    cpus_per_node: int = 32
    gpu_option: Literal["gpus-per-node", "gres"] = "gpus-per-node"
    """How Slurm is asked for GPUs there."""
    memory: str = ""
    """Of a node, as Slurm writes it; 0 is all of it, empty leaves it to the partition."""
    exclusive: bool = True
    time: str = "24:00:00"
    """The time limit of one job, as ``[days-]hours:minutes:seconds``."""
    grace: int = 600
    """Seconds before the time limit at which processes are told to save and stop."""
    requeues: int = 100
    """Queue again at most so often."""
    setup: list[str] = field(default_factory=list)
    """Shell lines that load modules or an environment, run as they stand."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables for every process, such as those of NCCL or RCCL."""
    wrap: list[str] = field(default_factory=list)
    """Words before the launcher, such as those that enter a container."""
    checkpointing: bool = False
    """Keep only each layer's input and compute the rest again (FSDP activation checkpointing)."""

    def __post_init__(self) -> None:
        machine = machines.get(self.machine)
        for name in ("partition", "account", "qos", "memory"):
            value = getattr(self, name)
            if (value or name == "partition") and not _WORD.fullmatch(value):
                raise UserError(
                    f"{name} may hold letters, digits and '_.@+-', and not begin with one of "
                    f"those; it is {value!r}"
                )
        if not _TIME.fullmatch(self.time):
            raise UserError(f"time is hours:minutes:seconds, such as 24:00:00, not {self.time!r}")
        for name in ("nodes", "gpus_per_node", "cpus_per_node"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, it is {getattr(self, name)}")
        if self.gpus_per_node > machine.per_node:
            raise UserError(
                f"gpus_per_node is {self.gpus_per_node}, and a node of {self.machine} has "
                f"{machine.per_node}"
            )
        if not 2 * MARGIN_SECONDS <= self.grace < seconds(self.time):
            raise UserError(
                f"grace must be at least {2 * MARGIN_SECONDS} seconds and below the time limit, "
                f"it is {self.grace}"
            )
        if self.requeues < 0:
            raise UserError(f"requeues must not be negative, it is {self.requeues}")
        for name, value in self.environment.items():
            if not _VARIABLE.fullmatch(name):
                raise UserError(f"environment names no variable {name!r}")
            _one_line(f"environment.{name}", value)
        for line in self.setup:
            _one_line("setup", line)
        for word in self.wrap:
            _one_line("wrap", word)


def seconds(limit: str) -> int:
    """Return a time limit such as ``1-12:00:00`` in seconds."""
    days, _, clock = limit.rpartition("-")
    hours, minutes, rest = (int(part) for part in clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest


def names() -> list[str]:
    """Return the clusters that the project's folder has files for."""
    return sorted(path.stem for path in (runs.home() / FOLDER).glob("*.yaml"))


def load(name: str, overrides: Sequence[str] = ()) -> Cluster:
    """Read ``recipes/cluster/<name>.yaml``.

    Args:
        name: of the file, without its ending.
        overrides: such as ``nodes=16``, checked like the file.

    Raises:
        UserError: there is no such file, or it says something that no cluster file knows; the
            message names file, line, key and the nearest right one.
    """
    known = names()
    if name not in known:
        raise UserError(
            f"no cluster {name!r}{nearest(name, known)}; "
            f"{FOLDER} has {', '.join(known) or 'no files'}"
        )
    path = runs.home() / FOLDER / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{path}: not readable as UTF-8 text: {fault}") from None
    made: Cluster = strict.settings(Cluster, text, overrides, str(path))
    return made


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide settings into those of the cluster, without their ``cluster.``, and the recipe's."""
    own = [word.removeprefix(PREFIX) for word in words if word.startswith(PREFIX)]
    return own, [word for word in words if not word.startswith(PREFIX)]


def script(
    cluster: Cluster,
    recipe_file: str | Path,
    overrides: Sequence[str] = (),
    named: str | Path = "",
) -> str:
    """Return the job that carries a recipe out on ``cluster``.

    Args:
        cluster: from :func:`load`.
        recipe_file: the recipe.
        overrides: settings of the recipe, which every session of the run repeats.
        named: the recipe from the folder in which the job will be submitted, where that is not
            this one.

    Raises:
        UserError: the recipe is not right, not one that trains, or its steps cannot be dealt out
            evenly to all GPUs.
    """
    wanted = recipe.load(recipe_file, overrides)
    if not isinstance(wanted, (recipe.PretrainRecipe, recipe.AdaptRecipe)):
        raise UserError(
            f"{recipe_file} is of kind {wanted.kind!r}; a cluster is for what trains: "
            "'pretrain' or 'adapt'"
        )
    wanted.train.share_of_step(cluster.nodes * cluster.gpus_per_node)
    gpus = str(cluster.gpus_per_node)
    directives = {
        "job-name": f"{wanted.kind}-{wanted.name}",
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "nodes": str(cluster.nodes),
        "ntasks-per-node": "1",
        "cpus-per-task": str(cluster.cpus_per_node),
        cluster.gpu_option: f"gpu:{gpus}" if cluster.gpu_option == "gres" else gpus,
        "mem": cluster.memory,
        "time": cluster.time,
        "signal": f"B:TERM@{cluster.grace}",
        "output": "%x-%j.out",
        "open-mode": "append",
    }
    flags = ["requeue", *(["exclusive"] if cluster.exclusive else [])]
    command = "exec " + " \\\n  ".join(
        [
            shlex.join([*cluster.wrap, "accelerate", "launch"]),
            '--num_machines "$SLURM_NNODES" --machine_rank "$SLURM_NODEID"',
            f'--num_processes "$((SLURM_NNODES * {gpus}))"',
            '--main_process_ip "$HEAD_ADDRESS" --main_process_port "$HEAD_PORT"',
            *(_fsdp_flags(cluster) if isinstance(wanted, recipe.PretrainRecipe) else ()),
            shlex.join(["--module", "workbench", "run", str(named or recipe_file), *overrides]),
        ]
    )
    return _Script(_TEMPLATE).substitute(
        directives="\n".join(
            [f"#SBATCH --{key}={value}" for key, value in directives.items() if value]
            + [f"#SBATCH --{flag}" for flag in flags]
        ),
        account=(
            f"The project {cluster.account} is charged."
            if cluster.account
            else "No project is named: give it with sbatch --account, or in SBATCH_ACCOUNT."
        ),
        run=shlex.quote(f"{wanted.kind}/{wanted.name}"),
        setup="\n".join(cluster.setup) or ": nothing to set up",
        environment="\n".join(
            f"export {name}={shlex.quote(value)}"
            for name, value in {
                **cluster.environment,
                "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(cluster.grace - MARGIN_SECONDS),
            }.items()
        ),
        requeues=str(cluster.requeues),
        cpus=str(cluster.cpus_per_node),
        grace=str(cluster.grace),
        command=shlex.quote(command),
    )


def _fsdp_flags(cluster: Cluster) -> list[str]:
    """Return the words by which Accelerate shards model, gradients and optimizer (FSDP2)."""
    yes = str(cluster.checkpointing).lower()
    return [
        "--mixed_precision bf16 --use_fsdp --fsdp_version 2",
        "--fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP",
        "--fsdp_transformer_layer_cls_to_wrap Qwen3DecoderLayer",
        "--fsdp_reshard_after_forward true --fsdp_state_dict_type SHARDED_STATE_DICT",
        f"--fsdp_activation_checkpointing {yes}",
    ]


def _one_line(name: str, text: str) -> None:
    if not text.isprintable():
        raise UserError(f"{name} holds a line break or another control character: {text!r}")


class _Script(string.Template):
    """A template whose holes begin with ``@``, because a shell script is full of ``$``."""

    delimiter = "@"


_TEMPLATE = """\
#!/bin/bash
@{directives}
# @{account}
set -eo pipefail

run=@{run}
requeues=@{requeues}

@{setup}

@{environment}

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
HEAD_ADDRESS=${nodes[0]:?the job has no nodes}
HEAD_PORT=$((20000 + SLURM_JOB_ID % 20000))
export HEAD_ADDRESS HEAD_PORT

# Slurm signals this shell before the time limit. It signals every process of the step, which saves
# a checkpoint and stops. srun itself would take the signal for an order to kill.
stopping=0
save_and_stop() {
  stopping=1
  echo "$run: the time limit is near; saving" >&2
  scancel --signal=TERM "$SLURM_JOB_ID.0" || echo "$run: the step could not be signalled" >&2
}
trap save_and_stop TERM

# Nodes end one after the other when they save: whoever is first must not take the others along.
srun --cpus-per-task=@{cpus} --kill-on-bad-exit=0 --wait=@{grace} bash -c @{command} &
step=$!

# A signal ends wait but not the step, so wait again until the step is gone.
status=0
wait "$step" || status=$?
while kill -0 "$step" 2>/dev/null; do
  status=0
  wait "$step" || status=$?
done

if [ "$status" -eq 0 ]; then
  echo "$run: done"
elif [ "$stopping" -eq 1 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "$requeues" ]; then
  echo "$run: stopped before the time limit; queued again" >&2
  scontrol requeue "$SLURM_JOB_ID"
else
  echo "$run: ended with status $status and is not queued again" >&2
fi
exit "$status"
"""
