import io
import json
import os
import random
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest
import sentencepiece
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from workbench import languages, passages, tokenizer
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


@pytest.fixture(scope="module")
def metaspace():
    """A vocabulary like Llama's: ``▁`` for spaces, and bytes for what it lacks."""
    model = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    model.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    every_byte = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "</s>", *every_byte], show_progress=False
    )
    model.train_from_iterator(TEXTS[:60], trainer)
    content = json.loads(model.to_str())
    content["added_tokens"] = [
        token for token in content["added_tokens"] if token["content"] not in every_byte
    ]
    return tokenizers.Tokenizer.from_str(json.dumps(content))


@pytest.fixture(scope="module")
def sentencepiece_model(tmp_path_factory):
    """The path of a small SentencePiece model that leaves text as it is."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS[:60]),
        model_writer=written,
        vocab_size=800,
        model_type="unigram",
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("sentencepiece") / "small.model"
    path.write_bytes(written.getvalue())
    return path


class ByHand:
    """A cutter whose tokens are given."""

    def __init__(self, *pieces):
        self._pieces = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]

    @property
    def size(self):
        return len(self._pieces)

    def encode(self, texts):
        ids = []
        for text in texts:
            rest, own = text.encode(), []
            while rest:
                best = max((p for p in self._pieces if p and rest.startswith(p)), key=len)
                own.append(self._pieces.index(best))
                rest = rest[len(best) :]
            ids.append(own)
        return ids

    def bytes_of(self, token):
        return self._pieces[token]


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
    cutter = tokenizer.FastCutter(one.backend_tokenizer)
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
        "from tests.test_tokenizer import KINDS, made\n"
        "from workbench import tokenizer\n"
        "print(*[tokenizer.fingerprint(tokenizer.wrap(made(kind))) for kind in KINDS])\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=os.path.dirname(os.path.dirname(__file__)),
        env=os.environ
        | {"RAYON_NUM_THREADS": "3", "TOKENIZERS_PARALLELISM": "true", "PYTHONHASHSEED": "7"},
    )
    assert told.stdout.split() == [tokenizer.fingerprint(trained[kind]) for kind in KINDS]


def test_unigram_knows_every_byte_and_is_sorted_by_score(trained):
    vocabulary = json.loads(trained["unigram"].backend_tokenizer.to_str())["model"]["vocab"]
    assert len(vocabulary) == 900
    assert {piece for piece, _ in vocabulary} >= set(tokenizer.BYTE_OF)
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
        assert tokenizer.cutter(str(path)).encode(TEXTS[::50]) == tokenizer.encode(one, TEXTS[::50])


@pytest.mark.parametrize("text", [*ODD, TEXTS[0], TEXTS[-1]])
def test_tokens_spell_the_text(trained, metaspace, sentencepiece_model, text):
    for one in trained.values():
        assert spelled(tokenizer.FastCutter(one.backend_tokenizer), text) == text
    # These write a space as U+2581, and cannot tell it from one in the text.
    for cutter in (tokenizer.FastCutter(metaspace), tokenizer.cutter(str(sentencepiece_model))):
        assert spelled(cutter, text) == text.replace("▁", " ")


def spelled(cutter, text):
    return b"".join(cutter.bytes_of(token) for token in cutter.encode([text])[0]).decode()


def test_tokens_of_their_own_kinds(trained, metaspace, sentencepiece_model):
    ours = tokenizer.FastCutter(trained["bpe"].backend_tokenizer)
    assert ours.size == 900
    assert ours.bytes_of(trained["bpe"].eos_token_id) == b""
    assert {ours.bytes_of(token) for token in range(900)} >= {bytes([n]) for n in range(256)}
    other = tokenizer.FastCutter(metaspace)
    assert (other.size, other.bytes_of(0), other.bytes_of(1)) == (700, b"", b"")
    assert {other.bytes_of(token) for token in range(700)} >= {bytes([n]) for n in range(256)}
    third = tokenizer.cutter(str(sentencepiece_model))
    # SentencePiece begins with its unknown, begin and end tokens.
    assert third.size == 800
    assert [third.bytes_of(token) for token in range(3)] == [b"", b"", b""]
    assert third.bytes_of(3 + 0x41) == b"A"


def test_a_token_added_by_hand_is_what_it_says(trained):
    one = tokenizers.Tokenizer.from_str(trained["bpe"].backend_tokenizer.to_str())
    one.add_tokens(["éé€"])
    cutter = tokenizer.FastCutter(one)
    assert spelled(cutter, "a éé€ b") == "a éé€ b"
    assert cutter.bytes_of(900) == "éé€".encode()


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
        assert tokenizer.cutter(str(path)).encode(texts) == tokenizer.encode(trained["bpe"], texts)


def test_measuring_a_tokenizer_adds_no_token_to_it(metaspace, tmp_path):
    path = tmp_path / "tokenizer.json"
    metaspace.save(str(path))
    assert tokenizer.cutter(str(path)).size == tokenizer.cutter(str(tmp_path)).size == 700
    # To train with, a text must end somehow.
    assert tokenizer.load(path).convert_tokens_to_ids(tokenizer.END) == 700


def test_pieces_are_for_people(trained):
    cutter = tokenizer.FastCutter(trained["bpe"].backend_tokenizer)
    assert "".join(tokenizer.pieces(cutter, "Il-vapur jitlaq")) == "Il-vapur jitlaq"
    assert tokenizer.pieces(cutter, "") == []
    # No text here has this sign: three bytes of which none is a character.
    assert tokenizer.pieces(cutter, "ⴰ") == ["⟨E2⟩", "⟨B4⟩", "⟨B0⟩"]
    by_hand = ByHand(" μ", "ή", "λ", b"\xe1\x83", b"\x90")
    assert tokenizer.pieces(by_hand, " μήλ") == [" μ", "ή", "λ"]
    assert tokenizer.pieces(by_hand, "ა") == ["⟨E1 83⟩", "⟨90⟩"]


def test_scripts_by_hand():
    cutter = ByHand(
        *("ab", " é", "щ", "ν", "ნა", "և"),  # one of each script, and another Latin one
        *("aщ", "12", " ", "", "ʼ", "\u0301"),  # mixed, then five that belong to none
        *("あ", b"\xe1\x83", b"\xff"),
    )
    assert tokenizer.scripts(cutter) == {
        "Common": 5,
        "Latin": 2,
        "Fragment": 2,
        "Cyrillic": 1,
        "Greek": 1,
        "Georgian": 1,
        "Armenian": 1,
        "Mixed": 1,
        "Other": 1,
    }


def test_every_token_has_a_script(trained):
    for one in trained.values():
        counted = tokenizer.scripts(tokenizer.FastCutter(one.backend_tokenizer))
        assert sum(counted.values()) == 900
        assert min(counted[name] for name in ("Latin", "Greek", "Georgian")) > 20
        assert counted["Fragment"] >= 128


def test_measures_by_hand():
    cutter = ByHand("a", " μ", "ή", b"\xce", b"\xbb", "λέ")
    # " μ|ή" and "a|a| μ|CE|BB": 3 + 2 and 1 + 1 + 3 + 1 + 1 bytes in 7 tokens, 3 + 5 characters.
    facts = tokenizer.describe(cutter, [" μή", "aa μλ"])
    assert facts == {
        "documents": 2,
        "bytes": 5 + 7,
        "characters": 3 + 5,
        "tokens": 7,
        "bytes_per_token": 12 / 7,
        "characters_per_token": 8 / 7,
        "tokens_per_word": 7 / 3,
        "single_byte_share": 4 / 7,
        "fragment_share": 2 / 7,
        "vocabulary_used": 5,
    }
    nothing = tokenizer.describe(cutter, [])
    assert set(nothing) == set(facts)
    assert not any(nothing.values())
    costs = tokenizer.sentence_costs(cutter, {"ell_Grek": [" μή", "aa μλ"], "eng_Latn": ["a", ""]})
    assert {tag: own.tolist() for tag, own in costs.items()} == {
        "ell_Grek": [2, 5],
        "eng_Latn": [1, 0],
    }


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("tokenizer/none", "none"),
        ("nowhere/tokenizer.json", "no tokenizer at"),
        ("damaged.json", "cannot be read"),
        ("damaged.model", "cannot be read"),
        ("empty", "cannot be read"),
        ("hub:nobody/nothing@main", "cannot be read"),
    ],
)
def test_what_cannot_be_opened_is_told_in_one_line(tmp_path, empty_runs, reference, told):
    (tmp_path / "damaged.json").write_text("{")
    (tmp_path / "damaged.model").write_bytes(b"\x00\x01")
    (tmp_path / "empty").mkdir()
    if ":" not in reference and not reference.startswith("tokenizer/"):
        reference = str(tmp_path / reference)
    with pytest.raises(UserError, match=told) as fault:
        tokenizer.cutter(reference)
    assert "\n" not in str(fault.value)
    assert reference.removeprefix("hub:").split("@")[0] in str(fault.value)


def test_a_damaged_tokenizer_is_one_line(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        with pytest.raises(UserError, match="cannot be read") as fault:
            tokenizer.load(path)
        assert "\n" not in str(fault.value)


def test_a_tokenizer_without_an_end_is_refused_for_training(metaspace, tmp_path):
    PreTrainedTokenizerFast(tokenizer_object=metaspace).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no end-of-text token"):
        tokenizer.load(tmp_path)
    assert tokenizer.cutter(str(tmp_path)).size == 700
