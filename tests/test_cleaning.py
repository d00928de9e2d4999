"""Filters, each with what it must drop and what is near that and must stay; and what is mended."""

import unicodedata

import numpy as np
import pytest

from workbench import cleaning, duplicates, identify, languages, passages, personal, signals
from workbench.sections import FILTERS, Clean

MALTESE, FINNISH, GREEK = (
    [" ".join(sentences) for sentences in passages.read(tag).values()]
    for tag in ("mlt_Latn", "fin_Latn", "ell_Grek")
)
CROATIAN, MONTENEGRIN, SERBIAN = (
    [" ".join(sentences) for sentences in passages.read(tag).values()]
    for tag in ("hrv_Latn", "cnr_Latn", "srp_Cyrl")
)
LONG = " ".join(MALTESE[:3])


def measures(*documents):
    """The columns that filters look at, of documents given as language and text."""
    tags, texts = zip(*documents, strict=True)
    batch = signals.Batch(texts)
    detected = [ranks[0] if ranks else ("", 0.0) for ranks in identify.detect(texts, top=1)]
    letters = signals.script_letters(batch)
    own = [signals.SCRIPT_COLUMNS.index(languages.get(tag).script) for tag in tags]
    return {
        "lang": np.array(tags, dtype=object),
        "detected": np.array([name for name, _ in detected], dtype=object),
        "detected_probability": np.array([chance for _, chance in detected]),
        **signals.measure(batch),
        **personal.count_batch(texts),
        "own_script_share": letters[np.arange(len(tags)), own] / np.maximum(1, letters.sum(axis=1)),
        "frequent_words": np.full(len(tags), 9),
        "contaminated": np.zeros(len(tags), dtype=int),
    }


def objects(name, *documents, limits=None, **settings):
    table = measures(*documents)
    found = cleaning.objections(table, Clean(filters=[name], **settings), limits or {})
    return found[name].tolist()


def test_filters_look_at_no_other_columns_than_those_that_are_read():
    table = measures(("mlt_Latn", LONG))
    narrow = {name: table[name] for name in cleaning.COLUMNS}
    found = cleaning.objections(narrow, Clean(filters=list(FILTERS)), {"mlt_Latn": []})
    assert set(found) == set(FILTERS) - {"exact-duplicate", "near-duplicate"}
    assert not any(mask.any() for mask in found.values())


def test_length_counts_words():
    documents = [("mlt_Latn", "kelma " * words) for words in (4, 5, 20, 21)]
    assert objects("length", *documents, max_words=20) == [True, False, False, True]


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("a" * 998 + "\x07\x07", True),
        ("a" * 999 + "\x07", False),
        ("a" * 98 + "\t\r\n", False),
        ("ა" * 998 + "\ue000\ufffd", True),
        ("ა" * 998 + "\u0378\u0378", True),
        ("Ã¼ber" + "a" * 495, True),
        ("Über, été, Ψυχή" * 20, False),
        ("a" * 500 + "\u200f\u202b" + "a" * 500, False),
    ],
)
def test_characters_that_no_text_should_have(text, dropped):
    """At most one in a thousand; marks of direction are part of a text."""
    assert objects("characters", ("mlt_Latn", text)) == [dropped]


def test_language_drops_what_is_surely_another():
    short = FINNISH[0][:80]
    documents = [
        ("mlt_Latn", FINNISH[0]),
        ("mlt_Latn", short),  # a detector of short texts guesses
        ("mlt_Latn", MALTESE[0]),
        ("bos_Latn", CROATIAN[0]),  # look-alikes
        ("cnr_Latn", CROATIAN[0]),
        ("cnr_Latn", MONTENEGRIN[0]),  # unknown to the detector, whatever it says
        ("mlt_Latn", "1234 5678 " * 40),
        ("srp_Cyrl", SERBIAN[0]),
    ]
    assert objects("language", *documents) == [True, *[False] * 7]


def test_script_drops_what_is_mostly_in_another():
    half = "абвгд" + "abcde"
    documents = [
        ("srp_Cyrl", "Ово је naslov na latinici"),
        ("srp_Cyrl", half),
        ("srp_Cyrl", half + "f"),
        ("srp_Latn", "Ovo je naslov ALTOS Орг"),
        ("ell_Grek", "12.5 % (2024)"),  # no letters at all
    ]
    assert objects("script", *documents) == [True, False, True, False, False]


