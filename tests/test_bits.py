import math

import numpy as np
import pytest
import torch
from transformers import Qwen3Config

from workbench import bits, packing
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
