import re
import xml.etree.ElementTree as ElementTree

import pytest
import yaml
from conftest import expect_named

from workbench import mixing, recipe, sections, widgets_mix
from workbench import run as runs
from workbench.errors import UserError


@pytest.fixture
def measured(empty_runs):
    """An inspection of three languages with 10, 100 and 1000 kB."""
    made = runs.Run(runs.root() / "inspect" / "sizes")
    made.path.mkdir(parents=True)
    (made.path / runs.RECIPE).write_text(
        recipe.InspectRecipe(name="sizes", why="to mix").to_yaml(), encoding="utf-8"
    )
    rows = [("mlt_Latn", 10_000, 5000), ("fin_Latn", 100_000, 25_000), ("eng_Latn", 10**6, 250_000)]
    made.result(
        "languages", [dict(zip(("tag", "bytes", "tokens"), row, strict=True)) for row in rows]
    )
    return made


@pytest.fixture
def panel(measured):
    return widgets_mix.MixPanel("inspect/sizes")


def tree(markup):
    return ElementTree.fromstring(markup[markup.index('<div class="wb">') :])


def numbers(markup):
    """Return the table's cells by language."""
    rows = [list(row) for row in tree(markup).iter("tr")]
    return {
        row[0].text: [cell.text for cell in row[1:]] for row in rows if row[0].get("scope") == "row"
    }


