"""What all panels share: a status line that also shows what went wrong.

Callbacks may run on a second thread: they never draw with matplotlib, and they show their errors
in the panel, because a notebook would swallow them.
"""

from collections.abc import Callable

import ipywidgets as w

from workbench import render

WIDE = w.Layout(width="auto")


class Panel(w.VBox):  # type: ignore[misc]
    """A column of widgets with a status line; the widgets are its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.status = w.HTML()

    def _tell(self, text: str, problem: bool = False) -> None:
        self.status.value = render.page(render.status(text, problem))

    def _guarded(self, action: Callable[[], None]) -> Callable[..., None]:
        """Return a handler for a widget's event that does ``action`` and shows what it raises."""

        def handler(*ignored: object) -> None:
            try:
                action()
            except Exception as fault:  # a notebook hides what a callback raises
                self._tell(str(fault) or type(fault).__name__, problem=True)

        return handler
