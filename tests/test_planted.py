import json
from collections import Counter

import pytest

from workbench import cleaning, commands, identify, passages, personal, planted, samples
from workbench import run as runs


@pytest.fixture(scope="module")
def found(inspected):
    """What became of every planted document, and of the sound ones that were dropped."""
    return {sample.id: sample for sample in samples.Samples(inspected).find().samples}


def test_every_planted_fault_is_found_for_the_right_reason(found):
    reasons = {name: sample.reason for name, sample in found.items() if "-" in name}
    for fault, count in planted.faults().items():
        expected = "" if fault in ("look-alikes", "personal-data") else fault
        got = [reasons[f"{fault}-{number}"] for number in range(1, count + 1)]
        assert got == [expected] * count, fault


def test_the_evaluation_set_is_found_in_the_sound_text(found):
    tainted = [sample for sample in found.values() if sample.reason == "contamination"]
    assert {sample.id for sample in tainted} == {"apples-at-the-market"}
    assert runs.find("inspect/inspected").record["happened"]["dropped"]["contamination"] == 2


def test_look_alikes_are_repaired_and_then_a_copy_shows(house, inspected):
    original = " ".join(passages.read("ell_Grek")["tax-letter"])
    (planted_text,) = (
        json.loads(line)["text"]
        for line in (house / "planted" / planted.TEXT).read_text().splitlines()
        if '"look-alikes-1"' in line
    )
    assert planted_text != original
    assert cleaning.mixed_words(planted_text, "Grek")
    again = commands.run(
        "recipes/inspect/starter.yaml",
        "name=inspected-again",
        f"data.sources=[{inspected}]",
        "data.languages=[el]",
        quiet=True,
    )
    (greek,) = again.read_result("languages")
    assert (greek["mixed_script_words"], greek["exact_duplicates"]) == (0, 1)


def test_the_numbers_are_published_examples_that_check():
    kinds = Counter(one.kind for one in personal.find(" or ".join(planted.EXAMPLES)))
    assert kinds == {personal.IBAN: 1, personal.CARD: 1}


def test_mislabelled_text_is_what_it_is_said_to_be(found):
    assert [identify.name(found[f"language-{n}"].detected) for n in (1, 2)] == [
        *("Finnish", "English")
    ]


def test_files_are_written_once_and_put_right_when_changed(tmp_path):
    first = planted.write(tmp_path)
    stamp = first.text.stat().st_mtime_ns
    assert planted.write(tmp_path).text.stat().st_mtime_ns == stamp
    first.text.write_text("changed")
    planted.write(tmp_path)
    rows = [json.loads(line) for line in first.text.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == sum(planted.faults().values())
    assert {row["source"] for row in rows} == {"planted"}
