"""What ``make binder-check`` accepts, what it refuses, and the project's own Binder files."""

import importlib.util
from pathlib import Path

import pytest

import binder_check

ROOT = Path(__file__).resolve().parent.parent
STATIC = [
    check for check in binder_check.CHECKS.values() if check is not binder_check.check_rendered
]
FILES = {
    "pyproject.toml": """\
[project]
name = "sample"
requires-python = ">=3.11,<3.14"
dependencies = ["jupyterlab>=4.6.4", "torch>=2.9", "Some_Thing"]
""",
    "constraints.txt": """\
# What is tested.
jupyterlab==4.6.6
some-thing==1.0
torch==2.13.0
""",
    "environment.yml": """\
name: sample
channels: [conda-forge]
dependencies:
  - python=3.12
  - pip
  - pip:
      - -c constraints.txt
      - -e .[test]
""",
    "binder/environment.yml": """\
channels: [conda-forge]
dependencies:
  - python=3.12
  - pip
  - pip:
      - --extra-index-url https://download.pytorch.org/whl/cpu
      - jupyterlab==4.6.6
      - some.thing==1.0
      - torch==2.13.0+cpu
""",
    "binder/postBuild": """\
#!/bin/bash
# Runs once.
set -e

python -m pip install --no-deps -e .
workbench run \\
    recipes/inspect/starter.yaml
""",
    "binder/start": """\
#!/bin/bash
export OMP_NUM_THREADS=1
exec "$@"
""",
    "recipes/inspect/starter.yaml": "kind: inspect\n",
}
FALLBACK_LOG = (
    "Python version unspecified, using current default Python version 3.10. "
    "This will change in the future.Building conda environment for python=3.10\n"
)
DOCKERFILE = """\
FROM docker.io/library/buildpack-deps:24.04
COPY --chown=0:0 build_script_files/-2fconda-2fenvironment-2epy-2d3-2e12-2dlinux-2d64-2elock-fb35fe /tmp/env/environment.lock
COPY --chown=0:0 src/binder/environment.yml ${REPO_DIR}/binder/environment.yml
RUN bash -c 'time ${MAMBA_EXE} env update -p ${NB_PYTHON_PREFIX} --file "binder/environment.yml"'
COPY --chown=0:0 src/ ${REPO_DIR}/
RUN ./binder/postBuild
ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"
"""  # noqa: E501

needs_repo2docker = pytest.mark.skipif(
    importlib.util.find_spec("repo2docker") is None,
    reason="jupyter-repo2docker is not installed (make check installs it)",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project whose Binder files are right."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in ("binder/postBuild", "binder/start"):
        (tmp_path / name).chmod(0o755)
    return tmp_path


def change(project: Path, name: str, old: str, new: str) -> None:
    path = project / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def static_faults(root: Path) -> list[str]:
    """What every check but the rendering finds."""
    return [fault for check in STATIC for fault in check(root)]


def test_good_files_pass(project: Path) -> None:
    assert static_faults(project) == []


def test_a_good_rendering_passes() -> None:
    assert binder_check.read_rendered(DOCKERFILE, "Building conda environment\n") == []


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        # Forms of the version from which repo2docker falls back to another Python.
        ("binder/environment.yml", "python=3.12", "python>=3.12,<3.13", "'python>=3.12,<3.13'"),
        ("binder/environment.yml", "python=3.12", "python~=3.12", "'python~=3.12'"),
        ("binder/environment.yml", "python=3.12", "conda-forge::python=3.12", "conda-forge::"),
        ("binder/environment.yml", "python=3.12", "python=3.11", "not 'python=3.11'"),
        ("binder/environment.yml", "  - python=3.12\n", "", "and is missing"),
        ("pyproject.toml", ">=3.11,<3.14", ">=3.13,<3.14", "excludes Binder's 3.12"),
        # Local lines.
        ("binder/environment.yml", "some.thing==1.0", "-e ..", "'-e ..' is a local line"),
        ("binder/environment.yml", "some.thing==1.0", "--editable=.", "local line"),
        ("binder/environment.yml", "some.thing==1.0", "-c ../constraints.txt", "local line"),
        ("binder/environment.yml", "some.thing==1.0", "-r requirements.txt", "local line"),
        ("binder/environment.yml", "some.thing==1.0", "./wheels/a.whl", "local line"),
        ("binder/environment.yml", "some.thing==1.0", "a @ file:///tmp/a.whl", "local line"),
        # JupyterLab.
        ("binder/environment.yml", "jupyterlab==4.6.6", "jupyterlab==4.4.9", "4.6.4 or later"),
        ("binder/environment.yml", "jupyterlab==4.6.6", "jupyterlab>=4", "4.6.4 or later"),
        ("binder/environment.yml", "- jupyterlab==4.6.6", "- pytest==1", "not named"),
        # Pins.
        ("binder/environment.yml", "some.thing==1.0", "some.thing", "not pinned with =="),
        ("binder/environment.yml", "some.thing==1.0", "some.thing==1.*", "not pinned with =="),
        ("binder/environment.yml", "      - some.thing==1.0\n", "", "some-thing, a dependency"),
        ("binder/environment.yml", "--extra-index-url", "--find-links a #", "needs --extra-index"),
        ("constraints.txt", "some-thing==1.0\n", "", "is missing"),
        ("pyproject.toml", "Some_Thing", "Some_Thing>=2", "some-thing==1.0 is not the"),
        # Agreement.
        ("binder/environment.yml", "torch==2.13.0", "torch==2.12.1", "torch is 2.12.1+cpu"),
        ("constraints.txt", "torch==2.13.0", "torch==2.14.0", "constraints.txt has 2.14.0"),
        ("binder/environment.yml", "some.thing", "other", "other is not in constraints.txt"),
        ("environment.yml", "python=3.12", "python=3.11", "says 'python=3.11'"),
        ("environment.yml", "  - python=3.12\n", "", "Python is not named"),
        ("environment.yml", "  - pip\n", "  - pip=25\n", "says 'pip=25'"),
        ("environment.yml", "-e .[test]", "torch==2.12.1", "torch is 2.12.1"),
        ("environment.yml", "      - -c constraints.txt\n", "", "'-c constraints.txt'"),
        # Scripts.
        ("binder/postBuild", "set -e\n", "", "must be 'set -e'"),
        ("binder/postBuild", "# Runs once.\n", "echo early\n", "must be 'set -e'"),
        ("binder/postBuild", "#!/bin/bash\n", "", "must name the shell"),
        ("binder/postBuild", "inspect/", "inspekt/", "recipes/inspekt/starter.yaml does not"),
        ("binder/start", 'exec "$@"', "exec $@", "the last line must be"),
        ("binder/start", 'exec "$@"\n', 'exec "$@"\necho done\n', "the last line must be"),
    ],
)
def test_each_fault_is_told(project: Path, name: str, old: str, new: str, told: str) -> None:
    change(project, name, old, new)
    faults = static_faults(project)
    assert any(told in fault for fault in faults), faults
    assert all("\n" not in fault for fault in faults)


