"""Recipes: strict YAML files, one a run, whose defaults live in dataclasses.

A file states its ``kind``, its ``name``, in ``why`` the question it answers, and what differs from
the defaults: those of the kind's own keys below, those of its parts in :mod:`workbench.sections`.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml

from workbench import languages, strict
from workbench.errors import UserError, nearest
from workbench.family import SIZES
from workbench.sections import (
    Clean,
    Contamination,
    Data,
    Duplicates,
    Gate,
    Ladder,
    Lora,
    Mix,
    ModelSize,
    Phase,
    Sampling,
    Training,
    Vocabulary,
)
from workbench.strict import require

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every recipe says."""

    kind: ClassVar[str]
    name: str
    """The run's folder is ``runs/<kind>/<name>``."""
    why: str
    """The question that the run answers."""

    def __post_init__(self) -> None:
        require(
            NAME_PATTERN.fullmatch(self.name) is not None,
            f"name may hold letters, digits, '.', '_' and '-', it is {self.name!r}",
        )
        require(bool(self.why.strip()), "why is empty; state the question that the run answers")

    @property
    def needs(self) -> list[str]:
        """The runs that this one builds upon, as ``kind/name``."""
        return []

    def to_dict(self) -> dict[str, Any]:
        """Return the resolved recipe, defaults included, as plain values."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def to_yaml(self) -> str:
        """Return the resolved recipe as YAML that :func:`load` reads back to an equal one."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=100)


@dataclass(frozen=True, kw_only=True)
class InspectRecipe(Recipe):
    """Look at text before spending time on it, and clean it."""

    kind: ClassVar[str] = "inspect"
    data: Data = field(default_factory=Data)
    tokenizer: str = ""
    """Counts tokens too, with any tokenizer that ``against`` of a tokenizer recipe takes."""
    duplicates: Duplicates = field(default_factory=Duplicates)
    contamination: Contamination = field(default_factory=Contamination)
    clean: Clean = field(default_factory=Clean)

    @property
    def needs(self) -> list[str]:
        return _runs_among([*self.data.sources, self.tokenizer])


