import re
import xml.etree.ElementTree as ElementTree

import pytest
from conftest import HOSTILE, expect_named

from workbench import samples, widgets_text
from workbench.errors import UserError


@pytest.fixture
def browser(inspected):
    return widgets_text.SampleBrowser(inspected)


def body(markup):
    """Return the tree of what is shown below the style."""
    return ElementTree.fromstring(markup[markup.index('<div class="wb">') :])


def said(element):
    return "".join(element.itertext())


def test_it_opens_on_the_first_document(browser):
    assert re.search(r"Document 1 of \d\d\d documents\.", browser.status.value)
    (shown,) = body(browser.result.value).iter("p")
    assert shown.get("lang") in ("el", "en", "fi", "ka", "mt")
    assert (browser.previous.disabled, browser.next.disabled) == (True, False)


def test_search_and_filters_work_together_and_start_from_the_first_hit(browser):
    browser.search.value = "FERRY"
    browser.next.click()
    assert browser.number.value == 2
    browser.language.value = "eng_Latn"
    assert browser.number.value == 1
    assert re.search(r"Document 1 of \d+ documents with “FERRY”, \d+ here\.", browser.status.value)
    hits = list(body(browser.result.value).iter("mark"))
    assert {said(hit).lower() for hit in hits} == {"ferry"}
    browser.flag.value = "repetition"
    browser.source.value = "planted"
    assert "Document 1 of 1 document with" in browser.status.value
    facts = dict(
        zip(
            *(map(said, body(browser.result.value).iter(name)) for name in ("dt", "dd")),
            strict=True,
        )
    )
    assert facts["document"] == "repetition-1"
    assert facts["dropped for"] == "repetition"
    assert len(list(body(browser.result.value).iter("mark"))) == 12


def test_buttons_step_and_stop_at_both_ends(browser):
    browser.flag.value = "exact-duplicate"
    seen = [said(body(browser.result.value))]
    assert browser.number.max == 2
    browser.next.click()
    seen.append(said(body(browser.result.value)))
    assert (browser.previous.disabled, browser.next.disabled) == (False, True)
    assert seen[0] != seen[1]
    browser.previous.click()
    assert said(body(browser.result.value)) == seen[0]
    browser.number.value = 2
    assert said(body(browser.result.value)) == seen[1]


def test_nothing_found_is_said_and_nothing_shown(browser):
    browser.search.value = "no such words anywhere"
    assert "0 documents with" in browser.status.value
    assert browser.result.value == ""
    assert browser.previous.disabled
    assert browser.next.disabled
    browser.search.value = ""
    assert "Document 1 of" in browser.status.value


def test_hostile_documents_and_searches_stay_text(browser):
    browser.search.value = HOSTILE
    for number in (1, 2):
        browser.number.value = number
        tree = body(browser.result.value)
        assert {element.tag for element in tree.iter()} <= {
            *("div", "article", "dl", "dt", "dd", "p", "mark", "u", "i")
        }
        assert HOSTILE in said(tree)
    assert HOSTILE not in browser.status.value
    assert "&lt;img" in browser.status.value


def test_a_hit_that_cannot_be_seen_says_where_it_is(browser):
    browser.search.value = "river-ferry"
    assert "here in its id" in browser.status.value
    browser.search.value = "anna.borg@"
    assert "here in what is masked" in browser.status.value
    assert "[e-mail]" in browser.result.value
    assert "anna.borg" not in browser.result.value


def test_words_of_two_scripts_are_pointed_at(browser):
    browser.source.value = "planted"
    browser.search.value = "look-alikes"
    tree = body(browser.result.value)
    assert len(list(tree.iter("u"))) > 20
    assert all(re.search("[oAE]", said(word)) for word in tree.iter("u"))


def test_errors_are_shown_in_the_panel_and_nothing_old_stays(browser, monkeypatch):
    def fail(*asked):
        raise RuntimeError(f"broken {HOSTILE}")

    monkeypatch.setattr(samples.Samples, "find", fail)
    browser.search.value = "ferry"
    assert "Problem: broken &lt;img" in browser.status.value
    assert browser.result.value == ""


def test_every_control_is_named(browser):
    expect_named(browser)


def test_the_function_shows_the_same(inspected, browser):
    browser.language.value = "ell_Grek"
    browser.flag.value = "exact-duplicate"
    browser.search.value = "μέλι"
    made = widgets_text.samples(
        inspected, lang="Greek", flag="exact-duplicate", search="μέλι", number=1
    ).data
    assert browser.result.value.split('<div class="wb">')[1].removesuffix("</div>") in made
    assert said(body(browser.status.value)) in said(body(made))


def test_the_function_tells_what_is_not_there(inspected):
    with pytest.raises(UserError, match="there is no document 3; there are 2 to see"):
        widgets_text.samples(inspected, flag="exact-duplicate", number=3)
    with pytest.raises(UserError, match="did you mean 'repetition'"):
        widgets_text.samples(inspected, flag="repetitoin")
    assert "0 documents with" in widgets_text.samples(inspected, search="no such words").data


def test_a_search_that_was_cut_short_says_so(inspected, monkeypatch):
    monkeypatch.setattr(samples, "READ_BYTES", 1)
    assert "the rest was not looked at" in widgets_text.samples(inspected).data
