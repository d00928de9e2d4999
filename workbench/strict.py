"""Strict reading: YAML into dataclasses, whose fields say what may be said and what else holds.

A key or a value that the dataclasses do not know is refused with its line and the nearest right
one, because a mistyped key that silently becomes a default ruins an experiment. What a dataclass
itself refuses in ``__post_init__`` gets its line too, if the message begins with the field.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from workbench.errors import UserError, nearest


def require(condition: bool, message: str) -> None:
    """Refuse a value of a dataclass unless ``condition`` holds.

    Raises:
        UserError: it does not; ``message`` begins with the field's name.
    """
    if not condition:
        raise UserError(message)


@dataclass(frozen=True)
class Places:
    """Where each key was said, for messages."""

    origin: str
    """What messages call the whole: a file, say."""
    lines: dict[str, str] = field(default_factory=dict)
    """Dotted key, such as ``train.steps`` or ``curriculum[1].share``, to its line or override."""

    def of(self, dotted: str) -> str:
        """Return the place of a key: file and line, or the override; at least the file."""
        line = self.lines.get(dotted, "")
        if line.startswith("override"):
            return line
        return f"{self.origin}:{line}" if line else self.origin


def settings(cls: type[Any], text: str, overrides: Sequence[str], origin: str) -> Any:
    """Make the dataclass ``cls`` from YAML ``text``, with ``overrides`` such as ``a.b=3`` applied.

    Raises:
        UserError: the text is no YAML, or says something that ``cls`` does not know; the message
            names ``origin``, line, key and the nearest right one.
    """
    content, places = read(text, overrides, origin, "it is a mapping of settings")
    return build(cls, content, places)


def read(
    text: str, overrides: Sequence[str], origin: str, form: str
) -> tuple[dict[str, Any], Places]:
    """Return YAML's mapping with the overrides set in it, and where each dotted key was said.

    Raises:
        UserError: the text is no YAML or no mapping, which is told as ``form``; or an override is
            not of the form ``key=value``, or reaches below a value.
    """
    try:
        node = yaml.compose(text, Loader=_StrictLoader)
        content = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise UserError(f"{origin}:{line}: not YAML: {fault.problem}") from None
    if not isinstance(content, dict):
        raise UserError(f"{origin}: {form}")
    lines = dict(_lines(node))
    for override in overrides:
        _override(content, lines, override)
    return content, Places(origin, lines)


class _StrictLoader(yaml.SafeLoader):
    """YAML 1.2's plain values: ``no`` stays Norwegian, ``3e-4`` is a number, keys are unique."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+"),
    list("-+0123456789."),
)


def _lines(node: yaml.Node | None, prefix: str = "") -> list[tuple[str, str]]:
    """Return the dotted keys below ``node``, each with the line on which it stands."""
    found: list[tuple[str, str]] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            dotted = f"{prefix}{key.value}"
            found.append((dotted, str(key.start_mark.line + 1)))
            found.extend(_lines(value, f"{dotted}."))
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            entry = f"{prefix.rstrip('.')}[{number}]"
            found.append((entry, str(value.start_mark.line + 1)))
            found.extend(_lines(value, f"{entry}."))
    return found


def _override(content: dict[str, Any], lines: dict[str, str], override: str) -> None:
    """Set one ``a.b=value`` in ``content``; the dataclasses check it later like any other."""
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise UserError(f"override {override!r} is not of the form key=value")
    try:
        value = yaml.load(text, Loader=_StrictLoader) if text else ""
    except yaml.YAMLError:
        value = text
    *parents, last = dotted.split(".")
    here = content
    for parent in parents:
        name, number = _numbered(parent)
        below = here.get(name)
        if number is not None:
            if not isinstance(below, list) or not 0 <= number < len(below):
                count = len(below) if isinstance(below, list) else 0
                raise UserError(f"override {override!r}: {name!r} is a list of {count} entries")
            entries = here[name] = list(below)
            below = entries[number]
        if below is None:
            below = {}
        if not isinstance(below, dict):
            raise UserError(f"override {override!r}: {parent!r} is a value, it has no keys below")
        below = dict(below)
        if number is None:
            here[name] = below
        else:
            here[name][number] = below
        here = below
    here[last] = value
    lines[dotted] = f"override {override!r}"


def _numbered(word: str) -> tuple[str, int | None]:
    """Return the name and the number of ``name[2]``, or the name and ``None``."""
    found = re.fullmatch(r"(.+)\[(\d+)\]", word)
    return (found[1], int(found[2])) if found else (word, None)


