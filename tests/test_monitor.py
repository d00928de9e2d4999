"""A training read from its folder: its state, its numbers, its words."""

import pytest

from workbench import monitor, recipe
from workbench import run as runs

ASKED = recipe.parse(
    "kind: pretrain\nname: x\nwhy: to see\ntokenizer: tokenizer/x\ntrain: {steps: 10}\n"
)


@pytest.fixture
def run(empty_runs, monkeypatch):
    """A training that this process is writing."""
    monkeypatch.setattr(runs, "find_finished", lambda reference: runs.Run(empty_runs / reference))
    monkeypatch.setattr(runs, "_manifest_hash", lambda run: "")
    return runs.Run.begin(ASKED)


def row(step, loss=2.0, **more):
    return {
        "step": step,
        "loss": loss,
        "tokens_per_second": 500.0,
        "seconds_to_go": 90.0,
        "energy_joules": 2000.0,
        "memory_bytes": 2**30,
    } | more


def test_every_state_is_told(run, empty_runs):
    watch = monitor.Watch(run.path)
    assert monitor.Watch(empty_runs / "pretrain/none").look().status == "not begun"
    assert watch.look().status == "running"
    runs.request_stop(run)
    assert watch.look().status == "stopping"
    run._lock.close()
    assert watch.look().status == "killed", "the lock is gone, and nobody has said anything"
    run._lock = None
    for status in ("stopped", "failed"):
        run.leave(status)
        assert watch.look().status == status
    run.finish()
    assert watch.look().status == "finished"


def test_looking_does_not_keep_a_run_from_being_begun(run):
    run.leave("stopped")
    (run.path / runs.LOCK).touch()
    assert not runs.being_written(run)
    again = runs.Run.begin(ASKED)
    assert runs.being_written(again)
    again.leave("stopped")


def test_only_whole_rows_are_read_and_none_twice(run):
    watch = monitor.Watch(run.path)
    run.metric(**row(1, 8.0))
    run.metric(**row(2, None))
    with (run.path / runs.METRICS).open("a") as out:
        out.write('{"step": 3, "lo')
    now = watch.look()
    assert (now.step, list(now.loss), now.skipped) == (2, [(1, 8.0)], 1)
    with (run.path / runs.METRICS).open("a") as out:
        out.write('ss": 4.0}\n')
    now = watch.look()
    assert (now.step, list(now.loss), now.skipped) == (3, [(1, 8.0), (3, 4.0)], 1)


def test_rows_that_a_resumed_session_measures_again_count_once(run):
    watch = monitor.Watch(run.path)
    run.metric(**row(1))
    size = run.metrics_size()
    run.metric(**row(2, 7.0))
    assert [loss for _, loss in watch.look().loss] == [2.0, 7.0]
    run.leave("stopped")
    again = runs.Run.begin(ASKED)
    again.rewind_metrics(size)
    again.metric(**row(2, 5.0))
    again.metric(**row(3, 4.0))
    assert [loss for _, loss in watch.look().loss] == [2.0, 5.0, 4.0]


def test_of_several_loops_the_last_one_is_told_and_all_count(run):
    run.metric(**row(10, 3.0, label="mlt_Latn (1/4)", bits_per_byte={"mlt_Latn": 1.5}))
    run.metric(**row(5, 2.5, label="ell_Grek (2/4)", bits_per_byte={"ell_Grek": 1.25}))
    now = monitor.Watch(run.path).look()
    assert list(now.loss) == [(5, 2.5)]
    assert now.bits == {"mlt_Latn": [(10, 1.5)], "ell_Grek": [(5, 1.25)]}
    # One of four loops, and half of the second.
    assert now.share == 0.375


def test_of_a_ladder_the_rung_that_trains_is_told_with_its_own_steps(run):
    run.metric(**row(4, steps=4, label="pico", bits_per_byte={"mlt_Latn": 2.5}))
    run.metric(**row(1, steps=8, label="nano"))
    now = monitor.Watch(run.path).look()
    assert (now.label, now.step, now.steps, now.bits) == ("nano", 1, 8, {})
    run.metric(**row(8, steps=8, label="nano", bits_per_byte={"mlt_Latn": 2.25}))
    assert monitor.Watch(run.path).look().bits == {"mlt_Latn": [(8, 2.25)]}


def test_the_screen_of_a_training(run):
    run.metric(**row(1, 8.0, bits_per_byte={"mlt_Latn": 3.0, "ell_Grek": 2.0}))
    run.metric(**row(5, 4.0, bits_per_byte={"mlt_Latn": 2.0, "ell_Grek": 1.5}))
    (run.path / "checkpoints/step-00000004").mkdir(parents=True)
    now = monitor.Watch(run.path).look()
    assert monitor.screen(now) == [
        "  step     5 of 10, 50% of the run, 0 skipped",
        f"           {'█' * 28}{'░' * 28}",
        "  loss     4.000 nats a token, at step 5; 8.000 at step 1",
        "           █▁",
        "  bits     1.750 bits per byte, mean of 2 languages, at step 5; 2.500 at step 1",
        "           █▁",
        "  speed    500 tokens/s, 1:30 to go",
        f"  energy   2.0 kJ, estimated: {now.energy_source}",
        "  memory   1,024 MB now",
        "  saved    checkpoints/step-00000004",
    ]
    assert monitor.next_command(now) == "  stop     workbench stop pretrain/x"
    shown = monitor.by_language(now).splitlines()[-1].split()
    assert shown == ["Maltese", "2.000", "-1.000", "Greek", "1.500", "-0.500"]
    run.leave("stopped")
    now = monitor.Watch(run.path).look()
    assert monitor.next_command(now) == "  go on    workbench resume pretrain/x"
    assert "1:30 left to train" in "".join(monitor.screen(now))


def test_a_training_before_its_first_step_has_no_numbers(run):
    assert monitor.screen(monitor.Watch(run.path).look()) == []
    assert monitor.by_language(monitor.Watch(run.path).look()) == ""


def test_blocks_by_hand():
    assert monitor.sparkline([1, 8, 4.5]) == "▁█▅"
    assert monitor.sparkline([3, 3]) == "▁▁"
    # Pairs are averaged: 1, 3 and 8, then the last alone.
    assert monitor.sparkline([0, 2, 3, 3, 8, 8, 1], width=4) == "▁▃█▁"
    assert monitor.progress(0.25, 8) == "██░░░░░░"


def test_neighbours_are_put_together_with_their_ends():
    points = [(1, 5.0), (2, 1.0), (3, 2.0)]
    assert monitor.thin(points, 2) == [(2, 1.0, 3.0, 5.0), (3, 2.0, 2.0, 2.0)]
    assert monitor.thin([], 2) == []


@pytest.mark.parametrize(
    ("seconds", "told"), [(9, "0:09"), (3723, "1:02:03"), (183_600, "2 d 3 h"), (59.6, "1:00")]
)
def test_times_for_people(seconds, told):
    assert monitor.duration(seconds) == told
