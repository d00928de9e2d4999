import itertools
import xml.etree.ElementTree as ElementTree

import pytest

from workbench import render

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    '<a data-commandlinker-command="x" data-commandlinker-args="{}">',
    "</p></div><iframe src=javascript:alert(1)>",
    "<b class=part style=position:fixed onclick=alert(1)>⟨E1⟩</b>",
    "&lt;script&gt;&#60;",
]
SAFE = {"div", "h4", "p", "span", "small", "table", "caption", "thead", "tbody", "tr", "th", "td"}
SAFE |= {"svg", "line", "text", "polyline", "b", "i", "br"}
SAFE |= {"g", "title", "tspan", "circle", "polygon", "rect", "dl", "dt", "dd"}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_everywhere(text):
    made = [
        render.cards([{"model": text, "prompt": text, "text": text, "note": text}], text),
        render.table([[text, 1, 2.5, None]], [text], text),
        render.status(text, problem=True),
        render.chart([render.Line(text[:17], [(0, 1), (1, 2)])], text, text, text),
        render.chart([render.Line(text, [(0, 1), (1, 2)], "faint")], text, text, text),
        render.chart([], text, text, text),
        render.standing(text, text, text, 0.5, text, [render.Tile(text, text, text)]),
    ]
    for markup in made:
        assert text in "".join(inert(markup).itertext())


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_when_it_is_cut(text):
    rows = [render.CutText(text, text, text, [[text], [*text]], [1.0, None])]
    table = inert(render.cuts(rows, [text, text], text))
    said = ["".join(cell.itertext()) for cell in table.iter("span")]
    assert said == [text.replace(" ", "␣")] * 2
    assert [len(cell.findall("b")) for cell in table.iter("span")] == [1, len(text)]
    for place in ("caption", "th", "small"):
        assert text in ["".join(element.itertext()) for element in table.iter(place)] + [
            element.text for element in table.iter(place)
        ]
    assert {element.get("lang") for element in table.iter("span")} == {text}


def inert(markup):
    """Return the tree of ``markup``, after making sure that nothing in it can act."""
    tree = ElementTree.fromstring(markup)
    assert {element.tag for element in tree.iter()} <= SAFE
    attributes = {name for element in tree.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith(("on", "data", "src", "href"))}
    assert "style" not in attributes
    return tree


def test_a_cut_by_hand():
    pieces = ["Il", "-v", " ", "a\t", "\r\n", "⟨E1 83⟩", "\u0301e", "\u202e", "\u00a0", "", "l·l"]
    tree = inert(render.cut(pieces, "mt"))
    assert (tree.get("lang"), tree.get("class")) == ("mt", "cut")
    assert ["".join(token.itertext()) for token in tree] == [
        *("Il", "-v", "␣", "a⇥", "␍↵", "⟨E1 83⟩", "◌\u0301e"),
        *("⟨U+202E⟩", "⟨U+00A0⟩", "∅", "l·l"),
    ]
    assert [token.get("class") for token in tree].count("part") == 1


def test_tokens_are_told_apart_by_a_border_and_not_by_colour_alone():
    rules = dict(rule.split("{") for rule in render.STYLE.replace("\n", "").split("}")[:-1])
    assert "border:1px solid" in rules[".wb .cut b"]
    assert "background" in rules[".wb .cut b:nth-of-type(even)"]
    assert "dashed" in rules[".wb .cut b.part"]


def test_cuts_count_tokens_and_compare_with_english():
    row = render.CutText("Maltese", "Malti", "mt", [["Il", "-v"], ["Il-v"]], [1.5, None])
    tree = inert(render.cuts([row], ["a", "b"], "c"))
    cells = ["".join(cell.itertext()) for cell in tree.iter("td")]
    assert cells == ["2", "1.500", "Il-v", "1", "-", "Il-v"]
    assert [head.get("scope") for head in tree.iter("th")].count("row") == 1


def test_a_problem_is_said_in_words_not_by_colour_alone():
    assert "Problem: " in render.status("x", problem=True)


def test_lines_are_told_apart_without_colour():
    lines = [render.Line(name, [(0, 1), (1, y)], "picked") for name, y in (("a", 2), ("b", 3))]
    tree = ElementTree.fromstring(render.chart(lines, "t", "u", "x"))
    drawn = [element for element in tree.iter() if element.tag == "polyline"]
    assert len({line.get("stroke-dasharray") for line in drawn}) == 2
    assert {"a", "2.000", "b", "3.000"} <= set(tree.itertext())


def test_a_chart_by_hand():
    """From (0, 2) to (10, 4), of 20 steps: half of the way across, from bottom to top."""
    made = render.chart([render.Line("a", [(0, 2), (10, 4)])], "t", "u", "x", 20, (266, 170))
    tree = ElementTree.fromstring(made)
    (line,) = [element for element in tree.iter() if element.tag == "polyline"]
    # 46 to the left, 34 above and 36 below; 104 of 156 steps to the right are left to the name.
    assert line.get("points") == "46.0,134.0 98.0,34.0"
    texts = [text for element in tree.iter("text") for text in [element.text] if text]
    assert texts == ["2", "2.5", "3", "3.5", "4", "0", "5", "10", "15", "20", "x"]


def test_one_value_alone_can_be_drawn():
    ElementTree.fromstring(render.chart([render.Line("a", [(1, 0.0)])], "t", "u", "x"))
    ElementTree.fromstring(render.chart([render.Line("a", [(1, 2.5)])], "t", "u", "x"))


def test_names_at_the_ends_of_lines_do_not_lie_on_each_other():
    names = [render.Line(str(n), [(0, 5), (1, 1 + n / 1000)], "picked") for n in range(9)]
    tree = ElementTree.fromstring(render.chart(names, "t", "u", "x"))
    heights = sorted(
        float(text.get("y"))
        for text in tree.iter("text")
        if text.get("class", "").startswith("name")
    )
    assert len(heights) == 9
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 14.9
    assert 0 < heights[0] < heights[-1] < 230
