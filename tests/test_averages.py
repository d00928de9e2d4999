import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from workbench import checkpoint, recipe
from workbench import model as models
from workbench.averages import Average
from workbench.errors import UserError

TOKENS = torch.arange(24).unsqueeze(0)


def adapted():
    torch.manual_seed(3)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    return get_peft_model(models.build("nano", 300, 64, 0, 1), lora)


def shake(model, seed):
    """Move every trained weight a little."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.02)


@pytest.mark.parametrize(
    ("decay", "by_hand"),
    [
        # 0.1 * 0 + 0.9 * 1, then 2/11 * 0.9 + 9/11 * 2, then 3/12 * 1.8 + 9/12 * 4.
        (0.9, [0.9, 1.8, 3.45]),
        # The first decay is 0.1 here too, those that follow are 0.15.
        (0.15, [0.9, 0.15 * 0.9 + 0.85 * 2, 0.15 * 1.835 + 0.85 * 4]),
        (0.0, [1.0, 2.0, 4.0]),
    ],
)
def test_three_steps_by_hand(decay, by_hand):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    average = Average(model, decay)
    for weight, expected in zip((1.0, 2.0, 4.0), by_hand, strict=True):
        torch.nn.init.constant_(model.weight, weight)
        average.update()
        assert average.tensors()["weight"].item() == pytest.approx(expected)
        assert model.weight.item() == weight


@pytest.mark.parametrize("make", [lambda: models.build("nano", 300, 64, 0, 1), adapted])
def test_applied_and_taken_off_the_weights_are_the_same_bits(make):
    model = make()
    average = Average(model, 0.5)
    for seed in range(3):
        shake(model, seed)
        average.update()
    shadows = average.tensors()
    before = copy.deepcopy(model.state_dict())
    storages = [weight.data_ptr() for weight in model.parameters()]
    with torch.inference_mode():
        plain = model(input_ids=TOKENS).logits
    with pytest.raises(ZeroDivisionError), average.applied():
        for name, weight in model.named_parameters():
            expected = shadows[name] if weight.requires_grad else before[name]
            assert torch.equal(weight, expected)
        with torch.inference_mode():
            assert not torch.equal(model(input_ids=TOKENS).logits, plain)
        raise ZeroDivisionError
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [weight.data_ptr() for weight in model.parameters()] == storages
    assert all(torch.equal(average.tensors()[name], one) for name, one in shadows.items())


def test_only_what_is_trained_is_averaged_and_a_tied_weight_once():
    names = Average(models.build("nano", 300, 64, 0, 1), 0.9).tensors().keys()
    assert "model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names
    adapter = Average(adapted(), 0.9).tensors()
    # Two matrices for each of seven in four layers, and the count.
    assert len(adapter) == 2 * 7 * 4 + 1
    assert all(".lora_" in name for name in adapter if name != "updates")


def test_what_is_written_is_the_average_and_opens_in_transformers(tmp_path):
    model = models.build("nano", 300, 64, 0, 1)
    average = Average(model, 0.5)
    shake(model, 1)
    average.update()
    with average.applied():
        checkpoint.write_model(model, tmp_path)
    loaded = dict(models.load(str(tmp_path)).named_parameters())
    shadows = average.tensors()
    assert all(torch.equal(loaded[name], shadows[name]) for name in loaded)
    assert not torch.equal(loaded["model.norm.weight"], model.model.norm.weight)
    average.keep()
    assert all(torch.equal(shadows[name], one) for name, one in model.named_parameters())


def test_it_goes_on_from_a_file_to_the_same_bits(tmp_path):
    model = models.build("nano", 300, 64, 0, 1)
    whole = Average(model, 0.9)
    shake(model, 1)
    whole.update()
    save_file(whole.tensors(), tmp_path / "average.safetensors")
    parts = Average(model, 0.9)
    parts.load(load_file(tmp_path / "average.safetensors"))
    shake(model, 2)
    whole.update()
    parts.update()
    one, other = whole.tensors(), parts.tensors()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_average_of_another_model_is_refused():
    average = Average(models.build("nano", 300, 64, 0, 1), 0.9)
    with pytest.raises(RuntimeError, match=r"embed_tokens.weight has the shape \(200, 128\)"):
        average.load(Average(models.build("nano", 200, 64, 0, 1), 0.9).tensors())
    with pytest.raises(KeyError, match="averages missing or unknown"):
        average.load(Average(adapted(), 0.9).tensors())


def test_weights_of_half_precision_are_averaged_in_full():
    model = torch.nn.Linear(2, 2, bias=False, dtype=torch.bfloat16)
    torch.nn.init.ones_(model.weight)
    average = Average(model, 0.999)
    for _ in range(5):
        average.update()
        torch.nn.init.constant_(model.weight, 1.0078125)  # the next number that bfloat16 has
    shadow = average.tensors()["weight"]
    assert shadow.dtype == torch.float32
    assert 1 < shadow[0, 0].item() < 1.0078125
    with average.applied():
        assert model.weight.dtype == torch.bfloat16


def test_the_decay_is_checked_where_it_is_asked_for():
    text = "kind: pretrain\nname: a\nwhy: b\ntokenizer: tokenizer/a\ntrain: {average: 1.0}\n"
    with pytest.raises(UserError, match="average must be from 0 to below 1, it is 1.0"):
        recipe.parse(text)
