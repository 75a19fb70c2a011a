"""Fine-tunes the writer on a text: about a minute on one core of a CPU; the same seed on the same machine repeats it.

What it starts from are the weights of the version it belongs to. The weights it makes have the form of `weights.pt`.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path as LocalPath

import torch
from bpe import END_OF_TEXT, Tokenizer
from torch import Tensor
from torch.nn import functional
from transformer import Shape, Transformer, computes_in_bfloat16

from cog import BaseModel, Input, Path, current_scope

HERE = LocalPath(__file__).parent

# A page: from less the model learns to recite, not to write.
MIN_TEXT_TOKENS = 400
# About a book. The longest training reads less than a million tokens, and the text is in memory as a whole.
MAX_TEXT_BYTES = 4_000_000
# Enough to see what a step has done, and few enough to take no time.
MEASURED_WINDOWS = 8
WINDOWS_PER_STEP = 4
# 0.4 s of one AVX2 core each, 0.2 s where the CPU computes in bfloat16.
DEFAULT_STEPS = 150
LEARNING_RATE = 1e-3
WARM_UP_STEPS = 5
DROPOUT = 0.1


class TrainingOutput(BaseModel):
    weights: Path


@dataclass(frozen=True)
class Options:
    steps: int
    learning_rate: float
    seed: int


def train(
    text: Path = Input(
        description="Plain text in UTF-8 to learn from, from a page to a book", accept=["text/plain", "text/markdown"]
    ),
    steps: int = Input(
        description="How often the weights are changed; 150 steps take about a minute",
        default=DEFAULT_STEPS,
        ge=1,
        le=400,
    ),
    learning_rate: float = Input(
        description="How much a step changes at most; more follows the text more closely",
        default=LEARNING_RATE,
        ge=1e-5,
        le=1e-2,
    ),
    seed: int = Input(description="Same seed, same weights on the same machine", default=1, ge=0),
) -> TrainingOutput:
    # As in `predict.py`: a second thread saves a third on an idle machine and costs many times that on a busy one.
    torch.set_num_threads(1)
    tokens = tokens_of(read(text))
    print(f"{len(tokens):,} tokens to learn from")
    model = load_model(os.environ.get("COG_WEIGHTS") or HERE / "weights.pt")
    before = loss_on(model, tokens)
    fine_tune(model, tokens, Options(steps, learning_rate, seed % 2**63))
    after = loss_on(model, tokens)
    print(f"loss on the text: {before:.3f} nats per token before, {after:.3f} after")
    current_scope().record_metric("loss_before", round(before, 4))
    current_scope().record_metric("loss_after", round(after, 4))
    path = Path(tempfile.mkdtemp()) / "weights.pt"
    save(model, after, path)
    return TrainingOutput(weights=path)


def read(text: LocalPath) -> str:
    if text.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError(f"The text has {text.stat().st_size:,} bytes; at most {MAX_TEXT_BYTES:,} are read.")
    try:
        return text.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"The text is not UTF-8: byte {error.start:,} is {error.object[error.start]:#04x}.") from None


def tokens_of(text: str) -> Tensor:
    tokens = Tokenizer.load(HERE / "vocabulary.json").encode(text)
    if len(tokens) < MIN_TEXT_TOKENS:
        raise ValueError(
            f"The text is too short: it has {len(tokens)} tokens, and at least {MIN_TEXT_TOKENS} are needed "
            "(about 1,500 letters)."
        )
    return torch.tensor([END_OF_TEXT, *tokens])


def load_model(path: LocalPath | str) -> Transformer:
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = Transformer(Shape(**saved["shape"]))
    # Copies: what was read may be what another instance has mapped.
    model.load_state_dict({name: weight.float().clone() for name, weight in saved["weights"].items()}, assign=True)
    return model.requires_grad_(True)


def save(model: Transformer, loss: float, path: LocalPath) -> None:
    half = {name: weight.detach().to(torch.float16) for name, weight in model.state_dict().items()}
    torch.save({"shape": asdict(model.shape), "validation_loss": loss, "weights": half}, path)


def fine_tune(model: Transformer, tokens: Tensor, options: Options) -> None:
    torch.manual_seed(options.seed)  # what dropout draws from
    generator = torch.Generator().manual_seed(options.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    bar = Bar(options.steps)
    for step in range(options.steps):
        optimizer.param_groups[0]["lr"] = options.learning_rate * share_of_rate(step, options.steps)
        loss = loss_of(model, windows(tokens, starts(model, tokens, generator)), DROPOUT)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        bar.draw(step + 1, f"loss={loss.item():.3f}")
    bar.close()


def share_of_rate(step: int, steps: int) -> float:
    """Up at once, since fresh averages of the optimizer make its first steps wild, then down to zero."""
    return min((step + 1) / min(WARM_UP_STEPS, steps), (steps - step) / steps)


def starts(model: Transformer, tokens: Tensor, generator: torch.Generator) -> Iterator[slice]:
    length = min(model.shape.context_tokens + 1, len(tokens))
    for start in torch.randint(len(tokens) - length + 1, (WINDOWS_PER_STEP,), generator=generator).tolist():
        yield slice(start, start + length)


def windows(tokens: Tensor, parts: Iterator[slice]) -> Tensor:
    return torch.stack([tokens[part] for part in parts])


def loss_of(model: Transformer, read: Tensor, dropout: float) -> Tensor:
    """In nats per token."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=computes_in_bfloat16()):
        logits = model(read[:, :-1], dropout=dropout)
    return functional.cross_entropy(logits.flatten(0, 1).float(), read[:, 1:].flatten())


def loss_on(model: Transformer, tokens: Tensor) -> float:
    """On windows that are the same before and after."""
    length = min(model.shape.context_tokens + 1, len(tokens))
    step = max(1, (len(tokens) - length) // MEASURED_WINDOWS)
    parts = (slice(start, start + length) for start in range(0, len(tokens) - length + 1, step))
    with torch.no_grad():
        return loss_of(model, windows(tokens, parts), 0.0).item()


class Bar:
    """Draws what tqdm would, so that it is understood as progress."""

    WIDTH = 20

    def __init__(self, total: int) -> None:
        self._total = total
        self._started = time.monotonic()

    def draw(self, done: int, note: str) -> None:
        elapsed = time.monotonic() - self._started
        filled = self.WIDTH * done // self._total
        blocks = "█" * filled + " " * (self.WIDTH - filled)
        left = elapsed / done * (self._total - done)
        times = f"{clock(elapsed)}<{clock(left)}, {done / max(elapsed, 1e-9):.2f}it/s"
        share = 100 * done // self._total
        sys.stderr.write(f"\rFine-tuning: {share:3d}%|{blocks}| {done}/{self._total} [{times}, {note}]")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\n")
        sys.stderr.flush()


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
