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

from workbench import disk, energy, generate, languages, monitor, passages, recipe, render
from workbench import run as runs
from workbench.errors import UserError
from workbench.panel import WIDE, Panel
from workbench.sections import Sampling

POLL_SECONDS = 1.0
LISTED = 14
RUNNING = ("running", "stopping")
SIGNS = {
    "not begun": "○",
    "starting": "◌",
    "running": "●",
    "stopping": "◐",
    "stopped": "■",
    "killed": "✕",
    "failed": "✕",
    "finished": "✓",
}
# Done, or stopped by a signal, be it before the process could catch it.
ENDED_WELL = (0, 130, 143, -15, -2)


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
            style={"description_width": "auto"},
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
        self.models.observe(self._say_who_writes, "value")
        self.button.on_click(self._guarded(self._generate))
        self._fill_library()
        self._say_who_writes()
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

    def _say_who_writes(self, change: object = None) -> None:
        """Tell which models are chosen: the list is longer than what it shows at once."""
        chosen = ", ".join(map(_model_name, self.models.value)) or "no model yet"
        self._tell(f"Chosen: {chosen}. Generate lets them continue the prompt.")

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


def training_curves(reference: str, *picked: str) -> HTML:
    """Show how a training stands, its curves and its numbers by language, without widgets.

    Args:
        reference: the run, as ``kind/name``.
        picked: any codes or names of languages to draw in colour; none takes the two ends.
    """
    now = monitor.Watch(runs.find(reference).path).look()
    tags = [languages.get(word).tag for word in picked]
    return HTML(  # type: ignore[no-untyped-call]
        render.live(_standing(now) + _curves(now, tags) + _numbers(now))
    )


