"""What every benchmark needs: where it ran, a child process with its peak memory, results."""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from workbench.errors import UserError

PROJECT = Path(__file__).parent.parent
RESULTS = PROJECT / "benchmarks" / "results"
DATA = PROJECT.parent / "shared" / "data"
SAMPLED_EVERY = 0.05


def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of ``packages``, and Python's."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def hardware() -> dict[str, Any]:
    """Return what a time depends on: processor, cores that this process may use, memory."""
    return {
        "processor": _processor(),
        "cores": _cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Child:
    """How a process went that was run to its end."""

    seconds: float
    peak_bytes: int
    """The most resident memory that it and the processes which it started had together."""
    own_bytes: int
    """The most that it had itself."""
    largest_worker_bytes: int
    """The most that any one of the processes had which it started; 0 if there were none."""
    load: tuple[float, float]
    """Processes that wanted a core in the minute before it began, and in the last one."""
    output: str
    """What it wrote on both streams, the last 20,000 characters."""


class ChildFailed(RuntimeError):
    """A child process ended with an error, or took too long."""


def run_child(command: Sequence[str], timeout: float | None = None) -> Child:
    """Run a command from the project's folder, and watch its time and memory.

    Memory is read twenty times a second; of each process also its own high-water mark, where the
    system keeps one. Pages that processes share count in each of them.

    Raises:
        ChildFailed: it ended with an error, or ran longer than ``timeout`` seconds.
    """
    with tempfile.TemporaryFile() as stream:
        load = os.getloadavg()[0]
        began = time.perf_counter()
        process = psutil.Popen(command, cwd=PROJECT, stdout=stream, stderr=subprocess.STDOUT)
        peak = own = largest = 0
        late = False
        while process.poll() is None:
            together, itself, worker = _memory(process)
            peak, own, largest = max(peak, together), max(own, itself), max(largest, worker)
            if timeout is not None and time.perf_counter() - began > timeout:
                late = True
                for one in (*process.children(recursive=True), process):
                    one.kill()
                process.wait()
            time.sleep(SAMPLED_EVERY)
        seconds = time.perf_counter() - began
        stream.seek(0)
        output = stream.read().decode("utf-8", "replace")[-20_000:]
    if late:
        raise ChildFailed(f"{' '.join(command)}: stopped after {timeout:.0f} s")
    if process.returncode:
        raise ChildFailed(f"{' '.join(command)}: exit status {process.returncode}\n{output}")
    loads = (round(load, 2), round(os.getloadavg()[0], 2))
    return Child(round(seconds, 2), max(peak, own, largest), own, largest, loads, output)


def _memory(process: psutil.Process) -> tuple[int, int, int]:
    """Return the memory of a process and its children now, and the most that either ever had."""
    together = own = largest = 0
    try:
        for one in (process, *process.children(recursive=True)):
            now = one.memory_info().rss
            together += now
            highest = max(now, _high_water(one.pid))
            if one.pid == process.pid:
                own = highest
            else:
                largest = max(largest, highest)
    except psutil.Error:  # one of them has just ended
        pass
    return together, own, largest


def _high_water(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    marks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(marks[0]) * 1024 if marks else 0


def run_job(module: str, work: Path, content: Mapping[str, Any]) -> tuple[dict[str, Any], Child]:
    """Have ``benchmarks.<module> --child`` carry a job out in a process of its own.

    Args:
        module: whose ``main`` takes ``--child WORK JOB FOUND``.
        work: folder of the job and of what was found.
        content: the job, as plain values.

    Returns:
        What the process wrote to FOUND, and how it went.
    """
    job, found = work / "job.json", work / "found.json"
    write_json(job, content)
    words = (f"benchmarks.{module}", "--child", *map(str, (work, job, found)))
    done = run_child((sys.executable, "-m", *words))
    row: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return row, done


def exit_status(module: str, measure: Callable[[], None]) -> int:
    """Measure; return 0, or 2 after a user's mistake, which is told in one line."""
    try:
        measure()
    except UserError as mistake:
        print(f"benchmarks.{module}: {mistake}", file=sys.stderr)
        return 2
    return 0


def merge(
    path: Path,
    about: str,
    rows: Iterable[Mapping[str, Any]],
    key: Callable[[Mapping[str, Any]], Any],
    *packages: str,
    **facts: Any,
) -> list[dict[str, Any]]:
    """Add rows to a file of results, in the place of those with the same key; return all rows.

    Every row names the environment that it was measured in: versions and hardware, kept once
    beside the rows, so that parts which were run on different machines can be told apart.

    Args:
        path: the file, as JSON; made if it is not there.
        about: one line that says what the numbers are.
        rows: plain values.
        key: what two rows have in common if one is the other measured anew.
        packages: whose versions matter.
        facts: what holds for all rows.
    """
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    environment = {"versions": versions(*packages), "hardware": hardware()}
    name = hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()[:8]
    together = {key(row): dict(row) for row in old.get("rows", [])}
    together.update({key(row): {**row, "environment": name} for row in rows})
    merged = list(together.values())
    known = {**old.get("environments", {}), name: environment}
    used = {row["environment"] for row in merged}
    write_json(
        path,
        {
            "about": about,
            **facts,
            "environments": {one: known[one] for one in known if one in used},
            "rows": merged,
        },
    )
    return merged


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def qwen3(vocabulary: int, width: int = 256, layers: int = 6, seed: int = 1) -> Any:
    """Return an untrained Qwen3 of ``transformers`` with four heads, two of keys and values.

    Token 0 ends, begins and pads. The same ``seed`` gives the same weights.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=width // 4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(config)
