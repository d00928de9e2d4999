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
from workbench.sections import Data, Training
from workbench.sequences import Feed, Phase

RESULT = common.RESULTS / "rate_transfer.json"
CELLS = common.RESULTS / "rate_transfer_cells.jsonl"
FIGURE = RESULT.with_suffix(".png")
WIDTHS, DEEP = (64, 128, 256), 16
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
NAMES = {"adamw": "AdamW", "muon": "Muon"}


def train(text: Text, series: Series, rate: float) -> list[float]:
    """Return the loss of every step of one training, in nats a token."""
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
    losses = []
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
    return losses


class Cells:
    """Finished trainings on the disk, and those that are still to come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[Series, float], dict[str, float]] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for row in map(json.loads, lines):
            self._known[Series(**row["series"]), row["rate"]] = row["found"]
        self._text: Text | None = None

    def found(self, series: Series) -> dict[float, dict[str, float]]:
        """Return loss and seconds of what is known of a series, by rate."""
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
        began = time.perf_counter()
        losses = train(self._text, series, rate)
        seconds = round(time.perf_counter() - began, 1)
        found = {"loss": statistics.mean(losses[-LAST:]), "seconds": seconds}
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


def asked() -> list[Series]:
    """Return all series, the ones that tell most first."""
    wide = max(WIDTHS)
    series = [
        Series(optimizer, width, output=output)
        for optimizer in NAMES
        for output in WAYS.values()
        for width in (optimizers.BASE, wide, *WIDTHS)
    ]
    # A tied embedding is input and output at once: what it should have is seen at the widest.
    series += [Series(optimizer, wide, output=power) for optimizer in NAMES for power in (0.0, 1.0)]
    # Rates do not go with the depth: how far the optimum moves with it.
    series.append(Series("adamw", min(WIDTHS), layers=DEEP))
    return list(dict.fromkeys(one.known() for one in series))


def summary(cells: Cells) -> list[dict[str, Any]]:
    """Return a row a series: losses by rate, the optimum, the loss at the base's best rate."""
    found = {
        series: {rate: one["loss"] for rate, one in cells.found(series).items()}
        for series in asked()
    }
    rows = []
    for series, losses in found.items():
        rate, loss_ = optimum(losses)
        from_base, _ = optimum(found[Series(series.optimizer, optimizers.BASE)])
        rows.append(
            {
                **asdict(series),
                "best_rate": round(rate, 6),
                "best_loss": round(loss_, 4),
                "loss_at_rate_of_base": round(between(losses, from_base), 4),
                "losses": {f"{one:g}": round(value, 4) for one, value in losses.items()},
                "seconds": round(sum(one["seconds"] for one in cells.found(series).values()), 1),
            }
        )
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
                row = next(row for row in rows if asdict(series).items() <= row.items())
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


def report(cells: Cells) -> None:
    """Write the result of all that was asked."""
    setting = {"vocabulary": VOCABULARY, "batch": BATCH, "sequence": SEQUENCE, "steps": STEPS}
    common.write_json(
        RESULT,
        {
            "about": "final training loss by learning rate and width, nats a token",
            "setting": {**setting, "last": LAST, "languages": LANGUAGES},
            "versions": common.versions(*PACKAGES),
            "hardware": common.hardware(),
            "threads": torch.get_num_threads(),
            "rows": summary(cells),
        },
    )


def summarize() -> None:
    """Print where the optima lie, and draw the figure of the result."""
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    for row in rows:
        print(
            f"{row['optimizer']:6} width {row['width']:3} layers {row['layers']:2} "
            f"output {row['output']!s:4} best rate {row['best_rate']:.4f} "
            f"loss {row['best_loss']:.4f}, at the base's {row['loss_at_rate_of_base']:.4f}"
        )
    draw(rows).savefig(FIGURE, dpi=150, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="only show what was measured before")
    if not parser.parse_args().draw:
        cells = Cells(CELLS)
        for series in asked():
            cells.measure(series)
        report(cells)
    summarize()


if __name__ == "__main__":
    main()
