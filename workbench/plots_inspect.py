"""Figures of an inspection: how much text, how long, in which letters and language, how clean.

Every number that is drawn stands in one of the run's tables, or is one of its counts divided by
another. Languages are told apart by their names alone; what colour says is said by a hatch, a
shape or a number too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench import cleaning, drawing, identify, languages
from workbench import run as runs
from workbench.sections import FILTERS

Rows = Sequence[Mapping[str, Any]]
# Where the largest is so many times the smallest, an axis from zero shows the large ones only.
WIDE_RANGE = 100
# Shades of a heat map reach from its limit down to this part of it.
DARKEST_TO_LIGHTEST = 1e4
SHOWN_DOMAINS = 30
# Of parts that stand end to end: dark plain ones beside light hatched ones. A filter has the same
# one in every run.
PARTS = (
    ("#4D4D4D", ""), ("#E69F00", "//"), ("#8A3324", ""), ("#CC79A7", ".."), ("#0072B2", ""),
    ("#F0C13A", "\\\\"), ("#1d2733", ""), ("#c9d3de", "++"), ("#009E73", ""), ("#56B4E9", "xx"),
)  # fmt: skip
FILTER_PARTS = dict(zip(FILTERS, PARTS, strict=True))
NONE_LEFT = "empty: none at all"
# Signals that say most about a text, with what to write above them.
QUALITY = {
    "mean_word_length": "characters a word",
    "alphabetic_word_share": "words with a letter\n% of words",
    "short_line_share": "short lines\n% of lines",
    "ellipsis_line_share": "lines that end in ...\n% of lines",
    "frequent_word_share": "frequent words\n% of words",
    "punctuation_share": "punctuation\n% of characters",
}
REPETITION = {
    "duplicate_line_character_share": "lines seen before",
    "top_2_gram_share": "commonest 2 words",
    "top_4_gram_share": "commonest 4 words",
    "duplicate_5_gram_share": "5 words seen before",
    "duplicate_10_gram_share": "10 words seen before",
}


def text(run: runs.Run) -> Any:
    """Return how much text each language has, before and after cleaning, by status."""
    rows = run.read_result("languages")
    cleaned = "bytes_kept" in rows[0]
    unit, name = _unit([row["bytes"] for row in rows])
    groups = [
        (status, [row for row in rows if languages.get(row["tag"]).status == status])
        for status in languages.STATUSES
    ]
    groups = [(status, own) for status, own in groups if own]
    figure = drawing.new(8, 1.4 + 0.2 * (len(rows) + 1.4 * len(groups)))
    axes = figure.subplots()
    height, names = 0.0, {}
    for status, own in groups:
        axes.annotate(
            status, (-0.01, height), xycoords=axes.get_yaxis_transform(), ha="right", va="center",
            fontsize=8, fontweight="bold", annotation_clip=False,
        )  # fmt: skip
        height += 1
        for row in sorted(own, key=lambda row: -row["bytes"]):
            before = row["bytes"] / unit
            after = row["bytes_kept"] / unit if cleaned else before
            axes.hlines(height, 0, before, color=drawing.FAINT, linewidth=1, linestyle=":")
            axes.plot(before, height, "o", markerfacecolor="white", color=drawing.PALETTE[0])
            if cleaned:
                axes.hlines(height, after, before, color=drawing.PALETTE[0], linewidth=1.5)
            if after:
                axes.plot(after, height, "o", color=drawing.PALETTE[0])
            own_unit, own_name = _unit([row["bytes"]])
            said = f"{row['bytes'] / own_unit:.3g} {own_name}"
            if cleaned:
                said += f", {_percent(row['bytes_kept'] / row['bytes'])} kept"
            axes.annotate(
                said, (1.01, height), xycoords=axes.get_yaxis_transform(), fontsize=8, va="center",
                annotation_clip=False,
            )  # fmt: skip
            names[height] = languages.get(row["tag"]).name
            height += 1
        height += 0.4
    axes.set_yticks(list(names), list(names.values()), fontsize=8)
    axes.set_ylim(height - 0.6, -0.8)
    sizes = [row["bytes"] for row in rows]
    wide = max(sizes) > WIDE_RANGE * min(sizes)
    if wide:
        _logarithmic(axes, (1,))
    else:
        axes.set_xlim(left=0)
    title = "Text by language"
    if cleaned:
        title += ", before (hollow) and after cleaning (filled)"
    axes.set(title=title, xlabel=f"{name} of UTF-8 text{', logarithmic' if wide else ''}")
    drawing.plain(axes)
    return figure


def lengths(run: runs.Run) -> Any:
    """Return how long the documents of each language are, in characters and in words."""
    spread = _spread(run)
    tags = sorted(spread["characters"], key=lambda tag: spread["characters"][tag]["p50"])
    figure = drawing.new(9, 1.7 + 0.2 * len(tags))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, signal in zip(panels, ("characters", "words"), strict=True):
        rows = [spread[signal][tag] for tag in tags]
        _draw_spread(axes, rows, 1)
        low, high = min(row["p1"] for row in rows), max(row["p99"] for row in rows)
        wide = low > 0 and high > 10 * low
        if wide:
            _logarithmic(axes, (1, 2, 5))
        axes.set(xlabel=f"{signal} a document{', logarithmic' if wide else ''}")
    drawing.name_languages(panels[0], rows)
    _explain_spread(figure, "How long documents are")
    return figure


def letters(run: runs.Run) -> Any:
    """Return a heat map of what is wrong with letters and characters, in each language.

    None where nothing is.
    """
    odd = "control", "unassigned", "private", "replacement"
    columns: dict[str, tuple[float, Callable[[Mapping[str, Any]], float]]] = {
        "letters of other scripts\n% of letters": (
            50,
            lambda row: 100 * (1 - row["share_own_script"]),
        ),
        "words of two scripts\nper 100,000 words": (
            1e4,
            lambda row: 1e5 * row["mixed_script_words"] / max(1, row["words"]),
        ),
        "texts not composed (NFC)\n% of documents": (
            100,
            lambda row: 100 * row["not_nfc"] / row["documents"],
        ),
        "odd characters\nper million": (
            1e3,
            lambda row: (
                1e6 * sum(row[f"{one}_characters"] for one in odd) / max(1, row["characters"])
            ),
        ),
        "mojibake\nper million": (
            1e3,
            lambda row: 1e6 * row["mojibake"] / max(1, row["characters"]),
        ),
    }
    return _heat_map(
        run.read_result("languages"),
        columns,
        f"What is wrong with letters and characters\nthe darker, the more; {NONE_LEFT}",
    )


def personal(run: runs.Run) -> Any:
    """Return a heat map of documents with personal data, by kind; None where there are none."""
    findings = run.read_result("personal")
    if not any(row["documents"] for row in findings):
        return None
    counts = {(row["tag"], row["kind"]): row["documents"] for row in findings}

    def share(kind: str) -> Callable[[Mapping[str, Any]], float]:
        return lambda row: 1e4 * counts[row["tag"], kind] / row["documents"]

    kinds = dict.fromkeys(row["kind"] for row in findings)
    return _heat_map(
        run.read_result("languages"),
        {kind: (1e4, share(kind)) for kind in kinds},
        f"Documents of every 10,000 that seem to hold personal data\n{NONE_LEFT}",
    )


def confusion(run: runs.Run) -> Any:
    """Return the declared against the detected language, in per cent of the declared one's texts.

    Groups that the detector cannot tell apart are boxed. What lies off the diagonal and outside a
    box speaks against the declared language, and is underlined.
    """
    from matplotlib.patches import Rectangle

    counts = {
        (row["declared"], row["detected"]): row["documents"] for row in run.read_result("confusion")
    }
    total: dict[str, int] = {}
    for (declared, _), count in counts.items():
        total[declared] = total.get(declared, 0) + count
    rows, columns, column_of = _confusion_axes(counts, identify.LOOK_ALIKES)
    shares = [[0.0] * len(columns) for _ in rows]
    for (declared, detected), count in counts.items():
        place = columns.index(column_of.get(detected, OUTSIDE))
        shares[rows.index(declared)][place] += 100 * count / total[declared]
    cell = max(0.2, min(0.5, 6 / len(columns)))
    figure = drawing.new(3 + cell * len(columns), 3 + 0.85 * cell * len(rows))
    axes = figure.subplots()
    size = 6 if len(columns) > 20 else 8
    lines = {"color": "#e3e8ee", "linewidth": 0.5, "zorder": 0}
    axes.hlines(range(len(rows) + 1), 0, len(columns), **lines)
    axes.vlines(range(len(columns) + 1), 0, len(rows), **lines)
    _cells(
        axes,
        [[share / 100 for share in row] for row in shares],
        [[_in_per_cent(share) for share in row] for row in shares],
        size,
        xticklabels=[identify.name(column) for column in columns],
        yticklabels=[languages.get(tag).name for tag in rows],
    )
    for group in identify.LOOK_ALIKES:
        heights = [place for place, tag in enumerate(rows) if tag in group]
        widths = [place for place, column in enumerate(columns) if column in group]
        if heights and len(widths) > 1:
            corner = widths[0], heights[0]
            width, height = widths[-1] - widths[0] + 1, heights[-1] - heights[0] + 1
            axes.add_patch(
                Rectangle(
                    corner,
                    width,
                    height,
                    fill=False,
                    linewidth=1.6,
                    edgecolor=drawing.PALETTE[1],
                    zorder=3,
                    clip_on=False,
                )
            )
    for down, tag in enumerate(rows):
        for across, column in enumerate(columns):
            alike = column == tag or any({tag, column} <= group for group in identify.LOOK_ALIKES)
            if shares[down][across] and not alike:
                ends = [across + 0.15, across + 0.85]
                axes.plot(ends, [down + 0.92] * 2, color=drawing.INK, linewidth=1)
    axes.tick_params(labelsize=size + 1, length=0)
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(axis="y", rotation=0)
    axes.set(xlabel="detected", ylabel="declared")
    axes.set_title(
        "Declared and detected language, in % of the declared one's documents\n"
        "boxed: look-alikes, which the detector cannot tell apart; underlined: taken for another",
        fontsize=10,
    )
    return figure


OUTSIDE, NOTHING = "outside the registry", "none"


def _confusion_axes(
    counts: Mapping[tuple[str, str], int], groups: Sequence[frozenset[str]]
) -> tuple[list[str], list[str], dict[str, str]]:
    """Return rows, columns, and the column of every detected language that has one of its own.

    Look-alikes stand side by side, in the place of the first of them; all else is in the order of
    English names.
    """
    declared = {tag for tag, _ in counts}
    detected = {tag for _, tag in counts}
    known = set(languages.tags())
    near: dict[str, str] = {}
    for group in groups:
        first = min(group & known, key=identify.name)
        for tag in sorted(group, key=identify.name):
            near.setdefault(tag, near.get(first, first))
    present = {tag for tag in declared | detected if tag in known or tag in near}
    names = {tag: identify.name(tag) for tag in present | set(near.values())}
    leader = {tag: tag for tag in present} | near
    ordered = sorted(present, key=lambda tag: (names[leader[tag]], names[tag]))
    column_of = {tag: tag for tag in ordered} | {NOTHING: NOTHING}
    columns = [*ordered]
    if detected - set(column_of):
        columns.append(OUTSIDE)
    if NOTHING in detected:
        columns.append(NOTHING)
    return [tag for tag in ordered if tag in declared], columns, column_of


def _in_per_cent(share: float) -> str:
    if not share:
        return ""
    return "<1" if share < 1 else f"{share:.0f}" if share <= 99 or share == 100 else ">99"


def duplicates(run: runs.Run) -> Any:
    """Return the share of documents that came before, word for word or nearly.

    None where there is none in any language.
    """
    rows = run.read_result("languages")
    if not any(row["near_duplicates"] or row["exact_duplicates"] for row in rows):
        return None
    shares = {
        "exact-duplicate": {row["tag"]: row["exact_duplicates"] / row["documents"] for row in rows},
        "near-duplicate": {
            # Most exact ones are near ones too.
            row["tag"]: max(0, row["near_duplicates"] - row["exact_duplicates"]) / row["documents"]
            for row in rows
        },
    }
    return _stacked(shares, "Documents that came before")


def dropped(run: runs.Run) -> Any:
    """Return why documents were dropped, as shares of each language's; None without cleaning."""
    if not run.recipe.to_dict()["clean"]["filters"]:
        return None
    shares: dict[str, dict[str, float]] = {}
    for row in run.read_result("dropped"):
        shares.setdefault(row["reason"], {})[row["tag"]] = row["share"]
    told = {reason: own for reason, own in shares.items() if any(own.values())}
    if not told:
        return None
    return _stacked(told, "What cleaning dropped, and why")


