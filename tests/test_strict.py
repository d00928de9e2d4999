"""Reading into small dataclasses; test_recipe.py reads whole recipes."""

from dataclasses import dataclass, field

import pytest

from workbench import strict
from workbench.errors import UserError


@dataclass(frozen=True)
class Leg:
    length: float = 0.7

    def __post_init__(self):
        strict.require(self.length > 0, f"length must be positive, it is {self.length}")


@dataclass(frozen=True)
class Table:
    name: str
    legs: list[Leg] = field(default_factory=list)
    spare: Leg = field(default_factory=lambda: Leg(0.8))


def read(text, *overrides):
    return strict.settings(Table, text, overrides, "t.yaml")


def test_what_is_not_said_keeps_its_default():
    assert read("name: no\nlegs: [{length: 1}, {}]\nspare: {}\n", "legs[1].length=2e0") == Table(
        "no", [Leg(1.0), Leg(2.0)], Leg(0.8)
    )


@pytest.mark.parametrize(
    ("text", "overrides", "told"),
    [
        ("spare: {}\n", [], "t.yaml: the key 'name' is missing"),
        ("name: x\nspar: {}\n", [], r"t.yaml:2: unknown key 'spar' \(did you mean 'spare'\?"),
        ("name: x\nlegs:\n- length: -1\n", [], r"t.yaml:3: legs\[0\].length must be positive"),
        ("name: x\n", ["spare.length=0"], "override 'spare.length=0': spare.length must be pos"),
        ("name: x\n", ["name.first=y"], "override 'name.first=y': 'name' is a value"),
        ("- 1\n", [], "t.yaml: it is a mapping of settings"),
    ],
)
def test_a_mistake_in_settings_is_told_with_its_place(text, overrides, told):
    with pytest.raises(UserError, match=f"^{told}"):
        read(text, *overrides)


def test_a_key_that_was_never_said_is_placed_in_the_whole():
    places = strict.Places("t.yaml", {"name": "1", "legs": "override 'legs=[]'"})
    assert [places.of(key) for key in ("name", "legs", "spare")] == [
        "t.yaml:1",
        "override 'legs=[]'",
        "t.yaml",
    ]
