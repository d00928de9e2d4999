"""What all pieces of a survey tell together: duplicates, usual ranges, and the tables of a run.

The pieces' measures are laid out column by column and cut into languages, so that memory holds a
few numbers a document and no text.
"""

import contextlib
import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from workbench import cleaning, disk, duplicates, identify, languages, personal, signals, survey
from workbench.recipe import InspectRecipe
from workbench.rows import SHOWN_FAULTS
from workbench.sections import FILTERS

SHOWN_EXAMPLES = 5
SHOWN_LINES, SHOWN_CLUSTERS, SHOWN_MEMBERS, SHOWN_CHARACTERS = 20, 40, 8, 60
# The summary of training content names the top tenth of domains by size.
TOP_DOMAINS = 0.1
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
LENGTHS = (0.1, 0.5, 0.9)

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Found:
    """What only all documents together tell; every array has the shape ``(documents,)``."""

    exact: npt.NDArray[np.bool_]
    """Whether an earlier document of the same language is the same text."""
    near: npt.NDArray[np.bool_]
    """Whether it resembles an earlier one of the same language."""
    cluster: npt.NDArray[np.int64]
    """Near-duplicates in whatever language, named by the first document's number."""
    limits: dict[str, list[cleaning.Range]]
    """Language to the range of its signals."""
    reason: npt.NDArray[np.int8]
    """Place in ``FILTERS`` of the filter that drops the document; -1 where it stays."""


