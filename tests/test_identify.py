import itertools

import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from workbench import identify, languages, passages


@pytest.fixture(scope="module")
def one_by_one():
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def whole_passages(tag):
    return [" ".join(sentences) for sentences in passages.read(tag).values()]


def test_the_answers_are_py3langids_own(one_by_one):
    texts = [text for tag in languages.tags() for text in passages.prompts(tag).values()][::7]
    texts += ["ВСИЧКО Е С ГЛАВНИ БУКВИ", "cafe\u0301 au lait, s'il vous plai\u0302t"]
    found = identify.detect(texts, top=200)
    tags = {label: tag for tag, label in identify.labels().items() if label != "sr"}
    for text, ranked in zip(texts, found, strict=True):
        expected = dict(one_by_one.rank(text))
        named = {tags.get(label, label): share for label, share in expected.items()}
        got = {"sr" if tag.startswith("srp_") else tag: share for tag, share in ranked}
        assert got == pytest.approx(named, abs=1e-4)
        shares = [share for _, share in ranked]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=1e-4)


def test_a_batch_changes_nothing(monkeypatch):
    texts = [passages.read(tag)[name][0] for tag in languages.tags() for name in ("river-ferry",)]
    together = identify.detect(texts)
    monkeypatch.setattr(identify, "BATCH_TEXTS", 3)
    for one, other in zip(identify.detect(texts), together, strict=True):
        assert [tag for tag, _ in one] == [tag for tag, _ in other]
        assert [share for _, share in one] == pytest.approx([share for _, share in other], rel=1e-3)
    assert [identify.detect([text], top=1)[0][0][0] for text in texts[:4]] == [
        ranked[0][0] for ranked in together[:4]
    ]


@pytest.mark.parametrize("tag", languages.tags())
def test_starter_passages_are_told(tag):
    first = [ranked[0][0] for ranked in identify.detect(whole_passages(tag), top=1)]
    agreeing = sum(identify.agrees(tag, found) for found in first)
    assert agreeing >= 0.95 * len(first), identify.confusion((tag, found) for found in first)


def test_languages_that_are_no_look_alikes_are_told_exactly():
    alike = set().union(*identify.LOOK_ALIKES)
    for tag in set(languages.tags()) - alike:
        first = [ranked[0][0] for ranked in identify.detect(whole_passages(tag)[:20], top=1)]
        assert first.count(tag) >= 19, tag


def test_serbian_is_in_the_script_of_its_letters():
    cyrillic, latin = (
        " ".join(passages.read(tag)["river-ferry"]) for tag in ("srp_Cyrl", "srp_Latn")
    )
    mixed = cyrillic + " (www.primer.rs)"
    assert identify.detect([cyrillic, mixed], top=1)[0][0][0] == "srp_Cyrl"
    assert identify.detect([cyrillic, mixed], top=1)[1][0][0] == "srp_Cyrl"
    tags = {tag for tag, _ in identify.detect([latin])[0]}
    assert "srp_Latn" in tags
    assert "srp_Cyrl" not in tags


def test_a_language_outside_the_registry_keeps_its_code():
    texts = [
        "Съешь же ещё этих мягких французских булок да выпей чаю, и всё будет хорошо.",
        "Cogito, ergo sum; quidquid latine dictum sit, altum videtur omnibus hominibus.",
    ]
    assert [ranked[0][0] for ranked in identify.detect(texts, top=1)] == ["ru", "la"]


@pytest.mark.parametrize("nothing", ["", "   ", "…", "1 + 1 = 2"])
def test_a_text_with_nothing_to_go_by_has_no_language(nothing):
    assert identify.detect([nothing]) == [[]]
    assert identify.detect([nothing, "Dan huwa test bil-Malti, il-lingwa tagħna."])[0] == []


def test_no_texts_no_answers():
    assert identify.detect([]) == []


def test_a_long_text_is_judged_by_beginning_middle_and_end():
    third = identify.JUDGED_BYTES // 3
    text = "α" * third + "β" * third + "γ" * third + "δ" * third + "ε" * third
    judged = identify._judged(text)
    assert set(judged) == {"α", "γ", "ε", " "}
    assert len(judged.encode()) <= identify.JUDGED_BYTES + 2
    short = text[: third // 2]
    assert identify._judged(short) == short


def test_every_cut_leaves_whole_letters():
    for shift in range(3):
        text = "x" * shift + "ქ" * identify.JUDGED_BYTES
        assert set(identify._judged(text)) <= {"x", "ქ", " "}


def test_what_the_detector_knows():
    assert identify.unknown_to_detector() == ("cnr_Latn",)
    known = identify.labels()
    assert known["nob_Latn"] == "no"
    assert known["als_Latn"] == "sq"
    assert known["ekk_Latn"] == "et"
    assert known["srp_Cyrl"] == known["srp_Latn"] == "sr"
    assert set(known) | {"cnr_Latn"} == set(languages.tags())


def test_look_alikes_agree_and_others_do_not():
    assert identify.agrees("cnr_Latn", "hrv_Latn")
    assert identify.agrees("bos_Latn", "srp_Latn")
    assert identify.agrees("nob_Latn", "dan_Latn")
    assert identify.agrees("nno_Latn", "nob_Latn")
    assert identify.agrees("ell_Grek", "grc")
    assert identify.agrees("mlt_Latn", "mlt_Latn")
    # The group is not transitive, and script counts.
    assert not identify.agrees("nno_Latn", "dan_Latn")
    assert not identify.agrees("srp_Cyrl", "srp_Latn")
    assert not identify.agrees("ces_Latn", "slk_Latn")
    for one, other in itertools.product(languages.tags(), repeat=2):
        assert identify.agrees(one, other) == identify.agrees(other, one)


def test_look_alikes_name_languages():
    outside = set().union(*identify.LOOK_ALIKES) - set(languages.tags())
    assert outside == {"grc"}


def test_confusion_is_a_table():
    pairs = [("nob_Latn", "dan_Latn"), ("bul_Cyrl", "bul_Cyrl"), ("nob_Latn", "nob_Latn")]
    pairs += [("nob_Latn", "nob_Latn"), ("bul_Cyrl", "mkd_Cyrl")]
    table = identify.confusion(pairs)
    assert table == {
        "bul_Cyrl": {"bul_Cyrl": 1, "mkd_Cyrl": 1},
        "nob_Latn": {"nob_Latn": 2, "dan_Latn": 1},
    }
    assert list(table) == ["bul_Cyrl", "nob_Latn"]
    assert list(table["nob_Latn"]) == ["nob_Latn", "dan_Latn"]
