import io
import json
import shutil
from collections import Counter

import pytest
import sentencepiece
import tokenizers
import yaml

from workbench import (
    corpus,
    cutters,
    fairness,
    languages,
    parallel,
    passages,
    recipe,
    tokenizer,
    vocabulary,
)
from workbench import run as runs
from workbench.errors import UserError

THREE = ["mlt_Latn", "eng_Latn", "ell_Grek"]
SMALL = {
    "kind": "tokenizer",
    "name": "small",
    "why": "Does it hold together?",
    "data": {"languages": THREE, "test": 0.2},
    "vocabulary": {"size": 500},
    "resamples": 100,
}


def asked(**changes):
    """Return the small recipe with ``changes``, which add to what it says."""
    content = {
        key: value | changes.pop(key, {}) if isinstance(value, dict) else changes.pop(key, value)
        for key, value in SMALL.items()
    }
    return recipe.parse(yaml.safe_dump(content | changes))


def make(**changes):
    wanted = asked(**changes)
    run = runs.Run.begin(wanted)
    vocabulary.make(run, wanted)
    return run


def documents(path, tag, texts):
    rows = [{"id": f"{n}", "lang": tag, "text": text} for n, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_the_series_measures_every_language_on_held_out_text(series):
    run = runs.find("tokenizer/starter")
    rows = run.read_result("languages")
    wanted = recipe.load(series / "recipes/tokenizer/starter.yaml")
    assert [row["tag"] for row in rows] == [
        one.tag for one in languages.select(wanted.data.languages)
    ]
    held_out = parallel.read(["starter"], wanted.data.languages, corpus.Faults()).where(
        "test", wanted.data
    )
    happened = run.record["happened"]
    assert happened["parallel_sentences"] == len(held_out.ids) > 0
    assert happened["without_parallel"] == []
    assert happened["vocabulary"] == wanted.vocabulary.size
    cutter = cutters.cutter("tokenizer/starter")
    costs = cutters.sentence_costs(cutter, held_out.texts)
    english = costs["eng_Latn"].sum()
    for row in rows:
        tokens = costs[row["tag"]].sum()
        assert row["tokens"] == tokens
        assert row["tokens_per_sentence"] == tokens / len(held_out.ids)
        assert row["tokens_relative_to_english"] == pytest.approx(tokens / english)
        assert row["relative_low"] <= row["tokens_relative_to_english"] <= row["relative_high"]
        assert row["relative_to"] == "English"
        assert row["verdict"] in ("pass", "warn", "fail")
        assert row["own_text_documents"] > 0
        assert row["own_text_characters_per_token"] > 1


def test_the_series_leads_to_parity_and_says_by_how_much(series):
    run = runs.find("tokenizer/starter")
    (row,) = run.read_result("comparison")
    assert row["tokenizer"] == vocabulary.OWN
    assert row["gini"] == run.record["happened"]["gini"]
    assert 0 <= row["gini_low"] < row["gini_high"] < 0.1
    counts = [one["tokens"] for one in run.read_result("languages")]
    assert row["gini"] == pytest.approx(fairness.gini(counts))
    assert row["max_to_min"] == max(counts) / min(counts)
    assert row["tokens"] == sum(counts)
    assert set(run.record["happened"]["weights"]) == set(run.record["happened"]["leading_tokens"])
    scripts = {one["script"]: one["tokens"] for one in run.read_result("scripts")}
    assert sum(scripts.values()) == row["size"]
    assert not (run.path / "others.json").exists()


def test_parity_is_fairer_than_frequency_alone_on_unseen_text(empty_runs):
    gini = {
        parity: make(name=f"p{n}", vocabulary={"parity": parity}).read_result("comparison")[0]
        for n, parity in enumerate([0.03, 0])
    }
    assert gini[0.03]["gini"] < gini[0]["gini"] / 2
    assert gini[0.03]["size"] == gini[0]["size"] == 500


def test_others_are_measured_beside_it(empty_runs, tmp_path):
    texts = [" ".join(one) for one in passages.read("eng_Latn").values()]
    foreign = tmp_path / "tokenizer.json"
    tokenizer.train(iter(texts), 400).save(str(foreign))
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        vocab_size=600,
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
    )
    model = tmp_path / "other.model"
    model.write_bytes(written.getvalue())
    run = make(against=[str(foreign), str(model)])
    compared = {row["tokenizer"]: row for row in run.read_result("comparison")}
    assert list(compared) == [vocabulary.OWN, str(foreign), str(model)]
    assert [row["size"] for row in compared.values()] == [500, 400, 600]
    # Two that have seen English only charge the others more.
    for name in (str(foreign), str(model)):
        assert compared[name]["gini_low"] > compared[vocabulary.OWN]["gini_high"]
        assert compared[name]["cheapest"] == "eng_Latn"
    rows = run.read_result("others")
    assert [(row["tokenizer"], row["tag"]) for row in rows] == [
        (name, language.tag)
        for name in (str(foreign), str(model))
        for language in languages.select(THREE)
    ]
    greek = next(row for row in rows if (row["tokenizer"], row["tag"]) == (str(model), "ell_Grek"))
    opened = sentencepiece.SentencePieceProcessor(model_file=str(model))
    held_out = parallel.read(["starter"], THREE, corpus.Faults()).where("test", asked().data)
    assert greek["tokens"] == sum(map(len, opened.encode(held_out.texts["ell_Grek"])))


