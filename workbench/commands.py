"""The commands of the workbench as functions: the terminal and the notebooks call the same.

Every function here takes and returns plain things, and tells a user's mistake as a
:class:`~workbench.errors.UserError`. Heavy libraries load only when a command needs them.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from workbench import languages as registry
from workbench import monitor, processes, recipe, terminal
from workbench import run as runs
from workbench.errors import UserError, nearest

SERIES = ("inspect", "tokenizer", "pretrain", "adapt", "compare", "evaluate")
# What of a wide table, by its name or the kind of its run, fits beside each other; results() has
# all columns.
SHOWN = {
    "inspect": (
        "tag",
        "language",
        "documents",
        "documents_kept",
        "words",
        "bytes",
        "tokens",
        "share_detected_alike",
        "near_duplicates",
        "contaminated_documents",
    ),
    "tokenizer": (
        "tag",
        "language",
        "tokens_relative_to_english",
        "relative_low",
        "relative_high",
        "characters_per_token",
        "tokens_per_word",
        "single_byte_share",
        "verdict",
    ),
    "laws": (
        "tag",
        "language",
        "exponent",
        "exponent_low",
        "exponent_high",
        "predicted",
        "predicted_low",
        "predicted_high",
        "measured",
        "error_percent",
        "within",
    ),
}


def run(
    recipe_file: str | Path,
    *overrides: str,
    fresh: bool = False,
    quiet: bool = False,
    workers: int = 0,
    executor: Executor | None = None,
) -> runs.Run:
    """Carry a recipe out, or return its finished run.

    Args:
        recipe_file: path of the YAML, from here or from the project's folder.
        overrides: settings such as ``train.steps=50``.
        fresh: set an existing run of that name aside and begin anew.
        quiet: do not say where the result lies.
        workers: of an inspection: processes on this machine; 0 decides by the amount of text.
        executor: of an inspection: does the work in their place, on other machines if it likes.

    Raises:
        UserError: the recipe or what it builds upon is not right.
        Stopped: the run was interrupted and saved.
    """
    path = _recipe_path(recipe_file)
    wanted = processes.from_first(lambda: recipe.load(path, overrides))
    made = processes.begin(wanted, str(recipe_file), overrides, fresh)
    quiet = quiet or not processes.is_first()
    if made.finished:
        if not quiet:
            print(f"{made.reference}: finished before, reused from {_short(made.path)}")
        return made
    if (workers or executor) and not isinstance(wanted, recipe.InspectRecipe):
        print(f"{made.reference}: only inspections take workers; ignored", file=sys.stderr)
    _carry_out(made, wanted, workers, executor)
    if not quiet:
        seconds = made.record["happened"]["seconds"]
        print(f"{made.reference}: done in {seconds:.1f} s, {_short(made.path)}")
    return made


def resume(reference: str | Path) -> runs.Run:
    """Take up an unfinished run from its own resolved recipe; a finished one is returned as is.

    Raises:
        UserError: there is no such run.
    """
    found = runs.find(reference)
    wanted = found.recipe
    asked = found.record.get("asked", {})
    made = processes.begin(wanted, asked.get("recipe_file", ""), asked.get("overrides", ()))
    quiet = not processes.is_first()
    if made.finished:
        if not quiet:
            print(f"{made.reference}: is finished, nothing to resume")
        return made
    _carry_out(made, wanted)
    if not quiet:
        print(f"{made.reference}: done, {_short(made.path)}")
    return made


def stop(reference: str | Path) -> None:
    """Ask the process that writes a run to save and stop at its next step."""
    runs.request_stop(runs.find(reference))


def job(recipe_file: str | Path, *words: str, cluster: str) -> str:
    """Return the Slurm script that carries a recipe out on a cluster; nothing is submitted.

    Args:
        recipe_file: path of the YAML, from here or from the project's folder.
        words: settings such as ``train.steps=50``, and of the cluster, ``cluster.nodes=16``.
        cluster: a file in ``recipes/cluster/``, without its ending.

    Raises:
        UserError: the recipe or the cluster's file is not right.
    """
    from workbench import cluster as clusters

    own, settings = clusters.split(words)
    # A job is submitted from the project's folder; this may be written in that of the notebooks.
    found = _recipe_path(recipe_file)
    return clusters.script(clusters.load(cluster, own), found, settings, recipe_file)


def plan(
    subject: str | Path,
    *words: str,
    machine: str = "",
    gpus: int = 0,
    allocation: float = 0.0,
) -> str:
    """Return what a training takes, as text: FLOPs, memory, time, energy, duties.

    Args:
        subject: a pretraining recipe, a size such as ``base``, or a finished run, which is then
            held against its own plan.
        words: what to assume, such as ``tokens=10e12`` or ``mfu=0.45``, and a recipe's settings.
        machine: a name in the table of machines; empty plans no time and no energy.
        gpus: accelerators; 0 takes one node.
        allocation: GPU-hours as the machine bills them; adds what fits them.

    Raises:
        UserError: there is no such size, recipe, run or machine.
    """
    from workbench import plan as plans

    if (runs.root() / subject / runs.RECIPE).exists():
        if words or machine or gpus or allocation:
            raise UserError(f"{subject} is a run; its plan is that of its record, without settings")
        found = runs.find(subject)
        made = plans.of_run(found)
        return f"{plans.table(made)}\n\n{plans.comparison(made, found)}"
    assumed, settings = plans.split(words)
    here = _recipe_path(subject) if str(subject).endswith((".yaml", ".yml")) else subject
    return plans.table(plans.make(here, assumed, machine, gpus, settings), allocation)


def list_runs() -> str:
    """Return a table of all runs."""
    rows = [
        (
            one.reference,
            "finished" if one.finished else one.record.get("happened", {}).get("status", "?"),
            one.record.get("happened", {}).get("seconds"),
            one.record.get("happened", {}).get("started", "")[:16].replace("T", " "),
            one.record.get("asked", {}).get("recipe", {}).get("why", ""),
        )
        for one in runs.every()
    ]
    if not rows:
        return f"no runs in {_short(runs.root())} yet; 'make demo' makes the first ones"
    return terminal.table(rows, ("run", "status", "seconds", "started", "why"))


def show(reference: str | Path) -> str:
    """Return what a run asked, how it went and its results by language, as text."""
    found = runs.find(reference)
    record = found.record
    happened = record.get("happened", {})
    lines = [
        f"{found.reference}: {'finished' if found.finished else happened.get('status', '?')}",
        f"  why      {record.get('asked', {}).get('recipe', {}).get('why', '')}",
        f"  where    {_short(found.path)}",
        f"  started  {happened.get('started', '?')}{_took(happened)}",
    ]
    faults = happened.get("faults", {})
    if faults.get("total"):
        lines.append(f"  faults   {faults['total']:,} set aside, first: {faults['first'][0]}")
    dropped = happened.get("dropped", {})
    if dropped:
        reasons = ", ".join(f"{name} {count:,}" for name, count in dropped.items() if count)
        lines.append(
            f"  dropped  {sum(dropped.values()):,} of {happened['documents']:,} documents"
            + (f": {reasons}" if reasons else "")
        )
    if "train" in record.get("asked", {}).get("recipe", {}):
        now = monitor.Watch(found.path).look()
        # What is written at the end of a run has more of each language.
        table = "" if found.finished else monitor.by_language(now)
        lines[0] = f"{found.reference}: {now.status}"
        lines += [*monitor.screen(now), *filter(None, [monitor.next_command(now)])]
        lines += ["", table] if table else []
    for name in ("laws", "languages", "generations"):
        if (found.path / f"{name}.json").exists():
            rows = found.read_result(name)
            wanted = SHOWN.get(name, SHOWN.get(found.recipe.kind, ()))
            columns = [one for one in wanted if rows and one in rows[0]]
            lines += ["", result_table(rows, columns)]
    pictures = sorted((found.path / "figures").glob("*.png"))
    lines += ["", *(f"  picture  {_short(picture)}" for picture in pictures)]
    if (found.path / runs.REPORT).exists():
        lines.append(f"  report   {_short(found.path / runs.REPORT)}")
    return "\n".join(lines).rstrip()


def _took(happened: dict[str, Any]) -> str:
    """Say how long the sessions that have ended took, and how much memory."""
    seconds, memory = happened.get("seconds"), happened.get("peak_memory_bytes")
    return (f", {seconds:.1f} s" if seconds else "") + (
        f", peak memory {memory / 2**20:,.0f} MB" if memory else ""
    )


def results(reference: str | Path, *columns: str, table: str = "") -> Any:
    """Return a table of a run's results as a ``pandas.DataFrame``.

    Args:
        reference: the run, as ``kind/name``.
        columns: the ones to return; all where none is named.
        table: which of the run's tables; empty takes the main one, a row a language or text.

    Raises:
        UserError: there is no such run, it has no results, or no such table or column.
    """
    import pandas

    found = runs.find(reference)
    main = "generations" if found.recipe.kind == "compare" else "languages"
    tables = sorted(path.stem for path in found.path.glob("*.parquet"))
    if table and table not in tables:
        raise UserError(
            f"{found.reference} has no table {table!r}{nearest(table, tables)}; "
            f"it has {', '.join(tables) or 'none yet'}"
        )
    frame = pandas.DataFrame(found.read_result(table or main))
    known = [str(column) for column in frame]
    unknown = [column for column in columns if column not in known]
    if unknown:
        raise UserError(
            f"{found.reference} has no column {unknown[0]!r}{nearest(unknown[0], known)}; "
            f"it has {', '.join(known)}"
        )
    return frame[list(columns)] if columns else frame


def verify(reference: str | Path) -> list[str]:
    """Hold a run's files against its manifest; return a line for each that differs.

    Raises:
        UserError: there is no such run, or it is not finished.
    """
    return runs.verify(runs.find(reference))


def document(reference: str | Path) -> list[Path]:
    """Write the model card and the data summary of a run from its records; return their paths."""
    from workbench import document as documents

    return documents.write(runs.find(reference))


def report(reference: str | Path) -> Path:
    """Return the path of an inspection's report, a page of HTML that stands by itself.

    Raises:
        UserError: there is no such run, or it has no report.
    """
    found = runs.find(reference)
    path = found.path / runs.REPORT
    if not path.exists():
        raise UserError(
            f"{found.reference} has no report; an inspection writes one when it is finished"
        )
    return path


def languages(as_json: bool = False) -> str | list[dict[str, object]]:
    """Return the registry as a table with the data sets' coverage, or as plain values."""
    everyone = registry.all_languages()
    if as_json:
        return [language.to_dict() for language in everyone]
    rows = [
        (
            language.tag,
            language.bcp47,
            language.name,
            language.own_name,
            language.family,
            language.status,
            ",".join(language.countries),
            *(language.codes.get(data_set, "no data") for data_set in registry.DATA_SETS),
        )
        for language in everyone
    ]
    header = (
        *("tag", "BCP-47", "name", "own name", "family", "status", "countries"),
        *registry.DATA_SETS.values(),
    )
    missing = [
        f"{registry.DATA_SETS[data_set]}: {len(everyone) - len(tags)} of {len(everyone)} languages"
        + (f"; no data for {', '.join(tags)}" if tags else "")
        for data_set, tags in registry.coverage().items()
    ]
    return "\n".join([terminal.table(rows, header), "", *missing])


