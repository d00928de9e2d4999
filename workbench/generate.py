"""Text from a base and from its adapters, on the same prompts with the same seeds.

The result of a call depends on model, prompt and :class:`~workbench.sections.Sampling` alone: the
random state of the process is put back afterwards.
"""

import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from workbench import model as models
from workbench import run as runs
from workbench import tokenizer
from workbench.errors import UserError
from workbench.sections import Sampling

BASE = "base"
# torch's random state belongs to the whole process, and widgets call from a second thread.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Generation:
    """What one model made of one prompt."""

    model: str
    """``base``, or the language tag of the adapter."""
    lang: str
    prompt: str
    text: str
    """Only what the model added."""
    tokens: int
    seconds: float
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


class Speaker:
    """A base with the adapters of one run, of which one at a time is put on.

    Args:
        base: a model reference, as recipes give it.
        adapters: ``adapt/<name>``, or empty for the base alone.
    """

    def __init__(self, base: str, adapters: str = "") -> None:
        self.base: Any = models.load(base)
        self.tokenizer: PreTrainedTokenizerFast = tokenizer.load(
            models.folder_of(base), models.revision_of(base)
        )
        self._adapters = runs.find_finished(adapters) if adapters else None

    @property
    def models(self) -> list[str]:
        """What may be asked: ``base`` and the tags of the adapters."""
        if self._adapters is None:
            return [BASE]
        return [BASE, *(row["tag"] for row in self._adapters.read_result("languages"))]

    def with_adapter(self, name: str) -> Any:
        """Return the model called ``name``; give it back with :meth:`without_adapter`.

        Raises:
            UserError: there is no adapter of that name.
        """
        if name == BASE:
            return self.base
        if self._adapters is None or name not in self.models:
            raise UserError(f"no adapter {name!r}; there are {', '.join(self.models)}")
        return models.load_adapter(self.base, self._adapters.path / "adapters" / name)

    def without_adapter(self, adapted: Any) -> None:
        """Take an adapter off again; the base's weights are as they were."""
        if adapted is not self.base:
            self.base = adapted.unload()

    def say(self, name: str, lang: str, prompts: list[str], sampling: Sampling) -> list[Generation]:
        """Let the model ``name`` continue each prompt.

        Args:
            name: ``base`` or an adapter's language tag.
            lang: the tag of the prompts' language, for the record.
            prompts: texts to continue; an empty one lets the model begin by itself.
            sampling: settings; the same seed is set anew for every prompt.

        Raises:
            UserError: there is no such model, or a prompt is longer than its context.
        """
        with _one_at_a_time:
            model = self.with_adapter(name)
            try:
                return [self._continue(model, name, lang, prompt, sampling) for prompt in prompts]
            finally:
                self.without_adapter(model)

    def _continue(
        self, model: Any, name: str, lang: str, prompt: str, sampling: Sampling
    ) -> Generation:
        end = int(self.tokenizer.eos_token_id)
        ids = [end, *tokenizer.encode(self.tokenizer, [prompt])[0]]
        context = int(self.base.config.max_position_embeddings)
        if len(ids) + sampling.max_new_tokens > context:
            raise UserError(
                f"the prompt has {len(ids)} tokens; with max_new_tokens={sampling.max_new_tokens} "
                f"it exceeds the model's context of {context}"
            )
        tokens = torch.tensor([ids])  # (1, prompt)
        began = time.perf_counter()
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(sampling.seed)
            out = model.generate(
                input_ids=tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=sampling.max_new_tokens,
                pad_token_id=end,
                eos_token_id=end,
                **_settings(sampling),
            )
        added = [token for token in out[0, len(ids) :].tolist() if token != end]
        return Generation(
            model=name,
            lang=lang,
            prompt=prompt,
            text=str(self.tokenizer.decode(added)),
            tokens=len(added),
            seconds=round(time.perf_counter() - began, 4),
            seed=sampling.seed,
        )


def _settings(sampling: Sampling) -> dict[str, Any]:
    if sampling.temperature == 0:
        return {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    return {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
    }