def quality(run: runs.Run) -> Any:
    """Return the spread of the signals that say most, and where the filter ``quality`` cuts."""
    limits: dict[tuple[str, str], tuple[float | None, float | None]] = {}
    if "quality" in run.recipe.to_dict()["clean"]["filters"]:
        for row in run.read_result("limits"):
            limits[row["signal"], row["tag"]] = row["low"], row["high"]
    title = "Quality signals"
    if limits:
        title += ", and the limits of the filter: what lies outside | was dropped"
    return _small_multiples(run, QUALITY, title, lambda signal, tag: limits.get((signal, tag)))


def repetition(run: runs.Run) -> Any:
    """Return how much of the documents repeats itself, and Gopher's limits."""
    return _small_multiples(
        run,
        {name: f"{label}\n% of characters" for name, label in REPETITION.items()},
        "Repetition within documents, and Gopher's limits |: what lies beyond repeats too much",
        lambda signal, tag: (None, cleaning.REPETITION[signal]),
    )


def domains(run: runs.Run) -> Any:
    """Return the web domains with the most text; None where no document has an address."""
    rows = run.read_result("domains")[:SHOWN_DOMAINS]
    if not rows:
        return None
    unit, name = _unit([row["bytes"] for row in rows])
    figure = drawing.tall(rows)
    axes = figure.subplots()
    values = [row["bytes"] / unit for row in rows]
    bars = axes.barh(range(len(rows)), values, color=drawing.PALETTE[0], height=0.6)
    axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3, fontsize=8)
    # A dollar sign would begin a formula.
    labels = [row["domain"].replace("$", r"\$") for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    title = f"The {len(rows)} domains with the most text, of {rows[0]['of_domains']:,}"
    axes.set(title=title, xlabel=f"{name} of UTF-8 text")
    drawing.plain(axes)
    return figure


def _unit(sizes: Sequence[int]) -> tuple[float, str]:
    """Return a number of bytes that the largest size is more than one of, and its name."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if max(sizes) >= unit:
            return unit, name
    return 1e3, "kB"


def _logarithmic(axes: Any, steps: tuple[float, ...]) -> None:
    """Give the horizontal axis a logarithmic scale with numbers that are written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _spread(run: runs.Run) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return the quantiles by signal and language."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in run.read_result("signals"):
        found.setdefault(row["signal"], {})[row["tag"]] = row
    return found


def _draw_spread(axes: Any, rows: Rows, factor: float) -> None:
    """Draw a thin line from the 1st to the 99th percentile, a thick one, and the median."""
    heights = range(len(rows))
    for (low, high), width, colour in (
        (("p1", "p99"), 1, drawing.FAINT),
        (("p10", "p90"), 4, "#8fb8d8"),
    ):
        axes.hlines(
            heights,
            [factor * row[low] for row in rows],
            [factor * row[high] for row in rows],
            color=colour,
            linewidth=width,
        )
    axes.plot(
        [factor * row["p50"] for row in rows],
        heights,
        "o",
        color=drawing.PALETTE[0],
        markersize=4.5,
        clip_on=False,
    )
    if not any(row["p99"] for row in rows):
        # Around nothing but 0 matplotlib puts fractions, below it too.
        axes.set_xlim(0, 1)
    drawing.plain(axes)
    axes.grid(axis="y", color="#f0f3f6", linewidth=0.6)


def _explain_spread(figure: Any, title: str) -> None:
    figure.suptitle(
        f"{title}\ndot: median; thick line: four fifths of documents; thin line: all but 1 % on "
        "each side",
        fontsize=10,
    )


def _small_multiples(
    run: runs.Run,
    signals: Mapping[str, str],
    title: str,
    limits: Callable[[str, str], tuple[float | None, float | None] | None],
) -> Any:
    """Draw a narrow panel for each signal, with the same languages in the same rows."""
    spread = _spread(run)
    tags = sorted(next(iter(spread.values())), key=identify.name, reverse=True)
    figure = drawing.new(2.2 + 1.75 * len(signals), 1.9 + 0.19 * len(tags))
    panels = figure.subplots(1, len(signals), sharey=True)
    for axes, (signal, label) in zip(panels, signals.items(), strict=True):
        axes.tick_params(axis="y", length=0)
        rows = [spread[signal][tag] for tag in tags]
        factor = 100 if signal.endswith("share") else 1
        _draw_spread(axes, rows, factor)
        for height, tag in enumerate(tags):
            for limit in limits(signal, tag) or ():
                if limit is not None and math.isfinite(limit):
                    axes.plot(
                        factor * limit,
                        height,
                        "|",
                        color=drawing.PALETTE[1],
                        markersize=7,
                        markeredgewidth=1.6,
                        clip_on=False,
                    )
        axes.set_title(label, fontsize=9)
        axes.tick_params(axis="x", labelsize=8)
        low, high = min(row["p1"] for row in rows), max(row["p99"] for row in rows)
        if low < high / 2:
            axes.set_xlim(left=0)
    drawing.name_languages(panels[0], rows)
    _explain_spread(figure, title)
    return figure


def _heat_map(
    rows: Rows,
    columns: Mapping[str, tuple[float, Callable[[Mapping[str, Any]], float]]],
    title: str,
) -> Any:
    """Draw numbers on a ground that is the darker, the nearer they come to their column's limit.

    Languages in which all are 0 are left out, and told; None where none is left.

    Args:
        rows: one a language.
        columns: what stands above a column, to its limit and to its number for a row.
        title: stands above all.
    """
    ranked = sorted(rows, key=lambda row: identify.name(row["tag"]))
    values = [[number(row) for _, number in columns.values()] for row in ranked]
    told = [place for place, row in enumerate(values) if any(row)]
    if not told:
        return None
    if len(told) < len(rows):
        title += f"; nothing in {len(rows) - len(told)} of {len(rows)} languages"
    ranked, values = [ranked[place] for place in told], [values[place] for place in told]
    shades = [
        [_shade(value, limit) for value, (limit, _) in zip(row, columns.values(), strict=True)]
        for row in values
    ]
    figure = drawing.new(2.4 + 1.4 * len(columns), 1.9 + 0.2 * len(ranked))
    axes = figure.subplots()
    _cells(
        axes,
        shades,
        [[_short(value) for value in row] for row in values],
        8,
        linewidths=1,
        linecolor="white",
        yticklabels=[identify.name(row["tag"]) for row in ranked],
    )
    axes.set_xticks([place + 0.5 for place in range(len(columns))], list(columns), fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(axis="both", length=0, labelsize=8)
    axes.tick_params(axis="x", rotation=0)
    axes.tick_params(axis="y", rotation=0)
    figure.suptitle(title, fontsize=10)
    return figure


def _cells(
    axes: Any,
    shades: Sequence[Sequence[float]],
    words: Sequence[Sequence[str]],
    size: int,
    **looks: Any,
) -> None:
    """Draw a table of words on blue ground: shades go from 0, which stays empty, to 1."""
    from seaborn import heatmap

    heatmap(
        shades,
        ax=axes,
        cmap="Blues",
        # Neither so pale that it passes for nothing nor so dark that it swallows the words.
        vmin=-0.1,
        vmax=1.3,
        mask=np.array(shades) == 0,
        annot=words,
        fmt="",
        annot_kws={"fontsize": size},
        cbar=False,
        **looks,
    )


def _shade(value: float, limit: float) -> float:
    if value <= 0:
        return 0.0
    return min(1.0, max(0.06, 1 + math.log(value / limit, DARKEST_TO_LIGHTEST)))


def _short(value: float) -> str:
    """Return two digits that count."""
    if value < 0.01:
        return "<0.01"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _stacked(shares: Mapping[str, Mapping[str, float]], title: str) -> Any:
    """Draw shares as bars end to end, the language with the most at the top.

    Args:
        shares: filter to language to share of its documents.
        title: what the bars show; that some languages have none is added.
    """
    tags = {tag for own in shares.values() for tag in own}
    whole = {tag: math.fsum(own.get(tag, 0) for own in shares.values()) for tag in tags}
    ranked = sorted(filter(whole.get, tags), key=lambda tag: (whole[tag], identify.name(tag)))
    if len(ranked) < len(tags):
        title += f"\nnone in {len(tags) - len(ranked)} of {len(tags)} languages"
    figure = drawing.new(8, 1.7 + 0.2 * len(ranked))
    axes = figure.subplots()
    lefts = [0.0] * len(ranked)
    for name, own in shares.items():
        widths = [100 * own.get(tag, 0) for tag in ranked]
        colour, hatch = FILTER_PARTS[name]
        axes.barh(
            range(len(ranked)),
            widths,
            left=lefts,
            height=0.7,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
            label=name,
        )
        lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
    drawing.beside(axes, [_in_tenths(whole[tag]) for tag in ranked])
    drawing.name_languages(axes, [{"tag": tag} for tag in ranked])
    axes.set_xlim(left=0)
    axes.set(title=title, xlabel="% of the language's documents")
    drawing.plain(axes)
    axes.legend(
        frameon=False,
        fontsize=8,
        loc="upper left",
        bbox_to_anchor=(1.1, 1),
        handleheight=1.2,
        handlelength=2.4,
    )
    return figure


def _in_tenths(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "<0.1 %"
