"""Recipes: strict YAML files, one a run, whose defaults live in the dataclasses below.

A file states its ``kind``, its ``name``, in ``why`` the question it answers, and what differs from
the defaults. A key or a value that the dataclasses do not know is refused with its line and the
nearest right one, because a mistyped key that silently becomes a default ruins an experiment.
"""

import dataclasses
import itertools
import math
import re
import types
import typing
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml

from workbench import languages
from workbench.errors import UserError, nearest
from workbench.family import SIZES

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


@dataclass(frozen=True)
class Data:
    """Where documents come from, and how they are split."""

    sources: list[str] = field(default_factory=lambda: ["starter"])
    """``starter``, a file, a glob, a folder laid out as a hub data set, ``hub:owner/name@rev``."""
    languages: list[str] = field(default_factory=lambda: ["all"])
    """Codes, names, a status such as ``official``, or ``all``."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our field to the source's column, where the source is not a known data set."""
    configs: dict[str, str] = field(default_factory=dict)
    """Language to the configuration of a hub data set, where the source is not a known one."""
    language: str = ""
    """Language of sources that do not say it themselves."""
    licence: str = ""
    """Licence of sources that do not say it themselves."""
    bytes_per_language: int = 0
    """Read at most so many bytes of UTF-8 text a language; 0 reads everything."""
    validation: float = 0.1
    """Share of documents, by hash of their id, held out to look at while training."""
    test: float = 0.1
    """Share of documents, by hash of their id, held out for evaluation."""

    def __post_init__(self) -> None:
        _require(bool(self.sources), "sources is empty; name at least one, such as 'starter'")
        languages.select(self.languages)
        if self.language:
            languages.get(self.language)
        for word in self.configs:
            languages.get(word)
        unknown = [name for name in self.columns if name not in DOCUMENT_FIELDS]
        if unknown:
            raise UserError(
                f"columns names no document field {unknown[0]!r}"
                f"{nearest(unknown[0], DOCUMENT_FIELDS)}; "
                f"the fields are {', '.join(DOCUMENT_FIELDS)}"
            )
        _require(
            self.bytes_per_language >= 0,
            f"bytes_per_language must not be negative, it is {self.bytes_per_language}",
        )
        for name in ("validation", "test"):
            share = getattr(self, name)
            _require(0 <= share < 1, f"{name} must be a share from 0 to below 1, it is {share}")
        _require(
            self.validation + self.test < 1,
            f"validation and test leave nothing to train on: {self.validation} + {self.test}",
        )


DOCUMENT_FIELDS = ("id", "text", "lang", "script", "source", "licence", "url")


@dataclass(frozen=True)
class Vocabulary:
    """A byte-level vocabulary."""

    size: int = 4096
    """Number of tokens, the 256 bytes and the special tokens included."""
    model: Literal["bpe", "unigram"] = "bpe"
    parity: float = 0.03
    """Of ``bpe``: relative deviation from the mean cost of a parallel text that is tolerated, for
    the sake of few tokens in all; smaller is fairer, 0 learns from frequency alone."""
    bytes_per_language: int = 3_000_000
    """Every language gives at most so much text, so that none crowds out the others."""
    min_frequency: int = 2
    """Of ``bpe``: a merge must be seen so often."""

    def __post_init__(self) -> None:
        _require(
            300 <= self.size <= 2_000_000,
            f"size must be from 300 (256 bytes first) to 2,000,000, it is {self.size}",
        )
        _require(0 <= self.parity <= 1, f"parity must be from 0 to 1, it is {self.parity}")
        _require(
            self.model == "bpe" or not self.parity,
            "parity is learned with model 'bpe'; with 'unigram' set parity: 0",
        )
        _require(
            self.bytes_per_language > 0,
            f"bytes_per_language must be positive, it is {self.bytes_per_language}",
        )
        _require(
            self.min_frequency > 0, f"min_frequency must be positive, it is {self.min_frequency}"
        )


@dataclass(frozen=True)
class Gate:
    """What is asked of a vocabulary before a model is trained on it."""

    accept: dict[str, str] = field(default_factory=dict)
    """Language to the reason for which it is taken although the vocabulary falls short for it."""

    def __post_init__(self) -> None:
        for word, reason in self.accept.items():
            languages.get(word)
            _require(bool(reason.strip()), f"accept.{word} states no reason")


