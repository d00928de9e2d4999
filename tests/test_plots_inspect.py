from itertools import pairwise

import matplotlib.pyplot
import pytest
from matplotlib.colors import to_hex

from workbench import drawing, identify, languages, plots, plots_inspect
from workbench import run as runs
from workbench.recipe import InspectRecipe
from workbench.sections import FILTERS, Clean

QUANTILES = {"p1": 0.1, "p10": 0.2, "p50": 0.3, "p90": 0.4, "p99": 0.5}


def language_row(tag, size, kept=None, **more):
    language = languages.get(tag)
    row = {
        "tag": language.tag,
        "language": language.name,
        "documents": 200,
        "words": 100_000,
        "characters": 1_000_000,
        "bytes": size,
        "share_own_script": 1.0,
        "mixed_script_words": 0,
        "not_nfc": 0,
        **dict.fromkeys(
            [f"{kind}_characters" for kind in ("control", "unassigned", "private", "replacement")],
            0,
        ),
        "mojibake": 0,
        "exact_duplicates": 0,
        "near_duplicates": 0,
    }
    return row | ({"bytes_kept": kept} if kept is not None else {}) | more


@pytest.fixture
def run(tmp_path):
    """An inspection whose numbers are known: 2 MB of English, 1 of Greek, 0.5 of Georgian."""
    made = runs.Run(tmp_path / "inspect" / "made")
    made.path.mkdir(parents=True)
    recipe = InspectRecipe(name="made", why="to see", clean=Clean(filters=list(FILTERS)))
    (made.path / runs.RECIPE).write_text(recipe.to_yaml(), encoding="utf-8")
    rows = [
        language_row("el", 1_000_000, 800_000, share_own_script=0.99, mixed_script_words=50),
        language_row("en", 2_000_000, 2_000_000, mojibake=5, exact_duplicates=2, near_duplicates=6),
        language_row("ka", 500_000, 0),
    ]
    made.result("languages", rows)
    made.result(
        "signals",
        [
            {"tag": row["tag"], "signal": name}
            | {key: value * 2**n for key, value in QUANTILES.items()}
            for name in (
                *("characters", "words"),
                *plots_inspect.QUALITY,
                *plots_inspect.REPETITION,
            )
            for n, row in enumerate(rows)
        ],
    )
    made.result(
        "limits",
        [
            {"tag": "ell_Grek", "signal": "mean_word_length", "low": 3.0, "high": 11.0},
            {"tag": "ell_Grek", "signal": "alphabetic_word_share", "low": 0.8, "high": None},
        ],
    )
    made.result("domains", [])
    return made


def texts(axes):
    return [text.get_text() for text in axes.texts]


