import math

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model

from workbench import chunks, loss
from workbench import model as models

VOCABULARY, WIDTH, TOKENS = 300, 16, 37


def problem(dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(TOKENS, WIDTH, generator=generator, dtype=dtype)
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=dtype)
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def whole(hidden, weight, targets, z_loss):
    """The loss with all logits, as its definition says, for torch to differentiate."""
    logits = F.linear(hidden, weight).float()
    counted = targets != loss.IGNORED
    nats = F.cross_entropy(logits[counted], targets[counted])
    return nats + z_loss * logits[counted].exp().sum(dim=1).log().square().mean(), nats


def test_a_loss_by_hand():
    """Logits log 2, log 1, log 1 give the first token half of the probability."""
    hidden = torch.ones(1, 1)
    weight = torch.tensor([[math.log(2)], [0.0], [0.0]], requires_grad=True)
    objective, nats = loss.linear_cross_entropy(hidden, weight, torch.tensor([0]), z_loss=0.5)
    assert nats.item() == pytest.approx(math.log(2))
    assert objective.item() == pytest.approx(math.log(2) + 0.5 * math.log(4) ** 2)
    objective.backward()
    # Softmax less the target, and 2 z log Z times the softmax.
    more = 2 * 0.5 * math.log(4)
    by_hand = [-0.5 + 0.5 * more, 0.25 + 0.25 * more, 0.25 + 0.25 * more]
    assert weight.grad.flatten().tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("rows", [1, 5, TOKENS, 10 * TOKENS])
@pytest.mark.parametrize("z_loss", [0.0, 0.01])
@pytest.mark.parametrize("ignored", [0, 9])
def test_chunks_change_neither_loss_nor_gradient(rows, z_loss, ignored):
    hidden, weight, targets = problem()
    targets[:ignored] = loss.IGNORED
    expected, expected_nats = whole(hidden, weight, targets, z_loss)
    gradients = torch.autograd.grad(expected / 3, (hidden, weight))
    objective, nats = loss.linear_cross_entropy(
        hidden, weight, targets, z_loss, at_once=rows * VOCABULARY
    )
    assert objective.item() == pytest.approx(expected.item(), rel=1e-6)
    assert nats.item() == pytest.approx(expected_nats.item(), rel=1e-6)
    for mine, its in zip(
        torch.autograd.grad(objective / 3, (hidden, weight)), gradients, strict=True
    ):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-8)
    assert (
        ignored == 0
        or not torch.autograd.grad(loss.linear_cross_entropy(hidden, weight, targets)[0], hidden)[
            0
        ][:ignored].any()
    )


def test_no_tensor_as_large_as_all_logits_is_made():
    """At most the asked number of logits is alive at once, forward and backward."""
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            result = function(*arguments, **(named or {}))
            for one in result if isinstance(result, tuple | list) else (result,):
                if isinstance(one, torch.Tensor):
                    sizes.append(one.numel())
            return result

    hidden, weight, targets = problem()
    with Watch():
        loss.linear_cross_entropy(hidden, weight, targets, at_once=5 * VOCABULARY)[0].backward()
    largest_needed = max(5 * VOCABULARY, weight.numel())
    assert largest_needed == max(sizes) < TOKENS * VOCABULARY
    sizes.clear()
    with Watch():
        whole(hidden, weight, targets, 0.0)[0].backward()
    assert max(sizes) == TOKENS * VOCABULARY


def test_bf16_is_as_near_as_the_whole_loss_in_bf16():
    hidden, weight, targets = problem(torch.float32)
    exact = torch.autograd.grad(whole(hidden, weight, targets, 0.0)[0], weight)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = torch.autograd.grad(whole(hidden, weight, targets, 0.0)[0], weight)[0]
        objective, _ = loss.linear_cross_entropy(hidden, weight, targets, at_once=9 * VOCABULARY)
    ours = torch.autograd.grad(objective, weight)[0]
    assert ours.dtype == torch.float32
    assert (ours - exact).norm() < 1.2 * (rough - exact).norm()


def test_a_second_backward_pass_is_refused():
    hidden, weight, targets = problem()
    objective, _ = loss.linear_cross_entropy(hidden, weight, targets)
    objective.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        objective.backward()


