import pytest
import torch

from workbench import checkpoint, train
from workbench import model as models
from workbench.errors import UserError
from workbench.recipe import Training


def trained(seed=1):
    model = models.build("nano", 300, 64, 0, seed)
    optimizer = train.optimizer_for(model, Training())
    for _ in range(2):
        model(input_ids=torch.arange(20).unsqueeze(0)).logits.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


@pytest.fixture
def three(tmp_path):
    model, optimizer = trained()
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, model, optimizer, {"tokens": step}, keep=2)
    return tmp_path


def test_the_newest_are_kept(three):
    assert [folder.name for folder in sorted(three.iterdir())] == ["step-00000002", "step-00000003"]
    found, problems = checkpoint.latest(three)
    assert (found.name, problems) == ("step-00000003", [])


def test_weights_moments_and_random_states_come_back(three):
    model, optimizer = trained()
    torch.manual_seed(7)
    folder = checkpoint.save(three, 4, model, optimizer, {}, keep=2)
    expected = torch.rand(3)
    other, other_optimizer = trained(seed=2)
    state = checkpoint.restore(folder, other, other_optimizer)
    assert state["step"] == 4
    assert torch.equal(torch.rand(3), expected)
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    for mine, its in pairs:
        assert torch.equal(mine, its)
        for name, value in optimizer.state[mine].items():
            assert torch.equal(value, other_optimizer.state[its][name])


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


def test_without_its_manifest_a_checkpoint_is_not_one(three):
    for folder in three.iterdir():
        (folder / "MANIFEST.json").write_text("{")
    found, problems = checkpoint.latest(three)
    assert found is None
    assert len(problems) == 2


def test_another_models_checkpoint_is_refused(three):
    model = models.build("micro", 300, 64, 0, 1)
    with pytest.raises(UserError, match="does not fit this model"):
        checkpoint.restore(three / "step-00000003", model, train.optimizer_for(model, Training()))


def test_nothing_in_it_is_pickled(three):
    endings = {file.suffix for file in three.rglob("*") if file.is_file()}
    assert endings == {".json", ".safetensors"}
