"""The only place that builds HTML and SVG, so that escaping happens in one place, first.

Text from corpora, prompts and models is hostile until proven otherwise: ``ipywidgets.HTML`` and
notebooks insert markup without cleaning it. Every function here takes plain text and returns
markup in which that text is inert.
"""

import base64
import html
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

# Doubled class names outweigh the styles that JupyterLab gives to tables in a notebook's output.
STYLE = """<style>
.wb{font:14px/1.5 system-ui,sans-serif;color:#1d2733;background:#fff;
--line:#c9d3de;--soft:#f4f7fa;--blue:#1f5fa8}
.wb.wb table{color:#1d2733;border-collapse:collapse;font-variant-numeric:tabular-nums}
.wb.wb table tr{background:none!important}
.wb.wb table th,.wb.wb table td{padding:3px 10px;border-bottom:1px solid var(--line);
text-align:left}
.wb.wb table th[scope=row]{white-space:nowrap}
.wb.wb table td.n{text-align:right;white-space:nowrap}
.wb .cards{display:flex;flex-wrap:wrap;gap:12px}
.wb .card{flex:1 1 280px;border:1px solid var(--line);border-radius:6px;background:#fff}
.wb .card h4{margin:0;padding:6px 12px;background:var(--soft);border-bottom:1px solid var(--line);
font:600 14px/1.5 system-ui,sans-serif}
.wb .card p{margin:0;padding:10px 12px;white-space:pre-wrap;overflow-wrap:anywhere}
.wb .card small{display:block;padding:0 12px 8px;color:#566372}
.wb .prompt{color:#566372}.wb .new{color:#102a4c;background:#e8f1fb}
.wb.wb table.cuts{width:100%;table-layout:auto}
.wb.wb .cuts th,.wb.wb .cuts td{vertical-align:top}
.wb.wb .cuts th{white-space:nowrap}.wb .cuts small{color:#566372;font-weight:400}
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
.wb .passage{margin:0;padding:10px 14px;white-space:pre-wrap;overflow-wrap:anywhere;
border:1px solid var(--line);border-radius:6px;max-height:28em;overflow:auto;background:#fff}
.wb .passage mark{background:#ffe08a;color:#1d2733;border-bottom:2px solid #7a5a00}
.wb .passage u{text-decoration:underline wavy #b3261e;text-underline-offset:3px}
.wb .passage i{font:12px ui-monospace,monospace;color:#8a2a12;border:1px dotted #8a2a12}
.wb.wb dl.about{display:grid;grid-template-columns:max-content 1fr;gap:2px 14px;margin:6px 0}
.wb.wb dl.about dt{float:none;width:auto;margin:0;color:#566372;font-weight:400;white-space:nowrap}
.wb.wb dl.about dd{margin:0;overflow-wrap:anywhere}
</style>"""
# Of what changes while one looks at it: in the colours of JupyterLab's theme, light or dark.
LIVE_STYLE = """<style>
.wb.live{--ink:var(--jp-ui-font-color1,#1d2733);--dim:var(--jp-ui-font-color2,#566372);
--paper:var(--jp-layout-color0,#fff);--line:var(--jp-border-color2,#d5dde6);
--soft:var(--jp-layout-color2,#f1f4f8);--go:#1f5fa8;--good:#1e7a46;--wait:#8a5a00;--bad:#b3261e;
--c1:#c4561a;--c2:#1e7a46;--c3:#7a3e9d;--c4:#0b7285;--c5:#8a6d00;--c6:#b02a6f;
color:var(--ink);background:var(--paper)}
body[data-jp-theme-light=false] .wb.live{--go:#7db7f5;--good:#74cf9a;--wait:#e6b450;
--bad:#ff8a80;--c1:#f2a26b;--c2:#74cf9a;--c3:#c99be8;--c4:#5fd0da;--c5:#e0c04a;--c6:#f48fb8}
.wb.wb.live table{color:var(--ink)}
.wb.live .status{background:var(--soft);border-color:var(--go);border-radius:0 4px 4px 0}
.wb.live .status.problem{border-color:var(--bad)}
.wb.live .stands{--state:var(--dim);padding:2px}
.wb.live .running{--state:var(--go)}.wb.live .finished{--state:var(--good)}
.wb.live :is(.stopping,.stopped,.starting){--state:var(--wait)}
.wb.live :is(.failed,.killed){--state:var(--bad)}
.wb.live .stands>p{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:baseline;margin:0 0 6px}
.wb.live .stands>p b{font-size:16px;font-weight:600}
.wb.live .state{color:var(--state);border:1px solid var(--state);border-radius:9px;
padding:0 9px;font-size:12px;line-height:18px;white-space:nowrap}
.wb.live .state i{font-style:normal}
.wb.live .beside{margin-left:auto;color:var(--dim);font-variant-numeric:tabular-nums}
.wb.wb.live dl.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(104px,1fr));
gap:8px;margin:10px 0 0}
.wb.wb.live .tiles div{border:1px solid var(--line);border-radius:6px;padding:6px 10px;margin:0}
.wb.wb.live .tiles dt{float:none;width:auto;margin:0;padding:0;color:var(--dim);font-size:12px;
font-weight:400;line-height:1.3}
.wb.wb.live .tiles dd{margin:0;padding:0;width:auto;float:none;font-size:19px;line-height:1.35;
font-weight:600;font-variant-numeric:tabular-nums;white-space:nowrap}
.wb.wb.live .tiles dd small{display:block;font-size:11px;line-height:1.3;font-weight:400;
color:var(--dim);white-space:normal}
.wb.live .nothing{margin:6px 0;padding:14px;border:1px dashed var(--line);border-radius:6px;
color:var(--dim)}
.wb.live svg{display:block;width:100%;max-width:760px;height:auto;margin-top:4px;
font:12px system-ui,sans-serif}
.wb.live svg.done{height:6px;max-width:none;border-radius:3px;background:var(--soft)}
.wb.live .done rect{fill:var(--state)}
.wb.live svg text{fill:var(--ink)}.wb.live svg .dim{fill:var(--dim)}
.wb.live svg .title{font-weight:600;font-size:13px}
.wb.live svg .grid{stroke:var(--line)}
.wb.live svg .name{font-variant-numeric:tabular-nums;paint-order:stroke;stroke:var(--paper);
stroke-width:4px;stroke-linejoin:round}
.wb.live svg g{--at:var(--go)}.wb.live svg g.faint{--at:var(--dim)}
.wb.live svg polyline{fill:none;stroke:var(--at);stroke-width:2;stroke-linejoin:round;
stroke-linecap:round}
.wb.live svg polygon{fill:var(--at);opacity:.18}
.wb.live svg circle{fill:var(--at)}
.wb.live svg .main polyline{stroke-width:2.5}
.wb.live svg .faint polyline{stroke-width:1;opacity:.6}.wb.live svg .faint circle{display:none}
.wb.live svg .faint:hover polyline{stroke:var(--ink);stroke-width:2.5;opacity:1}
.wb.live svg text.main{fill:var(--go);font-weight:600}
.wb.live svg .c1{--at:var(--c1)}.wb.live svg .c2{--at:var(--c2)}.wb.live svg .c3{--at:var(--c3)}
.wb.live svg .c4{--at:var(--c4)}.wb.live svg .c5{--at:var(--c5)}.wb.live svg .c6{--at:var(--c6)}
.wb.live svg text.picked{fill:var(--at)}
</style>"""
COLOURS = 6
# Nothing runs and nothing is fetched.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
# Of a page that stands by itself, on a screen and on paper.
PAGE_STYLE = """<style>
body{margin:0;background:#fff}
.wb.page{max-width:64rem;margin:0 auto;padding:2rem 1.5rem 4rem;font-size:16px}
.page h1{font-size:2rem;line-height:1.2;margin:0 0 .4rem}
.page h2{font-size:1.4rem;margin:3rem 0 .6rem;padding-top:.8rem;border-top:2px solid var(--line)}
.page h3{font-size:1.05rem;margin:1.6rem 0 .4rem}
.page p{max-width:46rem}.page p.passage{max-width:none}
.page .lead{font-size:1.15rem;color:#3b4855}
.page nav ul{columns:2;padding-left:1.2rem;margin:.5rem 0}
.page a{color:var(--blue)}
.page dl.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:12px}
.page dl.facts div{border:1px solid var(--line);border-left:4px solid var(--blue);
border-radius:6px;padding:8px 12px;display:flex;flex-direction:column}
.page dl.facts dt{color:#566372;font-size:.85rem;order:2}
.page dl.facts dd{margin:0;font-size:1.5rem;font-weight:600;order:1}
.page figure{margin:1rem 0}.page figure img{display:block;max-width:100%;height:auto}
.page figcaption{color:#566372;font-size:.9rem;max-width:46rem}
.page details{margin:.6rem 0;border:1px solid var(--line);border-radius:6px}
.page summary{padding:6px 12px;background:var(--soft);cursor:pointer}
.page details>*:not(summary){margin:10px 12px}
.page .close details{margin:3px 0}.page .close summary{padding:3px 12px}
.page .wide{overflow-x:auto}.page table{font-size:.85rem}
.page caption{caption-side:top;font-size:.9rem;color:#566372}
.page pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem;background:var(--soft);
padding:10px 12px;border-radius:6px}
.page .sample{margin:1.2rem 0}
@media print{
@page{size:A4;margin:15mm}
.wb.page{max-width:none;padding:0;font-size:10.5pt}
.page figure,.page tr,.page dl.facts div{break-inside:avoid}
.page figure img{max-height:235mm;object-fit:contain;object-position:left}
.page h2{break-after:avoid}.page h3{break-after:avoid}.page .passage{max-height:none}
.page .wide{overflow:visible}.page table{font-size:7.5pt}
}
</style>"""


