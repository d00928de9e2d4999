"""Write the starter corpus's Croissant metadata anew, after any change of its text or its index.

``.venv/bin/python tools/write_croissant.py``; the tests tell when it is due.
"""

from workbench import croissant, disk, passages


def main() -> None:
    """Write ``workbench/starter/croissant.json``."""
    target = passages.FOLDER / croissant.FILE
    disk.write_json(target, croissant.starter())
    print(target)


if __name__ == "__main__":
    main()
