"""The training loss, which never holds the logits of all tokens at once.

Logits are by far the largest tensor of a small model: one number for each token and each entry of
the vocabulary. Here they are made for some hundred tokens at a time, and their gradient is taken
on the spot, in the forward pass, where it is known in closed form; nothing of them is kept for the
backward pass and nothing is computed twice. The price is that the backward pass runs once only.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from workbench import chunks

IGNORED = -100

_Chunk = Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
_Add = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]


class NextToken(torch.nn.Module):
    """A causal language model whose forward pass gives the loss of predicting each next token.

    Args:
        model: of ``transformers``, or such a one with a PEFT adapter around it.
        z_loss: weight of the squared log of the softmax's normaliser (PaLM, arXiv 2204.02311).
        compiled: compile what is done to each chunk of logits.
        end_token: where it is given, no token sees beyond the last one of these before it: each
            document is read as if it stood alone.
    """

    def __init__(
        self,
        model: Any,
        z_loss: float = 0.0,
        compiled: bool = False,
        end_token: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.in_chunks = _is_linear_at_the_end(model)
        self._z_loss, self._compiled, self._end_token = z_loss, compiled, end_token

    @property
    def config(self) -> Any:
        """The configuration of the model inside."""
        return self.model.config

    def forward(
        self,
        tokens: torch.Tensor | None = None,
        targets: torch.Tensor | None = None,
        **asked: Any,
    ) -> tuple[torch.Tensor, torch.Tensor] | Any:
        """Return what is to be minimised, and the cross-entropy in nats a token.

        The two differ by the z-loss; only the first has a gradient.

        Args:
            tokens: ids of shape ``(batch, sequence + 1)``.
            targets: what each of the first ``sequence`` is to predict, or ``IGNORED``, shape
                ``(batch, sequence)``; by default the token after it.
            asked: in their place, what the model inside is asked; its answer is returned. A model
                in shards is whole only while a call goes through here.
        """
        if tokens is None:
            return self.model(**asked)
        inputs = tokens[:, :-1]
        targets = (tokens[:, 1:] if targets is None else targets).flatten()
        positions = None if self._end_token is None else _positions(inputs, self._end_token)
        if self.in_chunks:
            backbone, head = _parts(self.model)
            hidden = backbone(
                input_ids=inputs, position_ids=positions, use_cache=False
            ).last_hidden_state
            return linear_cross_entropy(
                hidden.flatten(0, 1), head.weight, targets, self._z_loss, self._compiled
            )
        answer = self.model(input_ids=inputs, position_ids=positions, use_cache=False)
        logits = answer.logits.float().flatten(0, 1)
        nats = F.cross_entropy(logits, targets, ignore_index=IGNORED)
        normalisers = logits.logsumexp(dim=1)[targets != IGNORED]
        return nats + self._z_loss * normalisers.square().mean(), nats.detach()


def _positions(inputs: torch.Tensor, end_token: int) -> torch.Tensor:
    """Return each token's place in its document, counted from the end token before it.

    ``transformers`` takes places that do not rise by one for the beginning of another text, and
    masks attention accordingly.

    Args:
        inputs: ids of shape ``(batch, sequence)``.
        end_token: id of the token that stands between documents.
    """
    places = torch.arange(inputs.shape[1], device=inputs.device).expand_as(inputs)
    begins = torch.where(inputs == end_token, places, 0).cummax(dim=1).values
    return places - begins


def linear_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    z_loss: float = 0.0,
    compiled: bool = False,
    at_once: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean cross-entropy of ``hidden @ weight.T`` plus z-loss, and without it.

    Under autocast the matrices are multiplied in its precision, as a linear layer's are; the
    softmax and the sum over chunks of ``weight``'s gradient are in float32.

    Args:
        hidden: last hidden states, shape ``(tokens, width)``.
        weight: output matrix, shape ``(vocabulary, width)``; may be the embedding's.
        targets: ids of shape ``(tokens,)``; where one is ``IGNORED`` the token does not count.
        z_loss: weight of the mean squared log-normaliser.
        compiled: compile what is done to each chunk of logits.
        at_once: logits of a chunk; by default what suits the device.
    """
    device = hidden.device.type
    if at_once is None:
        at_once = chunks.AT_ONCE_CPU if device == "cpu" else chunks.AT_ONCE_GPU
    rows = chunks.rows(hidden.shape[0], weight.shape[0], at_once)
    autocast = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if autocast else hidden.dtype
    chunk, add = _compiled() if compiled else (_chunk, _add_product)
    objective, nats = _InChunks.apply(  # type: ignore[no-untyped-call]
        hidden, weight, targets, z_loss, rows, dtype, chunk, add
    )
    return objective, nats


