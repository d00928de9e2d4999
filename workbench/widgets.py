"""Panels of models for the notebooks: compare what they write, watch and stop a training.

Each panel has a function beside it that does the same without widgets.
"""

import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import ipywidgets as w
from IPython.display import HTML

from workbench import generate, languages, passages, recipe, render
from workbench import run as runs
from workbench.errors import UserError
from workbench.panel import WIDE, Panel
from workbench.recipe import Sampling

POLL_SECONDS = 1.0


def compare(
    base: str,
    adapters: str = "",
    lang: str = "en",
    prompt: str = "",
    models: Sequence[str] = (),
    sampling: Sampling | None = None,
) -> HTML:
    """Show side by side what models write after a prompt, without widgets.

    Args:
        base: ``pretrain/<name>``, a model folder or ``hub:owner/name@revision``.
        adapters: ``adapt/<name>``, or empty.
        lang: any code or name of the prompt's language.
        prompt: text to continue; empty takes the first of the library.
        models: ``base`` and tags of adapters; empty takes the base and the language's own.
        sampling: settings; the default ones where left out.
    """
    language = languages.get(lang)
    speaker = generate.Speaker(base, adapters)
    text = prompt or next(iter(passages.prompts(language.tag).values()))
    asked = list(models) or [
        name for name in (generate.BASE, language.tag) if name in speaker.models
    ]
    said = [speaker.say(name, language.tag, [text], sampling or Sampling())[0] for name in asked]
    return HTML(_side_by_side(said, language))  # type: ignore[no-untyped-call]


class ComparisonPanel(Panel):
    """Choose models, language, prompt and settings; generate; see the texts side by side."""

    def __init__(self, base: str, adapters: str = "", lang: str = "en") -> None:
        super().__init__()
        self._speaker = generate.Speaker(base, adapters)
        first = languages.get(lang)
        self.models = w.SelectMultiple(
            options=[(_model_name(name), name) for name in self._speaker.models],
            value=tuple(
                name for name in (generate.BASE, first.tag) if name in self._speaker.models
            ),
            description="Models",
            tooltip="Hold Ctrl or Shift to choose several",
            rows=6,
        )
        self.language = w.Dropdown(
            options=[
                (f"{one.name} ({one.own_name})", one.tag) for one in languages.all_languages()
            ],
            value=first.tag,
            description="Language",
            tooltip="Language of the prompt",
        )
        self.library = w.Dropdown(description="Prompts", tooltip="Prompts of the starter corpus")
        self.prompt = w.Textarea(description="Prompt", tooltip="Text to continue", layout=WIDE)
        defaults = Sampling()
        self.temperature = w.FloatSlider(
            value=defaults.temperature,
            min=0,
            max=2,
            step=0.1,
            description="Temperature",
            tooltip="0 always takes the likeliest token",
        )
        self.tokens = w.IntSlider(
            value=defaults.max_new_tokens,
            min=8,
            max=128,
            description="New tokens",
            tooltip="How many tokens each model may add",
        )
        self.seed = w.BoundedIntText(
            value=defaults.seed,
            min=0,
            max=2**31 - 1,
            description="Seed",
            tooltip="The same seed gives the same text",
        )
        self.button = w.Button(
            description="Generate",
            tooltip="Let every chosen model continue the prompt",
            icon="play",
        )
        self.result = w.HTML(layout=WIDE)
        self.language.observe(self._fill_library, "value")
        self.library.observe(self._fill_prompt, "value")
        self.button.on_click(self._guarded(self._generate))
        self._fill_library()
        self._tell("Choose, then press Generate.")
        self.children = [
            w.HBox([self.models, w.VBox([self.language, self.library, self.seed])]),
            self.prompt,
            w.HBox([self.temperature, self.tokens, self.button]),
            self.status,
            self.result,
        ]

    def _fill_library(self, change: object = None) -> None:
        tag = self.language.value
        self.library.options = [(text, text) for text in passages.prompts(tag).values()]
        self.library.value = self.library.options[0][1]
        wanted = (generate.BASE, tag)
        self.models.value = tuple(name for name in wanted if name in self._speaker.models)
        self._fill_prompt()

    def _fill_prompt(self, change: object = None) -> None:
        if self.library.value is not None:
            self.prompt.value = self.library.value

    def _generate(self) -> None:
        self.button.disabled = True
        try:
            if not self.models.value:
                raise UserError("choose at least one model")
            sampling = Sampling(
                max_new_tokens=self.tokens.value,
                temperature=round(self.temperature.value, 2),
                seed=self.seed.value,
            )
            language = languages.get(self.language.value)
            said = []
            for name in self.models.value:
                self._tell(f"{_model_name(name)} is writing ...")
                said += self._speaker.say(name, language.tag, [self.prompt.value], sampling)
            self.result.value = _side_by_side(said, language)
            self._tell(f"Done: {len(said)} texts with seed {sampling.seed}.")
        finally:
            self.button.disabled = False