def lab() -> int:
    """Open JupyterLab on the notebooks; return its exit status."""
    notebooks = runs.home() / "notebooks"
    if not notebooks.is_dir():
        raise UserError(f"no notebooks in {runs.home()}; run this in the project's folder")
    return subprocess.call([sys.executable, "-m", "jupyter", "lab", str(notebooks)])


def demo() -> str:
    """Take the starter corpus through the whole series; return the summary table and the paths.

    Raises:
        UserError: the recipes are not there.
    """
    began = time.monotonic()
    made = {kind: run(f"recipes/{kind}/starter.yaml") for kind in SERIES}
    papers = document(made["pretrain"].reference)
    seconds = time.monotonic() - began
    peak = max(one.record["happened"]["peak_memory_bytes"] for one in made.values())
    return "\n".join(
        [
            "",
            summary(made),
            "",
            *(f"{kind:<10} {_short(one.path)}" for kind, one in made.items()),
            *(f"{'document':<10} {_short(paper)}" for paper in papers),
            *(
                f"{'picture':<10} {_short(picture)}"
                for one in made.values()
                for picture in sorted((one.path / "figures").glob("*.png"))
            ),
            "",
            f"{seconds:.0f} s now, peak memory {peak / 2**20:,.0f} MB when made.",
        ]
    )


