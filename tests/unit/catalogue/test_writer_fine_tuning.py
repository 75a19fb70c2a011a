"""The writer's train(): a few steps on a text change what it writes; texts that cannot be learned from are refused."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

WRITER = Path(__file__).parents[3] / "deploy" / "catalogue" / "writer"
MODULES = ("bpe", "sampling", "transformer", "predict", "fine_tune")
STEPS = 16
# What the writer has never read, in a manner of its own.
LINES = "The kettle of Zanzibar sang to the robot. The robot poured the tea, and the kettle sang again.\n"
MANUAL = "".join(f"Recipe {number}. {LINES}" for number in range(60))
PROMPT = "Recipe 7."


@pytest.fixture(autouse=True, scope="module")
def _quick(modules: dict[str, ModuleType]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modules["fine_tune"], "WINDOWS_PER_STEP", 2)
        yield


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "manual.txt"
    path.write_text(MANUAL, encoding="utf-8")
    return path


def trained(modules: dict[str, ModuleType], text: Path, **inputs: Any) -> Path:
    chosen = {"steps": STEPS, "learning_rate": 0.002, "seed": 1} | inputs
    return modules["fine_tune"].train(text=text, **chosen).weights


@pytest.fixture(scope="module")
def weights(modules, text) -> Path:
    return trained(modules, text)


def written(modules: dict[str, ModuleType], weights: Path | None) -> str:
    predictor = modules["predict"].Predictor()
    predictor.setup(weights)
    chosen = {"temperature": 0.7, "top_k": 50, "top_p": 0.9, "presence_penalty": 0.0, "seed": 3}
    return "".join(predictor.predict(prompt=PROMPT, max_tokens=60, **chosen))


def test_the_loss_on_the_text_is_far_lower(modules, weights):
    fine_tune = modules["fine_tune"]
    tokens = fine_tune.tokens_of(MANUAL)
    before = fine_tune.loss_on(fine_tune.load_model(WRITER / "weights.pt"), tokens)
    after = fine_tune.loss_on(fine_tune.load_model(weights), tokens)
    assert before > 4
    assert after < before / 2


def test_what_it_writes_then_is_in_the_words_of_the_text(modules, weights):
    words = set(re.findall(r"[A-Za-z]{3,}", LINES)) - {"The", "the", "and"}
    before, after = (words & set(re.findall(r"[A-Za-z]{3,}", written(modules, each))) for each in (None, weights))
    assert len(after) >= 4
    assert len(before) <= 1


def test_the_weights_have_the_form_of_those_it_began_with(weights):
    old, new = (torch.load(path, weights_only=True) for path in (WRITER / "weights.pt", weights))
    assert old.keys() == new.keys()
    assert old["shape"] == new["shape"]
    assert {name: (weight.dtype, weight.shape) for name, weight in old["weights"].items()} == {
        name: (weight.dtype, weight.shape) for name, weight in new["weights"].items()
    }


def test_a_seed_fixes_the_weights(modules, text):
    def one_step(seed: int) -> Any:
        return torch.load(trained(modules, text, steps=1, seed=seed), weights_only=True)["weights"]["embedding"]

    torch.testing.assert_close(one_step(5), one_step(5), rtol=0, atol=0)
    assert not torch.equal(one_step(5), one_step(2**70))


def test_a_version_that_was_trained_goes_on_from_its_weights(modules, text, weights, monkeypatch):
    monkeypatch.setitem(os.environ, "COG_WEIGHTS", str(weights))
    fine_tune = modules["fine_tune"]
    again = fine_tune.load_model(trained(modules, text, steps=1))
    assert fine_tune.loss_on(again, fine_tune.tokens_of(MANUAL)) < 3


def test_it_draws_a_bar_as_tqdm_does(modules, text, capfd):
    trained(modules, text, steps=2)
    out, err = capfd.readouterr()
    bars = err.strip("\r\n").split("\r")
    assert [re.match(r"Fine-tuning: +(\d+)%\|.{20}\| (\d)/2 \[\d\d:\d\d<", bar).groups() for bar in bars] == [
        ("50", "1"),
        ("100", "2"),
    ]
    assert re.search(r"loss on the text: [\d.]+ nats per token before, [\d.]+ after", out)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too short: it has 0 tokens, and at least 400"),
        (b"One line only.", "too short: it has"),
        (b"\xff\xfe" + "a book".encode("utf-16-le") * 500, "not UTF-8: byte 0 is 0xff"),
        (b"a " * 2_100_000, "has 4,200,000 bytes; at most 4,000,000"),
    ],
)
def test_texts_that_cannot_be_learned_from_are_refused(modules, tmp_path, content, message):
    text = tmp_path / "text"
    text.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        trained(modules, text, steps=1)


def test_a_text_with_a_byte_order_mark_is_read(modules, tmp_path):
    text = tmp_path / "text"
    text.write_bytes(b"\xef\xbb\xbf" + MANUAL.encode())
    assert modules["fine_tune"].read(text) == MANUAL


@pytest.mark.parametrize(
    ("flags", "computes"),
    [
        ("flags\t\t: sse2 avx avx2 fma", False),
        ("flags\t\t: avx2 avx512f avx512_bf16", True),
        ("flags\t\t: avx512f amx_bf16", True),
        ("Features\t: fp asimd bf16", True),
    ],
)
def test_bfloat16_is_used_only_where_the_cpu_has_instructions_for_it(modules, tmp_path, flags, computes):
    """Emulated, a step takes ten times as long: 127 s for the twelve steps of a test were seen on a CPU with AVX2."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\n{flags}\n")
    assert modules["transformer"].computes_in_bfloat16(cpuinfo) is computes
    assert modules["transformer"].computes_in_bfloat16(tmp_path / "missing") is False
