"""Rows of metrics handed to trackers, and nothing done where none is asked for."""

import pytest
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker

from workbench import commands, recipe, sections, tracking
from workbench import run as runs
from workbench.errors import UserError

ROW = {
    "step": 3,
    "loss": 2.5,
    "gradient_norm": None,
    "bits_per_byte": {"mlt_Latn": 1.5, "ell_Grek": 1.25},
    "label": "mlt_Latn (1/2)",
}


class Kept(GeneralTracker):
    """A tracker that keeps what it gets."""

    name = "kept"
    requires_logging_directory = False

    def __init__(self):
        super().__init__()
        self.configuration, self.rows, self.ended = None, [], 0

    @property
    def tracker(self):
        return self.rows

    def store_init_configuration(self, values):
        self.configuration = values

    def log(self, values, step=None, **ignored):
        self.rows.append((step, values))

    def finish(self):
        self.ended += 1


def test_a_row_becomes_numbers_under_one_name_each():
    assert tracking.flat(ROW) == {
        "loss": 2.5,
        "bits_per_byte/mlt_Latn": 1.5,
        "bits_per_byte/ell_Grek": 1.25,
    }


def test_every_step_of_a_training_is_logged(series, monkeypatch):
    kept = Kept()
    monkeypatch.setattr(tracking, "arguments", lambda run, config: {"log_with": [kept]})
    made = commands.run("recipes/pretrain/starter.yaml", "name=logged", "train.steps=9", quiet=True)
    assert [step for step, _ in kept.rows] == list(range(1, 10))
    written = made.metrics()
    assert [values["loss"] for _, values in kept.rows] == [row["loss"] for row in written]
    assert kept.rows[7][1]["bits_per_byte/mlt_Latn"] == written[7]["bits_per_byte"]["mlt_Latn"]
    assert kept.configuration["steps"] == 9
    assert kept.ended == 1


def test_a_training_that_fails_ends_its_tracker(series, empty_runs):
    kept = Kept()
    run = runs.Run.begin(recipe.parse("kind: pretrain\nname: x\nwhy: y\ntokenizer: starter\n"))
    with (
        pytest.raises(RuntimeError),
        tracking.Tracker(Accelerator(log_with=[kept]), run),
    ):
        raise RuntimeError
    assert kept.ended == 1


def test_without_trackers_nothing_is_logged_or_made(series):
    assert tracking.arguments(runs.find("pretrain/starter"), sections.Training()) == {}
    assert not (runs.find("pretrain/starter").path / tracking.FOLDER).exists()


def test_a_missing_tracker_is_told_before_any_work(series, monkeypatch):
    monkeypatch.setitem(tracking.MODULES, "tensorboard", ("no_such_module",))
    with pytest.raises(UserError, match="tensorboard, which is not installed: pip install"):
        commands.run(
            "recipes/pretrain/starter.yaml",
            "name=untracked",
            "train.trackers=[tensorboard]",
            quiet=True,
        )
    assert not (runs.root() / "pretrain/untracked").exists()


def test_an_unknown_tracker_is_named_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'tensorboard'"):
        sections.Training(trackers=["tensorbord"])


def test_trackio_may_not_send_the_metrics_away(monkeypatch):
    monkeypatch.setitem(tracking.MODULES, "trackio", ("json",))
    config = sections.Training(trackers=["trackio"])
    tracking.require(config)
    monkeypatch.setenv("TRACKIO_SPACE_ID", "someone/board")
    with pytest.raises(UserError, match="TRACKIO_SPACE_ID is set: trackio would send"):
        tracking.require(config)


def test_tensorboard_writes_into_the_run(series, empty_runs):
    pytest.importorskip("tensorboard", reason="TensorBoard is installed by those who want it")
    config = sections.Training(trackers=["tensorboard"])
    asked = "kind: pretrain\nname: x\nwhy: y\ntokenizer: t\ntrain: {trackers: [tensorboard]}\n"
    run = runs.Run.begin(recipe.parse(asked))
    accelerator = Accelerator(**tracking.arguments(run, config))
    with tracking.Tracker(accelerator, run, "mlt_Latn (1/2)") as tracker:
        tracker.log(ROW)
    assert list((run.path / tracking.FOLDER / "pretrain-x-mlt_Latn").glob("events*"))