def points(axes):
    """Return where markers stand, with what they look like, in drawing order."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]), line.get_markerfacecolor())
        for line in axes.lines
        if line.get_marker() == "o"
    ]


def test_text_shows_before_and_after_by_status(run):
    (axes,) = plots_inspect.text(run).axes
    assert texts(axes) == [
        "official",
        "2 MB, 100 % kept",
        "1 MB, 80 % kept",
        "candidate",
        "500 kB, 0 % kept",
    ]
    # Hollow at what there was, filled at what is left; nothing is left of the Georgian.
    assert [(x, face == "white") for x, _, face in points(axes)] == [
        *((2.0, True), (2.0, False), (1.0, True), (0.8, False), (0.5, True))
    ]
    assert axes.get_xscale() == "linear"
    assert axes.get_xlim()[0] == 0
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "English",
        "Greek",
        "Georgian",
    ]


def test_text_of_very_different_sizes_is_on_a_logarithmic_axis_with_written_numbers(run):
    run.result("languages", [language_row("en", 2_000_000), language_row("mt", 1000)])
    figure = plots_inspect.text(run)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    figure.canvas.draw()
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert {"0.01", "0.1", "1"} <= set(labels)
    assert texts(axes) == ["official", "2 MB", "1 kB"]
    assert "cleaning" not in axes.get_title()


def test_lengths_rank_languages_and_draw_their_quantiles(run):
    figure = plots_inspect.lengths(run)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        "Greek",
        "English",
        "Georgian",
    ]
    thin, thick = left.collections[:2]
    assert [segment[:, 0].tolist() for segment in thin.get_segments()] == [
        *([0.1, 0.5], [0.2, 1.0], [0.4, 2.0])
    ]
    assert thick.get_segments()[0][:, 0].tolist() == [0.2, 0.4]
    assert left.lines[0].get_xdata().tolist() == [0.3, 0.6, 1.2]
    assert right.get_xlabel().startswith("words a document")


def test_letters_are_numbers_and_nothing_is_drawn_of_nothing(run):
    (axes,) = plots_inspect.letters(run).axes
    # 1 % foreign letters and 50 of 100,000 words in Greek; 5 of a million characters in English.
    assert texts(axes) == ["5.0", "1.0", "50"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["English", "Greek"]
    assert "nothing in 1 of 3 languages" in axes.figure.get_suptitle()
    run.result("languages", [language_row("en", 1000)])
    assert plots_inspect.letters(run) is None


def test_shades_grow_with_the_number_and_end_at_the_limit():
    shades = [plots_inspect._shade(value, 100) for value in (0, 1e-9, 0.1, 1, 100, 1e6)]
    assert shades == sorted(shades)
    assert (shades[0], shades[3], shades[4]) == (0, pytest.approx(0.5), 1)
    assert len(set(shades[1:5])) == 4


def confused(run, pairs):
    run.result(
        "confusion",
        [
            {"declared": declared, "detected": detected, "documents": count, "agrees": True}
            for declared, detected, count in pairs
        ],
    )
    (axes,) = plots_inspect.confusion(run).axes
    return axes


def test_confusion_boxes_look_alikes_and_underlines_what_is_taken_for_another(run):
    axes = confused(
        run,
        [
            *(("srp_Latn", "srp_Latn", 80), ("srp_Latn", "hrv_Latn", 20)),
            *(("ell_Grek", "ell_Grek", 9), ("ell_Grek", "grc", 1)),
            *(("eng_Latn", "eng_Latn", 998), ("eng_Latn", "ell_Grek", 1), ("eng_Latn", "la", 1)),
            ("mlt_Latn", "none", 1),
        ],
    )
    rows = [label.get_text() for label in axes.get_yticklabels()]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    assert rows == ["Serbian (Latin)", "English", "Greek", "Maltese"]
    assert columns == [
        *("Croatian", "Serbian (Latin)", "English", "Ancient Greek", "Greek", "Maltese"),
        *("outside the registry", "none"),
    ]
    assert texts(axes) == ["20", "80", ">99", "<1", "<1", "10", "90", "100"]
    boxes = {(*box.get_xy(), box.get_width(), box.get_height()) for box in axes.patches}
    assert boxes == {(0, 0, 2, 1), (3, 2, 2, 1)}
    underlined = {(int(line.get_xdata()[0]), int(line.get_ydata()[0])) for line in axes.lines}
    assert underlined == {(4, 1), (6, 1), (7, 3)}


def test_confusion_has_room_for_every_language_of_the_registry(run):
    axes = confused(run, [(tag, tag, 1) for tag in languages.tags()])
    assert len(axes.get_yticklabels()) == len(languages.tags())
    width, height = axes.figure.get_size_inches()
    assert width < 14
    assert height < 14
    for group in identify.LOOK_ALIKES:
        places = sorted(
            place
            for place, label in enumerate(axes.get_yticklabels())
            if label.get_text() in {identify.name(tag) for tag in group}
        )
        assert places == list(range(places[0], places[-1] + 1))


def test_duplicates_part_copies_from_near_ones_and_leave_out_the_others(run):
    (axes,) = plots_inspect.duplicates(run).axes
    copies, near = axes.containers
    assert [bar.get_width() for bar in copies] == [1.0]
    assert [(bar.get_x(), bar.get_width()) for bar in near] == [(1.0, 2.0)]
    assert texts(axes) == ["3.0 %"]
    assert "none in 2 of 3 languages" in axes.get_title()
    run.result("languages", [language_row("en", 1000)])
    assert plots_inspect.duplicates(run) is None


def test_dropped_tells_filters_apart_by_hatch_as_well_and_alike_in_every_run(run):
    shares = {"quality": 0.05, "repetition": 0.1, "script": 0.0}
    run.result(
        "dropped",
        [{"tag": "eng_Latn", "reason": name, "share": share} for name, share in shares.items()],
    )
    (axes,) = plots_inspect.dropped(run).axes
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["quality", "repetition"]
    looks = [
        (to_hex(bars[0].get_facecolor()), bars[0].get_hatch() or "") for bars in axes.containers
    ]
    assert looks == [
        (colour.lower(), hatch)
        for colour, hatch in (plots_inspect.FILTER_PARTS[name] for name in legend)
    ]
    assert len({hatch for _, hatch in looks}) == 2
    assert texts(axes) == ["15.0 %"]


def test_neighbouring_filters_never_look_alike():
    looks = [plots_inspect.FILTER_PARTS[name] for name in FILTERS]
    assert len({colour for colour, _ in looks}) == len(FILTERS)
    for one, other in pairwise(looks):
        assert one[1] != other[1]


def test_without_filters_nothing_was_dropped(run):
    recipe = InspectRecipe(name="made", why="to see")
    (run.path / runs.RECIPE).write_text(recipe.to_yaml(), encoding="utf-8")
    assert plots_inspect.dropped(run) is None


def test_quality_draws_the_limits_of_each_language(run):
    figure = plots_inspect.quality(run)
    limits = [
        [
            (line.get_xdata()[0], line.get_ydata()[0])
            for line in axes.lines
            if line.get_marker() == "|"
        ]
        for axes in figure.axes[:3]
    ]
    heights = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert heights == ["Greek", "Georgian", "English"]
    assert limits == [[(3.0, 0), (11.0, 0)], [(80.0, 0)], []]


def test_repetition_draws_the_common_limit_in_every_language(run):
    figure = plots_inspect.repetition(run)
    limits = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert limits == [20.0] * 3


def test_domains_are_names_and_no_formulas(run):
    assert plots_inspect.domains(run) is None
    rows = [("a$x$.mt", 3000), ("b.mt", 1000)]
    run.result(
        "domains",
        [{"domain": name, "documents": 1, "bytes": size, "of_domains": 20} for name, size in rows],
    )
    figure = plots_inspect.domains(run)
    figure.canvas.draw()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [r"a\$x\$.mt", "b.mt"]
    assert texts(axes) == ["3", "1"]
    assert "of 20" in axes.get_title()


def test_personal_data_are_counted_of_every_ten_thousand_documents(run):
    rows = [("eng_Latn", "e-mail", 3), ("ell_Grek", "e-mail", 0), ("kat_Geor", "e-mail", 0)]
    run.result(
        "personal", [dict(zip(("tag", "kind", "documents"), row, strict=True)) for row in rows]
    )
    (axes,) = plots_inspect.personal(run).axes
    assert texts(axes) == ["150"]
    run.result("personal", [{"tag": "eng_Latn", "kind": "e-mail", "documents": 0}])
    assert plots_inspect.personal(run) is None


def test_every_figure_of_a_real_inspection_is_drawn_twice_and_alike_each_time(inspected):
    run = runs.find(inspected)
    names = {path.name for path in (run.path / plots.FOLDER).iterdir()}
    drawn = set(plots.KINDS["inspect"])
    assert names == {f"{name}.{ending}" for name in drawn for ending in ("png", "svg")}
    before = {name: (run.path / plots.FOLDER / name).read_bytes() for name in names}
    copy = runs.Run(run.path)
    plots.draw(copy)
    after = {name: (run.path / plots.FOLDER / name).read_bytes() for name in names}
    assert before == after
    assert runs.verify(run) == []
    assert matplotlib.pyplot.get_fignums() == []


def test_a_figure_measures_text_with_little_memory():
    assert type(drawing.new(2, 2).canvas).__name__ == "FigureCanvasAgg"
