"""The only place that builds HTML and SVG, so that escaping happens in one place, first.

Text from corpora, prompts and models is hostile until proven otherwise: ``ipywidgets.HTML`` and
notebooks insert markup without cleaning it. Every function here takes plain text and returns
markup in which that text is inert.
"""

import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STYLE = """<style>
.wb{font:14px/1.5 system-ui,sans-serif;color:#1d2733;background:#fff;--line:#c9d3de;--soft:#f4f7fa;--blue:#1f5fa8}
.wb table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.wb th,.wb td{padding:3px 10px;border-bottom:1px solid var(--line);text-align:left}
.wb td.n{text-align:right}
.wb .cards{display:flex;flex-wrap:wrap;gap:12px}
.wb .card{flex:1 1 280px;border:1px solid var(--line);border-radius:6px;background:#fff}
.wb .card h4{margin:0;padding:6px 12px;background:var(--soft);border-bottom:1px solid var(--line)}
.wb .card p{margin:0;padding:10px 12px;white-space:pre-wrap;overflow-wrap:anywhere}
.wb .card small{display:block;padding:0 12px 8px;color:#566372}
.wb .prompt{color:#566372}.wb .new{color:#102a4c;background:#e8f1fb}
.wb table.cuts{width:100%}.wb .cuts th,.wb .cuts td{vertical-align:top}
.wb .cuts th{white-space:nowrap}.wb .cuts small{color:#566372;font-weight:400}
.wb caption{text-align:left;padding:4px 10px;color:#1d2733}
.wb .cut{line-height:1.9}
.wb .cut b{display:inline-block;font-weight:400;white-space:pre-wrap;overflow-wrap:anywhere;
unicode-bidi:isolate;border:1px solid #7c8a99;border-radius:3px;padding:0 2px;margin:0 1px;
line-height:1.4;background:#fff}
.wb .cut b:nth-of-type(even){background:#dbe8f6}
.wb .cut b.part{border-style:dashed;border-width:2px;font:12px ui-monospace,monospace}
.wb .cut i{font-style:normal;color:#566372}
.wb .status{padding:4px 10px;border-left:4px solid var(--blue);background:var(--soft)}
.wb .status.problem{border-color:#b3261e}
</style>"""


def escape(text: object) -> str:
    """Return ``text`` with every character that markup gives a meaning replaced by a reference."""
    return html.escape(str(text), quote=True)


def page(body: str) -> str:
    """Wrap markup made here in the workbench's style."""
    return f'{STYLE}<div class="wb">{body}</div>'


def table(rows: Sequence[Sequence[object]], header: Sequence[str], caption: str = "") -> str:
    """Return an HTML table; numbers stand to the right with three decimals."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{named}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cards(texts: Sequence[Mapping[str, object]], lang: str) -> str:
    """Return generations side by side.

    Each mapping has ``model``, ``prompt``, ``text`` (what the model added) and ``note``. ``lang``
    is a BCP-47 tag: screen readers and fonts go by it.
    """
    return '<div class="cards">' + "".join(_card(entry, lang) for entry in texts) + "</div>"


def _card(entry: Mapping[str, object], lang: str) -> str:
    prompt, text, note = (escape(entry.get(key, "")) for key in ("prompt", "text", "note"))
    return (
        f'<div class="card"><h4>{escape(entry["model"])}</h4><p lang="{escape(lang)}">'
        f'<span class="prompt">{prompt}</span><span class="new">{text}</span></p>'
        f"<small>{note}</small></div>"
    )


@dataclass(frozen=True)
class CutText:
    """One text as several tokenizers cut it, side by side."""

    name: str
    """Of its language, or what else tells it from the others."""
    own_name: str
    lang: str
    """BCP-47 tag; empty where the language is not known."""
    pieces: Sequence[Sequence[str]]
    """The tokens of each tokenizer."""
    relative: Sequence[float | None]
    """Each tokenizer's number of tokens relative to the same text in English."""


# What cannot be seen, and what stands for it. Not the middle dot: Catalan writes with it.
SIGNS = {" ": "␣", "\t": "⇥", "\n": "↵", "\r": "␍"}
_PART = re.compile("⟨[0-9A-F]{2}(?: [0-9A-F]{2})*⟩")


def cut(pieces: Sequence[str], lang: str = "") -> str:
    """Return a text with a box around each token, as :func:`workbench.tokenizer.pieces` gives it.

    Neighbours differ in background and have a border. A space is shown as ``␣``, a line's end as
    ``↵``, any other character that cannot be seen by its number, and a token that is part of a
    character by its bytes, in a dashed box.

    Args:
        pieces: the text of each token.
        lang: BCP-47 tag: screen readers and fonts go by it.
    """
    return f'<span class="cut" lang="{escape(lang)}">{"".join(map(_token, pieces))}</span>'


