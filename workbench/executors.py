"""Work in pieces: in processes of this machine or through any executor, and soon stopped.

The work of a piece looks from time to time whether the run's stop file is there, so that a signal
does not have to wait for the longest piece.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from workbench import run as runs
from workbench.errors import UserError

# How libraries are told their number of threads: OpenMP, OpenBLAS, and Rust's rayon.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
Given = TypeVar("Given")
Made = TypeVar("Made")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def pool(count: int) -> Iterator[concurrent.futures.Executor]:
    """Yield an executor of so many processes; of one thread of this process where it is one."""
    made: concurrent.futures.Executor
    if count <= 1:
        made = concurrent.futures.ThreadPoolExecutor(1)
    else:
        # Started afresh: a copy of a process with threads, such as a notebook's, may hang.
        context = multiprocessing.get_context("spawn")
        made = concurrent.futures.ProcessPoolExecutor(
            count, mp_context=context, initializer=_follow_parent
        )
    with _one_thread_each():
        try:
            yield made
        finally:
            made.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that start meanwhile compute with one thread each, unless it is settled.

    Several that take all cores each are slower together than one.
    """
    unsettled = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(unsettled, "1"))
    try:
        yield
    finally:
        for name in unsettled:
            os.environ.pop(name, None)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent process, and end with it even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def each(
    run: runs.Run,
    executor: concurrent.futures.Executor,
    work: Callable[[Given], Made],
    tasks: Sequence[Given],
) -> Iterator[Made]:
    """Carry tasks out, and yield what they return as it comes.

    Args:
        run: whose stop file ends the work; where signals can be caught, they write it.
        executor: any of ``concurrent.futures``, or one that keeps to its interface.
        work: a function of a module; it raises :class:`~workbench.errors.Stopped` when the file
            is there.
        tasks: one argument each. When the generator ends, early or not, none is at work any more.

    Raises:
        Stopped: after a signal or a button.
        UserError: a process was killed.
    """
    with runs.StopSignal(run) as stop:
        waiting = {executor.submit(work, task) for task in tasks}
        try:
            while waiting:
                done, waiting = concurrent.futures.wait(
                    waiting, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED
                )
                _raise_if_asked(run, stop)
                for one in done:
                    yield one.result()
        except concurrent.futures.BrokenExecutor:
            time.sleep(0.2)  # a signal to all processes may reach this one last
            _raise_if_asked(run, stop)
            raise UserError(
                f"{run.reference}: a worker process was killed, as happens when memory runs out; "
                "the same command goes on from what is finished, with fewer --workers if need be"
            ) from None
        finally:
            if waiting:
                # Not cancelled: in a pool whose processes die meanwhile, before Python 3.12, the
                # others would then never be told. What has not begun ends at once by itself.
                runs.request_stop(run)
                concurrent.futures.wait(waiting)
            (run.path / runs.STOP).unlink(missing_ok=True)


def _raise_if_asked(run: runs.Run, stop: runs.StopSignal) -> None:
    if stop.requested:
        stop.raise_stopped(
            f"{run.reference} stopped; what is finished is kept, the same command goes on from it"
        )
