"""A small decoder-only transformer: rotary positions, normalised queries and keys, embedding tied to the output.

Parameters are left uninitialised: `predict.py` loads them, `train_writer.py` fills them.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

# As Linux names the instructions in /proc/cpuinfo, on x86 and ARM.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


@cache
def computes_in_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the CPU has instructions for it. Where it has none, emulation takes ten times as long as float32."""
    try:
        return bool(BFLOAT16_FLAGS & set(cpuinfo.read_text().split()))
    except OSError:
        return False


@dataclass(frozen=True)
class Shape:
    vocabulary: int = 2048
    width: int = 224
    heads: int = 7
    layers: int = 4
    context_tokens: int = 256


class KeyValueCache:
    """Keys and values of the positions seen so far, for one sequence."""

    def __init__(self, shape: Shape) -> None:
        size = (shape.layers, 1, shape.heads, shape.context_tokens, shape.width // shape.heads)
        self.keys = torch.empty(size)
        self.values = torch.empty(size)
        self.length = 0

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        end = self.length + key.shape[2]
        self.keys[layer, :, :, self.length : end] = key
        self.values[layer, :, :, self.length : end] = value
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.attend = nn.Parameter(torch.empty(3 * width, width))
        self.attend_out = nn.Parameter(torch.empty(width, width))
        self.expand = nn.Parameter(torch.empty(4 * width, width))
        self.contract = nn.Parameter(torch.empty(width, 4 * width))

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], dropout: float, cache: KeyValueCache | None, layer: int
    ) -> Tensor:
        x = x + functional.dropout(self._attention(_norm(x), rotation, cache, layer), dropout)
        hidden = functional.gelu(functional.linear(_norm(x), self.expand))
        return x + functional.dropout(functional.linear(hidden, self.contract), dropout)

    def _attention(self, x: Tensor, rotation: tuple[Tensor, Tensor], cache: KeyValueCache | None, layer: int) -> Tensor:
        batch, length, width = x.shape
        joined = functional.linear(x, self.attend).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = joined.permute(2, 0, 3, 1, 4)
        query, key = _rotate(_norm(query), rotation), _rotate(_norm(key), rotation)
        if cache is not None:
            key, value = cache.extend(layer, key, value)
        # One new token may look at everything in the cache; several are a prefix of their own and need the mask.
        mixed = functional.scaled_dot_product_attention(query, key, value.to(query.dtype), is_causal=length > 1)
        return functional.linear(mixed.transpose(1, 2).reshape(batch, length, width), self.attend_out)


class Transformer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.empty(shape.vocabulary, shape.width))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self._cosine, self._sine = _rotary_tables(shape)

    def forward(self, tokens: Tensor, cache: KeyValueCache | None = None, dropout: float = 0.0) -> Tensor:
        """Token ids (batch, length) to logits (batch, length, vocabulary). A cache takes a prefix, then one at a time."""
        start = cache.length if cache is not None else 0
        length = tokens.shape[1]
        rotation = (self._cosine[start : start + length], self._sine[start : start + length])
        x = _norm(functional.embedding(tokens, self.embedding))
        for layer, block in enumerate(self.blocks):
            x = block(x, rotation, dropout, cache, layer)
        if cache is not None:
            cache.length += length
        return functional.linear(_norm(x), self.embedding)


def _norm(x: Tensor) -> Tensor:
    return functional.rms_norm(x, (x.shape[-1],))


def _rotary_tables(shape: Shape) -> tuple[Tensor, Tensor]:
    half = shape.width // shape.heads // 2
    frequencies = 10000.0 ** (-torch.arange(half) / half)
    angles = torch.outer(torch.arange(shape.context_tokens), frequencies)
    return angles.cos(), angles.sin()


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1).to(x.dtype)