class Tallies:
    """What the pieces counted of each language, added up."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.first_faults: list[str] = []
        self.characters: dict[str, Counter[str]] = {}
        self._repeated: dict[tuple[str, str], dict[int, tuple[int, str]]] = {}
        self._examples: dict[tuple[str, str], list[str]] = {}

    def add(self, piece: Mapping[str, Any]) -> None:
        """Add what :meth:`survey.Tally.to_dict` returned for each language of a piece."""
        self.faults.update(piece["faults"]["by_reason"])
        self.first_faults += piece["faults"]["first"]
        del self.first_faults[SHOWN_FAULTS:]
        for tag, own in piece["languages"].items():
            self.characters.setdefault(tag, Counter()).update(own["characters"])
            for name in ("lines", "sequences"):
                total = self._repeated.setdefault((tag, name), {})
                for key, count, text in own[name]:
                    total[key] = (total.get(key, (0, ""))[0] + count, text)
            for kind, examples in {**own["personal"], "mixed": own["mixed"]}.items():
                known = self._examples.setdefault((tag, kind), [])
                known += [one for one in examples if one not in known]
                del known[SHOWN_EXAMPLES:]

    def repeated(self, tag: str, name: str) -> list[tuple[int, str]]:
        """Return ``lines`` or ``sequences`` that came again, the most frequent first.

        What stands in each piece only once is not seen.
        """
        total = self._repeated.get((tag, name), {})
        return [total[key] for key in sorted(total, key=lambda key: (-total[key][0], key))]

    def examples(self, tag: str, kind: str) -> str:
        """Return a few examples of a kind of personal data, or of ``mixed`` words."""
        return ", ".join(self._examples.get((tag, kind), ()))


class Overview:
    """The finished pieces as one table, read column by column.

    Args:
        parts: folders of the pieces, in their order.
        scratch: a folder for columns of numbers, about 250 bytes a document; made if need be.
    """

    def __init__(self, parts: Sequence[Path], scratch: Path) -> None:
        self.parts = parts
        self._scratch = scratch
        self.tallies = Tallies()
        self.sizes = []
        for part in parts:
            tally = disk.read_json(part / survey.TALLY)
            self.sizes.append(tally["totals"]["documents"])
            self.tallies.add(tally)
        self.tags = [tag for tag in languages.tags() if tag in self.tallies.characters]
        self._kinds: dict[str, npt.DTypeLike] = {}
        self.lang = self._lay_out()
        """For each document the place of its language in ``tags``."""
        self._order = np.argsort(self.lang, kind="stable")
        self._starts = np.cumsum([0, *np.bincount(self.lang, minlength=len(self.tags))])
        self.first = {
            tag: int(self._order[start])
            for tag, start in zip(self.tags, self._starts[:-1], strict=True)
        }
        """For each language the number of its first document."""

    @property
    def faults(self) -> dict[str, Any]:
        """What could not be read."""
        return {
            "total": self.tallies.faults.total(),
            "by_reason": dict(self.tallies.faults),
            "first": self.tallies.first_faults,
        }

    def _lay_out(self) -> npt.NDArray[np.int64]:
        """Write each column of numbers into one file; return the languages' places.

        A column is wanted again and again, and opening every piece for it would take longer than
        measuring many small ones did.
        """
        self._scratch.mkdir(exist_ok=True)
        known = pyarrow.array(self.tags, pyarrow.string())
        places = [np.empty(0, dtype=np.int64)]
        with contextlib.ExitStack() as stack:
            files: dict[str, IO[bytes]] = {}
            for table in self._tables():
                places.append(pyarrow.compute.index_in(table["lang"], known).to_numpy())
                for name in table.column_names:
                    if not pyarrow.types.is_primitive(table.schema.field(name).type):
                        continue
                    values = table[name].to_numpy()
                    if name not in files:
                        files[name] = stack.enter_context((self._scratch / name).open("wb"))
                        self._kinds[name] = values.dtype
                    files[name].write(values.tobytes())
        return np.concatenate(places).astype(np.int64)

    def _tables(self, names: Sequence[str] | None = None) -> Iterator[pyarrow.Table]:
        for part, size in zip(self.parts, self.sizes, strict=True):
            if size:
                columns = None if names is None else list(names)
                yield pyarrow.parquet.read_table(part / survey.TABLE, columns=columns)

    def tables(self, names: Sequence[str]) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yield columns of each piece that has documents, in order."""
        for table in self._tables(names):
            yield {name: table[name].to_numpy() for name in table.column_names}

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column of numbers over all documents, shape ``(documents,)``; read-only."""
        return np.memmap(self._scratch / name, dtype=self._kinds[name], mode="r")

    def by_language(self, values: str | npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Return a column, or an array over all documents, cut into languages."""
        array = self.column(values) if isinstance(values, str) else values
        cut = np.split(array[self._order], self._starts[1:-1])
        return dict(zip(self.tags, cut, strict=True))

    def rows(self, numbers: Sequence[int], names: Sequence[str]) -> dict[int, dict[str, Any]]:
        """Return some columns of a few documents, by the documents' numbers."""
        wanted = np.unique(np.asarray(numbers, dtype=np.int64))
        ends = list(itertools.accumulate(self.sizes))
        found: dict[int, dict[str, Any]] = {}
        for end, table in zip(
            (end for end, size in zip(ends, self.sizes, strict=True) if size),
            self._tables(names),
            strict=True,
        ):
            start = end - len(table)
            here = wanted[(wanted >= start) & (wanted < end)]
            rows = table.take(pyarrow.array(here - start)).to_pylist()
            found.update(zip(here.tolist(), rows, strict=True))
        return found

    def grouped(self, *names: str) -> dict[tuple[str, ...], tuple[int, int]]:
        """Return documents and bytes for each combination of values of text columns."""
        documents: Counter[tuple[str, ...]] = Counter()
        size: Counter[tuple[str, ...]] = Counter()
        for table in self._tables([*names, "bytes"]):
            groups = table.group_by(list(names)).aggregate([([], "count_all"), ("bytes", "sum")])
            for row in groups.to_pylist():
                key = tuple(row[name] for name in names)
                documents[key] += row["count_all"]
                size[key] += row["bytes_sum"]
        return {key: (count, size[key]) for key, count in documents.items()}

    def find(self, recipe: InspectRecipe) -> Found:
        """Find duplicates and usual ranges, and decide what is dropped.

        A document is only ever dropped for one of its own language: text that is much the same
        in two standards, as in Serbian and Montenegrin, is text of both.
        """
        numbers = np.arange(len(self.lang))
        text = duplicates.exact(duplicates.in_groups(self.column("hash"), self.lang))
        cluster = self._clusters(recipe, None)
        own = self._clusters(recipe, self.lang) if len(self.tags) > 1 else cluster
        limits = self._limits(recipe.clean.quantile) if "quality" in recipe.clean.filters else {}
        pieces = [
            cleaning.objections(table, recipe.clean, limits)
            for table in self.tables(cleaning.COLUMNS)
        ]
        objects = {name: np.concatenate([one[name] for one in pieces]) for name in pieces[0]}
        reason = cleaning.reasons(recipe.clean.filters, objects, text, own)
        return Found(text != numbers, own != numbers, cluster, limits, reason)

    def _clusters(
        self, recipe: InspectRecipe, groups: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.int64]:
        settings = recipe.duplicates
        bands = [survey.bands(part, settings) for part in self.parts]
        if not settings.verify:
            return duplicates.clusters(bands, groups=groups)
        signatures = [survey.signatures(part, settings) for part in self.parts]
        return duplicates.clusters(bands, signatures, settings.verify, groups)

    def _limits(self, quantile: float) -> dict[str, list[cleaning.Range]]:
        limits: dict[str, list[cleaning.Range]] = {tag: [] for tag in self.tags}
        for signal in cleaning.LIMITS:
            for tag, values in self.by_language(signal).items():
                limits[tag].append(cleaning.usual(signal, values, quantile))
        return limits


