"""The model family, and how models are made, found and loaded.

Dense decoders of the Qwen3 architecture from ``transformers``: whatever is written here opens in
``AutoModelForCausalLM`` without us. Nothing is ever unpickled and no code from a hub is run.
"""

import math
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM
from transformers.utils.logging import disable_progress_bar

from workbench import run as runs
from workbench.errors import UserError, nearest
from workbench.family import SIZES

# A progress line of our own says what is going on; the library's bars would break it up.
disable_progress_bar()
# PEFT 0.21 reads an attribute that transformers 5 has renamed; nothing for a user to act on.
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.* is deprecated")


def build(size: str, vocabulary: int, sequence: int, end_token: int, seed: int) -> Qwen3ForCausalLM:
    """Make an untrained model.

    Args:
        size: a key of :data:`workbench.family.SIZES`.
        vocabulary: number of tokens.
        sequence: longest context in tokens that the configuration states.
        end_token: id of the token between documents, which also begins and pads.
        seed: of the initial weights.
    """
    shape = SIZES[size]
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_width,
        max_position_embeddings=max(sequence, 1024),
        # Narrow models need wider first weights than the usual 0.02 (arXiv 1910.05895).
        initializer_range=math.sqrt(2 / (5 * shape.width)),
        tie_word_embeddings=shape.tied,
        bos_token_id=end_token,
        eos_token_id=end_token,
        pad_token_id=end_token,
        use_cache=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config)


def folder_of(reference: str) -> str:
    """Return where ``AutoModelForCausalLM`` and ``AutoTokenizer`` find a model.

    Args:
        reference: ``pretrain/<name>``, a local folder, or ``hub:owner/name``; a revision is
            dealt with by :func:`load`.

    Raises:
        UserError: there is no such run or folder.
    """
    if reference.startswith("hub:"):
        return reference.removeprefix("hub:").partition("@")[0]
    if reference.startswith("pretrain/"):
        return str(runs.find_finished(reference).path / "model")
    path = Path(reference).expanduser()
    path = path if path.is_absolute() else runs.home() / path
    if (path / "config.json").exists():
        return str(path)
    siblings = [str(run.reference) for run in runs.every()]
    raise UserError(
        f"no model at {reference!r}{nearest(reference, siblings)}; it is 'pretrain/<name>', a "
        "folder with a config.json, or 'hub:owner/name@revision'"
    )


def revision_of(reference: str) -> str:
    """Return the revision in ``hub:owner/name@revision``; ``main`` where none is said."""
    return reference.partition("@")[2] or "main"


def load(reference: str) -> PreTrainedModel:
    """Load a model in float32 on the CPU, from safetensors alone.

    Raises:
        UserError: there is no such model, or its files are damaged or cannot be reached.
    """
    folder = folder_of(reference)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            revision=revision_of(reference),
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except Exception as fault:  # transformers, safetensors and the hub's client raise their own
        first = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        raise UserError(f"model {reference!r} cannot be loaded: {first[:200]}") from None
    model.eval()
    return model


def load_adapter(model: PreTrainedModel, folder: Path) -> Any:
    """Return ``model`` with the LoRA adapter in ``folder`` around it, ready for inference.

    The base's weights stay as they are: ``adapted.unload()`` gives the base back.

    Raises:
        UserError: there is no adapter in ``folder``.
    """
    from peft import PeftModel

    if not (folder / "adapter_config.json").exists():
        raise UserError(f"no adapter at {folder}: it has no adapter_config.json")
    return PeftModel.from_pretrained(model, str(folder)).eval()


def recompute_layers(model: Any) -> None:
    """Have each layer keep its input only, and compute the rest anew in the backward pass.

    Less memory for about a third more work (arXiv 1604.06174); the numbers stay the same.
    """
    # Late releases of transformers 5 have the one name, early ones only the other.
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})


def parameters(model: torch.nn.Module) -> int:
    """Return how many parameters a model has; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def flops_per_token(model: torch.nn.Module, sequence: int) -> float:
    """Return the training FLOPs of one token, forward and backward.

    Six per weight that is multiplied, and ``12 * layers * width * sequence`` for attention
    (arXiv 2204.02311, appendix B); the embedding's look-up multiplies nothing, while the tied
    output matrix counts. Where most weights are frozen, as with LoRA, their gradient is not
    computed and they count four instead of six.
    """
    config: Any = model.config
    matrices = {id(weight): weight for weight in model.parameters() if weight.dim() == 2}
    if not config.tie_word_embeddings:
        embedding: Any = model.get_input_embeddings()  # type: ignore[operator]
        matrices.pop(id(embedding.weight), None)
    weights = sum(
        (6 if weight.requires_grad else 4) * weight.numel() for weight in matrices.values()
    )
    attention_width = config.num_attention_heads * config.head_dim
    return float(weights + 12 * config.num_hidden_layers * attention_width * sequence)
