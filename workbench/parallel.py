"""Parallel text: the same content in many languages, aligned by id.

What is said of fairness is measured on it, because only equal content makes costs comparable.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench import corpus, languages, passages
from workbench.errors import UserError
from workbench.sections import Data

# A language whose version misses more of the ids than this is left out rather than shrinking
# what is compared everywhere.
COMPLETE = 0.8


@dataclass(frozen=True)
class Parallel:
    """Aligned texts: the n-th text of every language says the same."""

    ids: list[str]
    texts: dict[str, list[str]]
    """Language to its version, as long as ``ids``."""
    incomplete: list[str]
    """Languages that were asked for and have no version, or one with too many gaps."""

    def where(self, split: str, data: Data) -> "Parallel":
        """Return the part whose ids fall into ``split``; sentences of a passage stay together."""
        kept = [
            number
            for number, name in enumerate(self.ids)
            if corpus.split_of(name.split("#")[0], data) == split
        ]
        return Parallel(
            [self.ids[number] for number in kept],
            {tag: [own[number] for number in kept] for tag, own in self.texts.items()},
            self.incomplete,
        )


def read(sources: Sequence[str], chosen: Sequence[str], faults: corpus.Faults) -> Parallel:
    """Read parallel text: documents with the same id say the same.

    Args:
        sources: as in a recipe's data; of ``starter`` every sentence is an entry.
        chosen: codes or names of languages.
        faults: takes up what cannot be read.

    Raises:
        UserError: a source is missing, or fewer than two languages share any id.
    """
    wanted = languages.select(chosen)
    versions: dict[str, dict[str, str]] = {language.tag: {} for language in wanted}
    for source in sources:
        if source == "starter":
            for tag, version in versions.items():
                version.update(starter(tag))
            continue
        data = Data(sources=[source], languages=list(versions))
        for document in corpus.read(data, faults):
            versions[document.lang].setdefault(document.id, document.text)
    most = max(map(len, versions.values()))
    complete = {tag: own for tag, own in versions.items() if own and len(own) >= COMPLETE * most}
    shared = set.intersection(*map(set, complete.values())) if complete else set()
    if len(complete) < min(2, len(wanted)) or not shared:
        raise UserError(
            f"the parallel sources {', '.join(sources)} have no ids in common in two or more of "
            "the chosen languages; parallel text carries the same id in every language"
        )
    first = next(iter(complete.values()))
    ids = [name for name in first if name in shared]
    return Parallel(
        ids,
        {tag: [own[name] for name in ids] for tag, own in complete.items()},
        [tag for tag in versions if tag not in complete],
    )


def starter(tag: str) -> dict[str, str]:
    """Return the starter corpus's sentences in a language: ``passage#number`` to text."""
    return {
        f"{name}#{number}": sentence
        for name, sentences in passages.read(tag).items()
        for number, sentence in enumerate(sentences)
    }