class TrainingMonitor(Panel):
    """Watch a training live; start, stop and resume it.

    What is started here is a process of its own that writes ``metrics.jsonl``; the panel reads
    along, as it does with a training that runs elsewhere, or in a cell of the same notebook. A
    kernel that dies or a tab that closes does not harm it, and stopping saves a checkpoint. The
    panel is kept up to date by a thread, so that nothing depends on whether the kernel serves
    widgets while a cell runs.
    """

    def __init__(self, subject: str, *overrides: str) -> None:
        """Watch a training.

        Args:
            subject: a recipe's file, or a run, as ``kind/name``.
            overrides: settings of the recipe, such as ``train.steps=50``.

        Raises:
            UserError: the recipe is not right, there is no such run, or it is no training.
        """
        super().__init__()
        self._asked: list[str] = []
        self._wanted = ""
        if subject.endswith((".yaml", ".yml")):
            wanted = recipe.load(runs.home() / subject, overrides)
            path = runs.root() / wanted.kind / wanted.name
            self._asked, self._wanted = ["run", subject, *overrides], wanted.to_yaml()
        else:
            path = runs.find(subject).path
        self._run, self._watch = runs.Run(path), monitor.Watch(path)
        self._process: subprocess.Popen[str] | None = None
        self._refreshing = threading.Lock()
        self._closed = threading.Event()
        self._follower: threading.Thread | None = None
        self._drawn: object = None
        self.head = w.HTML(layout=WIDE)
        self.start = w.Button(
            description="Start", tooltip="Train in a process of its own", icon="play"
        )
        self.stop = w.Button(
            description="Stop and save", tooltip="Save a checkpoint and stop", icon="stop"
        )
        self.curves = w.HTML(layout=w.Layout(flex="1 1 480px", width="auto", min_width="0"))
        self.languages = w.SelectMultiple(
            description="Languages",
            tooltip="Hold Ctrl or Shift to choose several; none chosen shows the two ends",
            rows=LISTED,
            style={"description_width": "auto"},
            layout=w.Layout(flex="0 0 auto", width="250px", display="none"),
        )
        self.numbers = w.HTML(layout=WIDE)
        self._unfolded = w.Accordion(
            children=[self.numbers],
            titles=("Every language in numbers",),
            selected_index=None,
            layout=w.Layout(display="none"),
        )
        self.start.on_click(self._guarded(self._start))
        self.stop.on_click(self._guarded(self._stop))
        self.languages.observe(self._guarded(self.refresh), "value")
        self.children = [
            self.head,
            w.HBox([self.start, self.stop]),
            self.status,
            w.HBox([self.curves, self.languages], layout=w.Layout(flex_flow="row wrap")),
            self._unfolded,
        ]
        self.refresh()
        self._follow()

    def refresh(self) -> None:
        """Read what the training has written so far, and show it."""
        with self._refreshing:
            now = self._watch.look()
            alive = self._process is not None and self._process.poll() is None
            state = "starting" if alive and now.status not in RUNNING else now.status
            self.start.disabled = alive or now.status in (*RUNNING, "finished")
            self.stop.disabled = state not in ("starting", "running")
            self.start.description = "Start" if now.status == "not begun" else "Resume"
            self.head.value = render.live(_standing(now, state))
            self._say(now, state)
            names = [(languages.get(tag).name, tag) for tag in now.bits or {}]
            if names and tuple(self.languages.options) != tuple(sorted(names)):
                self.languages.options = sorted(names)
                self.languages.rows = min(LISTED, len(names))
                self.languages.layout.display = self._unfolded.layout.display = None
            drawn = (now.loss[-1:], len(now.loss), now.mean_bits[-1:], self.languages.value)
            if drawn != self._drawn:
                self._drawn = drawn
                self.curves.value = render.live(_curves(now, self.languages.value))
                self.numbers.value = render.live(_numbers(now))

    def close(self) -> None:
        """Stop to read along; the training goes on."""
        self._closed.set()
        super().close()

    def _say(self, now: monitor.Now, state: str) -> None:
        """Tell what one can do now, and what a process that failed said last."""
        own = self._process is not None
        if self._process is not None and state not in (*RUNNING, "starting"):
            if self._process.returncode not in ENDED_WELL:
                self._tell(self._last_words() or "the training failed", problem=True)
                return
            own = False
        self._tell(_advice(now, state, own, self._command()))

    def _tell(self, text: str, problem: bool = False) -> None:
        self.status.value = render.live(render.status(text, problem))

    def _command(self) -> list[str]:
        """Return what starts the training; a run of another recipe than asked for is refused."""
        file = self._run.path / runs.RECIPE
        if self._asked and not (file.exists() and disk.read_text(file) == self._wanted):
            return self._asked
        return ["resume", self._run.reference]

    def _start(self) -> None:
        self._said: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workbench", *self._command()],
            cwd=runs.home(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(
            target=self._said.extend, args=(self._process.stderr,), daemon=True
        )
        self._reader.start()
        self.refresh()
        self._follow()

    def _stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        else:
            runs.request_stop(self._run)
            self.refresh()
        self.stop.disabled = True

    def _last_words(self) -> str:
        self._reader.join()
        return next((line.strip() for line in reversed(self._said) if line.strip()), "")

    def _follow(self) -> None:
        """Have a thread refresh the panel until nothing will change any more."""
        if self._follower is None or not self._follower.is_alive():
            self._follower = threading.Thread(target=self._keep_up, daemon=True)
            self._follower.start()

    def _keep_up(self) -> None:
        while not self._closed.wait(POLL_SECONDS):
            over = self._run.finished and (
                self._process is None or self._process.poll() is not None
            )
            self._guarded(self.refresh)()
            if over:
                return


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


def _standing(now: monitor.Now, state: str = "") -> str:
    """Return the head of a training: its state and its numbers of now."""
    state = state or now.status
    beside = f"step {now.step:,} of {now.steps:,}" if now.step else ""
    if state in RUNNING and not now.step:
        beside = "before the first step"
    tiles = []
    if now.loss:
        began, loss = now.loss[0][1], now.loss[-1][1]
        means = now.mean_bits
        live = state in RUNNING
        tiles = [
            render.Tile("Loss", f"{loss:.3f}", f"nats a token, {began:.2f} at first"),
            render.Tile(
                "Bits per byte",
                f"{means[-1][1]:.3f}" if means else "–",
                f"mean of {len(now.bits or {})} languages, step {means[-1][0]:,}"
                if means
                else "measured now and then",
            ),
            render.Tile("Speed", f"{now.tokens_per_second or 0:,.0f}", "tokens a second"),
            render.Tile(
                "To go" if live else "Left",
                "–" if now.status == "finished" else monitor.duration(now.seconds_to_go or 0),
                f"{now.share:.0%} done" + (f", {now.label}" if now.label else ""),
            ),
            _energy(now),
            render.Tile(
                "Memory",
                "–" if now.memory_bytes is None else monitor.megabytes(now.memory_bytes),
                "of the process"
                if now.gpu_memory_bytes is None
                else f"{monitor.megabytes(now.gpu_memory_bytes)} of the GPU",
            ),
            render.Tile("Skipped", f"{now.skipped:,}", "steps that were not finite"),
        ]
    return render.standing(now.reference, state, SIGNS[state], now.share, beside, tiles)


def _energy(now: monitor.Now) -> render.Tile:
    if now.joules is None:
        return render.Tile("Energy", "–", "not told")
    value, _, hours = energy.told(now.joules).partition(" (")
    word = "measured" if now.measured else "estimated"
    return render.Tile("Energy", value, word + (f", {hours.rstrip(')')}" if hours else ""))


def _advice(now: monitor.Now, state: str, own: bool, command: Sequence[str]) -> str:
    called = f"workbench {' '.join(command)}"
    match state:
        case "not begun":
            return f"Start trains in a process of its own: {called}"
        case "starting":
            return f"Starting a process of its own: {called}"
        case "running" if own:
            return (
                "Runs in a process of its own, and goes on without this notebook. "
                "Stop saves a checkpoint first."
            )
        case "running":
            return (
                "Runs outside this panel; Stop has it save and end at its next step. If it is a "
                "cell of this notebook and the button does not answer, interrupt the kernel: that "
                "saves, too."
            )
        case "stopping":
            return "Saves at its next step, then it ends."
        case "finished":
            return f"Finished. workbench show {now.reference} tells more."
        case "stopped":
            return (
                f"Saved at step {now.step:,}. Resume goes on from there in a process of its own: "
                f"{called}"
            )
    from_where = now.checkpoint or "the beginning"
    return f"Ended without saving. Resume goes on from {from_where} in its own process: {called}"


def _curves(now: monitor.Now, picked: Sequence[str]) -> str:
    """Return loss and bits per byte, drawn over the same steps."""
    groups = monitor.thin(now.loss, 240)
    together = -(-len(now.loss) // 240)
    loss = render.Line(
        "loss" if together < 2 else f"mean of {together} steps",
        [(step, mean) for step, _, mean, _ in groups],
        band=[(step, low, high) for step, low, _, high in groups] if together > 1 else (),
    )
    bits = now.bits or {}
    dearest = sorted(bits, key=lambda tag: bits[tag][-1][1])
    coloured = list(picked) or [*dearest[-1:], *dearest[:1]][: len(dearest)]
    lines = [
        render.Line(
            languages.get(tag).name,
            [(step, mean) for step, _, mean, _ in monitor.thin(points, 120)],
            "picked" if tag in coloured else "faint",
        )
        for tag, points in bits.items()
    ]
    means = [(step, mean) for step, _, mean, _ in monitor.thin(now.mean_bits, 120)]
    if len(bits) > 1:
        lines.append(render.Line("mean", means))
    label = f"step, {now.label}" if now.label else "step"
    return render.chart(
        [loss] if now.loss else [], "Training loss", "nats a token", label, now.steps
    ) + render.chart(
        lines, "Validation", "bits per byte by language", "step", now.steps, (680, 280)
    )


def _numbers(now: monitor.Now) -> str:
    """Return bits per byte by language as a table, dearest first."""
    rows: list[list[Any]] = [
        [languages.get(tag).name, points[0][1], points[-1][1], points[-1][1] - points[0][1]]
        for tag, points in sorted((now.bits or {}).items(), key=lambda one: -one[1][-1][1])
    ]
    if not rows:
        return ""
    header = ("language", "bits per byte, first", "last", "change")
    return render.table(rows, header, named_rows=True)
