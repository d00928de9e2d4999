"""How much of the training each language gets, and how often its text is read for that.

Sizes, budgets and shares count one unit, tokens or bytes of UTF-8 text, whichever the caller
took; :func:`of_tokens` turns shares of bytes into the shares of tokens that training draws by.

OpenEuroLLM writes its mixes as ``datamix.txt``: lines of a weight, a space or a tab, and a path;
lines that begin with ``#`` are comments. The language stands in the path. A path may lead to code
or mathematics, which have none: such lines are refused, because a mix here is one of languages.
"""

import heapq
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from workbench import disk, languages
from workbench import run as runs
from workbench.errors import UserError, nearest
from workbench.sections import Mix

# Text read up to so often teaches nearly as much as new text would, and less and less beyond
# (Muennighoff et al. 2023, arXiv 2305.16264).
GOOD_EPOCHS = 4.0
# Shares are rounded, so that a language at its limit may stand a hair above it.
ROUNDING = 1 + 1e-9
TAG = re.compile(r"(?<![A-Za-z])[a-z]{3}_[A-Z][a-z]{3}(?![A-Za-z])")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def shares(sizes: Mapping[str, int], mix: Mix, budget: int | None = None) -> dict[str, float]:
    """Return each language's share of the training; the shares add up to 1.

    Args:
        sizes: language tag to the size of its text; a language without text gets nothing.
        mix: the strategy and its settings.
        budget: what the training reads, in the unit of ``sizes``. Only UniMax needs it, and takes
            the budget of ``mix`` instead where that is given.

    Raises:
        UserError: no language has text; UniMax has no budget; a language without text has a
            weight; or ``mix.datamix`` is faulty.
    """
    with_text = {tag: size for tag, size in sizes.items() if size > 0}
    if not with_text:
        raise UserError("no language has text to mix")
    if mix.strategy == "weights":
        raw = _weights(with_text, mix)
    elif mix.strategy == "unimax":
        raw = unimax(with_text, mix.budget or budget, mix.max_epochs)
    else:
        exponent = {"natural": 1.0, "uniform": 0.0}.get(mix.strategy, mix.exponent)
        raw = {tag: size**exponent for tag, size in with_text.items()}
    total = math.fsum(raw.values())
    return {tag: raw.get(tag, 0.0) / total for tag in sizes}


def unimax(
    sizes: Mapping[str, int], budget: int | None, max_epochs: float = GOOD_EPOCHS
) -> dict[str, float]:
    """Share ``budget`` out evenly, but read no text more than ``max_epochs`` times.

    UniMax (Chung et al. 2023, arXiv 2304.09151): from the smallest language to the largest, each
    gets an equal part of what is left, and leaves to the larger ones what it cannot use::

        sizes {mt: 10, fi: 100, en: 1000}, budget 600, at most 4 epochs
        -> mt 40 (of 200), fi 280 (of 560 / 2), en 280

    Where every language is at its limit, part of the budget is left, and the parts are in
    proportion to the sizes.

    Returns:
        Each language's part, in the unit of ``sizes`` and ``budget``.

    Raises:
        UserError: the budget is missing or not positive.
    """
    if budget is None or budget <= 0:
        raise UserError(
            "strategy 'unimax' shares out a budget: give mix.budget, in the unit of the sizes, "
            f"such as {max(sum(sizes.values()), 1)} to read as much as there is; "
            f"the budget is {budget or 'missing'}"
        )
    left = float(budget)
    parts: dict[str, float] = {}
    for done, tag in enumerate(sorted(sizes, key=lambda tag: sizes[tag])):
        parts[tag] = min(left / (len(sizes) - done), max_epochs * sizes[tag])
        left -= parts[tag]
    return {tag: parts[tag] for tag in sizes}


def of_tokens(
    shares: Mapping[str, float], sizes: Mapping[str, int], tokens: Mapping[str, int]
) -> dict[str, float]:
    """Return shares in the unit of ``sizes`` as shares of tokens.

    Whatever is counted, a language's text is read equally often; its share of the tokens is its
    tokens times that::

        halves of sizes {el: 600, mt: 300}, tokens {el: 100, mt: 100} -> el 1/3, mt 2/3
    """
    raw = {tag: share * tokens[tag] / sizes[tag] if share else 0.0 for tag, share in shares.items()}
    total = math.fsum(raw.values())
    return {tag: value / total for tag, value in raw.items()}


