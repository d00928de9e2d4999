import json

import numpy as np
import pytest
from conftest import TAGS

from workbench import bits, commands, corpus, disk, goldfish, passages
from workbench import run as runs
from workbench.errors import UserError
from workbench.sections import Data


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


def held_out(tag):
    """The sentences of the passages that the starter recipes keep for the test."""
    texts = [
        sentence
        for name, sentences in passages.read(tag).items()
        if corpus.split_of(name, Data()) == "test"
        for sentence in sentences
    ]
    assert 3 < len(texts) < sum(map(len, passages.read(tag).values()))
    return texts


def test_second_halves_are_measured_before_and_after(series):
    run = runs.find("evaluate/starter")
    rows = run.read_result("languages")
    for row in rows:
        assert row["sentences"] == 3
        for name in ("base", "adapter"):
            low, high = row[f"{name}_second_half_low"], row[f"{name}_second_half_high"]
            assert 0 < low <= row[f"{name}_second_half_bits"] <= high
        assert row["adapter_second_half_bits"] != row["base_second_half_bits"]
        assert not any(column.startswith("goldfish") for column in row)
    assert run.record["happened"]["beside_goldfish"] is False


@pytest.fixture
def measured(monkeypatch):
    """What was measured, without measuring: each takes as many bits as it is long."""
    seen = []

    def of_second_halves(model, tokenizer, sentences, sequence):
        seen.append(list(sentences))
        return np.array([float(len(sentence)) for sentence in sentences])

    monkeypatch.setattr(bits, "of_second_halves", of_second_halves)
    return seen


def evaluated(name, *overrides):
    run = commands.run(
        "recipes/evaluate/starter.yaml",
        f"name={name}",
        "pairs=false",
        "adapters=",
        "documents=100",
        *overrides,
        quiet=True,
    )
    return run, {row["tag"]: row for row in run.read_result("languages")}


def parallel_text(path, *tags, ids=range(9)):
    rows = [{"id": str(n), "lang": tag, "text": f"{tag} {n}"} for tag in tags for n in ids]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_of_the_starter_corpus_only_held_out_sentences_are_measured(series, measured):
    _, rows = evaluated("starter-halves")
    assert measured == [held_out(tag) for tag in rows]
    for tag, row in rows.items():
        lengths = [len(sentence) for sentence in held_out(tag)]
        assert row["base_second_half_bits"] == pytest.approx(np.mean(lengths))


def test_what_the_base_learned_from_is_not_measured(series, measured, tmp_path):
    # Other documents are evaluated, but the base has read the starter corpus all the same.
    other = parallel_text(tmp_path / "other.jsonl", *TAGS)
    _, rows = evaluated("other-documents", f"data.sources=['{other}']", "data.test=0.5")
    assert measured == [held_out(tag) for tag in rows]


def test_other_sentences_are_measured_whole_and_goldfish_stands_beside_flores(
    series, measured, tmp_path
):
    source = parallel_text(tmp_path / "flores.jsonl", "mlt_Latn", "ell_Grek", "eng_Latn")
    run, rows = evaluated("flores", f"sentences=['{source}']", "documents=7")
    assert [len(one) for one in measured] == [7, 7, 7]
    assert rows["mlt_Latn"]["sentences"] == 7
    for tag, row in rows.items():
        assert row.items() >= goldfish.columns(tag).items()
    # Where there are no sentences, a row says so and has all columns.
    assert rows["kat_Geor"]["sentences"] == 0
    assert rows["kat_Geor"]["base_second_half_bits"] is None
    assert len({tuple(row) for row in rows.values()}) == 1
    assert run.record["happened"]["without_sentences"] == ["fin_Latn", "kat_Geor"]
    (told,) = run.record["happened"]["sentence_sources"]
    assert told["files"][0]["sha256"] == disk.sha256(source)


def test_sentences_can_be_left_out(series, measured):
    _, rows = evaluated("no-halves", "sentences=[]")
    assert measured == []
    assert not any("sentence" in column or "half" in column for column in rows["mlt_Latn"])


def test_sentences_that_cannot_be_measured_are_the_users_mistake(series, measured, tmp_path):
    alone = parallel_text(tmp_path / "alone.jsonl", "mlt_Latn")
    with pytest.raises(UserError, match="no ids in common in two or more"):
        evaluated("alone", f"sentences=['{alone}']")
    with pytest.raises(UserError, match="no such file"):
        evaluated("missing", "sentences=[nowhere.jsonl]")
    learned = [n for n in range(20) if corpus.split_of(str(n), Data()) == "train"]
    source = parallel_text(tmp_path / "learned.jsonl", *TAGS, ids=learned)
    with pytest.raises(UserError, match=r"no sentence of .* split 'test'; .* set sentences=\[\]"):
        evaluated("learned", f"data.sources=[starter, '{source}']", f"sentences=['{source}']")
    with pytest.raises(UserError, match="sentences"):
        evaluated("mistyped", "sentences=7")
