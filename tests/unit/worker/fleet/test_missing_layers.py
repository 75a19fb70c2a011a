"""What a machine's sandbox lacks is said at start: loud where models will be refused, plain where they run without."""

import structlog

from tidemill.model.sandbox.settings import IDENTITY, LAYERS, MOUNTS, NETWORK, SYSCALLS, SandboxLayer
from tidemill.worker.fleet import report
from tidemill.worker.fleet.report import Reporter, ReportSettings, layer_reports
from tidemill.worker.instances.confinement import Policy


async def test_each_layer_that_is_missing_is_reported_with_its_reason(tmp_path, monkeypatch):
    off = {"identity": "the worker is not root", "files": "Landlock ABI 0, at least 3 is needed"}

    async def available(_home):
        return [SandboxLayer(name, name not in off, off.get(name, "by some means")) for name in LAYERS]

    monkeypatch.setattr(report, "available_layers", available)
    settings = ReportSettings(home=tmp_path, capacity=1, cache_limit_bytes=1)
    reporter = Reporter(None, None, None, Policy(), settings)
    with structlog.testing.capture_logs() as logs:
        await reporter.probe_layers()
    said = {entry["layer"]: (entry["log_level"], entry["reason"], entry["required"]) for entry in logs}
    assert said == {
        "files": ("error", "Landlock ABI 0, at least 3 is needed", True),
        "identity": ("warning", "the worker is not root", False),
    }


def test_a_report_tells_which_layers_are_required():
    found = layer_reports(
        [SandboxLayer("files", on=True, detail="x"), SandboxLayer("mounts", on=False, detail="y")], ("files",)
    )
    assert [(each.name, each.on, each.required, each.detail) for each in found] == [
        ("files", True, True, "x"),
        ("mounts", False, False, "y"),
    ]


def test_memory_can_hide_only_where_processes_have_neither_namespaces_nor_a_uid_of_their_own():
    def counted(*on):
        return report.uncounted_memory([SandboxLayer(name, name in on, "somehow") for name in LAYERS])

    assert counted(MOUNTS) is None
    assert counted(IDENTITY) is None
    assert counted(NETWORK, SYSCALLS) == report.COUNTED_BY_PARENTS
    assert report.uncounted_memory([]) is None  # not known yet
