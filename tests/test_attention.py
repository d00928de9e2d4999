"""Our way back through attention is PyTorch's, in another order of sums."""

import json

import pytest
import torch
import torch._functorch.config
import torch.nn.functional as F

from workbench import attention, loss, pace
from workbench import model as models


@pytest.fixture
def model():
    return models.build("nano", 300, 64, 0, 1)


def drawn(heads, of_keys, tokens=11, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    shapes = [(2, count, tokens, 8) for count in (heads, of_keys, of_keys)]
    parts = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    return [part.requires_grad_() for part in parts]


@pytest.mark.parametrize(("heads", "of_keys"), [(3, 3), (4, 2), (4, 1)])
def test_gradients_are_those_of_pytorch(heads, of_keys):
    ours, theirs = drawn(heads, of_keys), drawn(heads, of_keys)
    one = attention._Causal.apply(*ours, 0.3)
    two = F.scaled_dot_product_attention(*theirs, is_causal=True, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(one, two)
    weights = torch.randn_like(one)
    (one * weights).sum().backward()
    (two * weights).sum().backward()
    for ours_, theirs_ in zip(ours, theirs, strict=True):
        torch.testing.assert_close(ours_.grad, theirs_.grad)


def layer(causal=True):
    module = torch.nn.Module()
    module.is_causal = causal
    module.num_key_value_groups = 2
    return module


@pytest.mark.parametrize(
    ("case", "ours"),
    [
        ("as it is", True),
        ("fp32", False),
        ("long", False),
        ("no gradient", False),
        ("mask", False),
        ("not causal", False),
    ],
)
def test_only_causal_training_in_bf16_goes_our_way(case, ours, monkeypatch):
    monkeypatch.setattr(attention, "LONGEST", 10 if case == "long" else 11)
    dtype = torch.float32 if case == "fp32" else torch.bfloat16
    query, key, value = drawn(4, 2, dtype=dtype)
    mask = torch.ones(11, 11, dtype=torch.bool).tril() if case == "mask" else None
    with torch.set_grad_enabled(case != "no gradient"):
        said, weights = attention.attend(layer(case != "not causal"), query, key, value, mask)
    assert weights is None
    assert said.shape == (2, 11, 4, 8)
    # transposed and made contiguous after it
    names = set()
    steps = [said.grad_fn] if said.grad_fn is not None else []
    while steps:
        step = steps.pop()
        names.add(type(step).__name__)
        steps += [before for before, _ in step.next_functions if before is not None]
    assert ("_CausalBackward" in names) == ours
    if case != "not causal":
        wanted = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        torch.testing.assert_close(said, wanted.transpose(1, 2))


def test_autocast_decides_the_precision():
    query, key, value = drawn(4, 2, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        said, _ = attention.attend(layer(), query, key, value, None)
    assert said.dtype == torch.bfloat16
    said.float().sum().backward()
    assert query.grad.dtype == torch.float32


def gradients(model, end_token=None):
    tokens = torch.arange(130).reshape(2, 65) % 37
    with torch.autocast("cpu", torch.bfloat16):
        objective, _ = loss.NextToken(model, end_token=end_token)(tokens)
    objective.backward()
    found = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    model.zero_grad()
    return objective.item(), found


@pytest.mark.parametrize("end_token", [None, 0])
def test_a_model_has_the_loss_and_the_gradient_that_it_had(model, end_token):
    """Also where documents are kept apart, by a mask."""
    plain, wanted = gradients(model, end_token)
    with attention.quick(model):
        quick, found = gradients(model, end_token)
    assert quick == pytest.approx(plain, rel=1e-5)
    assert (found - wanted).norm() < 0.01 * wanted.norm()


def test_a_model_is_left_as_it_was(model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = json.loads(model.config.to_json_string())
    with pace.compiled_blocks(model):
        assert model.config._attn_implementation == attention.NAME
        assert json.loads(model.config.to_json_string()) == before
        assert torch._functorch.config.activation_memory_budget == pace.KEPT_ON_CPU
    assert torch._functorch.config.activation_memory_budget == 1
    assert model.config._attn_implementation == "sdpa"
    model.set_attn_implementation("eager")
    with attention.quick(model):
        assert model.config._attn_implementation == "eager"
