"""What is told in a terminal: how far work has come, and tables of plain text."""

import sys
import time
from collections.abc import Iterable, Sequence

from workbench import provenance


class Progress:
    """A progress line: rewritten in place on a terminal, now and then a line of its own elsewhere.

    It goes to standard error, so that a command's output can be piped; in a notebook, which colours
    that like a fault, to standard output. Of several processes that train together only the first
    shows it.
    """

    def __init__(self, label: str, every: float = 5.0) -> None:
        self._label = label
        self._began = self._shown = time.monotonic()
        self._stream = sys.stdout if _in_notebook() else sys.stderr
        self._live = self._stream.isatty()
        self._every = 0.2 if self._live else every
        self._width = 0

    def update(self, text: str, last: bool = False) -> None:
        """Show ``text`` if enough time has passed, or if it is the ``last`` word."""
        now = time.monotonic()
        if (not last and now - self._shown < self._every) or provenance.rank() != 0:
            return
        self._shown = now
        line = f"{self._label}: {text}"
        if self._live:
            padded = f"\r{line:<{self._width}}"
            print(padded, end="\n" if last else "", file=self._stream, flush=True)
            self._width = len(line)
        else:
            print(line, file=self._stream, flush=True)

    def done(self, text: str) -> None:
        """Show the last line, with the time it took."""
        self.update(f"{text} ({time.monotonic() - self._began:.1f} s)", last=True)


def _in_notebook() -> bool:
    """Tell whether a Jupyter kernel runs this; nothing is imported to find out."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> str:
    """Lay rows out as plain text: words to the left, numbers to the right, widths in characters."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        bool(cells) and all(_is_number(row[column]) for row in cells)
        for column in range(len(header))
    ]
    widths = [
        max(len(line[column]) for line in [list(header), *cells]) for column in range(len(header))
    ]

    def lay(line: Sequence[str]) -> str:
        return "  ".join(
            f"{text:>{width}}" if right else f"{text:<{width}}"
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()

    return "\n".join([lay(header), lay(["-" * width for width in widths]), *map(lay, cells)])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(",", "").replace(".", "").lstrip("+-").isdigit()
