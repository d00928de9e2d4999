"""The command line as users meet it: results, and one clear line for each mistake."""

import gzip
import json
import time
import tomllib

import pytest
from conftest import PROJECT, TAGS, printed

from workbench import __main__, commands, disk, recipe
from workbench import run as runs


def told(capsys, *words):
    """Run a command that must be refused; return its one line."""
    status = __main__.main(list(words))
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2, lines
    last = lines[-1]
    assert last.startswith("workbench: ")
    assert "Traceback" not in "\n".join(lines)
    return last


@pytest.mark.parametrize("contract", ["light", "panels"])
def test_what_is_to_be_light_loads_nothing_heavy(contract):
    """Imports within functions, which the contracts let pass or do not follow, are late indeed."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    (said,) = (one for one in project["tool"]["importlinter"]["contracts"] if one["id"] == contract)
    modules = said["source_modules"] + (["workbench.commands"] if contract == "light" else [])
    assert len(modules) > 2
    code = (
        "import importlib, sys\n"
        f"for name in {modules}:\n"
        "    importlib.import_module(name)\n"
        f"print({set(said['forbidden_modules'])} & set(sys.modules))\n"
    )
    assert printed(code).strip() == "set()"


def test_the_second_time_everything_is_reused(series, capsys):
    began = time.monotonic()
    said = commands.demo()
    assert time.monotonic() - began < 30
    assert capsys.readouterr().out.count("finished before, reused") == len(commands.SERIES)
    for word in ("Maltese", "Georgian", "bits/byte adapted", "model-card.md", "bits.png"):
        assert word in said


@pytest.mark.parametrize("words", [["list"], ["languages"], ["show", "compare/starter"]])
def test_tables_are_printed(series, capsys, words):
    assert __main__.main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_a_training_is_shown_while_it_runs_and_when_it_has_stopped(series, cli):
    wanted = recipe.load("recipes/pretrain/starter.yaml", ["name=shown"])
    run = runs.Run.begin(wanted)
    run.metric(
        step=6,
        loss=4.5,
        tokens_per_second=900.0,
        seconds_to_go=61.0,
        energy_joules=1200.0,
        memory_bytes=2**29,
        bits_per_byte={"mlt_Latn": 2.5, "kat_Geor": 1.5},
    )
    done = cli("show", "pretrain/shown")
    assert done.returncode == 0
    for said in (
        "pretrain/shown: running",
        "6 of 24, 25% of the run",
        "4.500 nats a token",
        "900 tokens/s, 1:01 to go",
        "1.2 kJ, estimated",
        "512 MB now",
        "workbench stop pretrain/shown",
        "Georgian",
    ):
        assert said in done.stdout
    run.leave("stopped")
    said = commands.show("pretrain/shown")
    assert said.startswith("pretrain/shown: stopped")
    assert "workbench resume pretrain/shown" in said
    finished = commands.show("pretrain/starter")
    assert "24 of 24, 100% of the run" in finished
    assert "resume" not in finished


def test_languages_for_programs(capsys, house):
    assert __main__.main(["languages", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 43
    assert {row["codes"]["flores"] for row in rows if row["tag"] == "cnr_Latn"} == {"no data"}


def test_verify_tells_a_changed_file(series, capsys):
    commands.run("recipes/inspect/starter.yaml", "name=touched", quiet=True)
    assert __main__.main(["verify", "inspect/touched"]) == 0
    (runs.root() / "inspect/touched/languages.json").write_text("[]")
    assert __main__.main(["verify", "inspect/touched"]) == 1
    assert "languages.json: changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["recipes/pretrain/startr.yaml"], "no recipe at"),
        (["recipes/pretrain/starter.yaml", "train.stepps=1"], "did you mean 'steps'"),
        (["recipes/pretrain/starter.yaml", "train.steps=few"], "is a whole number, not text"),
        (["recipes/inspect/starter.yaml", "data.languages=[klingon]"], "unknown language"),
        (["recipes/inspect/starter.yaml", "name=a", "data.sources=[nowhere.jsonl]"], "no such"),
        (["recipes/pretrain/starter.yaml", "train.steps=9"], "train.steps was 24, is now 9"),
        (["recipes/tokenizer/starter.yaml", "name=b", "vocabulary.size=90000"], "fills only"),
        (["recipes/pretrain/starter.yaml", "name=c", "tokenizer=tokenizer/x"], "no run"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(series, capsys, words, what):
    assert what in told(capsys, "run", *words)


def test_nothing_of_a_refused_run_stays_in_the_way(series, capsys):
    told(capsys, "run", "recipes/inspect/starter.yaml", "name=gone", "data.sources=[no.txt]")
    assert not (runs.root() / "inspect/gone").exists()


def test_empty_and_corrupt_sources_are_told_and_kept(series, tmp_path, capsys):
    empty = tmp_path / "mt.jsonl"
    empty.write_text("")
    line = told(
        capsys, "run", "recipes/inspect/starter.yaml", "name=empty", f"data.sources=[{empty}]"
    )
    assert "no document in the chosen languages" in line
    corrupt = tmp_path / "mt.jsonl.gz"
    row = json.dumps({"text": "tajjeb", "lang": "mt"}) + "\n"
    corrupt.write_bytes(gzip.compress(row.encode() * 2000)[:-20])
    assert (
        __main__.main(
            ["run", "recipes/inspect/starter.yaml", "name=corrupt", f"data.sources=[{corrupt}]"]
        )
        == 0
    )
    run = runs.find("inspect/corrupt")
    assert run.record["happened"]["faults"]["by_reason"]["truncated archive"] == 1
    assert (run.path / "quarantine.jsonl").exists()
    assert run.read_result("languages")[0]["documents"] > 0


def test_only_inspections_take_workers(series, capsys):
    commands.run("recipes/compare/starter.yaml", "name=few", workers=2, quiet=True)
    assert "compare/few: only inspections take workers; ignored" in capsys.readouterr().err


def test_a_real_process_gives_the_same_status_and_no_traceback(cli, house):
    done = cli("run", "recipes/pretrain/nothing.yaml")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert cli("languages", "--json").returncode == 0


def test_the_record_names_the_corpus_and_its_checksum(series):
    record = runs.find("pretrain/starter").record
    (source,) = record["provenance"]["data"]
    assert (source["source"], source["origin"]) == ("starter", "synthetic")
    assert len(source["sha256"]) == 64
    assert set(record["happened"]["documents"]) == set(TAGS)


def test_a_run_can_be_repeated_from_its_record_alone(series, tmp_path):
    record = runs.find("tokenizer/starter").record
    again = record["asked"]["recipe"] | {"name": "again"}
    (tmp_path / "again.yaml").write_text(json.dumps(again))
    made = commands.run(tmp_path / "again.yaml", quiet=True)
    names = ("languages.json", "tokenizer/tokenizer.json")
    first = runs.find("tokenizer/starter").path
    assert [disk.sha256(made.path / name) for name in names] == [
        disk.sha256(first / name) for name in names
    ]


def test_results_as_a_table_with_hints(series):
    frame = commands.results("tokenizer/starter", "language", "tokens")
    assert list(frame) == ["language", "tokens"]
    with pytest.raises(commands.UserError, match="did you mean 'tokens'"):
        commands.results("tokenizer/starter", "tokns")
    measured = commands.results("tokenizer/starter", "gini", table="comparison")
    assert list(measured) == ["gini"]
    with pytest.raises(
        commands.UserError, match=r"no table 'script' \(did you mean 'scripts'\?\); it has compar"
    ):
        commands.results("tokenizer/starter", table="script")
