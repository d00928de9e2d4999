import time

import pytest

from workbench import generate, widgets
from workbench import run as runs
from workbench.recipe import Sampling

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def panel(series):
    return widgets.ComparisonPanel("pretrain/starter", "adapt/starter", "mt")


def test_the_panel_chooses_prompt_and_adapter_with_the_language(panel):
    assert panel.models.value == ("base", "mlt_Latn")
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


def test_every_control_is_named(panel):
    for control in (panel.models, panel.language, panel.library, panel.prompt, panel.button):
        assert control.description
        assert control.tooltip


def wait(until, seconds=120):
    for _ in range(seconds * 10):
        if until():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def test_the_monitor_starts_stops_and_resumes_a_training(series):
    monitor = widgets.TrainingMonitor(
        "recipes/pretrain/starter.yaml", "name=watched", "train.steps=60"
    )
    assert "not begun" in monitor.status.value
    monitor.start.click()
    wait(lambda: len(runs.Run(runs.root() / "pretrain/watched").metrics()) > 3)
    monitor.stop.click()
    wait(lambda: monitor._process.poll() is not None)
    assert monitor._process.returncode == 143
    run = runs.find("pretrain/watched")
    assert run.record["happened"]["status"] == "stopped"
    wait(lambda: not monitor.start.disabled)
    monitor.start.click()
    wait(lambda: run.finished)
    wait(lambda: "finished" in monitor.status.value)
    assert [row["step"] for row in run.metrics()] == list(range(1, 61))
    assert "<svg" in monitor.curves.value


def test_curves_of_a_run_without_widgets(series):
    made = widgets.training_curves("pretrain/starter").data
    assert made.count("<svg") == 2
    assert "Maltese" in made
