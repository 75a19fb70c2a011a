"""The writer's tokenizer loses nothing, whatever the text, and streams whole characters."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

WRITER = Path(__file__).parents[3] / "deploy" / "catalogue" / "writer"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, WRITER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bpe = load("bpe")
tokenizer = bpe.Tokenizer.load(WRITER / "vocabulary.json")
english = st.lists(st.sampled_from(["the", " whale", " said", ",", "\n", " Ahab's", "—", " 40", '"'])).map("".join)
any_text = st.text(st.characters(exclude_categories=["Cs"])) | english


def streamed(tokens: list[int]) -> list[str]:
    decoder = tokenizer.stream_decoder()
    return [*map(decoder.feed, tokens), decoder.finish()]


@given(any_text)
def test_decoding_gives_the_text_back(text):
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert all(0 <= token < len(tokenizer) and token != bpe.END_OF_TEXT for token in tokens)


@given(any_text)
def test_the_stream_is_the_text_and_never_half_a_character(text):
    pieces = streamed(tokenizer.encode(text))
    assert "".join(pieces) == text
    assert "\ufffd" in text or "\ufffd" not in "".join(pieces)


@given(st.lists(st.integers(0, 2047), max_size=40))
def test_any_tokens_stream_to_what_they_decode_to(tokens):
    assert "".join(streamed(tokens)) == tokenizer.decode(tokens)


def test_a_lone_surrogate_becomes_a_question_mark():
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a?b"


def test_the_vocabulary_has_its_size_and_covers_common_words():
    assert len(tokenizer) == 2048
    assert len(tokenizer.encode(" the whale and the sea")) == 5


def test_a_long_word_is_encoded_in_linear_time():
    assert tokenizer.decode(tokenizer.encode("a" * 20_000)) == "a" * 20_000


@pytest.fixture
def learn_merges(monkeypatch):
    monkeypatch.setitem(sys.modules, "bpe", bpe)
    return load("train_bpe").learn_merges


def test_learning_takes_the_most_frequent_pair_first(learn_merges):
    merges = learn_merges(["low lower lowest", "low slow"], bpe.FIRST_MERGED_TOKEN + 2)
    assert [chr(part) for part in merges[0]] == ["l", "o"]
    assert merges[1] == (bpe.FIRST_MERGED_TOKEN, ord("w"))


@given(text=st.lists(st.sampled_from(["low", " lower", " new", " newest", "\n"]), min_size=20).map("".join))
def test_a_learned_vocabulary_loses_nothing(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "bpe", bpe)
        merges = load("train_bpe").learn_merges([text], bpe.FIRST_MERGED_TOKEN + 4)
    learned = bpe.Tokenizer(merges)
    assert learned.decode(learned.encode(text)) == text
