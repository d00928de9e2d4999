"""Scaling laws: how bits per byte fall with training compute, and what a larger model will reach.

Two forms, with compute ``C`` in FLOPs::

    power   L = A * C**-alpha        a straight line on logarithmic axes (arXiv 2001.08361)
    offset  L = E + A * C**-alpha    which flattens towards E (Hoffmann et al., arXiv 2203.15556)

Three unknowns need more than three points, so that the offset is looked for from ``FEW`` points
up. Intervals are Efron's (1979): documents are drawn again with replacement, the same ones at
every size, and the law is fitted anew. They tell how much depends on which documents were measured,
and nothing of other seeds, other rates or another form; a law with three points has no say on that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from workbench import languages

Floats = npt.NDArray[np.float64]
FEW = 4
# The row of the mean over languages.
ALL = "all"
# Residuals of logarithms beyond this count by their size and not by their square (2203.15556).
HUBER = 1e-3
# Shares of the lowest point that are tried as the offset; the best fit of all starts is taken.
STARTS = (0.02, 0.2, 0.4, 0.6, 0.8, 0.95)
ITERATIONS = 300
LEVEL = 0.95


@dataclass(frozen=True)
class Law:
    """One law, or many of one form; arrays of one shape."""

    form: Literal["power", "offset"]
    coefficient: Floats
    """``A``, in bits per byte at one FLOP."""
    exponent: Floats
    """``alpha``; positive where more compute helps."""
    offset: Floats
    """``E``, in bits per byte; 0 in a power law."""

    def at(self, compute: float) -> Floats:
        """Return bits per byte at ``compute`` FLOPs."""
        result: Floats = self.offset + self.coefficient * compute**-self.exponent
        return result


@dataclass(frozen=True)
class Documents:
    """One language's validation documents, measured at several sizes."""

    bits: Floats
    """Shape ``(sizes, documents)``."""
    bytes: npt.NDArray[np.int64]
    """Shape ``(documents,)``."""

    @property
    def per_byte(self) -> Floats:
        """Bits per byte over all documents together, shape ``(sizes,)``."""
        result: Floats = self.bits.sum(axis=1) / self.bytes.sum()
        return result

    def resampled(self, resamples: int, seed: int = 0) -> Floats:
        """Return bits per byte over documents drawn with replacement, ``(resamples, sizes)``.

        With the same ``seed`` and number of documents the same ones are drawn, in every language:
        where the text is parallel, a passage comes or stays away in all of them.
        """
        count = len(self.bytes)
        drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
        result: Floats = (self.bits[:, drawn].sum(axis=2) / self.bytes[drawn].sum(axis=1)).T
        return result


def fit(compute: Sequence[float], bits_per_byte: npt.ArrayLike) -> Law:
    """Return the law through points, of the form that their number allows.

    A power law minimises squares of logarithms; an offset one Huber's loss of logarithms, from
    several starts (arXiv 2203.15556, appendix D.2).

    Args:
        compute: FLOPs of each point, at least two different ones.
        bits_per_byte: shape ``(points,)``, or ``(fits, points)`` for many at once.
    """
    measured = np.asarray(bits_per_byte, dtype=np.float64)
    many = np.atleast_2d(measured)  # (fits, points)
    centre = float(np.mean(np.log(compute)))
    x = np.log(compute) - centre  # (points,)
    law = _offset(x, many) if len(x) >= FEW else _power(x, np.log(many))
    lifted = np.exp(np.log(law.coefficient) + law.exponent * centre)
    shape = measured.shape[:-1]
    return Law(
        law.form, lifted.reshape(shape), law.exponent.reshape(shape), law.offset.reshape(shape)
    )


def documents(rows: Sequence[Mapping[str, Any]]) -> dict[str, Documents]:
    """Return each language's documents from the table ``validation`` of a run with a ladder.

    Args:
        rows: ``size``, ``tag``, ``document``, ``bits`` and ``bytes``, from the smallest size up.
    """
    bits: dict[str, dict[str, list[float]]] = {}
    lengths: dict[str, dict[int, int]] = {}
    for row in rows:
        bits.setdefault(row["tag"], {}).setdefault(row["size"], []).append(row["bits"])
        lengths.setdefault(row["tag"], {})[row["document"]] = row["bytes"]
    return {
        tag: Documents(np.array(list(own.values())), np.array(list(lengths[tag].values())))
        for tag, own in bits.items()
    }


