"""How many logits the loss makes at a time: one rule, for the loop and for plans of its memory."""

# Logits made at a time. On a CPU 16 MB of them in float32 were fastest of 8 to 64 MB; a GPU wants
# matrices large enough to fill it.
AT_ONCE_CPU, AT_ONCE_GPU = 2**22, 2**27
# What one logit takes at the most while its gradient is made in steps: two numbers in float32, for
# the logarithm of the sum. Compiled, the gradient is put in the logit's own place.
PLAIN_BYTES = 8


def rows(tokens: int, vocabulary: int, at_once: int) -> int:
    """Return of how many tokens logits are made at a time: about ``at_once`` of them, or all.

    Chunks are of one size, so that what is compiled for one fits all but the last.
    """
    chunks = max(1, -(-tokens * vocabulary // at_once))
    return max(1, -(-tokens // chunks))
