from pathlib import Path

import pytest

from workbench import recipe
from workbench.errors import UserError

FOLDER = Path(__file__).parent.parent / "recipes"
# Files of clusters are no recipes; test_cluster.py looks after them.
RECIPES = sorted(path for path in FOLDER.glob("*/*.yaml") if path.parent.name != "cluster")
TEXT = "kind: pretrain\nname: x\nwhy: to see\ntokenizer: tokenizer/starter\n"


def test_there_are_recipes_of_every_kind():
    assert {path.parent.name for path in RECIPES} == set(recipe.KINDS)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_recipe_loads_and_comes_back_equal(path):
    loaded = recipe.load(path)
    assert (loaded.kind, loaded.name) == (path.parent.name, path.stem)
    assert recipe.parse(loaded.to_yaml()) == loaded


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("train:\n  stepps: 3\n", r"f.yaml:6: unknown key 'train.stepps' \(did you mean 'steps'\?"),
        ("modl: nano\n", r"f.yaml:5: unknown key 'modl' \(did you mean 'model'\?"),
        ("train:\n  steps: many\n", "f.yaml:6: train.steps is a whole number, not text: 'many'"),
        ("train:\n  steps: 1.5\n", "f.yaml:6: train.steps is a whole number, not a number: 1.5"),
        ("train:\n  steps: true\n", "train.steps is a whole number, not true or false"),
        ("train:\n  steps: 0\n", "f.yaml:6: train.steps must be at least 1, it is 0"),
        ("train: 3\n", "f.yaml:5: train has keys of its own"),
        ("model: nanno\n", r"f.yaml:5: model is 'nanno' \(did you mean 'nano'\?\)"),
        ("data: {languages: [klingon]}\n", "f.yaml:5: data.unknown language 'klingon'"),
        ("why: again\n", "f.yaml:5: not YAML: the key 'why' is given twice"),
        ("data: {validation: 0.6, test: 0.6}\n", "leave nothing to train on"),
        ("mix: {weights: {mt: 1}}\n", "weights are given, but strategy 'temperature'"),
        ("a: [\n", "f.yaml:6: not YAML"),
    ],
)
def test_a_mistake_is_told_with_its_place(more, told):
    with pytest.raises(UserError, match=told) as caught:
        recipe.parse(TEXT + more, origin="f.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("phases", "told"),
    [
        (
            "  - share: 1\n    mixx: {}\n",
            r"f.yaml:7: unknown key 'curriculum\[0\].mixx' \(did you mean 'mix'\?",
        ),
        (
            "  - share: 1\n    mix: {strategy: natual}\n",
            r"f.yaml:7: curriculum\[0\].mix.strategy is 'natual' \(did you mean 'natural'\?",
        ),
        ("  - share: 1\n    mix: {exponent: 3}\n", r"f.yaml:7: curriculum\[0\].mix.exponent must"),
        ("  - share: 1\n  - mix: {}\n", r"f.yaml:7: the key 'curriculum\[1\].share' is missing"),
        ("  - 3\n", r"f.yaml:6: curriculum\[0\] has keys of its own, not 3"),
        (" 3\n", "f.yaml:5: curriculum is a list, not 3"),
        ("  - share: 0\n", r"f.yaml:6: curriculum\[0\].share must be above 0 and up to 1, it is 0"),
        (
            "  - share: 0.5\n  - share: 0.4\n",
            "f.yaml:5: curriculum has phases whose shares add up to 0.9; they must add up to 1",
        ),
        (
            "  - share: 0.999\n  - share: 0.001\n",
            r"f.yaml:7: curriculum\[1\].share is 0.001 of 300 steps, which is no step",
        ),
        (
            "  - share: 1\n    data: {sources: [inspect/x]}\n",
            r"f.yaml:7: curriculum\[0\].data is given, but the first phase reads the recipe's data",
        ),
        (
            "  - share: 0.9\n  - share: 0.1\n    data: {test: 0.02}\n",
            r"f.yaml:8: curriculum\[1\].data.test is 0.02 and data.test 0.1: training would see",
        ),
        (
            "  - share: 0.9\n  - share: 0.1\n    data: {}\ndata: {languages: [mt, fi]}\n",
            r"f.yaml:8: curriculum\[1\].data.languages selects \w+, which data.languages leaves",
        ),
        (
            "  - {share: 1, mix: {strategy: uniform}}\nmix: {strategy: natural}\n",
            "f.yaml:7: mix is given, but every phase of the curriculum has one of its own",
        ),
    ],
)
def test_a_mistake_in_a_curriculum_is_told_with_its_place(phases, told):
    with pytest.raises(UserError, match=told) as caught:
        recipe.parse(f"{TEXT}curriculum:\n{phases}", origin="f.yaml")
    assert "\n" not in str(caught.value)


