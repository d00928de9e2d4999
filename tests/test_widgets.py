import time

import pytest
from conftest import expect_named

from workbench import generate, monitor, recipe, widgets
from workbench import run as runs
from workbench.errors import UserError
from workbench.sections import Sampling

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def panel(series):
    return widgets.ComparisonPanel("pretrain/starter", "adapt/starter", "mt")


def test_the_panel_chooses_prompt_and_adapter_with_the_language(panel):
    assert panel.models.value == ("base", "mlt_Latn")
    assert "Chosen: base, adapter Maltese." in panel.status.value
    panel.language.value = "fin_Latn"
    assert panel.models.value == ("base", "fin_Latn")
    assert panel.prompt.value == panel.library.options[0][1]
    panel.library.value = panel.library.options[3][1]
    assert panel.prompt.value == panel.library.options[3][1]


def test_generate_shows_both_models_side_by_side_and_escaped(panel):
    panel.tokens.value = 8
    panel.prompt.value = HOSTILE
    panel.button.click()
    assert "Done: 2 texts" in panel.status.value
    assert panel.result.value.count('class="card"') == 2
    assert HOSTILE not in panel.result.value
    assert "&lt;img src=x" in panel.result.value
    assert not panel.button.disabled


def test_errors_are_shown_in_the_panel(panel, monkeypatch):
    panel.models.value = ()
    assert "Chosen: no model yet" in panel.status.value
    panel.button.click()
    assert "Problem: choose at least one model" in panel.status.value
    panel.models.value = ("base",)
    monkeypatch.setattr(
        generate.Speaker, "say", lambda *words: (_ for _ in ()).throw(RuntimeError(HOSTILE))
    )
    panel.button.click()
    assert "Problem: &lt;img" in panel.status.value


def test_the_function_does_the_same_without_widgets(series, panel):
    made = widgets.compare(
        "pretrain/starter", "adapt/starter", "mt", HOSTILE, sampling=Sampling(max_new_tokens=8)
    ).data
    panel.tokens.value = 8
    panel.prompt.value = HOSTILE
    panel.button.click()
    texts = [part.split("</span>")[0] for part in made.split('class="new">')[1:]]
    assert texts == [
        part.split("</span>")[0] for part in panel.result.value.split('class="new">')[1:]
    ]


def test_every_control_is_named(panel, monitors):
    expect_named(panel)
    expect_named(monitors("recipes/pretrain/starter.yaml"))


def wait(until, seconds=120):
    for _ in range(seconds * 10):
        if until():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def monitors(series):
    """Makes monitors, and closes them at the end."""
    made = []

    def make(*words):
        made.append(widgets.TrainingMonitor(*words))
        return made[-1]

    yield make
    for one in made:
        if one._process is not None and one._process.poll() is None:
            one._process.terminate()
            one._process.wait(60)
        one.close()


def test_the_monitor_starts_stops_and_resumes_a_training(monitors):
    watching = monitors("recipes/pretrain/starter.yaml", "name=watched-panel", "train.steps=60")
    assert "not begun" in watching.head.value
    assert (watching.start.description, watching.stop.disabled) == ("Start", True)
    watching.start.click()
    wait(lambda: len(runs.Run(runs.root() / "pretrain/watched-panel").metrics()) > 3)
    wait(lambda: not watching.stop.disabled)
    watching.stop.click()
    wait(lambda: watching._process.poll() is not None)
    assert watching._process.returncode == 143
    run = runs.find("pretrain/watched-panel")
    assert run.record["happened"]["status"] == "stopped"
    wait(lambda: not watching.start.disabled)
    assert watching.start.description == "Resume"
    assert "workbench resume pretrain/watched-panel" in watching.status.value
    stopped_at = run.metrics()[-1]["step"]
    watching.start.click()
    wait(lambda: run.finished)
    wait(lambda: "finished" in watching.head.value and watching._process.poll() is not None)
    watching.refresh()
    assert [row["step"] for row in run.metrics()] == list(range(1, 61))
    assert 3 < stopped_at < 60
    assert "<svg" in watching.curves.value
    assert (watching.start.disabled, watching.stop.disabled) == (True, True)


