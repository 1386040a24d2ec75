"""From logits to a token: greedy, or drawn with a generator of the request's own."""

from typing import Annotated

import msgspec
import torch
from msgspec import Meta

Temperature = Annotated[float, Meta(ge=0, le=2)]
Probability = Annotated[float, Meta(gt=0, le=1)]


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are chosen."""

    temperature: Temperature = 0.0  # 0: the likeliest token, always
    top_p: Probability = 1.0
    seed: int = 0


def generator(sampling: Sampling) -> torch.Generator:
    """The source of a request's draws: equal seeds draw equally, whoever else is served."""
    return torch.Generator().manual_seed(sampling.seed)


def pick(logits: torch.Tensor, sampling: Sampling, draws: torch.Generator) -> int:
    """The next token's id.

    Args:
        logits: Shape (vocabulary,).
        sampling: See `Sampling`. Of the likeliest tokens, as many are drawn from as it takes for
            their probabilities to reach `top_p`.
        draws: As `generator` gives it.
    """
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits.float() / sampling.temperature, dim=-1)
    ordered, ids = probabilities.sort(descending=True)
    before = ordered.cumsum(dim=-1) - ordered  # mass of the likelier ones
    kept = torch.where(before < sampling.top_p, ordered, 0.0)
    return int(ids[torch.multinomial(kept, 1, generator=draws)])
