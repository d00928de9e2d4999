"""What if: a panel that shows what a mix of languages makes of the text that there is.

:func:`mix` shows the same without widgets; :func:`workbench.mixing.table` gives the numbers alone.
"""

import math
from collections.abc import Mapping

import ipywidgets as w
import yaml
from IPython.display import HTML

from workbench import mixing, render
from workbench.errors import UserError
from workbench.panel import WIDE, Panel
from workbench.sections import Mix

# Stands for the language in the paths of a datamix.txt.
PLACE = "{tag}"


def mix(
    reference: str,
    strategy: str = "temperature",
    exponent: float = 0.5,
    max_epochs: float = mixing.GOOD_EPOCHS,
    budget: float = 0,
    unit: str = "bytes",
    datamix: str = "",
) -> HTML:
    """Show what share each language gets, and how often its text is read.

    Args:
        reference: an inspection, as ``inspect/<name>``, that says how much text there is.
        strategy: as in a recipe's ``mix``.
        exponent: of ``temperature``.
        max_epochs: of ``unimax``.
        budget: what the training reads in all, in ``unit``; 0 is as much text as there is.
        unit: ``bytes`` or ``tokens``.
        datamix: of ``weights``: a ``datamix.txt``.

    Raises:
        UserError: there is no such run or file, or the settings do not go together.
    """
    sizes = mixing.sizes_of(reference, unit)
    whole = round(budget) or sum(sizes.values())
    wanted = chosen(strategy, exponent, max_epochs, whole, unit, datamix)
    return HTML(_page(sizes, wanted, whole))  # type: ignore[no-untyped-call]


def chosen(
    strategy: str,
    exponent: float,
    max_epochs: float,
    budget: int,
    unit: str,
    datamix: str = "",
    weights: Mapping[str, float] | None = None,
) -> Mix:
    """Return the mix of a recipe with those of the settings that its strategy takes."""
    taken: dict[str, dict[str, object]] = {
        "temperature": {"exponent": exponent},
        "unimax": {"max_epochs": max_epochs, "budget": budget},
        "weights": {"datamix": datamix} if datamix else {"weights": dict(weights or {})},
    }
    return Mix(strategy=strategy, unit=unit, **taken.get(strategy, {}))  # type: ignore[arg-type]


