import pytest

from workbench import plots
from workbench import run as runs
from workbench.errors import UserError


@pytest.mark.parametrize("kind", ["inspect", "tokenizer", "pretrain", "adapt", "evaluate"])
def test_every_kind_of_run_has_its_picture(series, kind):
    picture = plots.show(f"{kind}/starter")
    assert picture.data.startswith(b"\x89PNG")
    assert len(picture.data) > 10_000


def test_bars_show_the_results(series):
    figure = plots.token_cost(runs.find("tokenizer/starter"))
    widths = sorted(round(bar.get_width(), 6) for bar in figure.axes[0].patches)
    rows = runs.find("tokenizer/starter").read_result("languages")
    assert widths == sorted(round(row["tokens_relative_to_english"], 6) for row in rows)


def test_a_kind_without_picture_says_so(series):
    with pytest.raises(UserError, match="has no picture"):
        plots.show("compare/starter")
