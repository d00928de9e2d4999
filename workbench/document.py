"""A model card and a data summary, drafted from the records of a run and from nothing else.

Every field is one of three things: filled from a record, to be attested by a person, or not
stated. Evidence is never turned into an attestation. The fields follow the Code of Practice's
model documentation form and the AI Office's summary of training content; they are a list of
fields, not the official wording, and each document says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workbench import cleaning, disk, energy, languages
from workbench import run as runs
from workbench.errors import UserError
from workbench.recipe import InspectRecipe, PretrainRecipe

FOLDER = "documents"
OPTIMIZERS = {"adamw": "AdamW", "muon": "Muon for the layers' matrices and AdamW for the rest"}
NOTICE = (
    "Drafted from the records of a run. The fields follow public forms under Regulation (EU) "
    "2024/1689; their wording is not the official one. A person checks every line against the "
    "official text and attests what is marked before this is used."
)
SIZE_BANDS = (
    (500e6, "1-500M"),
    (5e9, "500M-5B"),
    (15e9, "5-15B"),
    (50e9, "15-50B"),
    (100e9, "50-100B"),
    (500e9, "100-500B"),
    (1e12, "500B-1T"),
    (float("inf"), ">1T"),
)
TEXT_BANDS = (
    (1e9, "less than 1 billion tokens"),
    (1e13, "1 billion to 10 trillion tokens"),
    (float("inf"), "more than 10 trillion tokens"),
)
Status = Literal["filled", "to be attested", "not stated"]


@dataclass(frozen=True)
class Field:
    """One line of a document, and where its value comes from."""

    section: str
    name: str
    value: str
    status: Status
    source: str = ""
    """The key of the record that the value was read from."""


def write(run: runs.Run) -> list[Path]:
    """Write model card, data summary and their fields for a finished pretraining run.

    Adapters and evaluations that name the run among their inputs are taken in.

    Returns:
        The paths of the documents, below ``runs/documents/``.

    Raises:
        UserError: the run is of another kind, or is not finished.
    """
    if run.path.parent.name != "pretrain":
        raise UserError(f"documents are made of a pretraining run, {run.reference} is not one")
    if not run.finished:
        raise UserError(f"{run.reference} is not finished; workbench resume {run.reference}")
    folder = runs.root() / FOLDER / run.path.parent.name / run.path.name
    folder.mkdir(parents=True, exist_ok=True)
    related = _related(run)
    written = []
    for name, title, fields, tables in (
        ("model-card", f"Model card: {run.path.name}", _model(run, related), _results(related)),
        ("data-summary", f"Training data: {run.path.name}", _data(run), _languages(run)),
    ):
        disk.write_text(folder / f"{name}.md", _markdown(title, fields, tables))
        disk.write_json(folder / f"{name}.json", [vars(field) for field in fields])
        written.append(folder / f"{name}.md")
    return written


def _related(run: runs.Run) -> list[runs.Run]:
    """Return the finished runs that were made from exactly this state of ``run``."""
    checksum = disk.sha256(run.path / disk.MANIFEST)
    return [
        other
        for other in runs.every()
        if other.finished and other.record["asked"]["inputs"].get(run.reference) == checksum
    ]


def _model(run: runs.Run, related: Sequence[runs.Run]) -> list[Field]:
    asked, happened, provenance = (run.record[part] for part in ("asked", "happened", "provenance"))
    wanted = asked["recipe"]
    config = disk.read_json(run.path / "model" / "config.json")
    weights = disk.read_json(run.path / disk.MANIFEST)["files"]["model/model.safetensors"]
    hardware = provenance["hardware"]
    files = f"{hardware['processor']}, {hardware['cores']} cores"
    count = happened["parameters"]
    dependencies = ", ".join(asked["inputs"]) or "none"
    made = [one.reference for one in related]

    def filled(section: str, name: str, value: object, source: str) -> Field:
        return Field(section, name, str(value), "filled", source)

    def attest(section: str, name: str) -> Field:
        return Field(section, name, "", "to be attested")

    def unstated(section: str, name: str) -> Field:
        return Field(section, name, "", "not stated")

    return [
        filled("Header", "last updated", happened["ended"][:10], "happened.ended"),
        unstated("General", "legal name of the provider"),
        filled("General", "model name", wanted["name"], "asked.recipe.name"),
        filled("General", "authenticity: SHA-256 of the weights", weights, "MANIFEST.json"),
        unstated("General", "release date"),
        attest("General", "date on the Union market"),
        filled("General", "dependencies", dependencies, "asked.inputs"),
        filled(
            "Properties",
            "architecture",
            f"{config['architectures'][0]}, dense decoder, {config['num_hidden_layers']} layers, "
            f"width {config['hidden_size']}",
            "model/config.json",
        ),
        filled("Properties", "parameters", f"{count:.2g} ({count:,})", "happened.parameters"),
        filled("Properties", "size range", _band(count, SIZE_BANDS), "happened.parameters"),
        filled(
            "Properties",
            "input and output",
            f"text, at most {config['max_position_embeddings']:,} tokens together",
            "model/config.json",
        ),
        unstated("Distribution", "channels"),
        unstated("Distribution", "licence"),
        attest("Use", "acceptable use policy"),
        attest("Use", "intended and restricted uses"),
        attest("Use", "type and nature of systems"),
        filled(
            "Use",
            "software",
            ", ".join(f"{name} {version}" for name, version in provenance["packages"].items()),
            "provenance.packages",
        ),
        filled("Training", "question", wanted["why"], "asked.recipe.why"),
        filled(
            "Training",
            "design",
            f"{wanted['train']['steps']} steps of {wanted['train']['batch']} sequences of "
            f"{wanted['train']['sequence']} tokens, {OPTIMIZERS[wanted['train']['optimizer']]}, "
            f"schedule {wanted['train']['schedule']}, "
            f"peak rate {wanted['train']['learning_rate']:g}, {happened['precision']}",
            "asked.recipe.train",
        ),
        *_ladder(happened),
        *(
            [filled("Training", "curriculum", _curriculum(run), "happened.phases")]
            if "phases" in happened
            else []
        ),
        attest("Training", "rationale of decisions"),
        filled("Training", "vocabulary gate", _gate(happened["gate"]), "happened.gate"),
        filled("Compute", "wall clock", f"{happened['seconds']:.0f} s", "happened.seconds"),
        filled("Compute", "hardware", files, "provenance.hardware"),
        filled("Compute", "training FLOP", f"{happened['flops']:.2g}", "happened.flops"),
        filled(
            "Compute",
            "method",
            "6 per multiplied weight and token, 12 x layers x width x sequence for attention "
            "(arXiv 2204.02311); validation left out",
            "happened.flops_per_token",
        ),
        filled("Compute", "tokens trained on", f"{happened['tokens']:,}", "happened.tokens"),
        _energy(happened.get("energy")),
        filled("Record", "commit", _commit(provenance), "provenance.git"),
        filled("Record", "runs that build on it", ", ".join(made) or "none", "asked.inputs"),
    ]


def _ladder(happened: dict[str, Any]) -> list[Field]:
    """Say what was trained to predict the model, where that was done."""
    if "ladder" not in happened:
        return []
    *rungs, model = happened["ladder"]["sizes"]
    spent = happened["ladder"]["flops"] - happened["flops"]
    value = f"{', '.join(rungs)} were trained first to predict {model}, with {spent:.2g} FLOP"
    return [Field("Training", "scaling ladder", value, "filled", "happened.ladder")]


def _curriculum(run: runs.Run) -> str:
    """Say how long each phase lasted, what it read and how it mixed languages."""
    recipe = run.recipe
    assert isinstance(recipe, PretrainRecipe)
    told = []
    for phase, happened in zip(recipe.phases(), run.record["happened"]["phases"], strict=True):
        assert phase.mix is not None
        assert phase.data is not None
        told.append(
            f"{happened['steps']} steps of {', '.join(phase.data.sources)}, "
            f"mix {phase.mix.strategy}"
        )
    return "; then ".join(told)


def _energy(record: dict[str, Any] | None) -> Field:
    """Say what the run took, how that is known, and what is within the number."""
    name = "training energy"
    if record is None:
        return Field("Energy", name, "N/A: it was not measured", "not stated")
    word = "measured" if record["measured"] else "an estimate"
    value = (
        f"{energy.told(record['joules'])}, {word} over all sessions of the run: "
        f"{record['source']}; boundary: {record['boundary']}"
    )
    return Field("Energy", name, value, "filled", "happened.energy")


def _gate(judgements: Sequence[dict[str, Any]]) -> str:
    """Say for which languages the vocabulary fell short, and why that was accepted."""
    short = [one for one in judgements if one["verdict"] != "pass"]
    if not short:
        return f"passed for all {len(judgements)} languages"
    return (
        f"passed for {len(judgements) - len(short)} of {len(judgements)} languages; "
        + "; ".join(
            f"{one['language']} ({one['verdict']}): {one['reason']}"
            + (f", accepted: {one['accepted']}" if one["accepted"] else "")
            for one in short
        )
    )


def _data(run: runs.Run) -> list[Field]:
    happened = run.record["happened"]
    inspections = _inspections(run)
    sources = _origins(run, inspections)
    tokens = sum(counts["train"] for counts in happened["tokens_packed"].values())
    kinds = {
        "synthetic": [one["source"] for one in sources if one.get("origin") == "synthetic"],
        "hub": [one["source"] for one in sources if "revision" in one],
        "files": [one["source"] for one in sources if one.get("files")],
    }
    named = ", ".join(languages.get(tag).name for tag in happened["documents"])
    hub = ", ".join(
        f"{one['source']} at revision {one['revision']}" for one in sources if "revision" in one
    )
    files = sum(len(one.get("files", [])) for one in sources)
    absent = "none among the sources of the record"
    filled: Status = "filled"
    return [
        Field("General", "last updated", happened["ended"][:10], filled, "happened.ended"),
        Field("1.1", "provider and contact", "", "not stated"),
        Field("1.2", "model", run.path.name, filled, "asked.recipe.name"),
        Field("1.2", "date on the Union market", "", "to be attested"),
        Field("1.3", "modality", "text", filled, "asked.recipe"),
        Field("1.3", "size", _band(tokens, TEXT_BANDS), filled, "happened.tokens_packed"),
        Field("1.3", "latest acquisition of data", "", "to be attested"),
        Field("1.3", "continuously trained", "", "to be attested"),
        Field("1.3", "languages", named, filled, "happened.documents"),
        Field("2.1", "public data sets", hub or absent, filled, "provenance.data"),
        Field("2.1", "local files", f"{files} files" if files else absent, filled, "provenance"),
        Field("2.2", "licensed and other private data", "", "to be attested"),
        Field("2.3", "crawlers", "", "to be attested"),
        Field("2.4", "data of users", "", "to be attested"),
        Field(
            "2.5",
            "synthetic data",
            ", ".join(kinds["synthetic"]) or "",
            filled if kinds["synthetic"] else "to be attested",
            "provenance.data",
        ),
        Field("3.1", "signatory of the Code of Practice", "", "to be attested"),
        Field("3.1", "opt-outs from text and data mining", "", "to be attested"),
        Field("3.2", "measures against illegal content", "", "to be attested"),
        Field(
            "3.3",
            "set aside as unreadable",
            f"{happened['faults']['total']} documents",
            filled,
            "happened.faults",
        ),
        *(
            Field(
                "3.3",
                f"curation by {one.reference}",
                _curation(one),
                filled,
                f"{one.reference}: happened.dropped",
            )
            for one in inspections
        ),
    ]


def _inspections(run: runs.Run) -> list[runs.Run]:
    """Return the inspections whose cleaned text the run was made from, the first one first.

    Raises:
        UserError: one has gone, or is another than the run was made from.
    """
    found: list[runs.Run] = []
    for reference, checksum in run.record["asked"]["inputs"].items():
        if not reference.startswith(f"{InspectRecipe.kind}/"):
            continue
        one = runs.find_finished(reference)
        if disk.sha256(one.path / disk.MANIFEST) != checksum:
            raise UserError(
                f"{run.reference} was made from an earlier {reference}, which has been replaced "
                "since, so that its record cannot tell where the text came from"
            )
        found += [earlier for earlier in (*_inspections(one), one) if earlier not in found]
    return found


def _origins(run: runs.Run, inspections: Sequence[runs.Run]) -> list[dict[str, Any]]:
    """Return the sources that the text was first read from, be it by an inspection."""
    between = {one.reference for one in inspections}
    found: list[dict[str, Any]] = []
    for one in (run, *inspections):
        for source in one.record["provenance"]["data"]:
            # A phase of clean text has its sources in common with the phases before it.
            known = source["source"] in between or source in found
            if not known and "used_for" not in source:
                found.append(source)
    return found


def _curation(inspection: runs.Run) -> str:
    happened, recipe = inspection.record["happened"], inspection.recipe
    assert isinstance(recipe, InspectRecipe)
    told = " ".join(cleaning.in_words(recipe.clean, happened["dropped"]))
    unread = happened["faults"]["total"]
    return f"{happened['documents']:,} documents were read and {unread:,} set aside. {told}"


def _results(related: Sequence[runs.Run]) -> list[str]:
    tables = []
    for one in related:
        if one.path.parent.name != "evaluate":
            continue
        lines = [
            f"## Bits per byte by language ({one.reference})",
            "",
            "| language | documents | base | 95 % interval | own adapter |",
            "|---|---:|---:|---|---:|",
        ]
        for row in one.read_result("languages"):
            adapter = row.get("adapter_bits_per_byte")
            few = "" if row["enough_documents"] else " (too few documents to rank)"
            lines.append(
                f"| {row['language']}{few} | {row['documents']} "
                f"| {row['base_bits_per_byte']:.3f} "
                f"| {row['base_low']:.3f} to {row['base_high']:.3f} "
                f"| {'not measured' if adapter is None else f'{adapter:.3f}'} |"
            )
        tables.append("\n".join(lines))
    return tables


def _languages(run: runs.Run) -> list[str]:
    happened = run.record["happened"]
    lines = [
        "## Text by language",
        "",
        "| language | documents | bytes | tokens | share of training |",
        "|---|---:|---:|---:|---:|",
    ]
    for tag, documents in happened["documents"].items():
        lines.append(
            f"| {languages.get(tag).name} | {sum(documents.values()):,} "
            f"| {sum(happened['text_bytes'][tag].values()):,} "
            f"| {sum(happened['tokens_packed'][tag].values()):,} "
            f"| {happened['shares'].get(tag, 0):.1%} |"
        )
    sources = ["## Sources", "", "| source | SHA-256 or revision | bytes |", "|---|---|---:|"]
    for source in run.record["provenance"]["data"]:
        entries = source.get("files") or [
            {
                "path": source["source"],
                "sha256": source.get("revision") or source.get("sha256", ""),
                "bytes": 0,
            }
        ]
        sources += [
            f"| {_inert(entry['path'])} | `{entry['sha256']}` | {entry['bytes'] or 'not stated'} |"
            for entry in entries
        ]
    return ["\n".join(lines), "\n".join(sources)]


def _markdown(title: str, fields: Sequence[Field], tables: Sequence[str]) -> str:
    lines = [f"# {_inert(title)}", "", NOTICE, "", "| section | field | value | status |"]
    lines.append("|---|---|---|---|")
    for field in fields:
        value = _inert(field.value) if field.value else f"*{field.status}*"
        lines.append(f"| {field.section} | {field.name} | {value} | {field.status} |")
    waiting = [field.name for field in fields if field.status == "to be attested"]
    lines += ["", f"A person has to attest: {'; '.join(waiting)}.", ""]
    return "\n".join([*lines, *("\n" + table + "\n" for table in tables)])


def _inert(text: str) -> str:
    """Return text that Markdown shows as it is, without markup, links or new table cells."""
    for character in "\\`*_[]|":
        text = text.replace(character, "\\" + character)
    return text.replace("<", "&lt;").replace("\n", " ")


def _band(amount: float, bands: Sequence[tuple[float, str]]) -> str:
    return next(name for limit, name in bands if amount < limit)


def _commit(provenance: dict[str, Any]) -> str:
    git = provenance["git"]
    if git is None:
        return "not from a checkout"
    return f"{git['commit']}{' with changes' if git['changed'] else ''}"
