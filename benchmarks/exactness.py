"""A training that is killed fifty times ends in the same bits, and no damage goes unnoticed.

    python -m benchmarks.exactness [--kills 50] [--stops 10] [--seed 1]

One pretraining on the starter corpus goes undisturbed. Another of the same recipe is killed with
SIGKILL, taken up by the same command, killed again, and now and then stopped with SIGTERM or
SIGINT. The moments are drawn: while a session opens the run, while it makes ready, while it trains,
and half of them while it writes a checkpoint, for which the folder is watched. Each session must
take up what the one before left, and in the end weights, moments, random states, metrics and names
of files must be those of the undisturbed run. Then a checkpoint is damaged in place, a byte at a
time, and each damage must be told under the name of the file that has it.

Most sessions are forked from this process, which has loaded the modules that the command loads and
has one thread, and call what the terminal calls; others, and the undisturbed run, are processes
started from the terminal's command line. All compute on a CPU with one thread. Linux.
"""

import argparse
import importlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    # Before torch and Arrow come: a process with several threads cannot be forked soundly.
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
    }

import psutil
import torch
from safetensors.torch import load_file

from benchmarks import common
from workbench import __main__ as terminal
from workbench import checkpoint, disk
from workbench import model as models
from workbench import run as runs

RESULT = common.RESULTS / "exactness.json"
RECIPES = common.PROJECT / "recipes"
STATUS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
OPENS, BEGINS, TRAINS, WRITES = "opens the run", "makes ready", "trains", "writes a checkpoint"
# How long after its start a forked session is still about to open the run.
OPENING_SECONDS = 0.3
# Few, so that a session makes ready quickly; three scripts.
LANGUAGES = ("mt", "fi", "en", "el", "ka")
EVERY = 7
BY_TERMINAL = 10
"""One session in so many is started from the terminal's command line."""
PATIENCE = 300.0
# Measured anew by the clock of a session; the rest of a row is computed.
TIMED = (
    "tokens_per_second",
    "seconds_to_go",
    "wait_share",
    "energy_joules",
    "memory_bytes",
)


class Failed(RuntimeError):
    """A session ended as none may."""


class Session:
    """A process that carries a recipe out, and what can be seen of it from outside."""

    def __init__(self, words, folder, log, by_terminal):
        self.folder, self.log = folder, log
        self.began = time.time()
        self._size = self._metrics_size()
        if by_terminal:
            environment = os.environ | {"PYTHONPATH": str(common.PROJECT)}
            command = [sys.executable, "-m", "workbench", *words]
            with log.open("wb") as out:
                self._process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        elif psutil.Process().num_threads() > 1:
            raise Failed("this process has several threads and cannot be forked soundly")
        else:
            fork = multiprocessing.get_context("fork")
            self._process = fork.Process(target=_as_terminal, args=(words, log))
            self._process.start()
        # Who watches must not wait for who is watched.
        psutil.Process(self._process.pid).nice(min(19, os.nice(0) + 2))

    @property
    def status(self):
        """The exit status, negative if a signal ended it; ``None`` while it runs."""
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll()
        return self._process.exitcode

    def send(self, number):
        os.kill(self._process.pid, number)

    def wait(self, what=lambda: False):
        """Wait until ``what`` is so, or the process has ended; return whether it was so."""
        last = time.monotonic() + PATIENCE
        while self.status is None:
            if what():
                return True
            if time.monotonic() > last:
                self.send(signal.SIGKILL)
                raise Failed(f"nothing happened for {PATIENCE:.0f} s: {self.said()}")
            time.sleep(0.001)
        return False

    def has_opened(self):
        return self._is_new(self.folder / runs.RECORD)

    def has_stepped(self):
        """Whether the metrics have grown since the last look; taking a run up cuts them."""
        before, self._size = self._size, self._metrics_size()
        return self._size > before

    def writing(self):
        """Return the folder of the checkpoint that this session has begun to write, if any."""
        found = (self.folder / "checkpoints").glob(".step-*")
        return next((one for one in found if self._is_new(one)), None)

    def said(self):
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def _metrics_size(self):
        file = self.folder / runs.METRICS
        return file.stat().st_size if file.exists() else 0

    def _is_new(self, path):
        try:
            return path.stat().st_mtime >= self.began
        except FileNotFoundError:  # not yet, or renamed just now
            return False


def _as_terminal(words, log):
    with log.open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.exit(terminal.main(words))


