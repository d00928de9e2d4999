"""Which language a text is written in, told by py3langid for many texts at once.

The model is langid.py's (Lui and Baldwin, "langid.py: An Off-the-shelf Language Identification
Tool", ACL 2012) as trained for py3langid 0.4: byte n-grams found by an automaton, weighed by naive
Bayes. The answers are py3langid's own; only the walk differs, where all texts of a batch step
through the automaton side by side.

A detector of this size answers for running text of a sentence or more. It cannot tell the closest
relatives apart (``LOOK_ALIKES``), knows no Montenegrin, and takes a text in two languages for one
of them.
"""

import functools
import itertools
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import regex
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from workbench import languages

# A longer text is judged by a third of this from its beginning, its middle and its end. For 99.9 %
# of 8,688 longer documents in 41 languages that gives the same language as the whole text.
JUDGED_BYTES = 3072
BATCH_TEXTS = 512

# How many documents of natural text (d) and single sentences of the starter corpus (s) in one of
# these languages are taken for another of its group. Czech and Slovak, Portuguese and Galician,
# Latvian and Latgalian, Bulgarian, Macedonian and Serbian in Cyrillic stay apart: at most 3 % of
# sentences and no documents, but for those that are filed under the wrong language.
LOOK_ALIKES = (
    # Four standards of one Štokavian dialect: d 14 % to 69 %, s 13 % to 84 %, and all Montenegrin.
    frozenset({"bos_Latn", "cnr_Latn", "hrv_Latn", "srp_Latn"}),
    # Norwegian was spelled much like Danish until 1907: d 34 %, mostly novels; s 2 % to 3 %.
    frozenset({"dan_Latn", "nob_Latn"}),
    # Two written standards of one language: d below 1 %, s 4 % to 9 %.
    frozenset({"nno_Latn", "nob_Latn"}),
    # Greek in the old spelling is taken for Ancient Greek, which is outside the registry: d 7 %.
    frozenset({"ell_Grek", "grc"}),
)

_CYRILLIC = regex.compile(r"\p{Script=Cyrillic}")
_LATIN = regex.compile(r"\p{Script=Latin}")


def detect(texts: Sequence[str], top: int = 3) -> list[list[tuple[str, float]]]:
    """Return for each text its likeliest languages with their probabilities, best first.

    A language of the registry is given by its tag, any other by the detector's ISO 639 code.
    Serbian is in the script that most of the text's letters are in. The probabilities of all
    languages add up to 1; they grow sharp with length and are no measure of correctness. A text
    in which the detector finds nothing that it knows, such as an empty one, has no languages.

    Args:
        texts: any number; work is done in batches, so memory stays flat.
        top: how many languages a text is given at most.
    """
    found: list[list[tuple[str, float]]] = []
    for start in range(0, len(texts), BATCH_TEXTS):
        found += _detect([_judged(text) for text in texts[start : start + BATCH_TEXTS]], top)
    return found


@functools.cache
def labels() -> dict[str, str]:
    """Return the detector's label for every language of the registry that it knows, by tag."""
    # BCP 47 separates what the detector calls by the code of the macro-language.
    named = {"nob_Latn": "no"}
    usual = {
        language.tag: named.get(language.tag, language.bcp47.partition("-")[0])
        for language in languages.all_languages()
    }
    known = set(_model().labels)
    return {tag: label for tag, label in usual.items() if label in known}


def unknown_to_detector() -> tuple[str, ...]:
    """Return the tags of the registry's languages that no answer can name."""
    return tuple(tag for tag in languages.tags() if tag not in labels())


def name(detected: str) -> str:
    """Return what a detected language is called: its English name, or its code outside of ours."""
    if detected in languages.tags():
        return languages.get(detected).name
    return {"grc": "Ancient Greek"}.get(detected, detected)


def agrees(declared: str, detected: str) -> bool:
    """Tell whether a detected language speaks for the declared one, look-alikes included."""
    return declared == detected or any({declared, detected} <= group for group in LOOK_ALIKES)


