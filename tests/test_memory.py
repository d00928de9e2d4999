import subprocess
import sys

from conftest import PROJECT

from workbench import memory


def test_peak_memory_is_that_of_this_process_alone():
    """A child of a large process begins small; what getrusage says of it is its parent's peak."""
    parent = (
        "import subprocess, sys\n"
        "large = b'x' * 300_000_000\n"
        "child = 'from workbench import memory; print(memory.peak())'\n"
        "sys.exit(subprocess.call([sys.executable, '-c', child]))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", parent], capture_output=True, text=True, check=True, cwd=PROJECT
    ).stdout
    assert 5_000_000 < int(out) < 200_000_000


def test_memory_now_is_that_of_this_process():
    before = memory.now()
    large = bytearray(100_000_000)
    assert 50_000_000 < memory.now() - before < 200_000_000
    assert len(large) == 100_000_000
