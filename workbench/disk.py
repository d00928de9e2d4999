"""Files: written whole or not at all, told where they are damaged, held against checksums.

A folder's ``MANIFEST.json`` has the SHA-256 of every file in it. It is written last: a folder that
has one is complete.
"""

import contextlib
import errno
import hashlib
import json
import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from workbench.errors import OutOfSpace, UserError

MANIFEST = "MANIFEST.json"
# What write_text has not yet renamed: the name, the process, the thread.
TEMPORARY = ".*.[0-9]*-[0-9]*"


def write_text(file: Path, text: str) -> None:
    """Write text to a temporary file, flush it to disk, then rename it."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}")
    with told_when_full(file):
        try:
            with temporary.open("w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(file: Path, value: object) -> None:
    """Write JSON to a temporary file, then rename it: readers see the old or the new, whole."""
    write_text(file, _json(value))


def read_text(file: Path) -> str:
    """Read a text file."""
    return file.read_text(encoding="utf-8")


def read_json(file: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: it is damaged; the message names it.
    """
    try:
        return json.loads(read_text(file))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{file} is damaged: not JSON") from None


def read_jsonl(file: Path) -> list[dict[str, Any]]:
    """Read JSON Lines that another process may be writing: a last line without its end waits."""
    if not file.exists():
        return []
    text = file.read_bytes().decode("utf-8", "replace")
    whole = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line]


@contextlib.contextmanager
def told_when_full(path: Path) -> Iterator[None]:
    """Turn a full disk, or a folder that may not be written, into one clear line.

    Libraries that write files in compiled code report a full disk in errors of their own, so the
    message is looked at as well.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as fault:
        number = getattr(fault, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(fault):
            raise OutOfSpace(
                f"no space left on the disk while writing {path}; what was saved before is whole: "
                "make room and run the same command again"
            ) from None
        if number in (errno.EACCES, errno.EROFS):
            raise UserError(f"{path} may not be written: {os.strerror(number)}") from None
        raise


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def text_hash(value: object) -> str:
    """Return a short, stable hash of plain JSON values, to name derived data by."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def checksums(folder: Path, leave_out: Collection[str] = ()) -> dict[str, str]:
    """Return the SHA-256 of every file below ``folder``, by relative path.

    The manifest is not among them, nor are the files right in ``folder`` to ``leave_out``.
    """
    private = {MANIFEST, *leave_out}
    return {
        file.relative_to(folder).as_posix(): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not (file.parent == folder and file.name in private)
    }


def write_manifest(folder: Path, leave_out: Collection[str] = ()) -> None:
    """Write the :func:`checksums` of ``folder``, and one of that list itself."""
    write_json(folder / MANIFEST, _manifest(checksums(folder, leave_out)))


def read_manifest(folder: Path) -> dict[str, str]:
    """Return the checksums of ``folder``, as :func:`write_manifest` found them.

    The manifest itself must be byte for byte what its content is written as, and the list must
    have the checksum beside it: whatever byte of it changes, the fault is the manifest's and not
    that of the file whose line it is. Manifests of earlier versions have no such checksum.

    Raises:
        UserError: it is damaged, or cannot be read.
    """
    file = folder / MANIFEST
    try:
        written = file.read_bytes()
        files: dict[str, str] = dict(json.loads(written)["files"])
        right = written in (_json(_manifest(files)).encode(), _json({"files": files}).encode())
    except (OSError, ValueError, KeyError, TypeError):
        right = False
    if not right:
        raise UserError(f"{file} is damaged")
    return files


def _manifest(files: dict[str, str]) -> dict[str, Any]:
    return {"files": files, "sha256": hashlib.sha256(_json(files).encode()).hexdigest()}


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
