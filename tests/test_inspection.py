"""Inspections as a whole: the same results however they are carried out, resumed or handed on."""

import concurrent.futures
import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlcroissant
import psutil
import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from conftest import PROJECT, printed
from test_corpus import hub_folder

from workbench import (
    __main__,
    commands,
    corpus,
    cutters,
    disk,
    inspection,
    passages,
    recipe,
    survey,
    tokenizer,
)
from workbench import run as runs
from workbench.errors import UserError
from workbench.sections import FILTERS

TEXTS = {
    tag: [" ".join(sentences) for sentences in passages.read(tag).values()]
    for tag in ("mlt_Latn", "ell_Grek", "ukr_Cyrl", "fin_Latn", "srp_Latn", "cnr_Latn")
}
EVALUATION = (
    "Meta tinfetaħ il-librerija l-ġdida fil-pjazza tar-raħal u min se jkun hemm dak inhar u"
)
MADE_UP = " ".join(f"kelma{n}" for n in range(20))


def rows_of(tag, start, end):
    return [
        {"id": f"{tag}-{n}", "lang": tag, "text": TEXTS[tag][n], "source": "starter"}
        for n in range(start, end)
    ]


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Files of every format, with duplicates, faults, and what the filters look for."""
    folder = tmp_path_factory.mktemp("text")
    maltese = rows_of("mlt_Latn", 0, 30)
    maltese[3]["text"] += " Ikteb lil ġanni@dar.mt."
    maltese[5]["text"] += f" {EVALUATION.upper()} {MADE_UP}"
    (folder / "mt.jsonl.gz").write_bytes(gzip.compress(lines(maltese)))
    (folder / "el.jsonl.zst").write_bytes(zstandard.compress(lines(rows_of("ell_Grek", 0, 30))))
    with (folder / "uk.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, ["id", "lang", "text", "source"])
        writer.writeheader()
        ukrainian = rows_of("ukr_Cyrl", 0, 30)
        ukrainian[0]["text"] = ukrainian[0]["text"].replace("і", "i")
        writer.writerows(ukrainian)
    finnish = "\n\n".join(TEXTS["fin_Latn"][:20])
    (folder / "fi.txt").write_text(finnish + "\n\nLyhyt.\n", encoding="utf-8")
    mixed = [*rows_of("srp_Latn", 0, 40), *rows_of("cnr_Latn", 0, 40), *rows_of("mlt_Latn", 20, 40)]
    mixed[4]["text"] = " "
    mixed[40]["text"] = mixed[0]["text"]  # Montenegrin, and the same as in Serbian
    table = pyarrow.Table.from_pylist(mixed)
    pyarrow.parquet.write_table(table, folder / "z.parquet", row_group_size=15)
    bad = b"{no JSON\n" + lines([{"id": "x", "text": "no language"}]) + b'{"text": "\xff"}\n'
    (folder / "bad.jsonl").write_bytes(bad + lines(rows_of("mlt_Latn", 40, 45)))
    (folder / "nothing.jsonl").write_bytes(b"")
    below = folder / "evaluation"
    below.mkdir()
    question = {"id": 1, "paragraphs": [{"qas": [{"question": EVALUATION, "answers": ["iva"]}]}]}
    (below / "quiz.jsonl").write_bytes(lines([question]))
    return folder


def wanted(text, name, **more):
    content = {
        "kind": "inspect",
        "name": name,
        "why": "Are all results the same?",
        "data": {"sources": [str(text / "*.*")]},
        "contamination": {"sources": [str(text / "evaluation" / "*.jsonl")]},
        "duplicates": {"verify": 0.5},
        "clean": {"filters": list(FILTERS)},
    }
    return recipe.from_dict(content | more)


def inspect(what, workers=1, executor=None):
    """Carry an inspection out without its figures."""
    made = runs.Run.begin(what)
    try:
        inspection.make(made, what, workers, executor)
        made.finish()
    except BaseException:
        made.leave("stopped")
        raise
    return made


def results(made):
    """The checksum of every file that a run made, but for what tells of the time and the name."""
    named = (runs.RECORD, runs.RECIPE)
    return {name: sha for name, sha in disk.checksums(made.path).items() if name not in named}


@pytest.fixture
def cut(monkeypatch):
    """Every file is a piece, and Parquet is several."""
    monkeypatch.setattr(corpus, "SMALL_BYTES", 0)
    monkeypatch.setattr(corpus, "PIECE_BYTES", 10_000)


@pytest.fixture(scope="module")
def baseline(text, house, tmp_path_factory):
    folder = tmp_path_factory.mktemp("baseline")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WORKBENCH_RUNS", str(folder))
        patched.setattr(corpus, "SMALL_BYTES", 0)
        patched.setattr(corpus, "PIECE_BYTES", 10_000)
        return inspect(wanted(text, "same"))


def read_lines(folder):
    """All rows of a folder of compressed JSON Lines."""
    return [
        json.loads(line)
        for file in sorted(folder.glob("*.jsonl.zst"))
        for line in zstandard.ZstdDecompressor()
        .stream_reader(file.read_bytes())
        .readall()
        .splitlines()
    ]


def test_nothing_is_lost(text, baseline):
    """Every document is kept or dropped, and every fault is told, counted and set aside."""
    happened = baseline.record["happened"]
    kept, dropped = (read_lines(baseline.path / name) for name in ("cleaned", "dropped"))
    assert happened["documents"] == len(kept) + len(dropped) == 30 * 3 + 21 + 99 + 5
    names = {
        "mlt_Latn": range(45),
        "ell_Grek": range(30),
        "ukr_Cyrl": range(30),
        "srp_Latn": set(range(40)) - {4},
        "cnr_Latn": range(40),
    }
    expected = {f"{tag}-{n}" for tag, own in names.items() for n in own}
    expected |= {one["id"] for one in kept + dropped if one["lang"] == "fin_Latn"}
    assert {one["id"] for one in kept + dropped} == expected
    assert happened["faults"]["total"] == 4
    assert happened["faults"]["by_reason"] == {
        "not JSON": 1,
        "no language: say it in data.language or in the file's name": 1,
        "not UTF-8": 1,
        "empty text": 1,
    }
    aside = disk.read_jsonl(baseline.path / runs.QUARANTINE)
    assert sorted(row["reason"] for row in aside) == sorted(happened["faults"]["by_reason"])
    assert happened["pieces"] == 6 + 4, "and the Parquet file in several"


def test_what_is_dropped_is_kept_aside_with_its_reason(baseline):
    dropped = {row["id"]: row for row in read_lines(baseline.path / "dropped")}
    assert dropped["mlt_Latn-3"]["reason"] == "personal-data"
    assert "ġanni@dar.mt" in dropped["mlt_Latn-3"]["text"], "what is put aside is as it was"
    assert dropped["mlt_Latn-5"]["reason"] == "contamination"
    assert dropped["mlt_Latn-25"]["reason"] == "exact-duplicate"
    (short,) = [row for row in dropped.values() if row["text"] == "Lyhyt."]
    assert short["reason"] == "length"
    counted = baseline.record["happened"]["dropped"]
    rows = [row["reason"] for row in read_lines(baseline.path / "dropped")]
    assert counted == {name: rows.count(name) for name in FILTERS}
    table = baseline.read_result("dropped")
    assert sum(row["documents"] for row in table) == len(rows)
    sizes = sum(len(row["text"].encode()) for row in read_lines(baseline.path / "dropped"))
    assert sum(row["bytes"] for row in table) == sizes
    kept = sum(row["documents_kept"] for row in baseline.read_result("languages"))
    assert kept == len(read_lines(baseline.path / "cleaned"))


def test_what_is_kept_is_mended(baseline):
    kept = {row["id"]: row for row in read_lines(baseline.path / "cleaned")}
    # Words of i alone, such as a conjunction, are in no other script than their own.
    mended = kept["ukr_Cyrl-0"]["text"]
    assert mended.replace("i", "і") == TEXTS["ukr_Cyrl"][0]
    assert mended.count("i") < 0.2 * TEXTS["ukr_Cyrl"][0].count("і")
    assert set(kept["mlt_Latn-0"]) == {"id", "lang", "text", "source", "licence", "url"}
    assert kept["mlt_Latn-0"]["text"] == TEXTS["mlt_Latn"][0]


def test_two_standards_of_one_language_are_both_kept(baseline):
    """Montenegrin passages that are the same as the Serbian ones are no duplicates."""
    kept = {row["id"]: row["text"] for row in read_lines(baseline.path / "cleaned")}
    assert kept["cnr_Latn-0"] == kept["srp_Latn-0"]
    clusters = {}
    for row in baseline.read_result("clusters"):
        clusters.setdefault(row["cluster"], set()).add(row["id"])
    assert {"srp_Latn-0", "cnr_Latn-0"} in clusters.values()


@pytest.mark.parametrize("workers", [2, 3])
def test_the_same_with_any_number_of_processes(text, baseline, cut, empty_runs, workers):
    assert results(inspect(wanted(text, "same"), workers)) == results(baseline)


def test_the_same_with_threads(text, baseline, cut, empty_runs):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert results(inspect(wanted(text, "same"), executor=pool)) == results(baseline)
        assert pool.submit(int, "1").result() == 1, "what is not ours is not shut down"


def test_the_same_on_a_dask_cluster(text, baseline, cut, empty_runs, tmp_path):
    import dask
    from distributed import Client, LocalCluster

    # Its nannies set the number of threads in this process's environment for good, and so for
    # every process that a later test starts: another number of threads gives other bits.
    before = dict(os.environ)
    alone = dask.config.set({"distributed.nanny.pre-spawn-environ": {}})
    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=str(tmp_path),
    )
    with alone, cluster, Client(cluster) as client:
        made = inspect(wanted(text, "same"), executor=client.get_executor())
        assert len(client.scheduler_info()["workers"]) == 2
    assert results(made) == results(baseline)
    assert {name for name in os.environ if "THREADS" in name} == {
        name for name in before if "THREADS" in name
    }


def test_what_is_already_there_is_reused(baseline, text, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUNS", str(baseline.path.parent.parent))
    assert runs.Run.begin(wanted(text, "same")).finished


def start(folder, *words):
    """The command line in a process of its own, with small pieces; and its environment."""
    script = folder / "start.py"
    script.write_text(
        "import sys\n"
        "from workbench import __main__, corpus\n"
        "if __name__ == '__main__':\n"
        "    corpus.SMALL_BYTES = 0\n"
        "    sys.exit(__main__.main(sys.argv[1:]))\n"
    )
    return subprocess.Popen(
        [sys.executable, str(script), *words],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )


@pytest.fixture
def long(tmp_path, empty_runs, monkeypatch):
    """A recipe with enough text to be stopped in the middle of it, in pieces."""
    monkeypatch.setattr(corpus, "SMALL_BYTES", 0)
    for n in range(8):
        rows = [
            {"id": f"{n}-{tag}-{k}", "lang": tag, "text": f"{k} {text} {n}"}
            for tag, texts in list(TEXTS.items())[:3]
            for k, text in enumerate(texts)
        ]
        (tmp_path / f"{n}.jsonl").write_bytes(lines(rows * 2))
    what = recipe.from_dict(
        {
            "kind": "inspect",
            "name": "long",
            "why": "Is a stop no loss?",
            "data": {"sources": [str(tmp_path / "*.jsonl")]},
            "clean": {"filters": ["length", "exact-duplicate"]},
        }
    )
    (tmp_path / "long.yaml").write_text(what.to_yaml(), encoding="utf-8")
    return what


def finished_pieces(folder):
    """Names of the pieces that are in place; one still under its temporary name is not."""
    return sorted(
        file.parent.name for file in folder.glob(f"inspect/long/parts/[!.]*/{survey.TALLY}")
    )


def stopped_in_the_middle(tmp_path, number, *words):
    """Begin, wait for the first pieces, send a signal; return the process and its last words."""
    process = start(tmp_path, "run", str(tmp_path / "long.yaml"), *words)
    while not finished_pieces(tmp_path / "runs") and process.poll() is None:
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    return process, told


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGKILL, 2)], ids=["SIGTERM", "kill -9"]
)
def test_a_run_goes_on_where_it_was_stopped(long, tmp_path, monkeypatch, number, workers):
    process, told = stopped_in_the_middle(tmp_path, number, f"--workers={workers}")
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert told.strip().splitlines()[-1].startswith("workbench: inspect/long stopped; what is")
        assert runs.find("inspect/long").record["happened"]["status"] == "stopped"
    finished = finished_pieces(tmp_path / "runs")
    assert 0 < len(finished) < 8
    measured = []
    make = survey._Piece.make
    monkeypatch.setattr(
        survey._Piece, "make", lambda self: (measured.append(self._task.number), make(self))
    )
    again = inspect(long)
    assert len(measured) == 8 - len(finished)
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "others"))
    assert results(inspect(long)) == results(again)
    left = [path.name for path in again.path.rglob(".*")]
    assert left == [], "nothing of the first session lies about"


def test_all_processes_may_be_told_to_stop_at_once(long, tmp_path):
    """As a batch system does: the workers die of the signal, and it is still a stop."""
    script = f"setsid {sys.executable} {tmp_path}/start.py run {tmp_path}/long.yaml --workers=2"
    start(tmp_path, "--version").communicate()
    process = subprocess.Popen(
        script.split(),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    while not finished_pieces(tmp_path / "runs") and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert "Traceback" not in told


class Killed(BaseException):
    """Stands for a process that is gone: nothing gets to clean up after it."""


@pytest.mark.parametrize("when", ["copyfile", "rename", "rmtree"])
def test_a_kill_while_tidying_up_is_survived(text, baseline, cut, empty_runs, monkeypatch, when):
    real = {"copyfile": shutil.copyfile, "rmtree": shutil.rmtree}
    calls = []

    def gone(*words, **more):
        calls.append(words)
        if when == "copyfile" and len(calls) < 3:
            return real[when](*words, **more)
        if when == "rmtree" and (more or "parts" not in str(words[0])):
            return real[when](*words, **more)
        raise Killed

    what = wanted(text, "same")
    with monkeypatch.context() as patched:
        if when == "rename":
            patched.setattr(inspection, "_collect_faults", gone)
        else:
            patched.setattr(inspection.shutil, when, gone)
        with pytest.raises(Killed):
            inspect(what)
    monkeypatch.setattr(survey, "_Piece", None)
    assert results(inspect(what)) == results(baseline), "and nothing was measured again"
    path = runs.root() / "inspect" / "same"
    assert not [file for file in path.iterdir() if "parts" in file.name]


def test_a_kill_while_cleaning_is_survived(text, baseline, cut, empty_runs, monkeypatch):
    done = []
    clean = inspection.clean_piece

    def gone(task):
        if len(done) == 3:
            raise Killed
        done.append(task.kept)
        clean(task)

    what = wanted(text, "same")
    with monkeypatch.context() as patched:
        patched.setattr(inspection, "clean_piece", gone)
        with pytest.raises(Killed):
            inspect(what)
    (done[0].parent / ".leftover").write_text("of the killed session")
    before = [file.stat().st_mtime_ns for file in done]
    made = inspect(what)
    assert results(made) == results(baseline)
    assert [file.stat().st_mtime_ns for file in done] == before


def test_another_session_must_find_the_same_sources(text, cut, empty_runs, tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_bytes(lines(rows_of("mlt_Latn", 0, 5)))
    what = wanted(tmp_path, "moved", contamination={}, clean={})
    with monkeypatch.context() as patched:
        patched.setattr(inspection, "_tidy", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            inspect(what)
    # A file that came in between would shift the numbers of the pieces.
    (tmp_path / "0.jsonl").write_bytes(lines(rows_of("ell_Grek", 0, 5)))
    with pytest.raises(UserError, match=r"0\.jsonl was another; say --fresh"):
        inspect(what)
    (tmp_path / "0.jsonl").unlink()
    other = rows_of("mlt_Latn", 0, 5)
    other[0]["text"] = other[0]["text"][::-1]
    (tmp_path / "a.jsonl").write_bytes(lines(other))
    with pytest.raises(UserError, match=r"a\.jsonl was another; say --fresh"):
        inspect(what)


def test_a_data_sets_folder_and_the_starter_corpus_are_sources_too(empty_runs, tmp_path):
    hub = hub_folder(tmp_path / "hub", rows=30)
    what = wanted(
        tmp_path,
        "shapes",
        data={"sources": [str(hub), "starter"], "languages": ["mt", "el", "fi"]},
        contamination={},
        clean={},
    )
    made = inspect(what)
    counts = {row["tag"]: row["documents"] for row in made.read_result("languages")}
    assert counts == {"ell_Grek": 60 + 64, "mlt_Latn": 60 + 64, "fin_Latn": 64}
    assert made.record["happened"]["languages_without_text"] == []


def test_a_limit_of_bytes_holds_over_all_sources(text, cut, empty_runs):
    data = {"sources": [str(text / "*.*")], "bytes_per_language": 5000}
    made = inspect(wanted(text, "limited", data=data))
    for row in made.read_result("languages"):
        assert 4000 < row["bytes"] < 6500
    assert made.record["happened"]["pieces"] == 1


def test_memory_does_not_grow_with_the_text(tmp_path, empty_runs):
    """Eight times the text, inspected and cleaned in a process each, in less than 1.25 times."""
    code = (
        "import sys\n"
        "from workbench import inspection, memory, recipe, run\n"
        "what = recipe.load(sys.argv[1])\n"
        "made = run.Run.begin(what)\n"
        "inspection.make(made, what, 1)\n"
        "print(made.record['happened']['bytes'], memory.peak())\n"
    )
    peaks, sizes = [], []
    for name, times in (("small", 30), ("large", 240)):
        rows = ({"lang": "mt", "text": f"{n} {t}"} for n in range(times) for t in TEXTS["mlt_Latn"])
        (tmp_path / f"{name}.jsonl").write_bytes(lines(rows))
        data = {"sources": [str(tmp_path / f"{name}.jsonl")]}
        what = wanted(tmp_path, name, data=data, contamination={})
        (tmp_path / f"{name}.yaml").write_text(what.to_yaml(), encoding="utf-8")
        out = printed(code, str(tmp_path / f"{name}.yaml")).split()
        sizes.append(int(out[0]))
        peaks.append(int(out[1]))
    assert sizes[1] > 7.9 * sizes[0]
    assert peaks[1] < 1.25 * peaks[0], peaks


def test_what_was_kept_is_a_source_like_any_other(baseline, text, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUNS", str(baseline.path.parent.parent))
    what = wanted(text, "second", data={"sources": ["inspect/same"]}, contamination={})
    assert what.needs == ["inspect/same"]
    second = inspect(what)
    kept = sum(row["documents_kept"] for row in baseline.read_result("languages"))
    assert second.record["happened"]["documents"] == kept
    assert second.record["asked"]["inputs"] == {
        "inspect/same": disk.sha256(baseline.path / disk.MANIFEST)
    }
    stated = second.record["provenance"]["data"]
    assert {source["source"] for source in stated} == {"inspect/same"}
    manifest = disk.read_json(baseline.path / disk.MANIFEST)["files"]
    assert {entry["sha256"] for source in stated for entry in source["files"]} == {
        sha for name, sha in manifest.items() if name.startswith("cleaned/") and ".jsonl" in name
    }
    (row,) = {row["source"] for row in read_lines(second.path / "cleaned") if "mlt" in row["id"]}
    assert row == "starter", "a document's own source goes with it"


def test_an_inspection_that_cannot_be_built_upon_is_one_line(empty_runs, tmp_path):
    (tmp_path / "mt.jsonl").write_bytes(lines(rows_of("mlt_Latn", 0, 3)))
    base = {"contamination": {}, "clean": {}}
    first = wanted(tmp_path, "first", **base)
    second = wanted(tmp_path, "second", **(base | {"data": {"sources": ["inspect/first"]}}))
    with pytest.raises(UserError, match="no run 'inspect/first' to build upon"):
        inspect(second)
    made = runs.Run.begin(first)
    with pytest.raises(UserError, match="inspect/first is not finished; take it up"):
        inspect(second)
    made.leave("stopped")
    inspect(first)
    with pytest.raises(UserError, match="'inspect/first' cleaned nothing: its recipe names no"):
        inspect(second)


def test_dependants_of_a_replaced_inspection_refuse(empty_runs, tmp_path, capsys):
    (tmp_path / "mt.jsonl").write_bytes(lines(rows_of("mlt_Latn", 0, 20)))
    base = {"contamination": {}, "clean": {"filters": ["length"]}}
    for name, sources in (("first", [str(tmp_path / "mt.jsonl")]), ("second", ["inspect/first"])):
        what = wanted(tmp_path, name, **(base | {"data": {"sources": sources}}))
        (tmp_path / f"{name}.yaml").write_text(what.to_yaml(), encoding="utf-8")
        inspect(what)
    (tmp_path / "mt.jsonl").write_bytes(lines(rows_of("mlt_Latn", 0, 21)))
    what = recipe.load(tmp_path / "first.yaml")
    made = runs.Run.begin(what, fresh=True)
    inspection.make(made, what)
    made.finish()
    assert __main__.main(["run", str(tmp_path / "second.yaml")]) == 2
    assert (
        "was made from an earlier inspect/first, which has been replaced" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["contamination.sources=[quz.jsonl]"], "no such file (did you mean 'quiz.jsonl'?)"),
        (["contamination.sources=[.]"], "is a folder; name its files"),
        (["contamination.sources=[bad.jsonl]"], "bad.jsonl:1: not JSON; an evaluation set has"),
        (["tokenizer=t.jsn"], "no tokenizer at 't.jsn' (did you mean 't.json'?)"),
        (["tokenizer=t.json"], "t.json' cannot be read"),
        (["tokenizer=tokenizer/none"], "no run 'tokenizer/none' to build upon"),
        (["clean.filters=[lenght]"], "no filter 'lenght' (did you mean 'length'?)"),
        (["--workers=-1"], "workers must not be negative, it is -1"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_run(
    tmp_path, empty_runs, monkeypatch, capsys, words, told
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    (tmp_path / "quiz.jsonl").write_bytes(lines([{"q": "?"}]))
    (tmp_path / "bad.jsonl").write_bytes(b"{\n")
    (tmp_path / "t.json").write_text("{}")
    (tmp_path / "mt.jsonl").write_bytes(lines(rows_of("mlt_Latn", 0, 3)))
    what = wanted(tmp_path, "mistaken", data={"sources": ["mt.jsonl"]}, contamination={})
    (tmp_path / "a.yaml").write_text(what.to_yaml(), encoding="utf-8")
    assert __main__.main(["run", str(tmp_path / "a.yaml"), *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert told in said[-1]
    assert "Traceback" not in "".join(said)
    assert not (empty_runs / "inspect" / "mistaken").exists()


def test_an_inspection_without_documents_keeps_only_what_was_set_aside(tmp_path, empty_runs):
    (tmp_path / "mt.jsonl").write_bytes(b"")
    what = wanted(tmp_path, "empty", contamination={})
    for content, left in ((b"", {"recipe.yaml", "record.json"}), (b"{\n", {"quarantine.jsonl"})):
        (tmp_path / "mt.jsonl").write_bytes(content)
        with pytest.raises(UserError, match="no document in the chosen languages"):
            inspect(what)
        found = {path.name for path in (empty_runs / "inspect" / "empty").iterdir()}
        assert found == {"recipe.yaml", "record.json"} | left
        shutil.rmtree(empty_runs)


def test_tokens_are_counted_with_any_tokenizer_that_can_be_measured(
    tmp_path, empty_runs, monkeypatch
):
    """A relative folder too, which workers find from wherever they are."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    own = rows_of("mlt_Latn", 0, 3)
    (tmp_path / "mt.jsonl").write_bytes(lines(own))
    (tmp_path / "other").mkdir()
    tokenizer.train(iter(TEXTS["mlt_Latn"]), 300).save(str(tmp_path / "other" / "tokenizer.json"))
    what = wanted(
        tmp_path,
        "tokens",
        data={"sources": ["mt.jsonl"]},
        contamination={},
        clean={},
        tokenizer="other",
    )
    tasks = []
    monkeypatch.setattr(
        survey, "measure", lambda task, measure=survey.measure: tasks.append(task) or measure(task)
    )
    made = inspect(what)
    expected = cutters.cutter(str(tmp_path / "other")).encode([row["text"] for row in own])
    (table,) = (made.path / "documents").iterdir()
    counted = pyarrow.parquet.read_table(table)["tokens"].to_pylist()
    assert counted == [len(ids) for ids in expected]
    (row,) = made.read_result("languages")
    assert row["tokens"] == sum(counted)
    assert [Path(task.tokenizer).is_absolute() for task in tasks] == [True]


