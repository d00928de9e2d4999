"""Figures of models: how training went, and how well each language is predicted."""

from collections.abc import Mapping, Sequence
from typing import Any

from workbench import drawing, goldfish, languages
from workbench import run as runs


def training(run: runs.Run) -> Any:
    """Return the loss curve, and validation bits per byte: every language, and their mean."""
    figure = drawing.new(11, 4.2)
    left, right = figure.subplots(1, 2)
    metrics = run.metrics()
    # Rungs of a ladder come before the model, each with steps of its own.
    metrics = [row for row in metrics if row.get("label") == metrics[-1].get("label")]
    steps = [row for row in metrics if row["loss"] is not None]
    left.plot(
        [row["step"] for row in steps], [row["loss"] for row in steps], color=drawing.PALETTE[0]
    )
    left.set(title="Training loss", xlabel="step", ylabel="nats per token")
    measured = [row for row in metrics if "bits_per_byte" in row]
    tags: dict[str, float] = measured[-1]["bits_per_byte"] if measured else {}
    at = [row["step"] for row in measured]
    for tag in tags:
        line = [row["bits_per_byte"].get(tag) for row in measured]
        right.plot(at, line, color="#9fb6cc", linewidth=0.8)
    if tags:
        ranked = sorted(tags, key=lambda tag: tags[tag])
        mean = [sum(row["bits_per_byte"].values()) / len(tags) for row in measured]
        right.plot(
            at, mean, color=drawing.PALETTE[0], marker="o", label=f"mean of {len(tags)} languages"
        )
        for tag, place in ((ranked[0], "top"), (ranked[-1], "bottom")):
            right.annotate(
                languages.get(tag).name, (at[-1], tags[tag]), va=place, ha="right", fontsize=8
            )
        right.legend(frameon=False)
    right.set(title="Validation, every language", xlabel="step", ylabel="bits per byte")
    for axes in (left, right):
        drawing.plain(axes)
    return figure


def bits_by_language(run: runs.Run) -> Any:
    """Return bits per byte before (hollow) and after (filled) adaptation, with intervals."""
    columns = {
        "adapt": ("validation_bits_per_byte_before", "validation_bits_per_byte_after"),
        "evaluate": ("base_bits_per_byte", "adapter_bits_per_byte"),
    }[run.record["asked"]["recipe"]["kind"]]
    rows = [row for row in run.read_result("languages") if row.get(columns[0]) is not None]
    rows.sort(key=lambda row: -row[columns[0]])
    figure = drawing.tall(rows)
    axes = figure.subplots()
    title, bounded = "Bits per byte: base (hollow), own adapter (filled)", False
    for height, row in enumerate(rows):
        before, after = (row.get(column) for column in columns)
        colour = drawing.STATUS_COLOURS[languages.get(row["tag"]).status]
        if after is not None:
            axes.plot([before, after], [height, height], color=colour, linewidth=1)
            axes.plot(after, height, "o", color=colour)
        low, high = row.get("base_low"), row.get("base_high")
        if low is not None and low == low:  # an interval needs two documents; NaN has none
            axes.plot([low, high], [height - 0.28] * 2, color=drawing.FAINT, linewidth=1)
            bounded = True
        axes.plot(before, height, "o", markerfacecolor="white", color=colour)
    drawing.name_languages(axes, rows)
    if bounded:
        title += "\ngrey: 95 % interval of the base"
    axes.set(title=title, xlabel="bits per byte")
    drawing.plain(axes)
    drawing.status_legend(axes, rows, "lower left")
    return figure


def second_halves(run: runs.Run) -> Any:
    """Return the bits of second halves for base (hollow) and own adapter (filled), with intervals.

    The numbers stand to the right. Goldfish's models are marked where the sentences are theirs too.
    None where the run measured no sentences.
    """
    rows = [
        row for row in run.read_result("languages") if row.get("base_second_half_bits") is not None
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: -row["base_second_half_bits"])
    figure = drawing.tall(rows)
    axes = figure.subplots()
    _halves(axes, rows, "base", 0.14, label="base", color=drawing.INK, markerfacecolor="white")
    _halves(axes, rows, "adapter", -0.14, label="own adapter", color=drawing.PALETTE[1])
    for (size, words), marker in zip(goldfish.SIZES.items(), ("v", "D", "^"), strict=True):
        look = {"color": drawing.PALETTE[0], "marker": marker, "markersize": 4}
        _dots(axes, rows, f"goldfish_{size}", 0, label=f"Goldfish of {words}", **look)
    drawing.beside(axes, [_in_numbers(row) for row in rows])
    drawing.name_languages(axes, rows)
    measured = max(row["sentences"] for row in rows)
    axes.set(
        title="Bits of a sentence's second half, given its first\n"
        f"mean of {measured:,} sentences and its 95 % interval",
        xlabel="bits",
    )
    drawing.plain(axes)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _halves(
    axes: Any, rows: Sequence[Mapping[str, Any]], model: str, raised: float, **look: Any
) -> None:
    """Draw a dot and its interval for each language in which ``model`` was measured."""
    for height in _dots(axes, rows, f"{model}_second_half_bits", raised, **look):
        ends = [rows[height][f"{model}_second_half_{end}"] for end in ("low", "high")]
        axes.plot(ends, [height + raised] * 2, color=look["color"], linewidth=1, zorder=1)


def _dots(
    axes: Any, rows: Sequence[Mapping[str, Any]], column: str, raised: float, **look: Any
) -> list[int]:
    """Draw what ``column`` holds, if anything; return which rows have it."""
    heights = [height for height, row in enumerate(rows) if row.get(column) is not None]
    if heights:
        values = [rows[height][column] for height in heights]
        places = [height + raised for height in heights]
        axes.plot(values, places, linestyle="", **{"marker": "o", "markersize": 5} | look)
    return heights


def _in_numbers(row: Mapping[str, Any]) -> str:
    """Return a language's figures in words: ``131.2, adapted 118.4``."""
    adapted = row.get("adapter_second_half_bits")
    told = f"{row['base_second_half_bits']:.1f}"
    return told if adapted is None else f"{told}, adapted {adapted:.1f}"