def test_each_tokenizer_encodes_the_parallel_text_once(empty_runs, tmp_path, monkeypatch):
    foreign = tmp_path / "tokenizer.json"
    tokenizer.train(iter(passages.read("eng_Latn")["river-ferry"]), 300, 1).save(str(foreign))
    seen = Counter()
    encode = cutters.FastCutter.encode
    monkeypatch.setattr(
        cutters.FastCutter,
        "encode",
        lambda cutter, texts: (
            seen.update((cutter.size, text) for text in texts) or encode(cutter, texts)
        ),
    )
    make(name="once", against=[str(foreign)])
    held_out = parallel.read(["starter"], THREE, corpus.Faults()).where("test", asked().data)
    for size in (500, 300):
        assert {seen[size, text] for own in held_out.texts.values() for text in own} == {1}


def test_unigram_is_learned_without_parity(empty_runs):
    run = make(vocabulary={"model": "unigram", "parity": 0})
    assert run.read_result("comparison")[0]["size"] == 500
    saved = tokenizers.Tokenizer.from_file(str(run.path / "tokenizer" / "tokenizer.json"))
    assert json.loads(saved.to_str())["model"]["type"] == "Unigram"
    assert "weights" not in run.record["happened"]
    with pytest.raises(UserError, match="with 'unigram' set parity: 0"):
        asked(vocabulary={"model": "unigram"})


def test_one_language_is_compared_with_nothing(empty_runs):
    run = make(data={"languages": ["mt"]})
    assert run.read_result("comparison") == []
    (row,) = run.read_result("languages")
    assert (row["tag"], row["tokens_relative_to_english"]) == ("mlt_Latn", 1)
    assert row["relative_to"] == "mean"
    assert run.record["happened"]["gini"] is None


def test_a_mistyped_name_is_told_before_anything_is_read(empty_runs):
    with pytest.raises(UserError, match=r"no tokenizer at 'tokenisers/x\.json'") as told:
        make(against=["tokenisers/x.json"], data={"sources": ["no/such/file.jsonl"]})
    assert "\n" not in str(told.value)
    with pytest.raises(UserError, match="tokenizer/smal"):
        make(name="other", against=["tokenizer/smal"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": {"test": 0}}, "tokenizer/small: no parallel sentence falls into the test split"),
        ({"data": {"test": 0.99, "validation": 0}}, "none is left to lead to parity"),
        (
            {"vocabulary": {"size": 60000}},
            r"fills only [\d,]+ of the 60,000 tokens.*set vocabulary\.size=\d+00 or add text",
        ),
        (
            {"vocabulary": {"size": 60000, "parity": 0}},
            r"fills only [\d,]+ of the 60,000 tokens.*set vocabulary\.size=\d+00 or add text",
        ),
    ],
)
def test_text_that_does_not_suffice_is_told(empty_runs, changes, told):
    with pytest.raises(UserError, match=told) as fault:
        make(**changes)
    assert "\n" not in str(fault.value)


def test_no_size_is_proposed_that_would_be_refused(empty_runs, tmp_path):
    source = documents(tmp_path / "tiny.jsonl", "mlt_Latn", ["Il-vapur jitlaq"] * 5)
    with pytest.raises(UserError, match="asked for; add text"):
        make(data={"sources": [source]})


@pytest.mark.parametrize("parity", [0.03, 0])
def test_sources_without_documents_are_told(empty_runs, tmp_path, parity):
    source = documents(tmp_path / "other.jsonl", "fra_Latn", ["Le bateau part à huit heures."])
    with pytest.raises(UserError, match="the sources of tokenizer/small hold no document"):
        make(data={"sources": [source]}, vocabulary={"parity": parity})


def test_each_language_gives_so_much_text_and_reading_ends(empty_runs, tmp_path):
    text = " ".join(passages.read("mlt_Latn").popitem()[1])
    source = documents(tmp_path / "long.jsonl", "mlt_Latn", [text] * 400)
    size = len(text.encode())
    run = make(
        data={"sources": ["starter", source]},
        vocabulary={"bytes_per_language": 100 * size, "parity": 0, "size": 400},
    )
    happened = run.record["happened"]
    assert 100 * size <= happened["trained_on_bytes"]["mlt_Latn"] < 101 * size + 2000
    starter = len(passages.read("mlt_Latn"))
    assert happened["documents"]["ell_Grek"] == starter
    # Twice the text, of which a fifth is held out, and not all that there is.
    assert starter < happened["documents"]["mlt_Latn"] < 260 + starter


def test_what_cannot_be_read_is_counted_and_set_aside(empty_runs, tmp_path):
    source = tmp_path / "broken.jsonl"
    source.write_text("{broken\n", encoding="utf-8")
    run = make(data={"sources": ["starter", str(source)]})
    assert run.record["happened"]["faults"]["total"] == 1
    assert (run.path / runs.QUARANTINE).exists()


def test_the_record_repeats_the_run(empty_runs):
    run = make()
    first = (run.path / "tokenizer" / "tokenizer.json").read_bytes()
    run.leave("stopped")
    shutil.rmtree(run.path)
    assert (make().path / "tokenizer" / "tokenizer.json").read_bytes() == first
