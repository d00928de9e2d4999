import difflib
import json
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import regex

from check_overlap import WORD
from workbench import corpus, croissant, identify, languages, passages
from workbench.errors import UserError
from workbench.sections import Data

TAGS = languages.tags()
ENGLISH = passages.read("eng_Latn")
SCRIPT = {
    tag: regex.compile(rf"[\p{{L}}--\p{{Script={languages.SCRIPTS[tag[-4:]]}}}]", regex.V1)
    for tag in TAGS
}
# Units of the SI are the same signs in every script.
UNIT = regex.compile(r"°C|\bml\b")
END = tuple(".?!;՞։")
# Serbian Latin to Cyrillic; three letters are written with two signs in Latin.
CYRILLIC = dict(zip("abvgdđežzijklmnoprstćufhcčš", "абвгдђежзијклмнопрстћуфхцчш", strict=True)) | {
    "lj": "љ",
    "nj": "њ",
    "dž": "џ",
}
DIGRAPHS = regex.compile("lj|nj|dž|.", regex.IGNORECASE | regex.DOTALL)


def sentences_of(tag: str) -> list[str]:
    return [sentence for own in passages.read(tag).values() for sentence in own]


def foreign_letters(tag: str, text: str) -> set[str]:
    return set(SCRIPT[tag].findall(UNIT.sub("", text)))


def bare(sentence: str) -> tuple[str, ...]:
    """The words of a sentence without its numbers and names."""
    words = list(enumerate(WORD.findall(sentence)))
    return tuple(
        word.lower()
        for place, word in words
        if not any(sign.isdigit() for sign in word) and not (place and word[0].isupper())
    )


def differing_words(good: str, bad: str) -> int:
    """How many words of one sentence have no counterpart in the other; 0 for another order."""
    left, right = good.split(), bad.split()
    if Counter(map(plain, left)) == Counter(map(plain, right)):
        return 0
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    return sum(
        max(to - start, other_to - other)
        for operation, start, to, other, other_to in matcher.get_opcodes()
        if operation != "equal"
    )


def plain(word: str) -> str:
    return word.lower().strip("".join(END) + ",")


def to_cyrillic(text: str) -> str:
    def letter(match: regex.Match[str]) -> str:
        found = CYRILLIC.get(match[0].lower(), match[0])
        return found.upper() if match[0][0].isupper() else found

    # The degree Celsius keeps its letter.
    return "°C".join(DIGRAPHS.sub(letter, part) for part in text.split("°C"))


def test_there_is_a_file_of_every_kind_for_every_language_and_no_other():
    assert {file.stem for file in passages.files()} == set(TAGS)
    for part in ("passages", "prompts", "pairs"):
        assert {file.name for file in (passages.FOLDER / part).iterdir()} == {
            f"{tag}.jsonl" for tag in TAGS
        }


def test_the_corpus_is_as_large_as_it_says_and_below_three_megabytes():
    assert len(ENGLISH) >= 64
    assert sum(map(len, ENGLISH.values())) >= 420
    assert all(5 <= len(sentences) <= 9 for sentences in ENGLISH.values())
    assert len(passages.index()["prompts"]) >= 24
    size = sum(file.stat().st_size for file in passages.FOLDER.rglob("*") if file.is_file())
    assert size < 3_000_000


@pytest.mark.parametrize("tag", TAGS)
def test_passages_are_aligned_composed_and_in_their_script(tag):
    own = passages.read(tag)
    assert list(own) == list(passages.index()["passages"]) == list(ENGLISH)
    for name, sentences in own.items():
        assert len(sentences) == len(ENGLISH[name]), name
        joined = " ".join(sentences)
        assert unicodedata.is_normalized("NFC", joined), name
        assert "\n" not in joined
        assert all(sentence == sentence.strip() for sentence in sentences), name
        assert 0.6 <= len(joined) / len(" ".join(ENGLISH[name])) <= 1.7, name
        assert not foreign_letters(tag, joined), (name, foreign_letters(tag, joined))
    texts = [" ".join(sentences) for sentences in own.values()]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("tag", [tag for tag in TAGS if tag != "eng_Latn"])
def test_no_sentence_is_left_in_english(tag):
    english = set(map(bare, sentences_of("eng_Latn")))
    assert () not in english, "a sentence of names alone would be the same in any language"
    assert [text for text in sentences_of(tag) if bare(text) in english] == []


def test_names_and_numbers_do_not_make_an_english_sentence_another():
    assert bare("In 2019 Marta bought 12 apples.") == bare("In 2020 Nino bought 7 apples.")
    assert bare("In 2019 Marta bought 12 apples.") != bare("In 2019 Marta sold 12 apples.")


@pytest.mark.parametrize("tag", TAGS)
def test_prompts_are_aligned_and_break_off(tag):
    prompts = passages.prompts(tag)
    assert list(prompts) == list(passages.index()["prompts"])
    trained_on = json.dumps(list(passages.read(tag).values()), ensure_ascii=False)
    for text in prompts.values():
        assert text == text.strip()
        assert unicodedata.is_normalized("NFC", text)
        assert not foreign_letters(tag, text), text
        assert len(text) < 25 or text not in trained_on, "a prompt must not stand in the passages"


