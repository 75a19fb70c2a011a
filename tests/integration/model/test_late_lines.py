"""Whose a line is: of the prediction that started the thread or the process, or nobody's once that has ended.

Prediction `a` starts something that waits for a file; `b` makes the file and waits until the text has been heard.
"""

import pytest

WAYS = [
    "thread",
    "timer",
    "executor",
    "pool",
    "map",
    "thread that starts a process",
    "subprocess",
    "subprocess that is told where",
    "system",
    "spawn",
    "fork",
    "multiprocessing",
    "daemon",
]
FORKS = {"multiprocessing"}  # it takes a /dev/shm


class Files:
    """Files in a child's temporary directory that let it go on."""

    def __init__(self, child, folder):
        self.child = child
        self.release, self.seen = folder / "release", folder / "seen"

    def values(self, way, text, *, waits=False):
        wait_for = str(self.seen) if waits else ""
        return {"way": way, "text": text, "release": str(self.release), "wait_for": wait_for}


@pytest.fixture
def started(launch):
    async def start(entry="Predictor"):
        tmp = launch.tmp()
        child = await launch("proc_late", f"predict.py:{entry}", sandbox={"tmp": str(tmp)}, tmp=str(tmp))
        return child, Files(child, tmp)

    return start


def heard(child):
    """All that was said, with whom it counts to: "pipe" for what C code writes."""
    return "".join(frame["text"] for frame in child.of("log")) + child.pipe.decode("utf-8", "replace")


@pytest.mark.parametrize("entry", ["Predictor", "Async", "Batched"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_late_line_is_nobodys_and_never_that_of_the_next_prediction(started, entry, way):
    child, files = await started(entry)
    if way in FORKS and not child.has_own_mounts:
        pytest.skip("a child without mounts of its own gets no /dev/shm")
    await child.predict("a", **files.values(way, "secret of A"))
    child.run("b", **files.values("", "B", waits=True))
    files.release.touch()
    await child.until(lambda: "late secret of A\n" in heard(child))
    files.seen.touch()
    done = await child.done("b")
    assert done["status"] == "succeeded", done
    assert (child.logs("a"), child.logs("b")) == ("said by secret of A\n", "said by B\n")
    assert "secret of A" not in child.pipe.decode()  # which would count to whoever runs
    assert not [frame for frame in child.of("metric") if frame["id"] == "b"]
    await child.predict("c", **files.values("", "C"))
    assert child.logs("c") == "said by C\n"


@pytest.mark.parametrize("way", ["run_in_executor", "to_thread", "joined thread", "process"])
async def test_lines_of_threads_and_processes_of_an_async_prediction_are_its_own(started, way):
    child, files = await started("Async")
    for name in "xyz":
        child.run(name, **files.values(way, name))
    for name in "xyz":
        await child.done(name)
        assert sorted(child.logs(name).splitlines()) == [f"late {name}", f"said by {name}"]


async def test_a_task_that_outlives_its_prediction_speaks_for_nobody(started):
    child, files = await started("Async")
    await child.predict("a", **files.values("task", "A"))
    files.release.touch()
    await child.until(lambda: "late A\n" in child.logs(""))
    assert child.logs("a") == "said by A\n"


@pytest.mark.parametrize("way", ["by_executor", "by_pool"])
async def test_work_handed_to_a_pool_of_set_ups_is_said_by_who_hands_it_over(started, way):
    child, files = await started()
    for name in "xy":
        await child.predict(name, **files.values(way, name))
        assert child.logs(name) == f"late {name}\nsaid by {name}\n"
        assert [frame["value"] for frame in child.of("metric", name)] == [1]
    assert child.logs(None) == "warm\n"


async def test_a_late_task_of_set_ups_pool_does_not_speak_for_the_next(started):
    child, files = await started()
    await child.predict("a", **files.values("late_by_executor", "A"))
    files.release.touch()
    await child.predict("b", **files.values("by_executor", "B"))
    assert child.logs("a") == "said by A\n"
    assert child.logs("b") == "late B\nsaid by B\n"
    assert child.logs("") == "late A\n"


@pytest.mark.parametrize("way", ["half_of_python", "half_of_a_process"])
async def test_half_a_character_is_not_completed_in_the_next_prediction(started, way):
    child, files = await started()
    await child.predict("a", **files.values(way, "A"))
    await child.predict("b", **files.values("", "B"))
    assert child.logs("a").startswith("half ")
    assert child.logs("b") == "said by B\n"


async def test_output_of_c_code_that_nobody_has_read_yet_is_left_behind_with_its_prediction(started):
    """However busy the worker is: what the next one writes comes by another pipe."""
    child, files = await started()
    for number in range(50):
        child.run(str(number), **files.values("c", str(number)))
    await child.done("49")
    assert [child.pipe_at_done[str(n)].decode() for n in range(50)] == [
        "".join(f"C of {m}\n" for m in range(n + 1)) for n in range(50)
    ]


async def test_what_a_model_redirects_itself_goes_where_it_says(started):
    child, files = await started()
    await child.predict("a", **files.values("redirected", "out.txt"))
    assert child.logs("a") == "into the file\nsaid by out.txt\n"
