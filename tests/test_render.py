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
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_everywhere(text):
    made = [
        render.cards([{"model": text, "prompt": text, "text": text, "note": text}], text),
        render.table([[text, 1, 2.5, None]], [text], text),
        render.status(text, problem=True),
        render.curve({text: [(0, 1), (1, 2)]}, text, text, text),
        render.curve({}, text, text, text),
    ]
    allowed = {"div", "h4", "p", "span", "small", "table", "caption", "thead", "tbody", "tr", "th"}
    allowed |= {"td", "svg", "line", "text", "polyline"}
    for markup in made:
        tree = ElementTree.fromstring(markup)
        assert {element.tag for element in tree.iter()} <= allowed
        attributes = {name for element in tree.iter() for name in element.attrib}
        assert not {name for name in attributes if name.startswith(("on", "data"))}
        assert text in "".join(tree.itertext())


def test_a_problem_is_said_in_words_not_by_colour_alone():
    assert "Problem: " in render.status("x", problem=True)


def test_curves_are_told_apart_without_colour():
    tree = ElementTree.fromstring(
        render.curve({"a": [(0, 1), (1, 2)], "b": [(0, 2), (1, 1)]}, "t", "x", "y")
    )
    lines = [element for element in tree.iter() if element.tag == "polyline"]
    assert len({line.get("stroke-dasharray") for line in lines}) == 2
