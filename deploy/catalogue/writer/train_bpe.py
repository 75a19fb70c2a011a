"""Learn the byte-pair vocabulary: the most frequent neighbouring pair becomes a token, again and again."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from bpe import FIRST_MERGED_TOKEN, PIECES

Pair = tuple[int, int]


def learn_merges(texts: Iterable[str], vocabulary: int) -> list[Pair]:
    counts = Counter(piece for text in texts for piece in PIECES.findall(text))
    words = [list(piece.encode("utf-8")) for piece in counts]
    weights = list(counts.values())
    frequency: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, word in enumerate(words):
        _account(word, weights[index], index, frequency, where)
    merges: list[Pair] = []
    for token in range(FIRST_MERGED_TOKEN, vocabulary):
        # Ties go to the smaller ids, so that the same text always gives the same vocabulary.
        pair = max(frequency, key=lambda candidate: (frequency[candidate], (-candidate[0], -candidate[1])))
        merges.append(pair)
        for index in sorted(where[pair]):
            _account(words[index], -weights[index], index, frequency, None)
            words[index] = _merge(words[index], pair, token)
            _account(words[index], weights[index], index, frequency, where)
        del frequency[pair], where[pair]
    return merges


def _account(
    word: list[int], weight: int, index: int, frequency: Counter[Pair], where: defaultdict[Pair, set[int]] | None
) -> None:
    for pair in pairwise(word):
        frequency[pair] += weight
        if where is not None:
            where[pair].add(index)


def _merge(word: list[int], pair: Pair, token: int) -> list[int]:
    result: list[int] = []
    position = 0
    while position < len(word):
        if tuple(word[position : position + 2]) == pair:
            result.append(token)
            position += 2
        else:
            result.append(word[position])
            position += 1
    return result


def save_merges(merges: list[Pair], path: Path) -> None:
    path.write_text(json.dumps({"merges": merges}, separators=(",", ":")) + "\n", encoding="utf-8")