def test_repetition_is_asked_of_prose_only():
    line = "Il-vapur jitlaq kmieni filgħodu mill-port il-kbir.\n"
    menu = "Paġna ewlenija\nIkkuntattjana\n" * 30
    song = LONG + "\n" + line * 3 + LONG[:1500]
    documents = [
        ("mlt_Latn", line * 10),
        ("mlt_Latn", menu),
        ("mlt_Latn", line * 3),  # 24 words
        ("mlt_Latn", "\n".join(MALTESE[:8]) + "\n" + line * 2),
    ]
    assert objects("repetition", *documents) == [True, True, False, False]
    assert objects("repetition", ("mlt_Latn", song)) == [True], "most of it comes again"


def test_repetition_drops_at_more_than_the_limit_and_not_at_it():
    table = measures(*[("mlt_Latn", LONG)] * 2)
    for name, limit in cleaning.REPETITION.items():
        # Shares are kept in single precision.
        table[name] = np.array([limit, limit * 1.01], dtype=np.float32)
        found = cleaning.objections(table, Clean(filters=["repetition"]), {})
        assert found["repetition"].tolist() == [False, True], name
        table[name] = np.zeros(2, dtype=np.float32)


def test_personal_data_with_its_own_check():
    documents = [
        ("mlt_Latn", "Ikteb lil ġanni@dar.mt illum."),
        ("ell_Grek", "IBAN GR16 0110 1250 0000 0001 2300 695 στην τράπεζα"),
        ("ell_Grek", "IBAN GR16 0110 1250 0000 0001 2300 696 στην τράπεζα"),  # digits do not check
        ("fin_Latn", "Kirjoita osoitteeseen anna@example.org."),  # an example's domain
        ("fin_Latn", "@anna kävi Oulussa 12.5.2024"),
    ]
    assert objects("personal-data", *documents) == [True, True, False, False, False]


def test_contamination_is_what_the_survey_found():
    table = measures(*[("mlt_Latn", LONG)] * 3)
    table["contaminated"] = np.array([0, 1, 40])
    found = cleaning.objections(table, Clean(filters=["contamination"]), {})
    assert found["contamination"].tolist() == [False, True, True]


def test_a_range_is_the_wider_one_of_gophers_and_the_languages_own():
    """Of 20 documents quantile 0.1 leaves two on a side: fewer than that may be out, so one."""
    long_words = np.linspace(9, 12.8, 20)  # steps of 0.2
    wide = cleaning.usual("mean_word_length", long_words, 0.1)
    assert (wide.low, wide.high) == (3, pytest.approx(12.6))
    english = np.array([1, 4.4, *[5] * 18])
    assert cleaning.usual("mean_word_length", english, 0.1) == cleaning.Range(
        "mean_word_length", 3, 10
    )
    # Nobody has any: one sign in many words is rare, but not too much.
    none = cleaning.usual("hash_signs_per_word", np.zeros(20), 0.1)
    assert (none.low, none.high) == (-np.inf, 0.1)
    # Few documents say nothing of what is unusual.
    few = cleaning.usual("short_line_share", np.array([0.1, 1.0, 0.9]), 0.05)
    assert few.high == 1.0
    assert cleaning.usual("short_line_share", long_words / 13, 0.0).high == long_words[-1] / 13


def test_quality_holds_documents_against_their_own_language():
    lines = "Paġna\nDar\nIkteb lilna\nĦut\nŻomm\nAqra aktar\n"
    prose = "\n".join(MALTESE[:3])
    limits = {
        "mlt_Latn": [cleaning.Range("short_line_share", -np.inf, 0.67)],
        "fin_Latn": [cleaning.Range("short_line_share", -np.inf, 1.0)],
    }
    documents = [("mlt_Latn", lines), ("mlt_Latn", prose), ("fin_Latn", lines)]
    assert objects("quality", *documents, limits=limits) == [True, False, False]


def test_quality_wants_two_frequent_words_of_long_texts():
    table = measures(*[("mlt_Latn", LONG)] * 2, ("mlt_Latn", "kelma " * 49))
    table["frequent_words"] = np.array([1, 2, 0])
    found = cleaning.objections(table, Clean(filters=["quality"]), {})
    assert found["quality"].tolist() == [True, False, False]