def escape(text: object) -> str:
    """Return ``text`` with every character that markup gives a meaning replaced by a reference."""
    return html.escape(str(text), quote=True)


def page(body: str) -> str:
    """Wrap markup made here in the workbench's style."""
    return f'{STYLE}<div class="wb">{body}</div>'


def live(body: str) -> str:
    """Wrap markup made here in the style of what changes, which follows JupyterLab's theme."""
    return f'{STYLE}{LIVE_STYLE}<div class="wb live">{body}</div>'


@dataclass(frozen=True)
class Said:
    """A cell of a table that is more than a plain value."""

    text: str
    lang: str = ""
    """BCP-47 tag of a text from a corpus; empty for our own words."""
    number: bool = False
    """Whether it is a number that the caller has written out."""


def table(
    rows: Sequence[Sequence[object]],
    header: Sequence[str],
    caption: str = "",
    named_rows: bool = False,
) -> str:
    """Return an HTML table; numbers stand to the right with three decimals.

    Args:
        rows: values, or :class:`Said`.
        header: what stands above the columns.
        caption: what stands above the table.
        named_rows: the first cell of a row says what the row is about.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(_row(row, named_rows) for row in rows)
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
    """Return a text with a box around each token, as :func:`workbench.cutters.pieces` gives it.

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


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    look: Literal["main", "picked", "faint"] = "main"
    """``faint`` lines say their name under the mouse only."""
    band: Sequence[tuple[float, float, float]] = ()
    """What lies around the line: x, low, high."""


