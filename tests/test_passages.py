import json
import unicodedata

import pytest
import regex

from workbench import languages, passages

TAGS = languages.tags()
ENGLISH = passages.read("eng_Latn")
SCRIPT = {
    tag: regex.compile(rf"[\p{{L}}--\p{{Script={languages.SCRIPTS[tag[-4:]]}}}]", regex.V1)
    for tag in TAGS
}


def test_there_is_a_file_for_every_language_and_no_other():
    assert {file.stem for file in passages.files()} == set(TAGS)


@pytest.mark.parametrize("tag", TAGS)
def test_passages_are_aligned_composed_and_in_their_script(tag):
    own = passages.read(tag)
    assert list(own) == list(passages.index()["passages"]) == list(ENGLISH)
    for name, sentences in own.items():
        assert len(sentences) == len(ENGLISH[name]), name
        joined = " ".join(sentences)
        assert unicodedata.is_normalized("NFC", joined), name
        assert "\n" not in joined
        assert 0.6 <= len(joined) / len(" ".join(ENGLISH[name])) <= 1.7, name
        # Units of the SI are the same signs in every script.
        foreign = set(SCRIPT[tag].findall(regex.sub(r"°C|\bml\b", "", joined)))
        assert not foreign, (name, foreign)
    texts = [" ".join(sentences) for sentences in own.values()]
    assert len(set(texts)) == len(texts)
    if tag != "eng_Latn":
        english = {sentence for sentences in ENGLISH.values() for sentence in sentences}
        assert not english & {sentence for sentences in own.values() for sentence in sentences}


@pytest.mark.parametrize("tag", TAGS)
def test_prompts_are_aligned_and_break_off(tag):
    prompts = passages.prompts(tag)
    assert list(prompts) == list(passages.index()["prompts"])
    trained_on = json.dumps(list(passages.read(tag).values()), ensure_ascii=False)
    for text in prompts.values():
        assert text == text.strip()
        assert unicodedata.is_normalized("NFC", text)
        assert len(text) < 25 or text not in trained_on, "a prompt must not stand in the passages"


def test_there_are_at_least_eight_passages_of_five_to_nine_sentences():
    assert len(ENGLISH) >= 8
    assert all(5 <= len(sentences) <= 9 for sentences in ENGLISH.values())
    assert len(passages.index()["prompts"]) >= 24
