"""What an inspection found, as one page of HTML to read, print and hand on.

The page is a single file: figures are inlined, nothing is fetched, and no script runs. It is made
from the run's tables and figures alone. Texts are shown with personal data masked, because a page
travels further than the run.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench import cleaning, disk, identify, languages, personal, plots, render, samples
from workbench import run as runs
from workbench.recipe import InspectRecipe
from workbench.render import Said

# Of each language and of each flag, to read.
SHOWN_SAMPLES, SHOWN_FLAGGED, SAMPLE_CHARACTERS = 2, 6, 900
SHOWN_LINES, SHOWN_CLUSTERS, SHOWN_SOURCES = 3, 15, 400
Rows = Sequence[Mapping[str, Any]]


def write(run: runs.Run) -> Path:
    """Write the report of an inspection whose tables and figures are made; return its path."""
    facts = _Facts(run)
    sections = {name: (title, make(facts)) for name, (title, make) in SECTIONS.items()}
    shown = {name: (title, body) for name, (title, body) in sections.items() if body}
    title = f"What is in the text of {run.reference}"
    page = [
        render.heading(title, 1),
        render.paragraph(facts.recipe.why, "lead"),
        render.paragraph(_in_short(facts)),
        render.key_figures(_key_figures(facts)),
        render.contents({name: title for name, (title, _) in shown.items()}),
        *(render.heading(title, 2, name) + body for name, (title, body) in shown.items()),
    ]
    path = run.path / runs.REPORT
    disk.write_text(path, render.whole(title, "".join(page)))
    return path


class _Facts:
    """The tables of a run, read once."""

    def __init__(self, run: runs.Run) -> None:
        self.run = run
        recipe = run.recipe
        assert isinstance(recipe, InspectRecipe)
        self.recipe = recipe
        self.rows = run.read_result("languages")
        self.happened = run.record["happened"]
        self.cleaned = bool(recipe.clean.filters)

    def total(self, column: str) -> int:
        return sum(row[column] for row in self.rows)

    def picture(self, name: str, said: str, caption: str) -> str:
        """Return a figure of the run, or nothing where it has none of that name."""
        file = self.run.path / plots.FOLDER / f"{name}.svg"
        return render.picture(file.read_bytes(), said, caption) if file.exists() else ""


def _in_short(facts: _Facts) -> str:
    """Return what somebody with half a minute should know."""
    said = [
        f"{_count(facts.total('documents'), 'document')} in {_count(len(facts.rows), 'language')}, "
        f"{_size(facts.total('bytes'))} of text."
    ]
    without = facts.happened["languages_without_text"]
    if without:
        said.append(f"The recipe also asks for {_names(without)}, and there is no text in it.")
    set_aside = facts.happened["faults"]["total"]
    if set_aside:
        said.append(f"{_count(set_aside, 'row')} could not be read and were set aside.")
    if facts.cleaned:
        kept, documents = facts.total("documents_kept"), facts.total("documents")
        said.append(
            f"Cleaning kept {_percent(kept, documents)} of the documents and "
            f"{_percent(facts.total('bytes_kept'), facts.total('bytes'))} of the text."
        )
        counts = facts.happened["dropped"]
        if any(counts.values()):
            most = max(counts, key=lambda name: counts[name])
            said.append(
                f"The filter that dropped most is '{most}': {_count(counts[most], 'document')}."
            )
    else:
        said.append("Nothing was cleaned: the recipe names no filters.")
    return " ".join(said)


def _key_figures(facts: _Facts) -> dict[str, str]:
    documents = facts.total("documents")
    alike = [row for row in facts.rows if row["share_detected_alike"] is not None]
    judged = sum(row["documents"] for row in alike)
    agreeing = sum(row["documents"] * row["share_detected_alike"] for row in alike)
    found = {
        "languages": f"{len(facts.rows)}",
        "documents": f"{documents:,}",
        "of UTF-8 text": _size(facts.total("bytes")),
    }
    if facts.cleaned:
        found["of documents kept"] = _percent(facts.total("documents_kept"), documents)
    if judged:
        found["in the declared language"] = _percent(agreeing, judged)
    found["near-duplicates"] = _percent(facts.total("near_duplicates"), documents)
    found["documents with personal data"] = f"{facts.total('documents_with_personal_data'):,}"
    if facts.recipe.contamination.sources:
        found["contaminated documents"] = f"{facts.total('contaminated_documents'):,}"
    return found


def _amount(facts: _Facts) -> str:
    ranked = sorted(facts.rows, key=lambda row: row["bytes"])
    least, most = ranked[0], ranked[-1]
    said = f"{most['language']} has most text, {_size(most['bytes'])}"
    if len(ranked) > 1:
        said += f"; {least['language']} has least, {_size(least['bytes'])}"
        said += (
            f", one part in {most['bytes'] / max(1, least['bytes']):,.3g}. "
            "Bytes are not content: a Greek or Cyrillic letter takes two, a Georgian one three"
        )
    columns = {
        "documents": "documents",
        "sentences": "sentences",
        "words": "words",
        "characters": "characters",
        "bytes": "bytes",
        "tokens": "tokens",
        "bytes a character": "bytes_per_character",
        "documents kept": "documents_kept",
        "bytes kept": "bytes_kept",
    }
    return (
        render.paragraph(f"{said}.")
        + facts.picture(
            "text",
            "A dot for each language's amount of text, grouped by status; the table below has the "
            "numbers.",
            "Languages by their standing in the European Union, the largest of each first.",
        )
        + _by_language(facts.rows, columns, "Text by language")
    )


def _length(facts: _Facts) -> str:
    columns = {
        "characters, 10th percentile": "characters_p10",
        "median": "characters_median",
        "90th percentile": "characters_p90",
    }
    return (
        render.paragraph(
            "Very short documents are often menus and captions; very long ones, several texts in "
            "one. A language whose documents are far shorter than the others' teaches a model less "
            "about how texts hang together."
        )
        + facts.picture(
            "lengths",
            "The spread of the lengths of documents in each language, in characters and in words.",
            "The longest median at the top.",
        )
        + _by_language(facts.rows, columns, "Length of documents by language")
    )


def _letters(facts: _Facts) -> str:
    mixed = [row for row in facts.rows if row["mixed_script_words"]]
    odd = [row for row in facts.run.read_result("characters") if row["odd"]]
    said = (
        f"Words with letters of two scripts: {facts.total('mixed_script_words'):,}, in "
        f"{_count(len(mixed), 'language')}. Many are look-alikes, such as a Latin i in a Ukrainian "
        "word, which no reader sees and every tokenizer does. Documents not in Unicode "
        f"Normalization Form C: {facts.total('not_nfc'):,}; characters that no text should have: "
        f"{sum(row['count'] for row in odd):,}; traces of a wrong encoding: "
        f"{facts.total('mojibake'):,}."
    )
    body = render.paragraph(said) + facts.picture(
        "letters",
        "A heat map with numbers: letters of other scripts, words of two scripts, texts that are "
        "not composed, odd characters and mojibake in each language.",
        "Odd characters are control, unassigned, private-use and replacement characters.",
    )
    if mixed:
        rows = [
            [
                row["language"],
                row["mixed_script_words"],
                _text(row["mixed_script_examples"], row["tag"]),
            ]
            for row in sorted(mixed, key=lambda row: -row["mixed_script_words"])
        ]
        body += _folded("Words with letters of two scripts", rows, ("language", "words", "such as"))
    if odd:
        rows = [
            [identify.name(row["tag"]), *(row[key] for key in ("code_point", "name", "count"))]
            for row in odd
        ]
        header = ("language", "code point", "name", "times")
        body += _folded("Characters that no text should have", rows, header)
    return body


def _detection(facts: _Facts) -> str:
    counts = facts.run.read_result("confusion")
    others = [row for row in counts if not row["agrees"]]
    known = set(identify.labels())
    against = [row for row in others if row["declared"] in known]
    groups = "; ".join(
        ", ".join(sorted(map(identify.name, group))) for group in map(sorted, identify.LOOK_ALIKES)
    )
    said = (
        "Documents taken for another language than the declared one: "
        f"{sum(row['documents'] for row in against):,}. Not counted are languages that the "
        f"detector cannot tell apart: {groups}."
    )
    unknown = facts.happened["unknown_to_detector"]
    if unknown:
        said += f" The detector does not know {_names(unknown)}, and calls it something else."
    body = render.paragraph(said) + facts.picture(
        "confusion",
        "A matrix of declared against detected languages, in per cent; look-alikes are boxed.",
        "Rows are what the source says, columns what the detector says.",
    )
    if against:
        total = {row["tag"]: row["documents"] for row in facts.rows}
        rows = [
            [
                identify.name(row["declared"]),
                identify.name(row["detected"]),
                row["documents"],
                Said(_percent(row["documents"], total[row["declared"]]), number=True),
            ]
            for row in sorted(against, key=lambda row: -row["documents"])
        ]
        header = ("declared", "detected", "documents", "of the declared")
        body += _folded("Documents taken for another language", rows, header)
    return body


def _duplicates(facts: _Facts) -> str:
    settings = facts.recipe.duplicates
    said = (
        f"Documents that say the same as an earlier one of their language: "
        f"{facts.total('exact_duplicates'):,} word for word, {facts.total('near_duplicates'):,} "
        "nearly so or word for word. "
        f"Near are texts that share most sequences of {settings.shingle} words: of pairs with a "
        f"Jaccard index of 0.8, {100 * settings.chance(0.8):.0f} % are found (MinHash, "
        f"{settings.bands} bands of {settings.rows} rows)."
    )
    body = render.paragraph(said) + facts.picture(
        "duplicates",
        "Bars of the share of documents in each language that came before.",
        "The first document of its kind is not counted.",
    )
    by_cluster = itertools.groupby(facts.run.read_result("clusters"), lambda row: row["cluster"])
    clusters = [
        [
            f"{number}",
            row["members"],
            identify.name(row["tag"]),
            row["id"],
            row["source"],
            _text(row["opening"], row["tag"]),
        ]
        for number, (_, own) in enumerate(
            itertools.islice(by_cluster, SHOWN_CLUSTERS),
            start=1,
        )
        for row in own
    ]
    if clusters:
        header = ("cluster", "members", "language", "document", "source", "begins")
        body += _folded("The largest clusters of near-duplicates", clusters, header)
    lines = [
        [identify.name(tag), row["times"], _text(row["text"], tag)]
        for tag, own in itertools.groupby(
            facts.run.read_result("repeated_lines"), lambda row: row["tag"]
        )
        for row in itertools.islice(own, SHOWN_LINES)
    ]
    if lines:
        body += _folded("Lines that come again most often", lines, ("language", "times", "line"))
    return body


def _quality(facts: _Facts) -> str:
    filtered = "quality" in facts.recipe.clean.filters
    return (
        render.paragraph(
            "Signals of Gopher and FineWeb, document by document. What is usual differs between "
            "languages: Finnish and Georgian words are long, and a limit that was found for "
            "English throws out good text of others."
            + (
                " The filter's limits are the common ones, or a language's own where more than a "
                "few of its documents lie beyond them."
                if filtered
                else ""
            )
        )
        + facts.picture(
            "quality",
            "Six panels with the spread of a quality signal in each language.",
            "All quantiles stand in the run's table signals.",
        )
        + facts.picture(
            "repetition",
            "Five panels with the spread of repeated text within documents, in each language.",
            "A document of fewer than "
            f"{cleaning.PROSE_WORDS} words is not judged by these: two equal words are half of it.",
        )
    )


def _cleaning(facts: _Facts) -> str:
    if not facts.cleaned:
        return ""
    said = cleaning.in_words(facts.recipe.clean, facts.happened["dropped"])
    rows: dict[str, dict[str, int]] = {}
    for row in facts.run.read_result("dropped"):
        rows.setdefault(row["tag"], {})[row["reason"]] = row["documents"]
    filters = facts.recipe.clean.filters
    documents = {row["tag"]: row for row in facts.rows}
    table = [
        [
            identify.name(tag),
            *(own[name] for name in filters),
            documents[tag]["documents_kept"],
            Said(_percent(documents[tag]["documents_kept"], documents[tag]["documents"]), "", True),
        ]
        for tag, own in rows.items()
    ]
    return (
        "".join(map(render.paragraph, said))
        + render.paragraph(
            "A document is dropped by the first filter that objects to it. What was dropped is not "
            "lost: it lies in the folder dropped/, each document with its reason."
        )
        + facts.picture(
            "dropped",
            "Bars of the share of documents that each filter dropped, in each language.",
            "The language that lost most at the top.",
        )
        + _folded("Documents dropped by language", table, ("language", *filters, "kept", "share"))
    )


def _private(facts: _Facts) -> str:
    findings = facts.run.read_result("personal")
    by_kind: Counter[str] = Counter()
    for row in findings:
        by_kind[row["kind"]] += row["findings"]
    counts = ", ".join(f"{kind} {count:,}" for kind, count in by_kind.items())
    body = render.paragraph(
        "Documents that seem to hold personal data: "
        f"{facts.total('documents_with_personal_data'):,}. Findings by kind: {counts}. Bank and "
        "card numbers are found by their check digits; names and addresses of people are not "
        "looked for."
    ) + facts.picture(
        "personal",
        "A heat map with the number of documents of every 10,000 with personal data, by kind.",
        "What is found may be a mistake: an address of an office is no secret.",
    )
    rows = [
        [
            identify.name(row["tag"]),
            row["kind"],
            row["documents"],
            row["findings"],
            row["masked_examples"],
        ]
        for row in findings
        if row["findings"]
    ]
    if rows:
        header = ("language", "kind", "documents", "findings", "masked examples")
        body += _folded("Personal data by language and kind", rows, header)
    return body


def _contamination(facts: _Facts) -> str:
    wanted = facts.recipe.contamination
    if not wanted.sources:
        return ""
    rows = [
        [row["language"], row["contaminated_documents"]]
        for row in facts.rows
        if row["contaminated_documents"]
    ]
    body = render.paragraph(
        f"Documents that share {wanted.words} words in a row with text that models are evaluated "
        f"on: {facts.total('contaminated_documents'):,}. A model that has read its examination "
        f"paper passes it. Evaluation sets: {', '.join(wanted.sources)}."
    )
    if rows:
        header = ("language", "documents")
        body += _folded("Contaminated documents by language", rows, header)
    return body


def _origin(facts: _Facts) -> str:
    origins = facts.run.read_result("sources")
    by_licence: Counter[str] = Counter()
    for row in origins:
        by_licence[row["licence"] or "not stated"] += row["bytes"]
    whole = by_licence.total()
    licences = [
        [licence, size, Said(_percent(size, whole), number=True)]
        for licence, size in by_licence.most_common()
    ]
    table = [
        [
            identify.name(row["tag"]),
            row["source"],
            row["licence"] or "not stated",
            row["documents"],
            row["bytes"],
        ]
        for row in origins
    ]
    said = f"{_count(len({row['source'] for row in origins}), 'source')} under " + _count(
        len(by_licence), "licence"
    )
    if by_licence["not stated"]:
        said += f"; {_percent(by_licence['not stated'], whole)} of the text states none"
    body = render.paragraph(f"{said}.") + facts.picture(
        "domains",
        "Bars of the web domains with the most text.",
        "The summary of training content that the EU's AI Act asks for names the largest tenth of "
        "domains.",
    )
    body += _folded("Licences", licences, ("licence", "bytes", "share"))
    header = ("language", "source", "licence", "documents", "bytes")
    shown = table[:SHOWN_SOURCES]
    left = len(table) - len(shown)
    body += _folded(f"Sources{f', without the last {left:,}' if left else ''}", shown, header)
    domains = facts.run.read_result("domains")
    if domains:
        rows = [[row["domain"], row["documents"], row["bytes"]] for row in domains[:SHOWN_SOURCES]]
        said = f"The largest {len(rows):,} of {domains[0]['of_domains']:,} domains"
        body += _folded(said, rows, ("domain", "documents", "bytes"))
    return body


def _reading(facts: _Facts) -> str:
    everything = samples.Samples(str(facts.run.path))
    drawn: dict[str, list[samples.Sample]] = {}
    for sample in everything.sampled:
        if sample.random and len(drawn.setdefault(sample.lang, [])) < SHOWN_SAMPLES:
            drawn[sample.lang].append(sample)
    objected = [
        render.folded(f"Filter: {flag}", "".join(map(_sample, own)))
        for flag, own in everything.examples(SHOWN_FLAGGED).items()
    ]
    by_language = [
        render.folded(f"{one.name} ({one.own_name})", "".join(map(_sample, drawn.get(one.tag, ()))))
        for one in map(languages.get, everything.languages)
    ]
    body = render.paragraph(
        "Nothing replaces reading. A wavy line marks words with letters of two scripts; characters "
        "that cannot be seen are shown by their numbers; personal data are masked."
    )
    if objected:
        body += render.heading("What a filter objects to", 3) + render.close(objected)
    return body + render.heading("Drawn at random", 3) + render.close(by_language)


def _sample(sample: samples.Sample) -> str:
    masked = sample.masked()
    shown = masked.beginning(SAMPLE_CHARACTERS)
    return render.sample(shown.text, _lang(sample.lang), shown.about(), shown.marks())


def _making(facts: _Facts) -> str:
    provenance = facts.run.record["provenance"]
    git = provenance.get("git") or {}
    made = {
        "begun": facts.happened["started"],
        "code": f"commit {git['commit']}{', with changes' if git['changed'] else ''}"
        if git
        else "not in a checkout",
        "Python": provenance["python"],
        "packages": ", ".join(
            f"{name} {version}" for name, version in provenance["packages"].items()
        ),
        "recipe": facts.run.record["asked"]["recipe_file"],
        "again": f"workbench run {facts.run.path.name}.yaml, with the recipe below as its content",
    }
    files = [
        [entry["path"], entry["bytes"], entry["sha256"]]
        for source in provenance.get("data", [])
        for entry in source.get("files", [])
    ]
    body = render.about(made) + render.verbatim(facts.recipe.to_yaml())
    if files:
        body += _folded("Files that were read", files, ("file", "bytes", "SHA-256"))
    return body


# A section's name in the page's address, its heading, and what makes it; empty ones are left out.
SECTIONS: Mapping[str, tuple[str, Callable[[_Facts], str]]] = {
    "amount": ("How much text", _amount),
    "length": ("How long documents are", _length),
    "letters": ("Letters and characters", _letters),
    "detection": ("Declared and detected language", _detection),
    "duplicates": ("Duplicates", _duplicates),
    "quality": ("Quality", _quality),
    "cleaning": ("What was dropped", _cleaning),
    "private": ("Personal data", _private),
    "contamination": ("Contamination", _contamination),
    "origin": ("Where it comes from", _origin),
    "reading": ("Texts to read", _reading),
    "making": ("How this was made", _making),
}


def _by_language(rows: Rows, columns: Mapping[str, str], caption: str) -> str:
    """Return a folded table of the columns that the run has."""
    present = {head: name for head, name in columns.items() if name in rows[0]}
    table = [[row["language"], *(row[name] for name in present.values())] for row in rows]
    return _folded(caption, table, ("language", *present))


def _folded(caption: str, rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    return render.folded(caption, render.table(rows, header, caption, named_rows=True))


def _names(tags: Iterable[str]) -> str:
    *most, last = map(identify.name, tags)
    return f"{', '.join(most)} and {last}" if most else last


def _text(text: str, tag: str) -> Said:
    """Return a cell with text from a corpus."""
    return Said(personal.mask(text), _lang(tag))


def _lang(tag: str) -> str:
    return languages.get(tag).bcp47


def _count(number: int, thing: str) -> str:
    """Return a number with its noun: ``1 word``, ``12 words``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _size(size: int) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size / 1e3:.3g} kB"


def _percent(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0
    if 0 < share < 0.05 or 99.95 <= share < 100:
        return "<0.1 %" if share < 1 else ">99.9 %"
    return f"{share:.1f} %"
