"""The tables of an inspection, worked by hand on a few documents in several pieces."""

import json
from collections import Counter

import numpy as np
import pytest

from workbench import (
    corpus,
    disk,
    inspection,
    languages,
    overview,
    passages,
    recipe,
    sections,
    survey,
)
from workbench import run as runs
from workbench.sections import FILTERS

GREETING = "Il-vapur jitlaq kmieni filgħodu mill-port il-kbir tal-belt."
ROWS = {
    "a": [
        {"id": "m1", "lang": "mt", "text": "abba", "licence": "CC0", "url": "https://a.eu/1"},
        {"id": "m2", "lang": "mt", "text": "ċċ", "licence": "MIT", "url": "https://www.b.eu"},
        {"id": "m3", "lang": "mt", "text": GREETING, "url": "http://a.eu/2"},
        {"id": "e1", "lang": "el", "text": "Το πλοίο φεύγει νωρίς το πρωί.", "source": "port"},
    ],
    "b": [
        {"id": "m4", "lang": "mt", "text": f"{GREETING} anna@dar.mt", "licence": "CC0"},
        {"id": "m5", "lang": "mt", "text": f"\n{GREETING}\n", "licence": "CC0"},
        {"id": "e2", "lang": "el", "text": "Tο πλοίο\x07\ue000", "url": "mailto:x@y.eu"},
    ],
    "c": [{"text": "no language"}],
}


def inspect(name, folder, words, executor=None, workers=1, **more):
    """Carry an inspection out without its figures."""
    content = {"kind": "inspect", "name": name, "why": "?", "data": {"sources": words}} | more
    wanted = recipe.from_dict(content)
    made = runs.Run.begin(wanted)
    inspection.make(made, wanted, workers, executor)
    made.finish()
    return made


