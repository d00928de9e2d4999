"""Which figures a run has: drawn from its results, which hold every number that they show."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench import disk, plots_inspect, plots_models, plots_scaling, plots_text
from workbench import run as runs
from workbench.errors import UserError, nearest

FOLDER = "figures"
# Kind of run to its figures, the one that says most first. A figure is None where the run has
# nothing to draw in it.
KINDS: Mapping[str, Mapping[str, Callable[[runs.Run], Any]]] = {
    "inspect": {
        "text": plots_inspect.text,
        "lengths": plots_inspect.lengths,
        "letters": plots_inspect.letters,
        "confusion": plots_inspect.confusion,
        "duplicates": plots_inspect.duplicates,
        "quality": plots_inspect.quality,
        "repetition": plots_inspect.repetition,
        "dropped": plots_inspect.dropped,
        "personal": plots_inspect.personal,
        "domains": plots_inspect.domains,
    },
    "tokenizer": {
        "cost": plots_text.cost,
        "comparison": plots_text.comparison,
        "cuts": plots_text.cuts,
        "vocabulary": plots_text.vocabulary,
    },
    "pretrain": {
        "training": plots_models.training,
        "law": plots_scaling.law,
        "prediction": plots_scaling.prediction,
        "slopes": plots_scaling.slopes,
    },
    "adapt": {"bits": plots_models.bits_by_language},
    "evaluate": {
        "bits": plots_models.bits_by_language,
        "second_halves": plots_models.second_halves,
    },
}


def draw(run: runs.Run) -> list[Path]:
    """Draw the figures of a run's kind into its ``figures`` folder; return their paths.

    Each is drawn twice: as PNG for notebooks, and as SVG for print.
    """
    from matplotlib import rc_context

    kind = run.record["asked"]["recipe"]["kind"]
    paths = []
    for name, make in KINDS.get(kind, {}).items():
        figure = make(run)
        if figure is None:
            continue
        with disk.told_when_full(run.path):
            (run.path / FOLDER).mkdir(exist_ok=True)
            path = run.path / FOLDER / f"{name}.png"
            figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
            # Names within the drawing would be drawn by chance, and the date added.
            with rc_context({"svg.hashsalt": name}):
                figure.savefig(
                    path.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None}
                )
        paths += [path, path.with_suffix(".svg")]
    return paths


def show(reference: str, name: str = "") -> Any:
    """Return a picture of a run for a notebook to display.

    Args:
        reference: the run, as ``kind/name``.
        name: which of its pictures; empty takes the one that says most.

    Raises:
        UserError: there is no such run, or it has no such picture; the message names those it has.
    """
    from IPython.display import Image

    found = runs.find(reference)
    drawn = {
        known: path
        for known in KINDS.get(found.recipe.kind, {})
        if (path := found.path / FOLDER / f"{known}.png").exists()
    }
    if not drawn:
        raise UserError(f"{found.reference} has no picture; is it finished?")
    chosen = name or next(iter(drawn))
    if chosen not in drawn:
        raise UserError(
            f"{found.reference} has no picture {name!r}{nearest(name, drawn)}; "
            f"it has {', '.join(drawn)}"
        )
    said = f"{chosen} of {found.reference}"
    return Image(filename=str(drawn[chosen]), alt=said)  # type: ignore[no-untyped-call]