class MixPanel(Panel):
    """Move the sliders; see shares and epochs change; read or write a ``datamix.txt``."""

    def __init__(self, reference: str) -> None:
        super().__init__()
        self._reference = reference
        self._weights: dict[str, float] = {}
        self.strategy = w.Dropdown(
            options=[
                ("natural: as much as there is", "natural"),
                ("uniform: all alike", "uniform"),
                ("temperature: size to a power", "temperature"),
                ("UniMax: alike, up to a limit", "unimax"),
                ("weights: from a datamix.txt", "weights"),
            ],
            value="temperature",
            description="Strategy",
            tooltip="How the training is shared out among languages",
        )
        self.exponent = w.FloatSlider(
            value=0.5,
            min=0,
            max=1,
            step=0.05,
            description="Exponent",
            tooltip="Of temperature: 1 is natural, 0 is uniform",
        )
        self.max_epochs = w.FloatSlider(
            value=mixing.GOOD_EPOCHS,
            min=1,
            max=16,
            step=0.5,
            description="Most epochs",
            tooltip="Of UniMax: no text is read more often than this",
        )
        self.times = w.FloatLogSlider(
            value=1,
            base=10,
            min=-1,
            max=2,
            step=0.05,
            description="Budget",
            tooltip="What the training reads, in multiples of all the text there is",
            readout_format=".2f",
        )
        self.unit = w.Dropdown(
            options=["bytes", "tokens"],
            value="bytes",
            description="Unit",
            tooltip="What sizes and shares count; tokens where the inspection counted them",
        )
        self.file = w.Text(
            value="runs/datamix.txt", description="File", tooltip="A datamix.txt", layout=WIDE
        )
        self.paths = w.Text(
            value=f"hplt-3.0/{PLACE}",
            description="Paths",
            tooltip=f"Where each language's text lies; {PLACE} stands for the language's tag",
            layout=WIDE,
        )
        self.load = w.Button(
            description="Import", tooltip="Take the weights from the file", icon="upload"
        )
        self.save = w.Button(
            description="Export", tooltip="Write the shares to the file", icon="download"
        )
        self.result = w.HTML(layout=WIDE)
        for control in (self.strategy, self.exponent, self.max_epochs, self.times, self.unit):
            control.observe(self._guarded(self._mix), "value")
        self.load.on_click(self._guarded(self._import))
        self.save.on_click(self._guarded(self._export))
        self.children = [
            w.HBox(
                [
                    w.VBox([self.strategy, self.unit]),
                    w.VBox([self.exponent, self.max_epochs, self.times]),
                ],
                layout=w.Layout(flex_flow="row wrap"),
            ),
            self.status,
            self.result,
            w.HBox([self.load, self.save]),
            self.file,
            self.paths,
        ]
        self._guarded(self._mix)()

    def _mix(self) -> None:
        self.exponent.disabled = self.strategy.value != "temperature"
        self.max_epochs.disabled = self.strategy.value != "unimax"
        try:
            sizes, wanted, budget = self._wanted()
            self.result.value = _page(sizes, wanted, budget)
        except UserError:
            self.result.value = ""  # which would be of other settings
            raise
        times = self.times.value
        self._tell(
            f"The training reads {_amount(budget, wanted.unit)}, {times:.3g} × all the text."
        )

    def _wanted(self) -> tuple[dict[str, int], Mix, int]:
        sizes = mixing.sizes_of(self._reference, self.unit.value)
        budget = max(1, round(self.times.value * sum(sizes.values())))
        if self.strategy.value == "weights" and not self._weights:
            raise UserError("there are no weights yet: name a file below, and press Import")
        wanted = chosen(
            self.strategy.value,
            self.exponent.value,
            self.max_epochs.value,
            budget,
            self.unit.value,
            weights=self._weights,
        )
        return sizes, wanted, budget

    def _import(self) -> None:
        self._weights = mixing.load_weights(self.file.value)
        # The slider's handler mixes when this is news.
        if self.strategy.value == "weights":
            self._mix()
        else:
            self.strategy.value = "weights"

    def _export(self) -> None:
        if PLACE not in self.paths.value:
            raise UserError(f"paths must hold {PLACE}, which stands for the language's tag")
        sizes, wanted, budget = self._wanted()
        paths = {tag: self.paths.value.replace(PLACE, tag) for tag in sizes}
        mixing.export(self.file.value, mixing.shares(sizes, wanted, budget), paths)
        self._tell(f"Written: {self.file.value}.")


def _page(sizes: Mapping[str, int], wanted: Mix, budget: int) -> str:
    rows = mixing.table(sizes, wanted, budget)
    rows.sort(key=lambda row: (-row["share"], row["language"]))
    whole = sum(sizes.values())
    bars = [
        render.Share(
            name=row["language"],
            value=row["share"],
            before=row["size"] / whole,
            note=f"{100 * row['share']:.2f} %, {_times(row['epochs'])}",
            warn=row["repeated"],
        )
        for row in rows
    ]
    said = [
        render.status(f"Warning: {line}")
        for line in mixing.warnings({row["tag"]: row["epochs"] for row in rows}, wanted)
    ]
    header = (
        *("language", wanted.unit, "% of the text", "% of training"),
        *(f"{wanted.unit} read", "epochs"),
    )
    table = render.table(
        [
            [
                row["language"],
                row["size"],
                render.Said(f"{100 * row['size'] / whole:.2f}", number=True),
                render.Said(f"{100 * row['share']:.2f}", number=True),
                round(row["budget"]),
                render.Said(f"{row['epochs']:.2f}", number=True),
            ]
            for row in rows
        ],
        header,
        "The mix in numbers",
        named_rows=True,
    )
    return render.page(
        "".join(said)
        + render.shares(
            bars, "Shares of the training", "share of the training", "share of the text"
        )
        + render.folded("Numbers", table)
        + render.folded("For a recipe", render.verbatim(_for_a_recipe(wanted)))
    )


def _for_a_recipe(wanted: Mix) -> str:
    """Return the lines that give a pretraining this mix."""
    settings = {
        name: value for name, value in vars(wanted).items() if value != getattr(Mix(), name)
    }
    return yaml.safe_dump({"mix": {"strategy": wanted.strategy, **settings}}, sort_keys=False)


def _times(epochs: float) -> str:
    if not epochs:
        return "not read"
    return f"read {epochs:.2f} times" if epochs < 100 else f"read {epochs:,.0f} times"


def _amount(budget: int, unit: str) -> str:
    step = min(3, int(math.log(max(budget, 1), 1000)))
    word = ("", " thousand", " million", " billion")[step]
    return f"{budget / 1000**step:.3g}{word} {unit}"
