"""Figures of plans: what fills a GPU's memory, and time and energy against the number of GPUs."""

import dataclasses
import io
from typing import Any

from workbench import drawing
from workbench.errors import UserError, nearest
from workbench.plan import Plan

# How the parts of memory are filled beside their colour, so that none depends on colour alone.
HATCHES = ("", "//", "..", "xx", "\\\\", "--", "++", "")
# What is set aside stands last.
COLOURS = (*drawing.PALETTE, drawing.FAINT)


def show(plan: Plan, name: str = "memory") -> Any:
    """Return a figure of a plan for a notebook to display.

    Raises:
        UserError: there is no such figure, or the plan lacks what it shows.
    """
    from IPython.display import Image

    figures = {"memory": memory, "scaling": scaling}
    if name not in figures:
        raise UserError(
            f"a plan has no picture {name!r}{nearest(name, figures)}; it has {', '.join(figures)}"
        )
    picture = io.BytesIO()
    figures[name](plan).savefig(picture, format="png", dpi=110, bbox_inches="tight")
    said = f"{name} of {plan.size} on {plan.gpus} GPUs"
    return Image(data=picture.getvalue(), alt=said)  # type: ignore[no-untyped-call]


def memory(plan: Plan) -> Any:
    """Return the memory of each GPU by part, activations kept and recomputed, and what there is."""
    figure = drawing.new(8, 2.8)
    axes = figure.subplots()
    ways = {"activations kept": plan.memory(False), "recomputed": plan.memory(True)}
    for height, parts in enumerate(ways.values()):
        left = 0.0
        for number, (part, amount) in enumerate(parts.items()):
            axes.barh(
                height,
                amount / 1e9,
                left=left / 1e9,
                color=COLOURS[number],
                edgecolor="white",
                hatch=HATCHES[number],
                label=part if height == 0 and amount else None,
            )
            left += amount
    if plan.machine is not None:
        limit = plan.machine.memory_bytes / 1e9
        axes.axvline(limit, color=drawing.INK, linestyle="--")
        axes.annotate(
            f"{limit:.0f} GB",
            (limit, 1),
            xycoords=axes.get_xaxis_transform(),
            va="bottom",
            ha="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(ways)), list(ways))
    axes.set(xlabel="GB on each GPU")
    figure.suptitle(f"Memory: {plan.size}, {plan.gpus:,} GPUs, batch {plan.batch} a GPU")
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    drawing.plain(axes)
    return figure


def scaling(plan: Plan, doublings: int = 3) -> Any:
    """Return days and energy against GPUs, from the plan's number upwards in doublings.

    At one MFU the energy stays as it is and the days halve; what real machines lose to
    communication has to be stated as a lower MFU.

    Raises:
        UserError: the plan has no speed, because it names no machine.
    """
    if plan.days is None or plan.machine is None:
        raise UserError("time and energy need a machine; name one, such as 'lumi-g'")
    plans = [dataclasses.replace(plan, gpus=plan.gpus * 2**n) for n in range(doublings + 1)]
    figure = drawing.new(9, 3.6)
    days, energy = figure.subplots(1, 2)
    at = [one.gpus for one in plans]
    days.plot(at, [one.days for one in plans], color=drawing.PALETTE[0], marker="o")
    days.set(title="Wall clock", ylabel="days")
    days.set_ylim(bottom=0)
    for number, boundary in enumerate(("accelerator", "node", "facility")):
        amounts = [one.energy()[boundary] for one in plans]
        told = [amount / 1000 for amount in amounts if amount is not None]
        if told:
            energy.plot(
                at,
                told,
                color=drawing.PALETTE[number],
                marker=drawing.MARKERS[number],
                label=boundary,
            )
    energy.set(title="Energy, by boundary", ylabel="MWh")
    energy.set_ylim(0, 1.15 * energy.get_ylim()[1])
    energy.legend(frameon=False, fontsize=8)
    for axes in (days, energy):
        axes.set(xlabel="GPUs", xscale="log")
        axes.set_xticks(at, [f"{gpus:,}" for gpus in at])
        axes.minorticks_off()
        drawing.plain(axes)
    return figure
