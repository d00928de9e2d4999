"""What a run takes in joules: measured where the machine counts them, estimated where it does not.

GPUs are read from NVIDIA's own energy counter, or, without its library, from the power that
``nvidia-smi`` reports; processors from Linux's RAPL counters. Where neither can be read, the time
that the processor worked is multiplied by a stated power, and the result is called an estimate.
What a counter covers is stated with it. RAPL and GPUs count whatever runs on them, be it this
process or another.

AMD's GPUs are not counted, and where there is one the boundary says so. Of what its command tells,
``amd-smi metric --json``, the form is not documented and differs between releases; its manual calls
it an example; and the energy that it adds up has been reported wrong (ROCm/amdsmi issue 38).

The estimate is that of Green Algorithms (Lannelongue, Grealey and Inouye 2021, doi
10.1002/advs.202100707) for the cores alone: their time at work times the rated power of a core.
Which processor it is nobody looks up; the power is the one that they take for any, 12 W. In their
table of 79 processors (data/latest/TDP_cpu.csv of GreenAlgorithms/green-algorithms-tool) a core is
rated at 3.8 to 23.8 W, so that a core may have taken a third of the estimate or twice as much. They
count cores; the time that is counted here is that of threads, of which a core may run two at once.
"""

import contextlib
import importlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")
# Through which AMD's GPUs are computed on.
AMD_COMPUTE = Path("/dev/kfd")
# An assumption, and said to be one in every record: "Any" in the table of Green Algorithms.
WATTS_PER_CORE = 12.0
# A package of 300 W fills the counters' usual range of 262 kJ in 15 minutes.
SAMPLE_SECONDS = 5.0


class Counter(Protocol):
    """Something that counts energy."""

    source: str
    """What is read."""
    boundary: str
    """What is within the number, and what is not."""
    measured: bool
    """Whether the machine counts, or an assumption is behind the number."""
    fleeting: bool
    """Whether :meth:`read` has to be called often for the joules to be right."""

    def read(self) -> None:
        """Look at the machine, however long that takes."""
        ...

    def joules(self) -> float:
        """Return the joules since it was made, at once."""
        ...


class Meter:
    """The energy of a run, over all its sessions.

    Fleeting counters are read in a thread each, so that whoever asks for joules waits for none.
    """

    def __init__(
        self, before: Mapping[str, Any] | None = None, found: Sequence[Counter] | None = None
    ) -> None:
        """Begin to count.

        Args:
            before: the record of earlier sessions, to add to.
            found: what to read; where left out, what :func:`counters` finds.
        """
        self._before: Mapping[str, Any] = before or {}
        self._counters = list(counters() if found is None else found)
        self._over = threading.Event()
        for counter in self._counters:
            if counter.fleeting:
                threading.Thread(target=self._sample, args=(counter,), daemon=True).start()

    def joules(self) -> float:
        """Return the joules of this and all earlier sessions."""
        now = sum(counter.joules() for counter in self._counters)
        return float(self._before.get("joules", 0.0)) + now

    def record(self) -> dict[str, Any]:
        """Return ``joules``, ``source``, ``boundary`` and whether all of it was ``measured``."""
        return {
            "joules": round(self.joules(), 3),
            "source": self._said("source"),
            "boundary": self._said("boundary"),
            "measured": bool(self._before.get("measured", True))
            and all(counter.measured for counter in self._counters),
        }

    def close(self) -> None:
        """Read no more by itself; a reading that is under way is not waited for."""
        self._over.set()

    def _said(self, what: str) -> str:
        now = "; ".join(getattr(counter, what) for counter in self._counters)
        before = self._before.get(what, now)
        return now if before == now else f"earlier: {before.removeprefix('earlier: ')}; then: {now}"

    def _sample(self, counter: Counter) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            counter.read()


def counters(powercap: Path = POWERCAP, amd: Path = AMD_COMPUTE) -> list[Counter]:
    """Return what this machine counts with; an estimate where nothing can be read.

    Measured and estimated numbers are never added up: beside a GPU that is measured, processors
    without a counter are left out, and the boundary says so.
    """
    found: list[Counter] = []
    gpus = nvml() or nvidia_smi()
    processors = rapl(powercap)
    if gpus:
        if not processors:
            gpus.boundary += ", and without processors, which this machine does not tell"
        found.append(gpus)
    if processors:
        found.append(processors)
    found = found or [ProcessorTime()]
    if amd.exists():
        found[-1].boundary += "; AMD's GPUs are not counted"
    return found


class Rapl:
    """Intel's and AMD's running average power limit counters, as Linux shows them."""

    measured = True
    fleeting = True

    def __init__(self, zones: Sequence[Path], memory: bool) -> None:
        self.source = "RAPL"
        inside = "packages and memory" if memory else "packages, without memory,"
        self.boundary = (
            f"processor {inside} as RAPL counts them, with all that ran on this machine; "
            "no losses of power supplies, no cooling"
        )
        self._zones = [(zone, _number(zone / "max_energy_range_uj")) for zone in zones]
        self._last = [_number(zone / "energy_uj") for zone in zones]
        self._sum = 0
        self._reading = threading.Lock()

    def read(self) -> None:
        """Add what was taken since the last reading; a counter that began anew is put right.

        With a range of 1000, from 900 to 100 are 200.
        """
        with self._reading:
            for place, (zone, most) in enumerate(self._zones):
                with contextlib.suppress(OSError, ValueError):
                    now = _number(zone / "energy_uj")
                    self._sum += (now - self._last[place]) % most
                    self._last[place] = now

    def joules(self) -> float:
        """Return the joules since it was made."""
        self.read()
        return self._sum / 1e6


