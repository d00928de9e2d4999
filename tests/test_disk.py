import os

import pytest

from workbench import disk
from workbench.errors import OutOfSpace, UserError


def test_what_cannot_be_written_whole_leaves_the_old(tmp_path):
    file = tmp_path / "x.json"
    disk.write_json(file, {"ß": 1})
    with pytest.raises(UnicodeEncodeError):
        disk.write_text(file, "half\ud800")
    assert disk.read_json(file) == {"ß": 1}
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "x.json"
    file.write_text("{")
    with pytest.raises(UserError, match=r"x\.json is damaged: not JSON"):
        disk.read_json(file)


def test_a_manifest_has_all_but_itself_and_what_is_left_out(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("a", ".lock", "below/.lock", "below/MANIFEST.json"):
        (tmp_path / name).write_text(name)
    disk.write_manifest(tmp_path, [".lock"])
    stated = disk.read_manifest(tmp_path)
    assert list(stated) == ["a", "below/.lock", "below/MANIFEST.json"]
    assert stated == disk.checksums(tmp_path, [".lock"])
    assert disk.checksums(tmp_path).keys() - stated.keys() == {".lock"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_a_full_disk_is_told_in_one_line(tmp_path):
    with (
        pytest.raises(OutOfSpace, match="no space left on the disk") as caught,
        disk.told_when_full(tmp_path),
        open("/dev/full", "w") as full,
    ):
        full.write("x")
        full.flush()
    assert caught.value.exit_status == 1