def chart(
    lines: Sequence[Line],
    title: str,
    unit: str,
    x_label: str,
    x_end: float = 0.0,
    size: tuple[int, int] = (680, 230),
) -> str:
    """Return a line chart as SVG, in the colours of :func:`live`.

    Made here rather than with matplotlib because widget callbacks run on a second thread, in which
    matplotlib's global state gets mixed up. Lines are told apart by dashes and by the name and last
    value at their end as well as by colour.

    Args:
        lines: ``picked`` ones get a colour each, in order.
        title: what is drawn.
        unit: of the vertical axis.
        x_label: of the horizontal axis, which begins at 0.
        x_end: where the horizontal axis ends, if beyond the last point.
        size: width and height, in pixels at full size.
    """
    values = [y for line in lines for _, y in line.points]
    values += [y for line in lines for _, *ends in line.band for y in ends]
    if not values:
        return f'<p class="nothing"><b>{escape(title)}</b>: nothing measured yet</p>'
    (width, height), left, top, bottom = size, 46, 34, 36
    y_low, y_high, y_ticks = _axis(min(values), max(values))
    x_high = max(x_end, *(x for line in lines for x, _ in line.points), 1)
    _, _, x_ticks = _axis(0, x_high)
    # Names need room only where the lines come near the right end.
    reach = max(x for line in lines for x, _ in line.points) / x_high
    right = max(20.0, width - left - (width - left - NAMES) / max(reach, 0.01))

    def across(x: float) -> float:
        return left + x / x_high * (width - left - right)

    def down(y: float) -> float:
        return height - bottom - (y - y_low) / (y_high - y_low) * (height - top - bottom)

    parts = [
        f'<text x="4" y="16"><tspan class="title">{escape(title)}</tspan>'
        f'<tspan class="dim" dx="8">{escape(unit)}</tspan></text>',
        *(
            f'<line class="grid" x1="{left}" x2="{width - right:.1f}" y1="{down(y):.1f}" '
            f'y2="{down(y):.1f}"/><text class="dim" x="{left - 8}" y="{down(y) + 4:.1f}" '
            f'text-anchor="end">{y:g}</text>'
            for y in y_ticks
        ),
        *(
            f'<text class="dim" x="{across(x):.1f}" y="{height - bottom + 17}" '
            f'text-anchor="middle">{x:,.0f}</text>'
            for x in x_ticks
            if x <= x_high
        ),
        f'<text class="dim" x="{left}" y="{height - 3}">{escape(x_label)}</text>',
    ]
    named: list[tuple[float, str]] = []
    picked = 0
    for line in sorted(lines, key=lambda one: ("faint", "picked", "main").index(one.look)):
        if not line.points:
            continue
        if line.look == "picked":
            picked += 1
        kind = f"picked c{(picked - 1) % COLOURS + 1}" if line.look == "picked" else line.look
        outline = [(x, y) for x, y, _ in line.band] + [(x, y) for x, _, y in reversed(line.band)]
        shape = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in outline)
        drawn = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in line.points)
        x, y = line.points[-1]
        dashes = DASHES[(picked - 1) % len(DASHES)] if line.look == "picked" else "none"
        parts.append(
            f'<g class="{kind}"><title>{escape(line.name)}: {y:.3f}</title>'
            + (f'<polygon points="{shape}"/>' if shape else "")
            + f'<polyline points="{drawn}" stroke-dasharray="{dashes}"/>'
            + f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="3"/></g>'
        )
        if line.look != "faint":
            said = line.name if len(line.name) <= 17 else f"{line.name[:16]}…"
            text = f'<tspan>{escape(said)}</tspan><tspan dx="6">{y:.3f}</tspan>'
            named.append((down(y), f'class="name {kind}">{text}'))
    x = across(reach * x_high) + 9
    for y, text in _apart(named, 15.0, top, height - bottom):
        parts.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" {text}</text>')
    return (
        f'<svg role="img" aria-label="{escape(title)}, {escape(unit)}" '
        f'viewBox="0 0 {width} {height}" width="{width}">{"".join(parts)}</svg>'
    )


