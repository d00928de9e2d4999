"""Figures of ladders: the law through the rungs, and what it said beside what came."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench import drawing, languages, scaling
from workbench import run as runs

# Fits behind the band of the mean; the tables have theirs from as many as the recipe says.
RESAMPLES = 1000
RUNG, PREDICTED, MEASURED = drawing.PALETTE[6], drawing.PALETTE[0], drawing.PALETTE[1]


def law(run: runs.Run) -> Any:
    """Return bits per byte against compute: the mean with its law, and every language.

    ``None`` where the run has no ladder.
    """
    if not (run.path / "laws.json").exists():
        return None
    points, laws = run.read_result("rungs"), run.read_result("laws")
    figure = drawing.new(11.5, 4.8)
    left, right = figure.subplots(1, 2)
    mean = [row for row in points if row["tag"] == scaling.ALL]
    _mean(left, run, mean, next(row for row in laws if row["tag"] == scaling.ALL))
    _languages(right, points, laws, [row["flops"] for row in mean])
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="training compute in FLOP")
        _plain_ticks(axes)
        drawing.plain(axes)
        axes.grid(axis="y", color="#e3e8ee")
    left.set(ylabel="bits per byte")
    return figure


def prediction(run: runs.Run) -> Any:
    """Return predicted and measured bits per byte of every language, with the numbers beside them.

    ``None`` where the run has no ladder.
    """
    if not (run.path / "laws.json").exists():
        return None
    rows = [row for row in run.read_result("laws") if row["tag"] != scaling.ALL]
    rows.sort(key=lambda row: -row["measured"])
    figure = drawing.tall(rows, 8.6)
    axes = figure.subplots()
    inside = [row for row in rows if row["predicted_low"] is not None]
    heights = [height for height, row in enumerate(rows) if row["predicted_low"] is not None]
    axes.hlines(
        heights,
        [row["predicted_low"] for row in inside],
        [row["predicted_high"] for row in inside],
        color=PREDICTED,
        alpha=0.45,
        linewidth=2.5,
        label="95 % interval over documents",
    )
    style = {"linestyle": "none", "markersize": 6}
    axes.plot(
        [row["predicted"] for row in rows],
        range(len(rows)),
        marker="D",
        color=PREDICTED,
        markerfacecolor="white",
        label="predicted before training",
        **style,
    )
    axes.plot(
        [row["measured"] for row in rows],
        range(len(rows)),
        marker="o",
        color=MEASURED,
        label="measured after it",
        **style,
    )
    drawing.name_languages(axes, rows)
    drawing.plain(axes)
    _numbers(axes, rows)
    model = run.record["happened"]["predicted"]["model"]
    axes.set(xlabel=f"bits per byte of {model}")
    figure.legend(
        *axes.get_legend_handles_labels(),
        frameon=False,
        fontsize=8,
        ncols=3,
        loc="outside upper center",
    )
    return figure


def slopes(run: runs.Run) -> Any:
    """Return a small panel a language: its rungs, its law, and where the model came out.

    Bits per byte are shown as a share of the first rung's, so that all panels have the same axes
    and a language whose line is steeper gains more from compute. ``None`` without a ladder.
    """
    if not (run.path / "laws.json").exists():
        return None
    points = run.read_result("rungs")
    laws = [row for row in run.read_result("laws") if row["tag"] != scaling.ALL]
    laws.sort(key=lambda row: -row["exponent"])
    columns = min(7, len(laws))
    lines = math.ceil(len(laws) / columns)
    figure = drawing.new(1.2 + 1.55 * columns, 1.0 + 1.35 * lines)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for number, (axes, row) in enumerate(itertools.zip_longest(panels.flat, laws)):
        if row is None:
            axes.set_visible(False)
            continue
        own = [one for one in points if one["tag"] == row["tag"]]
        first = own[0]["bits_per_byte"]
        at = [one["flops"] for one in own]
        share = [100 * one["bits_per_byte"] / first for one in own]
        line = [
            100 * (row["offset"] + row["coefficient"] * x ** -row["exponent"]) / first for x in at
        ]
        axes.plot(at, line, color=PREDICTED, linewidth=1)
        axes.plot(at[:-1], share[:-1], "s", color=RUNG, markersize=3.5)
        axes.plot(at[-1], line[-1], "D", color=PREDICTED, markerfacecolor="white", markersize=5)
        axes.plot(at[-1], share[-1], "o", color=MEASURED, markersize=4)
        axes.set(xscale="log", yscale="log", xlim=(at[0] / 2, at[-1] * 2))
        axes.set_title(languages.get(row["tag"]).name, fontsize=8, pad=13)
        for text, place, colour in (
            (f"{row['exponent']:.3f}", "left", PREDICTED),
            (f"{row['error_percent']:+.1f} %", "right", MEASURED),
        ):
            axes.annotate(
                text,
                (0 if place == "left" else 1, 1.03),
                xycoords="axes fraction",
                fontsize=7,
                ha=place,
                color=colour,
            )
        _plain_ticks(axes, 4)
        axes.tick_params(labelsize=7, labelbottom=number + columns >= len(laws))
        drawing.plain(axes)
    model = run.record["happened"]["predicted"]["model"]
    figure.suptitle(
        f"From the steepest law to the flattest: exponent, and by how much {model} missed its law",
        fontsize=10,
    )
    figure.supxlabel("training compute in FLOP", fontsize=9)
    figure.supylabel(f"bits per byte, % of {points[0]['size']}'s", fontsize=9)
    return figure


def _mean(axes: Any, run: runs.Run, points: Sequence[Any], row: Any) -> None:
    """Draw the mean over languages: rungs, law and band, prediction and what was measured."""
    *rungs, model = points
    compute = [one["flops"] for one in rungs]
    target = model["flops"]
    grid = np.geomspace(compute[0] / 1.5, target * 1.5, 60)
    drawn = scaling.with_mean(scaling.documents(run.read_result("validation")), RESAMPLES)
    _, redrawn = drawn[scaling.ALL]
    if len(redrawn):
        laws = scaling.fit(compute, redrawn[:, :-1])
        band = np.quantile([laws.at(at) for at in grid], [0.025, 0.975], axis=1)
        axes.fill_between(grid, *band, color=PREDICTED, alpha=0.15, linewidth=0)
    found = scaling.fit(compute, [one["bits_per_byte"] for one in rungs])
    axes.plot(grid, [float(found.at(at)) for at in grid], color=PREDICTED, linewidth=1.2)
    axes.plot(
        compute,
        [one["bits_per_byte"] for one in rungs],
        "s",
        color=RUNG,
        label="rungs, measured",
        markersize=7,
    )
    low, high = row["predicted_low"], row["predicted_high"]
    if low is not None:
        axes.vlines(target, low, high, color=PREDICTED, linewidth=2)
    axes.plot(
        target,
        row["predicted"],
        "D",
        color=PREDICTED,
        markerfacecolor="white",
        markersize=8,
        label=f"{model['size']}, predicted: {row['predicted']:.3f}"
        + (f" ({low:.3f} to {high:.3f})" if low is not None else ""),
    )
    axes.plot(
        target,
        row["measured"],
        "o",
        color=MEASURED,
        markersize=7,
        label=f"{model['size']}, measured: {row['measured']:.3f} ({row['error_percent']:+.1f} %)",
    )
    for one in rungs:
        axes.annotate(
            f"{one['size']}\n{one['parameters'] / 1e6:.2g}M weights, {one['bits_per_byte']:.3f}",
            (one["flops"], one["bits_per_byte"]),
            xytext=(9, 4),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set(title=f"{row['language'].capitalize()} languages: {_formula(row)}")
    axes.legend(frameon=False, fontsize=8, loc="lower left")


def _languages(axes: Any, points: Sequence[Any], laws: Sequence[Any], at: Sequence[float]) -> None:
    """Draw what was measured of each language at every size, and name the extremes."""
    by_tag: dict[str, list[float]] = {}
    for row in points:
        if row["tag"] != scaling.ALL:
            by_tag.setdefault(row["tag"], []).append(row["bits_per_byte"])
    for values in by_tag.values():
        axes.plot(at, values, color="#9fb6cc", linewidth=0.8, marker=".", markersize=3)
    steep = sorted((row for row in laws if row["tag"] in by_tag), key=lambda row: row["exponent"])
    for row, colour in ((steep[-1], PREDICTED), (steep[0], MEASURED)):
        values = by_tag[row["tag"]]
        name = languages.get(row["tag"]).name
        axes.plot(
            at, values, color=colour, marker=".", label=f"{name}: exponent {row['exponent']:.3f}"
        )
    axes.set(title="Every language, the steepest and the flattest named")
    axes.legend(frameon=False, fontsize=8, loc="lower left")


def _formula(row: Any) -> str:
    offset = f"{row['offset']:.3g} + " if row["form"] == "offset" else ""
    return f"L = {offset}{row['coefficient']:.3g} C$^{{-{row['exponent']:.3f}}}$"


def _numbers(axes: Any, rows: Sequence[Any]) -> None:
    """Write what was predicted, measured and missed to the right of each language."""
    columns = {
        "predicted": lambda row: f"{row['predicted']:.3f}",
        "measured": lambda row: f"{row['measured']:.3f}",
        "error": lambda row: f"{row['error_percent']:+.1f} %",
        "exponent": lambda row: f"{row['exponent']:.3f}",
    }
    for number, (head, text) in enumerate(columns.items()):
        at = 1.11 + 0.12 * number
        for height, line in [*enumerate(map(text, rows)), (len(rows) - 0.1, head)]:
            axes.annotate(
                line,
                (at, height),
                xycoords=axes.get_yaxis_transform(),
                fontsize=8,
                ha="right",
                va="center",
                annotation_clip=False,
            )


def _plain_ticks(axes: Any, most: int = 7) -> None:
    """Write bits per byte as plain numbers, of which a short logarithmic axis shows several."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    axes.yaxis.set_major_locator(MaxNLocator(most))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
