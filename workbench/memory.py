"""How much memory this process holds."""

import contextlib
import resource
import sys
from pathlib import Path


def peak() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    # On Linux what getrusage says includes the process that started this one.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def now() -> int:
    """Return the resident memory of this process now, in bytes; where it is not told, the peak."""
    with contextlib.suppress(OSError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()
    return peak()
