import pytest

from workbench import languages
from workbench.errors import UserError

OFFICIAL = {
    "bg",
    "hr",
    "cs",
    "da",
    "nl",
    "en",
    "et",
    "fi",
    "fr",
    "de",
    "el",
    "hu",
    "ga",
    "it",
    "lv",
    "lt",
    "mt",
    "pl",
    "pt",
    "ro",
    "sk",
    "sl",
    "es",
    "sv",
}


def test_the_24_official_languages_are_the_official_ones():
    official = {one.bcp47 for one in languages.all_languages() if one.status == "official"}
    assert official == OFFICIAL


def test_every_future_and_regional_language_is_there():
    others = {one.bcp47 for one in languages.all_languages() if one.status != "official"}
    candidates = {"sq", "bs", "ka", "mk", "cnr", "sr-Cyrl", "sr-Latn", "tr", "uk"}
    regional = {"ca", "eu", "gl", "is", "nb", "nn", "cy", "lb", "ltg", "hy"}
    assert others == candidates | regional


@pytest.mark.parametrize("word", ["mt", "mlt", "Maltese", "Malti", "mlt_Latn", "MLT-latn"])
def test_a_language_has_many_names(word):
    assert languages.get(word).tag == "mlt_Latn"


@pytest.mark.parametrize(
    ("word", "tag"),
    [
        ("est", "ekk_Latn"),
        ("ekk", "ekk_Latn"),
        ("lav", "lvs_Latn"),
        ("sqi", "als_Latn"),
        ("als", "als_Latn"),
        ("hbs", "srp_Latn"),
        ("sr-Cyrl", "srp_Cyrl"),
        ("sr_Latn", "srp_Latn"),
        ("nb", "nob_Latn"),
        ("no", "nob_Latn"),
        ("mo", "ron_Latn"),
        ("ger", "deu_Latn"),
        ("ქართული", "kat_Geor"),
    ],
)
def test_aliases_and_old_codes(word, tag):
    assert languages.get(word).tag == tag


@pytest.mark.parametrize("language", languages.all_languages(), ids=lambda one: one.tag)
def test_every_own_spelling_finds_its_language(language):
    for word in (language.tag, language.name, language.own_name, language.bcp47):
        assert languages.get(word) == language
    assert language.status in languages.STATUSES
    assert language.script in languages.SCRIPTS
    assert language.countries
    assert set(language.codes) <= set(languages.DATA_SETS)


def test_a_miss_names_the_nearest():
    with pytest.raises(UserError, match="'Finish'.*did you mean 'Finnish'"):
        languages.get("Finish")


def test_missing_data_are_said():
    montenegrin = languages.get("Montenegrin")
    assert {montenegrin.code_in(name) for name in languages.DATA_SETS} == {languages.NO_DATA}
    assert "eng_Latn" in languages.coverage()["fineweb2"]
    with pytest.raises(UserError, match="flors.*did you mean 'flores'"):
        montenegrin.code_in("flors")


def test_selection_keeps_the_registrys_order():
    chosen = languages.select(["fi", "candidate", "Finnish", "bg"])
    assert [one.tag for one in chosen][:2] == ["bul_Cyrl", "fin_Latn"]
    assert len(chosen) == 11
    with pytest.raises(UserError, match="no language was chosen"):
        languages.select([])
