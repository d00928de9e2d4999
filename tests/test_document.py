import json

import pytest

from workbench import commands, disk, document
from workbench import run as runs
from workbench.errors import UserError


@pytest.fixture(scope="module")
def papers(series):
    return commands.document("pretrain/starter")


def fields(paper):
    return {
        (row["section"], row["name"]): row
        for row in json.loads(paper.with_suffix(".json").read_text(encoding="utf-8"))
    }


def test_what_the_record_knows_is_filled(papers):
    run = runs.find("pretrain/starter")
    card = fields(papers[0])
    happened = run.record["happened"]
    assert f"{happened['parameters']:,}" in card["Properties", "parameters"]["value"]
    assert card["Compute", "training FLOP"]["value"] == f"{happened['flops']:.2g}"
    energy = card["Energy", "training energy"]
    assert happened["energy"]["source"] in energy["value"]
    assert happened["energy"]["boundary"] in energy["value"]
    assert (energy["status"], energy["source"]) == ("filled", "happened.energy")
    weights = disk.sha256(run.path / "model" / "model.safetensors")
    assert card["General", "authenticity: SHA-256 of the weights"]["value"] == weights
    assert "evaluate/starter" in card["Record", "runs that build on it"]["value"]
    assert "Maltese" in papers[0].read_text(encoding="utf-8")
    summary = fields(papers[1])
    assert summary["2.5", "synthetic data"]["value"] == "starter"


@pytest.mark.parametrize(("measured", "word"), [(True, ", measured"), (False, ", an estimate")])
def test_energy_says_how_it_is_known(measured, word):
    record = {"joules": 7.2e6, "source": "RAPL", "boundary": "packages", "measured": measured}
    assert document._energy(record).value == (
        f"7.20 MJ (2.00 kWh){word} over all sessions of the run: RAPL; boundary: packages"
    )
    unknown = document._energy(None)
    assert (unknown.value, unknown.status) == ("N/A: it was not measured", "not stated")


def test_nothing_is_attested_by_a_machine(papers):
    for paper in papers:
        for row in fields(paper).values():
            assert row["value"].strip().lower() not in ("yes", "no")
            assert (row["status"] == "filled") == bool(row["source"]), row
            if row["status"] == "to be attested":
                assert row["value"] == ""
    assert fields(papers[1])["3.1", "signatory of the Code of Practice"]["status"] == (
        "to be attested"
    )
    assert "A person has to attest" in papers[0].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def cleaned(series, tmp_path_factory):
    """A model whose text two inspections cleaned, one after the other."""
    folder = tmp_path_factory.mktemp("cleaned")
    row = {"lang": "mt", "text": "Ittra bla lingwa ċara. " * 9, "id": "x", "licence": "MIT"}
    bad = '{"id": "no text"}\n'
    (folder / "more.jsonl").write_text(json.dumps(row) + "\n" + bad, encoding="utf-8")
    for name, sources, filters in (
        ("first", f"[starter, {folder / 'more.jsonl'}]", "[length, repetition]"),
        ("second", "[inspect/first]", "[exact-duplicate]"),
    ):
        words = (f"name={name}", f"data.sources={sources}", f"clean.filters={filters}")
        commands.run("recipes/inspect/starter.yaml", *words, "clean.min_words=90", quiet=True)
    steps = ("train.steps=2", "train.warmup=1", "train.validate_every=2")
    words = ("name=cleaned", "data.sources=[inspect/second]", *steps)
    commands.run("recipes/pretrain/starter.yaml", *words, quiet=True)
    return runs.find("pretrain/cleaned")


def test_cleaned_text_is_stated_with_where_it_came_from(cleaned):
    summary = fields(document.write(cleaned)[1])
    assert summary["2.5", "synthetic data"]["value"] == "starter"
    assert summary["2.1", "local files"]["value"] == "1 files"
    first = summary["3.3", "curation by inspect/first"]
    happened = runs.find("inspect/first").record["happened"]
    assert happened["dropped"]["length"] > 0
    assert first["value"].startswith(
        f"{happened['documents']:,} documents were read and 1 set aside. Documents dropped by "
        f"filter, in this order: length {happened['dropped']['length']}, repetition "
        f"{happened['dropped']['repetition']}."
    )
    assert (first["status"], first["source"]) == ("filled", "inspect/first: happened.dropped")
    assert "exact-duplicate 0" in summary["3.3", "curation by inspect/second"]["value"]


def test_of_a_replaced_inspection_nothing_is_stated(cleaned, tmp_path):
    """What it had read and dropped is no longer known, so that there would be gaps."""
    manifest = runs.find("inspect/second").path / disk.MANIFEST
    before = manifest.read_text()
    manifest.write_text(before + "\n")
    with pytest.raises(UserError, match="from an earlier inspect/second, which has been replaced"):
        document.write(cleaned)
    manifest.write_text(before)


def test_only_a_finished_pretraining_run_is_documented(series):
    with pytest.raises(UserError, match="tokenizer/starter is not one"):
        document.write(runs.find("tokenizer/starter"))


def test_text_from_a_record_cannot_become_markup():
    hostile = "<img src=x> | [a](b) `c`\n# d"
    assert document._inert(hostile) == "&lt;img src=x> \\| \\[a\\](b) \\`c\\` # d"
