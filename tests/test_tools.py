"""The overlap check finds what was planted, in whatever file, and nothing else."""

import gzip
import json

import pytest

import check_overlap
from workbench import passages

OWN = " ".join(next(iter(passages.read("mlt_Latn").values())))
WORDS = check_overlap.lower_words(OWN)
OTHER = "Żewġ ħbieb qagħdu fuq il-bank u tkellmu dwar it-temp sakemm daret ix-xemx wara d-djar."


def write(folder, text, **more):
    row = {"id": "1", "text": text, "lang": "mt"} | more
    file = folder / "mono" / "mt.jsonl.gz"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(gzip.compress(json.dumps(row, ensure_ascii=False).encode()))
    return str(folder)


def test_grams_are_words_in_a_row():
    assert list(check_overlap.grams(["a", "b", "c"], 2)) == [("a", "b"), ("b", "c")]
    assert list(check_overlap.grams(["a", "b"], 3)) == []
    assert check_overlap.lower_words("Il-Malti, u l-Ingliż!") == ["il-malti", "u", "l-ingliż"]


@pytest.mark.parametrize("more", [0, 2])
def test_a_planted_overlap_is_found_whatever_its_case_and_marks(tmp_path, capsys, more):
    start = 5
    planted = WORDS[start : start + 13 + more]
    folder = write(tmp_path, f"{OTHER} {' – '.join(planted).upper()} {OTHER}")
    assert check_overlap.main([folder]) == 1
    told = capsys.readouterr().out
    # 13 words in a row are one 13-gram, 15 are three.
    line = next(line.split() for line in told.splitlines() if line.startswith("Maltese"))
    own = len(check_overlap.Overlap(13).own["mlt_Latn"])
    text = 2 * len(check_overlap.lower_words(OTHER)) + len(planted) - 12
    assert line == ["Maltese", str(own), str(text), str(1 + more)]
    assert f"mlt_Latn: {' '.join(planted[:13])}" in told


def test_twelve_words_are_no_overlap_unless_asked_for(tmp_path, capsys):
    folder = write(tmp_path, f"{OTHER} {' '.join(WORDS[5:17])}. {OTHER}")
    assert check_overlap.main([folder]) == 0
    assert check_overlap.main([folder, "--words", "12"]) == 1
    assert " ".join(WORDS[5:17]) in capsys.readouterr().out


def test_prompts_pairs_and_other_languages_texts_count_as_well(tmp_path):
    pair = max(passages.pairs("mlt_Latn"), key=lambda pair: len(pair.bad.split()))
    size = len(check_overlap.lower_words(pair.bad))
    assert check_overlap.main([write(tmp_path, pair.bad), "--words", str(size)]) == 1
    prompt = max(passages.prompts("mlt_Latn").values(), key=len)
    size = len(check_overlap.lower_words(prompt))
    assert check_overlap.main([write(tmp_path, prompt), "--words", str(size)]) == 1
    english = " ".join(next(iter(passages.read("eng_Latn").values())))
    assert check_overlap.main([write(tmp_path, english)]) == 1


def test_other_fields_are_read_when_named(tmp_path):
    folder = write(tmp_path, OTHER, question=OWN)
    assert check_overlap.main([folder]) == 0
    assert check_overlap.main([folder, "--fields", "text,question"]) == 1


def test_nothing_to_read_is_a_mistake_and_no_clean_bill(tmp_path, capsys):
    assert check_overlap.main([str(tmp_path)]) == 2
    assert check_overlap.main([write(tmp_path, "   ")]) == 2
    assert check_overlap.main([str(tmp_path / "missing.txt")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f"error: {tmp_path}: no file in it ends in .jsonl")
    assert "nothing was read; first fault" in told[1]
    assert "no such file" in told[2]
