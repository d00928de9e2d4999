"""Check what Binder would build, without Docker and without a network: ``make binder-check``.

repo2docker renders the Dockerfile from ``binder/``. It exits with 0 even where it does not
understand the Python version and falls back to an old one, so its log and its Dockerfile are read
here. The files in ``binder/`` are then held against ``environment.yml``, ``constraints.txt`` and
``pyproject.toml``. Not checked: whether conda and pip can install what the files name; only a
build shows that.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "3.12"
# Earlier ones run commands hidden in a notebook's output (CVE-2026-42557, CVE-2026-102831).
JUPYTERLAB = Version("4.6.4")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
FALLBACK = "Python version unspecified"
PLATFORM = "linux/amd64"
BINDER, CONDA = "binder/environment.yml", "environment.yml"
CONSTRAINTS, PROJECT = "constraints.txt", "pyproject.toml"
LOCAL_FLAGS = ("-e", "--editable", "-r", "--requirement", "-c", "--constraint")


class FileFault(Exception):
    """A file is missing or cannot be read as what it should be; the message is the whole fault."""


@dataclass(frozen=True)
class Environment:
    """A conda environment file."""

    origin: str
    """What messages call the file."""
    conda: tuple[str, ...]
    """The lines for conda: ``python=3.12``."""
    pip: tuple[str, ...]
    """The lines for pip: ``torch==2.13.0+cpu``, ``-c constraints.txt``."""

    @property
    def python(self) -> str:
        """The line that chooses Python, or an empty string."""
        for line in self.conda:
            if _conda_name(line) == "python":
                return line
        return ""

    def requirements(self) -> dict[str, Requirement]:
        """Return what pip is asked for, by normalised name; options and paths are left out.

        Raises:
            FileFault: a line is no requirement.
        """
        found: dict[str, Requirement] = {}
        for line in self.pip:
            if line.startswith("-") or _is_local(line):
                continue
            try:
                requirement = Requirement(line)
            except InvalidRequirement:
                raise FileFault(f"{self.origin}: {line!r} is no requirement") from None
            found[canonicalize_name(requirement.name)] = requirement
        return found

    def named(self) -> dict[str, str]:
        """Return every package that the file names and how it names it, for conda or for pip."""
        names = {_conda_name(line): line for line in self.conda}
        return names | {name: str(entry) for name, entry in self.requirements().items()}


def read_text(root: Path, name: str) -> str:
    """Return the text of a file of the project.

    Raises:
        FileFault: there is no such file.
    """
    try:
        return (root / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileFault(f"{name}: the file is missing") from None


def read_environment(root: Path, name: str) -> Environment:
    """Read a conda environment file; the sections ``pip:`` in it are joined.

    Raises:
        FileFault: it is missing, no YAML, or has no list of dependencies.
    """
    try:
        content = yaml.safe_load(read_text(root, name))
    except yaml.YAMLError as fault:
        raise FileFault(f"{name}: not YAML: {' '.join(str(fault).split())}") from None
    lines = content.get("dependencies") if isinstance(content, dict) else None
    if not isinstance(lines, list):
        raise FileFault(f"{name}: has no list of dependencies")
    conda = tuple(line.strip() for line in lines if isinstance(line, str))
    sections = [line.get("pip") or [] for line in lines if isinstance(line, dict)]
    return Environment(name, conda, tuple(str(line).strip() for pip in sections for line in pip))


def read_constraints(root: Path) -> dict[str, Version]:
    """Return the tested version of every package, by normalised name.

    Raises:
        FileFault: the file is missing, or a line is not ``name==version``.
    """
    pins: dict[str, Version] = {}
    for number, line in enumerate(read_text(root, CONSTRAINTS).splitlines(), start=1):
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            raise FileFault(f"{CONSTRAINTS}:{number}: {line!r} is no requirement") from None
        version = _pin(requirement)
        if version is None:
            raise FileFault(f"{CONSTRAINTS}:{number}: {line!r} is not pinned with ==")
        pins[canonicalize_name(requirement.name)] = version
    return pins


def read_project(root: Path) -> dict[str, Any]:
    """Return the ``[project]`` table of ``pyproject.toml``.

    Raises:
        FileFault: it is missing or no TOML, or has no such table.
    """
    try:
        project = tomllib.loads(read_text(root, PROJECT)).get("project")
    except tomllib.TOMLDecodeError as fault:
        raise FileFault(f"{PROJECT}: not TOML: {fault}") from None
    if not isinstance(project, dict):
        raise FileFault(f"{PROJECT}: has no table [project]")
    return project


def check_python(root: Path) -> list[str]:
    """The Python version is spelled in the one way that repo2docker surely understands."""
    python = read_environment(root, BINDER).python
    faults = []
    if python != f"python={PYTHON}":
        faults.append(
            f"{BINDER}: Python must be spelled exactly 'python={PYTHON}', "
            f"{f'not {python!r}' if python else 'and is missing'}; "
            "repo2docker falls back silently otherwise"
        )
    allowed = read_project(root).get("requires-python", "")
    if not SpecifierSet(allowed).contains(f"{PYTHON}.0"):
        faults.append(f"{PROJECT}: requires-python {allowed!r} excludes Binder's {PYTHON}")
    return faults


def check_local_lines(root: Path) -> list[str]:
    """No line for pip refers to a file of the project; ``postBuild`` installs the package."""
    return [
        f"{BINDER}: {line!r} is a local line, which rebuilds the environment on every commit"
        for line in read_environment(root, BINDER).pip
        if _is_local(line)
    ]


def check_jupyterlab(root: Path) -> list[str]:
    """JupyterLab is raised above the one in Binder's frozen base."""
    requirement = read_environment(root, BINDER).requirements().get("jupyterlab")
    if requirement is None:
        return [f"{BINDER}: jupyterlab is not named; Binder's own is older than {JUPYTERLAB}"]
    version = _pin(requirement)
    if version is None or version < JUPYTERLAB:
        return [f"{BINDER}: {str(requirement)!r} does not ensure JupyterLab {JUPYTERLAB} or later"]
    return []