class Turns:
    """Whose turn it is, so that no count ever strays from its share by a whole turn.

    Tijdeman's answer to the chairman assignment problem (1980, Discrete Mathematics 32): of those
    who may have a turn without running ahead, the one whose turn is due first. After any number
    of turns every count is within ``1 - 1 / (2 k - 2)`` of its share of them, ``k`` being how many
    take turns; always serving who is furthest behind does not keep below 1. A turn costs
    O(log k), and the counts are all the state there is.

    Args:
        shares: positive, in any unit.
        counts: turns that each has had, as an earlier object counted them.
    """

    def __init__(self, shares: Sequence[float], counts: Sequence[int] = ()) -> None:
        total = math.fsum(shares)
        self.counts = list(counts) or [0] * len(shares)
        self._shares = [share / total for share in shares]
        self._slack = 1 / (2 * len(shares) - 2) if len(shares) > 1 else 0.0
        self._turns = sum(self.counts)
        self._waiting = [self._opens(which) for which in range(len(shares))]
        heapq.heapify(self._waiting)
        self._open: list[tuple[float, int]] = []

    def next(self) -> int:
        """Count a turn and return whose it is."""
        self._turns += 1
        # Rounding may leave nobody who may just now; then it is who may first.
        while self._waiting and (self._waiting[0][0] <= self._turns or not self._open):
            _, which = heapq.heappop(self._waiting)
            due = (self.counts[which] + 1 - self._slack) / self._shares[which]
            heapq.heappush(self._open, (due, which))
        _, which = heapq.heappop(self._open)
        self.counts[which] += 1
        heapq.heappush(self._waiting, self._opens(which))
        return which

    def _opens(self, which: int) -> tuple[float, int]:
        return (self.counts[which] + self._slack) / self._shares[which], which


def repetitions(
    sizes: Mapping[str, int], shares: Mapping[str, float], budget: float
) -> dict[str, float]:
    """Return how often each language's text is read: its epochs.

    Args:
        sizes: language tag to the size of its text.
        shares: language tag to its share of ``budget``.
        budget: what the training reads in all, in the unit of ``sizes``.
    """
    return {tag: share * budget / sizes[tag] if share else 0.0 for tag, share in shares.items()}


def repeated(epochs: float) -> bool:
    """Return whether text that is read ``epochs`` times teaches much less than new text."""
    return epochs > GOOD_EPOCHS * ROUNDING


def warnings(epochs: Mapping[str, float], mix: Mix) -> list[str]:
    """Return what there is to tell about ``epochs`` by language, a line each; often nothing.

    One line names every language whose text is read more than ``GOOD_EPOCHS`` times, most often
    read first, with the number and a remedy. One says that UniMax could not keep to its limit,
    which happens where the training reads more than all text ``max_epochs`` times.
    """
    return repeated_text(epochs, mix.strategy == "unimax") + beyond_limit(epochs, mix)


def repeated_text(epochs: Mapping[str, float], unimax_taken: bool) -> list[str]:
    """Return the line on languages whose text is read more than ``GOOD_EPOCHS`` times, if any."""
    often = sorted(filter(lambda tag: repeated(epochs[tag]), epochs), key=lambda tag: -epochs[tag])
    if not often:
        return []
    remedy = "" if unimax_taken else " or strategy 'unimax'"
    return [
        f"text read more than {GOOD_EPOCHS:g} times teaches less and less (arXiv 2305.16264): "
        f"{', '.join(f'{tag} {epochs[tag]:.2f} times' for tag in often)}; "
        f"give them more text, or take fewer steps{remedy}"
    ]


