"""One piece of text measured: the table, the tallies, the samples, and documents meant to harm."""

import errno
import itertools
import json
import shutil
import unicodedata
from collections import Counter

import numpy as np
import pyarrow.parquet
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from workbench import corpus, disk, duplicates, languages, passages, personal, signals, survey
from workbench.errors import OutOfSpace, Stopped
from workbench.sections import Data, Duplicates


def task(folder, rows, **more):
    """The task to measure rows, which are written as one file of JSON Lines."""
    file = folder / "text.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = Data(sources=[str(file)])
    settings = {
        "duplicates": Duplicates(),
        "tokenizer": "",
        "contamination": None,
        "contamination_words": 13,
    }
    (folder / "parts").mkdir(exist_ok=True)
    return survey.Task(
        number=0,
        sources=tuple(corpus.resolve(data)),
        data=data,
        folder=folder / "parts",
        stop=folder / "stop",
        **(settings | more),
    )


def measured(folder, rows, **more):
    """The table's columns and the tallies of rows."""
    what = task(folder, rows, **more)
    survey.measure(what)
    table = pyarrow.parquet.read_table(what.path / survey.TABLE)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    return columns, disk.read_json(what.path / survey.TALLY)


def documents(*texts, lang="mt", **more):
    return [{"id": f"d{n}", "lang": lang, "text": text, **more} for n, text in enumerate(texts)]


