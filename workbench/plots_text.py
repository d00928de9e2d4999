"""Figures of tokenizers: what the same content costs, how it is cut, whom the tokens serve."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from workbench import drawing, languages
from workbench import run as runs

Rows = Sequence[Mapping[str, Any]]
# Tokens that belong to no one script, as the table of scripts calls them.
NO_SCRIPT = {
    "Common": "signs, digits, spaces",
    "Fragment": "parts of characters",
    "Mixed": "several scripts",
    "Other": "other scripts",
}


def cost(run: runs.Run) -> Any:
    """Return what the same content costs each language in tokens, with 95 % intervals.

    The numbers stand to the right, and beside them what the gate says where it does not pass.
    """
    rows = sorted(run.read_result("languages"), key=_cost)
    figure = drawing.tall(rows)
    axes = figure.subplots()
    drawing.intervals(
        axes, [row["relative_low"] for row in rows], [row["relative_high"] for row in rows]
    )
    _dots_by_script(axes, rows, [_cost(row) for row in rows])
    axes.axvline(1, color=drawing.INK, linewidth=1, linestyle="--", zorder=0)
    # A fair and an unfair tokenizer are told apart at a glance, because both axes reach so far.
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.8), max(high, 1.6))
    drawing.beside(axes, [f"{_cost(row):.2f}{_verdict(row)}" for row in rows])
    drawing.name_languages(axes, rows)
    measured = run.read_result("comparison")
    title = "What the same content costs"
    if measured:
        gini, ratio = (_with_interval(measured[0], key) for key in ("gini", "max_to_min"))
        title += f"\nGini {gini}, dearest to cheapest {ratio}"
    axes.set(title=title, xlabel=_unit(rows))
    drawing.plain(axes)
    return figure


def comparison(run: runs.Run) -> Any:
    """Return how unequal several tokenizers are, and what each costs each language.

    None where the run measured no other tokenizer beside its own.
    """
    measured = run.read_result("comparison")
    if len(measured) < 2:
        return None
    # The run measures its own tokenizer first, and calls it "this run".
    own = measured[0]["tokenizer"]
    names = {row["tokenizer"]: _short(row["tokenizer"]) for row in measured} | {own: run.reference}
    rows = sorted(run.read_result("languages"), key=_cost)
    heights = [1 + 0.3 * len(measured), 1.2 + 0.22 * len(rows)]
    figure = drawing.new(9, sum(heights))
    panels = figure.subplot_mosaic(
        [["gini", "max_to_min"], ["languages", "languages"]], height_ratios=heights
    )
    looks = {
        name: (drawing.PALETTE[n % len(drawing.PALETTE)], drawing.MARKERS[n % len(drawing.MARKERS)])
        for n, name in enumerate(names)
    }
    ranked = measured[::-1]
    _inequality(panels["gini"], ranked, "gini", looks)
    panels["gini"].set(title="Gini of the costs", xlim=(0, None))
    panels["gini"].set_yticklabels([names[row["tokenizer"]] for row in ranked], fontsize=8)
    _inequality(panels["max_to_min"], ranked, "max_to_min", looks)
    panels["max_to_min"].set(title="Dearest to cheapest", xlim=(1, None))
    everyone = [{**row, "tokenizer": own} for row in rows] + run.read_result("others")
    _costs_side_by_side(panels["languages"], rows, everyone, names, looks)
    return figure


def _inequality(axes: Any, ranked: Rows, key: str, looks: Mapping[str, tuple[str, str]]) -> None:
    """Draw a number with its interval for each tokenizer, the last one on top."""
    drawing.intervals(
        axes, [row[f"{key}_low"] for row in ranked], [row[f"{key}_high"] for row in ranked]
    )
    for place, row in enumerate(ranked):
        colour, marker = looks[row["tokenizer"]]
        axes.plot(row[key], place, marker, color=colour)
    drawing.beside(axes, [f"{row[key]:.3g}" for row in ranked])
    axes.set_yticks(range(len(ranked)), [""] * len(ranked))
    axes.set_ylim(-0.6, len(ranked) - 0.4)
    drawing.plain(axes)


def _costs_side_by_side(
    axes: Any,
    rows: Rows,
    everyone: Rows,
    names: Mapping[str, str],
    looks: Mapping[str, tuple[str, str]],
) -> None:
    """Draw every tokenizer's cost in every language, in the order of ``rows``."""
    import pandas
    import seaborn

    heights = {row["tag"]: height for height, row in enumerate(rows)}
    dots = pandas.DataFrame(
        [
            {"tokenizer": row["tokenizer"], "at": heights[row["tag"]], "cost": _cost(row)}
            for row in everyone
        ]
    )
    by_language = dots.groupby("at")["cost"]
    drawing.intervals(axes, by_language.min().tolist(), by_language.max().tolist())
    seaborn.scatterplot(
        dots,
        x="cost",
        y="at",
        hue="tokenizer",
        style="tokenizer",
        palette={name: colour for name, (colour, _) in looks.items()},
        markers={name: marker for name, (_, marker) in looks.items()},
        s=40,
        ax=axes,
    )
    axes.axvline(1, color=drawing.INK, linewidth=1, linestyle="--", zorder=0)
    drawing.name_languages(axes, rows)
    handles, known = axes.get_legend_handles_labels()
    axes.legend(
        handles, [names[name] for name in known], frameon=False, fontsize=8, loc="lower right"
    )
    axes.set(title="What the same content costs", xlabel=_unit(rows), ylabel="")
    drawing.plain(axes)


