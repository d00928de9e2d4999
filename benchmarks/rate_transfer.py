"""At which learning rate each width learns best, with its rates transferred from one and without.

    OMP_NUM_THREADS=1 python -m benchmarks.rate_transfer [--draw]

Models of equal depth and growing width, the family's nano and micro among them, read the same
sequences of the starter corpus in the same order, at rates a factor of two apart. What counts is
the mean training loss of the last steps: nothing is read twice, so it is as good as validation
and less noisy. The optimum is the vertex of the parabola through the best rate and its two
neighbours, over the logarithm of the rate. Each finished training is kept beside the result, and
an interrupted benchmark goes on; delete the file of cells to measure anew.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import torch

from benchmarks import common
from workbench import corpus, drawing, family, loss, optimizers, packing, tokenizer
from workbench import model as models
from workbench.corpus import Faults
from workbench.recipe import Data, Training
from workbench.sequences import Feed, Phase

RESULT = common.RESULTS / "rate_transfer.json"
CELLS = common.RESULTS / "rate_transfer_cells.jsonl"
FIGURE = RESULT.with_suffix(".png")
WIDTHS = (64, 128, 256)
# Few languages and a small vocabulary, so that more than frequencies is learned in a few seconds.
LANGUAGES = ("eng_Latn", "mlt_Latn", "ell_Grek")
VOCABULARY = 512
BATCH, SEQUENCE, STEPS, LAST = 4, 64, 120, 30
# The first rate tried; from there by factors of two until the best one has two on either side.
FIRST = 4e-3
PACKAGES = ("torch", "transformers", "tokenizers")


class Text:
    """The starter corpus as training sequences, under a small vocabulary learned from it."""

    def __init__(self) -> None:
        texts: dict[str, list[str]] = {tag: [] for tag in LANGUAGES}
        for document in corpus.read(Data(languages=list(LANGUAGES)), Faults()):
            texts[document.lang].append(document.text)
        every = (text for tag in texts for text in texts[tag])
        made = tokenizer.wrap(tokenizer.train(every, VOCABULARY))
        shards = {tag: packing.shard_of(found, made) for tag, found in texts.items() if found}
        self.tokens = sum(len(shard.tokens) for shard in shards.values())
        self.vocabulary, self.end = len(made), int(made.eos_token_id)
        self._pack: Any = SimpleNamespace(
            shard=lambda tag, split: shards[tag],
            folder=Path("starter"),
            facts={"end_token": self.end},
        )
        self._shares = {tag: 1 / len(shards) for tag in shards}

    def feed(self) -> Feed:
        return Feed([Phase(self._pack, self._shares, STEPS)], SEQUENCE, seed=1)


def shape(width: int, layers: int) -> family.Shape:
    """Return a shape of the proportions of nano and micro."""
    return family.Shape(width, layers, 4, 2, 3 * width, width // 4)


@dataclass(frozen=True)
class Series:
    """Trainings that differ in nothing but their rate."""

    optimizer: str
    width: int
    layers: int = 4
    output: float | None = None
    """The power with which the rate of the tied embedding goes; ``None`` transfers no rate."""

    def known(self) -> "Series":
        """Return the series that computes the same: at the base's width nothing is transferred."""
        return replace(self, output=None) if self.width == optimizers.BASE else self


OUTPUT = optimizers.POWERS["adamw"]["output"]
WAYS = {"as the recipe says": None, "transferred": OUTPUT}
ABLATED = (0.0, 1.0)
FIELDS = ("optimizer", "width", "layers", "output")
NAMES = {"adamw": "AdamW", "muon": "Muon"}


