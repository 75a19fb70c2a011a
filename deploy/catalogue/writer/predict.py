"""Continues a text in the manner of its sources, a piece at a time, with a transformer of three million weights."""

from collections.abc import Iterator
from pathlib import Path as LocalPath
from typing import Optional

import torch
from bpe import END_OF_TEXT, Tokenizer
from sampling import Sampling, choose
from transformer import KeyValueCache, Shape, Transformer

from cog import BasePredictor, ConcatenateIterator, Input, Path

HERE = LocalPath(__file__).parent

# Only a prompt's last tokens are read; the limit bounds the work of cutting it into tokens (about ten pages).
MAX_PROMPT_CHARACTERS = 20_000


class Predictor(BasePredictor):
    def setup(self, weights: Optional[Path] = None) -> None:
        """`weights` are what `fine_tune.py` has made of those of this folder."""
        # The products are too small to share out: a second thread gains a third on an idle machine, and waiting for
        # it makes generation twenty times slower on a busy one.
        torch.set_num_threads(1)
        self.tokenizer = Tokenizer.load(HERE / "vocabulary.json")
        saved = torch.load(weights or HERE / "weights.pt", map_location="cpu", weights_only=True, mmap=True)
        self.model = Transformer(Shape(**saved["shape"]))
        self.model.load_state_dict({name: weight.float() for name, weight in saved["weights"].items()}, assign=True)
        self.model.requires_grad_(False)

    def predict(
        self,
        prompt: str = Input(description="Text to continue", max_length=MAX_PROMPT_CHARACTERS),
        max_tokens: int = Input(
            description="Most tokens to write; one is three to four letters", default=200, ge=1, le=500
        ),
        temperature: float = Input(description="0 takes the likeliest token each time", default=0.8, ge=0.0, le=2.0),
        top_k: int = Input(description="Choose among this many of the likeliest tokens; 0 for all", default=50, ge=0),
        top_p: float = Input(
            description="Choose among the likeliest tokens of this total probability", default=0.95, ge=0.01, le=1.0
        ),
        presence_penalty: float = Input(
            description="Makes tokens of the last sentence or so less likely; 0 for none", default=0.6, ge=0.0, le=2.0
        ),
        seed: Optional[int] = Input(description="Same seed, same text; random when left out", default=None, ge=0),
    ) -> ConcatenateIterator[str]:
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed % 2**63)
        sampling = Sampling(temperature, top_k, top_p, presence_penalty)
        tokens = self._continue(self.tokenizer.encode(prompt), sampling, generator)
        pieces = self.tokenizer.stream_decoder()
        for _, token in zip(range(max_tokens), tokens, strict=False):
            if piece := pieces.feed(token):
                yield piece
        if rest := pieces.finish():
            yield rest

    def _continue(self, prompt: list[int], sampling: Sampling, generator: torch.Generator) -> Iterator[int]:
        """Tokens after the prompt, until the model ends the text."""
        context = self.model.shape.context_tokens
        seen = [END_OF_TEXT, *prompt][-context:]
        unread, cache = seen, KeyValueCache(self.model.shape)
        while True:
            with torch.inference_mode():
                logits = self.model(torch.tensor([unread]), cache)[0, -1]
            token = choose(logits, seen, sampling, generator)
            if token == END_OF_TEXT:
                return
            yield token
            seen, unread = [*seen, token][-context:], [token]
            if cache.length == context:
                # The window is full: read its second half again, as a new beginning.
                unread, cache = seen[-context // 2 :], KeyValueCache(self.model.shape)