def check_pins(root: Path) -> list[str]:
    """Every runtime dependency is pinned for Binder, to the version that is tested."""
    constraints = read_constraints(root)
    environment = read_environment(root, BINDER)
    pinned = environment.requirements()
    faults = []
    for name, requirement in pinned.items():
        version = _pin(requirement)
        if version is None:
            faults.append(f"{BINDER}: {str(requirement)!r} is not pinned with ==")
        elif version.local == "cpu" and not any(CPU_INDEX in line for line in environment.pip):
            faults.append(f"{BINDER}: {name}=={version} needs --extra-index-url {CPU_INDEX}")
    for text in read_project(root).get("dependencies", []):
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        if name not in constraints:
            faults.append(f"{CONSTRAINTS}: {name}, of which {PROJECT} needs {text!r}, is missing")
        elif not wanted.specifier.contains(constraints[name], prereleases=True):
            faults.append(f"{CONSTRAINTS}: {name}=={constraints[name]} is not the {text!r} needed")
        if name not in pinned:
            faults.append(f"{BINDER}: {name}, a dependency in {PROJECT}, is missing")
    return faults


def check_agreement(root: Path) -> list[str]:
    """Both environment files and the constraints say the same of whatever they share."""
    constraints = read_constraints(root)
    environments = [read_environment(root, BINDER), read_environment(root, CONDA)]
    faults = []
    for environment in environments:
        for name, requirement in environment.requirements().items():
            version = _pin(requirement)
            tested = constraints.get(name)
            if tested is None:
                faults.append(f"{environment.origin}: {name} is not in {CONSTRAINTS}")
            elif version is not None and version.public != tested.public:
                faults.append(
                    f"{environment.origin}: {name} is {version}, {CONSTRAINTS} has {tested}"
                )
    binder, conda = (environment.named() for environment in environments)
    for name in sorted(binder.keys() & conda.keys()):
        if _bare(binder[name]) != _bare(conda[name]):
            faults.append(f"{CONDA} says {conda[name]!r}, {BINDER} says {binder[name]!r}")
    if "python" not in conda:
        faults.append(f"{CONDA}: Python is not named, {BINDER} has {PYTHON}")
    if not any(line.split() == ["-c", CONSTRAINTS] for line in environments[1].pip):
        faults.append(f"{CONDA}: the line '-c {CONSTRAINTS}' for pip is missing")
    return faults


def check_scripts(root: Path) -> list[str]:
    """``postBuild`` stops at the first failure, ``start`` hands over, and both can be run."""
    faults = []
    for name in ("binder/postBuild", "binder/start"):
        lines = [line.strip() for line in read_text(root, name).splitlines()]
        commands = [line for line in lines if line and not line.startswith("#")]
        if not os.access(root / name, os.X_OK):
            faults.append(f"{name}: is not executable (chmod +x {name})")
        if not lines or not lines[0].startswith("#!"):
            faults.append(f"{name}: the first line must name the shell: #!/bin/bash")
        if name.endswith("postBuild"):
            if not commands or re.fullmatch(r"set -[a-z]*e[a-z]*( .*)?", commands[0]) is None:
                faults.append(f"{name}: the first command must be 'set -e', or failures go unseen")
            faults += [
                f"{name}: {recipe} does not exist"
                for recipe in re.findall(r"recipes/\S+\.yaml", "\n".join(commands))
                if not (root / recipe).is_file()
            ]
        elif not commands or commands[-1] != 'exec "$@"':
            faults.append(f"{name}: the last line must be 'exec \"$@\"', or no session starts")
    return faults


