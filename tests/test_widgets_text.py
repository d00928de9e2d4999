import re
import xml.etree.ElementTree as ElementTree

import pytest
from conftest import expect_named, printed

from workbench import commands, corpus, cutters, languages, passages, widgets_text
from workbench import run as runs
from workbench.errors import UserError

HOSTILE = "<img src=x onerror=alert(1)>"
FAIR, PLAIN = "tokenizer/starter", "tokenizer/cut-plain"


@pytest.fixture(scope="module")
def two(house):
    """The starter tokenizer, and a smaller one that learned from frequency alone."""
    recipe = "recipes/tokenizer/starter.yaml"
    commands.run(recipe, quiet=True)
    commands.run(recipe, "name=cut-plain", "vocabulary.parity=0", "vocabulary.size=600", quiet=True)
    return [FAIR, PLAIN]


@pytest.fixture
def panel(two):
    return widgets_text.TokenView(*two)


def table(page):
    """Return the rows of a page's table as texts, its head left out."""
    tree = ElementTree.fromstring(page[page.index("<table") : page.index("</table>") + 8])
    return [["".join(cell.itertext()) for cell in row] for row in tree.find("tbody")]


def test_one_sentence_in_every_language_dearest_first(two):
    rows = table(widgets_text.cuts(FAIR, "river-ferry#1").data)
    assert len(rows) == len(languages.tags())
    counts = [int(row[1].replace(",", "")) for row in rows]
    assert counts == sorted(counts, reverse=True)
    by_name = {row[0]: row for row in rows}
    cut = cutters.cutter(FAIR)
    english = len(cutters.pieces(cut, passages.read("eng_Latn")["river-ferry"][1]))
    pieces = cutters.pieces(cut, passages.read("mlt_Latn")["river-ferry"][1])
    maltese = by_name["MalteseMalti"]
    assert maltese[1:3] == [str(len(pieces)), f"{len(pieces) / english:.3f}"]
    assert maltese[3] == "".join(pieces).replace(" ", "␣")
    assert by_name["EnglishEnglish"][2] == "1.000"


def test_the_language_is_said_to_readers_and_fonts(two):
    page = widgets_text.cuts(FAIR, "river-ferry#0", "sr-Cyrl, Maltese").data
    assert len(table(page)) == 2
    assert set(re.findall('class="cut" lang="(.*?)"', page)) == {"mt", "sr-Cyrl"}


def test_a_tokenizer_is_looked_into_without_pytorch(two):
    program = (
        "import sys\n"
        "from workbench import widgets_text\n"
        f"widgets_text.TokenView({FAIR!r})\n"
        "print({'torch', 'transformers'} & set(sys.modules))\n"
    )
    assert printed(program).strip() == "set()"


def test_tokenizers_side_by_side(two):
    ((_, fair, _, _, plain, _, _),) = table(widgets_text.cuts(two, "river-ferry#0", ["el"]).data)
    assert int(fair) < int(plain)
    page = widgets_text.cuts(two, languages="el").data
    assert "tokenizer/starter, 800 tokens" in page
    assert "tokenizer/cut-plain, 600 tokens" in page


def test_without_a_text_the_sentence_was_held_back_from_training(two):
    page = widgets_text.cuts(FAIR, languages="en").data
    name = re.search("<caption>(.*?)#0", page).group(1)
    assert corpus.split_of(name, runs.find(FAIR).recipe.data) == "test"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((FAIR, "river-fery#0"), "no sentence 'river-fery#0' (did you mean 'river-ferry#0'?)"),
        ((FAIR, "river-ferry#99"), "no sentence 'river-ferry#99'"),
        ((FAIR, "", "klingon"), "unknown language 'klingon'"),
        ((FAIR, "my words", "mt, fi"), "is in one language, not in 2"),
        ((FAIR, "a" * 20_001), "has 20,001 characters; at most 20,000"),
        (("tokenizer/startr",), "no run 'tokenizer/startr'"),
        (("nowhere.json",), "no tokenizer at 'nowhere.json'"),
    ],
)
def test_mistakes_are_one_line(two, words, what):
    with pytest.raises(UserError, match=re.escape(what)) as told:
        widgets_text.cuts(*words)
    assert "\n" not in str(told.value)


def test_the_panel_opens_on_all_languages_and_offers_every_tokenizer(panel):
    assert panel.tokenizers.value == (FAIR, PLAIN)
    assert "Done: cut by tokenizer/starter, tokenizer/cut-plain." in panel.status.value
    assert len(table(panel.result.value)) == len(languages.tags())
    assert {FAIR, PLAIN} <= set(widgets_text.TokenView().tokenizers.options)


def test_the_panel_does_what_the_function_does(panel, two):
    panel.passage.value = "river-ferry"
    assert len(panel.sentence.options) == len(passages.read("eng_Latn")["river-ferry"])
    panel.sentence.value = "river-ferry#2"
    panel.languages.value = "candidate, mt"
    panel.tokenizers.value = [PLAIN]
    panel.button.click()
    assert panel.result.value == widgets_text.cuts(PLAIN, "river-ferry#2", "candidate, mt").data


def test_own_text_is_cut_and_stays_text(panel):
    panel.own.value = HOSTILE
    panel.languages.value = "el"
    panel.button.click()
    assert HOSTILE not in panel.result.value
    ((name, _, ratio, cut, *_),) = table(panel.result.value)
    assert (name, ratio, cut) == ("Greekελληνικά", "-", HOSTILE.replace(" ", "␣"))
    panel.own.value = "  "
    panel.button.click()
    assert len(table(panel.result.value)[0][2]) == 5, "blank own text leaves the sentence"


def test_errors_are_shown_in_the_panel_and_the_button_comes_back(panel, monkeypatch):
    panel.languages.value = "mt, klingon"
    panel.button.click()
    assert "Problem: unknown language &#x27;klingon&#x27;" in panel.status.value
    assert not panel.button.disabled
    panel.tokenizers.value = ()
    panel.button.click()
    assert "Problem: choose at least one tokenizer" in panel.status.value
    lost = widgets_text.TokenView("lost.json")
    assert "Problem: no tokenizer at &#x27;lost.json&#x27;" in lost.status.value
    panel.tokenizers.value = (FAIR,)
    panel.languages.value = "all"
    monkeypatch.setattr(
        cutters, "pieces", lambda *words: (_ for _ in ()).throw(RuntimeError(HOSTILE))
    )
    panel.button.click()
    assert "Problem: &lt;img" in panel.status.value


def test_every_control_is_named_and_explained(panel):
    expect_named(panel)