def summary(made: dict[str, runs.Run]) -> str:
    """Return the series' table: documents, bytes a token, bits a byte before and after."""
    looked = {row["tag"]: row for row in made["inspect"].read_result("languages")}
    rows = [
        (
            row["language"],
            looked[row["tag"]]["documents"],
            row["bytes_per_token"],
            row["base_bits_per_byte"],
            row.get("adapter_bits_per_byte"),
        )
        for row in made["evaluate"].read_result("languages")
    ]
    header = ("language", "documents", "bytes/token", "bits/byte base", "bits/byte adapted")
    return terminal.table(rows, header)


def result_table(rows: list[dict[str, Any]], columns: Sequence[str] = ()) -> str:
    """Return result rows as text; long texts are cut to keep a line a line."""
    names = list(columns) or list(rows[0] if rows else ())
    cut = [
        [value[:60].replace("\n", " ") if isinstance(value, str) else value for value in picked]
        for picked in ([row.get(name) for name in names] for row in rows)
    ]
    return terminal.table(cut, names)


def _carry_out(
    made: runs.Run, wanted: recipe.Recipe, workers: int = 0, executor: Executor | None = None
) -> None:
    """Do the work of a run's kind, draw its pictures, report, and state how it ended."""
    from workbench import plots

    try:
        _make(made, wanted, workers, executor)
        if processes.is_first():
            plots.draw(made)
        if isinstance(wanted, recipe.InspectRecipe):
            from workbench import report as reports

            reports.write(made)
        made.finish()
        processes.leave()
    except KeyboardInterrupt:
        made.leave("stopped")
        raise
    except BaseException as fault:
        made.leave("stopped" if hasattr(fault, "exit_status") else "failed")
        if isinstance(fault, UserError) and processes.is_first():
            _remove_if_nothing_happened(made)
        raise