@pytest.fixture(scope="module")
def small(tmp_path_factory, house):
    """A cleaned inspection of three files as three pieces."""
    folder = tmp_path_factory.mktemp("small")
    for name, rows in ROWS.items():
        lines = "".join(json.dumps({"source": "s", **row}) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WORKBENCH_RUNS", str(folder / "runs"))
        patched.setattr(corpus, "SMALL_BYTES", 0)
        clean = {"filters": ["characters", "length", "exact-duplicate", "near-duplicate"]}
        made = inspect("small", folder, [str(folder / "?.jsonl")], clean=clean)
    assert made.record["happened"]["pieces"] == 3
    return made


def of(made, table, **where):
    rows = made.read_result(table)
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def test_languages(small):
    greek, maltese = small.read_result("languages")
    assert (greek["tag"], maltese["tag"]) == ("ell_Grek", "mlt_Latn"), "the registry's order"
    size = len(GREETING)
    lengths = sorted([4, 2, size, size + 12, size + 2])
    assert (
        maltese
        | {
            "documents": 5,
            "words": 1 + 1 + 7 * 3 + 3,
            "characters": sum(lengths),
            "characters_p10": 2,
            "characters_median": lengths[2],
            "characters_p90": lengths[-1],
            "share_own_script": 1.0,
            "exact_duplicates": 1,
            "documents_with_personal_data": 1,
            "documents_kept": 2,
            "licences": "CC0 (3); not stated (1); MIT (1)",
            "sample": "abba",
        }
        == maltese
    )
    assert maltese["bytes"] == maltese["characters"] + 3 * GREETING.count("ħ") + 2 * 1
    assert greek["control_characters"] == greek["private_characters"] == 1
    assert greek["mixed_script_words"] == 1
    assert greek["mixed_script_examples"] == "Tο"


def test_quantiles_of_a_signal(small):
    (row,) = of(small, "signals", tag="mlt_Latn", signal="characters")
    size = len(GREETING)
    lengths = [2, 4, size, size + 2, size + 12]
    assert row["mean"] == sum(lengths) / 5
    assert row["p50"] == size
    # Between the two lowest: 0.1 of four steps is 0.4 of one.
    assert row["p10"] == pytest.approx(2 + 0.4 * 2)
    assert row["p1"] == pytest.approx(2 + 0.04 * 2)


def test_confusion_counts_every_document_once(small):
    rows = small.read_result("confusion")
    assert sum(row["documents"] for row in rows) == 7
    (greek,) = of(small, "confusion", declared="ell_Grek")
    assert greek == {
        "declared": "ell_Grek",
        "detected": "ell_Grek",
        "documents": 2,
        "agrees": True,
    }
    maltese = of(small, "confusion", declared="mlt_Latn")
    assert [row["documents"] for row in maltese] == sorted(
        (row["documents"] for row in maltese), reverse=True
    )
    share = small.read_result("languages")[1]["share_detected_alike"]
    assert share == sum(row["documents"] for row in maltese if row["agrees"]) / 5


def test_characters_are_those_of_all_pieces(small):
    texts = [row["text"] for rows in ROWS.values() for row in rows if row.get("lang") == "mt"]
    counts = Counter("".join(texts))
    rows = of(small, "characters", tag="mlt_Latn")
    assert {row["character"]: row["count"] for row in rows if row["code_point"] != "U+000A"} == {
        character: count for character, count in counts.items() if character != "\n"
    }
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    odd = [row["code_point"] for row in of(small, "characters", odd=True)]
    assert odd == ["U+0007", "U+E000"]
    (bell,) = of(small, "characters", code_point="U+0007")
    assert (bell["character"], bell["category"], bell["name"]) == ("", "Cc", "no name")


def test_lines_that_come_again_in_one_piece_or_several(small):
    assert of(small, "repeated_lines") == [], "not the same line twice in one file"


def test_clusters_show_their_first_members(small):
    rows = small.read_result("clusters")
    assert [row["id"] for row in rows] == ["m3", "m5"]
    assert [row["exact"] for row in rows] == [False, True]
    assert {row["cluster"] for row in rows} == {2}
    assert {row["members"] for row in rows} == {2}


def test_personal_data_by_kind(small):
    (row,) = of(small, "personal", tag="mlt_Latn", kind="e-mail")
    assert row == {
        "tag": "mlt_Latn",
        "kind": "e-mail",
        "documents": 1,
        "findings": 1,
        "masked_examples": "a…@….mt",
    }
    assert sum(row["findings"] for row in small.read_result("personal")) == 1


def test_sources_and_licences(small):
    rows = [tuple(row.values())[:4] for row in small.read_result("sources")]
    assert rows == [
        ("ell_Grek", "port", "", 1),
        ("ell_Grek", "s", "", 1),
        ("mlt_Latn", "s", "CC0", 3),
        ("mlt_Latn", "s", "", 1),
        ("mlt_Latn", "s", "MIT", 1),
    ]
    total = sum(row["bytes"] for row in small.read_result("languages"))
    assert sum(row["bytes"] for row in small.read_result("sources")) == total


def test_dropped_documents_by_reason(small):
    """The Greek one with odd characters, two short ones, and a copy."""
    counts = {
        (row["tag"], row["reason"]): row["documents"]
        for row in small.read_result("dropped")
        if row["documents"]
    }
    assert counts == {
        ("ell_Grek", "characters"): 1,
        ("mlt_Latn", "length"): 2,
        ("mlt_Latn", "exact-duplicate"): 1,
    }
    assert small.record["happened"]["dropped"] == {
        "characters": 1,
        "length": 2,
        "exact-duplicate": 1,
        "near-duplicate": 0,
    }


def test_faults_of_all_pieces(small):
    faults = small.record["happened"]["faults"]
    assert faults["total"] == 1
    assert "c.jsonl:1: no language" in faults["first"][0]
    assert len(disk.read_jsonl(small.path / runs.QUARANTINE)) == 1


def test_the_top_tenth_of_domains(tmp_path, empty_runs):
    """Of 25 hosts the three with the most text; of equal ones the first by name."""
    rows = [
        {"lang": "mt", "text": "x" * (100 if n in (3, 7) else 10), "url": f"https://h{n:02}.eu/"}
        for n in range(25)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines + lines[: lines.index("\n") + 1])
    made = inspect("domains", tmp_path, [str(tmp_path / "a.jsonl")])
    assert made.read_result("domains") == [
        {"domain": "h03.eu", "documents": 1, "bytes": 100, "of_domains": 25},
        {"domain": "h07.eu", "documents": 1, "bytes": 100, "of_domains": 25},
        {"domain": "h00.eu", "documents": 2, "bytes": 20, "of_domains": 25},
    ]


def test_text_of_two_standards_is_shown_as_alike_and_kept_as_two(tmp_path, empty_runs):
    """Montenegrin and Serbian passages resemble each other; neither is dropped for the other."""
    languages_ = ["cnr_Latn", "srp_Latn", "hrv_Latn", "bos_Latn"]
    made = inspect(
        "standards",
        tmp_path,
        ["starter"],
        data={"sources": ["starter", "starter"], "languages": languages_},
        clean={"filters": ["exact-duplicate", "near-duplicate"]},
    )
    clusters = {}
    for row in made.read_result("clusters"):
        clusters.setdefault(row["cluster"], set()).add(row["tag"])
    assert any(tags >= {"cnr_Latn", "srp_Latn"} for tags in clusters.values())
    passages_ = len(passages.read("cnr_Latn"))
    for row in made.read_result("languages"):
        assert row["documents"] == 2 * passages_
        assert row["exact_duplicates"] == row["near_duplicates"] == passages_
        assert row["documents_kept"] == passages_


def test_samples_of_pieces_are_the_sample_of_the_whole(tmp_path, empty_runs, monkeypatch):
    texts = [" ".join(own) for own in passages.read("mlt_Latn").values()]
    for n, text in enumerate([*texts, *texts[:9]]):
        row = {"id": f"d{n:02}", "lang": "mt", "text": text}
        (tmp_path / f"{n:02}.jsonl").write_text(json.dumps(row))
    words = [str(tmp_path / "*.jsonl")]
    together = inspect("together", tmp_path, words)
    monkeypatch.setattr(corpus, "SMALL_BYTES", 2000)
    apart = inspect("apart", tmp_path, words)
    assert apart.record["happened"]["pieces"] > 10 > together.record["happened"]["pieces"]
    samples = disk.read_jsonl(together.path / "samples.jsonl")
    assert samples == disk.read_jsonl(apart.path / "samples.jsonl")
    assert len(samples) == survey.SAMPLE[""]
    assert len({row["text"] for row in samples}) == len(samples)


def test_reading_single_rows_of_the_pieces(small, tmp_path):
    """Numbers go through all pieces, and empty ones are passed over."""
    parts = []
    for n, ids in enumerate((["a", "b"], [], ["c"], ["d", "e", "f"])):
        file = tmp_path / f"{n}.jsonl"
        rows = [{"id": one, "lang": "mt", "text": f"test {one}"} for one in ids]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = survey.Task(
            n,
            (corpus.FileSource(file),),
            sections.Data(),
            tmp_path,
            tmp_path / "stop",
            sections.Duplicates(),
            None,
            None,
            13,
        )
        survey.measure(task)
        parts.append(task.path)
    whole = overview.Overview(parts, tmp_path / "columns")
    assert whole.rows([5, 2, 0, 2], ["id"]) == {0: {"id": "a"}, 2: {"id": "c"}, 5: {"id": "f"}}
    assert whole.column("bytes").tolist() == [6] * 6
    assert whole.by_language(np.arange(6))["mlt_Latn"].tolist() == list(range(6))
    assert whole.grouped("lang") == {("mlt_Latn",): (6, 36)}


def test_every_language_of_the_registry_is_inspected(tmp_path, empty_runs):
    made = inspect("all", tmp_path, ["starter"], clean={"filters": list(FILTERS)})
    rows = made.read_result("languages")
    assert [row["tag"] for row in rows] == list(languages.tags())
    for row in rows:
        assert row["share_own_script"] > 0.99
        assert row["mixed_script_words"] == row["not_nfc"] == row["mojibake"] == 0
        assert row["documents_kept"] >= 62, "of 64 clean ones"
    alike = [row["share_detected_alike"] for row in rows]
    assert alike.count(None) == 1, "nobody detects Montenegrin"
    assert min(share for share in alike if share is not None) > 0.9