# Pixels that a name and a number at the end of a line take.
NAMES = 168
DASHES = ("none", "7 3", "2 3", "9 3 2 3")


def _axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return the ends of an axis and its marks, at 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1.0
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return first * step, last * step, [round(mark * step, 10) for mark in range(first, last + 1)]


def _apart(
    texts: Sequence[tuple[float, str]], room: float, top: float, bottom: float
) -> list[tuple[float, str]]:
    """Move texts on one vertical line so that none lies on another: height, text."""
    placed: list[tuple[float, str]] = []
    for y, text in sorted(texts):
        placed.append((max(y, placed[-1][0] + room if placed else top), text))
    below = bottom
    for number in range(len(placed) - 1, -1, -1):
        y, text = placed[number]
        placed[number] = (min(y, below), text)
        below = placed[number][0] - room
    return placed


@dataclass(frozen=True)
class Tile:
    """A number to see at once."""

    name: str
    value: str
    note: str = ""


def standing(
    title: str, state: str, sign: str, share: float, beside: str, tiles: Sequence[Tile]
) -> str:
    """Return how a long work stands: a state in words, how much is done, and a few numbers.

    Args:
        title: of the work.
        state: one of the words that :data:`LIVE_STYLE` gives a colour to.
        sign: stands before the word, so that it is not told by colour alone.
        share: how much is done, from 0 to 1.
        beside: the same in words.
        tiles: numbers.
    """
    cells = "".join(
        f"<div><dt>{escape(tile.name)}</dt><dd>{escape(tile.value)}</dd>"
        f"<dd><small>{escape(tile.note)}</small></dd></div>"
        for tile in tiles
    )
    percent = f"{100 * min(max(share, 0.0), 1.0):.1f}"
    kind = escape(state.replace(" ", "-"))
    return (
        f'<div class="stands {kind}"><p><b>{escape(title)}</b>'
        f'<span class="state"><i>{escape(sign)}</i> {escape(state)}</span>'
        f'<span class="beside">{escape(beside)}</span></p>'
        f'<svg class="done" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}" aria-label="{escape(title)}, how much is done" '
        f'viewBox="0 0 100 6" preserveAspectRatio="none"><rect width="{percent}" height="6"/></svg>'
        + (f'<dl class="tiles">{cells}</dl>' if cells else "")
        + "</div>"
    )


