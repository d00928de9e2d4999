"""The model family's dimensions, and what follows from them by counting.

Dense decoders of the Qwen3 architecture: RMSNorm, grouped-query attention with a norm on queries
and keys, rotary positions, SwiGLU, no biases, no dropout. Nothing here needs a deep-learning
library, so that a run of any size can be counted before anything is installed or built.
"""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "bf16"]
BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2}


@dataclass(frozen=True)
class Shape:
    """The dimensions of one size of the family."""

    width: int
    layers: int
    heads: int
    key_value_heads: int
    feed_forward: int
    head_width: int = 64
    vocabulary: int = 50304
    """Tokens that the size's name is counted with; a run takes those of its tokenizer."""
    tied: bool = True
    """Whether one matrix serves as embedding and as output."""

    @property
    def query_width(self) -> int:
        """Width of all queries together, which is also that of the attention's output."""
        return self.heads * self.head_width

    @property
    def key_width(self) -> int:
        """Width of all keys together, and of all values together."""
        return self.key_value_heads * self.head_width

    @property
    def layer_matrices(self) -> int:
        """Weights of one layer that are multiplied: queries, keys, values, output, SwiGLU."""
        attention = 2 * self.width * (self.query_width + self.key_width)
        return attention + 3 * self.width * self.feed_forward

    @property
    def layer_parameters(self) -> int:
        """All weights of one layer: its matrices, its two norms, those on queries and keys."""
        return self.layer_matrices + 2 * self.width + 2 * self.head_width

    def vocabulary_parameters(self, vocabulary: int) -> int:
        """Return the weights of embedding and output together; a tied matrix counts once."""
        return (1 if self.tied else 2) * vocabulary * self.width

    def parameters(self, vocabulary: int) -> int:
        """Return how many weights a model of this shape has, exactly."""
        layers = self.layers * self.layer_parameters
        return layers + self.width + self.vocabulary_parameters(vocabulary)

    def flops_per_token(self, vocabulary: int, sequence: int) -> dict[str, int]:
        """Return the training FLOPs of one token, forward and backward, by what they are spent on.

        Six for each weight that is multiplied, and ``12 * layers * query_width * sequence`` for
        attention, as if every token saw the whole sequence (arXiv 2204.02311, appendix B). A kernel
        that leaves out what the causal mask hides computes half of the latter. The embedding's
        look-up multiplies nothing; norms, rotations and the softmax are left out.
        """
        return {
            "matrices": 6 * self.layers * self.layer_matrices,
            "attention": 12 * self.layers * self.query_width * sequence,
            "vocabulary": 6 * vocabulary * self.width,
        }

    def activation_bytes_per_token(
        self, precision: Precision = "bf16", compiled: bool = True
    ) -> dict[str, int]:
        """Return the bytes that one layer keeps for the backward pass, for each token.

        The count of Korthikanti et al. (arXiv 2205.05198, section 4.1) for this architecture: no
        dropout masks; flash attention keeps the logarithm of the sum of each row, in fp32, in place
        of the scores; grouped queries have fewer keys and values; queries and keys are kept before
        their norm too; SwiGLU keeps gate, up, the gate's activation and the product. Compiled norms
        keep their input alone. Plain ones keep what they made of it too, in fp32, and autocast to
        bf16 makes a copy of a layer's input for each matrix that it is multiplied with.
        """
        each, width, logarithms = BYTES[precision], self.width, 4 * self.heads
        projected = self.query_width + self.key_width
        if compiled:
            return {
                "norms": 2 * each * width,
                "attention": each * (width + 3 * projected) + logarithms,
                "feed-forward": each * (width + 4 * self.feed_forward),
            }
        copies = {"fp32": (1, 1), "bf16": (3, 2)}[precision]
        return {
            # Input and normed input; one root for each token, and for each head of each token.
            "norms": 4 * (2 * 2 * width + 2 + self.heads + self.key_value_heads),
            "attention": copies[0] * each * width + (4 + 3 * each) * projected + logarithms,
            "feed-forward": copies[1] * each * width + 4 * each * self.feed_forward,
        }


SIZES = {
    "femto": Shape(32, 2, 2, 1, 96, 16, vocabulary=2048),
    "pico": Shape(64, 3, 2, 1, 192, 32, vocabulary=4096),
    "nano": Shape(128, 4, 4, 2, 384, 32, vocabulary=4096),
    "micro": Shape(256, 4, 4, 2, 768, vocabulary=8192),
    "mini": Shape(384, 6, 6, 3, 1152, vocabulary=16384),
    "small": Shape(512, 12, 8, 4, 1536, vocabulary=32768),
    "base": Shape(768, 12, 12, 4, 2304),
    "medium": Shape(1024, 24, 16, 8, 2816),
    "large": Shape(2048, 24, 16, 8, 6144, 128),
    # With OpenEuroLLM's vocabulary of 256k in two matrices, as its nine billion have it.
    "prelude-9b": Shape(4096, 36, 32, 8, 12288, 128, vocabulary=262144, tied=False),
}