def every_file(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def starter(tag, count=None):
    return [" ".join(own) for own in itertools.islice(passages.read(tag).values(), count)]


def test_a_row_of_the_table_by_hand(tmp_path):
    row = {
        "id": "x",
        "lang": "mt",
        "text": " Il-vapur jitlaq.\nIkteb lil ġanni@dar.mt! ",
        "source": "port",
        "licence": "CC0-1.0",
        "url": "https://www.dar.mt/a?b",
    }
    table, tally = measured(tmp_path, [row])
    found = {name: column[0] for name, column in table.items()}
    expected = {
        "id": "x",
        "lang": "mlt_Latn",
        "source": "port",
        "licence": "CC0-1.0",
        "domain": "dar.mt",
        "opening": row["text"],
        "words": 7,
        "lines": 2,
        "characters": 42,
        "bytes": 43,
        "e-mail": 1,
        "phone": 0,
        "own_script_share": 1.0,
        "contaminated": 0,
    }
    assert {name: found[name] for name in expected} == expected
    assert set(table) >= {*signals.SIGNALS, *personal.KINDS}
    assert tally["totals"] == {"documents": 1, "bytes": 43}
    assert tally["languages"]["mlt_Latn"]["personal"]["e-mail"] == ["ġ…@….mt"]


def test_the_same_text_has_the_same_hash_however_it_is_composed(tmp_path):
    text = "Ħobża friska u ġobon, għażiż ħabib."
    forms = [text, f"\n {text}\t", unicodedata.normalize("NFD", text), text.upper()]
    table, _ = measured(tmp_path, documents(*forms))
    assert len(set(table["hash"][:3])) == 1
    assert table["hash"][3] != table["hash"][0]
    assert table["not_nfc"] == [0, 0, 1, 0]


def test_characters_are_counted_for_each_language_alone(tmp_path):
    rows = documents("ab\0a", "b") + documents("αβ β", lang="el") + documents("a\0")
    _, tally = measured(tmp_path, rows)
    counts = {
        tag: {chr(int(point)): count for point, count in own["characters"].items()}
        for tag, own in tally["languages"].items()
    }
    assert counts == {
        "mlt_Latn": {"\0": 2, "a": 3, "b": 2},
        "ell_Grek": {"α": 1, "β": 2, " ": 1},
    }


def test_lines_and_sequences_that_come_again(tmp_path):
    line = "Kopja tal-avviż fil-bieb ewlieni"
    words = [f"kelma{n}" for n in range(200)]
    rows = documents(f"{line}\n{' '.join(words)}", f"  {line}  \nqasir\nqasir", line)
    _, tally = measured(tmp_path, rows + documents(" ".join(words[50:]), lang="fi"))
    own = tally["languages"]["mlt_Latn"]
    assert [(count, text) for _, count, text in own["lines"]] == [(3, line)]
    assert own["sequences"] == [], "twice, but in two languages"
    shutil.rmtree(tmp_path / "parts")
    _, tally = measured(tmp_path, documents(" ".join(words), " ".join(words[50:]), "x y"))
    found = tally["languages"]["mlt_Latn"]["sequences"]
    hashes = signals.Batch([" ".join(words)]).word_hash
    begins = [n for n in range(50, 193) if hashes[n] % np.uint64(survey.SEQUENCE_SAMPLING) == 0]
    assert sorted(text for _, _, text in found) == sorted(
        " ".join(words[n : n + survey.SEQUENCE_WORDS]) for n in begins
    )
    assert {count for _, count, _ in found} == {2}


def repeated(texts, batch=50):
    counts = survey.Repeated()
    for start in range(0, len(texts), batch):
        own = signals.Batch(texts[start : start + batch])
        counts.add(own.line_hash, own.line_start, own.line_end, own)
    return counts


def test_counts_are_exact_where_memory_allows():
    texts = [f"linja {n % 7}" for n in range(100)]
    true = Counter(texts)
    assert {text: count for _, count, text in repeated(texts).most()} == dict(true)


def test_counts_in_bounded_memory_keep_what_is_frequent(monkeypatch):
    """Lossy counting's guarantee: too low by at most one for each span of stretches."""
    monkeypatch.setattr(survey, "COUNTED", 100)
    random = np.random.default_rng(4)
    texts = [f"frekwenti {n}" for n in range(5) for _ in range(150)]
    texts += [f"darba {n}" for n in range(4000)]
    random.shuffle(texts)
    counts = repeated(texts)
    spans = len(texts) // 100
    found = {text: count for _, count, text in counts.most()}
    for n in range(5):
        assert 150 - spans <= found[f"frekwenti {n}"] <= 150
    assert len(counts._counts) < 400, "of 4005"


def test_words_frequent_in_a_language_are_its_particles():
    words = signals.Batch(["the and to of a"])
    known = survey.frequent_words("eng_Latn")
    assert np.isin(words.word_hash, known).all()
    assert not np.isin(signals.Batch(["ferry library simultaneously"]).word_hash, known).any()
    for tag in languages.tags():
        assert len(survey.frequent_words(tag)) > 10, tag


@pytest.mark.parametrize("shared", [12, 13, 30])
def test_thirteen_words_in_a_row_are_contamination_and_twelve_are_not(tmp_path, shared):
    evaluation = [f"mistoqsija{n}" for n in range(40)]
    batch = signals.Batch([" ".join(evaluation)])
    hashes, _ = duplicates.shingles(batch.word_hash, batch.doc_words, 13)
    np.save(tmp_path / "evaluation.npy", np.unique(hashes))
    own = [f"kelma{n}" for n in range(20)]
    copied = [*own, *(word.upper() for word in evaluation[5 : 5 + shared]), *own]
    texts = [" ".join(copied), " ".join(own), " ".join(evaluation[:12]), "kelma"]
    table, _ = measured(tmp_path, documents(*texts), contamination=tmp_path / "evaluation.npy")
    assert table["contaminated"] == [max(0, shared - 12), 0, 0, 0]


def test_tokens_are_counted_without_trust(tmp_path):
    """What spells the end of a text is text, and a file's truncation and padding do not count."""
    made = tokenizers.Tokenizer(models.WordLevel({"kelma": 0, "?": 1}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<|end|>"])
    made.enable_truncation(3)
    made.enable_padding(length=10)
    made.save(str(tmp_path / "t.json"))
    table, _ = measured(
        tmp_path, documents("kelma " * 7, "<|end|><|end|> x"), tokenizer=str(tmp_path / "t.json")
    )
    assert table["tokens"] == [7, 2]


def test_samples_are_the_lowest_hashes_and_no_text_twice(tmp_path):
    texts = starter("mlt_Latn") + starter("mlt_Latn", 30) + ["xi ħaġa ġanni@dar.mt"]
    what = task(tmp_path, documents(*texts))
    survey.measure(what)
    rows = disk.read_jsonl(what.path / survey.SAMPLES)
    table = pyarrow.parquet.read_table(what.path / survey.TABLE)
    ranks = sorted(set(table["hash"].to_pylist()))
    plain = [row for row in rows if row["of"] == ""]
    assert [row["rank"] for row in plain] == ranks[: survey.SAMPLE[""]]
    assert len({row["text"] for row in plain}) == len(plain)
    (private,) = [row for row in rows if row["of"] == "personal-data"]
    assert private["flags"] == ["personal-data"]
    assert private["id"] == f"d{len(texts) - 1}"


HOSTILE = {
    "a long line": "kelma żgħira " * 400_000,
    "no break at all": "ħ" * 300_000,
    "combining marks": "\u0301\u0327\u200d" * 1000,
    "one letter under many marks": "a" + "\u0300" * 50_000,
    "null": "nofs\0nofs\0\0",
    "control": "".join(map(chr, range(32))),
    "carriage returns": "linja\rlinja\r\rlinja\r\n\rlinja",
    "right to left": "\u202bشكرا \u202eabc\u202c\u2067x\u2069\u200f",
    "lines": "x\n" * 60_000,
    "blank lines": "\n \t\n" * 20_000 + "x",
    "separators": "a\u2028b\u2029c\x85d\x1ce\x0bf\x0cg",
    "signs": "@" * 5000 + "." * 5000 + "#" * 5000 + "…" * 500,
    "numbers": "1234567890 " * 5000,
    "almost addresses": "a@b." * 5000,
    "noncharacters": "\ufffe\uffff\U0010ffff\ufdd0",
    "emoji": "👩‍👩‍👧‍👦🏴󠁧󠁢󠁳󠁣󠁴󠁿" * 200,
    "markup": "<script>alert(1)</script>" * 50,
    "surrogates of old": "Ã©Ã¨â€™" * 300,
    "plain": "Il-vapur jitlaq kmieni filgħodu.",
}


def test_documents_meant_to_harm_are_measured_like_others(tmp_path):
    rows = [{"id": name, "lang": "mt", "text": text} for name, text in HOSTILE.items()]
    table, tally = measured(tmp_path, rows)
    assert table["id"] == list(HOSTILE)
    assert table["characters"] == [len(text) for text in HOSTILE.values()]
    assert table["bytes"] == [len(text.encode()) for text in HOSTILE.values()]
    assert tally["faults"]["total"] == 0
    assert sum(tally["languages"]["mlt_Latn"]["characters"].values()) == sum(table["characters"])
    by_name = {name: table["control"][n] for n, name in enumerate(table["id"])}
    assert by_name["null"] == 3
    assert by_name["control"] == 32 - 3
    # Each is measured the same next to others and alone.
    for name in ("lines", "null", "emoji", "plain", "almost addresses"):
        alone, _ = measured_alone(tmp_path, rows[list(HOSTILE).index(name)])
        number = table["id"].index(name)
        del alone["source"]
        assert {k: v[0] for k, v in alone.items()} == {k: table[k][number] for k in alone}


def measured_alone(folder, row):
    below = folder / f"alone-{row['id']}"
    below.mkdir()
    return measured(below, [row])


def test_ten_thousand_equal_documents(tmp_path):
    text = "Avviż: il-ħanut jagħlaq fil-ħamsa."
    what = task(tmp_path, documents(*[text] * 10_000, id="same"))
    assert survey.measure(what)["documents"] == 10_000
    rows = disk.read_jsonl(what.path / survey.SAMPLES)
    assert [row["of"] for row in rows] == [""], "one text is one sample"
    (line,) = disk.read_json(what.path / survey.TALLY)["languages"]["mlt_Latn"]["lines"]
    assert line[1:] == [10_000, text]
    assert len(np.unique(survey.bands(what.path, what.duplicates), axis=0)) == 1


def test_a_piece_without_documents(tmp_path):
    what = task(tmp_path, [{"text": "no language"}], duplicates=Duplicates(verify=0.5))
    what.sources[0].path.write_text("{\n[]\n", encoding="utf-8")
    assert survey.measure(what) == {"documents": 0, "bytes": 0}
    assert survey.bands(what.path, what.duplicates).shape == (0, 14)
    assert survey.signatures(what.path, what.duplicates).shape == (0, 112)
    assert disk.read_json(what.path / survey.TALLY)["faults"]["total"] == 2


def test_identifiers_may_be_missing_or_the_same(tmp_path):
    rows = [{"lang": "mt", "text": f"test {n}"} for n in range(3)]
    rows += [{"id": "a", "lang": "mt", "text": f"ieħor {n}"} for n in range(2)]
    table, _ = measured(tmp_path, rows)
    names = [name.rpartition("/")[2] for name in table["id"]]
    assert names == ["text.jsonl:1", "text.jsonl:2", "text.jsonl:3", "a", "a"]


def test_batches_and_row_groups_do_not_show(tmp_path, monkeypatch):
    rows = documents(*starter("mlt_Latn", 20), *starter("ell_Grek", 20))
    for row, tag in zip(rows, ["mt"] * 20 + ["el"] * 20, strict=True):
        row["lang"] = tag
    verified = Duplicates(verify=0.7)
    whole, tally = measured(tmp_path, rows, duplicates=verified)
    files = every_file(tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts")
    monkeypatch.setattr(signals, "BATCH_CHARACTERS", 2000)
    monkeypatch.setattr(survey, "GROUP_DOCUMENTS", 7)
    again, tally_again = measured(tmp_path, rows, duplicates=verified)
    assert (
        pyarrow.parquet.read_metadata(tmp_path / "parts" / "000000" / survey.TABLE).num_row_groups
        > 3
    )
    assert again == whole
    assert tally_again == tally
    for name in (survey.BANDS, survey.SIGNATURES, survey.SAMPLES):
        assert (tmp_path / "parts" / "000000" / name).read_bytes() == files[f"000000/{name}"]


def test_a_finished_piece_is_not_measured_again(tmp_path, monkeypatch):
    what = task(tmp_path, documents("Il-vapur jitlaq."))
    first = survey.measure(what)
    before = every_file(tmp_path)
    monkeypatch.setattr(survey, "_Piece", None)
    assert survey.measure(what) == first
    assert every_file(tmp_path) == before


def test_work_stops_when_it_is_asked_to_and_leaves_nothing(tmp_path):
    what = task(tmp_path, documents("Il-vapur jitlaq."))
    what.stop.touch()
    with pytest.raises(Stopped):
        survey.measure(what)
    assert list(what.folder.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    what = task(tmp_path, documents("Il-vapur jitlaq."))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(pyarrow.parquet.ParquetWriter, "write_table", full)
        with pytest.raises(OutOfSpace, match="make room and run the same command again"):
            survey.measure(what)
    assert list(what.folder.iterdir()) == []
    assert survey.measure(what)["documents"] == 1