def cuts(run: runs.Run) -> Any:
    """Return how finely each language is cut: tokens of a byte, of part of a character; length."""
    rows = sorted(run.read_result("languages"), key=lambda row: -row["characters_per_token"])
    figure = drawing.new(9, 1.2 + 0.22 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True)
    _dots_by_script(right, rows, [row["characters_per_token"] for row in rows], "upper right")
    right.set(title="Length of a token", xlabel="characters a token")
    for key, marker, label in (
        ("single_byte_share", "o", "a single byte"),
        ("fragment_share", "D", "part of a character"),
    ):
        shares = [100 * row[key] for row in rows]
        face = "white" if marker == "o" else drawing.PALETTE[1]
        left.plot(
            shares,
            range(len(rows)),
            marker,
            markerfacecolor=face,
            color=drawing.PALETTE[1],
            markersize=5,
            clip_on=False,
            label=label,
        )
    left.set(title="Tokens that are ...", xlabel="% of a language's tokens")
    left.set_xlim(left=0)
    # Below, because points stand everywhere else.
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, ncols=2, loc="outside lower left")
    drawing.name_languages(left, rows)
    for axes in (left, right):
        drawing.plain(axes)
    return figure


def vocabulary(run: runs.Run) -> Any:
    """Return to which scripts the vocabulary's tokens belong, beside how many languages use them.

    Latin script serves many languages with the same tokens, so equal shares are no aim; a script
    with languages and next to no tokens is a warning.
    """
    import pandas
    import seaborn

    tokens = {row["script"]: row["tokens"] for row in run.read_result("scripts")}
    speakers = Counter(languages.SCRIPTS[row["script"]] for row in run.read_result("languages"))
    scripts = [name for name in languages.SCRIPTS.values() if name in tokens or name in speakers]
    scripts += [name for name in tokens if name not in scripts]
    shares = pandas.DataFrame(
        [
            {
                "script": NO_SCRIPT.get(script, script),
                "of": label,
                "share": 100 * counted.get(script, 0) / sum(counted.values()),
            }
            for label, counted in (("of the vocabulary", tokens), ("of the languages", speakers))
            for script in scripts
        ]
    )
    figure = drawing.new(8, 1.2 + 0.45 * len(scripts))
    axes = figure.subplots()
    seaborn.barplot(
        shares,
        x="share",
        y="script",
        hue="of",
        palette=[drawing.PALETTE[0], "#c9d3de"],
        ax=axes,
    )
    for bars in axes.containers:
        axes.bar_label(
            bars, fmt=lambda share: f"{share:.1f}" if share else "", padding=2, fontsize=7
        )
    axes.legend(title="", frameon=False, fontsize=8, loc="lower right")
    axes.set(title="Whose script the vocabulary serves", xlabel="%", ylabel="")
    drawing.plain(axes)
    return figure


def _cost(row: Mapping[str, Any]) -> float:
    value: float = row["tokens_relative_to_english"]
    return value


def _short(reference: str) -> str:
    """Return how a tokenizer is called beside an axis: no revision, the end of a long path."""
    name = reference.partition("@")[0]
    return name if len(name) <= 36 else f"…{name[-35:]}"


def _verdict(row: Mapping[str, Any]) -> str:
    return "" if row["verdict"] == "pass" else f"  {row['verdict']}"


def _unit(rows: Rows) -> str:
    reference = rows[0]["relative_to"]
    name = reference if reference == "English" else f"{reference} of the languages"
    return f"tokens for the same content, {name} = 1"


def _with_interval(row: Mapping[str, Any], key: str) -> str:
    return f"{row[key]:.3g} ({row[f'{key}_low']:.3g} to {row[f'{key}_high']:.3g})"


def _dots_by_script(
    axes: Any, rows: Rows, values: Sequence[float], legend: str = "lower right"
) -> None:
    """Draw a dot for each row; scripts differ in colour and in shape."""
    import seaborn

    names = [languages.SCRIPTS[row["script"]] for row in rows]
    seaborn.scatterplot(
        x=values,
        y=range(len(rows)),
        hue=names,
        style=names,
        hue_order=[name for name in drawing.SCRIPT_COLOURS if name in names],
        style_order=[name for name in drawing.SCRIPT_COLOURS if name in names],
        palette=drawing.SCRIPT_COLOURS,
        markers=drawing.SCRIPT_MARKERS,
        s=45,
        zorder=2,
        ax=axes,
    )
    axes.legend(title="script", frameon=False, fontsize=8, title_fontsize=8, loc=legend)
