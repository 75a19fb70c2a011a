"""`tidemill account limit`, on the database that a gateway reads."""

import asyncio

import pytest
from typer.testing import CliRunner

from tidemill.cli.errors import CommandError
from tidemill.cli.main import app
from tidemill.gateway.access.callers import CallerCache
from tidemill.gateway.limits.allowances import Allowances
from tidemill.gateway.limits.gcra import Rate


@pytest.fixture
def command(servers, monkeypatch):
    monkeypatch.setenv("TIDEMILL_DATABASE_URL", servers.database_url)

    async def run(*arguments):
        result = await asyncio.to_thread(CliRunner().invoke, app, ["account", "limit", *arguments])
        if isinstance(result.exception, CommandError):
            raise result.exception
        return result

    return run


async def test_limits_are_set_shown_and_forgotten(command, gateway, alice):
    async def allowances():
        caller = await CallerCache(gateway.parts.database, 0).get(alice.headers["Authorization"])
        return caller.account.allowances

    assert await allowances() == Allowances()
    shown = (await command(alice.username)).output
    assert "600" in shown
    assert "2000" in shown

    shown = await command(alice.username, "--creates-per-minute", "30", "--open-predictions", "4")
    assert "creates: 30 a minute, a minute's worth at once" in shown.output
    assert await allowances() == Allowances(creates=Rate(30, 30), open_predictions=4)

    await command(alice.username, "--creates-burst", "5", "--requests-burst", "9")
    assert await allowances() == Allowances(creates=Rate(30, 5), requests=Rate(3000, 9), open_predictions=4)

    assert (await command(alice.username, "--unlimited")).output == "no limits\n"
    assert await allowances() is None
    await command(alice.username, "--limited")
    assert (await allowances()).creates == Rate(30, 5)
    await command(alice.username, "--default", "--requests-per-minute", "7")
    assert await allowances() == Allowances(requests=Rate(7, 7))


async def test_what_cannot_be_is_refused(command, alice):
    assert (await command(alice.username, "--creates-per-minute", "0")).exit_code == 2
    with pytest.raises(CommandError, match="no account nobody-at-all"):
        await command("nobody-at-all", "--unlimited")
