"""The sections of recipes: what may be set, its default, and which values are refused.

A field's documentation stands under it. ``__post_init__`` refuses what cannot be meant, in messages
that begin with the field, so that :mod:`workbench.strict` can tell its line.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from workbench import languages
from workbench.errors import UserError, nearest
from workbench.family import SIZES
from workbench.strict import require


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
        require(bool(self.sources), "sources is empty; name at least one, such as 'starter'")
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
        require(
            self.bytes_per_language >= 0,
            f"bytes_per_language must not be negative, it is {self.bytes_per_language}",
        )
        for name in ("validation", "test"):
            share = getattr(self, name)
            require(0 <= share < 1, f"{name} must be a share from 0 to below 1, it is {share}")
        require(
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
        require(
            300 <= self.size <= 2_000_000,
            f"size must be from 300 (256 bytes first) to 2,000,000, it is {self.size}",
        )
        require(0 <= self.parity <= 1, f"parity must be from 0 to 1, it is {self.parity}")
        require(
            self.model == "bpe" or not self.parity,
            "parity is learned with model 'bpe'; with 'unigram' set parity: 0",
        )
        require(
            self.bytes_per_language > 0,
            f"bytes_per_language must be positive, it is {self.bytes_per_language}",
        )
        require(
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
            require(bool(reason.strip()), f"accept.{word} states no reason")


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
        require(0 <= self.exponent <= 1, f"exponent must be from 0 to 1, it is {self.exponent}")
        require(self.max_epochs > 0, f"max_epochs must be positive, it is {self.max_epochs}")
        require(self.budget >= 0, f"budget must not be negative, it is {self.budget}")
        self._check_weights()
        for name, owner in (
            ("exponent", "temperature"),
            ("max_epochs", "unimax"),
            ("budget", "unimax"),
            ("datamix", "weights"),
        ):
            require(
                self.strategy == owner or getattr(self, name) == getattr(Mix, name),
                f"{name} is given, but strategy {self.strategy!r} ignores it",
            )
        require(
            self.strategy != "unimax" or self.unit == "tokens" or self.budget > 0,
            "budget is missing: training steps read tokens, so that with unit 'bytes' it must be "
            "given, such as 100000000",
        )

    def _check_weights(self) -> None:
        spelled: dict[str, str] = {}
        for word, weight in self.weights.items():
            tag = languages.get(word).tag
            require(
                tag not in spelled, f"weights names {tag} twice, as {spelled.get(tag)} and {word}"
            )
            spelled[tag] = word
            require(
                0 <= weight < math.inf,
                f"weights.{word} must be finite and not negative, it is {weight}",
            )
        if self.strategy != "weights":
            require(
                not self.weights, f"weights are given, but strategy {self.strategy!r} ignores them"
            )
        elif self.datamix:
            require(not self.weights, "weights are given, and datamix too; keep one of them")
        else:
            require(
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
        require(0 < self.share <= 1, f"share must be above 0 and up to 1, it is {self.share}")


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
            require(value >= 1, f"{name} must be at least 1, it is {value}")
        require(self.sequence >= 8, f"sequence must be at least 8 tokens, it is {self.sequence}")
        require(self.warmup >= 0, f"warmup must not be negative, it is {self.warmup}")
        require(
            self.keep_checkpoints >= 2,
            f"keep_checkpoints must be at least 2, it is {self.keep_checkpoints}",
        )
        for name in self.trackers:
            require(
                name in TRACKERS,
                f"trackers has {name!r}{nearest(name, TRACKERS)}; there are {', '.join(TRACKERS)}",
            )
        for name in ("learning_rate", "muon_rate", "clip"):
            value = getattr(self, name)
            require(value > 0, f"{name} must be positive, it is {value}")
        require(0 <= self.average < 1, f"average must be from 0 to below 1, it is {self.average}")
        require(self.z_loss >= 0, f"z_loss must not be negative, it is {self.z_loss}")
        for name in ("decay", "final_rate", "beta1", "beta2"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name} must be from 0 to 1, it is {value}")

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
        require(len(self.rungs) != 1, "rungs must be two sizes or more: one point makes no line")
        places = [list(SIZES).index(size) for size in self.rungs]
        require(
            places == sorted(set(places)),
            f"rungs must rise from the smallest size up, they are {', '.join(self.rungs)}",
        )
        require(self.documents >= 1, f"documents must be at least 1, it is {self.documents}")
        require(self.resamples >= 100, f"resamples must be at least 100, it is {self.resamples}")


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
        require(self.rank >= 1, f"rank must be at least 1, it is {self.rank}")
        require(self.alpha > 0, f"alpha must be positive, it is {self.alpha}")
        require(0 <= self.dropout < 1, f"dropout must be from 0 to below 1, it is {self.dropout}")


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
        require(
            1 <= self.max_new_tokens <= 4096,
            f"max_new_tokens must be from 1 to 4096, it is {self.max_new_tokens}",
        )
        require(
            0 <= self.temperature <= 10, f"temperature must be 0 to 10, it is {self.temperature}"
        )
        require(self.top_k >= 0, f"top_k must not be negative, it is {self.top_k}")
        require(0 < self.top_p <= 1, f"top_p must be above 0 and up to 1, it is {self.top_p}")


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
            require(
                isinstance(value, int) and value >= lowest,
                f"{name} must be a whole number of at least {lowest}, not {value}",
            )
        require(0 <= self.verify <= 1, f"verify must be from 0 to 1, it is {self.verify}")

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
        require(self.words >= 2, f"words must be at least 2, it is {self.words}")


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
            require(
                name in FILTERS,
                f"filters names no filter {name!r}{nearest(name, FILTERS)}; "
                f"there are {', '.join(FILTERS)}",
            )
        require(len(set(self.filters)) == len(self.filters), "filters names the same filter twice")
        require(
            0 <= self.min_words <= self.max_words,
            f"min_words must be from 0 to max_words, they are {self.min_words}, {self.max_words}",
        )
        require(0 <= self.quantile < 0.5, f"quantile must be 0 to 0.5, it is {self.quantile}")
        require(
            0 <= self.odd_characters <= 1,
            f"odd_characters must be a share, it is {self.odd_characters}",
        )
