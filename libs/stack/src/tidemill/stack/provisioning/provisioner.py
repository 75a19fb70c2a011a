"""Provisions a running stack: the local account and its token, the catalogue with its examples, a first prediction.

Every step runs the `tidemill` command, as a user would.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from tidemill.stack.home.state_file import StateFile
from tidemill.stack.provisioning.catalogue import CATALOGUE_ACCOUNT, FIRST_MODEL, Catalogue, has_torch
from tidemill.stack.reporting.report import ProgressReport
from tidemill.stack.services import environment

LOCAL_ACCOUNT = "local"
FIRST_INPUT = "text=hello"
# Examples are run after all else, in the background, since each boots its model.
PUSH_OPTIONS = ("--if-changed", "--public", "--no-example")
# A push may build a model's environment and download packages of hundreds of megabytes.
PUSH_WITHIN_S = 900.0
COMMAND_WITHIN_S = 120.0
EXAMPLE_WITHIN_S = 600.0  # cold boots of two models at once, on a slow machine
EXAMPLES_AT_ONCE = 2
TAIL_LINES = 12
COLLECTION_SLUG = "try-these-first"
EXAMPLE_FILE = "example.json"
ADD_TORCH = "To add it: TIDEMILL_TORCH=any ./just setup, then ./just down and ./just up"


class StepError(Exception):
    """A step of provisioning failed. The message holds the output of the command."""


class Provisioner:
    def __init__(
        self, programs: Path, shared_env: Mapping[str, str], port: int, state: StateFile, report: ProgressReport
    ) -> None:
        self._program = programs / "tidemill"
        self._env = shared_env
        self._port = port
        self._state = state
        self._report = report

    async def local_token(self) -> str:
        """Return the token of the local account, for users and for the steps. The account has no rate limit."""
        return await self._token(LOCAL_ACCOUNT, "--unlimited")

    async def fill_catalogue(self, catalogue: Catalogue) -> None:
        """Push the models and run the first. Raise StepError if the first does not work.

        Another model that cannot be pushed (without a network it may lack packages) is reported and skipped.
        """
        models, left_out = (catalogue.models(), []) if has_torch() else catalogue.without_torch()
        for model in left_out:
            name = f"{CATALOGUE_ACCOUNT}/{model.name}"
            self._report.say(f"  {name} is left out: it needs torch, which is not installed here. {ADD_TORCH}")
        if not models:
            self._report.say(f"  no models in {catalogue.path}")
            return
        owner = await self._token(CATALOGUE_ACCOUNT)
        for model in models:
            await self._push(model, owner)
        if models[0].name == FIRST_MODEL:
            await self._run_first()
        await self._collect(catalogue)

    async def show_examples(self, catalogue: Catalogue) -> None:
        """Run the examples of models that have none yet. Failures are reported only, since nothing depends on them."""
        waiting = [model for model in catalogue.models() if (model / EXAMPLE_FILE).is_file()]
        if not waiting:
            return
        slots = asyncio.Semaphore(EXAMPLES_AT_ONCE)
        try:
            owner = await self._token(CATALOGUE_ACCOUNT)
        except StepError as error:
            self._report.say(f"  the catalogue has no examples: {error}")
            return

        async def show(model: Path) -> bool:
            async with slots:
                return await self._show_example(model, owner)

        if any(await asyncio.gather(*(show(model) for model in waiting))):
            self._report.say("  examples of the catalogue are made")

    async def _push(self, model: Path, token: str) -> None:
        name = f"{CATALOGUE_ACCOUNT}/{model.name}"
        try:
            async with self._report.waiting(f"the push of {name}") as elapsed:
                await self._run(PUSH_WITHIN_S, "push", name, str(model), *PUSH_OPTIONS, token=token)
        except StepError as error:
            if model.name == FIRST_MODEL:
                raise
            self._report.say(f"  {name} was not pushed: {error}")
        else:
            self._report.say(f"  {name} pushed after {elapsed():.1f} s")

    async def _show_example(self, model: Path, token: str) -> bool:
        """Run the example of a model if it has none. Return whether it was run."""
        name = f"{CATALOGUE_ACCOUNT}/{model.name}"
        try:
            if await self._is_shown(name, token):
                return False
            await self._run(EXAMPLE_WITHIN_S, "example", "add", name, str(model / EXAMPLE_FILE), token=token)
        except (StepError, OSError) as error:
            self._report.say(f"  {name} has no example: {error}")
            return False
        return True

    async def _is_shown(self, name: str, token: str) -> bool:
        """Return whether the model has an example, also if there is no such model. Raise StepError."""
        url = f"{environment.base_url(self._port)}/v1/models/{name}"
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
                model = await reply.json(content_type=None) if reply.ok else {"default_example": True}
        except (aiohttp.ClientError, ValueError) as error:
            raise StepError(f"{url}: {error}") from None
        return bool(model) and model.get("default_example") is not None

    async def _collect(self, catalogue: Catalogue) -> None:
        found = catalogue.collection()
        if found is not None:
            file, models = found
            options = ("--file", str(file), "--skip-missing")
            await self._run(COMMAND_WITHIN_S, "collection", "set", COLLECTION_SLUG, *models, *options)

    async def _run_first(self) -> None:
        name = f"{CATALOGUE_ACCOUNT}/{FIRST_MODEL}"
        token = await self.local_token()
        async with self._report.waiting(f"a prediction of {name}") as elapsed:
            output = await self._run(COMMAND_WITHIN_S, "run", name, "-i", FIRST_INPUT, token=token)
        self._report.say(f"  tidemill run {name} -i {FIRST_INPUT}  ->  {output.strip()}  ({elapsed():.1f} s)")

    async def _token(self, account: str, *account_options: str) -> str:
        key = f"token.{account}"
        known = self._state.text(key)
        if known is not None and await self._accepted(known):
            return known
        await self._run(COMMAND_WITHIN_S, "account", "create", account, "--if-missing", *account_options)
        printed = await self._run(COMMAND_WITHIN_S, "token", "create", account, "--name", account, "--print")
        token = printed.strip()
        if not token:
            raise StepError(f"`tidemill token create {account} --print` printed nothing")
        self._state.put(key, token)
        return token

    async def _accepted(self, token: str) -> bool:
        """Return whether the token is valid: the database may be another one than when it was made. Raise StepError."""
        url = f"{environment.base_url(self._port)}/v1/account"
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
                return reply.status != 401
        except aiohttp.ClientError as error:
            raise StepError(f"{url}: {error}") from None

    async def _run(self, within_s: float, *arguments: str, token: str | None = None) -> str:
        """Run the command and return its standard output. Raise StepError with its standard error."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            env=environment.for_commands(self._env, self._port, token),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(within_s):
                output, errors = await process.communicate()
        except TimeoutError:
            raise StepError(f"`tidemill {' '.join(arguments)}` took more than {within_s:.0f} s") from None
        finally:
            await _end(process)
        if process.returncode != 0:
            raise StepError(f"`tidemill {' '.join(arguments)}` failed:{_tail(errors or output)}")
        return output.decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


def _tail(text: bytes) -> str:
    return "".join(f"\n  | {line}" for line in text.decode(errors="replace").splitlines()[-TAIL_LINES:])