def train(text: Text, series: Series, rate: float) -> dict[str, Any]:
    """Return the loss of every step of one training, in nats a token, and their end's mean."""
    config = Training(
        steps=STEPS,
        batch=BATCH,
        sequence=SEQUENCE,
        learning_rate=rate,
        optimizer=cast(Any, series.optimizer),
        rate_transfer=series.output is not None,
    )
    with mock.patch.dict(family.SIZES, {"one": shape(series.width, series.layers)}):
        model = models.build("one", text.vocabulary, SEQUENCE, text.end, seed=1)
    objective = loss.NextToken(model)
    powers = optimizers.POWERS["adamw"] | {"output": series.output or 0.0}
    with mock.patch.dict(optimizers.POWERS, {"adamw": powers}):
        made = optimizers.of(model, config)
    feed = text.feed()
    began, losses = time.perf_counter(), []
    for step in range(STEPS):
        value, nats = objective(torch.from_numpy(feed.batch(step, BATCH).tokens))
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for optimizer in made:
            for group in optimizer.param_groups:
                group["lr"] = optimizers.learning_rate(config, step) * group[optimizers.TIMES]
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(nats))
    seconds = round(time.perf_counter() - began, 1)
    return {"loss": statistics.mean(losses[-LAST:]), "losses": losses, "seconds": seconds}


