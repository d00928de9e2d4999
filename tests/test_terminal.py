import pytest
from conftest import printed

from workbench import terminal


def test_table_aligns_words_and_numbers():
    assert terminal.table([("Malti", 1.5), ("x", None)], ("name", "n")).splitlines() == [
        "name       n",
        "-----  -----",
        "Malti  1.500",
        "x          -",
    ]


@pytest.mark.parametrize(("rank", "said"), [("", 1), ("0", 1), ("1", 0)])
def test_of_several_processes_the_first_tells(monkeypatch, capsys, rank, said):
    if rank:
        monkeypatch.setenv("RANK", rank)
    else:
        monkeypatch.delenv("RANK", raising=False)
    progress = terminal.Progress("pretrain starter")
    progress.update("soon")
    progress.done("ready")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in lines] == ["pretrain starter: ready"] * said


SHELL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="nocolor")
"""


def test_a_notebook_is_told_on_standard_output_which_it_does_not_colour_as_a_fault():
    tell = "from workbench import terminal\nterminal.Progress('nano').update('ready', last=True)"
    assert printed(SHELL + tell) == ""
    assert printed(SHELL + "shell.kernel = None\n" + tell) == "nano: ready\n"


def test_a_mistake_in_a_notebook_is_one_line():
    cell = "from workbench import languages\nlanguages.get('Maltise')"
    shown = printed(f"{SHELL}shell.run_cell({cell!r})").strip()
    assert shown.startswith("UserError: ")
    assert "Maltese" in shown
    assert "\n" not in shown
