"""Choosing the next token from its logits."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    temperature: float
    top_k: int
    top_p: float
    presence_penalty: float


# Long enough for a sentence: what stands further back may come again.
PENALTY_WINDOW_TOKENS = 48


def choose(logits: Tensor, seen: list[int], sampling: Sampling, generator: torch.Generator) -> int:
    """One token id from logits (vocabulary,): the likeliest at temperature 0, else drawn among those allowed."""
    if sampling.presence_penalty:
        logits = logits.clone()
        logits[list(set(seen[-PENALTY_WINDOW_TOKENS:]))] -= sampling.presence_penalty
    if sampling.temperature == 0:
        return int(logits.argmax())
    count = min(sampling.top_k or len(logits), len(logits))
    # The likeliest is subtracted before dividing, so that a temperature near 0 cannot overflow.
    best, tokens = logits.topk(count)
    probabilities = ((best - best[0]) / sampling.temperature).softmax(dim=0)
    # A token stays while those before it have less than top_p together: the likeliest always stays.
    probabilities[probabilities.cumsum(dim=0) - probabilities >= sampling.top_p] = 0.0
    return int(tokens[torch.multinomial(probabilities, 1, generator=generator)])
