import math

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast, Qwen3Config

from workbench import bits, packing, processes, tokenizer
from workbench import model as models
from workbench import run as runs

END = 0


class Fixed(torch.nn.Module):
    """Gives every token the same distribution over four tokens, whatever came before."""

    def __init__(self, probabilities):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(probabilities).log())
        self.config = Qwen3Config(vocab_size=len(probabilities))

    def forward(self, input_ids, use_cache=False):
        class Out:
            logits = self.logits.expand(*input_ids.shape, -1)

        return Out


def shard(*documents):
    """Documents as lists of tokens; each token stands for two bytes."""
    flat = [token for one in documents for token in (*one, END)]
    ends = np.cumsum([len(one) + 1 for one in documents])
    return packing.Shard(
        np.array(flat, dtype=np.uint16), ends, np.array([2 * len(one) for one in documents])
    )


def test_bits_by_hand():
    model = Fixed([0.125, 0.5, 0.25, 0.125])
    measured, sizes = bits.of_documents(model, shard([1, 2, 3], [1]), END, 8)
    assert measured == pytest.approx([1 + 2 + 3, 1])
    assert bits.per_byte(measured, sizes) == pytest.approx(7 / 8)


@pytest.mark.parametrize("sequence", [1, 2, 3, 100])
def test_windows_change_nothing_for_a_model_without_memory(sequence):
    model = Fixed([0.125, 0.5, 0.25, 0.125])
    measured, _ = bits.of_documents(model, shard([1, 2, 3, 3, 1], [2]), END, sequence)
    assert measured == pytest.approx([1 + 2 + 3 + 3 + 1, 2])


def test_batching_and_padding_change_nothing(series, monkeypatch):
    run = runs.find("pretrain/starter")
    pack = packing.Pack(runs.root() / packing.CACHE / run.record["happened"]["pack"])
    model = models.load("pretrain/starter")
    held = pack.shard("ell_Grek", "train")
    together, _ = bits.of_documents(model, held, pack.facts["end_token"], 64, limit=6)
    monkeypatch.setattr(bits, "LOGITS_AT_ONCE", 1)
    alone, _ = bits.of_documents(model, held, pack.facts["end_token"], 64, limit=6)
    assert together == pytest.approx(alone, rel=1e-5)


class Counting(Fixed):
    calls = 0

    def forward(self, input_ids, use_cache=False):
        self.calls += 1
        return super().forward(input_ids, use_cache)


@pytest.mark.parametrize("together", [1, 2, 3, 8])
def test_processes_share_the_documents_and_call_the_model_equally_often(together, monkeypatch):
    shards = {
        "a": shard([1, 2, 3], [1], [2, 2, 2, 2, 2], [3, 3]),
        "b": shard([1, 1], [2], [3, 1, 2]),
        "c": shard([3]),
    }
    by_hand = {"a": [6, 1, 10], "b": [2, 2, 6], "c": [3]}
    monkeypatch.setattr(bits, "LOGITS_AT_ONCE", 1)
    monkeypatch.setattr(processes, "count", lambda: together)
    parts, models_ = [], []
    for rank in range(together):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(processes, "summed", lambda values: parts.append(values) or values)
        models_.append(Counting([0.125, 0.5, 0.25, 0.125]))
        bits.of_shards(models_[-1], shards, END, 4, limit=3)
    # Seven documents, the third one in two windows; each window is a call.
    assert len({model.calls for model in models_}) == 1
    own = [int(np.count_nonzero(part)) for part in parts]
    assert own == [len(range(rank, 7, together)) for rank in range(together)]
    monkeypatch.setattr(processes, "summed", lambda values: sum(parts))
    whole = bits.of_shards(Fixed([0.125, 0.5, 0.25, 0.125]), shards, END, 4, limit=3)
    assert {name: found.tolist() for name, (found, _) in whole.items()} == {
        name: pytest.approx(expected) for name, expected in by_hand.items()
    }
    assert {name: sizes.tolist() for name, (_, sizes) in whole.items()} == {
        "a": [6, 2, 10],
        "b": [4, 2, 6],
        "c": [2],
    }


def test_nothing_is_measured_where_there_is_nothing():
    assert bits.of_shards(Fixed([0.5, 0.5]), {}, END, 4) == {}


def test_intervals_hold_the_estimate_and_shrink_with_more_documents():
    generator = np.random.default_rng(0)
    sizes = generator.integers(100, 200, 400)
    measured = sizes * generator.normal(2.0, 0.2, 400)
    narrow = bits.interval(measured, sizes, 500)
    wide = bits.interval(measured[:20], sizes[:20], 500)
    assert narrow[0] < bits.per_byte(measured, sizes) < narrow[1]
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
    assert all(math.isnan(value) for value in bits.interval(measured[:1], sizes[:1], 500))
    assert math.isnan(bits.per_byte(measured[:0], sizes[:0]))