def with_mean(
    measured: Mapping[str, Documents], resamples: int
) -> dict[str, tuple[Floats, Floats]]:
    """Return bits per byte of each language and, as ``ALL``, of their mean, with resamples.

    Shapes ``(sizes,)`` and ``(resamples, sizes)``. One document cannot be drawn otherwise; such a
    language has no resamples, and adds what it has to those of the mean.
    """
    if not measured:
        return {}
    redrawn = {tag: one.resampled(resamples) for tag, one in measured.items()}
    result = {
        tag: (one.per_byte, redrawn[tag] if len(one.bytes) > 1 else redrawn[tag][:0])
        for tag, one in measured.items()
    }
    mean = np.mean([one.per_byte for one in measured.values()], axis=0)
    spread = any(len(one.bytes) > 1 for one in measured.values())
    drawn = np.mean(list(redrawn.values()), axis=0)
    return result | {ALL: (mean, drawn if spread else drawn[:0])}


def predict(
    compute: Sequence[float], target: float, measured: Mapping[str, Documents], resamples: int
) -> list[dict[str, Any]]:
    """Return each language's law and what it says of a larger model; the mean is the last row.

    Args:
        compute: FLOPs of each size that was measured.
        target: FLOPs of the model to predict.
        measured: language tag to its documents at these sizes.
        resamples: behind each interval; a single document gives none.
    """
    rows = []
    for tag, (points, redrawn) in with_mean(measured, resamples).items():
        law = fit(compute, points)
        laws = fit(compute, redrawn) if len(redrawn) else None
        rows.append(
            {
                "tag": tag,
                "language": _name(tag, measured),
                "form": law.form,
                "points": len(compute),
                "documents": _count(tag, measured),
                "coefficient": float(law.coefficient),
                "offset": float(law.offset),
                "exponent": float(law.exponent),
                **_interval("exponent", laws.exponent if laws else None),
                "flops": target,
                "predicted": float(law.at(target)),
                **_interval("predicted", laws.at(target) if laws else None),
            }
        )
    return rows


def compare(
    rows: Sequence[Mapping[str, Any]],
    compute: Sequence[float],
    target: float,
    measured: Mapping[str, Documents],
    resamples: int,
) -> list[dict[str, Any]]:
    """Return rows of :func:`predict` with what was measured in the end beside them.

    ``error_percent`` is positive where the model needs more bits than predicted. Its interval
    draws the same documents for the prediction and for the model, so that a collection of easy or
    hard documents moves both; ``within`` says whether the measured value lies in the prediction's
    own interval.

    Args:
        rows: what was predicted.
        compute: FLOPs of the sizes that the prediction came from.
        target: FLOPs of the model that was predicted.
        measured: language tag to its documents at these sizes, and at the model as the last one.
        resamples: behind each interval.
    """
    points = with_mean(measured, resamples)
    result = []
    for row in rows:
        own, redrawn = points[row["tag"]]
        found, low, high = float(own[-1]), row["predicted_low"], row["predicted_high"]
        errors = None
        if len(redrawn):
            errors = 100 * (redrawn[:, -1] / fit(compute, redrawn[:, :-1]).at(target) - 1)
        result.append(
            {
                **row,
                "measured": found,
                "error_percent": 100 * (found / row["predicted"] - 1),
                **_interval("error", errors),
                "within": None if low is None else low <= found <= high,
            }
        )
    return result


def points(
    sizes: Sequence[Mapping[str, Any]], measured: Mapping[str, Documents], resamples: int
) -> list[dict[str, Any]]:
    """Return a row for each size and language: what was spent and what was measured for it.

    Args:
        sizes: what is told of each size; its keys begin the row.
        measured: language tag to its documents at these sizes.
        resamples: behind each interval; a single document gives none.
    """
    drawn = with_mean(measured, resamples)
    return [
        {
            **about,
            "tag": tag,
            "language": _name(tag, measured),
            "documents": _count(tag, measured),
            "bits_per_byte": float(own[number]),
            **_interval("bits_per_byte", redrawn[:, number] if len(redrawn) else None),
        }
        for number, about in enumerate(sizes)
        for tag, (own, redrawn) in drawn.items()
    ]


