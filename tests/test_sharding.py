import pytest
import torch
from safetensors.torch import save_file

from workbench import model as models
from workbench import sharding
from workbench.errors import UserError


def test_rows_of_several_files_come_back_whole(tmp_path):
    whole = torch.arange(35.0).reshape(7, 5)
    for number, rows in enumerate((whole[:3], whole[3:6], whole[6:])):
        save_file(
            {"a": rows.contiguous(), "step": torch.tensor(9.0)}, tmp_path / f"{number}.safetensors"
        )
    rows = sharding.Rows(sorted(tmp_path.iterdir()))
    assert rows.names == ["a", "step"]
    assert torch.equal(rows.read("a", torch.empty(7, 5)), whole)
    assert rows.read("step", torch.empty(7, 5)) == 9


def test_what_a_launcher_may_not_ask_for(monkeypatch):
    model = models.build("nano", 300, 64, 0, 1)
    assert sharding.asked(model) is None
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="--fsdp_version 2"):
        sharding.asked(model)
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("FSDP_RESHARD_AFTER_FORWARD", "false")
    assert sharding.asked(model).reshard_after_forward is False
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    with pytest.raises(UserError, match="stay on their devices"):
        sharding.asked(model)
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "false")
    model.peft_config = {}
    with pytest.raises(UserError, match="adapters are not put into shards"):
        sharding.asked(model)
