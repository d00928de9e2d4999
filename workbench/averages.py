"""A moving average of the weights while they are trained, to validate with and to keep."""

import contextlib
from collections.abc import Iterator, Mapping

import torch

COUNT = "updates"


class Average:
    """An exponential moving average of the parameters that require gradients.

    Averaged weights do about as well as the last ones of a falling rate would (Polyak and Juditsky
    1992; arXiv 2411.18704). Early on the decay is lower, ``(1 + t) / (10 + t)`` after ``t``
    updates, so that the first weights are soon forgotten (``tf.train.ExponentialMovingAverage``).

    It costs one more copy of what is trained, in float32, and a second one while it is applied.
    Weights that lie in shards over several processes are averaged where they lie.

    Args:
        model: on the device where it is trained; a tied weight counts once.
        decay: of the average at each step, from 0 to below 1.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        assert 0 <= decay < 1
        self._decay = decay
        self._weights = {
            name: weight for name, weight in model.named_parameters() if weight.requires_grad
        }
        self._shadows = {
            name: weight.detach().to(torch.float32, copy=True)
            for name, weight in self._weights.items()
        }
        self._updates = 0
        self._applied = False

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now; once after each step that moved them."""
        assert not self._applied, "the model holds the average, not its weights"
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        weights = [weight.detach().float() for weight in self._weights.values()]
        torch._foreach_lerp_(list(self._shadows.values()), weights, 1 - decay)
        self._updates += 1

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in the place of the weights while the context lasts.

        Afterwards the weights are what they were, bit for bit.
        """
        assert not self._applied, "the average is applied already"
        kept = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._applied = True
        try:
            self._fill(self._shadows)
            yield
        finally:
            self._fill(kept)
            self._applied = False

    def keep(self) -> None:
        """Put the average in the place of the weights for good, when training is over."""
        assert not self._applied, "the model holds the average already"
        self._fill(self._shadows)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the average by parameter, and how many updates made it; nothing is copied.

        Each tensor is laid out as its parameter, on the same device.
        """
        return {COUNT: torch.tensor(self._updates), **self._shadows}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`tensors` returned.

        Raises:
            KeyError: the tensors are those of other parameters.
            RuntimeError: one has another shape.
        """
        if unlike := self._shadows.keys() ^ (tensors.keys() - {COUNT}):
            raise KeyError(f"averages missing or unknown: {sorted(unlike)[:3]}")
        for name, shadow in self._shadows.items():
            if shadow.shape != tensors[name].shape:
                raise RuntimeError(f"average of {name} has the shape {tuple(tensors[name].shape)}")
            shadow.copy_(tensors[name])
        self._updates = int(tensors[COUNT])

    @torch.no_grad()
    def _fill(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])
