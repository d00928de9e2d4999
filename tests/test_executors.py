"""Work in pieces: stopped soon, whoever does it, and ended with the process that wanted it."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from conftest import PROJECT

from workbench import executors
from workbench import run as runs
from workbench.errors import Stopped, UserError


def doubled(number):
    return 2 * number


def until_stopped(stop):
    """Work that would take a minute if nobody asked it to stop."""
    for _ in range(1200):
        if Path(stop).exists():
            raise Stopped("a piece was stopped")
        time.sleep(0.05)
    return "went on"


def killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


def third_fails(task):
    stop, number = task
    if number == 3:
        raise UserError("piece 3 is no good")
    return until_stopped(stop) if number > 3 else number


@pytest.fixture
def run(tmp_path):
    return runs.Run(tmp_path)


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_from_every_task(run, count):
    with executors.pool(count) as pool:
        assert sorted(executors.each(run, pool, doubled, range(20))) == list(range(0, 40, 2))
        assert list(executors.each(run, pool, doubled, [])) == []


def environment(name):
    return os.environ.get(name)


def test_each_process_computes_with_one_thread(run, monkeypatch):
    """Unless somebody has settled it; and what this process starts later is not told so."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    with executors.pool(2) as pool:
        assert sorted(executors.each(run, pool, environment, names)) == ["1", "3"]
    assert [environment(name) for name in names] == ["3", None]


def test_a_stop_reaches_work_that_has_begun(run):
    began = time.monotonic()
    threading.Timer(0.3, runs.request_stop, [run]).start()
    with executors.pool(1) as pool, pytest.raises(Stopped, match="what is finished is kept"):
        list(executors.each(run, pool, until_stopped, [run.path / runs.STOP] * 3))
    assert time.monotonic() - began < 30
    assert not (run.path / runs.STOP).exists(), "or the next session would stop at once"


def test_a_signal_reaches_work_that_has_begun(run):
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGTERM]).start()
    with executors.pool(1) as pool, pytest.raises(Stopped) as caught:
        list(executors.each(run, pool, until_stopped, [run.path / runs.STOP] * 3))
    assert caught.value.exit_status == 143


def test_a_mistake_in_one_piece_ends_the_others(run):
    stop = run.path / runs.STOP
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(until_stopped, stop)
        with pytest.raises(UserError, match="piece 3 is no good"):
            list(executors.each(run, pool, third_fails, [(stop, number) for number in range(9)]))
        assert isinstance(waiting.exception(), Stopped), "nothing is at work any more"


def test_a_killed_worker_is_one_line(run):
    with executors.pool(2) as pool, pytest.raises(UserError, match="a worker process was killed"):
        list(executors.each(run, pool, killed, range(3)))


def test_workers_end_with_a_process_that_is_killed(tmp_path):
    code = (
        "import sys, time\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_executors import executors, runs, until_stopped, Path\n"
        "run = runs.Run(Path(sys.argv[2]))\n"
        "with executors.pool(2) as pool:\n"
        "    list(executors.each(run, pool, until_stopped, [run.path / 'never'] * 4))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(f"if __name__ == '__main__':\n    {code.replace(chr(10), chr(10) + '    ')}")
    process = subprocess.Popen(
        [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path)], cwd=PROJECT
    )
    try:
        workers = []
        while len(workers) < 2 and process.poll() is None:
            workers = [
                child
                for child in psutil.Process(process.pid).children()
                if "spawn_main" in " ".join(child.cmdline())
            ]
            time.sleep(0.05)
        time.sleep(1)  # until they are at work
    finally:
        process.kill()
        process.wait()
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []
