"""The overlap check finds what was planted, in whatever file, and nothing else; a curve is kept."""

import gzip
import json

import pytest

import check_overlap
import keep_curve
from workbench import passages, recipe
from workbench import run as runs
from workbench.errors import UserError

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


def trained(name, rows, finished=True):
    """A run as a loop leaves it, with the metrics that are given."""
    text = f"kind: pretrain\nname: {name}\nwhy: to keep a curve\ntokenizer: tokenizer/none\n"
    path = runs.root() / "pretrain" / name
    path.mkdir(parents=True)
    (path / runs.RECIPE).write_text(recipe.parse(text).to_yaml(), encoding="utf-8")
    run = runs.Run(path)
    run.record = {
        "asked": {"recipe": recipe.parse(text).to_dict()},
        "happened": {"precision": "fp32", "compiled": False, "threads": 2},
        "provenance": {
            "python": "3.11.9",
            "packages": {"torch": "2.13.0"},
            "hardware": {"cores": 2},
        },
    }
    run.save_record()
    for row in rows:
        run.metric(**row)
    if finished:
        run.finish()
    return run


def test_a_curve_is_thinned_to_means_and_leaves_out_what_was_not_finite(empty_runs, tmp_path):
    losses = [6.0, 5.0, None, 4.0, 3.0, 2.5]
    rows = [{"step": step, "loss": loss} for step, loss in enumerate(losses, start=1)]
    rows[2]["bits_per_byte"] = {"mlt_Latn": 3.0, "kat_Geor": 2.0}
    rows[5]["bits_per_byte"] = {"mlt_Latn": 2.0, "kat_Geor": 1.5}
    trained("kept", rows)
    file = tmp_path / "new" / "kept.json"
    assert keep_curve.main(["pretrain/kept", str(file), "--points", "3"]) == 0
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["loss"] == {"step": [2, 5, 6], "nats_per_token": [5.5, 3.5, 2.5]}
    assert kept["bits_per_byte"] == {
        "step": [3, 6],
        "mean": [2.5, 1.75],
        "languages": {"mlt_Latn": 2.0, "kat_Geor": 1.5},
    }
    assert kept["run"] == "pretrain/kept"
    assert kept["recipe"]["train"]["seed"] == 1
    assert (kept["threads"], kept["packages"]["torch"]) == (2, "2.13.0")
    whole = keep_curve.curve(runs.find("pretrain/kept"))
    assert whole["loss"]["nats_per_token"] == [6.0, 5.0, 4.0, 3.0, 2.5]


def test_only_a_finished_training_of_one_model_has_a_curve(empty_runs, tmp_path, capsys):
    trained("stopped", [{"step": 1, "loss": 2.0}], finished=False)
    trained("adapters", [{"step": 1, "loss": 2.0, "label": "mlt_Latn (1/5)"}])
    trained("nothing", [])
    for name, fault in (
        ("stopped", "is not finished"),
        ("adapters", "no training loss of one model"),
        ("nothing", "no training loss of one model"),
        ("adapter", "did you mean"),
    ):
        assert keep_curve.main([f"pretrain/{name}", str(tmp_path / "x.json")]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert fault in told
    assert not (tmp_path / "x.json").exists()
    with pytest.raises(UserError, match="is not finished"):
        keep_curve.curve(runs.find("pretrain/stopped"))
