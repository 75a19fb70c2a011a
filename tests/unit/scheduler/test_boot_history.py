from tidemill.scheduler.boot_history import BootHistory


def history():
    return BootHistory(failures_limit=3, backoff_s=1, backoff_limit_s=300, failures_limit_s=600)


def test_the_wait_doubles_with_every_failure_up_to_its_limit():
    boots, waits = history(), []
    for _ in range(12):
        boots.record_failure("q", 0)
        waits.append(next(s for s in range(400) if "q" not in boots.backing_off(s)))
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_what_waits_fails_at_the_limit_and_at_every_failure_after_it():
    boots = history()
    assert [boots.record_failure("q", 0) for _ in range(5)] == [False, False, True, True, True]


def test_a_boot_that_hung_until_its_limit_is_not_tried_three_times():
    assert history().record_failure("q", 0, 600)
    twice = history()
    assert not twice.record_failure("q", 0, 599)
    assert twice.record_failure("q", 0, 1)


def test_queues_are_counted_apart():
    boots = history()
    boots.record_failure("q", 0)
    boots.record_failure("q", 0)
    assert not boots.record_failure("p", 0)


def test_a_success_wipes_the_slate():
    boots = history()
    for _ in range(3):
        boots.record_failure("q", 0)
    boots.record_success(["q", "other"])
    assert boots.backing_off(0) == frozenset()
    assert not boots.record_failure("q", 0)


def test_old_failures_are_forgotten():
    boots = history()
    boots.record_failure("q", 0)
    boots.record_failure("q", 0)
    boots.expire(301)
    assert boots.record_failure("q", 301) is True
    boots.expire(1000)
    assert boots.record_failure("q", 1000) is False


def test_thousands_of_failures_do_no_harm():
    boots = history()
    for _ in range(5000):
        boots.record_failure("q", 0)
    assert boots.backing_off(299) == {"q"}