def results(whole: Overview, recipe: InspectRecipe, found: Found) -> Iterator[tuple[str, Rows]]:
    """Yield the name and the rows of every table of the run."""
    yield "languages", _languages(whole, recipe, found)
    yield "signals", _signals(whole)
    yield "confusion", _confusion(whole)
    yield "characters", [row for tag in whole.tags for row in _characters(tag, whole)]
    for name in ("lines", "sequences"):
        yield (
            f"repeated_{name}",
            [
                {"tag": tag, "times": times, "text": text}
                for tag in whole.tags
                for times, text in whole.tallies.repeated(tag, name)[:SHOWN_LINES]
            ],
        )
    yield "clusters", _clusters(whole, found)
    yield "personal", _personal(whole)
    yield "sources", _sources(whole)
    yield "domains", _domains(whole)
    if recipe.clean.filters:
        yield "dropped", _dropped(whole, recipe, found)
        yield "limits", _limits(found)


def samples(whole: Overview) -> Rows:
    """Return the sample of every language and flag: of all pieces' texts the lowest hashes."""
    merged: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for part in whole.parts:
        for row in disk.read_jsonl(part / survey.SAMPLES):
            merged.setdefault((row["lang"], row["of"]), {}).setdefault(row.pop("rank"), row)
        for (_, flag), known in merged.items():
            for rank in sorted(known)[survey.SAMPLE[flag] :]:
                del known[rank]
    return [known[rank] for _, known in sorted(merged.items()) for rank in sorted(known)]