ModelSize = Literal[
    "femto", "pico", "nano", "micro", "mini", "small", "base", "medium", "large", "prelude-9b"
]


@dataclass(frozen=True)
class Mix:
    """How training sequences are drawn from the languages."""

    strategy: Literal["natural", "uniform", "temperature", "unimax", "weights"] = "temperature"
    """In proportion to size; all alike; size to the power of ``exponent``; all alike up to
    ``max_epochs`` of a language's text (arXiv 2304.09151); or as ``weights`` or ``datamix`` say."""
    exponent: float = 0.5
    """Of ``temperature``: 1 is natural, 0 is uniform."""
    max_epochs: float = 4.0
    """Of ``unimax``: no language's text is planned to be read more often than this."""
    budget: int = 0
    """Of ``unimax``: how much there is to share out, in ``unit``; 0 is what the training reads,
    steps x batch x accumulation x sequence tokens."""
    unit: Literal["tokens", "bytes"] = "tokens"
    """What sizes, shares and ``budget`` count. A token holds less text in one language than in
    another; counted in bytes, equal shares are equal amounts of text."""
    weights: dict[str, float] = field(default_factory=dict)
    """Of ``weights``: language to relative weight; a language left out gets nothing."""
    datamix: str = ""
    """Of ``weights``, in their place: a ``datamix.txt``, one "weight path" a line."""

    def __post_init__(self) -> None:
        _require(0 <= self.exponent <= 1, f"exponent must be from 0 to 1, it is {self.exponent}")
        _require(self.max_epochs > 0, f"max_epochs must be positive, it is {self.max_epochs}")
        _require(self.budget >= 0, f"budget must not be negative, it is {self.budget}")
        self._check_weights()
        for name, owner in (
            ("exponent", "temperature"),
            ("max_epochs", "unimax"),
            ("budget", "unimax"),
            ("datamix", "weights"),
        ):
            _require(
                self.strategy == owner or getattr(self, name) == getattr(Mix, name),
                f"{name} is given, but strategy {self.strategy!r} ignores it",
            )
        _require(
            self.strategy != "unimax" or self.unit == "tokens" or self.budget > 0,
            "budget is missing: training steps read tokens, so that with unit 'bytes' it must be "
            "given, such as 100000000",
        )

    def _check_weights(self) -> None:
        spelled: dict[str, str] = {}
        for word, weight in self.weights.items():
            tag = languages.get(word).tag
            _require(
                tag not in spelled, f"weights names {tag} twice, as {spelled.get(tag)} and {word}"
            )
            spelled[tag] = word
            _require(
                0 <= weight < math.inf,
                f"weights.{word} must be finite and not negative, it is {weight}",
            )
        if self.strategy != "weights":
            _require(
                not self.weights, f"weights are given, but strategy {self.strategy!r} ignores them"
            )
        elif self.datamix:
            _require(not self.weights, "weights are given, and datamix too; keep one of them")
        else:
            _require(
                sum(self.weights.values()) > 0,
                "strategy 'weights' needs weights, such as {mt: 2, en: 1}, or a datamix",
            )


TRACKERS = ("trackio", "tensorboard")


@dataclass(frozen=True)
class Phase:
    """A stretch of a curriculum."""

    share: float
    """Share of the steps; those of all phases add up to 1."""
    mix: Mix | None = None
    """How languages are mixed; the recipe's ``mix`` where none is given. UniMax shares out what the
    phase reads."""
    data: Data | None = None
    """What is read, such as clean text to end with; the recipe's ``data`` where none is given."""

    def __post_init__(self) -> None:
        _require(0 < self.share <= 1, f"share must be above 0 and up to 1, it is {self.share}")