def beyond_limit(epochs: Mapping[str, float], mix: Mix) -> list[str]:
    """Return the line on a UniMax that cannot keep to its limit, if any."""
    most = max(epochs.values(), default=0.0)
    if mix.strategy != "unimax" or most <= mix.max_epochs * ROUNDING:
        return []
    return [
        f"the training reads more than the mix was planned for: text is read up to {most:.2f} "
        f"times, mix.max_epochs is {mix.max_epochs:g}"
    ]


def table(sizes: Mapping[str, int], mix: Mix, budget: int) -> list[dict[str, Any]]:
    """Return the mix as rows, one a language: what there is, what it gets, how often it is read.

    Args:
        sizes: language tag to the size of its text.
        mix: the strategy and its settings.
        budget: what the training reads in all, in the unit of ``sizes``.
    """
    by_tag = shares(sizes, mix, budget)
    epochs = repetitions(sizes, by_tag, budget)
    return [
        {
            "tag": tag,
            "language": languages.get(tag).name,
            "size": sizes[tag],
            "share": share,
            "budget": share * budget,
            "epochs": epochs[tag],
            "repeated": repeated(epochs[tag]),
        }
        for tag, share in by_tag.items()
    ]


def sizes_of(reference: str | Path, unit: str = "bytes") -> dict[str, int]:
    """Return how much text each language has, as an inspection measured it.

    Where the inspection cleaned its text, what it kept counts; its tokens are then those of all
    text times the share of bytes that was kept.

    Args:
        reference: an inspection, as ``inspect/<name>``.
        unit: ``bytes`` or ``tokens``.

    Raises:
        UserError: there is no such run, it measured no text, or it counted no tokens.
    """
    run = runs.find(reference)
    rows = run.read_result("languages")
    if unit not in rows[0]:
        raise UserError(
            f"{run.reference} counted no {unit}; "
            + (
                "name a tokenizer in its recipe, or mix by bytes"
                if unit == "tokens"
                else "it is no inspection"
            )
        )
    return {
        row["tag"]: round(row[unit] * row.get("bytes_kept", row["bytes"]) / max(1, row["bytes"]))
        for row in rows
    }


def load(path: str | Path) -> list[tuple[float, str]]:
    """Read a ``datamix.txt``: weight and path of every line that has some.

    A relative ``path`` is taken from the project's folder.

    Raises:
        UserError: the file is missing, not text or empty, or a line has no weight, a weight that
            is negative or no number, or no path; the message names file and line.
    """
    return [(weight, inside) for _, weight, inside in _lines(path)]