def test_short_evaluation_texts_are_not_looked_for_and_are_counted(tmp_path, empty_runs):
    words = [f"kelma{n}" for n in range(30)]
    texts = {
        "twelve": " ".join(["xi", *words[:12], "ieħor"]),
        "thirteen": " ".join(["xi", *words[:13], "ieħor"]).upper(),
        "short": "din hija mistoqsija qasira",
    }
    rows = [{"id": name, "lang": "mt", "text": text} for name, text in texts.items()]
    (tmp_path / "mt.jsonl").write_bytes(lines(rows))
    questions = [{"q": " ".join(words)}, {"q": texts["short"], "a": ["iva", {"b": "le"}]}]
    (tmp_path / "quiz.jsonl").write_bytes(lines(questions))
    made = inspect(
        wanted(
            tmp_path,
            "quiz",
            data={"sources": [str(tmp_path / "mt.jsonl")]},
            contamination={"sources": [str(tmp_path / "quiz.jsonl")]},
            clean={"filters": ["contamination"]},
        )
    )
    assert [row["id"] for row in read_lines(made.path / "dropped")] == ["thirteen"]
    assert made.record["happened"]["evaluation"] == {"texts": 4, "too_short": 3}
    used = {one["source"]: one.get("used_for") for one in made.record["provenance"]["data"]}
    assert list(used.values()) == [None, "contamination"]
    assert list(used)[1].endswith("/quiz.jsonl")


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")
def test_the_cleaned_documents_come_with_metadata(baseline):
    file = baseline.path / "cleaned" / "croissant.json"
    data_set = mlcroissant.Dataset(file)
    assert not data_set.metadata.ctx.issues.errors
    about = disk.read_json(file)
    documents = len(read_lines(baseline.path / "cleaned"))
    assert about["name"] == "same"
    assert about["description"] == (
        f"{documents} documents in 6 languages, kept by an inspection that asked: "
        "Are all results the same?"
    )
    (protocol, *_) = about["rai:dataPreprocessingProtocol"]
    assert "personal-data 1, contamination 1" in protocol
    assert sorted(about["inLanguage"]) == ["cnr", "el", "fi", "mt", "sr-Latn", "uk"]
    stated = {entry["name"]: entry for entry in about["distribution"] if "sha256" in entry}
    files = sorted((baseline.path / "cleaned").glob("*.jsonl.zst"))
    assert {file.name: disk.sha256(file) for file in files} == {
        name: entry["sha256"] for name, entry in stated.items()
    }


def test_an_inspection_is_shown_in_columns_that_fit(baseline, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUNS", str(baseline.path.parent.parent))
    shown = commands.show("inspect/same")
    happened = baseline.record["happened"]
    assert f"faults   4 set aside, first: {happened['faults']['first'][0]}" in shown
    assert f"dropped  {sum(happened['dropped'].values())} of 215 documents: " in shown
    assert "personal-data 1, contamination 1" in shown
    (header,) = [line for line in shown.splitlines() if line.startswith("tag ")]
    assert header.split()[:4] == ["tag", "language", "documents", "documents_kept"]
    assert len(header) < 150
