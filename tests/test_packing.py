import json

import pytest

from workbench import corpus, cutters, packing, passages, recipe, tokenizer
from workbench import run as runs
from workbench.errors import UserError
from workbench.sections import Data, Mix


def packed(series):
    run = runs.find("pretrain/starter")
    return packing.Pack(runs.root() / packing.CACHE / run.record["happened"]["pack"])


def test_documents_come_back_from_their_shards(series):
    pack = packed(series)
    text_tokenizer = tokenizer.load(cutters.find("tokenizer/starter"))
    data = recipe.load(series / "recipes/pretrain/starter.yaml").data
    for split in corpus.SPLITS:
        shard = pack.shard("kat_Geor", split)
        expected = [
            " ".join(sentences)
            for name, sentences in passages.read("kat_Geor").items()
            if corpus.split_of(name, data) == split
        ]
        found = [text_tokenizer.decode(shard.document(n)) for n in range(len(shard.ends))]
        assert found == expected
        assert shard.sizes.tolist() == [len(text.encode()) for text in expected]
        assert shard.tokens[shard.ends - 1].tolist() == [pack.facts["end_token"]] * len(expected)


def test_the_same_pack_serves_pretraining_adaptation_and_evaluation(series):
    names = {
        runs.find(f"{kind}/starter").record["happened"]["pack"]
        for kind in ("pretrain", "adapt", "evaluate")
    }
    assert len(names) == 1


def test_an_empty_source_is_the_users_mistake(series, tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    asked = recipe.parse("kind: inspect\nname: empty\nwhy: y\n")
    text_tokenizer = tokenizer.load(cutters.find("tokenizer/starter"))
    run = runs.Run.begin(asked)
    with pytest.raises(UserError, match="no document in the chosen languages"):
        packing.pack(run, Data(sources=[str(tmp_path / "a.jsonl")]), text_tokenizer)
    (tmp_path / "a.jsonl").write_text("{broken\n")
    with pytest.raises(UserError, match=r"1 could not be read, first .*a.jsonl:1: not JSON"):
        packing.pack(run, Data(sources=[str(tmp_path / "a.jsonl")]), text_tokenizer)
    aside = json.loads((run.path / "quarantine.jsonl").read_text())
    assert aside["raw"].strip() == "{broken"
    run.leave("stopped")


@pytest.mark.parametrize(
    ("mix", "greek"),
    [
        (Mix("natural"), lambda sizes: sizes["ell_Grek"] / sum(sizes.values())),
        (Mix("uniform"), lambda sizes: 1 / len(sizes)),
        (Mix("weights", weights={"el": 3, "mt": 1}), lambda sizes: 0.75),
    ],
)
def test_shares(series, mix, greek):
    pack = packed(series)
    sizes = pack.sizes("tokens")
    shares = packing.weights(pack, mix)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["ell_Grek"] == pytest.approx(greek(sizes))


def test_unimax_shares_out_tokens_or_bytes(series):
    pack = packed(series)
    tokens, sizes = pack.sizes("tokens"), pack.sizes("bytes")
    smallest = min(tokens, key=tokens.get)
    shares = packing.weights(pack, Mix("unimax", max_epochs=1), sum(tokens.values()) - 1)
    assert shares[smallest] == pytest.approx(tokens[smallest] / (sum(tokens.values()) - 1))
    even = packing.weights(pack, Mix("unimax", unit="bytes", budget=len(sizes)))
    epochs = {tag: share / tokens[tag] for tag, share in even.items()}
    read = {tag: epochs[tag] * sizes[tag] for tag in sizes}
    assert max(read.values()) == pytest.approx(min(read.values()))
    assert max(even.values()) > 1.01 * min(even.values())
    with pytest.raises(UserError, match="give mix.budget"):
        packing.weights(pack, Mix("unimax"))


def test_a_weight_for_a_language_without_text_is_refused(series):
    with pytest.raises(UserError, match="names swe_Latn, which has no training text"):
        packing.weights(packed(series), Mix("weights", weights={"sv": 1}))
