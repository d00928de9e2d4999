"""Joules: counters worked by hand, what is found on a machine, sessions added up."""

import os
import stat
import sys
import threading
import time
import types

import pytest

from workbench import energy, recipe
from workbench import run as runs

ASKED = recipe.parse("kind: inspect\nname: x\nwhy: to see\n")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch, tmp_path):
    """A machine without NVIDIA's library and program, whatever the real one has."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def zone(folder, place, name, microjoules, most=262_143_328_850):
    path = folder / place
    path.mkdir(parents=True, exist_ok=True)
    for file, value in (
        ("name", name),
        ("energy_uj", microjoules),
        ("max_energy_range_uj", most),
    ):
        (path / file).write_text(f"{value}\n")
    return path


def test_packages_and_memory_are_counted_and_their_parts_are_not(tmp_path):
    package = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    core = zone(tmp_path, "intel-rapl:0:0", "core", 1_000_000)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 2_000_000)
    platform = zone(tmp_path, "intel-rapl:1", "psys", 9_000_000)
    doubled = zone(tmp_path, "intel-rapl-mmio:0", "package-0", 5_000_000)
    counter = energy.rapl(tmp_path)
    for path, now in ((package, 8_000_000), (memory, 2_500_000)):
        (path / "energy_uj").write_text(f"{now}\n")
    for path in (core, platform, doubled):
        (path / "energy_uj").write_text("99000000\n")
    assert counter.joules() == 3.5
    assert counter.boundary.startswith("processor packages and memory as RAPL counts them")


def test_a_counter_that_begins_anew_by_hand(tmp_path):
    """Of a range of 1000: from 900 over the end to 100 are 200, then 400 more."""
    package = zone(tmp_path, "intel-rapl:0", "package-0", 900, most=1000)
    counter = energy.rapl(tmp_path)
    (package / "energy_uj").write_text("100\n")
    assert counter.joules() == pytest.approx(200e-6)
    (package / "energy_uj").write_text("500\n")
    assert counter.joules() == pytest.approx(600e-6)
    assert "without memory" in counter.boundary


def test_what_cannot_be_read_is_not_there(tmp_path):
    assert energy.rapl(tmp_path) is None
    package = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    zone(tmp_path, "intel-rapl:1", "package-1", 1)
    (package / "energy_uj").unlink()  # half of the machine would pass for all of it
    assert energy.rapl(tmp_path) is None


def test_a_counter_lost_on_the_way_keeps_what_it_told(tmp_path):
    package = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    counter = energy.rapl(tmp_path)
    (package / "energy_uj").write_text("4000000\n")
    assert counter.joules() == 4
    (package / "energy_uj").unlink()
    assert counter.joules() == 4


def test_processor_time_is_an_estimate_and_says_so(monkeypatch):
    times = iter([(10.0, 1.0, 2.0, 0.5, 0.0), (13.0, 1.5, 2.25, 0.75, 0.0)])
    monkeypatch.setattr(energy.os, "times", lambda: os.times_result(next(times)))
    counter = energy.ProcessorTime()
    # 3 + 0.5 + 0.25 + 0.25 s at the 12 W that Green Algorithms takes for any processor.
    assert counter.joules() == 48
    assert not counter.measured
    assert "12 W a core, an assumption" in counter.source
    assert "doi 10.1002/advs.202100707" in counter.source


class FakeNvml(types.ModuleType):
    """NVIDIA's library with two GPUs, whose counters stand in millijoules."""

    class NVMLError(Exception):
        pass

    def __init__(self, millijoules):
        super().__init__("pynvml")
        self.millijoules = millijoules

    def nvmlInit(self):  # noqa: N802
        pass

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.millijoules)

    def nvmlDeviceGetHandleByIndex(self, number):  # noqa: N802
        return number

    def nvmlDeviceGetHandleByUUID(self, name):  # noqa: N802
        return {"GPU-b": 1}[name]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        if self.millijoules[handle] is None:
            raise self.NVMLError
        return self.millijoules[handle]


@pytest.mark.parametrize(
    ("visible", "joules", "said"),
    [
        (None, 3.0, "2 GPUs"),
        ("1", 2.0, "one GPU"),
        ("GPU-b", 2.0, "one GPU"),
        ("0,-1,1", 1.0, "one GPU"),
    ],
)
def test_the_counters_of_visible_gpus(monkeypatch, tmp_path, visible, joules, said):
    library = FakeNvml([500, 7000])
    monkeypatch.setitem(sys.modules, "pynvml", library)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (counter,) = energy.counters(tmp_path)
    library.millijoules[:] = [1500, 9000]
    assert counter.joules() == joules
    assert counter.boundary.startswith(said)
    assert "without processors" in counter.boundary
    library.millijoules[:] = [None, None]
    assert counter.joules() == joules


@pytest.mark.parametrize("millijoules", [[], [None]])
def test_no_gpu_or_no_counter_leaves_the_estimate(monkeypatch, tmp_path, millijoules):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(millijoules))
    (counter,) = energy.counters(tmp_path)
    assert not counter.measured


