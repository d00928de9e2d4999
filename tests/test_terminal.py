import pytest

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
