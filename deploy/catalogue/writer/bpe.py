"""Byte-pair tokenizer: text to token ids and back, without loss for any text.

Every byte has a token, so nothing is unknown. The vocabulary is a JSON file that `train_writer.py` makes.
"""

import codecs
import json
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

END_OF_TEXT = 256
FIRST_MERGED_TOKEN = 257

# Merges never cross these pieces: a word with the space before it, digits, punctuation, white space.
PIECES = re.compile(r" ?[^\W\d_]+| ?\d+| ?[^\w\s]+|\s+|.", re.DOTALL)

# A piece is cut here: the merge loop is quadratic in its length.
MAX_PIECE_BYTES = 64


class Tokenizer:
    def __init__(self, merges: Iterable[tuple[int, int]]) -> None:
        self._merged: dict[tuple[int, int], int] = {}
        self._bytes_of: list[bytes] = [bytes([value]) for value in range(256)] + [b""]
        for token, (left, right) in enumerate(merges, start=FIRST_MERGED_TOKEN):
            self._merged[left, right] = token
            self._bytes_of.append(self._bytes_of[left] + self._bytes_of[right])

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls((left, right) for left, right in document["merges"])

    def __len__(self) -> int:
        return len(self._bytes_of)

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = []
        for piece in PIECES.findall(text):
            # A lone surrogate (legal in JSON, not in UTF-8) becomes "?".
            raw = piece.encode("utf-8", errors="replace")
            for start in range(0, len(raw), MAX_PIECE_BYTES):
                tokens.extend(self._merge(list(raw[start : start + MAX_PIECE_BYTES])))
        return tokens

    def _merge(self, tokens: list[int]) -> list[int]:
        """Apply the earliest learned merge until none applies (a merge's id is its rank)."""
        while len(tokens) > 1:
            candidates = [self._merged[pair] for pair in pairwise(tokens) if pair in self._merged]
            if not candidates:
                break
            tokens = self._replace(tokens, min(candidates))
        return tokens

    def _replace(self, tokens: list[int], merged: int) -> list[int]:
        result: list[int] = []
        position = 0
        while position < len(tokens):
            pair = (tokens[position], tokens[position + 1]) if position + 1 < len(tokens) else None
            if pair is not None and self._merged.get(pair) == merged:
                result.append(merged)
                position += 2
            else:
                result.append(tokens[position])
                position += 1
        return result

    def bytes_of(self, token: int) -> bytes:
        return self._bytes_of[token]

    def decode(self, tokens: Iterable[int]) -> str:
        return b"".join(self._bytes_of[token] for token in tokens).decode("utf-8", errors="replace")

    def stream_decoder(self) -> "StreamDecoder":
        return StreamDecoder(self)


class StreamDecoder:
    """Turns tokens into text piece by piece; a character split over two tokens waits until it is whole."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token: int) -> str:
        return self._decoder.decode(self._tokenizer.bytes_of(token))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)
