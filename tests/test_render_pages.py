"""Documents to read, pictures of shares, and pages that stand by themselves."""

import base64
import xml.etree.ElementTree as ElementTree

import pytest

from workbench import render
from workbench.render import Mark

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</p></div></main><script>alert(1)</script>",
    "\" onmouseover='alert(1)",
    "&lt;b&gt;&#60;",
]
SAFE = {
    *("div", "p", "i", "u", "mark", "dl", "dt", "dd", "article", "h2", "pre", "nav", "ul", "li"),
    *("a", "details", "summary", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("figure", "figcaption", "img", "svg", "rect", "line", "text"),
}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text):
    share = render.Share(text, 0.5, 0.2, text, warn=True)
    made = [
        render.passage(text, text, [Mark(0, 3, "hit"), Mark(4, 6, "mixed")]),
        render.sample(text, text, {text: text}),
        render.key_figures({text: text}),
        render.heading(text, 2, text),
        render.paragraph(text),
        render.verbatim(text),
        render.contents({text: text}),
        render.folded(text, render.paragraph(text)),
        render.close([render.paragraph(text)]),
        render.table([[text, render.Said(text, text, number=True)]], [text], text, named_rows=True),
        render.picture(b"<svg/>", text, text),
        render.shares([share], text, text, text),
    ]
    for markup in made:
        tree = ElementTree.fromstring(markup)
        assert {element.tag for element in tree.iter()} <= SAFE
        for element in tree.iter():
            assert not [name for name in element.attrib if name.startswith(("on", "data"))]
            assert element.get("href", "#").startswith("#")
            assert element.get("src", "data:image/svg+xml;base64,").startswith("data:image/svg+xml")
        assert text in "".join(tree.itertext())


def test_a_passage_by_hand():
    text = "νερo\u00a0kal\u0301t\u200b\n\x07 & <b>"
    tree = ElementTree.fromstring(
        render.passage(text, "el", [Mark(6, 8, "hit"), Mark(0, 4, "mixed"), Mark(5, 9, "mixed")])
    )
    assert (tree.get("lang"), tree.get("dir"), tree.get("tabindex")) == ("el", "auto", "0")
    parts = [(part.tag, part.text, part.tail) for part in tree]
    assert parts == [
        ("u", "νερo", "\u00a0k"),
        # The later mark overlaps and is left out.
        ("mark", "al", "\u0301t"),
        ("i", "⟨U+200B⟩", "\n"),
        ("i", "⟨U+0007⟩", " & <b>"),
    ]


def test_marks_are_told_apart_by_more_than_colour():
    rules = dict(rule.split("{", 1) for rule in render.STYLE.replace("\n", "").split("}")[:-1])
    assert "border-bottom" in rules[".wb .passage mark"]
    assert "underline wavy" in rules[".wb .passage u"]


def test_what_is_empty_is_left_out_of_facts():
    tree = ElementTree.fromstring(render.about({"id": "a", "address": "", "characters": 0}))
    assert [part.text for part in tree] == ["id", "a", "characters", "0"]


def test_cells_may_be_numbers_that_are_written_out_or_text_of_a_language():
    cells = [["Greek", render.Said("<1 %", number=True), render.Said("ναι", "el"), 1234, None]]
    tree = ElementTree.fromstring(render.table(cells, list("abcde"), named_rows=True))
    (row,) = tree.find("tbody")
    assert (row[0].tag, row[0].get("scope"), row[0].text) == ("th", "row", "Greek")
    assert [cell.text for cell in row[1:]] == ["<1 %", "ναι", "1,234", "-"]
    assert [cell.get("class") for cell in row[1:]] == ["n", None, "n", None]
    assert (row[2].get("lang"), row[2].get("dir")) == ("el", "auto")


def test_shares_are_as_long_as_they_are_large():
    rows = [
        render.Share("a", 0.5, 0.25, "50 %", warn=False),
        render.Share("b", 0.25, 0.5, "25 %", warn=True),
        render.Share("c", 0.0, 0.25, "not read", warn=False),
    ]
    tree = ElementTree.fromstring(render.shares(rows, "Title", "share", "before"))
    bars = list(tree.iter("rect"))[1:]
    assert [float(bar.get("width")) for bar in bars] == [340.0, 170.0, 0.0]
    assert [bar.get("stroke-dasharray") is not None for bar in bars] == [False, True, False]
    lines = [float(line.get("x1")) - 150 for line in list(tree.iter("line"))[1:]]
    assert lines == [170.0, 340.0, 170.0]
    assert "⚠ 25 %" in [text.text for text in tree.iter("text")]
    assert (tree.get("role"), tree.get("aria-label")) == ("img", "Title")
    assert ElementTree.fromstring(render.shares([], "Title", "share", "before")) is not None


def test_a_picture_is_an_image_in_which_nothing_can_act():
    drawing = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    tree = ElementTree.fromstring(render.picture(drawing, "what it shows", "caption"))
    (image,) = tree.iter("img")
    assert image.get("alt") == "what it shows"
    assert base64.b64decode(image.get("src").partition(",")[2]) == drawing


def test_a_whole_page_forbids_scripts_and_requests():
    page = render.whole("<title>", render.heading("x", 1))
    assert page.startswith("<!DOCTYPE html>")
    assert "<title>&lt;title&gt;</title>" in page
    policy = page.partition('content="')[2].partition('"')[0]
    assert policy.startswith("default-src &#x27;none&#x27;; img-src data:;")
    assert page.index("Content-Security-Policy") < page.index("<title>")
