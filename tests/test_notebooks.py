"""Every notebook runs as committed, offline, on one CPU, in little memory."""

import shutil

import nbformat
import pytest
from conftest import PROJECT
from nbclient import NotebookClient

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
MEMORY_LIMIT = 1.5e9
# Not by getrusage: what it says of a process includes the one that started it.
MEASURE = "from workbench import memory; print(memory.peak())"


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_series_is_complete():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(9)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_thin_and_stripped(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert len(code_cells(notebook)) <= 12
    assert "widgets" not in notebook.metadata
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None
        for word in ("def ", "class ", "for _ in", "while ", "lambda"):
            assert word not in cell.source, "logic belongs into the package"
    imports = [cell for cell in code_cells(notebook) if "from workbench import" in cell.source]
    assert len(imports) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_execute(series, tmp_path, path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    folder = tmp_path / "notebooks"
    shutil.copytree(PROJECT / "notebooks", folder)
    notebook = nbformat.read(path, 4)
    notebook.cells.append(nbformat.v4.new_code_cell(MEASURE))
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    assert int(notebook.cells[-1].outputs[0].text) < MEMORY_LIMIT