@pytest.mark.parametrize("adapted", [False, True])
def test_a_model_with_tied_weights_gets_the_gradients_of_its_whole_logits(adapted, monkeypatch):
    monkeypatch.setattr(chunks, "AT_ONCE_CPU", 7 * VOCABULARY)
    model = models.build("nano", VOCABULARY, 64, 0, 1)
    if adapted:
        model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear"))
    tokens = torch.randint(VOCABULARY, (3, 21), generator=torch.Generator().manual_seed(1))
    objective = loss.NextToken(model, z_loss=0.01)
    assert objective.in_chunks
    value, nats = objective(tokens)
    value.backward()
    gradients = {
        name: weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.grad is not None
    }
    assert any("lora" in name for name in gradients) == adapted
    assert any("embed" in name for name in gradients) != adapted
    model.zero_grad()
    logits = model(input_ids=tokens[:, :-1]).logits.flatten(0, 1)
    expected = F.cross_entropy(logits, tokens[:, 1:].flatten())
    assert nats.item() == pytest.approx(expected.item(), rel=1e-6)
    (expected + 0.01 * logits.logsumexp(dim=1).square().mean()).backward()
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(gradients[name], weight.grad, rtol=1e-4, atol=1e-7)


def test_a_model_that_caps_its_logits_is_seen_and_keeps_them_whole():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(1)
    config = Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        final_logit_softcapping=0.5,
    )
    model = Gemma2ForCausalLM(config)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(30)
    objective = loss.NextToken(model, z_loss=0.1)
    assert not objective.in_chunks
    tokens = torch.arange(20).unsqueeze(0)
    value, nats = objective(tokens)
    logits = model(input_ids=tokens[:, :-1]).logits.flatten(0, 1)
    assert logits.abs().max() <= 0.5
    assert nats.item() == pytest.approx(F.cross_entropy(logits, tokens[0, 1:]).item())
    assert value.item() == pytest.approx(
        nats.item() + 0.1 * logits.logsumexp(dim=1).square().mean().item()
    )


def test_an_adapter_on_the_output_matrix_is_seen_too():
    model = models.build("nano", VOCABULARY, 64, 0, 1)
    assert loss.NextToken(model).in_chunks
    config = LoraConfig(r=2, target_modules=["lm_head"], init_lora_weights=False)
    assert not loss.NextToken(get_peft_model(model, config)).in_chunks


def test_within_a_document_nothing_before_it_is_seen():
    """The gradient at the first document's tokens says whether the second one looked at them."""
    end = 7
    model = models.build("nano", 300, 64, end, 1)
    tokens = torch.tensor([[11, 12, 13, end, 21, 22, 23, 24, end, 31, 32]])
    seen = {}

    def keep(module, words, hidden):
        if hidden.requires_grad:
            seen["hidden"] = hidden
            hidden.retain_grad()

    model.model.embed_tokens.register_forward_hook(keep)
    for end_token, alone in ((end, True), (None, False)):
        objective = loss.NextToken(model, end_token=end_token)
        # Of all that is predicted, only the last token of the second document counts.
        answer = objective.model.model(
            input_ids=tokens[:, :-1],
            position_ids=None if end_token is None else loss._positions(tokens[:, :-1], end),
            use_cache=False,
        )
        answer.last_hidden_state[0, 7].sum().backward()
        reached = seen["hidden"].grad[0].abs().sum(dim=1) > 0
        assert reached.tolist() == [not alone] * 3 + [True] * 5 + [False] * 2
    positions = loss._positions(tokens[:, :-1], end)
    assert positions.tolist() == [[0, 1, 2, 0, 1, 2, 3, 4, 0, 1]]


def test_a_document_in_a_sequence_costs_what_it_costs_alone():
    end = 7
    model = models.build("nano", 300, 64, end, 1)
    first, second = [11, 12, 13], [21, 22, 23, 24]
    together = torch.tensor([[end, *first, end, *second, end]])
    objective = loss.NextToken(model, end_token=end)
    apart = [loss.NextToken(model)(torch.tensor([[end, *one, end]]))[1] for one in (first, second)]
    _, nats = objective(together)
    assert nats.item() == pytest.approx((4 * apart[0] + 5 * apart[1]).item() / 9, rel=1e-5)
    assert loss.NextToken(model)(together)[1].item() != pytest.approx(nats.item(), rel=1e-5)