class Cells:
    """Finished trainings on the disk, and those that are still to come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[Series, float], dict[str, Any]] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for row in map(json.loads, lines):
            self._known[Series(**row["series"]), row["rate"]] = row["found"]
        self._text: Text | None = None

    def found(self, series: Series) -> dict[float, dict[str, Any]]:
        """Return what is known of a series, by rate."""
        return {
            rate: found
            for (one, rate), found in sorted(self._known.items(), key=lambda item: item[0][1])
            if one == series.known()
        }

    def measure(self, series: Series) -> None:
        """Train at rates a factor of two apart until the best has two more on either side."""
        self._one(series.known(), FIRST)
        while True:
            losses = {rate: found["loss"] for rate, found in self.found(series).items()}
            best = min(losses, key=lambda rate: losses[rate])
            # The nearest ones first: if one of them is better, the far ones are others.
            wanted = [best * factor for factor in (2, 0.5, 4, 0.25)]
            missing = [rate for rate in wanted if rate not in losses]
            if not missing:
                return
            self._one(series.known(), missing[0])

    def _one(self, series: Series, rate: float) -> None:
        if (series, rate) in self._known:
            return
        self._text = self._text or Text()
        found = train(self._text, series, rate)
        self._known[series, rate] = found
        with self._path.open("a", encoding="utf-8") as out:
            row = {"series": asdict(series), "rate": rate, "found": found}
            out.write(json.dumps(row) + "\n")
        print(f"{series}, rate {rate:g}: {found['loss']:.4f} nats", file=sys.stderr)


def optimum(losses: Mapping[float, float]) -> tuple[float, float]:
    """Return rate and loss at the vertex of the parabola through the best rate and its neighbours.

    Over the logarithm of the rate; rates need not be equally far apart.
    """
    rates = sorted(losses)
    middle = min(range(1, len(rates) - 1), key=lambda place: losses[rates[place]])
    x = np.log2(rates[middle - 1 : middle + 2]) - math.log2(rates[middle])
    square, line, constant = np.polyfit(x, [losses[one] for one in rates[middle - 1 :][:3]], 2)
    vertex = -line / (2 * square)
    return float(rates[middle] * 2**vertex), float(constant - line**2 / (4 * square))


def series_of(widths: tuple[int, ...] = WIDTHS) -> list[Series]:
    """Return all series, the ones that tell most first."""
    asked = [
        Series(optimizer, width, output=output)
        for optimizer in ("adamw", "muon")
        for output in WAYS.values()
        for width in sorted(widths, reverse=True)
    ]
    # What the tied embedding, which is input and output at once, should have is not settled.
    asked += [Series("adamw", max(widths), output=power) for power in ABLATED]
    return asked


def summary(cells: Cells, asked: list[Series]) -> list[dict[str, Any]]:
    """Return a row a series: its losses by rate, and where the optimum lies."""
    rows = []
    for series in asked:
        found = cells.found(series)
        losses = {rate: one["loss"] for rate, one in found.items()}
        rate, loss_ = optimum(losses)
        rows.append(
            {
                **asdict(series),
                "best_rate": round(rate, 6),
                "best_loss": round(loss_, 4),
                # What it costs to take the base's best rate here instead of this width's own.
                "loss_at_base_rate": None,
                "losses": {f"{one:g}": round(value, 4) for one, value in losses.items()},
                "seconds": round(sum(one["seconds"] for one in found.values()), 1),
            }
        )
    for row in rows:
        base = next(
            one
            for one in rows
            if (one["optimizer"], one["width"]) == (row["optimizer"], optimizers.BASE)
        )
        losses = {float(rate): value for rate, value in row["losses"].items()}
        row["loss_at_base_rate"] = round(between(losses, base["best_rate"]), 4)
    return rows


def between(losses: Mapping[float, float], rate: float) -> float:
    """Return the loss at a rate, on the parabola through the three nearest rates measured."""
    nearest = sorted(losses, key=lambda one: abs(math.log2(one / rate)))[:3]
    x = [math.log2(one / rate) for one in nearest]
    return float(np.polyfit(x, [losses[one] for one in nearest], 2)[2])


def draw(rows: list[dict[str, Any]]) -> Any:
    """Draw loss against rate, a line a width; above as the recipe says, below transferred."""
    made = drawing.new(9, 6.4)
    panels = made.subplots(2, 2, sharey=True, sharex="col")
    for column, optimizer in enumerate(("adamw", "muon")):
        for line, (way, output) in enumerate(WAYS.items()):
            axes = panels[line][column]
            for number, width in enumerate(WIDTHS):
                series = Series(optimizer, width, output=output).known()
                row = next(row for row in rows if Series(**{k: row[k] for k in FIELDS}) == series)
                losses = {float(rate): loss_ for rate, loss_ in row["losses"].items()}
                look = {"color": drawing.PALETTE[number], "marker": drawing.MARKERS[number]}
                axes.plot(list(losses), list(losses.values()), label=f"width {width}", **look)
                axes.axvline(row["best_rate"], color=look["color"], linewidth=1, linestyle=":")
            axes.set_xscale("log", base=2)
            axes.set_title(f"{NAMES[optimizer]}, {way}", fontsize=10)
            drawing.plain(axes)
    for axes in panels[1]:
        rates = sorted({float(rate) for row in rows for rate in row["losses"]})
        low, high = axes.get_xlim()
        axes.set_xticks(rates, [f"{1000 * rate:g}" for rate in rates], fontsize=8)
        axes.set_xticks([], minor=True)
        axes.set_xlim(low, high)
        axes.set_xlabel("learning rate of the recipe, thousandths")
    for axes in panels[:, 0]:
        axes.set_ylabel(f"loss of the last {LAST} steps, nats a token")
    panels[0][0].legend(frameon=False, fontsize=8)
    return made


def report(cells: Cells, asked: list[Series]) -> None:
    """Write the result and the figure of all that was asked, and print where the optima lie."""
    rows = summary(cells, asked)
    unique = list({Series(**{k: row[k] for k in FIELDS}): row for row in rows}.values())
    setting = {"layers": 4, "vocabulary": VOCABULARY, "batch": BATCH, "sequence": SEQUENCE}
    common.write_json(
        RESULT,
        {
            "about": "final training loss by learning rate and width, nats a token",
            "setting": {**setting, "steps": STEPS, "last": LAST, "languages": LANGUAGES},
            "versions": common.versions(*PACKAGES),
            "hardware": common.hardware(),
            "threads": torch.get_num_threads(),
            "rows": unique,
        },
    )
    draw(unique).savefig(FIGURE, dpi=150, metadata={"Software": None})
    for row in unique:
        print(
            f"{row['optimizer']:6} width {row['width']:3} output {row['output']}: "
            f"best rate {row['best_rate']:.4f}, loss {row['best_loss']:.4f}, "
            f"at the base's rate {row['loss_at_base_rate']:.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="only show what was measured before")
    options = parser.parse_args()
    cells, asked = Cells(CELLS), [series.known() for series in series_of()]
    for series in asked:
        if not options.draw:
            cells.measure(series)
    report(cells, asked)


if __name__ == "__main__":
    main()
