import json
import random
import sys
import unicodedata
from collections import Counter

import pytest
import tokenizers
from conftest import printed
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from workbench import cutters, languages, passages, tokenizer
from workbench.errors import UserError

FIVE = ["mlt_Latn", "fin_Latn", "eng_Latn", "ell_Grek", "kat_Geor"]
VERSIONS = {tag: [" ".join(one) for one in passages.read(tag).values()] for tag in FIVE}
TEXTS = [text for own in VERSIONS.values() for text in own]
KINDS = ("bpe", "unigram", "parity")
ODD = [
    "",
    " ",
    "\n\n\t x",
    "  two  spaces  ",
    "😀👩‍👩‍👧 e\u0301 \x00\x7f",
    "Ώ ქართული հայերեն ї",
    "a" * 500,
    "12345 1,5 € ½ Ⅳ",
    "\ufeffx\u200b\u202e\uffff\U0010ffff",
    "ĠĊÄ ▁ <0x41> [UNK]",
    "<|endoftext|>",
    "a<|endoftext|><|endoftext|>\n",
]


def made(kind):
    if kind != "parity":
        return tokenizer.train(iter(TEXTS), 900, 2, kind)
    counted = {tag: tokenizer.words(own) for tag, own in VERSIONS.items()}
    return tokenizer.train_in_parity(counted, VERSIONS, 900)[0]


@pytest.fixture(scope="module")
def trained():
    """Each kind of vocabulary, as ``transformers`` knows it."""
    return {kind: tokenizer.wrap(made(kind)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_comes_back_to_the_byte(trained, kind):
    texts = TEXTS[::37] + ODD
    back = [trained[kind].decode(ids) for ids in tokenizer.encode(trained[kind], texts)]
    assert back == texts


@pytest.mark.parametrize("kind", KINDS)
def test_text_cannot_spell_the_end_of_a_text(trained, kind):
    """The end token is put by the one who packs, never by what is packed."""
    text = f"before{tokenizer.END}after {tokenizer.END}"
    one = trained[kind]
    # Called as transformers has it, the spelling is the token.
    assert one(text)["input_ids"].count(one.eos_token_id) == 2
    (ids,) = tokenizer.encode(one, [text])
    assert not set(ids) & set(one.all_special_ids)
    assert one.decode(ids) == text
    cutter = cutters.FastCutter(one.backend_tokenizer)
    assert cutter.encode([text]) == [ids]


def test_no_merge_crosses_into_the_end_token():
    """Not even a text of nothing but its spelling makes a second way to write it."""
    text = tokenizer.END * 50
    for one in (
        tokenizer.train(iter([text]), 290, 1),
        tokenizer.train_in_parity({"x": tokenizer.words([text])}, {}, 290, 1)[0],
    ):
        wrapped = tokenizer.wrap(one)
        assert one.token_to_id(tokenizer.END) == wrapped.eos_token_id == 0
        assert len(tokenizer.encode(wrapped, [tokenizer.END])[0]) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("l'eau d’hiver", ["l'eau", " d’hiver"]),
        ("dell'acqua all’alba", ["dell'acqua", " all’alba"]),
        ("п'ять п’ять пʼять", ["п'ять", " п’ять", " пʼять"]),
        ("col·lega, l·l", ["col·lega", ",", " l·l"]),
        ("'so' ‘so’", ["'so", "'", " ‘", "so", "’"]),
        ("e\u0301te\u0301 s\u030c", ["e\u0301te\u0301", " s\u030c"]),
        ("ქართული ენა.", ["ქართული", " ენა", "."]),
        ("ἐν ἀρχῇ ἦν ὁ λόγος·", ["ἐν", " ἀρχῇ", " ἦν", " ὁ", " λόγος", "·"]),
        ("α\u0313\u0301νθρωπος", ["α\u0313\u0301νθρωπος"]),
        ("ի՞նչ տե՛ս ահա՜", ["ի՞նչ", " տե՛ս", " ահա", "՜"]),
        ("в1234 12345", ["в", "12", "34", " ", "12", "34", "5"]),
        ("l-ikla t-uisce", ["l", "-ikla", " t", "-uisce"]),
        ("a  b", ["a", " ", " b"]),
        ("a \r\n\r\n b\n", ["a", " \r\n\r\n", " b", "\n"]),
        ("a!?\n«b»", ["a", "!?\n", "«b", "»"]),
        ("end  ", ["end", "  "]),
    ],
)
def test_where_words_are_cut(trained, text, expected):
    assert tokenizer.words([text]) == Counter(expected)
    for one in trained.values():
        spans = one.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
        assert [text[start:end] for _, (start, end) in spans] == expected