def training_curves(reference: str) -> HTML:
    """Show a run's loss and validation bits per byte as SVG, with the last numbers as a table."""
    return HTML(_curves(runs.find(reference)))  # type: ignore[no-untyped-call]


class TrainingMonitor(Panel):
    """Watch a pretraining run live; start, stop and resume it.

    The training is a process of its own that writes ``metrics.jsonl``; the panel reads along. A
    kernel that dies or a tab that closes does not harm it, and stopping saves a checkpoint.
    """

    def __init__(self, recipe_file: str, *overrides: str) -> None:
        super().__init__()
        self._command = [sys.executable, "-m", "workbench", "run", recipe_file, *overrides]
        path = runs.home() / recipe_file
        wanted = recipe.load(path, overrides)
        self._run = runs.Run(runs.root() / wanted.kind / wanted.name)
        self._process: subprocess.Popen[str] | None = None
        self.start = w.Button(
            description="Start or resume", tooltip="Train in a process of its own", icon="play"
        )
        self.stop = w.Button(
            description="Stop and save", tooltip="Save a checkpoint and stop", icon="stop"
        )
        self.curves = w.HTML(layout=WIDE)
        self.start.on_click(self._guarded(self._start))
        self.stop.on_click(self._guarded(self._stop))
        self.children = [w.HBox([self.start, self.stop]), self.status, self.curves]
        self.refresh()

    def refresh(self) -> None:
        """Read what the run has written so far, and show it."""
        fresh = runs.Run(self._run.path)
        running = self._process is not None and self._process.poll() is None
        self.start.disabled, self.stop.disabled = running or fresh.finished, not running
        if fresh.finished:
            word = "finished"
        elif running:
            word = "training"
        else:
            word = fresh.record.get("happened", {}).get("status", "not begun")
        metrics = fresh.metrics()
        last = metrics[-1] if metrics else {}
        details = (
            f", step {last['step']}, {last['tokens_per_second']:,.0f} tokens/s, "
            f"{last['seconds_to_go']:.0f} s to go"
            if last
            else ""
        )
        self._tell(f"{fresh.reference}: {word}{details}")
        self.curves.value = _curves(fresh)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            cwd=runs.home(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._follow, daemon=True).start()
        self.refresh()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
        self._tell("stopping at the next step ...")

    def _follow(self) -> None:
        """Refresh until the process ends; what it said last is shown if it failed."""
        process = self._process
        if process is None or process.stderr is None:
            return
        said: list[str] = []
        reader = threading.Thread(
            target=lambda lines: said.extend(lines), args=(process.stderr,), daemon=True
        )
        reader.start()
        while process.poll() is None:
            self._guarded(self.refresh)()
            threading.Event().wait(POLL_SECONDS)
        reader.join()
        self._guarded(self.refresh)()
        if process.returncode not in (0, 130, 143):
            self._tell(said[-1].strip() if said else "the training failed", problem=True)


def _model_name(name: str) -> str:
    return "base" if name == generate.BASE else f"adapter {languages.get(name).name}"


def _side_by_side(said: Sequence[generate.Generation], language: languages.Language) -> str:
    cards = [
        {
            "model": _model_name(one.model),
            "prompt": one.prompt,
            "text": one.text,
            "note": f"{one.tokens} tokens in {one.seconds:.2f} s, seed {one.seed}",
        }
        for one in said
    ]
    return render.page(render.cards(cards, language.bcp47))


def _curves(run: runs.Run) -> str:
    metrics = run.metrics()
    # Of several loops, such as the rungs of a ladder, the one that is going on.
    metrics = [row for row in metrics if row.get("label") == metrics[-1].get("label")]
    loss = [(row["step"], row["loss"]) for row in metrics if row["loss"] is not None]
    measured = [row for row in metrics if row.get("bits_per_byte")]
    validation = {
        "mean": [(row["step"], _mean(row["bits_per_byte"])) for row in measured],
        "best language": [(row["step"], min(row["bits_per_byte"].values())) for row in measured],
        "worst language": [(row["step"], max(row["bits_per_byte"].values())) for row in measured],
    }
    parts = [
        render.curve({"loss": loss} if loss else {}, "Training loss", "step", "nats per token"),
        render.curve(validation if measured else {}, "Validation", "step", "bits per byte"),
    ]
    if measured:
        rows: list[list[Any]] = [
            [languages.get(tag).name, measured[0]["bits_per_byte"].get(tag), value]
            for tag, value in measured[-1]["bits_per_byte"].items()
        ]
        first, last = measured[0]["step"], measured[-1]["step"]
        header = ("language", f"bits per byte, step {first}", f"step {last}")
        parts.append(f"<details><summary>Numbers</summary>{render.table(rows, header)}</details>")
    return render.page("".join(parts))


def _mean(values: dict[str, float]) -> float:
    return sum(values.values()) / len(values)