def _languages(whole: Overview, recipe: InspectRecipe, found: Found) -> Rows:
    """Return one row a language: how much, how long, how clean, and what is kept."""
    counted = ["sentences", "words", "characters", "bytes"]
    counted += ["tokens"] if recipe.tokenizer else []
    faulty = ["not_nfc", "mixed_script_words", *cleaning.ODD]
    # Column by column, so that never more than a few are in memory.
    sums = {
        name: {tag: int(own.sum()) for tag, own in whole.by_language(name).items()}
        for name in (*counted, *faulty)
    }
    kept = found.reason < 0
    size = whole.column("bytes")
    private = np.any([whole.column(kind) > 0 for kind in personal.KINDS], axis=0)
    counts = {
        name: {tag: int(own.sum()) for tag, own in whole.by_language(values).items()}
        for name, values in {
            "documents": np.ones(len(kept), dtype=np.int64),
            "exact": found.exact,
            "near": found.near,
            "kept": kept,
            "bytes_kept": np.where(kept, size, 0),
            "private": private,
            "contaminated": whole.column("contaminated") > 0,
        }.items()
    }
    letters, shares = whole.by_language("letters"), whole.by_language("own_script_share")
    lengths = {
        tag: np.quantile(own, LENGTHS, method="inverted_cdf").astype(int).tolist()
        for tag, own in whole.by_language("characters").items()
    }
    alike = Counter(
        {
            tag: sum(row["documents"] for row in rows if row["agrees"])
            for tag, rows in itertools.groupby(_confusion(whole), lambda row: row["declared"])
        }
    )
    licences = _licences(whole)
    openings = whole.rows(list(whole.first.values()), ["opening"])
    rows = []
    for tag in whole.tags:
        low, middle, high = lengths[tag]
        documents = counts["documents"][tag]
        own_script = (shares[tag].astype(np.float64) * letters[tag]).sum()
        known = tag not in identify.unknown_to_detector()
        row = {
            "tag": tag,
            "language": languages.get(tag).name,
            "documents": documents,
            **{name: sums[name][tag] for name in counted},
            "bytes_per_character": sums["bytes"][tag] / max(1, sums["characters"][tag]),
            "characters_p10": low,
            "characters_median": middle,
            "characters_p90": high,
            "share_own_script": float(own_script / max(1, letters[tag].sum())),
            "mixed_script_words": sums["mixed_script_words"][tag],
            "mixed_script_examples": whole.tallies.examples(tag, "mixed"),
            "not_nfc": sums["not_nfc"][tag],
            "control_characters": sums["control"][tag],
            "unassigned_characters": sums["unassigned"][tag],
            "private_characters": sums["private_use"][tag],
            "replacement_characters": sums["replacement"][tag],
            "mojibake": sums["mojibake"][tag],
            "share_detected_alike": alike[tag] / documents if known else None,
            "exact_duplicates": counts["exact"][tag],
            "near_duplicates": counts["near"][tag],
            "documents_with_personal_data": counts["private"][tag],
            "contaminated_documents": counts["contaminated"][tag],
        }
        if recipe.clean.filters:
            row["documents_kept"] = counts["kept"][tag]
            row["bytes_kept"] = counts["bytes_kept"][tag]
        row["licences"] = licences[tag]
        row["sample"] = openings[whole.first[tag]]["opening"]
        rows.append(row)
    return rows


def _licences(whole: Overview) -> dict[str, str]:
    """Return each language's three commonest licences with their documents, in words."""
    counted: dict[str, Counter[str]] = {tag: Counter() for tag in whole.tags}
    for (tag, licence), (documents, _) in sorted(whole.grouped("lang", "licence").items()):
        counted[tag][licence or "not stated"] += documents
    return {
        tag: "; ".join(f"{name} ({count:,})" for name, count in own.most_common(3))
        for tag, own in counted.items()
    }


def _signals(whole: Overview) -> Rows:
    """Return the distribution of every signal in every language, as quantiles."""
    rows = []
    for name in (*signals.SIGNALS, "own_script_share", "frequent_word_share"):
        for tag, own in whole.by_language(name).items():
            points = np.quantile(own.astype(np.float64), QUANTILES)
            row = {"tag": tag, "signal": name, "mean": float(own.mean(dtype=np.float64))}
            row |= {
                f"p{share * 100:g}": float(value)
                for share, value in zip(QUANTILES, points, strict=True)
            }
            rows.append(row)
    return rows


def _confusion(whole: Overview) -> Rows:
    """Return documents by declared and detected language."""
    found = whole.grouped("lang", "detected")
    return [
        {
            "declared": declared,
            "detected": detected or "none",
            "documents": documents,
            "agrees": identify.agrees(declared, detected),
        }
        for (declared, detected), (documents, _) in sorted(
            found.items(), key=lambda item: (item[0][0], -item[1][0], item[0][1])
        )
    ]


