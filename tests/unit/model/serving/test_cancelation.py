"""The window in which a cancel may strike, without signals: the handler is called where one could come."""

import json
import socket

import pytest

from cog import CancelationException
from tidemill.model.serving.cancelation import Cancelation
from tidemill.model.wire import protocol


@pytest.fixture
def ends():
    worker, child = socket.socketpair()
    with worker, child:
        yield worker, child


def say(worker, *frames):
    worker.sendall(b"".join(map(protocol.encode, frames)))


def cancel(prediction):
    return {"t": "cancel", "id": prediction}


def test_it_strikes_inside_the_window_once(ends):
    worker, child = ends
    cancelation = Cancelation(child)
    say(worker, cancel("a"))
    assert cancelation.begin("a")

    def model():
        with pytest.raises(CancelationException):
            cancelation.on_signal(0, None)
        cancelation.on_signal(0, None)
        return "swallowed"

    assert cancelation.call(model) == "swallowed"
    assert cancelation.delivered
    cancelation.end()
    cancelation.on_signal(0, None)


def test_it_does_not_strike_outside_the_window_nor_another_prediction(ends):
    worker, child = ends
    cancelation = Cancelation(child)
    assert cancelation.begin("a")
    say(worker, cancel("b"))
    assert cancelation.call(lambda: cancelation.on_signal(0, None)) is None
    say(worker, cancel("a"))
    cancelation.on_signal(0, None)
    assert not cancelation.delivered
    with pytest.raises(CancelationException):
        cancelation.call(lambda: "a generator's next step")
    cancelation.end()
    assert not cancelation.begin("b")
    assert cancelation.begin("c")
    assert cancelation.call(lambda: "fine") == "fine"


def test_shielded_code_finishes_first(ends):
    worker, child = ends
    cancelation = Cancelation(child)
    cancelation.begin("a")
    steps = []

    def model():
        with cancelation:
            say(worker, cancel("a"))
            cancelation.on_signal(0, None)
            steps.append("frame written")
        steps.append("never")

    with pytest.raises(CancelationException):
        cancelation.call(model)
    assert steps == ["frame written"]


def test_what_is_queued_is_withdrawn_while_another_runs(ends):
    worker, child = ends
    cancelation = Cancelation(child)
    withdrawn = []
    cancelation.withdraw_queued = lambda: withdrawn.append(cancelation.take_cancel("b"))
    cancelation.on_signal(0, None)
    cancelation.begin("a")
    say(worker, cancel("b"))
    cancelation.on_signal(0, None)
    cancelation.on_signal(0, None)
    assert withdrawn == [True]
    assert cancelation.begin("b")


def test_stop_and_the_end_of_the_worker(ends):
    worker, child = ends
    first, second = Cancelation(child), Cancelation(child)
    first.receive()
    assert not first.stopping
    say(worker, {"t": "stop"})
    first.receive()
    assert first.stopping
    worker.close()
    second.receive()
    assert second.stopping


def test_frames_may_come_in_pieces(ends):
    worker, child = ends
    cancelation = Cancelation(child)
    data = protocol.encode(cancel("a"))
    for byte in data:
        worker.sendall(bytes([byte]))
        cancelation.receive()
    assert cancelation.take_cancel("a")
    assert not cancelation.take_cancel("a")


def test_early_cancels_are_bounded(ends):
    worker, child = ends
    cancelation = Cancelation(child)
    for number in range(5000):
        say(worker, cancel(str(number)))
        cancelation.receive()
    assert not cancelation.take_cancel("0")
    assert cancelation.take_cancel("4999")


def test_the_frame_is_strict_json():
    with pytest.raises(ValueError, match="JSON"):
        protocol.encode({"t": "metric", "value": float("nan")})
    with pytest.raises(protocol.FrameTooLargeError):
        protocol.encode({"t": "done", "output": "x" * protocol.FRAME_LIMIT_BYTES})
    assert json.loads(protocol.encode({"t": "log", "text": "\ud800é"})[4:]) == {"t": "log", "text": "?é"}


def test_a_shared_call_is_interrupted_when_all_of_it_is_canceled(ends):
    worker, child = ends
    cancelation = Cancelation(child)
    dropped = []
    cancelation.withdraw_queued = lambda: dropped.extend(cancelation.take_canceled())
    cancelation.begin_all(["a", "b", "c"])

    def model():
        say(worker, cancel("b"))
        cancelation.on_signal(0, None)
        assert dropped == ["b"]
        say(worker, cancel("a"))
        cancelation.on_signal(0, None)
        assert dropped == ["b", "a"]
        say(worker, cancel("c"))
        cancelation.on_signal(0, None)

    with pytest.raises(CancelationException):
        cancelation.call(model)
    assert cancelation.delivered
    assert dropped == ["b", "a"]
    cancelation.end()
    assert not any(cancelation.take_cancel(prediction) for prediction in "abc")


def test_who_is_canceled_before_a_shared_call_begins_is_told_once(ends):
    worker, child = ends
    cancelation = Cancelation(child)
    say(worker, cancel("a"))
    cancelation.receive()
    cancelation.begin_all(["a", "b"])
    assert cancelation.take_canceled() == ["a"]
    assert cancelation.take_canceled() == []
    assert cancelation.call(lambda: "fine") == "fine"
