from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.limits import GIB
from tidemill.worker.gpus import choice
from tidemill.worker.gpus.choice import Device, Evict, GpuGrant, GpuRequest, GrantHolder, Never, Wait
from tidemill.worker.gpus.devices import chosen


def device(number, memory_gib=80):
    return Device(f"GPU-{number:04d}", "Made-up GPU", number, memory_gib * GIB)


def holder(name, devices, each_gib, idle_s=None, *, ending=False):
    return GrantHolder(name, GpuGrant(tuple(devices), (each_gib * GIB,) * len(devices)), idle_s, ending)


A, B = device(0), device(1)
HALF = GpuRequest(1, 40 * GIB)
WHOLE = GpuRequest(1, None)


def test_the_hardware_says_how_many_and_how_large():
    assert choice.gpu_request("gpu-t4", asks=False) == GpuRequest(1, 16 * GIB)
    assert choice.gpu_request("gpu-h100-2x", asks=True) == GpuRequest(2, 80 * GIB)
    assert choice.gpu_request("cpu", asks=False) == GpuRequest()
    assert choice.gpu_request("cpu", asks=True) == WHOLE
    assert choice.gpu_request("no such kind", asks=True) == WHOLE


def test_an_instance_sees_its_devices_and_no_others():
    grant = choice.decide(GpuRequest(2, GIB), [A, B, device(2)], [], {})
    assert grant.environment == {"CUDA_VISIBLE_DEVICES": "GPU-0000,GPU-0001"}
    assert [file for file in grant.files if file[-1].isdigit()] == ["/dev/nvidia0", "/dev/nvidia1"]
    assert GpuGrant().environment == {"CUDA_VISIBLE_DEVICES": ""}
    assert GpuGrant().files == ()


def test_without_gpus_a_model_gets_none_and_boots_all_the_same():
    assert choice.decide(WHOLE, [], [], {}) == GpuGrant()
    assert choice.decide(GpuRequest(), [A], [], {}) == GpuGrant()


def test_more_devices_than_there_are_is_never():
    assert isinstance(choice.decide(GpuRequest(3, GIB), [A, B], [], {}), Never)


def test_the_fuller_device_is_filled_first():
    grant = choice.decide(HALF, [A, B], [holder("x", [B], 30)], {})
    assert grant.devices == (B,)
    assert choice.decide(WHOLE, [A, B], [holder("x", [B], 30)], {}).devices == (A,)


def test_what_was_observed_counts_as_well_as_what_was_reserved():
    assert choice.decide(HALF, [A], [], {A.uuid: 41 * GIB}) == Wait()  # a stranger's
    assert choice.decide(HALF, [A], [holder("x", [A], 40)], {A.uuid: 45 * GIB}) == Wait()  # it took more
    assert isinstance(choice.decide(HALF, [A], [holder("x", [A], 40)], {A.uuid: 40 * GIB}), GpuGrant)


def test_a_whole_device_is_whole_with_what_the_driver_keeps():
    assert choice.decide(WHOLE, [A], [], {A.uuid: GIB // 2}).bytes_each == (79 * GIB,)
    assert choice.decide(WHOLE, [A], [holder("x", [A], 2)], {}) == Wait()


def test_a_smaller_device_than_the_hardware_is_given_whole():
    small = device(0, memory_gib=24)
    assert choice.decide(GpuRequest(1, 80 * GIB), [small], [], {}) == GpuGrant((small,), (23 * GIB,))


def test_the_longest_idle_makes_room():
    holders = [holder("young", [A], 40, 1.0), holder("old", [A], 40, 9.0)]
    assert choice.decide(HALF, [A], holders, {}) == Evict(("old",))
    assert choice.decide(HALF, [A], [holder("busy", [A], 40), holder("young", [A], 40, 1.0)], {}) == Evict(("young",))


def test_nobody_stops_whose_end_would_not_help():
    holders = [holder("oldest, elsewhere", [B], 10, 99.0), holder("here", [A], 70, 5.0), holder("busy", [B], 65)]
    assert choice.decide(WHOLE, [A, B], holders, {}) == Evict(("here",))
    assert choice.decide(WHOLE, [A], [holder("idle", [A], 10, 9.0), holder("busy", [A], 60)], {}) == Wait()


def test_what_is_ending_is_waited_for_before_another_must_stop():
    holders = [holder("asked", [A], 40, None, ending=True), holder("idle", [A], 40, 5.0)]
    assert choice.decide(HALF, [A], holders, {}) == Wait()
    assert choice.decide(WHOLE, [A], holders, {}) == Evict(("idle",))


def test_the_operator_leaves_devices_by_number_or_uuid():
    both = (A, B)
    assert chosen(both, None) == both
    assert chosen(both, "") == ()
    assert chosen(both, "1") == (B,)
    assert chosen(both, "1, 0") == (B, A)
    assert chosen(both, "GPU-0001") == (B,)
    assert chosen(both, "GPU-00") == ()  # which of the two?
    assert chosen(both, "0,7,1") == (A,)  # as CUDA does: up to the first that is none
    assert chosen(both, "-1") == ()


sizes = st.integers(1, 80)


@st.composite
def machines(draw):
    devices = [device(number, draw(st.sampled_from([16, 24, 80]))) for number in range(draw(st.integers(1, 4)))]
    holders = [
        holder(
            f"i{number}",
            draw(st.lists(st.sampled_from(devices), min_size=1, max_size=2, unique=True)),
            draw(sizes),
            draw(st.none() | st.floats(0, 100)),
        )
        for number in range(draw(st.integers(0, 5)))
    ]
    used = {each.uuid: draw(st.integers(0, 80)) * GIB for each in devices}
    wanted = GpuRequest(draw(st.integers(1, 4)), draw(st.none() | sizes.map(lambda gib: gib * GIB)))
    return wanted, devices, holders, used


@given(machines())
def test_nothing_is_promised_twice_and_nobody_stops_in_vain(machine):
    wanted, devices, holders, used = machine
    decision = choice.decide(wanted, devices, holders, used)
    if isinstance(decision, GpuGrant):
        assert len({each.uuid for each in decision.devices}) == wanted.devices
        for each in decision.devices:
            assert decision.on(each) <= choice.free_bytes(each, holders, used)
    elif isinstance(decision, Evict):
        names = set(decision.instances)
        assert names <= {each.instance for each in holders if each.idle_s is not None}
        for spared in names:
            kept = [each for each in holders if each.instance not in names - {spared}]
            then = {
                uuid: max(
                    size - sum(h.grant.on(d) for h in holders for d in devices if d.uuid == uuid and h not in kept), 0
                )
                for uuid, size in used.items()
            }
            assert not isinstance(choice.decide(wanted, devices, kept, then), GpuGrant)
    else:
        assert isinstance(decision, Wait | Never)
