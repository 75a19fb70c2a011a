"""Train the writer: learn the vocabulary, then the transformer; keep the weights with the best validation loss.

Run `python fetch_corpus.py` first. Needs torch 2.9 or later. The same seed and thread count give the same weights
on the same machine; with --minutes the schedule also follows the clock, and the run is no longer repeatable.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from bpe import END_OF_TEXT, Tokenizer
from torch import Tensor
from torch.nn import functional
from train_bpe import learn_merges, save_merges
from transformer import Shape, Transformer, computes_in_bfloat16

HERE = Path(__file__).parent
WEIGHTS, VOCABULARY = HERE / "weights.pt", HERE / "vocabulary.json"

# Moby-Dick is a quarter of the text and nearer to today's English, so it is read more often than its share.
SOURCES = {"moby_dick": 0.45, "bible": 0.55}
# Every 25th chapter is kept for validation.
VALIDATION_STRIDE = 25
VALIDATION_WINDOWS = 64

MUON_LEARNING_RATE, ADAM_LEARNING_RATE = 0.02, 0.003
MUON_WEIGHT_DECAY = 0.1
WARM_UP_STEPS = 50
# The last part of training, in which the learning rate falls to zero.
COOL_DOWN = 0.6


@dataclass(frozen=True)
class Options:
    steps: int
    batch: int
    dropout: float
    seed: int
    threads: int
    minutes: float
    evaluate_every: int


class Corpus:
    """Token streams by source, and random windows of them."""

    def __init__(self, tokenizer: Tokenizer, chapters: dict[str, list[str]]) -> None:
        self.streams = {name: _stream(tokenizer, texts) for name, texts in chapters.items()}

    def sample(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        shares = torch.tensor([SOURCES[name] for name in self.streams])
        chosen = torch.multinomial(shares, count, replacement=True, generator=generator)
        streams = list(self.streams.values())
        return torch.stack([_window(streams[index], length, generator) for index in chosen.tolist()])


def _stream(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    tokens: list[int] = []
    for text in texts:
        tokens += [END_OF_TEXT, *tokenizer.encode(text)]
    return torch.tensor(tokens)


def _window(stream: Tensor, length: int, generator: torch.Generator) -> Tensor:
    start = int(torch.randint(len(stream) - length, (1,), generator=generator))
    return stream[start : start + length]


def load_chapters() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    training, validation = {}, {}
    for name in SOURCES:
        chapters = json.loads((HERE / "corpus" / f"{name}.json").read_text(encoding="utf-8"))
        validation[name] = chapters[::VALIDATION_STRIDE]
        training[name] = [chapter for index, chapter in enumerate(chapters) if index % VALIDATION_STRIDE]
    return training, validation


def initialise(model: Transformer, generator: torch.Generator) -> None:
    with torch.no_grad():
        model.embedding.normal_(std=0.02, generator=generator)
        for block in model.blocks:
            for name, weight in block.named_parameters():
                if name in {"attend_out", "contract"}:
                    weight.zero_()  # each block starts as the identity
                else:
                    weight.normal_(std=weight.shape[1] ** -0.5, generator=generator)


def loss_of(model: Transformer, windows: Tensor, dropout: float) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=computes_in_bfloat16()):
        logits = model(windows[:, :-1], dropout=dropout)
    return functional.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten())


def learning_rate_share(step: int, progress: float) -> float:
    return min(1.0, (step + 1) / WARM_UP_STEPS, (1.0 - progress) / COOL_DOWN)


def progress_by_step(options: Options) -> Iterator[tuple[int, float]]:
    """(step, share of the training that is done), until all is done."""
    started = time.monotonic()
    for step in range(options.steps):
        elapsed = (time.monotonic() - started) / 60 / options.minutes
        if elapsed >= 1.0:
            return
        yield step, max(step / options.steps, elapsed)


def train(options: Options) -> None:
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    training, validation = load_chapters()
    shape = Shape()
    if not VOCABULARY.exists():
        save_merges(learn_merges((text for texts in training.values() for text in texts), shape.vocabulary), VOCABULARY)
    tokenizer = Tokenizer.load(VOCABULARY)
    corpus, held_out = Corpus(tokenizer, training), Corpus(tokenizer, validation)
    print({name: len(stream) for name, stream in corpus.streams.items()}, "tokens", flush=True)
    fixed = held_out.sample(VALIDATION_WINDOWS, shape.context_tokens + 1, torch.Generator().manual_seed(1))
    model = Transformer(shape)
    initialise(model, generator)
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters", flush=True)
    optimizers = [
        torch.optim.Muon(model.blocks.parameters(), lr=MUON_LEARNING_RATE, weight_decay=MUON_WEIGHT_DECAY),
        torch.optim.AdamW([model.embedding], lr=ADAM_LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    base_rates = [MUON_LEARNING_RATE, ADAM_LEARNING_RATE]
    best, started = math.inf, time.monotonic()
    for step, progress in progress_by_step(options):
        for optimizer, rate in zip(optimizers, base_rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * learning_rate_share(step, progress)
        loss = loss_of(model, corpus.sample(options.batch, shape.context_tokens + 1, generator), options.dropout)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % options.evaluate_every == 0:
            best = keep_if_better(model, fixed, best)
            print(
                f"{time.monotonic() - started:6.0f} s step {step + 1} {progress:.3f} loss {loss:.3f} best {best:.4f}",
                flush=True,
            )
    print(f"best validation loss {keep_if_better(model, fixed, best):.4f} nats per token")


def keep_if_better(model: Transformer, held_out: Tensor, best: float) -> float:
    with torch.no_grad():
        loss = sum(loss_of(model, part, 0.0).item() for part in held_out.chunk(4)) / 4
    if loss >= best:
        return best
    half = {name: weight.detach().to(torch.float16) for name, weight in model.state_dict().items()}
    unfinished = WEIGHTS.with_suffix(".tmp")
    torch.save({"shape": asdict(model.shape), "validation_loss": loss, "weights": half}, unfinished)
    unfinished.replace(WEIGHTS)
    return loss


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the writer on ./corpus")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=32, help="windows of 256 tokens in a step")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=math.inf, help="finish within this time")
    parser.add_argument("--evaluate-every", type=int, default=100)
    train(Options(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
