"""`tidemill worker status` and `tidemill models trust`, for operators, on the database."""

from typing import Annotated, Any, Final

import msgspec
import typer

from tidemill.cli.admin.database import Connection, run_on_database
from tidemill.cli.errors import CommandError
from tidemill.cli.output.printing import JsonOption, print_json
from tidemill.contracts.limits import GIB, MIB
from tidemill.contracts.worker_report import InstanceReport, WorkerReport

worker = typer.Typer(help="Workers (needs TIDEMILL_DATABASE_URL).", no_args_is_help=True)

_WORKERS: Final = """
SELECT id, host, report, extract(epoch FROM now() - started_at)::float AS up_s,
    extract(epoch FROM now() - reported_at)::float AS reported_s_ago
FROM worker WHERE lease_until > now() ORDER BY host, started_at"""
_TRUST: Final = "UPDATE model SET trusted = $3 WHERE owner = $1 AND name = $2"


class LiveWorker(msgspec.Struct, kw_only=True):
    """A worker whose lease has not expired. `report` is None until the worker has written one."""

    id: str
    host: str
    up_s: float
    reported_s_ago: float | None
    report: WorkerReport | None


@worker.command("status")
def status(as_json: JsonOption = False) -> None:
    """Show the workers that live.

    For each the layers of its sandbox, its instances, its cache.
    """
    found = run_on_database(_workers)
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    if not found:
        typer.echo("No worker is running.")
    for each in found:
        typer.echo("\n".join(format_worker(each)))


async def _workers(connection: Connection) -> list[LiveWorker]:
    return [_found(dict(row)) for row in await connection.fetch(_WORKERS)]


def _found(row: dict[str, Any]) -> LiveWorker:
    text = row.pop("report")
    try:
        report = None if text is None else msgspec.json.decode(text, type=WorkerReport)
    except msgspec.ValidationError:  # written by another release
        report = None
    return LiveWorker(report=report, **row)


def format_worker(found: LiveWorker) -> list[str]:
    """Return the status of one worker as lines of text."""
    head = f"{found.host}  {found.id}  up {_duration(found.up_s)}"
    report = found.report
    if report is None:
        return [head, "  has not reported yet"]
    cache, boots = report.cache, report.cache.found + report.cache.made
    rate = f", {cache.found} of {boots} boots found all files" if boots else ""
    return [
        f"{head}, as {report.user}{', draining' if report.draining else ''}",
        "  sandbox    " + ", ".join(each.name for each in report.layers if each.on),
        *(
            f"  missing    {each.name} ({'required' if each.required else 'not required'}): {each.detail}"
            for each in report.layers
            if not each.on
        ),
        *([] if report.memory_counted is None else [f"  memory     {report.memory_counted}"]),
        f"  network    {'for models that declare it' if report.model_network == 'declared' else 'none for models'}",
        f"  cache      {_size(cache.size_bytes)} of {_size(cache.limit_bytes)}{rate}",
        f"  instances  {len(report.instances)} of {report.capacity}",
        *(line for each in report.instances for line in _instance(each)),
    ]


def _instance(each: InstanceReport) -> list[str]:
    name = "?" if each.model is None else f"{each.model}:{(each.version or '?')[:12]}"
    memory = "" if each.memory_bytes is None else f"  {_size(each.memory_bytes)}"
    gpus = f"  GPU {', '.join(each.gpus)}" if each.gpus else ""
    marks = "".join(f"  {mark}" for mark, on in (("trusted", each.trusted), ("network", each.network)) if on)
    facts = f"    {name}  {each.state} {_duration(each.age_s)}  {each.running}/{each.slots} running"
    boot = "  ".join(f"{phase} {seconds * 1000:.0f} ms" for phase, seconds in each.boot.items())
    trouble = (each.error or "").partition("\n")[0]
    return [
        f"{facts}{memory}{gpus}{marks}",
        *([f"      boot: {boot}"] if boot else []),
        *([f"      {trouble}"] if trouble else []),
    ]


def _duration(seconds: float) -> str:
    whole = int(seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB else f"{size_bytes / MIB:.0f} MiB"


def trust(
    name: Annotated[str, typer.Argument(help="owner/name")],
    off: Annotated[bool, typer.Option("--off", help="Trust it no longer.")] = False,
) -> None:
    """Trust a model's code (needs TIDEMILL_DATABASE_URL).

    It then also runs where the machine lacks layers of the sandbox. What the machine has stays on for it. It counts
    from the next boot of an instance on.
    """
    owner, _, own = name.partition("/")

    async def change(connection: Connection) -> bool:
        return str(await connection.execute(_TRUST, owner, own, not off)).endswith("1")

    if not run_on_database(change):
        raise CommandError(f"there is no model {name}")
    typer.echo(f"{name} is {'no longer ' if off else ''}trusted, from its next boot on")
