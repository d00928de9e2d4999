import io
import json

import pytest
import sentencepiece
import tokenizers
from test_tokenizer import KINDS, ODD, TEXTS, made
from tokenizers import decoders, models, pre_tokenizers, trainers

from workbench import cutters, tokenizer
from workbench.errors import UserError


@pytest.fixture(scope="module")
def learned():
    """Each kind of vocabulary that we make."""
    return {kind: made(kind) for kind in KINDS}


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


@pytest.mark.parametrize("text", [*ODD, TEXTS[0], TEXTS[-1]])
def test_tokens_spell_the_text(learned, metaspace, sentencepiece_model, text):
    for one in learned.values():
        assert spelled(cutters.FastCutter(one), text) == text
    # These write a space as U+2581, and cannot tell it from one in the text.
    for cutter in (cutters.FastCutter(metaspace), cutters.cutter(str(sentencepiece_model))):
        assert spelled(cutter, text) == text.replace("▁", " ")


def spelled(cutter, text):
    return b"".join(cutter.bytes_of(token) for token in cutter.encode([text])[0]).decode()


def test_tokens_of_their_own_kinds(learned, metaspace, sentencepiece_model):
    ours = cutters.FastCutter(learned["bpe"])
    assert ours.size == 900
    assert ours.bytes_of(learned["bpe"].token_to_id(tokenizer.END)) == b""
    assert {ours.bytes_of(token) for token in range(900)} >= {bytes([n]) for n in range(256)}
    other = cutters.FastCutter(metaspace)
    assert (other.size, other.bytes_of(0), other.bytes_of(1)) == (700, b"", b"")
    assert {other.bytes_of(token) for token in range(700)} >= {bytes([n]) for n in range(256)}
    third = cutters.cutter(str(sentencepiece_model))
    # SentencePiece begins with its unknown, begin and end tokens.
    assert third.size == 800
    assert [third.bytes_of(token) for token in range(3)] == [b"", b"", b""]
    assert third.bytes_of(3 + 0x41) == b"A"


def test_a_token_added_by_hand_is_what_it_says(learned):
    one = tokenizers.Tokenizer.from_str(learned["bpe"].to_str())
    one.add_tokens(["éé€"])
    cutter = cutters.FastCutter(one)
    assert spelled(cutter, "a éé€ b") == "a éé€ b"
    assert cutter.bytes_of(900) == "éé€".encode()


def test_measuring_a_tokenizer_adds_no_token_to_it(metaspace, tmp_path):
    path = tmp_path / "tokenizer.json"
    metaspace.save(str(path))
    assert cutters.cutter(str(path)).size == cutters.cutter(str(tmp_path)).size == 700
    # To train with, a text must end somehow.
    assert tokenizer.load(path).convert_tokens_to_ids(tokenizer.END) == 700


def test_pieces_are_for_people(learned):
    cutter = cutters.FastCutter(learned["bpe"])
    assert "".join(cutters.pieces(cutter, "Il-vapur jitlaq")) == "Il-vapur jitlaq"
    assert cutters.pieces(cutter, "") == []
    # No text here has this sign: three bytes of which none is a character.
    assert cutters.pieces(cutter, "ⴰ") == ["⟨E2⟩", "⟨B4⟩", "⟨B0⟩"]
    by_hand = ByHand(" μ", "ή", "λ", b"\xe1\x83", b"\x90")
    assert cutters.pieces(by_hand, " μήλ") == [" μ", "ή", "λ"]
    assert cutters.pieces(by_hand, "ა") == ["⟨E1 83⟩", "⟨90⟩"]


def test_scripts_by_hand():
    cutter = ByHand(
        *("ab", " é", "щ", "ν", "ნა", "և"),  # one of each script, and another Latin one
        *("aщ", "12", " ", "", "ʼ", "\u0301"),  # mixed, then five that belong to none
        *("あ", b"\xe1\x83", b"\xff"),
    )
    assert cutters.scripts(cutter) == {
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


def test_every_token_has_a_script(learned):
    for one in learned.values():
        counted = cutters.scripts(cutters.FastCutter(one))
        assert sum(counted.values()) == 900
        assert min(counted[name] for name in ("Latin", "Greek", "Georgian")) > 20
        assert counted["Fragment"] >= 128


def test_measures_by_hand():
    cutter = ByHand("a", " μ", "ή", b"\xce", b"\xbb", "λέ")
    # " μ|ή" and "a|a| μ|CE|BB": 3 + 2 and 1 + 1 + 3 + 1 + 1 bytes in 7 tokens, 3 + 5 characters.
    texts = [" μή", "aa μλ"]
    facts = cutters.describe(cutter, texts, cutter.encode(texts))
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
    nothing = cutters.describe(cutter, [], [])
    assert set(nothing) == set(facts)
    assert not any(nothing.values())
    costs = cutters.sentence_costs(cutter, {"ell_Grek": texts, "eng_Latn": ["a", ""]})
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
        cutters.cutter(reference)
    assert "\n" not in str(fault.value)
    assert reference.removeprefix("hub:").split("@")[0] in str(fault.value)
