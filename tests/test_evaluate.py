import pytest
from conftest import TAGS

from workbench import commands
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
