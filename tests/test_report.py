import html.parser
import re
from itertools import pairwise

import pytest
from conftest import HOSTILE

from workbench import commands, disk, passages, planted, report
from workbench import run as runs
from workbench.errors import UserError

VOID = {"meta", "img", "br"}


class Page(html.parser.HTMLParser):
    """What a browser would see: elements with their attributes, nesting, and all text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text, self.faults = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(inspected):
    return Page(commands.report(inspected).read_text(encoding="utf-8"))


def test_the_report_is_one_file_that_fetches_nothing_and_runs_nothing(page):
    names = {name for name, _ in page.elements}
    assert not names & {"script", "iframe", "link", "object", "embed", "form", "base", "svg"}
    for name, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")], name
        for key in ("src", "href", "srcset", "action", "style", "data", "poster"):
            value = attributes.get(key, "data:image/svg+xml;" if key == "src" else "#")
            assert value.startswith(("data:image/svg+xml;", "#")), (name, key)
    (style,) = {text for text in page.text if "@page" in text}
    assert not re.search(r"url\(|@import|https?:", style)
    (policy,) = [one for one in page.all("meta") if one.get("http-equiv")]
    assert policy["content"].startswith("default-src 'none'; ")
    assert "script-src" not in policy["content"]


def test_the_report_is_whole_and_speaks_to_those_who_do_not_see_it(page):
    assert page.faults == page.open == []
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert all(len(image["alt"]) > 30 for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert {head["scope"] for head in page.all("th")} == {"col", "row"}
    targets = {link["href"].removeprefix("#") for link in page.all("a")}
    assert targets == {head["id"] for head in page.all("h2")}
    levels = [int(name[1]) for name, _ in page.elements if re.fullmatch("h[1-6]", name)]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_text_from_a_corpus_says_in_which_language_it_is(page):
    spoken = {attributes["lang"] for attributes in page.all("p") if "lang" in attributes}
    assert spoken == {"mt", "fi", "en", "el", "ka"}
    cells = {attributes["lang"] for attributes in page.all("td") if "lang" in attributes}
    assert {"en", "el"} <= cells


def test_hostile_documents_stay_text(page):
    said = "".join(page.text)
    # In a document's text, id, source and licence.
    assert said.count(HOSTILE) > 5
    assert "</p></main>" in said
    assert not [image for image in page.all("img") if "onerror" in image]


def test_personal_data_are_masked_wherever_text_is_shown(page):
    said = "".join(page.text)
    assert "anna.borg" not in said
    assert "[e-mail]" in said
    for example in planted.EXAMPLES:
        assert example not in said
        assert example[-2:] in said  # of the masked examples


def test_key_figures_and_tables_say_what_the_results_say(inspected, page):
    said = "".join(page.text)
    rows = runs.find(inspected).read_result("languages")
    documents = sum(row["documents"] for row in rows)
    assert f"{documents:,} documents in 5 languages" in said
    for row in rows:
        assert row["language"] in said
        assert f"{row['bytes']:,}" in said
    dropped = runs.find(inspected).record["happened"]["dropped"]
    assert f"'quality': {dropped['quality']} documents" in said
    assert "Text by language" in said
    assert passages.read("eng_Latn")["river-ferry"][0] in said


def test_what_is_not_there_has_no_section(house, page, empty_runs):
    plain = commands.run("recipes/inspect/starter.yaml", "data.languages=[mt]", quiet=True)
    bare = Page(commands.report(plain.reference).read_text(encoding="utf-8"))
    names = {head["id"] for head in bare.all("h2")}
    assert {"cleaning", "contamination"} == {head["id"] for head in page.all("h2")} - names
    assert "Nothing was cleaned" in "".join(bare.text)
    assert "1 language," in "".join(bare.text)


def test_every_section_has_a_figure_of_its_own_and_none_is_forgotten(inspected, page):
    drawn = list((runs.find(inspected).path / "figures").glob("*.svg"))
    assert len(page.all("img")) == len(drawn) > 8


def test_the_report_is_in_the_manifest_and_show_names_it(inspected, capsys):
    run = runs.find(inspected)
    assert "report.html" in disk.read_json(run.path / disk.MANIFEST)["files"]
    assert re.search(r"report +\S*report\.html", commands.show(inspected))
    # Of five languages; the figures of all are five times as large at most.
    assert commands.report(inspected).stat().st_size < 2e6


def test_a_report_can_be_made_again_to_the_byte(inspected):
    run = runs.find(inspected)
    before = commands.report(inspected).read_bytes()
    assert report.write(run).read_bytes() == before


def test_other_kinds_of_run_have_no_report(series):
    with pytest.raises(UserError, match="tokenizer/starter has no report"):
        commands.report("tokenizer/starter")


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        *((0, 0, "0.0 %"), (0, 9, "0.0 %"), (9, 9, "100.0 %"), (1, 3, "33.3 %")),
        *((1, 100_000, "<0.1 %"), (99_999, 100_000, ">99.9 %")),
    ],
)
def test_a_share_never_rounds_to_all_or_nothing(part, whole, said):
    assert report._percent(part, whole) == said


def test_words_have_their_number():
    assert report._count(1, "document") == "1 document"
    assert report._count(1200, "document") == "1,200 documents"
    assert report._names(["mlt_Latn"]) == "Maltese"
    assert report._names(["mlt_Latn", "ell_Grek", "fin_Latn"]) == "Maltese, Greek and Finnish"