def test_gpus_and_processors_are_added_up(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", library := FakeNvml([0]))
    package = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = energy.Meter(found=energy.counters(tmp_path))
    library.millijoules[:] = [3000]
    (package / "energy_uj").write_text("2000000\n")
    record = meter.record()
    meter.close()
    assert (record["joules"], record["measured"]) == (5.0, True)
    assert record["source"] == "NVML total energy; RAPL"
    assert "without processors" not in record["boundary"]


def test_what_is_not_counted_of_a_machine_with_amds_gpus_is_told(tmp_path):
    amd = tmp_path / "kfd"
    (counter,) = energy.counters(tmp_path, amd)
    assert "AMD" not in counter.boundary
    amd.touch()
    (counter,) = energy.counters(tmp_path, amd)
    assert counter.boundary.endswith("no cooling; AMD's GPUs are not counted")
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    record = energy.Meter(found=energy.counters(tmp_path, amd)).record()
    assert record["measured"]
    assert record["boundary"].endswith("; AMD's GPUs are not counted")


def smi(tmp_path, *watts):
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir(exist_ok=True)
    lines = "\n".join(f"echo '{one}'" for one in watts)
    program.write_text(f"#!/bin/sh\n{lines}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_power_that_nvidia_smi_tells_is_added_up_by_hand(monkeypatch, tmp_path):
    """Two GPUs: 300 W for ten seconds, then 500 W for two, and no word after that."""
    clock = [100.0]
    monkeypatch.setattr(energy.time, "monotonic", lambda: clock[0])
    smi(tmp_path, "100.0", "200.0")
    counter = energy.nvidia_smi()
    clock[0] = 102.0
    assert counter.joules() == 600
    smi(tmp_path, "200.0", "300.0")
    clock[0] = 110.0
    counter.read()
    clock[0] = 112.0
    assert counter.joules() == 3000 + 1000
    smi(tmp_path, "[N/A]", "300.0")
    counter.read()
    clock[0] = 113.0
    assert counter.joules() == 3000 + 1500
    assert counter.boundary.startswith("2 GPUs")


def test_nvidia_smi_without_a_power_is_not_taken(monkeypatch, tmp_path):
    smi(tmp_path, "[N/A]")
    assert energy.nvidia_smi() is None
    smi(tmp_path, "100.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert energy.nvidia_smi() is None


def test_nobody_waits_for_a_slow_nvidia_smi(tmp_path):
    smi(tmp_path, "100.0")
    counter = energy.nvidia_smi()
    asked, answer = tmp_path / "asked", tmp_path / "answer"
    (tmp_path / "bin" / "nvidia-smi").write_text(
        f"#!/bin/sh\n: > '{asked}'\n"
        f"for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do\n"
        f"  [ -e '{answer}' ] && break\n  /bin/sleep 0.5\ndone\necho 200.0\n"
    )
    reading = threading.Thread(target=counter.read)
    reading.start()
    while not asked.exists():
        time.sleep(0.01)
    first = counter.joules()
    assert first > 0
    assert reading.is_alive(), "the program was waited for"
    answer.touch()
    reading.join()
    assert counter.joules() > first


class Slow:
    """A counter whose reading ends when it is let go, or after a long while."""

    source, boundary, measured, fleeting = "a slow one", "all", True, True

    def __init__(self):
        self.asked, self.let_go = threading.Event(), threading.Event()
        self.readings = 0

    def read(self):
        self.asked.set()
        self.let_go.wait(20)
        self.readings += 1

    def joules(self):
        return 7 + self.readings


def test_a_slow_reading_holds_up_neither_steps_nor_the_end(empty_runs, monkeypatch):
    monkeypatch.setattr(energy, "SAMPLE_SECONDS", 0.001)
    slow, other = Slow(), Slow()
    other.let_go.set()
    monkeypatch.setattr(energy, "counters", lambda: [slow, other])
    run = runs.Run.begin(ASKED)
    assert slow.asked.wait(20)
    while not other.readings:  # it has a thread of its own
        time.sleep(0.01)
    assert run.joules() >= 7 + 7
    run.leave("stopped")
    assert slow.readings == 0, "the reading was waited for"
    assert run.record["happened"]["energy"]["joules"] >= 7 + 7
    slow.let_go.set()


class Fixed:
    measured, fleeting = True, False

    def __init__(self, joules, source="a counter", measured=True):
        self.source, self.boundary, self.measured = source, "all", measured
        self._joules = joules

    def joules(self):
        return self._joules


def test_sessions_are_added_up_and_an_estimate_stays_one():
    first = energy.Meter(found=[Fixed(5)]).record()
    second = energy.Meter(first, [Fixed(7)]).record()
    assert second == {"joules": 12.0, "source": "a counter", "boundary": "all", "measured": True}
    third = energy.Meter(second, [Fixed(1, "a guess", measured=False)]).record()
    assert third["source"] == "earlier: a counter; then: a guess"
    assert (third["joules"], third["measured"]) == (13.0, False)
    assert not energy.Meter(third, [Fixed(1)]).record()["measured"]


def test_a_run_adds_its_sessions_up_even_a_killed_one(empty_runs, monkeypatch):
    monkeypatch.setattr(energy, "counters", lambda: [Fixed(10)])
    run = runs.Run.begin(ASKED)
    assert run.record["happened"]["energy"]["source"] == "a counter"
    run.metric(step=1, energy_joules=run.joules())
    run.leave("stopped")
    run = runs.Run.begin(ASKED)
    run.metric(step=2, energy_joules=run.joules())
    run._close()  # as if killed: the record knows of the first session alone
    run = runs.Run.begin(ASKED)
    run.finish()
    assert run.record["happened"]["energy"]["joules"] == 30.0


def test_energy_in_words():
    assert energy.told(412.4) == "412 J"
    assert energy.told(36_240) == "36.2 kJ"
    assert energy.told(1.8e6) == "1.80 MJ (0.50 kWh)"
