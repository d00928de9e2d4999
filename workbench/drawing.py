"""What figures share: colours and marks that stay apart without colour, and named languages.

Drawn with the object-oriented interface of matplotlib, which has no global state; a figure never
depends on which one was drawn before.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from workbench import languages

# Okabe and Ito's palette, which people with colour-blindness can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9", "#4D4D4D")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
STATUS_COLOURS = dict(zip(languages.STATUSES, PALETTE, strict=False))
SCRIPT_COLOURS = dict(zip(languages.SCRIPTS.values(), PALETTE, strict=False))
SCRIPT_MARKERS = dict(zip(languages.SCRIPTS.values(), MARKERS, strict=False))
INK, FAINT = "#1d2733", "#9aa5b1"


def new(width: float, height: float) -> Any:
    """Return an empty figure; sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    # Seaborn measures labels; without a canvas that takes 400 MB for a moment.
    FigureCanvasAgg(figure)
    return figure


def tall(rows: Sequence[Any], width: float = 8) -> Any:
    """Return an empty figure with room for one line a language."""
    return new(width, 1.2 + 0.22 * len(rows))


def name_languages(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the languages of ``rows`` along the vertical axis, the first one lowest."""
    axes.set_yticks(range(len(rows)), [languages.get(row["tag"]).name for row in rows], fontsize=8)
    axes.set_ylim(-0.6, len(rows) - 0.4)


def plain(axes: Any) -> None:
    """Take away what carries no information."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e3e8ee")
    axes.set_axisbelow(True)


def intervals(axes: Any, lows: Sequence[float], highs: Sequence[float]) -> None:
    """Draw a line from low to high at the heights 0, 1, 2 and so on."""
    axes.hlines(range(len(lows)), lows, highs, color=FAINT, linewidth=1.5, zorder=1)


def beside(axes: Any, texts: Sequence[str]) -> None:
    """Write a text to the right of the axes at the heights 0, 1, 2 and so on."""
    for height, text in enumerate(texts):
        axes.annotate(
            text,
            (1.01, height),
            xycoords=axes.get_yaxis_transform(),
            fontsize=8,
            va="center",
            annotation_clip=False,
        )


def status_legend(axes: Any, rows: Sequence[Mapping[str, Any]], place: str) -> None:
    """Say which colour is which status, of those that occur in ``rows``."""
    from matplotlib.patches import Patch

    present = {languages.get(row["tag"]).status for row in rows}
    handles = [
        Patch(color=colour, label=status)
        for status, colour in STATUS_COLOURS.items()
        if status in present
    ]
    axes.legend(handles=handles, frameon=False, fontsize=8, loc=place)