A, B, BOTH = np.array([1, 0, 1, 0]), np.array([0, 1, 1, 0]), ["length", "script"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["length", "script"], ["length", "script", "length", ""]),
        (["script", "length"], ["length", "script", "script", ""]),
        (["script"], ["", "script", "script", ""]),
    ],
)
def test_the_first_filter_that_objects_gives_the_reason(filters, expected):
    masks = {"length": A.astype(bool), "script": B.astype(bool)}
    alone = np.arange(4)
    found = cleaning.reasons(filters, masks, alone, alone)
    assert [FILTERS[place] if place >= 0 else "" for place in found] == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        # Document 0 is out before; of its three copies the next one stays.
        (["length", "exact-duplicate"], ["length", "", "exact-duplicate", "exact-duplicate", ""]),
        (["exact-duplicate", "length"], ["length", *["exact-duplicate"] * 3, ""]),
        # 4 resembles them all.
        (["length", "exact-duplicate", "near-duplicate"], None),
    ],
)
def test_of_duplicates_the_first_stays_that_earlier_filters_let_pass(filters, expected):
    text = duplicates.exact(np.array([7, 7, 7, 7, 9], dtype=np.uint64))
    cluster = np.zeros(5, dtype=np.int64)
    masks = {"length": np.array([True, False, False, False, False])}
    found = cleaning.reasons(filters, masks, text, cluster)
    names = [FILTERS[place] if place >= 0 else "" for place in found]
    assert names == (
        expected or ["length", "", "exact-duplicate", "exact-duplicate", "near-duplicate"]
    )


@pytest.mark.parametrize(
    ("tag", "before", "after"),
    [
        ("srp_Cyrl", "jeдном, cа poдитељима, кâ", "једном, са poдитељима, ка̂"),
        ("ukr_Cyrl", "вiн iз нацiї, нï, CССР", "він із нації, нї, СССР"),
        ("bul_Cyrl", "получаватe сa Aлександър", "получавате са Александър"),
        ("mkd_Cyrl", "сè и нè oзначуваат, jас, sвезда", "сѐ и нѐ означуваат, јас, ѕвезда"),
        ("ell_Grek", "τoυ Kι vερό πρóβλημα Tο", "του Κι νερό πρόβλημα Το"),
        ("hrv_Latn", "Аrapskog Нän", "Arapskog Hän"),
        ("ron_Latn", "rа nόstră", "ra nóstră"),
    ],
)
def test_look_alikes_are_put_right(tag, before, after):
    """``poдитељима`` stays: a Latin p looks like a Cyrillic r, and it is d that was meant."""
    before, after = (unicodedata.normalize("NFC", text) for text in (before, after))
    after = after.replace("poдитељима", cleaning.repair("poдитељима", tag))
    assert cleaning.repair(before, tag) == after
    assert cleaning.repair(after, tag) == after


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("bul_Cyrl", "IT-сектор, ITшник, Microsoft, NATO, вижтеthese"),
        ("bul_Cyrl", "вiн"),  # Bulgarian has no і
        ("mkd_Cyrl", "Оutsourcing"),  # more of it is Latin
        ("ell_Grek", "Δx ΔH Δv μA μm MΩ kΩ, α-Omega, Wi-Fi, IBMικός"),
        ("hrv_Latn", "Δx, ΔH, μPa, hν, Вiдродження, β-karoten"),
        ("fin_Latn", "Стаханoв"),
        ("hye_Armn", "aտարրի"),
        ("kat_Geor", "Googleის"),
        ("mlt_Latn", "5 µm, naïve, ġnien"),
        ("ukr_Cyrl", "п'ять об’єкт ґанок їжак й ITшник"),
    ],
)
def test_what_is_no_slip_stays(tag, text):
    assert cleaning.repair(text, tag) == text


@pytest.mark.parametrize("tag", languages.tags())
def test_nothing_is_repaired_in_what_is_right(tag):
    text = " ".join(sentence for own in passages.read(tag).values() for sentence in own)
    assert cleaning.repair(text, tag) == text
    assert cleaning.mixed_words(text, languages.get(tag).script) == []


def test_time_to_repair_grows_no_faster_than_the_text():
    """A million letters without a break: a pattern that tries every cut would not come back."""
    for letter in ("а", "\u0301", "a", "аa"):
        text = letter * (1_000_000 // len(letter))
        assert len(cleaning.repair(text + " вiн", "ukr_Cyrl")) == len(text) + 4
        assert cleaning.mixed_words(text + " вiн", "Cyrl")[-1] == "вiн"


def test_text_is_mended_only_as_asked():
    text = "Cafe\u0301 вiн: ivan@dim.ua"
    for settings, expected in (
        ({}, "Café він: [e-mail]"),
        ({"mask": False}, "Café він: ivan@dim.ua"),
        ({"repair": False}, "Cafe\u0301 вiн: [e-mail]"),
        ({"repair": False, "mask": False}, text),
    ):
        assert cleaning.mend(text, "ukr_Cyrl", Clean(**settings), True, True) == expected


def test_what_was_done_is_told_in_words():
    clean = Clean(filters=["script", "length"], repair=False)
    said = cleaning.in_words(clean, {"length": 1200, "script": 0})
    assert said[0] == "Documents dropped by filter, in this order: script 0, length 1,200."
    assert len(said) == 2
    assert "replaced by their kind" in said[1]
