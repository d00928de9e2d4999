import itertools
import math

import pytest
import torch

from workbench import model as models
from workbench import optimizers
from workbench.recipe import Training


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
