import pytest
import torch
from conftest import TAGS

from workbench import generate
from workbench import run as runs
from workbench.errors import UserError
from workbench.sections import Sampling


@pytest.fixture(scope="module")
def speaker(series):
    return generate.Speaker("pretrain/starter", "adapt/starter")


def test_a_seed_decides_the_text_and_the_process_keeps_its_state(speaker):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, other, again = (
        speaker.say("base", "fin_Latn", ["Varhain"], Sampling(seed=seed, max_new_tokens=20))[0]
        for seed in (1, 2, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first.text == again.text != other.text
    assert not first.text.startswith("Varhain"), "only what the model added"


def test_temperature_zero_needs_no_seed(speaker):
    greedy = [
        speaker.say("base", "fin_Latn", ["Varhain"], Sampling(seed=seed, temperature=0))[0].text
        for seed in (1, 2)
    ]
    assert greedy[0] == greedy[1]


def test_mistakes_are_told(speaker):
    with pytest.raises(UserError, match="no adapter 'swe_Latn'; there are base, "):
        speaker.say("swe_Latn", "swe_Latn", ["x"], Sampling())
    with pytest.raises(UserError, match="exceeds the model's context of 1024"):
        speaker.say("base", "eng_Latn", ["x y " * 1000], Sampling())


def test_comparison_asks_base_and_own_adapter_with_one_seed(series):
    rows = runs.find("compare/starter").read_result("generations")
    assert len(rows) == 2 * len(TAGS)
    assert {row["model"] for row in rows} == {"base", *TAGS}
    assert len({row["seed"] for row in rows}) == 1
    assert all(row["tokens"] > 0 for row in rows)
