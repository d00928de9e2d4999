import json

import pytest

from workbench import commands, document
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
    weights = runs.sha256(run.path / "model" / "model.safetensors")
    assert card["General", "authenticity: SHA-256 of the weights"]["value"] == weights
    assert "evaluate/starter" in card["Record", "runs that build on it"]["value"]
    assert "Maltese" in papers[0].read_text(encoding="utf-8")
    summary = fields(papers[1])
    assert summary["2.5", "synthetic data"]["value"] == "starter"


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


def test_only_a_finished_pretraining_run_is_documented(series):
    with pytest.raises(UserError, match="tokenizer/starter is not one"):
        document.write(runs.find("tokenizer/starter"))


def test_text_from_a_record_cannot_become_markup():
    hostile = "<img src=x> | [a](b) `c`\n# d"
    assert document._inert(hostile) == "&lt;img src=x> \\| \\[a\\](b) \\`c\\` # d"
