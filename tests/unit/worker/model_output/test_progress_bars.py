import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.worker.model_output.progress_bars import progress


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", None),
        ("100% done", None),
        ("accuracy 35% | loss 3", None),
        ("35%|███▌      | 7/20 [00:01<00:03,  4.20it/s]", 0.35),
        ("\r  0%|          | 0/20 [00:00<?, ?it/s]", 0.0),
        ("\rDenoising:  45%|####5     | 9/20", 0.45),
        ("\r 10%|#| 1/10\r 20%|##| 2/10", 0.2),
        ("\r100%|##########| 20/20 [00:04<00:00]\n", 1.0),
        ("\r 12.5%|#2| 1/8", 0.12),
        ("model%|x 999%|", None),
        ("a1234%|", None),
    ],
)
def test_bars(text, share):
    assert progress(text) == share


@given(st.text(max_size=200))
def test_anything_may_be_printed(text):
    share = progress(text)
    assert share is None or 0 <= share <= 1


@given(st.integers(0, 100), st.text(max_size=50), st.text(alphabet="abc \n\r/[]#", max_size=50))
def test_the_last_bar_counts(percent, before, after):
    assert progress(f"{before}\r{percent:3}%|##   |{after}") == percent / 100


@given(st.text(min_size=1, max_size=20))
def test_a_bar_far_back_is_history(noise):
    assert progress("\r 50%|##  |" + noise * 1200) == progress((noise * 1200)[-1024:])