def test_words_are_counted_as_the_tokenizer_cuts_them():
    """In the starter corpus, around every character of Unicode, and in random strings of them."""
    cut = pre_tokenizers.Split(tokenizers.Regex(tokenizer.PATTERN), behavior="isolated")
    known = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")
    ]
    draw = random.Random(1)
    texts = ["".join(f"a{character}1 {character}" for character in known)]
    texts += ["".join(draw.choices(known, k=40)) for _ in range(500)]
    often = [*"aбζქ1 \n\r\t'’·՛.,-\u0301\u00a0"]
    texts += ["".join(draw.choices(often, k=40)) for _ in range(2000)]
    texts += [" ".join(own) for tag in languages.tags() for own in passages.read(tag).values()]
    for text in texts:
        assert tokenizer.words([text]) == Counter(piece for piece, _ in cut.pre_tokenize_str(text))


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_training_does_not_depend_on_the_order_of_texts(trained, kind):
    again = tokenizer.wrap(tokenizer.train(iter(TEXTS[::-1]), 900, 2, kind))
    assert tokenizer.fingerprint(again) == tokenizer.fingerprint(trained[kind])


def test_training_is_the_same_in_another_process_with_other_threads(trained):
    """Unigram's own trainer gives other scores and ids each time; what we keep of it does not."""
    program = (
        "from test_tokenizer import KINDS, made\n"
        "from workbench import tokenizer\n"
        "print(*[tokenizer.fingerprint(tokenizer.wrap(made(kind))) for kind in KINDS])\n"
    )
    told = printed(
        program, RAYON_NUM_THREADS="3", TOKENIZERS_PARALLELISM="true", PYTHONHASHSEED="7"
    )
    assert told.split() == [tokenizer.fingerprint(trained[kind]) for kind in KINDS]


def test_unigram_knows_every_byte_and_is_sorted_by_score(trained):
    vocabulary = json.loads(trained["unigram"].backend_tokenizer.to_str())["model"]["vocab"]
    assert len(vocabulary) == 900
    assert {piece for piece, _ in vocabulary} >= set(cutters.BYTE_OF)
    scores = [score for _, score in vocabulary[1:]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("kind", KINDS)
def test_it_opens_in_auto_tokenizer_with_the_same_ids(trained, tmp_path, kind):
    one = trained[kind]
    one.save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert opened.eos_token == opened.bos_token == opened.pad_token == tokenizer.END
    assert opened(TEXTS[::50])["input_ids"] == one(TEXTS[::50])["input_ids"]
    assert opened("Il-vapur jitlaq")["input_ids"] == one("Il-vapur jitlaq")["input_ids"]
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        again = tokenizer.load(path)
        assert tokenizer.encode(again, TEXTS[::50]) == tokenizer.encode(one, TEXTS[::50])
        assert tokenizer.fingerprint(again) == tokenizer.fingerprint(one)
        assert cutters.cutter(str(path)).encode(TEXTS[::50]) == tokenizer.encode(one, TEXTS[::50])


def test_a_file_that_cuts_and_pads_loses_no_text(trained, tmp_path):
    one = tokenizers.Tokenizer.from_str(trained["bpe"].backend_tokenizer.to_str())
    one.enable_truncation(4)
    one.enable_padding(length=4, pad_token=tokenizer.END)
    path = tmp_path / "tokenizer.json"
    one.save(str(path))
    for texts in ([TEXTS[0]], ["a"]):
        assert tokenizer.encode(tokenizer.load(path), texts) == tokenizer.encode(
            trained["bpe"], texts
        )
        assert cutters.cutter(str(path)).encode(texts) == tokenizer.encode(trained["bpe"], texts)


def test_a_damaged_tokenizer_is_one_line(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        with pytest.raises(UserError, match="cannot be read") as fault:
            tokenizer.load(path)
        assert "\n" not in str(fault.value)


def test_a_tokenizer_without_an_end_is_refused_for_training(tmp_path):
    PreTrainedTokenizerFast(tokenizer_object=made("bpe")).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no end-of-text token"):
        tokenizer.load(tmp_path)
    assert cutters.cutter(str(tmp_path)).size == 900
