import json

import pytest

from workbench import corpus, languages, parallel, passages
from workbench.errors import UserError
from workbench.sections import Data


def written(path, rows):
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def rows(tag, numbers, prefix="s"):
    return [{"id": f"{prefix}{n}", "lang": tag, "text": f"{tag} {n}"} for n in numbers]


def test_the_starter_corpus_is_parallel_in_every_language():
    same = parallel.read(["starter"], ["all"], corpus.Faults())
    assert set(same.texts) == set(languages.tags())
    assert same.incomplete == []
    assert {len(own) for own in same.texts.values()} == {len(same.ids)}
    name, sentences = next(iter(passages.read("mlt_Latn").items()))
    assert same.texts["mlt_Latn"][: len(sentences)] == sentences
    assert same.ids[: len(sentences)] == [f"{name}#{n}" for n in range(len(sentences))]


def test_splits_part_the_text_and_keep_passages_whole():
    data = Data(validation=0.2, test=0.2)
    same = parallel.read(["starter"], ["mt", "el"], corpus.Faults())
    parts = {split: same.where(split, data) for split in corpus.SPLITS}
    assert sorted(name for part in parts.values() for name in part.ids) == sorted(same.ids)
    passages_of = [{name.split("#")[0] for name in part.ids} for part in parts.values()]
    assert all(passages_of)
    assert sum(map(len, passages_of)) == len(set.union(*passages_of))
    # A sentence lies in the split of the passage that it is part of, as in every other run.
    for split, part in parts.items():
        assert {corpus.split_of(name.split("#")[0], data) for name in part.ids} == {split}
        for number, name in enumerate(part.ids):
            assert part.texts["ell_Grek"][number] == parallel.starter("ell_Grek")[name]


def test_documents_with_the_same_id_say_the_same(tmp_path):
    source = written(
        tmp_path / "all.jsonl",
        [*rows("mlt_Latn", [1, 2, 3]), *rows("ell_Grek", [3, 1, 2]), *rows("fra_Latn", [1, 2, 3])],
    )
    same = parallel.read([source], ["mt", "el"], corpus.Faults())
    # In the order of the registry's first language.
    assert same.ids == ["s3", "s1", "s2"]
    assert same.texts == {
        "mlt_Latn": ["mlt_Latn 3", "mlt_Latn 1", "mlt_Latn 2"],
        "ell_Grek": ["ell_Grek 3", "ell_Grek 1", "ell_Grek 2"],
    }


def test_what_one_language_misses_is_left_out_everywhere(tmp_path):
    source = written(
        tmp_path / "all.jsonl", [*rows("mlt_Latn", range(10)), *rows("ell_Grek", range(1, 10))]
    )
    same = parallel.read([source], ["mt", "el"], corpus.Faults())
    assert same.ids == [f"s{n}" for n in range(1, 10)]
    assert same.incomplete == []


def test_a_language_with_many_gaps_is_named_and_left_out(tmp_path):
    source = written(
        tmp_path / "all.jsonl",
        [
            *rows("mlt_Latn", range(10)),
            *rows("ell_Grek", range(10)),
            *rows("kat_Geor", range(7)),
        ],
    )
    same = parallel.read([source], ["mt", "el", "ka", "fi"], corpus.Faults())
    assert len(same.ids) == 10
    assert set(same.texts) == {"mlt_Latn", "ell_Grek"}
    assert set(same.incomplete) == {"kat_Geor", "fin_Latn"}


def test_sources_add_up_and_the_first_version_stays(tmp_path):
    more = written(
        tmp_path / "more.jsonl",
        [
            {"id": "s1", "lang": "mlt_Latn", "text": "the first"},
            *rows("mlt_Latn", [1, 2]),
            *rows("ell_Grek", [1, 2]),
        ],
    )
    same = parallel.read(["starter", more], ["mt", "el"], corpus.Faults())
    assert len(same.ids) == len(parallel.starter("mlt_Latn")) + 2
    assert same.texts["mlt_Latn"][same.ids.index("s1")] == "the first"


def test_what_cannot_be_read_is_counted(tmp_path):
    file = tmp_path / "all.jsonl"
    written(file, [*rows("mlt_Latn", [1, 2]), *rows("ell_Grek", [1, 2])])
    with file.open("a", encoding="utf-8") as out:
        out.write("{broken\n")
    faults = corpus.Faults()
    assert len(parallel.read([str(file)], ["mt", "el"], faults).ids) == 2
    assert faults.total == 1


def test_text_without_common_ids_is_refused(tmp_path):
    apart = written(
        tmp_path / "apart.jsonl",
        [*rows("mlt_Latn", [1, 2], prefix="a"), *rows("ell_Grek", [1, 2], prefix="b")],
    )
    with pytest.raises(UserError, match="no ids in common in two or more") as told:
        parallel.read([apart], ["mt", "el"], corpus.Faults())
    assert "apart.jsonl" in str(told.value)
    alone = written(tmp_path / "alone.jsonl", rows("mlt_Latn", [1, 2]))
    with pytest.raises(UserError, match="no ids in common"):
        parallel.read([alone], ["mt", "el"], corpus.Faults())
    with pytest.raises(UserError, match="no ids in common"):
        parallel.read([alone], ["el"], corpus.Faults())


def test_one_language_alone_is_read_if_it_is_all_that_was_asked_for(tmp_path):
    alone = written(tmp_path / "alone.jsonl", rows("mlt_Latn", [1, 2]))
    assert parallel.read([alone], ["mt"], corpus.Faults()).texts == {
        "mlt_Latn": ["mlt_Latn 1", "mlt_Latn 2"]
    }


def test_a_missing_source_is_named(tmp_path):
    written(tmp_path / "sentences.jsonl", rows("mlt_Latn", [1]))
    with pytest.raises(UserError, match=r"did you mean 'sentences\.jsonl'"):
        parallel.read([str(tmp_path / "sentence.jsonl")], ["mt", "el"], corpus.Faults())