class _InChunks(torch.autograd.Function):
    """Cross-entropy behind a linear layer; the gradient is made in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        z_loss: float,
        rows: int,
        dtype: torch.dtype,
        chunk: _Chunk,
        add: _Add,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        hidden_gradient = torch.empty_like(hidden) if wants_hidden else None  # (tokens, width)
        weight_gradient = torch.zeros_like(weight) if wants_weight else None  # (vocabulary, width)
        counted = targets != IGNORED
        shares = torch.where(counted, 1 / counted.sum(), 0.0)  # (tokens,)
        # An ignored target names no column; any will do, since its share is 0.
        columns = targets.clamp(min=0).unsqueeze(1)  # (tokens, 1)
        places = torch.arange(rows, device=hidden.device)
        normalisers, picked = torch.empty_like(shares), torch.empty_like(shares)
        with torch.autocast(hidden.device.type, enabled=False):
            matrix = weight.to(dtype)
            for start in range(0, hidden.shape[0], rows):
                some = slice(start, start + rows)
                part = hidden[some].to(dtype)  # (rows, width)
                normalisers[some], picked[some], gradient = chunk(
                    part, matrix, columns[some], shares[some], z_loss
                )
                at_target = (picked[some] - normalisers[some]).exp()
                at_target = (at_target * _slopes(normalisers[some], z_loss) - 1) * shares[some]
                gradient[places[: len(part)], columns[some, 0]] = at_target.to(dtype)
                if hidden_gradient is not None:
                    hidden_gradient[some] = gradient @ matrix
                if weight_gradient is not None:
                    add(weight_gradient, gradient, part)
        nats = ((normalisers - picked) * shares).sum()
        squares = (normalisers.square() * shares).sum()
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        ctx.mark_non_differentiable(nats)
        return nats + z_loss * squares, nats

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        # In place, because the weight's gradient is large; torch refuses a second backward pass.
        scaled = [None if one is None else one.mul_(outer[0]) for one in ctx.saved_tensors]
        return scaled[0], scaled[1], None, None, None, None, None, None


def _chunk(
    hidden: torch.Tensor,
    matrix: torch.Tensor,
    columns: torch.Tensor,
    shares: torch.Tensor,
    z_loss: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the logarithms of normalisers, the logits at ``columns``, and the logits' gradient.

    The gradient, of shape ``(rows, vocabulary)`` and in the precision of ``matrix``, is what it
    were if no token was right: to set it right at the targets in here would have the compiler
    keep a second one.
    """
    logits = (hidden @ matrix.T).float()
    normalisers = logits.logsumexp(dim=1)  # (rows,)
    picked = logits.gather(1, columns).squeeze(1)  # (rows,)
    # In place: the logits are wanted no more, and nothing else is as large.
    gradient = logits.sub_(normalisers.unsqueeze(1)).exp_()
    gradient.mul_(_slopes(normalisers, z_loss).unsqueeze(1)).mul_(shares.unsqueeze(1))
    return normalisers, picked, gradient.to(matrix.dtype)


def _slopes(normalisers: torch.Tensor, z_loss: float) -> torch.Tensor:
    """Return how what is minimised rises with each logarithm of a normaliser, z-loss included."""
    return 1 + 2 * z_loss * normalisers


def _add_product(total: torch.Tensor, gradient: torch.Tensor, part: torch.Tensor) -> None:
    """Add ``gradient.T @ part`` to ``total``; compiled, without a copy in ``total``'s precision."""
    total += gradient.T @ part


@functools.cache
def _compiled() -> tuple[_Chunk, _Add]:
    chunk: _Chunk = torch.compile(_chunk, dynamic=False)
    add: _Add = torch.compile(_add_product, dynamic=False)
    return chunk, add


def blocks(model: Any) -> list[torch.nn.Module]:
    """Return the layers that a model repeats, as ``transformers`` names them."""
    names = set(_causal(model)._no_split_modules or ())
    # A layer in shards is of a class of its own, below the layer's.
    return [
        module
        for module in model.modules()
        if names & {kind.__name__ for kind in type(module).__mro__}
    ]


def _causal(model: Any) -> Any:
    """Return the causal language model inside an adapter, or the model itself."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _parts(model: Any) -> tuple[Any, Any]:
    """Return what gives the last hidden states, and what makes logits of them."""
    causal = _causal(model)
    return causal.base_model, causal.get_output_embeddings()


def _is_linear_at_the_end(model: Any) -> bool:
    """Return whether logits are the last hidden states times a matrix, and nothing else.

    Some models scale or cap their logits, and an adapter may sit on the output matrix: four tokens
    through both ways tell.
    """
    backbone, head = _parts(model)
    if not isinstance(head, torch.nn.Linear) or head.bias is not None:
        return False
    tokens = torch.arange(4, device=head.weight.device).unsqueeze(0)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            whole = model(input_ids=tokens, use_cache=False).logits
            hidden = backbone(input_ids=tokens, use_cache=False).last_hidden_state
            split = F.linear(hidden, head.weight)
    finally:
        model.train(was_training)
    return whole.shape == split.shape and torch.allclose(whole, split, rtol=1e-4, atol=1e-5)