def _make(made: runs.Run, wanted: recipe.Recipe, workers: int, executor: Executor | None) -> None:
    match wanted:
        case recipe.InspectRecipe():
            from workbench import inspection

            inspection.make(made, wanted, workers, executor)
        case recipe.TokenizerRecipe():
            from workbench import vocabulary

            vocabulary.make(made, wanted)
        case recipe.PretrainRecipe():
            from workbench import pretrain

            pretrain.make(made, wanted)
        case recipe.AdaptRecipe():
            from workbench import adapt

            adapt.make(made, wanted)
        case recipe.EvaluateRecipe():
            from workbench import evaluate

            evaluate.make(made, wanted)
        case recipe.CompareRecipe():
            from workbench import compare

            compare.make(made, wanted)


def _remove_if_nothing_happened(made: runs.Run) -> None:
    """Take away a run that a mistake ended before it had made anything, so that the name is free.

    A quarantine file, a metric or a checkpoint is something; such a run stays.
    """
    left = {entry.name for entry in made.path.iterdir()}
    if left <= {runs.RECIPE, runs.RECORD}:
        for name in left:
            (made.path / name).unlink()
        made.path.rmdir()


def _recipe_path(recipe_file: str | Path) -> Path:
    path = Path(recipe_file)
    if path.exists() or path.is_absolute():
        return path
    return runs.home() / path


def _short(path: Path) -> str:
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except ValueError:
        return str(path)