def check_rendered(root: Path) -> list[str]:
    """repo2docker renders a Dockerfile with the Python version that was asked for."""
    status, dockerfile, log = render(root)
    if status != 0:
        said = log.strip().splitlines() or ["nothing"]
        return [f"repo2docker ended with status {status}: {said[-1]}"]
    return read_rendered(dockerfile, log)


def render(root: Path) -> tuple[int, str, str]:
    """Return repo2docker's exit status, the Dockerfile and the log; no engine is asked for."""
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "repo2docker"),
            *(f"--Repo2Docker.platform={PLATFORM}", "--no-build", "--debug", "."),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def read_rendered(dockerfile: str, log: str) -> list[str]:
    """Return what is wrong with a rendered ``dockerfile`` and the ``log`` beside it."""
    faults = []
    if FALLBACK in log:
        faults.append(f"repo2docker did not understand the Python version: {FALLBACK!r}")
    # File names stand there escaped: environment-2epy-2d3-2e12-2dlinux-2d64-2elock.
    plain = re.sub(r"-([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), dockerfile)
    bases = set(re.findall(r"environment\.py-(\d+\.\d+)-", plain))
    if bases != {PYTHON}:
        found = ", ".join(sorted(bases)) or "none"
        faults.append(f"Dockerfile: the frozen base must be Python {PYTHON}, found: {found}")
    install = dockerfile.find(f'env update -p ${{NB_PYTHON_PREFIX}} --file "{BINDER}"')
    copy = re.search(r"^COPY \S+ src/ ", dockerfile, flags=re.MULTILINE)
    if install < 0:
        faults.append(f"Dockerfile: {BINDER} is not installed")
    elif copy is not None and copy.start() < install:
        faults.append(f"Dockerfile: {BINDER} is installed anew on every commit (a local line?)")
    faults += [
        f"Dockerfile: {what} is missing"
        for what, line in (
            ("binder/postBuild", "RUN ./binder/postBuild"),
            ("binder/start", 'R2D_ENTRYPOINT="${REPO_DIR}/binder/start"'),
        )
        if line not in dockerfile
    ]
    return faults


CHECKS: dict[str, Callable[[Path], list[str]]] = {
    f"{BINDER} asks for exactly python={PYTHON}": check_python,
    f"{BINDER} has no local line for pip": check_local_lines,
    f"{BINDER} has JupyterLab {JUPYTERLAB} or later": check_jupyterlab,
    f"{BINDER} pins every dependency of {PROJECT}": check_pins,
    f"{BINDER}, {CONDA} and {CONSTRAINTS} agree": check_agreement,
    "binder/postBuild and binder/start keep their rules": check_scripts,
    f"repo2docker renders a Dockerfile with Python {PYTHON}": check_rendered,
}


def main(root: Path = ROOT) -> int:
    """Run all checks on the project in ``root``, print one line each, and return the status."""
    seen: set[str] = set()
    for what, check in CHECKS.items():
        try:
            faults = check(root)
        except FileFault as fault:
            faults = [str(fault)]
        if not faults:
            print(f"ok     {what}")
        # A file that is missing is a fault of several checks, and told once.
        for fault_line in [line for line in faults if line not in seen]:
            seen.add(fault_line)
            print(f"FAULT  {fault_line}")
    print(f"binder-check: {len(seen)} faults" if seen else "binder-check: all is well")
    return 1 if seen else 0


def _conda_name(line: str) -> str:
    """Return the package of a line for conda: ``conda-forge::python=3.12`` is ``python``."""
    return canonicalize_name(re.split(r"[\s=<>!~\[]", line.rpartition("::")[2], maxsplit=1)[0])


def _is_local(line: str) -> bool:
    if line.startswith(LOCAL_FLAGS):
        return True
    return not line.startswith("-") and (line.startswith((".", "/", "~")) or "file:" in line)


def _pin(requirement: Requirement) -> Version | None:
    """Return the one version that ``requirement`` allows, or ``None`` where it allows more."""
    specifiers = list(requirement.specifier)
    if len(specifiers) != 1 or specifiers[0].operator != "==" or "*" in specifiers[0].version:
        return None
    return Version(specifiers[0].version)


def _bare(line: str) -> str:
    """Return ``line`` as two files may be compared by it, without the local part of a version."""
    return re.sub(r"\s+", "", line).partition("+")[0].replace("==", "=").lower()


if __name__ == "__main__":
    sys.exit(main())
