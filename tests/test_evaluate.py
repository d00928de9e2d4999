import numpy as np
import pytest
from conftest import TAGS

from workbench import bits, commands, passages
from workbench import run as runs
from workbench.errors import UserError


def test_every_language_is_measured_before_and_after(series):
    rows = runs.find("evaluate/starter").read_result("languages")
    assert {row["tag"] for row in rows} == set(TAGS)
    for row in rows:
        assert row["base_low"] <= row["base_bits_per_byte"] <= row["base_high"]
        assert row["adapter_bits_per_byte"] != row["base_bits_per_byte"]
        assert row["documents"] == 3
        assert row["enough_documents"] is False, "three documents are too few to rank by"
        assert row["bytes_per_token"] > 1
    english = next(row for row in rows if row["tag"] == "eng_Latn")
    assert english["bits_relative_to_english"] == 1


def test_an_empty_split_is_the_users_mistake(series):
    with pytest.raises(UserError, match="no language has text in the split 'test'"):
        commands.run("recipes/evaluate/starter.yaml", "name=none", "data.test=0", quiet=True)


def test_parquet_and_json_hold_the_same(series):
    import pyarrow.parquet

    run = runs.find("evaluate/starter")
    rows = pyarrow.parquet.read_table(run.path / "languages.parquet").to_pylist()
    assert rows == run.read_result("languages")


def test_minimal_pairs_are_measured_before_and_after(series):
    run = runs.find("evaluate/starter")
    for row in run.read_result("languages"):
        assert row["pairs"] == len(passages.pairs(row["tag"]))
        for name in ("base", "adapter"):
            right = row[f"{name}_pairs_right"]
            assert row[f"{name}_pairs_low"] <= right <= row[f"{name}_pairs_high"]
            assert (right * row["pairs"]) % 1 == pytest.approx(0, abs=1e-6)
    phenomena = run.read_result("phenomena")
    for tag in TAGS:
        own = [row for row in phenomena if row["tag"] == tag]
        assert sum(row["pairs"] for row in own) == len(passages.pairs(tag))
        right = sum(row["base_pairs_right"] * row["pairs"] for row in own)
        (whole,) = (row for row in run.read_result("languages") if row["tag"] == tag)
        assert right / whole["pairs"] == pytest.approx(whole["base_pairs_right"])


def test_a_pair_is_right_when_the_correct_sentence_takes_fewer_bits(series, monkeypatch):
    def of_documents(model, shard, end, window, limit=None):
        # As if every good sentence (they come first) took one bit less than its bad twin.
        taken = np.arange(len(shard.ends), dtype=float)
        return (taken[: limit or None], shard.sizes[: limit or None])

    monkeypatch.setattr(bits, "of_documents", of_documents)
    run = commands.run("recipes/evaluate/starter.yaml", "name=sure", quiet=True)
    assert all(row["base_pairs_right"] == 1 for row in run.read_result("languages"))
