"""Figures from a run's results, each beside the table that has its numbers.

Drawn with the object-oriented interface of matplotlib, which has no global state; a figure never
depends on which one was drawn before.
"""

from pathlib import Path
from typing import Any

from workbench import languages
from workbench import run as runs
from workbench.errors import UserError

FIGURES = "figures"
# Okabe and Ito's palette, which people with colour-blindness can tell apart.
STATUS_COLOURS = {
    "official": "#0072B2",
    "candidate": "#D55E00",
    "co-official": "#009E73",
    "associated": "#CC79A7",
    "regional": "#8A6D00",
}


def draw(run: runs.Run) -> list[Path]:
    """Draw the figures of a run's kind into its ``figures`` folder; return their paths."""
    kind = run.record["asked"]["recipe"]["kind"]
    figures: dict[str, Any] = {}
    if kind == "inspect":
        figures["text"] = text_by_language(run)
    elif kind == "tokenizer":
        figures["cost"] = token_cost(run)
    elif kind == "pretrain":
        figures["training"] = training(run)
    elif kind in ("adapt", "evaluate"):
        figures["bits"] = bits_by_language(run)
    if not figures:
        return []
    with runs.told_when_full(run.path):
        (run.path / FIGURES).mkdir(exist_ok=True)
        paths = []
        for name, figure in figures.items():
            path = run.path / FIGURES / f"{name}.png"
            figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
            paths.append(path)
    return paths


def show(reference: str) -> Any:
    """Return the picture of a run for a notebook to display.

    Raises:
        UserError: there is no such run, or its kind has no picture.
    """
    from IPython.display import Image

    pictures = sorted((runs.find(reference).path / FIGURES).glob("*.png"))
    if not pictures:
        raise UserError(f"{reference} has no picture; is it finished?")
    return Image(filename=str(pictures[0]))  # type: ignore[no-untyped-call]


def text_by_language(run: runs.Run) -> Any:
    """Return bars of how much text there is in each language."""
    rows = sorted(run.read_result("languages"), key=lambda row: row["bytes"])
    unit, name = (1e6, "MB") if rows[-1]["bytes"] >= 1e6 else (1e3, "kB")
    values = [row["bytes"] / unit for row in rows]
    return _bars(rows, values, "Text by language", f"{name} of UTF-8 text")


def token_cost(run: runs.Run) -> Any:
    """Return bars of what the same content costs in tokens; of bytes a token on other text."""
    rows = run.read_result("languages")
    parallel = all(row["tokens_relative_to_english"] for row in rows)
    key = "tokens_relative_to_english" if parallel else "bytes_per_token"
    rows = sorted(rows, key=lambda row: row[key])
    label = "tokens for the same content, English = 1" if parallel else "bytes per token"
    figure = _bars(rows, [row[key] for row in rows], "What a language costs", label)
    if parallel:
        figure.axes[0].axvline(1, color="#1d2733", linewidth=1, linestyle="--")
    return figure


def training(run: runs.Run) -> Any:
    """Return the loss curve, and validation bits per byte: every language, and their mean."""
    figure = _figure(11, 4.2)
    left, right = figure.subplots(1, 2)
    metrics = run.metrics()
    steps = [row for row in metrics if row["loss"] is not None]
    left.plot([row["step"] for row in steps], [row["loss"] for row in steps], color="#0072B2")
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
        right.plot(at, mean, color="#0072B2", marker="o", label=f"mean of {len(tags)} languages")
        for tag, place in ((ranked[0], "top"), (ranked[-1], "bottom")):
            right.annotate(
                languages.get(tag).name, (at[-1], tags[tag]), va=place, ha="right", fontsize=8
            )
        right.legend(frameon=False)
    right.set(title="Validation, every language", xlabel="step", ylabel="bits per byte")
    for axes in (left, right):
        _plain(axes)
    return figure


def bits_by_language(run: runs.Run) -> Any:
    """Return bits per byte before (hollow) and after (filled) adaptation, with intervals."""
    columns = {
        "adapt": ("validation_bits_per_byte_before", "validation_bits_per_byte_after"),
        "evaluate": ("base_bits_per_byte", "adapter_bits_per_byte"),
    }[run.record["asked"]["recipe"]["kind"]]
    rows = [row for row in run.read_result("languages") if row.get(columns[0]) is not None]
    rows.sort(key=lambda row: -row[columns[0]])
    figure = _figure(8, 1.2 + 0.22 * len(rows))
    axes = figure.subplots()
    for height, row in enumerate(rows):
        before, after = (row.get(column) for column in columns)
        colour = STATUS_COLOURS[languages.get(row["tag"]).status]
        if after is not None:
            axes.plot([before, after], [height, height], color=colour, linewidth=1)
            axes.plot(after, height, "o", color=colour)
        low, high = row.get("base_low"), row.get("base_high")
        if low is not None and low == low:  # an interval needs two documents; NaN has none
            axes.plot([low, high], [height - 0.28] * 2, color="#9aa5b1", linewidth=1)
        axes.plot(before, height, "o", markerfacecolor="white", color=colour)
    _name_languages(axes, rows)
    axes.set(title="Bits per byte: base (hollow), own adapter (filled)", xlabel="bits per byte")
    _plain(axes)
    _status_legend(axes, rows, "lower left")
    return figure


def _bars(rows: list[dict[str, Any]], values: list[float], title: str, label: str) -> Any:
    figure = _figure(8, 1.2 + 0.22 * len(rows))
    axes = figure.subplots()
    colours = [STATUS_COLOURS[languages.get(row["tag"]).status] for row in rows]
    bars = axes.barh(range(len(rows)), values, color=colours, height=0.7)
    axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
    _name_languages(axes, rows)
    axes.set(title=title, xlabel=label)
    _plain(axes)
    _status_legend(axes, rows, "lower right")
    return figure


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _name_languages(axes: Any, rows: list[dict[str, Any]]) -> None:
    axes.set_yticks(range(len(rows)), [languages.get(row["tag"]).name for row in rows], fontsize=8)
    axes.margins(y=0.01)


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e3e8ee")
    axes.set_axisbelow(True)


def _status_legend(axes: Any, rows: list[dict[str, Any]], place: str) -> None:
    from matplotlib.patches import Patch

    present = {languages.get(row["tag"]).status for row in rows}
    handles = [
        Patch(color=colour, label=status)
        for status, colour in STATUS_COLOURS.items()
        if status in present
    ]
    axes.legend(handles=handles, frameon=False, fontsize=8, loc=place)
