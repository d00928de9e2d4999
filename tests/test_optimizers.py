import dataclasses
import itertools
import math

import pytest
import torch
from peft import LoraConfig, get_peft_model

from workbench import family, optimizers
from workbench import model as models
from workbench.sections import Training

# Width, so that rates at a base of 128 are divided by 1, 2, 3, 4.
SIZES = ("nano", "micro", "mini", "small")


def hollow(size, monkeypatch, tied=True):
    """A model whose weights take no time to make and have no values."""
    shape = dataclasses.replace(family.SIZES[size], tied=tied)
    monkeypatch.setitem(family.SIZES, size, shape)
    with torch.device("meta"):
        model = models.build(size, 300, 64, 0, 1)
    model.to_empty(device="cpu")
    model.tie_weights()
    return model


def with_adapter(model):
    return get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    )


def rates(model, **settings):
    """The rate of each parameter at a scheduled rate of 1, and what a step takes off of it."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    found = {}
    for optimizer in optimizers.of(model, Training(rate_transfer=True, **settings)):
        for group in optimizer.param_groups:
            for weight in group["params"]:
                times = group[optimizers.TIMES]
                found[names[id(weight)]] = (times, times * group["weight_decay"])
    return found


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_learning_rates(schedule):
    config = Training(
        steps=100, warmup=10, decay=0.2, learning_rate=1.0, schedule=schedule, final_rate=0.1
    )
    rates = [optimizers.learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[10:]))
    assert 0.1 <= rates[-1] < 0.16
    if schedule == "wsd":
        assert rates[79] == 1.0
        assert rates[90] == pytest.approx(0.55)
    else:
        assert rates[55] == pytest.approx(0.55, abs=0.01)


def test_norms_do_not_decay():
    model = models.build("nano", 300, 64, 0, 1)
    (optimizer,) = optimizers.of(model, Training())
    decayed, plain = optimizer.param_groups
    assert {weight.dim() for weight in decayed["params"]} == {2}
    assert {weight.dim() for weight in plain["params"]} == {1}
    assert plain["weight_decay"] == 0


def test_muon_takes_the_matrices_of_the_layers_and_nothing_else():
    model = models.build("nano", 300, 64, 0, 1)
    muon, adamw = optimizers.of(model, Training(optimizer="muon", muon_rate=2.5))
    (hidden,) = muon.param_groups
    # Query, key, value, output, gate, up and down, in four layers.
    assert len(hidden["params"]) == 7 * 4
    assert hidden[optimizers.TIMES] == 2.5
    embedding, norms = adamw.param_groups
    assert [weight.shape for weight in embedding["params"]] == [(300, 128)]
    assert {weight.dim() for weight in norms["params"]} == {1}


def test_muons_first_update_by_hand():
    """One step from rest moves a matrix along U V', scaled to 0.2 sqrt(longer side) rates."""
    weight = torch.nn.Parameter(torch.zeros(128, 64))
    left = torch.linalg.qr(torch.randn(128, 64))[0]
    weight.grad = left * torch.linspace(1, 2, 64)
    model = models.build("nano", 300, 64, 0, 1)
    model.model.layers[0].mlp.up_proj.weight = weight
    muon, _ = optimizers.of(model, Training(optimizer="muon", learning_rate=0.01))
    muon.step()
    sizes = torch.linalg.svdvals(weight.detach()) / (0.01 * 0.2 * math.sqrt(128))
    # Newton and Schulz end with singular values between 0.7 and 1.2, not at 1.
    assert 0.6 < sizes.min() <= sizes.max() < 1.3
    towards = -(weight.detach() * left).sum() / weight.detach().norm() / left.norm()
    assert towards > 0.98


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_each_trained_parameter_is_in_one_group(size, tied, adapted, monkeypatch):
    model = hollow(size, monkeypatch, tied)
    model = with_adapter(model) if adapted else model
    frozen = model.get_input_embeddings().weight.requires_grad_(False)
    trained = [id(weight) for weight in model.parameters() if weight.requires_grad]
    for name, transfer in itertools.product(("adamw", "muon"), (False, True)):
        config = Training(optimizer=name, rate_transfer=transfer)
        grouped = [
            id(weight)
            for optimizer in optimizers.of(model, config)
            for group in optimizer.param_groups
            for weight in group["params"]
        ]
        assert sorted(grouped) == sorted(trained)
        assert id(frozen) not in grouped