def _token(piece: str) -> str:
    if _PART.fullmatch(piece):
        return f'<b class="part">{escape(piece)}</b>'
    # A mark that would sit on the letter before it gets a circle to sit on.
    base = "◌" if unicodedata.category(piece[:1] or "x").startswith("M") else ""
    return f"<b>{base}{''.join(map(_visible, piece)) or '∅'}</b>"


def _visible(character: str) -> str:
    if character in SIGNS:
        return f"<i>{SIGNS[character]}</i>"
    if unicodedata.category(character)[0] in "CZ":
        return f"<i>⟨U+{ord(character):04X}⟩</i>"
    return escape(character)


def cuts(texts: Sequence[CutText], tokenizers: Sequence[str], caption: str) -> str:
    """Return a table: a row for each text, and in it each tokenizer's number of tokens and cut.

    Args:
        texts: rows, each with the pieces of as many tokenizers.
        tokenizers: names of the groups of columns.
        caption: stands above the table.
    """
    groups = "".join(f'<th colspan="3" scope="colgroup">{escape(one)}</th>' for one in tokenizers)
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("tokens", "English = 1", "cut")
    ) * len(tokenizers)
    return (
        f'<table class="cuts"><caption>{escape(caption)}</caption><thead><tr>'
        f'<th rowspan="2" scope="col">language</th>{groups}</tr><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(map(_cut_row, texts))}</tbody></table>"
    )


def _cut_row(text: CutText) -> str:
    cells = "".join(
        f"{_cell(len(pieces))}{_cell(relative)}<td>{cut(pieces, text.lang)}</td>"
        for pieces, relative in zip(text.pieces, text.relative, strict=True)
    )
    return (
        f'<tr><th scope="row">{escape(text.name)}<br/>'
        f'<small lang="{escape(text.lang)}">{escape(text.own_name)}</small></th>{cells}</tr>'
    )


def status(text: str, problem: bool = False) -> str:
    """Return a status line; a problem says so in words too, not by colour alone."""
    word = "Problem: " if problem else ""
    kind = "status problem" if problem else "status"
    return f'<div class="{kind}" role="status">{escape(word + text)}</div>'


def curve(
    series: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
    x_label: str,
    y_label: str,
    width: int = 640,
    height: int = 260,
) -> str:
    """Return line charts as SVG: ``series`` maps a name to its ``(x, y)`` points.

    Made here rather than with matplotlib because widget callbacks run on a second thread, in which
    matplotlib's global state gets mixed up. Lines are told apart by dashes as well as colour.
    """
    points = [point for line in series.values() for point in line]
    if not points:
        return f'<p class="status">{escape(title)}: nothing measured yet</p>'
    left, right, top, bottom = 56, 150, 30, 40
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_low, x_high, y_low, y_high = min(xs), max(xs), min(ys), max(ys)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1)
        up = (y - y_low) / ((y_high - y_low) or 1)
        return left + across * (width - left - right), height - bottom - up * (
            height - top - bottom
        )

    parts = []
    for fraction in (0, 0.5, 1):
        value = y_low + fraction * (y_high - y_low)
        _, y = place(x_low, value)
        parts.append(
            f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dde4ec"/>'
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>'
        )
    for value in (x_low, x_high):
        x, _ = place(value, y_low)
        parts.append(
            f'<text x="{x:.1f}" y="{height - 22}" text-anchor="middle">{value:,.0f}</text>'
        )
    colours = ("#1f5fa8", "#c4561a", "#2c7a4b", "#7a3e9d", "#8a6d00", "#5b6770")
    for number, (name, line) in enumerate(series.items()):
        colour = colours[number % len(colours)]
        dashes = ("none", "6 3", "2 3", "8 3 2 3")[number % 4]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        y = top + 16 * number + 8
        parts.append(
            f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"/>'
            f'<line x1="{width - right + 10}" x2="{width - right + 34}" y1="{y}" y2="{y}" '
            f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
            f'<text x="{width - right + 40}" y="{y + 4}">{escape(name)}</text>'
        )
    return (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-size="12" font-family="system-ui,sans-serif">'
        f'<text x="{left}" y="18" font-weight="600">{escape(title)}</text>{"".join(parts)}'
        f'<text x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
        f'<text transform="translate(14 {height / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text></svg>"
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="n">{value:.3f}</td>'
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    return f"<td>{escape('-' if value is None else value)}</td>"