@dataclass(frozen=True, kw_only=True)
class TokenizerRecipe(Recipe):
    """Learn a vocabulary."""

    kind: ClassVar[str] = "tokenizer"
    data: Data = field(default_factory=Data)
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    parallel: list[str] = field(default_factory=lambda: ["starter"])
    """Sources of parallel text, the same ids in every language. What falls into ``data``'s test
    split is measured on, the rest leads the vocabulary to parity."""
    against: list[str] = field(default_factory=list)
    """Tokenizers to measure beside it: runs, ``tokenizer.json`` files, SentencePiece models,
    ``hub:owner/name@revision``."""
    resamples: int = 1000
    """Bootstrap resamples of sentences behind each interval."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.parallel), "parallel is empty; name a source, such as 'starter'")
        require(self.resamples >= 100, f"resamples must be at least 100, it is {self.resamples}")

    @property
    def needs(self) -> list[str]:
        return _runs_among([*self.data.sources, *self.against])


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe(Recipe):
    """Train a model from nothing."""

    kind: ClassVar[str] = "pretrain"
    tokenizer: str
    """A tokenizer run, ``tokenizer/<name>``, or a ``tokenizer.json``."""
    model: ModelSize = "nano"
    ladder: Ladder = field(default_factory=Ladder)
    data: Data = field(default_factory=Data)
    mix: Mix = field(default_factory=Mix)
    curriculum: list[Phase] = field(default_factory=list)
    """Phases one after the other, each with its mix and data; empty is one phase of the recipe's.
    Validation is on the recipe's ``data``, whatever the phase."""
    gate: Gate = field(default_factory=Gate)
    train: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = list(SIZES)
        for size in self.ladder.rungs:
            require(
                sizes.index(size) < sizes.index(self.model),
                f"ladder.rungs must be smaller than the model that they predict, {size!r} is not "
                f"smaller than {self.model!r}",
            )
        require(
            not (self.ladder.rungs and self.curriculum),
            "ladder.rungs are given, and a curriculum too; a ladder is of one mix",
        )
        if not self.curriculum:
            return
        total = math.fsum(phase.share for phase in self.curriculum)
        require(
            abs(total - 1) < 1e-6,
            f"curriculum has phases whose shares add up to {total:g}; they must add up to 1",
        )
        for number, steps in enumerate(self.steps_by_phase()):
            require(
                steps > 0,
                f"curriculum[{number}].share is {self.curriculum[number].share:g} of "
                f"{self.train.steps} steps, which is no step",
            )
        require(
            self.mix == Mix() or any(phase.mix is None for phase in self.curriculum),
            "mix is given, but every phase of the curriculum has one of its own",
        )
        require(
            self.curriculum[0].data is None,
            "curriculum[0].data is given, but the first phase reads the recipe's data, on which "
            "validation is measured; say it in data",
        )
        for number, phase in enumerate(self.curriculum):
            if phase.data is not None:
                self._check_data(phase.data, f"curriculum[{number}].data")

    def _check_data(self, other: Data, where: str) -> None:
        """Refuse text that would train on what is held out, or in languages without validation."""
        for name in ("validation", "test"):
            held, here = getattr(self.data, name), getattr(other, name)
            require(
                held == here,
                f"{where}.{name} is {here:g} and data.{name} {held:g}: training would see "
                f"documents that are held out; give both the same",
            )
        known = {one.tag for one in languages.select(self.data.languages)}
        for one in languages.select(other.languages):
            require(
                one.tag in known,
                f"{where}.languages selects {one.name}, which data.languages leaves out; "
                "a phase reads no language without validation",
            )

    def phases(self) -> list[Phase]:
        """Return the phases with their mix and data filled in; at least one."""
        return [
            Phase(phase.share, phase.mix or self.mix, phase.data or self.data)
            for phase in self.curriculum or [Phase(1.0)]
        ]

    def steps_by_phase(self) -> list[int]:
        """Return how many steps each phase has; together all of them."""
        share, ends = 0.0, [0]
        for phase in self.curriculum[:-1]:
            share += phase.share
            ends.append(min(round(share * self.train.steps), self.train.steps))
        ends.append(self.train.steps)
        return [after - before for before, after in itertools.pairwise(ends)]

    @property
    def needs(self) -> list[str]:
        sources = [word for phase in self.phases() for word in (phase.data or self.data).sources]
        return _runs_among(list(dict.fromkeys([self.tokenizer, *self.data.sources, *sources])))

    def training_of(self, rung: str, vocabulary: int) -> Training:
        """Return the training of a smaller size with as many tokens a weight as the model's.

        Twenty steps of a model with ten weights are ten of a rung with five, and the warm-up is
        half as long too. All weights count, those of the vocabulary as well (as in Hoffmann et
        al., arXiv 2203.15556).

        Args:
            rung: a size of the family.
            vocabulary: number of tokens of the tokenizer.
        """
        share = SIZES[rung].parameters(vocabulary) / SIZES[self.model].parameters(vocabulary)
        return dataclasses.replace(
            self.train,
            steps=max(1, round(share * self.train.steps)),
            warmup=round(share * self.train.warmup),
        )


@dataclass(frozen=True, kw_only=True)
class AdaptRecipe(Recipe):
    """Train one LoRA adapter a language on a frozen base."""

    kind: ClassVar[str] = "adapt"
    base: str
    """A pretraining run, ``pretrain/<name>``, a model folder, or ``hub:owner/name@revision``."""
    data: Data = field(default_factory=Data)
    lora: Lora = field(default_factory=Lora)
    train: Training = field(
        default_factory=lambda: Training(
            steps=20, batch=4, warmup=2, weight_decay=0.0, validate_every=20, checkpoint_every=20
        )
    )

    @property
    def needs(self) -> list[str]:
        return _runs_among([self.base, *self.data.sources])