def test_a_curriculum_takes_from_the_recipe_what_it_does_not_say():
    text = f"""{TEXT}mix: {{strategy: natural}}
train: {{steps: 10}}
curriculum:
  - {{share: 0.25, mix: {{strategy: uniform}}}}
  - {{share: 0.55}}
  - {{share: 0.2, data: {{sources: [inspect/x, tokenizer/starter]}}}}
"""
    loaded = recipe.parse(text)
    first, second, last = loaded.phases()
    assert [first.mix.strategy, second.mix.strategy, last.mix.strategy] == [
        "uniform",
        "natural",
        "natural",
    ]
    assert [first.data, second.data] == [loaded.data] * 2
    # 2.5 of 10 steps are rounded to an even number, as Python rounds; nothing is left over.
    assert loaded.steps_by_phase() == [2, 6, 2]
    assert loaded.needs == ["tokenizer/starter", "inspect/x"]
    assert recipe.parse(loaded.to_yaml()) == loaded
    alone = recipe.parse(TEXT)
    assert (alone.steps_by_phase(), alone.phases()[0].mix) == ([300], alone.mix)


def test_overrides_reach_into_a_list():
    text = f"{TEXT}curriculum:\n  - share: 0.5\n  - share: 0.5\n"
    loaded = recipe.parse(text, ["curriculum[1].mix.strategy=uniform"])
    assert [phase.mix and phase.mix.strategy for phase in loaded.curriculum] == [None, "uniform"]
    with pytest.raises(UserError, match="'curriculum' is a list of 2 entries"):
        recipe.parse(text, ["curriculum[2].share=0.5"])
    with pytest.raises(UserError, match="'train' is a list of 0 entries"):
        recipe.parse(text, ["train[0].steps=5"])
    with pytest.raises(UserError, match=r"override 'curriculum\[1\].shar=1': unknown key"):
        recipe.parse(text, ["curriculum[1].shar=1"])


def test_kind_and_required_keys():
    with pytest.raises(UserError, match=r"unknown kind 'pretrian' \(did you mean 'pretrain'"):
        recipe.parse(TEXT.replace("pretrain", "pretrian"))
    with pytest.raises(UserError, match="'tokenizer' is missing"):
        recipe.parse("kind: pretrain\nname: x\nwhy: y\n")
    with pytest.raises(UserError, match="why is empty"):
        recipe.parse("kind: inspect\nname: x\nwhy: ' '\n")
    with pytest.raises(UserError, match="name may hold"):
        recipe.parse("kind: inspect\nname: ../up\nwhy: y\n")


def test_norwegian_is_no_boolean_and_exponents_are_numbers():
    loaded = recipe.parse(TEXT + "data: {languages: [no]}\ntrain: {learning_rate: 3e-4}\n")
    assert loaded.data.languages == ["no"]
    assert loaded.train.learning_rate == 3e-4


def test_overrides_go_through_the_same_checks():
    loaded = recipe.parse(TEXT, ["train.steps=7", "data.languages=[mt, fi]", "name=y"])
    assert (loaded.train.steps, loaded.data.languages, loaded.name) == (7, ["mt", "fi"], "y")
    with pytest.raises(UserError, match="override 'train.stps=7': unknown key"):
        recipe.parse(TEXT, ["train.stps=7"])
    with pytest.raises(UserError, match="not of the form key=value"):
        recipe.parse(TEXT, ["train.steps"])


def test_a_missing_file_names_its_neighbour(tmp_path):
    (tmp_path / "starter.yaml").write_text(TEXT)
    with pytest.raises(UserError, match="did you mean .*starter.yaml"):
        recipe.load(tmp_path / "startr.yaml")
