import pytest

from workbench import plots_models
from workbench import run as runs


def halves(tag, base, adapter=None, **more):
    """A row as an evaluation writes it, with an interval of ten bits on both sides."""
    row = {"tag": tag, "sentences": 40}
    for name, bits in (("base", base), ("adapter", adapter)):
        ends = [None, None] if bits is None else [bits - 10, bits + 10]
        row |= {
            f"{name}_second_half_bits": bits,
            f"{name}_second_half_low": ends[0],
            f"{name}_second_half_high": ends[1],
        }
    return row | more


@pytest.fixture
def run(tmp_path):
    made = runs.Run(tmp_path / "evaluate" / "made")
    made.path.mkdir(parents=True)
    return made


def drawn(axes):
    """What each label in the legend has drawn: places of its dots."""
    labelled = [line for line in axes.lines if not line.get_label().startswith("_")]
    return {
        line.get_label(): [(float(x), round(float(y), 2)) for x, y in line.get_xydata()]
        for line in labelled
    }


def test_second_halves_show_languages_models_intervals_and_numbers(run):
    rows = [halves("eng_Latn", 110.0, 100.0), halves("mlt_Latn", 130.0), halves("cnr_Latn", None)]
    run.result("languages", rows)
    (axes,) = plots_models.second_halves(run).axes
    # The best one stands on top; where nothing was measured nothing is drawn.
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Maltese", "English"]
    assert drawn(axes) == {"base": [(130, 0.14), (110, 1.14)], "own adapter": [(100, 0.86)]}
    ends = [list(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "-"]
    assert sorted(ends) == [[90, 110], [100, 120], [120, 140]]
    assert [text.get_text() for text in axes.texts] == ["130.0", "110.0, adapted 100.0"]
    assert "40 sentences" in axes.get_title()


def test_goldfish_is_marked_where_it_was_measured_on_the_same_text(run):
    figures = {"goldfish_10mb": 119.2, "goldfish_100mb": 92.3, "goldfish_1gb": None}
    run.result("languages", [halves("gle_Latn", 110.0, **figures)])
    figure = plots_models.second_halves(run)
    assert drawn(figure.axes[0]) == {
        "base": [(110, 0.14)],
        "Goldfish of 10 MB": [(119.2, 0)],
        "Goldfish of 100 MB": [(92.3, 0)],
    }
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(drawn(figure.axes[0]))


@pytest.mark.parametrize("row", [{"tag": "eng_Latn"}, halves("eng_Latn", None)])
def test_without_sentences_there_is_no_figure(run, row):
    run.result("languages", [row])
    assert plots_models.second_halves(run) is None


@pytest.mark.parametrize("low", [1.9, None, float("nan")])
def test_the_title_explains_intervals_where_there_are_any(run, low):
    run.record["asked"] = {"recipe": {"kind": "evaluate"}}
    row = {"tag": "mlt_Latn", "base_bits_per_byte": 2.0, "adapter_bits_per_byte": 1.8}
    run.result("languages", [row | {"base_low": low, "base_high": 2.1}])
    (axes,) = plots_models.bits_by_language(run).axes
    assert ("95 % interval of the base" in axes.get_title()) == (low == 1.9)
