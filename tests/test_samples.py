import shutil
import unicodedata

import pytest
from conftest import HOSTILE

from workbench import run as runs
from workbench import samples
from workbench.errors import UserError
from workbench.samples import Sample, Samples


@pytest.fixture(scope="module")
def everything(inspected):
    return Samples(inspected)


def ids(found):
    return [sample.id for sample in found.samples]


def test_nothing_asked_gives_the_sample_first_and_then_what_was_dropped(everything):
    found = everything.find()
    assert found.total == len(found.samples)
    assert not found.cut_short
    assert len({sample.key for sample in found.samples}) == found.total
    # The sample, then dropped documents that are not in it.
    kinds = [sample.random or bool(sample.flags) for sample in found.samples]
    assert kinds == sorted(kinds, reverse=True)
    dropped = runs.find("inspect/inspected").record["happened"]["dropped"]
    assert sum(bool(sample.reason) for sample in found.samples) == sum(dropped.values())


def test_filters_take_any_name_of_a_language_a_source_and_a_flag(everything):
    assert {sample.lang for sample in everything.find("malti").samples} == {"mlt_Latn"}
    assert {sample.source for sample in everything.find(source="planted").samples} == {"planted"}
    copies = everything.find(flag="exact-duplicate")
    assert sorted(ids(copies)) == ["exact-duplicate-1", "exact-duplicate-2"]
    drawn = everything.find("Finnish", flag=samples.RANDOM)
    assert all(sample.random for sample in drawn.samples)
    assert all(sample.reason for sample in everything.find(flag=samples.DROPPED).samples)
    assert everything.find("mt", "planted", "language", "planted").total == 0


def test_a_flag_is_what_objects_also_where_nothing_was_dropped_for_it(everything):
    flagged = everything.find(flag="personal-data").samples
    assert {"personal-data-1", HOSTILE} <= {sample.id for sample in flagged}
    assert {sample.reason for sample in flagged} == {""}


def test_a_document_of_the_sample_that_was_dropped_is_shown_once_with_its_reason(everything):
    (sample,) = everything.find(source="planted", flag="repetition").samples
    assert (sample.reason, "repetition" in sample.flags) == ("repetition", True)
    assert sample.detected == "eng_Latn"
    assert len(sample.text) == sample.characters


@pytest.mark.parametrize(
    ("search", "text", "hits"),
    [
        ("LANĊA", "Il-lanċa l-oħra, il-LANĊA", ["lanċa", "LANĊA"]),
        ("lanċa", unicodedata.normalize("NFD", "Lanċa"), [unicodedata.normalize("NFD", "Lanċa")]),
        ("STRASSE", "eine Straße", ["Straße"]),
        ("τησ", "της ΤΗΣ", ["της", "ΤΗΣ"]),
        ("a.c", "abc a.c", ["a.c"]),
        ("წყალი", "ცივი წყალი", ["წყალი"]),
        ("(", "a(b", ["("]),
    ],
)
def test_a_search_takes_letters_for_what_they_are_in_any_case(search, text, hits):
    marks = made(text).marks(search)
    assert [text[mark.start : mark.end] for mark in marks if mark.kind == "hit"] == hits


def test_a_search_looks_at_ids_too(everything):
    assert "water-cycle" in ids(everything.find("el", search="WATER-cyc"))
    assert everything.find(search=HOSTILE).total == 2


def test_words_of_two_scripts_are_pointed_at(everything):
    text = "η λέξη νερo και πάλι νερo, όχι νερό"
    found = [text[mark.start : mark.end] for mark in made(text, "ell_Grek").marks()]
    assert found == ["νερo", "νερo"]


def test_personal_data_can_be_masked(everything):
    (sample,) = everything.find(source="planted", flag="personal-data").samples
    assert "4111" in sample.text
    masked = sample.masked()
    assert "4111" not in masked.text
    assert "[card number]" in masked.text


def test_what_is_known_of_a_document_is_said_in_words(everything):
    (sample,) = everything.find(source="planted", flag="language", lang="mt").samples
    told = sample.beginning(50).about()
    assert told["language"] == "Maltese"
    assert told["detected as"] == "Finnish"
    assert told["characters"] == f"{sample.characters:,}, of which 50 are shown"
    assert told["dropped for"] == "language"


def test_a_search_that_reads_much_stops_and_says_so(everything, monkeypatch):
    monkeypatch.setattr(samples, "READ_BYTES", 1000)
    assert everything.find(flag=samples.DROPPED).cut_short
    monkeypatch.undo()
    monkeypatch.setattr(samples, "KEPT", 1)
    found = everything.find(flag="exact-duplicate")
    assert (found.total, len(found.samples)) == (2, 1)


def test_a_few_documents_for_every_reason(everything):
    examples = everything.examples(1)
    assert list(examples)[:3] == ["characters", "length", "language"]
    assert {len(own) for own in examples.values()} == {1}
    assert examples["script"][0].id == "script-1"
    # Five in three languages: one of each before a second one of any.
    turns = [sample.lang for sample in everything.examples(5)["quality"]]
    assert len(set(turns[:3])) == 3
    assert len(turns) == 5


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"lang": "fr"}, "no language 'fra_Latn'"),
        ({"lang": "Malteze"}, "did you mean 'Maltese'"),
        ({"source": "plantd"}, "did you mean 'planted'"),
        ({"flag": "qualty"}, "did you mean 'quality'"),
    ],
)
def test_what_the_inspection_does_not_have_is_told_with_the_nearest(everything, asked, told):
    with pytest.raises(UserError, match=told):
        everything.find(**asked)


def test_a_run_without_samples_and_a_damaged_file_are_told(series, inspected, tmp_path):
    with pytest.raises(UserError, match="no finished inspection"):
        Samples("tokenizer/starter")
    copy = tmp_path / "inspect" / "copy"
    shutil.copytree(runs.find(inspected).path, copy)
    (file,) = sorted((copy / "dropped").glob("*.zst"))[:1]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match=f"{file.name} is damaged"):
        Samples(str(copy)).find()


def made(text, lang="mlt_Latn"):
    return Sample("id", lang, "source", "", "", text, len(text))