def _row(row: Sequence[object], named: bool) -> str:
    head = f'<th scope="row">{escape(row[0])}</th>' if named else ""
    return f"<tr>{head}{''.join(map(_cell, row[1:] if named else row))}</tr>"


def _cell(value: object) -> str:
    if isinstance(value, Said):
        lang = f' lang="{escape(value.lang)}" dir="auto"' if value.lang else ""
        kind = ' class="n"' if value.number else ""
        return f"<td{kind}{lang}>{escape(value.text)}</td>"
    if isinstance(value, float):
        return f'<td class="n">{value:.3f}</td>'
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    return f"<td>{escape('-' if value is None else value)}</td>"


@dataclass(frozen=True)
class Mark:
    """A stretch of a text to point at."""

    start: int
    end: int
    kind: Literal["hit", "mixed"]
    """What was searched for; or a word with letters of two scripts."""


def passage(text: str, lang: str, marks: Sequence[Mark] = ()) -> str:
    """Return a document to read: as it is, its lines kept, with stretches pointed at.

    Characters that cannot be seen, such as control characters and soft hyphens, are shown by their
    number; white space is left as it is.

    Args:
        text: the document.
        lang: BCP-47 tag: screen readers and fonts go by it.
        marks: in any order; of two that overlap the first one given counts.
    """
    taken: list[Mark] = []
    for mark in marks:
        if all(mark.end <= other.start or mark.start >= other.end for other in taken):
            taken.append(mark)
    parts, position = [], 0
    for mark in sorted(taken, key=lambda mark: mark.start):
        element = "mark" if mark.kind == "hit" else "u"
        inside = _legible(text[mark.start : mark.end])
        parts += [_legible(text[position : mark.start]), f"<{element}>{inside}</{element}>"]
        position = mark.end
    parts.append(_legible(text[position:]))
    # The keyboard scrolls what can have the focus.
    return f'<p class="passage" lang="{escape(lang)}" dir="auto" tabindex="0">{"".join(parts)}</p>'


def sample(text: str, lang: str, facts: Mapping[str, object], marks: Sequence[Mark] = ()) -> str:
    """Return a document to read under what is known of it; arguments as elsewhere here."""
    return f'<article class="sample">{about(facts)}{passage(text, lang, marks)}</article>'


_UNSEEN = re.compile("[^\n\t\x20-\x7e]")


def _legible(text: str) -> str:
    """Return ``text`` with what cannot be seen written as a number."""
    return _UNSEEN.sub(
        lambda found: (
            f"<i>⟨U+{ord(found[0]):04X}⟩</i>"
            if unicodedata.category(found[0])[0] == "C"
            else found[0]
        ),
        escape(text),
    )


def about(facts: Mapping[str, object]) -> str:
    """Return what is known of something, a line each; what is empty is left out."""
    return _facts("about", facts)


def key_figures(facts: Mapping[str, object]) -> str:
    """Return a few numbers to see first, each with what it counts."""
    return _facts("facts", facts)


def _facts(kind: str, facts: Mapping[str, object]) -> str:
    pairs = [
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
        for name, value in facts.items()
        if value != ""
    ]
    if kind == "facts":
        pairs = [f"<div>{pair}</div>" for pair in pairs]
    return f'<dl class="{kind}">{"".join(pairs)}</dl>'


