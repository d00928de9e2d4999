import pytest
from transformers import AutoTokenizer

from workbench import languages, passages, recipe, tokenizer
from workbench import run as runs
from workbench.errors import UserError

TEXTS = [" ".join(one) for tag in languages.tags() for one in passages.read(tag).values()]


@pytest.fixture(scope="module")
def trained():
    return tokenizer.wrap(tokenizer.train(iter(TEXTS), 1000, 2))


def test_every_text_comes_back_to_the_byte(trained):
    odd = ["", " ", "\n\n\t x", "😀 e\u0301 \x00", "Ώ ქართული հայերեն", "a" * 500, "12345 1,5 €"]
    for text in TEXTS[::37] + odd:
        assert trained.decode(tokenizer.encode(trained, [text])[0]) == text


def test_training_is_deterministic(trained):
    again = tokenizer.wrap(tokenizer.train(iter(TEXTS), 1000, 2))
    assert tokenizer.fingerprint(again) == tokenizer.fingerprint(trained)


def test_the_textbook_example():
    """Sennrich et al. 2016, figure 1: the first merge of these words is e + s, then es + t."""
    text = "low low low low low lower lower " + "newest " * 6 + "widest " * 3
    plain = tokenizer.train(iter([text]), 261, 2)
    merges = plain.to_str().split('"merges":')[1]
    assert merges.replace(" ", "").replace("\n", "").startswith('[["e","s"],["es","t"]')


def test_words_keep_their_combining_marks_and_digits_go_in_pairs(trained):
    pieces = trained.backend_tokenizer.pre_tokenizer.pre_tokenize_str("e\u0301te\u0301 1234")
    spans = [span for _, span in pieces]
    assert spans == [(0, 5), (5, 6), (6, 8), (8, 10)]


def test_it_opens_in_auto_tokenizer(trained, tmp_path):
    trained.save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert opened("Il-vapur jitlaq")["input_ids"] == trained("Il-vapur jitlaq")["input_ids"]
    assert opened.eos_token == tokenizer.END
    from_file = tokenizer.load(tmp_path / "tokenizer.json")
    assert tokenizer.encode(from_file, TEXTS[:3]) == tokenizer.encode(trained, TEXTS[:3])


def test_measures_by_hand(trained):
    texts = {"eng_Latn": ["two words"], "ell_Grek": ["δύο λέξεις"]}
    rows = {row["tag"]: row for row in tokenizer.measure(trained, texts)}
    greek = rows["ell_Grek"]
    tokens = {tag: len(trained(own[0])["input_ids"]) for tag, own in texts.items()}
    assert (greek["bytes"], greek["characters"]) == (19, 10)
    assert greek["tokens"] == tokens["ell_Grek"]
    assert greek["tokens_per_word"] == tokens["ell_Grek"] / 2
    assert greek["tokens_relative_to_english"] == tokens["ell_Grek"] / tokens["eng_Latn"]


def test_a_vocabulary_larger_than_the_text_can_fill_is_told(empty_runs):
    asked = recipe.parse(
        "kind: tokenizer\nname: x\nwhy: y\nvocabulary: {size: 60000}\ndata: {languages: [mt]}\n"
    )
    with pytest.raises(
        UserError, match=r"fills only [\d,]+ of the 60,000 tokens.*vocabulary.size="
    ):
        tokenizer.make(runs.Run.begin(asked), asked)


def test_a_damaged_tokenizer_is_one_line(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        tokenizer.load(tmp_path / "tokenizer.json")


def test_the_run_covers_every_language_asked(series):
    rows = runs.find("tokenizer/starter").read_result("languages")
    assert {row["tag"] for row in rows} == set(
        recipe.load(series / "recipes/tokenizer/starter.yaml").data.languages
    )
    assert all(row["tokens_relative_to_english"] > 0 for row in rows)
