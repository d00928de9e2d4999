"""The two ways in which work ends early, and the hint that every refusal carries.

A mistake of the user's is a :class:`UserError` with one line; an interruption that was saved is
:class:`Stopped`. Everything else that reaches the top is our own fault.
"""

import difflib
from collections.abc import Iterable


class _InOneLine(Exception):
    """What IPython shows in a notebook of such an end: its line, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class UserError(_InOneLine, ValueError):
    """The user's mistake: one line that says what was wrong, where, and the nearest right thing."""

    exit_status = 2


class OutOfSpace(_InOneLine, RuntimeError):
    """The disk is full. What had been written before is whole; the run can be taken up again."""

    exit_status = 1


class Stopped(_InOneLine):
    """Work was stopped by a signal or a button after its state had been saved.

    ``signal_number`` gives the shell's exit status: 128 plus the signal's number.
    """

    def __init__(self, message: str, signal_number: int = 2) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the choice closest to ``word``, or an empty string."""
    by_lower = {choice.lower(): choice for choice in choices}
    match = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean {by_lower[match[0]]!r}?)" if match else ""