def _characters(tag: str, whole: Overview) -> Rows:
    """Return a language's commonest characters, and every one that no text should have."""
    counts = {int(point): count for point, count in whole.tallies.characters[tag].items()}
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    odd = [item for item in ranked[SHOWN_CHARACTERS:] if _is_odd(item[0])]
    return [
        {
            "tag": tag,
            "character": chr(point) if chr(point).isprintable() else "",
            "code_point": f"U+{point:04X}",
            "name": unicodedata.name(chr(point), "no name"),
            "category": unicodedata.category(chr(point)),
            "count": count,
            "share": count / total,
            "odd": _is_odd(point),
        }
        for point, count in (*ranked[:SHOWN_CHARACTERS], *odd[:SHOWN_CHARACTERS])
    ]


def _is_odd(point: int) -> bool:
    category = unicodedata.category(chr(point))
    return (category in ("Cc", "Cn", "Co") and chr(point) not in "\n\r\t") or point == 0xFFFD


def _clusters(whole: Overview, found: Found) -> Rows:
    """Return the largest clusters of near-duplicates, with their first members to look at."""
    largest = [
        (cluster, len(members), members[:SHOWN_MEMBERS].tolist())
        for cluster, members in duplicates.largest(found.cluster, SHOWN_CLUSTERS)
    ]
    shown = [member for _, _, members in largest for member in members]
    columns = whole.rows(shown, ["id", "source", "opening"])
    return [
        {
            "cluster": cluster,
            "members": size,
            "document": member,
            "tag": whole.tags[whole.lang[member]],
            **columns[member],
            "exact": bool(found.exact[member]),
        }
        for cluster, size, members in largest
        for member in members
    ]


def _personal(whole: Overview) -> Rows:
    return [
        {
            "tag": tag,
            "kind": kind,
            "documents": int((own > 0).sum()),
            "findings": int(own.sum()),
            "masked_examples": whole.tallies.examples(tag, kind),
        }
        for kind in personal.KINDS
        for tag, own in whole.by_language(kind).items()
    ]


def _sources(whole: Overview) -> Rows:
    """Return documents and bytes by language, source and licence."""
    place = {tag: number for number, tag in enumerate(whole.tags)}
    found = whole.grouped("lang", "source", "licence")
    return [
        {"tag": tag, "source": source, "licence": licence, "documents": documents, "bytes": size}
        for (tag, source, licence), (documents, size) in sorted(
            found.items(), key=lambda item: (place[item[0][0]], -item[1][1], item[0])
        )
    ]


def _domains(whole: Overview) -> Rows:
    """Return the top tenth of all hosts, the largest first."""
    found = {host: totals for (host,), totals in whole.grouped("domain").items() if host}
    ranked = sorted(found, key=lambda host: (-found[host][1], host))
    return [
        {
            "domain": host,
            "documents": found[host][0],
            "bytes": found[host][1],
            "of_domains": len(ranked),
        }
        for host in ranked[: int(np.ceil(len(ranked) * TOP_DOMAINS))]
    ]


def _dropped(whole: Overview, recipe: InspectRecipe, found: Found) -> Rows:
    sizes, reasons = whole.by_language("bytes"), whole.by_language(found.reason)
    rows = []
    for tag in whole.tags:
        for name in recipe.clean.filters:
            gone = reasons[tag] == FILTERS.index(name)
            rows.append(
                {
                    "tag": tag,
                    "reason": name,
                    "documents": int(gone.sum()),
                    "bytes": int(sizes[tag][gone].sum()),
                    "share": float(gone.mean()),
                }
            )
    return rows


def _limits(found: Found) -> Rows:
    return [
        {
            "tag": tag,
            "signal": one.signal,
            "low": one.low if np.isfinite(one.low) else None,
            "high": one.high if np.isfinite(one.high) else None,
        }
        for tag, own in found.limits.items()
        for one in own
    ]
