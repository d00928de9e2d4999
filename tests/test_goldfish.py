from statistics import mean

from workbench import goldfish, languages


def test_every_figure_belongs_to_a_language_that_flores_has():
    known = {one.tag: one for one in languages.all_languages()}
    assert set(goldfish.published()) == {
        tag for tag, one in known.items() if one.codes.get("flores")
    }


def test_published_figures():
    # Read off data/flores_logperplexities.tsv: eng_latn 110.9340261, 83.40660655, 68.73020935.
    assert goldfish.columns("eng_Latn") == {
        "goldfish_10mb": 110.93,
        "goldfish_100mb": 83.41,
        "goldfish_1gb": 68.73,
    }
    assert goldfish.columns("mlt_Latn")["goldfish_1gb"] == 83.6
    # There is no gle_latn_1000mb: its largest model is of all the text there was.
    assert goldfish.columns("gle_Latn")["goldfish_1gb"] is None
    assert set(goldfish.columns("cnr_Latn").values()) == {None}


def test_more_text_takes_fewer_bits():
    for tag, figures in goldfish.published().items():
        known = [bits for bits in figures.values() if bits is not None]
        assert known == sorted(known, reverse=True), tag
    assert 120 < mean(one["10mb"] for one in goldfish.published().values()) < 126


def test_only_flores_is_the_same_text():
    assert goldfish.same_text(["../flores_plus/devtest/*.jsonl"])
    assert goldfish.same_text(["hub:openlanguagedata/FLORES_plus@main"])
    assert not goldfish.same_text(["../flores_plus/devtest/*.jsonl", "starter"])
    assert not goldfish.same_text(["../shared/data/parallel/ntrex/*.jsonl.gz"])
    assert not goldfish.same_text([])