@pytest.mark.parametrize("name", ["binder/postBuild", "binder/start"])
def test_a_script_must_be_executable(project: Path, name: str) -> None:
    (project / name).chmod(0o644)
    assert static_faults(project) == [f"{name}: is not executable (chmod +x {name})"]


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"recipes/inspect/starter.yaml"}))
def test_a_missing_file_is_told_once(
    project: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / name).unlink()
    monkeypatch.setattr(binder_check, "render", lambda root: (0, DOCKERFILE, ""))
    assert binder_check.main(project) == 1
    assert capsys.readouterr().out.count(f"FAULT  {name}: the file is missing\n") == 1


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("environment.yml", "dependencies: [", "environment.yml: not YAML"),
        ("environment.yml", "name: sample\n", "no list of dependencies"),
        ("binder/environment.yml", "dependencies: [{pip: ['a b']}]", "'a b' is no requirement"),
        ("constraints.txt", "torch>=2\n", "constraints.txt:1: 'torch>=2' is not pinned"),
        ("constraints.txt", "\n= =\n", "constraints.txt:2: '= =' is no requirement"),
        ("pyproject.toml", "[project", "pyproject.toml: not TOML"),
        ("pyproject.toml", "[tool]\n", "no table [project]"),
    ],
)
def test_an_unreadable_file_is_one_line(
    project: Path,
    name: str,
    text: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (project / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(binder_check, "render", lambda root: (0, DOCKERFILE, ""))
    assert binder_check.main(project) == 1
    assert [line for line in capsys.readouterr().out.splitlines() if told in line]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("3-2e12", "3-2e10", "must be Python 3.12, found: 3.10"),
        ("environment-2epy", "environment-2erb", "found: none"),
        ("env update", "env skip", "is not installed"),
        ("RUN ./binder/postBuild\n", "", "binder/postBuild is missing"),
        ("R2D_ENTRYPOINT", "ENTRYPOINT", "binder/start is missing"),
        (
            "COPY --chown=0:0 src/binder",
            "COPY --chown=0:0 src/ x\nCOPY src/binder",
            "anew on every",
        ),
    ],
)
def test_each_fault_of_a_dockerfile_is_told(old: str, new: str, told: str) -> None:
    assert old in DOCKERFILE
    faults = binder_check.read_rendered(DOCKERFILE.replace(old, new), "")
    assert len(faults) == 1
    assert told in faults[0]


def test_the_silent_fallback_is_told() -> None:
    faults = binder_check.read_rendered(DOCKERFILE, FALLBACK_LOG)
    assert len(faults) == 1
    assert "Python version unspecified" in faults[0]


def test_a_failing_repo2docker_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binder_check, "render", lambda root: (1, "", "first\nNo module there\n"))
    assert binder_check.check_rendered(project) == [
        "repo2docker ended with status 1: No module there"
    ]


@needs_repo2docker
def test_repo2docker_renders_the_right_python(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert binder_check.main(project) == 0
    out = capsys.readouterr().out
    assert out.count("ok     ") == len(binder_check.CHECKS)
    assert out.endswith("binder-check: all is well\n")


@needs_repo2docker
@pytest.mark.parametrize(
    "version", ["python>=3.12,<3.13", "python~=3.12", "conda-forge::python=3.12"]
)
def test_repo2docker_falls_back_and_that_is_seen(
    project: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(project, "binder/environment.yml", "python=3.12", version)
    faults = binder_check.check_rendered(project)
    assert any("Python version unspecified" in fault for fault in faults)
    assert any("found: 3.10" in fault for fault in faults)
    assert binder_check.main(project) == 1
    assert "FAULT  " in capsys.readouterr().out


@needs_repo2docker
def test_a_local_line_is_seen_in_the_dockerfile(project: Path) -> None:
    change(project, "binder/environment.yml", "some.thing==1.0", "-e ..")
    assert any("anew on every commit" in fault for fault in binder_check.check_rendered(project))


def test_the_project_itself() -> None:
    assert static_faults(ROOT) == []


@needs_repo2docker
def test_the_project_itself_rendered() -> None:
    assert binder_check.check_rendered(ROOT) == []