@dataclass(frozen=True)
class Training:
    """The one loop, for pretraining and for adapters."""

    steps: int = 300
    """Optimizer steps."""
    batch: int = 16
    """Sequences worked on at a time."""
    sequence: int = 256
    """Tokens a sequence."""
    accumulation: int = 1
    """Batches whose gradients are added up before a step; several processes deal them out."""
    attention: Literal["sequence", "document"] = "sequence"
    """What a token sees: all before it in its sequence, or those of its own document only."""
    packing: Literal["cut", "best_fit"] = "cut"
    """Cut the text wherever a sequence is full, or keep documents whole by best fit and leave a
    few positions empty (arXiv 2404.10830)."""
    learning_rate: float = 3e-3
    schedule: Literal["cosine", "wsd"] = "wsd"
    """Cosine to ``final_rate``, or warm-up, stable and linear decay (arXiv 2404.06395)."""
    warmup: int = 20
    """Steps over which the rate rises from 0."""
    decay: float = 0.2
    """Of ``wsd``: the last share of steps, over which the rate falls."""
    final_rate: float = 0.0
    """The rate at the end, as a share of ``learning_rate``."""
    weight_decay: float = 0.1
    """On matrices; norms and biases are never decayed."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW for everything, or Muon for the matrices of the layers and AdamW for the rest."""
    muon_rate: float = 1.0
    """Muon's rate as a multiple of ``learning_rate``.

    Its updates have the size of AdamW's (arXiv 2502.16982), so that one rate can serve both.
    """
    rate_transfer: bool = False
    """Scale the rates of a model's parts by its width, so that the rate which is best at width 128
    (``nano``) is about the best at every other one (arXiv 2203.03466)."""
    beta1: float = 0.9
    beta2: float = 0.95
    average: float = 0.0
    """Decay a step of a moving average of the weights, such as 0.999, with which validation and the
    final model are made; 0 takes the weights themselves."""
    clip: float = 1.0
    """Gradients are scaled down to this norm."""
    z_loss: float = 0.0
    """Weight of the squared log-normaliser in the loss; PaLM took 1e-4 (arXiv 2204.02311)."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto`` times both on this machine and records which it took."""
    compile: Literal["auto", "always", "never"] = "auto"
    """``auto`` compiles where a compiler is, the run is long, and a compiled step is faster."""
    recompute: bool = False
    """Keep only each layer's input for the backward pass and compute the rest anew."""
    validate_every: int = 50
    """Steps between two measures of validation bits per byte."""
    validation_documents: int = 16
    """Documents a language that such a measure reads."""
    checkpoint_every: int = 100
    """Steps between two checkpoints."""
    keep_checkpoints: int = 2
    """Older ones are removed; at least two are kept, so that a damaged one is no loss."""
    bad_steps: int = 10
    """Stop after so many steps in a row whose loss or gradient was not finite."""
    trackers: list[str] = field(default_factory=list)
    """Also log to ``trackio`` or ``tensorboard``, on this machine; neither is installed with us."""
    seed: int = 1

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch",
            "accumulation",
            "validate_every",
            "validation_documents",
            "checkpoint_every",
            "bad_steps",
        ):
            value = getattr(self, name)
            _require(value >= 1, f"{name} must be at least 1, it is {value}")
        _require(self.sequence >= 8, f"sequence must be at least 8 tokens, it is {self.sequence}")
        _require(self.warmup >= 0, f"warmup must not be negative, it is {self.warmup}")
        _require(
            self.keep_checkpoints >= 2,
            f"keep_checkpoints must be at least 2, it is {self.keep_checkpoints}",
        )
        for name in self.trackers:
            _require(
                name in TRACKERS,
                f"trackers has {name!r}{nearest(name, TRACKERS)}; there are {', '.join(TRACKERS)}",
            )
        for name in ("learning_rate", "muon_rate", "clip"):
            value = getattr(self, name)
            _require(value > 0, f"{name} must be positive, it is {value}")
        _require(0 <= self.average < 1, f"average must be from 0 to below 1, it is {self.average}")
        _require(self.z_loss >= 0, f"z_loss must not be negative, it is {self.z_loss}")
        for name in ("decay", "final_rate", "beta1", "beta2"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"{name} must be from 0 to 1, it is {value}")

    @property
    def tokens_a_step(self) -> int:
        """Tokens that one optimizer step reads, whatever the number of processes."""
        return self.batch * self.accumulation * self.sequence

    def share_of_step(self, processes: int) -> tuple[int, int]:
        """Return what one of several processes does of a step: batches, and sequences of each.

        All have as many sequences, in as few batches as ``batch`` allows.

        Raises:
            UserError: a step's sequences do not come out even.
        """
        own, left = divmod(self.batch * self.accumulation, processes)
        if left or not own:
            raise UserError(
                f"the {self.batch * self.accumulation} sequences of a step cannot be dealt out "
                f"evenly to {processes} processes; make train.batch x train.accumulation a "
                f"multiple of {processes}"
            )
        fewest = -(-own // self.batch)
        parts = next(parts for parts in range(fewest, own + 1) if own % parts == 0)
        return parts, own // parts


@dataclass(frozen=True)
class Ladder:
    """Smaller sizes that are trained before the model, to predict it."""

    rungs: list[ModelSize] = field(default_factory=list)
    """From the smallest up, all below the model. Each reads as many tokens for each of its weights
    as the model does, of the same mix. None makes it an ordinary training."""
    documents: int = 16
    """Validation documents a language on which rungs and model are measured when they are done."""
    resamples: int = 1000
    """Bootstrap resamples of documents behind each interval."""

    def __post_init__(self) -> None:
        _require(len(self.rungs) != 1, "rungs must be two sizes or more: one point makes no line")
        places = [list(SIZES).index(size) for size in self.rungs]
        _require(
            places == sorted(set(places)),
            f"rungs must rise from the smallest size up, they are {', '.join(self.rungs)}",
        )
        _require(self.documents >= 1, f"documents must be at least 1, it is {self.documents}")
        _require(self.resamples >= 100, f"resamples must be at least 100, it is {self.resamples}")


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (arXiv 2106.09685)."""

    rank: int = 8
    alpha: float = 16.0
    """The update is scaled by ``alpha / rank``."""
    dropout: float = 0.0
    targets: str = "all-linear"
    """``all-linear``, or a regular expression over the names of modules, as PEFT takes it."""

    def __post_init__(self) -> None:
        _require(self.rank >= 1, f"rank must be at least 1, it is {self.rank}")
        _require(self.alpha > 0, f"alpha must be positive, it is {self.alpha}")
        _require(0 <= self.dropout < 1, f"dropout must be from 0 to below 1, it is {self.dropout}")


@dataclass(frozen=True)
class Sampling:
    """How text is drawn from a model."""

    max_new_tokens: int = 48
    temperature: float = 0.8
    """0 always takes the likeliest token."""
    top_k: int = 50
    """Draw from the so many likeliest tokens; 0 draws from all."""
    top_p: float = 1.0
    """Draw from the smallest set of tokens with this probability together (arXiv 1904.09751)."""
    seed: int = 1

    def __post_init__(self) -> None:
        _require(
            1 <= self.max_new_tokens <= 4096,
            f"max_new_tokens must be from 1 to 4096, it is {self.max_new_tokens}",
        )
        _require(
            0 <= self.temperature <= 10, f"temperature must be 0 to 10, it is {self.temperature}"
        )
        _require(self.top_k >= 0, f"top_k must not be negative, it is {self.top_k}")
        _require(0 < self.top_p <= 1, f"top_p must be above 0 and up to 1, it is {self.top_p}")


@dataclass(frozen=True)
class Duplicates:
    """What makes two documents near-duplicates; the defaults are those of FineWeb and datatrove.

    With 14 bands of 8 rows a pair is found with a chance of 5 % at a Jaccard index of 0.5, 56 % at
    0.7, 92 % at 0.8 and 99.96 % at 0.9.
    """

    shingle: int = 5
    """Words in a shingle."""
    bands: int = 14
    """One equal band makes a candidate."""
    rows: int = 8
    """Minima in a band."""
    seed: int = 1
    """Draws the permutations. Signatures of different seeds cannot be compared."""
    verify: float = 0.0
    """Join two candidates only if their signatures estimate at least this Jaccard index."""

    def __post_init__(self) -> None:
        for name, lowest in (("shingle", 1), ("bands", 1), ("rows", 1), ("seed", 0)):
            value = getattr(self, name)
            _require(
                isinstance(value, int) and value >= lowest,
                f"{name} must be a whole number of at least {lowest}, not {value}",
            )
        _require(0 <= self.verify <= 1, f"verify must be from 0 to 1, it is {self.verify}")

    @property
    def permutations(self) -> int:
        """Minima in a signature."""
        return self.bands * self.rows

    @property
    def threshold(self) -> float:
        """The Jaccard index near which the chance rises steepest, ``(1 / bands) ** (1 / rows)``.

        0.72 for the defaults, where the chance is 65 %: an approximation, not a cut.
        """
        return float((1 / self.bands) ** (1 / self.rows))

    def chance(self, jaccard: float) -> float:
        """Return the chance that a pair of this Jaccard index becomes a candidate."""
        return float(1 - (1 - jaccard**self.rows) ** self.bands)


@dataclass(frozen=True)
class Contamination:
    """Text that a model is to be evaluated on, looked for in the text to train on."""

    sources: list[str] = field(default_factory=list)
    """Files or globs of evaluation sets, in the formats of documents; every text in them counts."""
    words: int = 13
    """A document that shares so many words in a row is contaminated (Brown et al. 2020); shorter
    texts of an evaluation set are not looked for, and the record says how many they are."""

    def __post_init__(self) -> None:
        _require(self.words >= 2, f"words must be at least 2, it is {self.words}")


FILTERS = (
    "characters",
    "length",
    "language",
    "script",
    "quality",
    "repetition",
    "personal-data",
    "contamination",
    "exact-duplicate",
    "near-duplicate",
)


@dataclass(frozen=True)
class Clean:
    """What is taken out of the text, and what is mended in the rest."""

    filters: list[str] = field(default_factory=list)
    """In this order; the first that objects gives the reason. Of duplicates within a language the
    first stays that the filters before let pass. None cleans nothing."""
    min_words: int = 5
    """Of ``length``."""
    max_words: int = 100_000
    quantile: float = 0.05
    """Of ``quality``: a document is out that lies beyond the limits of Gopher and FineWeb, and
    further out than all but this share of its language's own (after arXiv 2506.20920)."""
    odd_characters: float = 0.001
    """Of ``characters``: share of control, private, unassigned and replacement characters and
    traces of a wrong encoding."""
    repair: bool = True
    """Put what is kept into Normalization Form C, and look-alike letters of another script within
    a word into the word's own."""
    mask: bool = True
    """Replace personal data in what is kept by its kind, ``[e-mail]``."""

    def __post_init__(self) -> None:
        for name in self.filters:
            _require(
                name in FILTERS,
                f"filters names no filter {name!r}{nearest(name, FILTERS)}; "
                f"there are {', '.join(FILTERS)}",
            )
        _require(len(set(self.filters)) == len(self.filters), "filters names the same filter twice")
        _require(
            0 <= self.min_words <= self.max_words,
            f"min_words must be from 0 to max_words, they are {self.min_words}, {self.max_words}",
        )
        _require(0 <= self.quantile < 0.5, f"quantile must be 0 to 0.5, it is {self.quantile}")
        _require(
            0 <= self.odd_characters <= 1,
            f"odd_characters must be a share, it is {self.odd_characters}",
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every recipe says."""

    kind: ClassVar[str]
    name: str
    """The run's folder is ``runs/<kind>/<name>``."""
    why: str
    """The question that the run answers."""

    def __post_init__(self) -> None:
        _require(
            NAME_PATTERN.fullmatch(self.name) is not None,
            f"name may hold letters, digits, '.', '_' and '-', it is {self.name!r}",
        )
        _require(bool(self.why.strip()), "why is empty; state the question that the run answers")

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
        _require(bool(self.parallel), "parallel is empty; name a source, such as 'starter'")
        _require(self.resamples >= 100, f"resamples must be at least 100, it is {self.resamples}")

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
            _require(
                sizes.index(size) < sizes.index(self.model),
                f"ladder.rungs must be smaller than the model that they predict, {size!r} is not "
                f"smaller than {self.model!r}",
            )
        _require(
            not (self.ladder.rungs and self.curriculum),
            "ladder.rungs are given, and a curriculum too; a ladder is of one mix",
        )
        if not self.curriculum:
            return
        total = math.fsum(phase.share for phase in self.curriculum)
        _require(
            abs(total - 1) < 1e-6,
            f"curriculum has phases whose shares add up to {total:g}; they must add up to 1",
        )
        for number, steps in enumerate(self.steps_by_phase()):
            _require(
                steps > 0,
                f"curriculum[{number}].share is {self.curriculum[number].share:g} of "
                f"{self.train.steps} steps, which is no step",
            )
        _require(
            self.mix == Mix() or any(phase.mix is None for phase in self.curriculum),
            "mix is given, but every phase of the curriculum has one of its own",
        )
        _require(
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
            _require(
                held == here,
                f"{where}.{name} is {here:g} and data.{name} {held:g}: training would see "
                f"documents that are held out; give both the same",
            )
        known = {one.tag for one in languages.select(self.data.languages)}
        for one in languages.select(other.languages):
            _require(
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
        _require(self.documents >= 1, f"documents must be at least 1, it is {self.documents}")
        _require(self.resamples >= 100, f"resamples must be at least 100, it is {self.resamples}")

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
        _require(self.prompts >= 1, f"prompts must be at least 1, it is {self.prompts}")

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
    content, lines = _read(text, overrides, origin, form)
    return from_dict(content, lines, origin)


def settings(cls: type[Any], text: str, overrides: Sequence[str], origin: str) -> Any:
    """Build any dataclass of settings from YAML ``text``, as strictly as a recipe.

    Raises:
        UserError: as :func:`load` does.
    """
    content, lines = _read(text, overrides, origin, "it is a mapping of settings")
    return _build(cls, content, "", lines, origin)


def _read(
    text: str, overrides: Sequence[str], origin: str, form: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return YAML's mapping with the overrides set in it, and where each dotted key was said."""
    try:
        node = yaml.compose(text, Loader=_StrictLoader)
        content = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise UserError(f"{origin}:{line}: not YAML: {fault.problem}") from None
    if not isinstance(content, dict):
        raise UserError(f"{origin}: {form}")
    lines = dict(_lines(node))
    for override in overrides:
        _override(content, lines, override)
    return content, lines


def from_dict(
    content: dict[str, Any], lines: dict[str, str] | None = None, origin: str = "recipe"
) -> Recipe:
    """Build a recipe from plain values; ``lines`` maps dotted keys to where they were said."""
    content = dict(content)
    lines = lines or {}
    kind = content.pop("kind", None)
    if kind is None:
        raise UserError(f"{origin}: 'kind' is missing; it is one of {', '.join(KINDS)}")
    if not isinstance(kind, str) or kind not in KINDS:
        where = _place(origin, lines, "kind")
        raise UserError(
            f"{where}: unknown kind {kind!r}{nearest(str(kind), KINDS)}; "
            f"it is one of {', '.join(KINDS)}"
        )
    made: Recipe = _build(KINDS[kind], content, "", lines, origin)
    return made


class _StrictLoader(yaml.SafeLoader):
    """YAML 1.2's plain values: ``no`` stays Norwegian, ``3e-4`` is a number, keys are unique."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+"),
    list("-+0123456789."),
)


def _lines(node: yaml.Node | None, prefix: str = "") -> list[tuple[str, str]]:
    """Return the dotted keys below ``node``, each with the line on which it stands."""
    found: list[tuple[str, str]] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            dotted = f"{prefix}{key.value}"
            found.append((dotted, str(key.start_mark.line + 1)))
            found.extend(_lines(value, f"{dotted}."))
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            entry = f"{prefix.rstrip('.')}[{number}]"
            found.append((entry, str(value.start_mark.line + 1)))
            found.extend(_lines(value, f"{entry}."))
    return found


def _override(content: dict[str, Any], lines: dict[str, str], override: str) -> None:
    """Set one ``a.b=value`` in ``content``; the dataclasses check it later like any other."""
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise UserError(f"override {override!r} is not of the form key=value")
    try:
        value = yaml.load(text, Loader=_StrictLoader) if text else ""
    except yaml.YAMLError:
        value = text
    *parents, last = dotted.split(".")
    here = content
    for parent in parents:
        name, number = _numbered(parent)
        below = here.get(name)
        if number is not None:
            if not isinstance(below, list) or not 0 <= number < len(below):
                count = len(below) if isinstance(below, list) else 0
                raise UserError(f"override {override!r}: {name!r} is a list of {count} entries")
            entries = here[name] = list(below)
            below = entries[number]
        if below is None:
            below = {}
        if not isinstance(below, dict):
            raise UserError(f"override {override!r}: {parent!r} is a value, it has no keys below")
        below = dict(below)
        if number is None:
            here[name] = below
        else:
            here[name][number] = below
        here = below
    here[last] = value
    lines[dotted] = f"override {override!r}"


def _numbered(word: str) -> tuple[str, int | None]:
    """Return the name and the number of ``name[2]``, or the name and ``None``."""
    found = re.fullmatch(r"(.+)\[(\d+)\]", word)
    return (found[1], int(found[2])) if found else (word, None)


def _place(origin: str, lines: dict[str, str], dotted: str) -> str:
    line = lines.get(dotted, "")
    if line.startswith("override"):
        return line
    return f"{origin}:{line}" if line else origin


def _build(
    cls: type[Any], content: dict[str, Any], prefix: str, lines: dict[str, str], origin: str
) -> Any:
    """Make the dataclass ``cls`` from ``content``, refusing every key it does not have."""
    hints = typing.get_type_hints(cls)
    fields = {entry.name: entry for entry in dataclasses.fields(cls)}
    for key in content:
        if key not in fields:
            where = _place(origin, lines, f"{prefix}{key}")
            raise UserError(
                f"{where}: unknown key {prefix + str(key)!r}{nearest(str(key), fields)}; "
                f"known here: {', '.join(fields)}"
            )
    missing = [
        name
        for name, entry in fields.items()
        if name not in content
        and entry.default is dataclasses.MISSING
        and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        where = _place(origin, lines, prefix.rstrip("."))
        raise UserError(f"{where}: the key {prefix + missing[0]!r} is missing")
    values = {}
    for key, value in content.items():
        where = _place(origin, lines, f"{prefix}{key}")
        hint, inner = hints[key], _dataclass_in(hints[key])
        dotted = f"{prefix}{key}"
        if inner is None:
            values[key] = _convert(value, hint, dotted, where)
        elif typing.get_origin(hint) is list:
            if not isinstance(value, list):
                raise UserError(f"{where}: {dotted} is a list, not {value!r}")
            values[key] = [
                _section(inner, entry, f"{dotted}[{number}]", lines, origin)
                for number, entry in enumerate(value)
            ]
        elif value is None and types.NoneType in typing.get_args(hint):
            values[key] = None
        else:
            defaults = fields[key].default_factory
            base = dataclasses.asdict(defaults()) if callable(defaults) else {}
            values[key] = _section(inner, value, dotted, lines, origin, base)
    try:
        return cls(**values)
    except UserError as fault:
        word = str(fault).split(" ", 1)[0]
        where, said = origin, f"{prefix}{word}"
        while where == origin and said:
            where, said = _place(origin, lines, said), said.rpartition(".")[0]
        raise UserError(f"{where}: {prefix}{fault}") from None


def _dataclass_in(hint: Any) -> type[Any] | None:
    """Return the dataclass of a hint ``X``, ``X | None`` or ``list[X]``, if ``X`` is one."""
    for one in (hint, *typing.get_args(hint)):
        if dataclasses.is_dataclass(one):
            return typing.cast(type[Any], one)
    return None


def _section(
    cls: type[Any],
    value: Any,
    dotted: str,
    lines: dict[str, str],
    origin: str,
    base: dict[str, Any] | None = None,
) -> Any:
    """Make the dataclass ``cls`` of a part of the recipe, over the values of ``base``."""
    if not isinstance(value, dict):
        where = _place(origin, lines, dotted)
        raise UserError(f"{where}: {dotted} has keys of its own, not {value!r}")
    return _build(cls, {**(base or {}), **value}, f"{dotted}.", lines, origin)


def _convert(value: Any, hint: Any, dotted: str, where: str) -> Any:
    """Return ``value`` as the type ``hint`` says, without guessing: an int may serve as float."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise UserError(
                f"{where}: {dotted} is {value!r}{nearest(str(value), choices)}; "
                f"it is one of {', '.join(choices)}"
            )
        return value
    if origin is list:
        (item,) = typing.get_args(hint)
        if isinstance(value, str) and item is str:
            # One source or language may be given bare, as on a command line.
            return [value]
        if not isinstance(value, list):
            raise UserError(f"{where}: {dotted} is a list, not {value!r}")
        return [_convert(entry, item, f"{dotted}[{n}]", where) for n, entry in enumerate(value)]
    if origin is dict:
        _, item = typing.get_args(hint)
        if not isinstance(value, dict):
            raise UserError(f"{where}: {dotted} is a mapping, not {value!r}")
        return {
            str(key): _convert(entry, item, f"{dotted}.{key}", where)
            for key, entry in value.items()
        }
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise UserError(
            f"{where}: {dotted} is {_named(hint)}, not {_named(type(value))}: {value!r}"
        )
    return value


def _named(kind: Any) -> str:
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "true or false",
        list: "a list",
        dict: "a mapping",
        types.NoneType: "nothing",
    }
    return names.get(kind, str(kind))


def _runs_among(references: Sequence[str]) -> list[str]:
    """Return those ``references`` that name a run (``kind/name``) rather than a file or the hub."""
    return [
        reference
        for reference in references
        if reference.split("/")[0] in KINDS and reference.count("/") == 1
    ]