def undisturbed(words, folder, log):
    """Carry the recipe out; return seconds from opening to the first step, of a write, a step."""
    session = Session(words, folder, log, by_terminal=True)
    session.wait(session.has_opened)
    opened = time.monotonic()
    session.wait(session.has_stepped)
    first = time.monotonic()
    session.wait(session.writing)
    step, writes = (time.monotonic() - first) / (EVERY - 1), []
    while session.wait(session.writing):
        began = time.monotonic()
        session.wait(lambda: session.writing() is None)
        writes.append(time.monotonic() - began)
    if session.status:
        raise Failed(f"undisturbed, exit status {session.status}: {session.said()}")
    return first - opened, statistics.median(writes), step


def moments(kills, stops, random_):
    """Return pairs of a signal and what the session does then; the run is opened only once."""
    opening = [(signal.SIGKILL, OPENS)] * (kills // 10)
    ready, writing = kills // 5, kills - kills // 2
    others = [(signal.SIGKILL, WRITES)] * writing + [(signal.SIGKILL, BEGINS)] * ready
    others += [(signal.SIGKILL, TRAINS)] * (kills - len(others) - len(opening))
    others += [(signal.SIGINT if one % 2 else signal.SIGTERM, TRAINS) for one in range(stops)]
    random_.shuffle(others)
    return opening + others


def strike(session, number, moment, times, random_, near_end):
    """Send the signal at a random time within the moment; return whether it reached the session."""
    # The moment may be over sooner than it was in the undisturbed run; then it is now or never.
    ready, write, step = times
    is_over = session.has_stepped
    if moment == OPENS:
        delay = random_.uniform(0, OPENING_SECONDS)
    elif moment == BEGINS:
        session.wait(session.has_opened)
        delay = random_.uniform(0, ready)
    elif moment == TRAINS:
        for _ in range(1 if near_end else random_.randint(1, 2 * EVERY)):
            session.wait(session.has_stepped)
        delay = random_.uniform(0, step)
    else:
        session.wait(session.writing)
        if not near_end and random_.random() < 0.5:  # the second one: the run gets on
            session.wait(lambda: session.writing() is None)
            session.wait(session.writing)
        delay = random_.uniform(0, write)

        def is_over():
            return session.writing() is None

    last = time.monotonic() + delay
    session.wait(lambda: time.monotonic() >= last or is_over())
    if session.status is None:
        session.send(number)
    session.wait()


def killed(words, folder, logs, plan, times, steps, random_):
    """Kill and take up again as planned, then let it end; return what happened, counted."""
    within, during, stopped = Counter(), Counter(), Counter()
    kills = by_terminal = 0
    for turn, (number, moment) in enumerate(plan):
        from_terminal = moment != OPENS and turn % BY_TERMINAL == 0
        by_terminal += from_terminal
        session = Session(words, folder, logs / f"{turn}.log", from_terminal)
        near_end = _last_step(folder) > steps - 10 * EVERY
        strike(session, number, moment, times, random_, near_end)
        if session.status != STATUS[number]:
            raise Failed(
                f"session {turn}, {signal.Signals(number).name} while it {moment}: "
                f"exit status {session.status}: {session.said()}"
            )
        found, problems = checkpoint.latest(folder / "checkpoints")
        if problems:
            raise Failed(f"session {turn}: {problems}")
        if number == signal.SIGKILL:
            kills += 1
            left = session.writing()
            during[WRITES if left else TRAINS if moment == WRITES else moment] += 1
            if left:
                within[_last_written(left)] += 1
        else:
            stopped[signal.Signals(number).name] += 1
            if found is None or int(found.name.removeprefix("step-")) != _last_step(folder):
                raise Failed(f"session {turn} was stopped and did not save: {session.said()}")
        print(f"{turn + 1}/{len(plan)}, step {_last_step(folder)}", file=sys.stderr, flush=True)
    last = Session(words, folder, logs / "last.log", by_terminal=True)
    last.wait()
    if last.status:
        raise Failed(f"last session, exit status {last.status}: {last.said()}")
    return {
        "kills": kills,
        "kills_while_it": dict(during),
        "within_a_write_the_last_file_was": dict(within),
        "stops": dict(stopped),
        "sessions": len(plan) + 1,
        "sessions_from_the_terminal": by_terminal + 1,
    }


def _last_step(folder):
    rows = disk.read_jsonl(folder / runs.METRICS)
    return rows[-1]["step"] if rows else 0


def _last_written(folder):
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    return files[-1].name.removeprefix(".").split(".json.")[0] if files else "none yet"


def compare(one, other):
    """Return what is equal in two runs, of which the second was disturbed."""
    saved, its = (checkpoint.latest(run.path / "checkpoints")[0] for run in (one, other))
    state, its_state = (disk.read_json(folder / checkpoint.STATE) for folder in (saved, its))
    rows, its_rows = ([_computed(row) for row in run.metrics()] for run in (one, other))
    return {
        "final_weights": _equal(
            *(run.path / "model" / "model.safetensors" for run in (one, other))
        ),
        "weights_of_the_last_checkpoint": _equal(
            saved / "model.safetensors", its / "model.safetensors"
        ),
        "moments": _equal(saved / "state.safetensors", its / "state.safetensors"),
        "random_state": state["random"][0]["torch"] == its_state["random"][0]["torch"],
        "position_in_the_text": state["drawn"] == its_state["drawn"],
        "each_step_once": [row["step"] for row in its_rows] == list(range(1, len(rows) + 1)),
        "metrics": rows == its_rows,
        "names_of_files": disk.checksums(one.path).keys() == disk.checksums(other.path).keys(),
        "verified": not runs.verify(other),
    }


def _equal(file, its_file):
    tensors, its = load_file(file), load_file(its_file)
    return tensors.keys() == its.keys() and all(
        torch.equal(tensors[name], its[name]) for name in tensors
    )


def _computed(row):
    return {key: value for key, value in row.items() if key not in TIMED}


def damage(folder, flips, whole, random_):
    """Damage every file of the newest checkpoint; return a row a file of what went unnoticed.

    Args:
        folder: holds two checkpoints or more, and is as before when this is done.
        flips: bytes that are changed one after another in a file, at random places.
        whole: up to so many bytes, every byte of a file is changed.
        random_: draws places, and what a byte becomes.
    """
    newest, previous = sorted(folder.glob("step-*"), reverse=True)[:2]
    rows = []
    for file in sorted(one for one in newest.rglob("*") if one.is_file()):
        name, size = file.relative_to(newest).as_posix(), file.stat().st_size
        told = re.compile(
            rf"{newest.name} is damaged \({re.escape(name)} is (changed|missing)\), .*"
        )
        row = {"file": name, "bytes": size, "flips": 0, "cuts": 0, "deletions": 0}
        row |= {"undetected": 0, "told_wrongly": 0, "previous_not_taken": 0}
        for kind in _damages(file, flips, whole, random_):
            found, problems = checkpoint.latest(folder)
            row[kind] += 1
            row["undetected"] += found == newest
            row["told_wrongly"] += len(problems) != 1 or not told.fullmatch(problems[0])
            row["previous_not_taken"] += found != previous
        rows.append(row)
    if checkpoint.latest(folder) != (newest, []):
        raise Failed(f"{newest.name} was not put back as it was")
    return rows


def _damages(file, flips, whole, random_):
    """Damage a file in one way after another, and say the kind; in between it is repaired."""
    content = file.read_bytes()
    size = len(content)
    places = range(size) if size <= whole else random_.sample(range(size), min(flips, size))
    descriptor = os.open(file, os.O_RDWR)
    try:
        for place in places:
            changed = content[place] ^ random_.randrange(1, 256)
            os.pwrite(descriptor, bytes([changed]), place)
            yield "flips"
            os.pwrite(descriptor, content[place : place + 1], place)
    finally:
        os.close(descriptor)
    for length in sorted({0, size // 2, size - 1}):
        file.write_bytes(content[:length])
        yield "cuts"
    file.unlink()
    yield "deletions"
    file.write_bytes(content)


def words_of(kind, name, languages, *more):
    """Return a command that carries out a starter recipe."""
    chosen = f"data.languages=[{','.join(languages)}]"
    return ["run", str(RECIPES / kind / "starter.yaml"), f"name={name}", chosen, *more]


def measure(work, asked):
    """Do the whole in the folder ``work``; return what is to be written."""
    for name in ("commands", "pretrain", "plots", "vocabulary"):
        importlib.import_module(f"workbench.{name}")
    models.build("nano", 300, 64, 0, 1)  # loads the modules of the architecture
    logs, pretrained = work / "logs", work / "runs" / "pretrain"
    logs.mkdir()
    vocabulary = words_of("tokenizer", "starter", asked.languages, f"vocabulary.size={asked.size}")
    made = Session(vocabulary, work / "runs" / "tokenizer" / "starter", logs / "v.log", True)
    made.wait()
    if made.status:
        raise Failed(f"the vocabulary, exit status {made.status}: {made.said()}")
    settings = [
        *(f"train.steps={asked.steps}", f"train.checkpoint_every={EVERY}", "train.batch=2"),
        *("train.sequence=64", "train.precision=fp32", "train.compile=never"),
        *(f"train.validate_every={15 * EVERY}", "train.validation_documents=1"),
    ]
    began = time.monotonic()
    times = undisturbed(
        words_of("pretrain", "undisturbed", asked.languages, *settings),
        pretrained / "undisturbed",
        logs / "undisturbed.log",
    )
    one = runs.find("pretrain/undisturbed")
    random_ = random.Random(asked.seed)
    happened = killed(
        words_of("pretrain", "killed", asked.languages, *settings),
        pretrained / "killed",
        logs,
        moments(asked.kills, asked.stops, random_),
        times,
        asked.steps,
        random_,
    )
    equal = compare(one, runs.find("pretrain/killed"))
    trained = time.monotonic() - began
    copy = work / "copy"
    shutil.copytree(one.path / "checkpoints", copy)
    rows = damage(copy, asked.flips, asked.whole, random_)
    return {
        "about": "a training killed and taken up against one undisturbed; damaged checkpoints",
        "seed": asked.seed,
        "versions": common.versions("torch", "transformers", "accelerate", "safetensors", "numpy"),
        "hardware": common.hardware(),
        "threads": torch.get_num_threads(),
        "settings": {"languages": list(asked.languages), "vocabulary": asked.size},
        "overrides": settings,
        "training": {
            **happened,
            "steps": asked.steps,
            "steps_between_checkpoints": EVERY,
            "seconds_of_a_write": round(times[1], 3),
            "seconds": round(trained),
            "equal": equal,
        },
        "damage": {"seconds": round(time.monotonic() - began - trained), "files": rows},
    }


def summary(found):
    """Return what was found in a few lines."""
    training, files = found["training"], found["damage"]["files"]
    differing = [name for name, equal in training["equal"].items() if not equal]
    tried = sum(row["flips"] + row["cuts"] + row["deletions"] for row in files)
    unnoticed = [row["file"] for row in files if row["undetected"]]
    wrongly = [row["file"] for row in files if row["told_wrongly"] or row["previous_not_taken"]]
    within = training["kills_while_it"].get(WRITES, 0)
    return [
        f"{training['kills']} kills, {within} of them within the write of a checkpoint, and "
        f"{sum(training['stops'].values())} stops in {training['steps']} steps; each of "
        f"{training['sessions']} sessions took up what was left",
        f"not as in the undisturbed run: {', '.join(differing) or 'nothing'}",
        f"{tried:,} damages of {len(files)} files: undetected in {', '.join(unnoticed) or 'none'}, "
        f"told wrongly of {', '.join(wrongly) or 'none'}",
    ]


def right(found):
    faults = ("undetected", "told_wrongly", "previous_not_taken")
    unnoticed = sum(row[fault] for row in found["damage"]["files"] for fault in faults)
    return all(found["training"]["equal"].values()) and not unnoticed


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="with SIGKILL")
    parser.add_argument("--stops", type=int, default=10, help="with SIGTERM and SIGINT, in turn")
    parser.add_argument("--steps", type=int, default=90 * EVERY, help="of the training")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and the damages")
    parser.add_argument("--flips", type=int, default=100, help="bytes changed in a large file")
    parser.add_argument("--whole", type=int, default=2048, help="bytes of a file changed in whole")
    parser.add_argument("--languages", nargs="+", default=LANGUAGES, help="to train on")
    parser.add_argument("--size", type=int, default=1024, help="of the vocabulary")
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"WORKBENCH_HOME": folder, "WORKBENCH_RUNS": str(Path(folder) / "runs")}
        try:
            found = measure(Path(folder), asked)
        except Failed as fault:
            print(f"not exact: {fault}", file=sys.stderr)
            return 1
    common.write_json(asked.out, found)
    print("\n".join(summary(found)))
    return 0 if right(found) else 1


if __name__ == "__main__":
    sys.exit(main())
