"""The writer as a child loads it: its text, its limits, and a cache that changes nothing."""

import pytest

torch = pytest.importorskip("torch")

MODULES = ("bpe", "sampling", "transformer", "predict")
DEFAULTS = {"max_tokens": 20, "temperature": 0.8, "top_k": 50, "top_p": 0.95, "presence_penalty": 0.6, "seed": 1}


@pytest.fixture(scope="module")
def predictor(modules):
    predictor = modules["predict"].Predictor()
    predictor.setup()
    return predictor


def write(predictor, prompt: str = "The old captain", **inputs) -> str:
    return "".join(predictor.predict(prompt=prompt, **(DEFAULTS | inputs)))


def test_a_seed_fixes_the_text(predictor):
    assert write(predictor, seed=3) == write(predictor, seed=3)
    assert write(predictor, seed=3, max_tokens=60) != write(predictor, seed=4, max_tokens=60)


def test_the_likeliest_text_needs_no_seed(predictor):
    assert write(predictor, temperature=0, seed=1) == write(predictor, temperature=0, seed=None)


def test_it_writes_common_words(predictor):
    text = write(predictor, "And the king said unto", max_tokens=100)
    words = text.split()
    assert len(words) > 40
    assert {"the", "and"} & set(words)


@pytest.mark.parametrize("prompt", ["", "x" * 20_000, "日本 😀", "\ud800"])
def test_any_prompt_is_continued(predictor, prompt):
    assert write(predictor, prompt, seed=2**70)


def test_text_goes_on_beyond_the_context(predictor, modules):
    """Enough tokens that the window is read again, whatever the seed ends early."""
    longest = max(
        sum(1 for _ in predictor.predict(prompt="Thus", **(DEFAULTS | {"max_tokens": 400, "seed": s})))
        for s in range(4)
    )
    assert longest > modules["transformer"].Shape().context_tokens


@pytest.mark.parametrize("prefix", [1, 17, 39])
def test_the_cache_changes_no_logit(predictor, modules, prefix):
    tokens = torch.randint(0, 2048, (1, 40), generator=torch.Generator().manual_seed(1))
    cache = modules["transformer"].KeyValueCache(predictor.model.shape)
    parts = [tokens[:, :prefix], *tokens[:, prefix:].split(1, dim=1)]
    with torch.inference_mode():
        whole = predictor.model(tokens)
        stepwise = torch.cat([predictor.model(part, cache) for part in parts], dim=1)
    torch.testing.assert_close(stepwise, whole, rtol=1e-3, atol=1e-3)


def chosen(modules, logits: list[float], seen: tuple[int, ...] = (), **options) -> set[int]:
    settings = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "presence_penalty": 0.0} | options
    sampling = modules["sampling"].Sampling(**settings)
    generator = torch.Generator().manual_seed(1)
    return {modules["sampling"].choose(torch.tensor(logits), list(seen), sampling, generator) for _ in range(200)}


def test_all_tokens_may_be_chosen_when_nothing_is_cut(modules):
    assert chosen(modules, [1.0, 1.0, 1.0]) == {0, 1, 2}


def test_top_k_keeps_that_many(modules):
    assert chosen(modules, [3.0, 2.9, 2.8, 2.7], top_k=2) == {0, 1}
    assert chosen(modules, [1.0, 1.0], top_k=99) == {0, 1}


def test_top_p_keeps_the_fewest_that_reach_it(modules):
    logits = torch.tensor([0.5, 0.3, 0.2]).log().tolist()
    assert chosen(modules, logits, top_p=0.4) == {0}
    assert chosen(modules, logits, top_p=0.6) == {0, 1}
    assert chosen(modules, logits, top_p=0.01) == {0}


def test_a_tiny_temperature_does_not_overflow(modules):
    assert chosen(modules, [900.0, 899.0], temperature=1e-30) == {0}


def test_the_penalty_takes_from_what_was_seen_lately(modules):
    window = modules["sampling"].PENALTY_WINDOW_TOKENS
    assert chosen(modules, [1.0, 0.5], seen=(0,), temperature=0, presence_penalty=1.0) == {1}
    assert chosen(modules, [1.0, 0.5, 0.0], seen=(0, *[2] * window), temperature=0, presence_penalty=1.0) == {0}