def test_sizes_are_what_the_inspection_measured_or_kept(measured):
    assert list(mixing.sizes_of("inspect/sizes").values()) == [10_000, 100_000, 1_000_000]
    assert mixing.sizes_of("inspect/sizes", "tokens")["mlt_Latn"] == 5000
    rows = measured.read_result("languages")
    measured.result("languages", [row | {"bytes_kept": row["bytes"] // 2} for row in rows])
    assert mixing.sizes_of("inspect/sizes")["mlt_Latn"] == 5000
    assert mixing.sizes_of("inspect/sizes", "tokens")["mlt_Latn"] == 2500


def test_an_inspection_without_tokens_says_what_to_do(measured):
    rows = [{"tag": "mlt_Latn", "bytes": 5}]
    measured.result("languages", rows)
    with pytest.raises(UserError, match="counted no tokens; name a tokenizer in its recipe"):
        mixing.sizes_of("inspect/sizes", "tokens")


def test_unimax_by_hand(panel):
    panel.strategy.value = "unimax"
    # 600 kB of 1110: 200 each, but Maltese can take 40 only, and the others share what is left.
    panel.times.value = 600 / 1110
    assert numbers(panel.result.value) == {
        "English": ["1,000,000", "90.09", "46.67", "280,000", "0.28"],
        "Finnish": ["100,000", "9.01", "46.67", "280,000", "2.80"],
        "Maltese": ["10,000", "0.90", "6.67", "40,000", "4.00"],
    }
    assert "Warning" not in panel.result.value
    assert "600 thousand bytes, 0.541 × all the text" in panel.status.value


def test_a_bar_and_a_line_for_each_language(panel):
    panel.strategy.value = "uniform"
    drawing = next(tree(panel.result.value).iter("svg"))
    bars = [float(bar.get("width")) for bar in drawing.iter("rect")][1:]
    assert bars[0] == bars[1] == bars[2] > 0
    lines = [float(line.get("x1")) for line in drawing.iter("line")][1:]
    # The share of the text: English far to the right, Maltese next to the edge.
    names = [text.text for text in drawing.iter("text") if text.get("text-anchor") == "end"]
    order = dict(zip(names, lines, strict=True))
    assert order["English"] > order["Finnish"] > order["Maltese"]
    assert drawing.get("role") == "img"


def test_too_many_epochs_are_warned_of_in_words_and_not_by_colour_alone(panel):
    panel.strategy.value = "uniform"
    panel.times.value = 1
    said = "".join(tree(panel.result.value).itertext())
    assert "Warning: text read more than 4 times" in said
    assert "mlt_Latn 37.00 times" in said
    assert "⚠ 33.33 %, read 37.00 times" in said
    assert said.count("⚠") == 1
    dashed = [bar for bar in tree(panel.result.value).iter("rect") if bar.get("stroke-dasharray")]
    assert len(dashed) == 1


def test_only_what_the_strategy_takes_can_be_moved(panel):
    states = {}
    for strategy in ("natural", "uniform", "temperature", "unimax"):
        panel.strategy.value = strategy
        states[strategy] = (panel.exponent.disabled, panel.max_epochs.disabled)
    assert states == {
        "natural": (True, True),
        "uniform": (True, True),
        "temperature": (False, True),
        "unimax": (True, False),
    }
    panel.strategy.value = "temperature"
    panel.exponent.value = 1
    natural = numbers(panel.result.value)
    assert all(row[1] == row[2] for row in natural.values())


def test_the_lines_for_a_recipe_are_a_recipes(panel):
    for strategy, told in (
        ("natural", {"strategy": "natural", "unit": "bytes"}),
        ("temperature", {"strategy": "temperature", "unit": "bytes", "exponent": 0.25}),
        ("unimax", {"strategy": "unimax", "unit": "bytes", "max_epochs": 2.0, "budget": 1110000}),
    ):
        panel.exponent.value, panel.max_epochs.value = 0.25, 2
        panel.strategy.value = strategy
        (lines,) = [pre.text for pre in tree(panel.result.value).iter("pre")]
        asked = yaml.safe_load(lines)["mix"]
        assert asked == told
        sections.Mix(**asked)


def test_a_mix_goes_out_and_comes_back(panel, tmp_path):
    panel.file.value = str(tmp_path / "mixes" / "datamix.txt")
    panel.strategy.value = "unimax"
    panel.times.value = 600 / 1110
    before = numbers(panel.result.value)
    panel.save.click()
    assert "Written: " in panel.status.value
    assert mixing.load(panel.file.value)[0] == (pytest.approx(1 / 15), "hplt-3.0/mlt_Latn")
    panel.strategy.value = "natural"
    panel.load.click()
    assert panel.strategy.value == "weights"
    assert numbers(panel.result.value) == before
    assert "datamix" not in re.sub("<style>.*?</style>", "", panel.status.value, flags=re.S)


def test_mistakes_are_told_and_nothing_old_stays(panel, tmp_path):
    panel.strategy.value = "weights"
    assert "Problem: there are no weights yet" in panel.status.value
    assert panel.result.value == ""
    panel.file.value = str(tmp_path / "nothing.txt")
    panel.load.click()
    assert "Problem: no datamix at" in panel.status.value
    (tmp_path / "nothing.txt").write_text("1 text/ell_Grek\n")
    panel.load.click()
    assert "ell_Grek, which has no training text" in panel.status.value
    panel.strategy.value = "natural"
    panel.paths.value = "text/all"
    panel.save.click()
    assert "Problem: paths must hold {tag}" in panel.status.value


def test_every_control_is_named(panel):
    expect_named(panel)


def test_the_function_shows_the_same(panel, tmp_path):
    panel.strategy.value = "unimax"
    panel.times.value = 2
    made = widgets_mix.mix("inspect/sizes", "unimax", budget=2_220_000).data
    assert made == panel.result.value
    assert numbers(widgets_mix.mix("inspect/sizes", "natural").data)["English"][-1] == "1.00"
    by_token = numbers(widgets_mix.mix("inspect/sizes", "natural", unit="tokens").data)
    assert by_token["English"][0] == "250,000"
    (tmp_path / "datamix.txt").write_text("3 a/eng_Latn\n1 a/mlt_Latn\n")
    mixed = widgets_mix.mix("inspect/sizes", "weights", datamix=str(tmp_path / "datamix.txt")).data
    assert [row[2] for row in numbers(mixed).values()] == ["75.00", "25.00", "0.00"]
    assert "not read" in mixed


def test_the_table_gives_the_numbers_alone(measured):
    wanted = widgets_mix.chosen("unimax", 0.5, 4, 600_000, "bytes")
    rows = mixing.table(mixing.sizes_of("inspect/sizes"), wanted, 600_000)
    assert [round(row["budget"]) for row in rows] == [40_000, 280_000, 280_000]