def heading(text: str, level: int, name: str = "") -> str:
    """Return a heading; ``name`` is what :func:`contents` leads to."""
    place = f' id="{escape(name)}"' if name else ""
    return f"<h{level}{place}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of our own words; ``kind`` is ``lead`` for the first of a page."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def verbatim(text: str) -> str:
    """Return lines that are read by programs."""
    return f"<pre>{escape(text)}</pre>"


def contents(headings: Mapping[str, str]) -> str:
    """Return links to headings: their name to their text."""
    entries = "".join(
        f'<li><a href="#{escape(name)}">{escape(text)}</a></li>' for name, text in headings.items()
    )
    return f'<nav aria-label="Contents"><ul>{entries}</ul></nav>'


def folded(summary: str, body: str) -> str:
    """Return markup made here that is shown when one asks for it."""
    return (
        f"<details><summary>{escape(summary)}</summary>"
        f'<div class="wide" role="group" tabindex="0" aria-label="{escape(summary)}">{body}</div>'
        "</details>"
    )


def close(parts: Sequence[str]) -> str:
    """Return markup made here with little room between its parts."""
    return f'<div class="close">{"".join(parts)}</div>'


def picture(svg: bytes, said: str, caption: str) -> str:
    """Return a figure inlined as an image, in which nothing can act.

    Args:
        svg: the drawing.
        said: what it shows, for those who do not see it.
        caption: what stands below it.
    """
    data = base64.b64encode(svg).decode()
    return (
        f'<figure><img alt="{escape(said)}" src="data:image/svg+xml;base64,{data}"/>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def whole(title: str, body: str) -> str:
    """Return a page that stands by itself: no script, and nothing from elsewhere.

    Its policy forbids both, should anything ever slip through.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title>{STYLE}{PAGE_STYLE}</head>"
        f'<body><main class="wb page">{body}</main></body></html>\n'
    )


@dataclass(frozen=True)
class Share:
    """One bar of a picture of shares."""

    name: str
    value: float
    """From 0 to 1."""
    before: float
    """Another share to hold it against, from 0 to 1."""
    note: str
    """What stands beside it."""
    warn: bool
    """Whether the note is a warning."""


def shares(rows: Sequence[Share], title: str, value: str, before: str, width: int = 720) -> str:
    """Return bars as SVG: a share each, and a line where another share of the same thing lies.

    A bar that warns is dashed, and its note begins with a sign.

    Args:
        rows: from the top down.
        title: what the bars show.
        value: what a bar's length is.
        before: what the line across a bar is.
        width: in pixels.
    """
    left, right, top, step = 150, 230, 52, 20
    height = top + step * len(rows) + 8
    most = max((max(row.value, row.before) for row in rows), default=0) or 1
    scale = (width - left - right) / most
    legend = (
        f'<rect x="{left}" y="30" width="18" height="10" fill="#1f5fa8"/>'
        f'<text x="{left + 24}" y="39">{escape(value)}</text>'
        f'<line x1="{left + 204}" x2="{left + 204}" y1="28" y2="42" stroke="#1d2733" '
        f'stroke-width="2"/><text x="{left + 212}" y="39">{escape(before)}</text>'
    )
    drawn = []
    for number, row in enumerate(rows):
        y = top + step * number
        look = (
            'fill="#f6d9cb" stroke="#b3461a" stroke-width="1.5" stroke-dasharray="4 2"'
            if row.warn
            else 'fill="#1f5fa8"'
        )
        at = left + scale * row.before
        drawn.append(
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(row.name)}</text>'
            f'<rect x="{left}" y="{y + 2}" width="{scale * row.value:.1f}" height="12" {look}/>'
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y}" y2="{y + 16}" stroke="#1d2733" '
            'stroke-width="2"/>'
            f'<text x="{width - right + 10}" y="{y + 12}">{"⚠ " if row.warn else ""}'
            f"{escape(row.note)}</text>"
        )
    return (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-size="12" font-family="system-ui,sans-serif" '
        f'style="max-width:100%;height:auto"><text x="{left}" y="18" font-weight="600">'
        f"{escape(title)}</text>{legend}{''.join(drawn)}</svg>"
    )
