import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.model.logs.owners import NO_OWNER, LogOwner, set_owner
from tidemill.model.logs.streams import Logs, LogStream, split_finished


class Recorder:
    def __init__(self):
        self.owners = {name: LogOwner((name,)) for name in "ab"}
        self.sent = []
        self.logs = Logs(lambda owner, text: self.sent.append((next(iter(owner.ids), None), text)))
        self.out = LogStream(self.logs, "stdout", 1)
        self.err = LogStream(self.logs, "stderr", 2)

    def of(self, who):
        set_owner(self.owners[who])

    def finish(self, who):
        self.logs.finish(self.owners[who])

    def text(self, who):
        return "".join(text for whose, text in self.sent if whose == who)


@pytest.fixture
def recorder():
    set_owner(NO_OWNER)
    yield Recorder()
    NO_OWNER.unfinished = NO_OWNER.decoders = None


@pytest.mark.parametrize(
    ("text", "ready", "rest"),
    [
        ("", "", ""),
        ("a", "", "a"),
        ("a\n", "a\n", ""),
        ("a\nb", "a\n", "b"),
        ("\r 10%", "\r 10%", ""),
        ("a\nb\rc", "a\nb\rc", ""),
    ],
)
def test_split(text, ready, rest):
    assert split_finished(text) == (ready, rest)


def test_a_line_leaves_when_it_is_whole(recorder):
    recorder.of("a")
    print("one", 2, file=recorder.out)
    assert recorder.sent == [("a", "one 2\n")]


def test_an_unfinished_line_stays_with_its_prediction(recorder):
    recorder.of("a")
    recorder.out.write("first")
    recorder.finish("a")
    recorder.of("b")
    recorder.out.write("second\n")
    assert recorder.sent == [("a", "first"), ("b", "second\n")]


def test_streams_do_not_mix_within_a_line(recorder):
    recorder.out.write("out ")
    recorder.err.write("err\n")
    recorder.out.write("put\n")
    assert recorder.sent == [(None, "err\n"), (None, "out put\n")]


def test_flush_means_now(recorder):
    recorder.out.write("token")
    recorder.out.flush()
    assert recorder.sent == [(None, "token")]


def test_bytes_are_decoded_across_writes(recorder):
    for byte in "é€\n".encode():
        recorder.out.buffer.write(bytes([byte]))
    recorder.out.buffer.write(b"\xff\n")
    assert recorder.text(None) == "é€\n�\n"


def test_a_long_unfinished_line_leaves_before_its_end(recorder):
    recorder.out.write("x" * 200_000)
    assert recorder.text(None) == "x" * 200_000


def test_it_looks_like_a_text_stream(recorder):
    assert recorder.out.writable()
    assert not recorder.out.isatty()
    assert recorder.out.fileno() == 1
    assert recorder.out.encoding == "utf-8"
    recorder.out.reconfigure(line_buffering=True)
    recorder.out.close()
    recorder.out.write("still open\n")
    assert recorder.text(None) == "still open\n"
    with pytest.raises(TypeError, match="must be str, not bytes"):
        recorder.out.write(b"x")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.text("xy\n\r", max_size=4)), max_size=30))
def test_nothing_is_lost_added_or_given_to_another(writes):
    recorder = Recorder()
    for who, text in writes:
        recorder.of(who)
        recorder.out.write(text)
    for who in "ab":
        recorder.finish(who)
        assert recorder.text(who) == "".join(text for whose, text in writes if whose == who)


def test_what_is_printed_for_an_owner_that_is_over_is_nobodys(recorder):
    recorder.of("a")
    recorder.finish("a")
    print("late", file=recorder.out)
    assert recorder.sent == [(None, "late\n")]


def test_half_a_character_ends_with_its_owner(recorder):
    recorder.of("a")
    recorder.out.buffer.write("half é".encode()[:-1])
    recorder.finish("a")
    recorder.of("b")
    recorder.out.buffer.write("é\n".encode())
    assert recorder.sent == [("a", "half \N{REPLACEMENT CHARACTER}"), ("b", "é\n")]
