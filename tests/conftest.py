"""A small house for the tests: the starter recipes in five languages, cut down to seconds."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1")

PROJECT = Path(__file__).parent.parent
SHARED = PROJECT.parent / "shared" / "data"
HOSTILE = "<img src=x onerror=\"document.title='run'\">"
# Three scripts, four families, and the two languages that the notebooks name.
TAGS = ["mlt_Latn", "fin_Latn", "eng_Latn", "ell_Grek", "kat_Geor"]
SMALLER = {
    "inspect": {"data": {"languages": TAGS}},
    "tokenizer": {"data": {"languages": TAGS}, "vocabulary": {"size": 800}},
    "pretrain": {
        "data": {"languages": TAGS},
        "train": {
            "steps": 24,
            "batch": 4,
            "sequence": 64,
            "precision": "fp32",
            # Timing a busy machine would compile in one test and not in the next.
            "compile": "never",
            # Sums in another order show least with it; Muon has tests of its own.
            "optimizer": "adamw",
            "learning_rate": 0.004,
            "decay": 0.2,
            "warmup": 4,
            "validate_every": 8,
            "validation_documents": 2,
            "checkpoint_every": 8,
        },
    },
    "adapt": {
        "data": {"languages": TAGS},
        "train": {
            "steps": 8,
            "batch": 4,
            "sequence": 64,
            "precision": "fp32",
            "compile": "never",
            "learning_rate": 0.003,
        },
    },
    "compare": {"languages": TAGS, "sampling": {"max_new_tokens": 12}},
    "evaluate": {"data": {"languages": TAGS}, "documents": 3, "resamples": 100},
}


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project folder with small recipes, and ``WORKBENCH_HOME`` set to it."""
    home = tmp_path_factory.mktemp("house")
    for kind, changes in SMALLER.items():
        source = PROJECT / "recipes" / kind / "starter.yaml"
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
        for key, value in changes.items():
            known = content.get(key)
            content[key] = {**known, **value} if isinstance(known, dict) else value
        target = home / "recipes" / kind / "starter.yaml"
        target.parent.mkdir(parents=True)
        target.write_text(yaml.safe_dump(content), encoding="utf-8")
    shutil.copytree(PROJECT / "recipes" / "cluster", home / "recipes" / "cluster")
    before = os.environ.get("WORKBENCH_HOME")
    os.environ["WORKBENCH_HOME"] = str(home)
    # Relative paths of recipes mean these small ones, in processes that tests start too.
    os.chdir(home)
    yield home
    os.chdir(PROJECT)
    if before is None:
        del os.environ["WORKBENCH_HOME"]
    else:
        os.environ["WORKBENCH_HOME"] = before


@pytest.fixture(scope="session")
def series(house: Path) -> Path:
    """The house with the whole series run once; tests read it and do not change it."""
    from workbench import commands

    for kind in commands.SERIES:
        commands.run(f"recipes/{kind}/starter.yaml", quiet=True)
    return house


@pytest.fixture(scope="session")
def inspected(house: Path) -> str:
    """An inspection of sound, planted and hostile documents, cleaned; tests only read it."""
    from workbench import commands, planted

    faulty = planted.write(house / "planted")
    hostile = house / "hostile.jsonl"
    sentence = "Nobody should have to be afraid of the text that he wants to read and to count."
    row = dict.fromkeys(("id", "source", "licence"), HOSTILE)
    text = f"{sentence} {HOSTILE} Write to anna.borg@water-board.mt about the ferry. </p></main>"
    lines = [row | {"lang": "en", "text": text, "url": f"https://water-board.mt/{HOSTILE}"}]
    # An id that is nothing but hostile, and a second document that only one filter dislikes.
    lines.append(
        row | {"lang": "en", "id": "$x$", "text": f"{HOSTILE} " * 12, "url": "http://a$b$.mt"}
    )
    hostile.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    filters = "characters,length,language,script,quality,repetition,contamination"
    run = commands.run(
        "recipes/inspect/starter.yaml",
        "name=inspected",
        f"data.sources=[starter, '{faulty.text}', '{hostile}']",
        f"contamination.sources=['{faulty.evaluation}']",
        f"clean.filters=[{filters},exact-duplicate,near-duplicate]",
        quiet=True,
    )
    return run.reference


@pytest.fixture
def empty_runs(tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for runs that no other test sees."""
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def printed(program: str, *words: str, **environment: str) -> str:
    """Run a program in a fresh Python; return what it printed."""
    path = os.pathsep.join(map(str, (PROJECT, PROJECT / "tests")))
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path} | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def expect_named(panel: Any) -> None:
    """Every control within a panel has a name, and says under the mouse what it is for."""
    import ipywidgets

    controls, left = [], [panel]
    while left:
        widget = left.pop()
        if isinstance(widget, ipywidgets.Box):
            left.extend(widget.children)
        elif not isinstance(widget, ipywidgets.HTML):
            controls.append(widget)
    assert len(controls) > 1
    for control in controls:
        assert control.description
        assert control.tooltip


@pytest.fixture
def cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call the command line in a process of its own, as a user does."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "workbench", *words],
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            check=False,
        )

    return call