@dataclass(frozen=True, kw_only=True)
class EvaluateRecipe(Recipe):
    """Measure a base and its adapters alike in every language."""

    kind: ClassVar[str] = "evaluate"
    base: str
    adapters: str = ""
    """An adaptation run, ``adapt/<name>``; empty measures the base alone."""
    data: Data = field(default_factory=Data)
    split: Literal["train", "validation", "test"] = "test"
    documents: int = 200
    """At most so many documents a language, and so many sentences."""
    sentences: list[str] = field(default_factory=lambda: ["starter"])
    """Sources of parallel sentences, the same ids in every language, whose second half is predicted
    from the first as Goldfish does on FLORES; empty leaves it out. Where a source also stands in
    ``data``, here or in the runs of base and adapters, only what falls into ``split`` is used."""
    pairs: bool = True
    """Also measure grammar on the starter corpus's minimal pairs."""
    resamples: int = 1000
    """Bootstrap resamples of documents, sentences or pairs behind each interval."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.documents >= 1, f"documents must be at least 1, it is {self.documents}")
        require(self.resamples >= 100, f"resamples must be at least 100, it is {self.resamples}")

    @property
    def needs(self) -> list[str]:
        return _runs_among([self.base, self.adapters, *self.data.sources, *self.sentences])


@dataclass(frozen=True, kw_only=True)
class CompareRecipe(Recipe):
    """Let a base and its adapters continue the same prompts with the same seeds."""

    kind: ClassVar[str] = "compare"
    base: str
    adapters: str = ""
    languages: list[str] = field(default_factory=lambda: ["all"])
    prompts: int = 1
    """So many prompts a language, from the starter corpus's library."""
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        super().__post_init__()
        languages.select(self.languages)
        require(self.prompts >= 1, f"prompts must be at least 1, it is {self.prompts}")

    @property
    def needs(self) -> list[str]:
        return _runs_among([self.base, self.adapters])


KINDS: dict[str, type[Recipe]] = {
    recipe.kind: recipe
    for recipe in (
        InspectRecipe,
        TokenizerRecipe,
        PretrainRecipe,
        AdaptRecipe,
        EvaluateRecipe,
        CompareRecipe,
    )
}


def load(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe in ``path``, with ``overrides`` such as ``train.steps=50`` applied.

    Raises:
        UserError: the file is missing or no YAML, or says something that no recipe of its kind
            knows; the message names file, line, key and the nearest right one.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        siblings = [str(entry) for entry in path.parent.glob("*.yaml")]
        raise UserError(f"no recipe at {path}{nearest(str(path), siblings)}") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{path}: not readable as UTF-8 text: {fault}") from None
    return parse(text, overrides, origin=str(path))


def parse(text: str, overrides: Sequence[str] = (), origin: str = "recipe") -> Recipe:
    """Build a recipe from YAML ``text``; ``origin`` is what messages call it."""
    form = "a recipe is a mapping that begins with 'kind: ...'"
    content, places = strict.read(text, overrides, origin, form)
    return from_dict(content, places)


def from_dict(content: dict[str, Any], places: strict.Places | None = None) -> Recipe:
    """Build a recipe from plain values; ``places`` tells where they were said."""
    content = dict(content)
    places = places or strict.Places("recipe")
    kind = content.pop("kind", None)
    if kind is None:
        raise UserError(f"{places.origin}: 'kind' is missing; it is one of {', '.join(KINDS)}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(
            f"{places.of('kind')}: unknown kind {kind!r}{nearest(str(kind), KINDS)}; "
            f"it is one of {', '.join(KINDS)}"
        )
    made: Recipe = strict.build(KINDS[kind], content, places)
    return made


def _runs_among(references: Sequence[str]) -> list[str]:
    """Return those ``references`` that name a run (``kind/name``) rather than a file or the hub."""
    return [
        reference
        for reference in references
        if reference.split("/")[0] in KINDS and reference.count("/") == 1
    ]
