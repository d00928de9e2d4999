import re
import warnings
from itertools import pairwise

import matplotlib.pyplot
import pytest
from matplotlib.collections import PathCollection

from workbench import languages, plots, plots_text
from workbench import run as runs
from workbench.errors import UserError

LONG = "shelf/" + "deep/" * 8


def language_row(tag, cost, verdict="pass"):
    """A row as a tokenizer run writes it, with an interval of a tenth on both sides."""
    language = languages.get(tag)
    return {
        "tag": language.tag,
        "language": language.name,
        "script": language.script,
        "relative_to": "English",
        "tokens_relative_to_english": cost,
        "relative_low": cost - 0.1,
        "relative_high": cost + 0.1,
        "characters_per_token": 2 / cost,
        "single_byte_share": 0.2,
        "fragment_share": 0.05,
        "verdict": verdict,
    }


def compared(name, gini):
    return {
        "tokenizer": name,
        **{"gini": gini, "gini_low": gini - 0.01, "gini_high": gini + 0.01},
        **{"max_to_min": 2.5, "max_to_min_low": 2.4, "max_to_min_high": 2.6},
    }


@pytest.fixture
def run(tmp_path):
    """A tokenizer run whose numbers are known, with two others whose names end alike."""
    made = runs.Run(tmp_path / "tokenizer" / "made")
    made.path.mkdir(parents=True)
    rows = [language_row("en", 1.0), language_row("mt", 1.2), language_row("ka", 2.5, "fail")]
    made.result("languages", rows)
    names = ["this run", f"a/{LONG}", f"b/{LONG}"]
    made.result("comparison", [compared(name, 0.2 + n / 10) for n, name in enumerate(names)])
    made.result("others", [{"tokenizer": name, **row} for name in names[1:] for row in rows])
    made.result(
        "scripts",
        [
            {"script": "Latin", "tokens": 60},
            {"script": "Fragment", "tokens": 30},
            {"script": "Georgian", "tokens": 10},
        ],
    )
    return made


def dots(axes):
    """Where the dots of a scatter plot are, from the lowest up."""
    scattered = [
        tuple(float(value) for value in place)
        for drawn in axes.collections
        if isinstance(drawn, PathCollection)
        for place in drawn.get_offsets()
    ]
    return sorted(scattered, key=lambda place: place[1])


def test_cost_shows_numbers_intervals_and_verdicts(run):
    (axes,) = plots_text.cost(run).axes
    assert dots(axes) == [(1.0, 0.0), (1.2, 1.0), (2.5, 2.0)]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("English", "Maltese", "Georgian")
    ]
    ends = [end for segment in axes.collections[0].get_segments() for end in segment[:, 0]]
    assert ends == pytest.approx([0.9, 1.1, 1.1, 1.3, 2.4, 2.6])
    assert [text.get_text() for text in axes.texts] == ["1.00", "1.20", "2.50  fail"]
    assert "Gini 0.2 (0.19 to 0.21)" in axes.get_title()
    assert "dearest to cheapest 2.5 (2.4 to 2.6)" in axes.get_title()
    (line,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert set(line.get_xdata()) == {1}


def test_scripts_differ_in_shape_and_not_in_colour_alone(run):
    (axes,) = plots_text.cost(run).axes
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["Latin", "Georgian"]
    assert len({handle.get_marker() for handle in legend.legend_handles}) == 2


def test_forty_three_names_stand_clear_of_each_other(run):
    tags = languages.tags()
    run.result("languages", [language_row(tag, 1 + n / 50) for n, tag in enumerate(tags)])
    figure = plots_text.cost(run)
    figure.canvas.draw()
    labels = figure.axes[0].get_yticklabels()
    assert len(labels) == len(tags)
    for lower, upper in pairwise(label.get_window_extent() for label in labels):
        assert lower.y1 <= upper.y0


def test_a_fair_and_an_unfair_tokenizer_share_an_axis(run):
    wide = plots_text.cost(run).axes[0].get_xlim()
    run.result("languages", [language_row("en", 1.0), language_row("mt", 1.01)])
    narrow = plots_text.cost(run).axes[0].get_xlim()
    assert narrow == (0.8, 1.6)
    assert wide[0] <= 0.8
    assert wide[1] >= 2.6


def test_one_language_has_a_cost_and_no_inequality(run):
    run.result("languages", [language_row("mt", 1.0)])
    run.result("comparison", [])
    assert plots_text.cost(run).axes[0].get_title() == "What the same content costs"
    assert plots_text.comparison(run) is None


def test_tokenizers_side_by_side(run):
    gini, ratio, costs = plots_text.comparison(run).axes
    assert [label.get_text() for label in gini.get_yticklabels()][-1] == "tokenizer/made"
    assert [line.get_xdata()[0] for line in gini.lines] == pytest.approx([0.4, 0.3, 0.2])
    assert [line.get_xdata()[0] for line in ratio.lines] == [2.5, 2.5, 2.5]
    assert gini.get_xlim()[0] == 0
    assert ratio.get_xlim()[0] == 1
    assert len(dots(costs)) == 9
    looks = {(line.get_color(), line.get_marker()) for line in gini.lines}
    assert len(looks) == 3, "two names that are shortened alike stay two tokenizers"
    assert len(costs.get_legend().get_texts()) == 3


def test_a_tokenizer_alone_is_compared_with_nothing(run):
    run.result("comparison", [compared("this run", 0.2)])
    assert plots_text.comparison(run) is None


def test_cuts_show_shares_and_lengths(run):
    left, right = plots_text.cuts(run).axes
    single, part = left.lines
    assert (single.get_label(), part.get_label()) == ("a single byte", "part of a character")
    assert list(single.get_xdata()) == pytest.approx([20, 20, 20])
    assert list(part.get_xdata()) == pytest.approx([5, 5, 5])
    assert single.get_marker() != part.get_marker()
    assert [x for x, _ in dots(right)] == pytest.approx([2, 2 / 1.2, 0.8])


def test_vocabulary_beside_languages(run):
    (axes,) = plots_text.vocabulary(run).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["Latin", "Georgian", "parts of characters"]
    tokens, speakers = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert tokens == pytest.approx([60, 10, 30])
    assert speakers == pytest.approx([200 / 3, 100 / 3, 0])


def test_figures_leave_no_global_state_and_miss_no_letter(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for make in plots.KINDS["tokenizer"].values():
            make(run).canvas.draw()
    assert matplotlib.pyplot.get_fignums() == []


@pytest.mark.parametrize("kind", ["inspect", "tokenizer", "pretrain", "adapt", "evaluate"])
def test_every_kind_of_run_has_its_pictures(series, kind):
    reference = f"{kind}/starter"
    drawn = {path.stem for path in (runs.find(reference).path / plots.FOLDER).glob("*.png")}
    first = next(iter(plots.KINDS[kind]))
    assert {first} <= drawn <= set(plots.KINDS[kind])
    assert plots.show(reference).data == plots.show(reference, first).data
    for name in drawn:
        picture = plots.show(reference, name)
        assert picture.data.startswith(b"\x89PNG")
        assert len(picture.data) > 5_000


def test_a_picture_that_is_not_there_is_told_with_those_that_are(series):
    said = "tokenizer/starter has no picture 'cosst' (did you mean 'cost'?); it has cost, cuts"
    with pytest.raises(UserError, match=re.escape(said)):
        plots.show("tokenizer/starter", "cosst")
    with pytest.raises(UserError, match="has no picture; is it finished"):
        plots.show("compare/starter")