class Bigrams(torch.nn.Module):
    """Gives the next token a distribution that only the last token decides."""

    def __init__(self, table):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(table).log())
        self.config = Qwen3Config(vocab_size=len(table))

    def forward(self, input_ids, use_cache=False):
        class Out:
            logits = self.logits[input_ids]

        return Out


WORDS = ["a", "b", "ż", "ab", "bż", "abż"]
# Bits of the end token and of each word: after "a", and after anything else.
AFTER_A, ELSEWHERE = [3, 3, 3, 4, 5, 1, 5], [2, 2, 3, 3, 4, 3, 4]


def sentences_in_bits(merges, *sentences, sequence=8, unknown=None):
    """Measure with a vocabulary of letters that joins what ``merges`` says, in that order."""
    vocabulary = {word: number for number, word in enumerate(["<end>", *WORDS])}
    cutter = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(BPE(vocabulary, merges, unk_token=unknown)),
        eos_token="<end>",
        unk_token=unknown,
    )
    table = [[2.0**-bits for bits in ELSEWHERE] for _ in vocabulary]
    table[vocabulary["a"]] = [2.0**-bits for bits in AFTER_A]
    return bits.of_second_halves(Bigrams(table), cutter, sentences, sequence).tolist()


def test_second_halves_by_hand():
    merges = [("b", "ż")]
    # Half of three characters is one, and "ż" is one character though it has two bytes: a|bż.
    assert sentences_in_bits(merges, "abż") == pytest.approx([1])
    # ab|ab: a takes 2 bits after b, b takes 3 after a.
    assert sentences_in_bits(merges, "abab", "ab") == pytest.approx([2 + 3, 3])
    # Blanks around a sentence are no part of it. One character has no first half, nothing has none.
    assert sentences_in_bits(merges, " ab\n", "ż", "") == pytest.approx([3, 3, 0])
    assert sentences_in_bits(merges) == []


def test_as_many_tokens_are_left_out_as_the_first_half_has_by_itself():
    # a-bż-a, and ab alone is a-b: the token that spans the middle is left out.
    assert sentences_in_bits([("b", "ż")], "abża") == pytest.approx([2])
    # abż-b, and ab alone is ab: so it is here.
    assert sentences_in_bits([("a", "b"), ("ab", "ż")], "abżb") == pytest.approx([3])
    # abż-b, and ab alone is a-b: here the b after it is left out too.
    assert sentences_in_bits([("b", "ż"), ("a", "bż")], "abżb") == [0]
    # a-bż-a, and ab alone is ab: here the token that spans the middle counts as a whole.
    assert sentences_in_bits([("b", "ż"), ("a", "b")], "abża") == pytest.approx([1 + 2])


@pytest.mark.parametrize("sequence", [1, 2, 3])
def test_long_second_halves_lose_nothing(sequence):
    # aab|bab, of which each token is known to the next even where a window begins.
    measured = sentences_in_bits([], "aabbab", sequence=sequence)
    assert measured == pytest.approx([3 + 2 + 3])


def test_an_unknown_token_takes_the_bits_of_chance():
    # "?" stands for ż here: a|?b, with 7 tokens to choose from.
    assert sentences_in_bits([], "a?b", unknown="ż") == pytest.approx([math.log2(7) + 3])
    assert sentences_in_bits([], "?ab", unknown="ż") == pytest.approx([2 + 3])


def test_second_halves_of_a_model_are_what_its_probabilities_say(series, monkeypatch):
    """Batches of real sentences against one sentence at a time, without padding or windows."""
    model = models.load("pretrain/starter")
    cutter = tokenizer.load(models.folder_of("pretrain/starter"))
    sentences = ["Il-kelb jiġri.", "Γάτα", "Ilta on kaunis, ja lapset nukkuvat jo.", "კატა ზის"]
    expected = []
    for text in sentences:
        whole, half = tokenizer.encode(cutter, [text, text[: len(text) // 2]])
        tokens = torch.tensor([[cutter.eos_token_id, *whole]])
        with torch.inference_mode():
            told = model(input_ids=tokens).logits.double().log_softmax(-1)[0, :-1]
        each = -told.gather(1, tokens[0, 1:, None])[:, 0] / math.log(2)
        expected.append(float(each[len(half) :].sum()))
    together = bits.of_second_halves(model, cutter, sentences, 64)
    assert together == pytest.approx(expected, rel=1e-4)
    monkeypatch.setattr(bits, "LOGITS_AT_ONCE", 1)
    assert bits.of_second_halves(model, cutter, sentences, 64) == pytest.approx(together, rel=1e-5)
    assert not model.training