def test_serbian_in_cyrillic_is_the_latin_letter_by_letter():
    assert to_cyrillic("Njegov džep i Ljubica na 20 °C.") == "Његов џеп и Љубица на 20 °C."
    latin = {name: list(map(to_cyrillic, own)) for name, own in passages.read("srp_Latn").items()}
    assert latin == passages.read("srp_Cyrl")
    prompts = {name: to_cyrillic(text) for name, text in passages.prompts("srp_Latn").items()}
    assert prompts == passages.prompts("srp_Cyrl")
    pairs = [
        passages.Pair(pair.id, pair.phenomenon, to_cyrillic(pair.good), to_cyrillic(pair.bad))
        for pair in passages.pairs("srp_Latn")
    ]
    assert pairs == passages.pairs("srp_Cyrl")


@pytest.mark.parametrize("tag", [tag for tag in TAGS if tag not in identify.unknown_to_detector()])
def test_a_detector_takes_the_passages_for_their_language(tag):
    texts = [" ".join(sentences) for sentences in passages.read(tag).values()]
    answers = [guesses[0][0] for guesses in identify.detect(texts, top=1)]
    right = sum(identify.agrees(tag, answer) for answer in answers)
    assert right >= 0.95 * len(texts), Counter(answers)


@pytest.mark.parametrize("tag", TAGS)
def test_pairs_are_numbered_and_spread_over_known_phenomena(tag):
    pairs = passages.pairs(tag)
    assert len(pairs) >= 60
    assert [pair.id for pair in pairs] == [f"{number:03}" for number in range(1, len(pairs) + 1)]
    counts = Counter(pair.phenomenon for pair in pairs)
    assert counts.keys() <= passages.index()["phenomena"].keys()
    assert len(counts) >= 8
    assert counts.most_common(1)[0][1] <= len(pairs) / 3


@pytest.mark.parametrize("tag", TAGS)
def test_pairs_are_composed_minimal_and_each_sentence_new(tag):
    pairs = passages.pairs(tag)
    said = [sentence for pair in pairs for sentence in (pair.good, pair.bad)]
    assert [text for text, times in Counter(said).items() if times > 1] == []
    for sentence in said:
        assert unicodedata.is_normalized("NFC", sentence), sentence
        assert sentence == sentence.strip()
        assert sentence.endswith(END), sentence
        assert not foreign_letters(tag, sentence), sentence
        assert 3 <= len(sentence.split()) <= 16, sentence
    far = [pair for pair in pairs if differing_words(pair.good, pair.bad) > 2]
    assert far == []


@pytest.mark.parametrize("tag", TAGS)
def test_length_does_not_tell_which_sentence_is_good(tag):
    pairs = passages.pairs(tag)
    longer = sum(len(pair.good) > len(pair.bad) for pair in pairs)
    shorter = sum(len(pair.good) < len(pair.bad) for pair in pairs)
    assert max(longer, shorter) <= 0.65 * len(pairs)


def test_words_that_differ_are_counted():
    assert differing_words("The dog near the cars barks.", "The dog near the cars bark.") == 1
    assert differing_words("Today she comes.", "She comes today.") == 0
    assert differing_words("He has been here.", "He is here.") == 2
    assert differing_words("He has been here.", "They were never there.") == 4


@pytest.mark.parametrize("tag", TAGS)
def test_no_sentence_of_a_pair_stands_in_a_text_that_is_trained_on_or_prompted(tag):
    read = list(corpus.read(Data(languages=[tag]), corpus.Faults()))
    assert len(read) == len(ENGLISH)
    texts = [document.text for document in read] + list(passages.prompts(tag).values())
    together = "\n".join(texts)
    assert sentences_of(tag)[0] in together
    for pair in passages.pairs(tag):
        assert pair.good not in together
        assert pair.bad not in together


def test_a_recipe_that_names_the_files_of_pairs_gets_faults_and_no_documents():
    faults = corpus.Faults()
    pairs = passages.FOLDER / "pairs" / "mlt_Latn.jsonl"
    assert list(corpus.read(Data(sources=[str(pairs)]), faults)) == []
    assert faults.total == len(passages.pairs("mlt_Latn"))
    assert set(faults.by_reason) == {"no field 'text'"}


def test_a_language_without_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(passages, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"no pairs in Maltese \(mlt_Latn\)"):
        passages.pairs("mlt_Latn")


def test_the_data_card_says_what_is_there():
    card = (passages.FOLDER / "README.md").read_text(encoding="utf-8")
    weaknesses = passages.index()["weaknesses"]
    assert weaknesses.keys() == set(TAGS)
    rows = regex.findall(r"(?m)^\| (.+?) \| (.+?) \|$", card.partition("| language |")[2])
    names = sorted(weaknesses, key=lambda tag: languages.get(tag).name)
    assert rows == [(languages.get(tag).name, weaknesses[tag]) for tag in names]
    pairs = sum(len(passages.pairs(tag)) for tag in TAGS)
    for count, what in (
        (len(TAGS), "languages"),
        (len(ENGLISH), "passages"),
        (len(sentences_of("eng_Latn")), "sentences"),
        (len(passages.index()["prompts"]), "prompts"),
        (pairs, "minimal pairs"),
        (len(passages.index()["phenomena"]), "phenomena"),
    ):
        assert f"{count:,} {what}" in card
    assert passages.VERSION in card
    assert croissant.FILE in card