def begun(name, steps=8):
    """Begin a training in this process that another would do; four steps, two languages."""
    wanted = recipe.load("recipes/pretrain/starter.yaml", [f"name={name}", f"train.steps={steps}"])
    run = runs.Run.begin(wanted, fresh=True)
    for step in range(1, 5):
        run.metric(
            step=step,
            loss=None if step == 3 else 8.0 / step,
            tokens_per_second=1000.0,
            seconds_to_go=65.0,
            memory_bytes=100 * 2**20,
            energy_joules=1500.0,
            **({"bits_per_byte": {"mlt_Latn": 4.0 / step, "ell_Grek": 2.0}} if step != 3 else {}),
        )
    return run


def test_a_training_that_runs_elsewhere_is_watched_and_stopped(monitors):
    run = begun("elsewhere")
    watching = monitors("pretrain/elsewhere")
    for told in ("running", "step 4 of 8", "1:05", "1.5 kJ", "estimated", "100 MB", "50% done"):
        assert told in watching.head.value
    assert "interrupt the kernel" in watching.status.value
    assert watching.start.disabled
    with runs.StopSignal(run) as signal:
        assert not signal.requested
        watching.stop.click()
        assert signal.requested
    assert "stopping" in watching.head.value
    run.leave("stopped")
    watching.refresh()
    assert "stopped" in watching.head.value
    assert "Left" in watching.head.value
    assert not watching.start.disabled


def test_much_energy_is_told_in_kilowatt_hours_too():
    tile = widgets._energy(monitor.Now("x", "running", 9, joules=1.8e6, measured=True))
    assert (tile.value, tile.note) == ("1.80 MJ", "measured, 0.50 kWh")
    assert widgets._energy(monitor.Now("x", "running", 9)).value == "–"


def test_the_panel_keeps_itself_up_to_date(monitors):
    run = begun("followed")
    watching = monitors("pretrain/followed")
    run.metric(step=5, loss=1.0, tokens_per_second=1.0, seconds_to_go=1.0)
    wait(lambda: "step 5 of 8" in watching.head.value)
    run.leave("failed")
    wait(lambda: "failed" in watching.head.value)


def test_chosen_languages_are_drawn_in_colour(monitors):
    run = begun("coloured")
    watching = monitors("pretrain/coloured")
    run.leave("stopped")
    assert watching.languages.options == (("Greek", "ell_Grek"), ("Maltese", "mlt_Latn"))
    assert watching.curves.value.count('class="picked') == 2, "the two ends, where none is chosen"
    watching.languages.value = ("mlt_Latn",)
    assert watching.curves.value.count('class="picked') == 1
    assert ">Maltese</tspan>" in watching.curves.value
    assert "Greek: 2.000</title>" in watching.curves.value
    assert "Maltese" in watching.numbers.value


def test_what_a_training_said_when_it_failed_is_shown_and_stays_text(monitors):
    watching = monitors("recipes/pretrain/starter.yaml", "name=hostile")
    watching._command = lambda: ["resume", HOSTILE]
    watching.start.click()
    wait(lambda: "Problem: " in watching.status.value)
    assert "no run &#x27;&lt;img src=x onerror" in watching.status.value
    assert not watching.start.disabled


def test_a_run_of_another_recipe_is_not_gone_on_with(monitors):
    begun("other").leave("stopped")
    same = monitors("recipes/pretrain/starter.yaml", "name=other", "train.steps=8")
    assert same._command() == ["resume", "pretrain/other"]
    words = ("recipes/pretrain/starter.yaml", "name=other", "train.steps=9")
    other = monitors(*words)
    assert other._command() == ["run", *words], "the command tells what differs"


def test_the_monitor_names_its_controls(monitors):
    watching = monitors("pretrain/starter")
    for control in (watching.start, watching.stop, watching.languages):
        assert control.description
        assert control.tooltip


def test_what_is_no_training_is_refused(series):
    with pytest.raises(UserError, match="tokenizer/starter is no training"):
        widgets.TrainingMonitor("tokenizer/starter")


def test_curves_of_a_run_without_widgets(series):
    made = widgets.training_curves("pretrain/starter", "mt").data
    assert made.count('<svg role="img"') == 2
    assert ">Maltese</tspan>" in made
