"""Causal attention for compiled training in bf16 on CPUs, with a quick way back.

PyTorch's fused attention is quick forwards, but on a CPU its backward pass in bf16 takes several
times as long as the products of matrices that it is made of. Here the forward pass is PyTorch's,
and the backward pass is written as those products, for the compiler to join what lies between
them. The softmax is computed anew from queries and keys, so nothing is kept beyond these and the
values; while one layer goes back, its weights of all pairs of tokens are there at once, which is
why long sequences are left to PyTorch.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "workbench"
# At 256 tokens attention took 0.63 of the time of PyTorch's, forth and back, at 512 0.95.
LONGEST = 512


@contextlib.contextmanager
def quick(model: Any) -> Iterator[None]:
    """Have ``model`` attend with :func:`attend` while the context lasts, if it is on a CPU.

    Its layers are to be compiled in it: uncompiled, the backward pass is slower than PyTorch's. A
    model that was told to attend in another way than ``transformers`` does by itself keeps to it.

    Args:
        model: of ``transformers``, or such a one with a PEFT adapter around it.
    """
    config = model.config
    before = config._attn_implementation
    if before != "sdpa" or torch.cuda.is_available():
        yield
        return
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as ``sdpa`` of ``transformers`` does, which gets all but causal training in bf16.

    Args:
        module: the layer's attention.
        query: shape ``(batch, heads, tokens, width)``.
        key: shape ``(batch, heads of keys, tokens, width)``.
        value: as ``key``.
        attention_mask: a mask, or ``None`` where every token sees those before it.
        dropout: share of weights to leave out.
        scaling: of the products of queries and keys; by default one over the root of ``width``.
        more: what else ``transformers`` says.

    Returns:
        What was attended to, shape ``(batch, tokens, heads, width)``; no weights.
    """
    causal = more.get("is_causal")
    if causal is None:
        causal = getattr(module, "is_causal", True)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    if (
        attention_mask is not None
        or dropout
        or not torch.is_grad_enabled()
        or dtype != torch.bfloat16
        or not query.shape[2] == key.shape[2] <= LONGEST
        or not causal
    ):
        plain: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
        return plain
    scaling = query.shape[3] ** -0.5 if scaling is None else scaling
    attended = _Causal.apply(  # type: ignore[no-untyped-call]
        query.to(dtype), key.to(dtype), value.to(dtype), scaling
    )
    return attended.transpose(1, 2).contiguous(), None


class _Causal(torch.autograd.Function):
    """Causal attention of queries in as many heads as, or a multiple of, keys and values have."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.scaling = scaling
        times = query.shape[1] // key.shape[1]
        key, value = repeat_kv(key, times), repeat_kv(value, times)
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        (gradient,) = outer
        heads = key.shape[1]
        times = query.shape[1] // heads
        key, value = repeat_kv(key, times), repeat_kv(value, times)
        places = torch.arange(query.shape[2], device=query.device)
        exact = torch.promote_types(query.dtype, torch.float32)
        # From here on of shape (batch, heads, tokens, tokens): a row is what one token sees.
        scores = (query @ key.transpose(2, 3)).to(exact) * ctx.scaling
        weights = scores.masked_fill(places.unsqueeze(1) < places, -torch.inf).softmax(dim=3)
        at_weights = (gradient @ value.transpose(2, 3)).to(exact)
        mean = (weights * at_weights).sum(dim=3, keepdim=True)
        at_scores = (weights * (at_weights - mean) * ctx.scaling).to(query.dtype)
        at_key = at_scores.transpose(2, 3) @ query
        at_value = weights.to(query.dtype).transpose(2, 3) @ gradient
        # A head of keys and values serves some heads of queries, one after another.
        return (
            at_scores @ key,
            at_key.unflatten(1, (heads, times)).sum(dim=2),
            at_value.unflatten(1, (heads, times)).sum(dim=2),
            None,
        )


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
