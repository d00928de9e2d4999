import warnings
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from workbench import family, sections
from workbench import model as models
from workbench.errors import UserError

MILLIONS = {"nano": 1, "micro": 5, "mini": 15, "small": 60, "base": 125, "medium": 350}
VOCABULARY = {"nano": 4096, "micro": 8192, "mini": 16384, "small": 32768, "base": 50304}


def test_the_recipe_and_the_family_know_the_same_sizes():
    assert set(family.SIZES) == set(sections.ModelSize.__args__)


@pytest.mark.parametrize("size", ["nano", "micro", "mini", "small", "base", "medium"])
def test_sizes_are_about_what_their_names_promise(size):
    with torch.device("meta"):
        count = models.parameters(models.build(size, VOCABULARY.get(size, 50304), 256, 0, 1))
    assert 0.7 * MILLIONS[size] <= count / 1e6 <= 1.4 * MILLIONS[size], count


def test_the_seed_decides_the_weights_and_the_process_keeps_its_own_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (models.build("nano", 300, 64, 0, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [
        dict(model.named_parameters())["model.layers.0.mlp.up_proj.weight"]
        for model in (one, same, other)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_flops_of_a_token_by_hand():
    model = models.build("nano", 300, 64, 0, 1)
    layer = 128 * 128 + 2 * 128 * 64 + 128 * 128 + 3 * 128 * 384
    by_hand = 6 * (4 * layer + 300 * 128) + 12 * 4 * 128 * 64
    assert models.flops_per_token(model, 64) == by_hand


def test_the_trained_folder_opens_in_auto_model_with_equal_logits(series):
    ours = models.load("pretrain/starter").eval()
    plain = AutoModelForCausalLM.from_pretrained(series / "runs/pretrain/starter/model").eval()
    tokens = torch.arange(40).unsqueeze(0)
    with torch.inference_mode():
        assert torch.equal(ours(tokens).logits, plain(tokens).logits)


def test_no_model_there_is_one_line(series, tmp_path):
    with pytest.raises(UserError, match=r"no model at 'pretain/starter' \(did you mean"):
        models.load("pretain/starter")
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(UserError, match="cannot be loaded"):
        models.load(str(tmp_path))


def test_layers_are_recomputed_by_the_name_that_the_library_has():
    model = models.build("nano", 300, 64, 0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models.recompute_layers(model)
    assert all(layer.gradient_checkpointing for layer in model.model.layers)
    asked = []
    models.recompute_layers(SimpleNamespace(gradient_checkpointing_enable=asked.append))
    assert asked == [{"use_reentrant": False}]