def _interval(name: str, values: Floats | None) -> dict[str, float | None]:
    if values is None:
        return {f"{name}_low": None, f"{name}_high": None}
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _name(tag: str, measured: Mapping[str, Documents]) -> str:
    return f"mean of {len(measured)}" if tag == ALL else languages.get(tag).name


def _count(tag: str, measured: Mapping[str, Documents]) -> int:
    return sum(len(one.bytes) for key, one in measured.items() if tag in (key, ALL))


def _power(x: Floats, y: Floats) -> Law:
    """Return the lines through the logarithms ``y``, shape ``(fits, points)``, by least squares."""
    slope = ((x - x.mean()) * (y - y.mean(axis=-1, keepdims=True))).sum(axis=-1) / (
        (x - x.mean()) ** 2
    ).sum()
    height = y.mean(axis=-1) - slope * x.mean()
    return Law("power", np.exp(height), -slope, np.zeros_like(slope))


def _offset(x: Floats, measured: Floats) -> Law:
    """Return the laws with an offset, each the best of what the starts lead to."""
    lowest = measured.min(axis=-1)  # (fits,)
    best: Floats | None = None
    loss = np.full(len(measured), np.inf)
    for share in STARTS:
        begun = _power(x, np.log(measured - share * lowest[:, None]))
        start = np.stack(
            [np.log(begun.coefficient), begun.exponent, np.log(share * lowest)], axis=-1
        )
        found, reached = _descend(x, np.log(measured), start)
        better = reached < loss
        best = found if best is None else np.where(better[:, None], found, best)
        loss = np.minimum(loss, reached)
    assert best is not None
    return Law("offset", np.exp(best[:, 0]), best[:, 1], np.exp(best[:, 2]))


def _descend(x: Floats, y: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Minimise Huber's loss of logarithms by Levenberg and Marquardt's method, many at once.

    Args:
        x: logarithm of compute, shape ``(points,)``.
        y: logarithm of bits per byte, shape ``(fits, points)``.
        start: ``log A``, ``alpha`` and ``log E``, shape ``(fits, 3)``.

    Returns:
        The parameters, shape ``(fits, 3)``, and the loss, shape ``(fits,)``.
    """
    at = start.copy()
    loss = _huber(_residuals(x, y, at))
    damping = np.full(len(at), 1e-2)
    going = np.arange(len(at))
    for _ in range(ITERATIONS):
        now, own = at[going], y[going]
        residuals = _residuals(x, own, now)  # (going, points)
        share = np.exp(now[:, 2:] - own - residuals)  # of the offset in what the law says
        slopes = np.stack([1 - share, -(1 - share) * x, share], axis=-1)  # (going, points, 3)
        weights = np.minimum(1, HUBER / np.maximum(np.abs(residuals), 1e-300))[..., None]
        gradient = (slopes * weights * residuals[..., None]).sum(axis=1)  # (going, 3)
        curvature = np.swapaxes(slopes * weights, 1, 2) @ slopes  # (going, 3, 3)
        ridge = damping[going, None] * (np.einsum("fii->fi", curvature) + 1e-12)
        step = np.linalg.solve(curvature + ridge[:, :, None] * np.eye(3), gradient[..., None])
        # A step of logarithms that is longer than this only runs out of what numbers can hold.
        candidate = now - np.clip(step[..., 0], -2, 2)
        reached, before = _huber(_residuals(x, own, candidate)), loss[going]
        better = reached < before
        at[going] = np.where(better[:, None], candidate, now)
        loss[going] = np.where(better, reached, before)
        damping[going] = np.where(better, damping[going] / 4, damping[going] * 4).clip(1e-12)
        settled = better & (before - reached < 1e-9 * before)
        going = going[~(settled | (damping[going] > 1e6))]
        if not len(going):
            break
    return at, loss


def _residuals(x: Floats, y: Floats, at: Floats) -> Floats:
    """Return by how much the law's logarithm exceeds ``y``, shape ``(fits, points)``."""
    result: Floats = np.logaddexp(at[:, :1] - at[:, 1:2] * x, at[:, 2:]) - y
    return result


def _huber(residuals: Floats) -> Floats:
    size = np.abs(residuals)
    beyond = HUBER * (size - HUBER / 2)
    result: Floats = np.where(size <= HUBER, size**2 / 2, beyond).sum(axis=-1)
    return result