def rapl(folder: Path = POWERCAP) -> Rapl | None:
    """Return the counters of packages and memory below ``folder``; ``None`` if one is unreadable.

    Cores and graphics are parts of a package, and ``psys`` has packages within it: none of them
    is counted twice. Since 2020 most systems let only the administrator read the counters.
    """
    zones, memory = [], False
    for zone in sorted(folder.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text(encoding="ascii").strip()
            if name == "dram" or name.startswith("package"):
                _number(zone / "energy_uj")
                if _number(zone / "max_energy_range_uj") <= 0:
                    return None
                zones.append(zone)
                memory = memory or name == "dram"
        except (OSError, ValueError):
            return None
    return Rapl(zones, memory) if zones else None


class Nvml:
    """The total energy counter of NVIDIA's GPUs, Volta or later, in millijoules."""

    measured = True
    fleeting = False

    def __init__(self, library: Any, handles: Sequence[Any]) -> None:
        self.source = "NVML total energy"
        self.boundary = _gpu_boundary(len(handles))
        self._library, self._handles = library, handles
        self._first = self._last = self._millijoules()

    def _millijoules(self) -> float:
        return float(sum(map(self._library.nvmlDeviceGetTotalEnergyConsumption, self._handles)))

    def read(self) -> None:
        """Ask the GPUs; one that does not answer keeps what was told last."""
        with contextlib.suppress(self._library.NVMLError):
            self._last = self._millijoules()

    def joules(self) -> float:
        """Return the joules since it was made."""
        self.read()
        return (self._last - self._first) / 1e3


def nvml() -> Nvml | None:
    """Return the counter of the GPUs that CUDA may see; ``None`` without library, GPU or counter.

    The library is ``nvidia-ml-py``, which is not installed with the workbench.
    """
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        library.nvmlInit()
        visible = _visible()
        handles = (
            [library.nvmlDeviceGetHandleByIndex(n) for n in range(library.nvmlDeviceGetCount())]
            if visible is None
            else [
                library.nvmlDeviceGetHandleByIndex(int(name))
                if name.isdigit()
                else library.nvmlDeviceGetHandleByUUID(name)
                for name in visible
            ]
        )
        return Nvml(library, handles) if handles else None
    except library.NVMLError:
        return None


class NvidiaSmi:
    """The power that ``nvidia-smi`` tells, taken to last until it tells anew.

    The program may take seconds to answer, and much longer where a driver is in trouble.
    """

    measured = True
    fleeting = True

    def __init__(self, program: str, visible: Sequence[str] | None) -> None:
        self._command = [
            program,
            *(["-i", ",".join(visible)] if visible else []),
            "--query-gpu=power.draw",
            "--format=csv,noheader,nounits",
        ]
        self._watts, gpus = self._ask()
        self._at = time.monotonic()
        self._sum = 0.0
        self._adding = threading.Lock()
        self.source = f"power that nvidia-smi tells, every {SAMPLE_SECONDS:.0f} s"
        self.boundary = _gpu_boundary(gpus)

    def _ask(self) -> tuple[float, int]:
        said = subprocess.run(
            self._command, capture_output=True, text=True, check=True, timeout=30
        ).stdout.splitlines()
        return sum(map(float, said)), len(said)

    def read(self) -> None:
        """Ask for the power; without an answer the last one still counts."""
        with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
            watts, _ = self._ask()
            with self._adding:
                now = time.monotonic()
                self._sum += (now - self._at) * self._watts
                self._watts, self._at = watts, now

    def joules(self) -> float:
        """Return the joules since it was made, the time since the last answer among them."""
        with self._adding:
            return self._sum + (time.monotonic() - self._at) * self._watts


def nvidia_smi() -> NvidiaSmi | None:
    """Return the power of the GPUs that CUDA may see; ``None`` where it is not told."""
    program, visible = shutil.which("nvidia-smi"), _visible()
    if program is None or visible == []:
        return None
    try:
        return NvidiaSmi(program, visible)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


class ProcessorTime:
    """An estimate: how long the processor worked for this process, times ``WATTS_PER_CORE``."""

    measured = False
    fleeting = False

    def __init__(self) -> None:
        self.source = (
            f"processor time x {WATTS_PER_CORE:g} W a core, an assumption of Green Algorithms "
            "(doi 10.1002/advs.202100707) for any processor"
        )
        self.boundary = (
            "processor cores while they worked for this process and those it has ended, counted "
            "once for each thread; no memory, no idle time, no losses of power supplies, no cooling"
        )
        self._first = self._seconds()

    def _seconds(self) -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    def read(self) -> None:
        """Do nothing: the time is known whenever it is asked for."""

    def joules(self) -> float:
        """Return the joules since it was made."""
        return (self._seconds() - self._first) * WATTS_PER_CORE


def told(joules: float) -> str:
    """Return an amount of energy for people.

    ``412 J``, ``36.2 kJ``, ``1.80 MJ (0.50 kWh)``.
    """
    if joules < 1e3:
        return f"{joules:.0f} J"
    if joules < 1e6:
        return f"{joules / 1e3:.1f} kJ"
    return f"{joules / 1e6:,.2f} MJ ({joules / 3.6e6:,.2f} kWh)"


def _gpu_boundary(count: int) -> str:
    many = "one GPU" if count == 1 else f"{count} GPUs"
    return (
        f"{many} of this node with memory, as NVIDIA counts, with all that ran there; "
        "no losses of power supplies, no cooling"
    )


def _visible() -> list[str] | None:
    """Return the GPUs that CUDA may see, by number or UUID; ``None`` where it may see all."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is None:
        return None
    names = []
    for name in said.split(","):
        # What stands after an invalid one is not seen, as CUDA's own reading has it.
        if not name.strip() or name.strip().startswith("-"):
            break
        names.append(name.strip())
    return names


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))