def load_weights(path: str | Path) -> dict[str, float]:
    """Read a ``datamix.txt`` as language to weight; lines of one language add up.

    Raises:
        UserError: as :func:`load`; or a path names no language of the registry, or two.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for number, weight, inside in _lines(path):
        try:
            found[language_in(inside)].append(weight)
        except UserError as fault:
            raise UserError(f"{path}:{number}: {fault}") from None
    weights = {tag: math.fsum(found[tag]) for tag in languages.tags() if tag in found}
    if not any(weights.values()):
        raise UserError(f"{path}: every weight is 0; give at least one language more")
    return weights


def export(path: str | Path, shares: Mapping[str, float], paths: Mapping[str, str]) -> None:
    """Write a ``datamix.txt`` that :func:`load` and OpenEuroLLM's tools read.

    Weights are written without an exponent, since those tools know none, and in as many digits as
    come back to the same number. Languages without a share are left out.

    Args:
        path: the file; a relative one is taken from the project's folder.
        shares: language tag to its share.
        paths: language tag to the path of its text, which may name no other language.

    Raises:
        UserError: a share is negative or no number; or a language has a share and no path, a path
            of another language, or one that cannot stand on a line.
    """
    lines = []
    for tag, share in shares.items():
        if not 0 <= share < math.inf:
            raise UserError(f"the share of {tag} must be finite and not negative, it is {share}")
        if not share:
            continue
        if tag not in paths:
            raise UserError(f"no path is given for {tag}, which has a share of {share:.3g}")
        inside = paths[tag]
        if not inside or inside != inside.strip() or len(inside.splitlines()) > 1:
            raise UserError(f"the path of {tag} cannot stand on a line of its own: {inside!r}")
        if _named_in(inside) - {tag}:
            raise UserError(f"the path of {tag} names another language: {inside!r}")
        lines.append(f"{Decimal(repr(float(share))):f} {inside}\n")
    if not lines:
        raise UserError(f"{path}: no language has a share to write")
    file = _place(path)
    with disk.told_when_full(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    disk.write_text(file, "".join(lines))


def language_in(path: str) -> str:
    """Return the tag of the language that ``path`` names.

    A tag counts wherever it stands in a part of the path, the last such part before others:
    ``hplt-3.0/ces_Latn/shard_0000``, ``opus/eng_source-als_Latn``. Where there is none, a part as
    a whole, or what stands between its dots, may be any code or name of the registry:
    ``mono/cs.jsonl.gz``, ``wikipedia/20231101.mt``. A folder that happens to be called as a
    language is taken for one.

    Raises:
        UserError: the path names no language, one that the registry does not know, or two.
    """
    found = _named_in(path)
    if len(found) > 1:
        raise UserError(f"{path!r} names {len(found)} languages: {', '.join(sorted(found))}")
    if not found:
        known = [word for one in languages.all_languages() for word in (one.tag, one.name)]
        hints = (nearest(part, known) for part in _parts(path))
        raise UserError(
            f"no language in {path!r}{next(filter(None, hints), '')}; put a tag such as mlt_Latn "
            "into the path, or '#' before the line to leave it out"
        )
    return found.pop()


def _named_in(path: str) -> set[str]:
    """Return the tags of the languages that the most telling part of ``path`` names."""
    parts = _parts(path)
    for part in parts:
        if tags := TAG.findall(part):
            return {languages.get(tag).tag for tag in tags}
    for part in parts:
        for word in (part, *part.split(".")):
            try:
                return {languages.get(word).tag}
            except UserError:
                continue
    return set()


def _parts(path: str) -> list[str]:
    """Return the folders and the file of ``path``, the last first."""
    return [part for part in reversed(re.split(r"[/\\]", path)) if part]


def _weights(sizes: Mapping[str, int], mix: Mix) -> dict[str, float]:
    """Return explicit weights by tag; a weight on a language without text is a mistake."""
    if mix.datamix:
        asked, origin = load_weights(mix.datamix), f"mix.datamix {mix.datamix}"
    else:
        asked = {languages.get(word).tag: value for word, value in mix.weights.items()}
        origin = "mix.weights"
    without = [tag for tag, value in asked.items() if value and tag not in sizes]
    if without:
        raise UserError(
            f"{origin} names {', '.join(without)}, which {'has' if len(without) == 1 else 'have'} "
            "no training text; add text, or leave it out of the mix"
        )
    return asked


def _place(path: str | Path) -> Path:
    return runs.home() / Path(path).expanduser()


def _lines(path: str | Path) -> list[tuple[int, float, str]]:
    """Return line number, weight and path of each line; blank ones and comments are passed over."""
    file = _place(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        beside = [str(Path(path).with_name(one.name)) for one in file.parent.glob("*.txt")]
        raise UserError(f"no datamix at {path}{nearest(str(path), beside)}") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{path}: not readable as UTF-8 text: {fault}") from None
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.append((number, *_line(line)))
            except UserError as fault:
                raise UserError(f"{path}:{number}: {fault}") from None
    if not found:
        raise UserError(f"{path}: empty; a line is a weight and a path: 0.25 hplt-3.0/mlt_Latn")
    return found


def _line(line: str) -> tuple[float, str]:
    first, *rest = line.split(maxsplit=1)
    if NUMBER.fullmatch(first) is None or not math.isfinite(float(first)):
        decimal = first.replace(",", ".", 1)
        hint = nearest(first, [decimal]) if NUMBER.fullmatch(decimal) else ""
        raise UserError(
            f"a line begins with a weight, which is a number, not {first!r}{hint}: "
            "0.25 hplt-3.0/mlt_Latn"
        )
    if float(first) < 0:
        raise UserError(f"a weight must not be negative, it is {first}")
    if not rest:
        raise UserError(f"the weight {first} has no path after it: {first} hplt-3.0/mlt_Latn")
    return float(first), rest[0].strip()
