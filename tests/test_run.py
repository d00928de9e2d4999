import json
import os
import signal

import pytest

from workbench import disk, recipe
from workbench import run as runs
from workbench.errors import Stopped, UserError

ASKED = recipe.parse("kind: inspect\nname: x\nwhy: to see\n")
OTHER = recipe.parse("kind: inspect\nname: x\nwhy: to see\ndata: {languages: [mt]}\n")


def finished(what=ASKED):
    run = runs.Run.begin(what, "x.yaml", ["a=b"])
    run.metric(step=1, loss=0.5)
    run.result("languages", [{"tag": "mlt_Latn", "value": 1.5}])
    run.finish()
    return run


def test_a_record_has_three_blocks_and_the_manifest_comes_last(empty_runs):
    run = finished()
    record = json.loads((run.path / "record.json").read_text())
    assert set(record) == {"asked", "happened", "provenance"}
    assert record["asked"]["overrides"] == ["a=b"]
    assert record["happened"]["status"] == "finished"
    assert record["provenance"]["packages"]["torch"].startswith("2.")
    assert record["provenance"]["hardware"]["cores"] >= 1
    newest = max((run.path / name).stat().st_mtime_ns for name in os.listdir(run.path))
    assert (run.path / "MANIFEST.json").stat().st_mtime_ns == newest
    runs.request_stop(run)
    assert runs.verify(run) == [], "who asks too late changes nothing"
    assert runs.Run(run.path).recipe == ASKED


def test_a_finished_run_is_reused_and_another_recipe_refused(empty_runs):
    run = finished()
    assert runs.Run.begin(ASKED).finished
    with pytest.raises(UserError, match=r"another recipe \(data.languages was \['all'\]"):
        runs.Run.begin(OTHER)
    fresh = runs.Run.begin(OTHER, fresh=True)
    assert not fresh.finished
    kept = runs.root() / "replaced" / "inspect" / "x-1"
    assert (kept / "MANIFEST.json").exists(), "the old run is set aside, not deleted"
    assert run.path == fresh.path


def test_verify_names_every_difference(empty_runs):
    run = finished()
    (run.path / "languages.json").write_text("[]")
    (run.path / "metrics.jsonl").unlink()
    (run.path / "new.txt").write_text("?")
    assert runs.verify(run) == [
        "metrics.jsonl: missing",
        "languages.json: changed",
        "new.txt: not in the manifest",
    ]


def test_verify_tells_a_changed_manifest_and_knows_that_of_an_earlier_version(empty_runs):
    run = finished()
    file = run.path / "MANIFEST.json"
    content = file.read_text()
    for changed in (content.replace("\n ", "\n  ", 1), content.replace("jsonl", "jsonm"), "[]"):
        file.write_text(changed)
        assert runs.verify(run) == ["MANIFEST.json: damaged"]
    disk.write_json(file, {"files": disk.checksums(run.path)})
    assert runs.verify(run) == []


@pytest.mark.parametrize("written", [[], ["recipe.yaml"]])
def test_a_run_killed_while_it_was_opened_is_opened_again(empty_runs, written):
    """Its recipe is written before its record, and before both there is the lock."""
    vocabulary = recipe.parse("kind: tokenizer\nname: v\nwhy: y\n")
    runs.Run.begin(vocabulary).finish()
    asked = recipe.parse("kind: pretrain\nname: x\nwhy: y\ntokenizer: tokenizer/v\n")
    folder = empty_runs / "pretrain" / "x"
    folder.mkdir(parents=True)
    for name in [".lock", ".recipe.yaml.123-456", *written]:
        (folder / name).write_text(asked.to_yaml() if name in written else "")
    run = runs.Run.begin(asked)
    assert run.record["happened"]["sessions"] == 1
    run.finish()
    assert set(os.listdir(folder)) == {"recipe.yaml", "record.json", "MANIFEST.json"}


def test_only_one_process_writes_a_run(empty_runs):
    first = runs.Run.begin(ASKED)
    with pytest.raises(UserError, match="being written by another process"):
        runs.Run.begin(ASKED)
    with pytest.raises(UserError, match="being written by another process"):
        runs.Run.begin(ASKED, fresh=True)
    first.leave("stopped")
    assert runs.Run.begin(ASKED).record["happened"]["sessions"] == 2


def test_what_a_run_builds_upon_must_be_finished(empty_runs):
    asked = recipe.parse("kind: pretrain\nname: x\nwhy: y\ntokenizer: tokenizer/starter\n")
    with pytest.raises(UserError, match="make it first: workbench run recipes/tokenizer/starter"):
        runs.Run.begin(asked)


def test_a_run_whose_input_was_replaced_is_not_reused(empty_runs):
    vocabulary = recipe.parse("kind: tokenizer\nname: v\nwhy: y\n")
    runs.Run.begin(vocabulary).finish()
    asked = recipe.parse("kind: pretrain\nname: x\nwhy: y\ntokenizer: tokenizer/v\n")
    runs.Run.begin(asked).finish()
    assert runs.Run.begin(asked).finished
    again = runs.Run.begin(vocabulary, fresh=True)
    again.metric(step=1)
    again.finish()
    with pytest.raises(UserError, match="made from an earlier tokenizer/v"):
        runs.Run.begin(asked)


def test_a_folder_that_is_no_run_is_left_alone(empty_runs):
    folder = empty_runs / "inspect" / "x"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="exists and is no run"):
        runs.Run.begin(ASKED)
    assert (folder / "thesis.txt").read_text() == "precious"


def test_find_names_the_nearest(empty_runs):
    finished()
    assert runs.find("x").reference == runs.find("inspect/x").reference == "inspect/x"
    with pytest.raises(UserError, match="did you mean 'inspect/x'"):
        runs.find("inspekt/x")


def test_a_cut_last_line_of_metrics_is_left_out(empty_runs):
    run = runs.Run.begin(ASKED)
    run.metric(step=1)
    size = run.metrics_size()
    run.metric(step=2)
    with (run.path / "metrics.jsonl").open("a") as out:
        out.write('{"step": 3, "lo')
    assert [row["step"] for row in run.metrics()] == [1, 2]
    run.rewind_metrics(size)
    assert [row["step"] for row in run.metrics()] == [1]


def test_the_rows_of_a_loop_begin_after_those_of_the_one_before(empty_runs):
    run = runs.Run.begin(ASKED)
    assert run.metrics_before("ελληνικά") == run.metrics_before("") == 0
    sizes = {}
    for label in ("malti", "ελληνικά"):
        for step in (1, 2):
            run.metric(step=step, label=label)
        sizes[label] = run.metrics_size()
    with (run.path / "metrics.jsonl").open("a") as out:
        out.write('{"step": 3, "la')
    assert run.metrics_before("") == run.metrics_before("malti") == 0
    assert run.metrics_before("ελληνικά") == sizes["malti"]
    assert run.metrics_before("suomi") == sizes["ελληνικά"], "what was cut off is no row"


def test_a_signal_is_remembered_until_the_next_good_moment(empty_runs):
    run = runs.Run.begin(ASKED)
    with runs.StopSignal(run) as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        with pytest.raises(Stopped) as caught:
            stop.raise_stopped("saved")
    assert caught.value.exit_status == 143


def test_the_stop_button_is_a_file(empty_runs):
    run = runs.Run.begin(ASKED)
    with runs.StopSignal(run) as stop:
        runs.request_stop(run)
        assert stop.requested
