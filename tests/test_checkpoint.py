import shutil

import pytest
import torch

from workbench import checkpoint, disk, optimizers
from workbench import model as models
from workbench.errors import UserError
from workbench.sections import Training


def trained(seed=1, optimizer="adamw"):
    model = models.build("nano", 300, 64, 0, seed)
    chosen = optimizers.of(model, Training(optimizer=optimizer))
    for _ in range(2):
        model(input_ids=torch.arange(20).unsqueeze(0)).logits.square().mean().backward()
        for one in chosen:
            one.step()
            one.zero_grad()
    return model, chosen


@pytest.fixture
def three(tmp_path):
    model, chosen = trained()
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, model, chosen, {"tokens": step}, keep=2)
    return tmp_path


def test_the_newest_are_kept(three):
    assert [folder.name for folder in sorted(three.iterdir())] == ["step-00000002", "step-00000003"]
    found, problems = checkpoint.latest(three)
    assert (found.name, problems) == ("step-00000003", [])


@pytest.mark.parametrize(("name", "kept"), [("adamw", {46: 3}), ("muon", {28: 1, 18: 3})])
def test_weights_moments_and_random_states_come_back(three, name, kept):
    model, chosen = trained(optimizer=name)
    torch.manual_seed(7)
    folder = checkpoint.save(three, 4, model, chosen, {}, keep=2)
    expected = torch.rand(3)
    other, other_optimizers = trained(seed=2, optimizer=name)
    state = checkpoint.restore(folder, other, other_optimizers)
    assert state["step"] == 4
    assert torch.equal(torch.rand(3), expected)
    for mine, its in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, its)
    # Seven matrices and four norms a layer, an embedding and a last norm; AdamW keeps two moments
    # and a count of each, Muon one moment.
    for one, its in zip(chosen, other_optimizers, strict=True):
        states, its_states = (
            [each.state[weight] for group in each.param_groups for weight in group["params"]]
            for each in (one, its)
        )
        assert kept[len(states)] == len(states[0])
        for state, its_state in zip(states, its_states, strict=True):
            assert state.keys() == its_state.keys()
            assert all(torch.equal(state[key], its_state[key]) for key in state)
    assert len(chosen) == len(kept)


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_named_and_passed_over(three, name, damage):
    file = three / "step-00000003" / name
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    found, problems = checkpoint.latest(three)
    assert found.name == "step-00000002"
    word = "missing" if damage == "remove" else "changed"
    assert problems == [f"step-00000003 is damaged ({name} is {word}), passed over"]


# The last bit; the case of a letter, or a space that is lost; a line's end for another line's end.
@pytest.mark.parametrize("mask", [0x01, 0x20, ord("\n") ^ ord("\r")])
def test_every_byte_of_the_manifest_counts(tmp_path, mask):
    for step in (1, 2):
        folder = tmp_path / f"step-{step:08d}"
        folder.mkdir()
        (folder / "state.json").write_text("{}")
        disk.write_manifest(folder)
    file = tmp_path / "step-00000002" / "MANIFEST.json"
    content = file.read_bytes()
    assert content.count(b"\n") == 6
    for place, byte in enumerate(content):
        file.write_bytes(content[:place] + bytes([byte ^ mask]) + content[place + 1 :])
        found, problems = checkpoint.latest(tmp_path)
        assert found.name == "step-00000001", place
        assert problems == ["step-00000002 is damaged (MANIFEST.json is changed), passed over"]
    file.write_bytes(content)
    assert checkpoint.latest(tmp_path) == (file.parent, [])


def test_without_its_manifest_a_checkpoint_is_not_one(three):
    (three / "step-00000002" / "MANIFEST.json").write_text("{")
    (three / "step-00000003" / "MANIFEST.json").unlink()
    assert checkpoint.latest(three) == (
        None,
        [
            "step-00000003 is damaged (MANIFEST.json is missing), passed over",
            "step-00000002 is damaged (MANIFEST.json is changed), passed over",
        ],
    )


def test_a_checkpoint_of_an_earlier_version_is_taken(three):
    """Its manifest has no checksum of its own."""
    newest = three / "step-00000003"
    disk.write_json(newest / "MANIFEST.json", {"files": disk.checksums(newest)})
    assert checkpoint.latest(three) == (newest, [])


@pytest.mark.parametrize("name", ["model-2.safetensors", "state-2.safetensors", "config2.json"])
def test_a_file_that_would_be_loaded_and_was_not_saved_is_told(three, name):
    newest = three / "step-00000003"
    shutil.copy(newest / "model.safetensors", newest / name)
    found, problems = checkpoint.latest(three)
    assert found.name == "step-00000002"
    assert problems == [
        f"step-00000003 is damaged ({name} is not in MANIFEST.json), passed over",
    ]


@pytest.mark.parametrize("name", ["note.txt", ".DS_Store", "._model.safetensors"])
def test_a_file_that_is_not_loaded_is_no_damage(three, name):
    (three / "step-00000003" / name).write_text("the good one")
    assert checkpoint.latest(three) == (three / "step-00000003", [])


def test_what_a_killed_process_left_is_cleared_away(three):
    left = three / ".step-00000004.123"
    left.mkdir()
    (left / "model.safetensors").write_text("half of it")
    model, chosen = trained()
    saved = checkpoint.save(three, 4, model, chosen, {}, keep=2)
    assert sorted(three.iterdir()) == [three / "step-00000003", saved]


def test_another_models_checkpoint_is_refused(three):
    model = models.build("micro", 300, 64, 0, 1)
    with pytest.raises(UserError, match="does not fit this model"):
        checkpoint.restore(three / "step-00000003", model, optimizers.of(model, Training()))


def test_nothing_in_it_is_pickled(three):
    endings = {file.suffix for file in three.rglob("*") if file.is_file()}
    assert endings == {".json", ".safetensors"}
