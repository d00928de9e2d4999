import warnings
from itertools import pairwise

import matplotlib.pyplot
import numpy as np
import pytest

from workbench import languages, plots_scaling, scaling
from workbench import run as runs
from workbench.scaling import ALL, Documents

SIZES = ("femto", "pico", "nano")
COMPUTE = [1e10, 1e11, 1e12]
FIGURES = (plots_scaling.law, plots_scaling.prediction, plots_scaling.slopes)


def climbed(folder, exponents, documents=4):
    """A run whose languages follow 9 C^-exponent, but for the model, which needs a tenth more."""
    run = runs.Run(folder / "pretrain" / "made")
    run.path.mkdir(parents=True)
    measured = {}
    for tag, exponent in exponents.items():
        per_byte = np.array([9 * at**-exponent for at in COMPUTE]) * [1, 1, 1.1]
        hard = np.linspace(0.9, 1.1, documents) if documents > 1 else np.ones(1)
        measured[tag] = Documents(1000 * np.outer(per_byte, hard), np.full(documents, 1000))
    about = [
        {"size": size, "parameters": 10**6, "flops": at}
        for size, at in zip(SIZES, COMPUTE, strict=True)
    ]
    rungs = {tag: Documents(one.bits[:-1], one.bytes) for tag, one in measured.items()}
    laws = scaling.predict(COMPUTE[:-1], COMPUTE[-1], rungs, 100)
    run.result("rungs", scaling.points(about, measured, 100))
    run.result("laws", scaling.compare(laws, COMPUTE[:-1], COMPUTE[-1], measured, 100))
    run.result(
        "validation",
        [
            {"size": size, "tag": tag, "document": n, "bits": float(bits), "bytes": 1000}
            for number, size in enumerate(SIZES)
            for tag, one in measured.items()
            for n, bits in enumerate(one.bits[number])
        ],
    )
    run.record = {"happened": {"predicted": {"model": "nano"}}}
    return run


@pytest.fixture
def run(tmp_path):
    return climbed(tmp_path, {"mlt_Latn": 0.05, "fin_Latn": 0.04, "kat_Geor": 0.06})


def lines(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker]


def test_the_law_goes_through_the_rungs_to_the_prediction(run):
    left, right = plots_scaling.law(run).axes
    (row,) = [row for row in run.read_result("laws") if row["tag"] == ALL]
    (rungs,), (said,), (came,) = (lines(left, marker) for marker in "sDo")
    assert list(rungs.get_xdata()) == COMPUTE[:-1]
    assert list(said.get_ydata()) == [row["predicted"]]
    assert list(came.get_ydata()) == [row["measured"]]
    (drawn,) = lines(left, "None")
    at = np.interp(COMPUTE[-1], drawn.get_xdata(), drawn.get_ydata())
    assert at == pytest.approx(row["predicted"], rel=1e-3)
    said = " ".join(text.get_text() for text in left.get_legend().get_texts())
    assert f"{row['predicted']:.3f}" in said
    assert f"({row['error_percent']:+.1f} %)" in said
    named = [text.get_text() for text in right.get_legend().get_texts()]
    assert named == ["Georgian: exponent 0.060", "Finnish: exponent 0.040"]


def test_predicted_and_measured_beside_their_numbers(run):
    (axes,) = plots_scaling.prediction(run).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("Finnish", "Maltese", "Georgian")
    ]
    (said,), (came,) = lines(axes, "D"), lines(axes, "o")
    assert list(said.get_xdata()) == pytest.approx([9 * 1e12**-n for n in (0.04, 0.05, 0.06)])
    assert list(came.get_xdata()) == pytest.approx([1.1 * x for x in said.get_xdata()])
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("+10.0 %") == 3
    assert {"predicted", "measured", "error", "exponent", "0.050"} <= set(texts)


def test_a_panel_a_language_from_the_steepest_down(run):
    panels = plots_scaling.slopes(run).axes
    assert [axes.get_title() for axes in panels] == ["Georgian", "Maltese", "Finnish"]
    (rungs,), (came,) = lines(panels[1], "s"), lines(panels[1], "o")
    assert list(rungs.get_ydata()) == pytest.approx([100, 100 * 10**-0.05])
    assert list(came.get_ydata()) == pytest.approx([110 * 100**-0.05])


def test_forty_three_languages_have_room(tmp_path):
    tags = languages.tags()
    run = climbed(tmp_path, {tag: 0.03 + n / 1000 for n, tag in enumerate(tags)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for make in FIGURES:
            figure = make(run)
            figure.canvas.draw()
            if make is plots_scaling.prediction:
                labels = figure.axes[0].get_yticklabels()
                assert len(labels) == len(tags)
                for lower, upper in pairwise(label.get_window_extent() for label in labels):
                    assert lower.y1 <= upper.y0
            if make is plots_scaling.slopes:
                seen = [axes for axes in figure.axes if axes.get_visible()]
                assert len(seen) == len(tags)
                for one, other in pairwise(seen[:7]):
                    left, right = one.title.get_window_extent(), other.title.get_window_extent()
                    assert left.x1 < right.x0
    assert matplotlib.pyplot.get_fignums() == []


def test_single_documents_have_no_intervals_and_are_drawn(tmp_path):
    run = climbed(tmp_path, {"mlt_Latn": 0.05}, documents=1)
    left, _ = plots_scaling.law(run).axes
    assert not left.collections
    for make in FIGURES:
        make(run).canvas.draw()


def test_without_a_ladder_there_is_nothing_to_draw(tmp_path):
    assert [make(runs.Run(tmp_path)) for make in FIGURES] == [None, None, None]
