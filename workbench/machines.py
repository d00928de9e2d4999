"""Machines that a run can be planned for: what one accelerator does, holds and draws.

The table is ``machines.tsv``, a row a machine. An accelerator is what Slurm calls a GPU. Peaks are
those of bf16 matrix multiplication without sparsity. Where a figure could not be read at its
source, the column's name stands under ``unverified``, and whoever shows the figure says so.
"""

import csv
import functools
from dataclasses import dataclass
from importlib import resources

from workbench.errors import UserError, nearest


@dataclass(frozen=True)
class Machine:
    """One row of ``machines.tsv``."""

    name: str
    title: str
    accelerator: str
    peak_flops: float
    """FLOP/s of one accelerator in bf16."""
    memory_bytes: float
    """Of one accelerator; a GB is 1e9 bytes."""
    per_node: int
    """Accelerators in a node."""
    accelerator_watts: float
    """Rated power of one accelerator."""
    node_watts: float | None
    """Power of a node with its share of the network, under HPL; ``None`` where not known."""
    pue: float | None
    """What the facility draws for each watt of the computer; ``None`` where not known."""
    billed: float
    """Hours that an allocation is charged for one hour of one accelerator."""
    unverified: tuple[str, ...]
    source: str


@functools.cache
def all_machines() -> dict[str, Machine]:
    """Return every machine of the table by name."""
    text = (resources.files("workbench") / "machines.tsv").read_text(encoding="utf-8")
    found = {}
    for row in csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        found[row["name"]] = Machine(
            name=row["name"],
            title=row["title"],
            accelerator=row["accelerator"],
            peak_flops=float(row["peak_tflops"]) * 1e12,
            memory_bytes=float(row["memory_gb"]) * 1e9,
            per_node=int(row["per_node"]),
            accelerator_watts=float(row["accelerator_watts"]),
            node_watts=_number(row["node_watts"]),
            pue=_number(row["pue"]),
            billed=float(row["billed"]),
            unverified=tuple(row["unverified"].split(",")) if row["unverified"] != "-" else (),
            source=row["source"],
        )
    return found


def get(name: str) -> Machine:
    """Return the machine called ``name``.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    known = all_machines()
    if name not in known:
        raise UserError(
            f"unknown machine {name!r}{nearest(name, known)}; it is one of {', '.join(known)}"
        )
    return known[name]


def _number(text: str) -> float | None:
    return None if text == "-" else float(text)