@pytest.mark.parametrize(("size", "wider"), [("nano", 1), ("micro", 2), ("mini", 3), ("small", 4)])
def test_rates_go_with_the_width_and_decay_does_not(size, wider, monkeypatch):
    model = hollow(size, monkeypatch, tied=False)
    up, norm = "model.layers.1.mlp.up_proj.weight", "model.layers.1.self_attn.q_norm.weight"
    found = rates(model, weight_decay=0.1)
    assert found[up] == pytest.approx((1 / wider, 0.1))
    assert found[norm] == (1, 0)
    assert found["model.norm.weight"] == (1, 0)
    assert found["model.embed_tokens.weight"] == pytest.approx((1, 0.1))
    output = wider ** -optimizers.POWERS["adamw"]["output"]
    assert found["lm_head.weight"] == pytest.approx((output, 0.1))
    found = rates(model, weight_decay=0.1, optimizer="muon", muon_rate=2.0)
    # Muon's own factor stays what it is: a multiple of the rate, decay included.
    assert found[up] == pytest.approx((2 / wider**0.5, 2 * 0.1))
    assert found["lm_head.weight"] == pytest.approx((output, 0.1))


def test_a_tied_embedding_has_the_rate_of_an_output(monkeypatch):
    found = rates(hollow("small", monkeypatch), optimizer="muon")
    assert "lm_head.weight" not in found
    assert found["model.embed_tokens.weight"][0] == 4 ** -optimizers.POWERS["adamw"]["output"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_of_an_adapter_only_what_reads_the_width_goes_with_it(optimizer, monkeypatch):
    """As LoRA+ (arXiv 2402.12354) has it: A falls with the width, B does not."""
    found = rates(with_adapter(hollow("small", monkeypatch)), optimizer=optimizer)
    times = {(".lora_A." in name, rate) for name, (rate, _) in found.items()}
    assert times == {(True, 0.25), (False, 1.0)}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_without_transfer_and_at_the_base_width_every_rate_is_the_recipes(optimizer, monkeypatch):
    plain = Training(optimizer=optimizer)
    for size, config in (
        ("small", plain),
        ("nano", plain),
        ("nano", dataclasses.replace(plain, rate_transfer=True)),
    ):
        for made in optimizers.of(hollow(size, monkeypatch), config):
            for group in made.param_groups:
                assert group[optimizers.TIMES] == 1
                vectors = {weight.dim() for weight in group["params"]} == {1}
                assert group["weight_decay"] == (0 if vectors else config.weight_decay)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_transferred_steps_move_features_alike_at_every_width(optimizer):
    """What a step does to a layer's output stays as large when the width grows fourfold.

    The gradient is that of one token after the other, so that the step is aligned with its input:
    entries of the output move by rate times width under AdamW; under Muon, whose step is
    orthogonal, by its spectral norm over the root of the width that it came from.
    """
    moved = {}
    for width in (128, 512):
        torch.manual_seed(1)
        model = models.build("nano", 300, 64, 0, 1)
        model.config.hidden_size = width
        seen = torch.randn(1, width)
        weight = torch.nn.Parameter(torch.zeros(3 * width, width))
        weight.grad = torch.randn(3 * width, 1) @ seen
        model.model.layers[0].mlp.up_proj.weight = weight
        for other in model.parameters():
            other.requires_grad_(other is weight)
        config = Training(optimizer=optimizer, rate_transfer=True, learning_rate=0.01)
        (made,) = optimizers.of(model, config)
        for group in made.param_groups:
            group["lr"] = config.learning_rate * group[optimizers.TIMES]
        made.step()
        moved[width] = (seen @ weight.detach().T).square().mean().sqrt().item()
    assert moved[512] == pytest.approx(moved[128], rel=0.1)