def confusion(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Count texts by declared and detected language.

    Args:
        pairs: declared and detected tag of each text.

    Returns:
        For each declared tag, sorted, the detected ones, the most frequent first.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for declared, detected in pairs:
        counts[declared][detected] += 1
    return {
        declared: dict(sorted(seen.items(), key=lambda item: (-item[1], item[0])))
        for declared, seen in sorted(counts.items())
    }


class _Model:
    """The identifier's tables, in the form that walking side by side wants."""

    def __init__(self) -> None:
        known = LanguageIdentifier.from_model_file(MODEL_FILE)
        self.next_state: npt.NDArray[np.uint32] = np.asarray(known.tk_nextmove)
        """Next state by row and byte, flat."""
        self.row = np.asarray(known.tk_row).astype(np.int64) * 256
        """Where each state's row begins; states share rows."""
        self.feature = np.asarray(known.tk_output, dtype=np.int32)
        """The feature that is complete in each state, or -1."""
        self.weights = np.asarray(known.nb_ptc, dtype=np.float32)
        """Log-probabilities, shape ``(features, classes)``."""
        self.prior = np.asarray(known.nb_pc, dtype=np.float32)
        self.labels: list[str] = known.labels
        self.fold = np.array(
            [[label == name for label in self.labels] for name in known.nb_classes],
            dtype=np.float32,
        )
        """Adds up the classes that share a label, shape ``(classes, labels)``."""


@functools.cache
def _model() -> _Model:
    return _Model()


@functools.cache
def _tags() -> dict[str, str]:
    """Map labels to tags; Serbian has two and is not among them."""
    return {label: tag for tag, label in labels().items() if label != "sr"}


def _judged(text: str) -> str:
    """Return what the detector reads of ``text``, prepared as py3langid does."""
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > JUDGED_BYTES:
        third = JUDGED_BYTES // 3
        middle = (len(encoded) - third) // 2
        parts = (encoded[:third], encoded[middle : middle + third], encoded[-third:])
        # A letter that a cut went through is dropped.
        text = " ".join(part.decode("utf-8", "ignore") for part in parts)
    return unicodedata.normalize("NFC", text.lower() if text.isupper() else text)


def _detect(texts: list[str], top: int) -> list[list[tuple[str, float]]]:
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    scores, known = _scores(encoded)
    probabilities = _probabilities(scores, np.array([len(text) for text in encoded]))
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    names = _model().labels
    return [
        [(_tag(names[place], texts[number]), float(probabilities[number, place])) for place in row]
        if known[number]
        else []
        for number, row in enumerate(order)
    ]


def _tag(label: str, text: str) -> str:
    if label == "sr":
        cyrillic = len(_CYRILLIC.findall(text)) > len(_LATIN.findall(text))
        return "srp_Cyrl" if cyrillic else "srp_Latn"
    return _tags().get(label, label)


def _probabilities(
    scores: npt.NDArray[np.float32], sizes: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Turn scores into probabilities of labels, shape ``(texts, labels)``.

    As py3langid's ``norm_probs``: divided by the root of the length in bytes, which keeps a long
    text from being surer than its evidence, then softmax.
    """
    scaled = scores / np.sqrt(np.maximum(sizes, 1), dtype=np.float32)[:, None]
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float32] = raised / raised.sum(axis=1, keepdims=True) @ _model().fold
    return shares


def _scores(texts: list[bytes]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return each text's log-posterior by class, and whether it has any feature at all.

    Returns:
        Arrays of shape ``(texts, classes)`` and ``(texts,)``.
    """
    model = _model()
    owner, feature, count = _features(texts)
    weight = np.log1p(count.astype(np.float32))
    bounds = np.searchsorted(owner, np.arange(len(texts) + 1))
    scores = np.zeros((len(texts), len(model.prior)), dtype=np.float32)
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        scores[number] = weight[start:end] @ model.weights[feature[start:end]] + model.prior
    return scores, np.diff(bounds) > 0


def _features(
    texts: list[bytes],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count the features of every text.

    Returns:
        Number of the text, feature, and how often it occurs there; sorted, shape ``(pairs,)``.
    """
    model = _model()
    order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
    sizes = np.array([len(texts[number]) for number in order])
    longest = int(sizes[0])
    signs = np.zeros((longest, len(order)), dtype=np.uint8)  # (position, text), longest text first
    for place, number in enumerate(order):
        signs[: sizes[place], place] = np.frombuffer(texts[number], dtype=np.uint8)
    # How many texts are longer than each position; the others have dropped out on the right.
    going = np.searchsorted(-sizes, -np.arange(longest), side="left")
    seen = np.full(signs.shape, -1, dtype=np.int32)
    state = np.zeros(len(order), dtype=np.uint32)
    for position in range(longest):
        count = going[position]
        state = model.next_state[model.row[state[:count]] + signs[position, :count]]
        seen[position, :count] = model.feature[state]
    position_of, place_of = np.nonzero(seen >= 0)
    owners = np.array(order, dtype=np.int64)[place_of]
    pairs, counts = np.unique(
        owners * len(model.weights) + seen[position_of, place_of], return_counts=True
    )
    return pairs // len(model.weights), pairs % len(model.weights), counts