def build(cls: type[Any], content: dict[str, Any], places: Places, prefix: str = "") -> Any:
    """Make the dataclass ``cls`` from ``content``, refusing every key it does not have.

    Args:
        cls: the dataclass; its fields may be dataclasses too, or lists of them.
        content: plain values.
        places: where they were said.
        prefix: of ``content``'s keys in ``places``, such as ``train.``.

    Raises:
        UserError: a key is unknown or missing, a value is not of its field's type, or ``cls``
            refuses it.
    """
    hints = typing.get_type_hints(cls)
    fields = {entry.name: entry for entry in dataclasses.fields(cls)}
    for key in content:
        if key not in fields:
            where = places.of(f"{prefix}{key}")
            raise UserError(
                f"{where}: unknown key {prefix + str(key)!r}{nearest(str(key), fields)}; "
                f"known here: {', '.join(fields)}"
            )
    missing = [
        name
        for name, entry in fields.items()
        if name not in content
        and entry.default is dataclasses.MISSING
        and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        where = places.of(prefix.rstrip("."))
        raise UserError(f"{where}: the key {prefix + missing[0]!r} is missing")
    values = {}
    for key, value in content.items():
        where = places.of(f"{prefix}{key}")
        hint, inner = hints[key], _dataclass_in(hints[key])
        dotted = f"{prefix}{key}"
        if inner is None:
            values[key] = _convert(value, hint, dotted, where)
        elif typing.get_origin(hint) is list:
            if not isinstance(value, list):
                raise UserError(f"{where}: {dotted} is a list, not {value!r}")
            values[key] = [
                _section(inner, entry, f"{dotted}[{number}]", places)
                for number, entry in enumerate(value)
            ]
        elif value is None and types.NoneType in typing.get_args(hint):
            values[key] = None
        else:
            defaults = fields[key].default_factory
            base = dataclasses.asdict(defaults()) if callable(defaults) else {}
            values[key] = _section(inner, value, dotted, places, base)
    try:
        return cls(**values)
    except UserError as fault:
        word = str(fault).split(" ", 1)[0]
        where, said = places.origin, f"{prefix}{word}"
        while where == places.origin and said:
            where, said = places.of(said), said.rpartition(".")[0]
        raise UserError(f"{where}: {prefix}{fault}") from None


def _dataclass_in(hint: Any) -> type[Any] | None:
    """Return the dataclass of a hint ``X``, ``X | None`` or ``list[X]``, if ``X`` is one."""
    for one in (hint, *typing.get_args(hint)):
        if dataclasses.is_dataclass(one):
            return typing.cast(type[Any], one)
    return None


def _section(
    cls: type[Any],
    value: Any,
    dotted: str,
    places: Places,
    base: dict[str, Any] | None = None,
) -> Any:
    """Make the dataclass ``cls`` of a part of the whole, over the values of ``base``."""
    if not isinstance(value, dict):
        where = places.of(dotted)
        raise UserError(f"{where}: {dotted} has keys of its own, not {value!r}")
    return build(cls, {**(base or {}), **value}, places, f"{dotted}.")


def _convert(value: Any, hint: Any, dotted: str, where: str) -> Any:
    """Return ``value`` as the type ``hint`` says, without guessing: an int may serve as float."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise UserError(
                f"{where}: {dotted} is {value!r}{nearest(str(value), choices)}; "
                f"it is one of {', '.join(choices)}"
            )
        return value
    if origin is list:
        (item,) = typing.get_args(hint)
        if isinstance(value, str) and item is str:
            # One source or language may be given bare, as on a command line.
            return [value]
        if not isinstance(value, list):
            raise UserError(f"{where}: {dotted} is a list, not {value!r}")
        return [_convert(entry, item, f"{dotted}[{n}]", where) for n, entry in enumerate(value)]
    if origin is dict:
        _, item = typing.get_args(hint)
        if not isinstance(value, dict):
            raise UserError(f"{where}: {dotted} is a mapping, not {value!r}")
        return {
            str(key): _convert(entry, item, f"{dotted}.{key}", where)
            for key, entry in value.items()
        }
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise UserError(
            f"{where}: {dotted} is {_named(hint)}, not {_named(type(value))}: {value!r}"
        )
    return value


def _named(kind: Any) -> str:
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "true or false",
        list: "a list",
        dict: "a mapping",
        types.NoneType: "nothing",
    }
    return names.get(kind, str(kind))
