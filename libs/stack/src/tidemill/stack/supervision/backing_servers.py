"""The backing servers of the services: the embedded ones, or the operator's own if a URL names one.

A URL from the stack's own env file, which may have been read into the shell, does not count as the operator's.
"""

from collections.abc import Mapping
from pathlib import Path

from tidemill.stack.home.layout import Home
from tidemill.stack.home.state_file import StateFile
from tidemill.stack.processes.process import ProcessStartError
from tidemill.stack.servers.nats_server import NatsServer
from tidemill.stack.servers.object_server import BUCKET, ObjectServer
from tidemill.stack.servers.postgres_server import PostgresServer
from tidemill.stack.supervision.unit import Server

S3 = ("TIDEMILL_S3_URL", "TIDEMILL_S3_ACCESS_KEY", "TIDEMILL_S3_SECRET_KEY")
OTHER_S3 = ("TIDEMILL_S3_URL", "TIDEMILL_S3_ACCESS_KEY", "TIDEMILL_S3_BUCKET")
# Names of the data directories and of the logs.
NATS, POSTGRES, OBJECTS = "nats", "postgres", "objects"


class BackingServers:
    def __init__(self, home: Home, environ: Mapping[str, str]) -> None:
        self._external: dict[str, str] = {}
        self.nats: NatsServer | None = None
        self.postgres: PostgresServer | None = None
        self.objects: ObjectServer | None = None
        if not self._take_external(environ, "TIDEMILL_NATS_URL", home.data(NATS), "password"):
            self.nats = NatsServer(home.data(NATS), log=home.log(NATS))
        if not self._take_external(environ, "TIDEMILL_DATABASE_URL", home.data(POSTGRES), "password"):
            self.postgres = PostgresServer(home.data(POSTGRES), log=home.log(POSTGRES))
        _refuse_incomplete_store(environ)
        if not self._take_external(environ, "TIDEMILL_S3_SECRET_KEY", home.data(OBJECTS), "secret_key"):
            self.objects = ObjectServer(home.data(OBJECTS), log=home.log(OBJECTS))
        else:
            self._external |= {name: environ[name] for name in OTHER_S3 if name in environ}

    @property
    def units(self) -> list[Server]:
        return [unit for unit in (self.nats, self.postgres, self.objects) if unit is not None]

    def differs(self, environ: Mapping[str, str]) -> list[str]:
        """Return the variables that name other servers than those in use."""
        ours = {
            "TIDEMILL_NATS_URL": None if self.nats is None else self.nats.password,
            "TIDEMILL_DATABASE_URL": None if self.postgres is None else self.postgres.password,
            "TIDEMILL_S3_SECRET_KEY": None if self.objects is None else self.objects.secret_key,
        }
        wanted = {
            name: environ.get(name) for name, secret in ours.items() if not is_ours(environ.get(name, ""), secret)
        }
        if self.objects is None:
            wanted |= {name: environ.get(name) for name in OTHER_S3}
        return [name for name, value in wanted.items() if (value or None) != self._external.get(name)]

    @property
    def external_variables(self) -> list[str]:
        """The variables that name the operator's own servers."""
        return [name for name in self._external if name.endswith("_URL")]

    def variables(self) -> dict[str, str]:
        """Return the variables with which services reach the servers. Ports are known once the servers run."""
        values = {"TIDEMILL_S3_BUCKET": BUCKET, **self._external}
        if self.nats is not None:
            values["TIDEMILL_NATS_URL"] = self.nats.url
            values["TIDEMILL_NATS_PUBLIC_URL"] = self.nats.public_url
        if self.postgres is not None:
            values["TIDEMILL_DATABASE_URL"] = self.postgres.url
            values["TIDEMILL_ADOPT_SETTINGS"] = "true"  # the stack starts all services together
        if self.objects is not None:
            values["TIDEMILL_S3_URL"] = self.objects.url
            values["TIDEMILL_S3_ACCESS_KEY"] = self.objects.access_key
            values["TIDEMILL_S3_SECRET_KEY"] = self.objects.secret_key
            values["TIDEMILL_S3_BUCKET"] = self.objects.bucket
        return values

    def gateway_variables(self) -> dict[str, str]:
        """Return the variables for the gateway alone: a secret that no other service should have."""
        return {} if self.nats is None else {"TIDEMILL_NATS_CALLOUT_SEED": self.nats.callout_seed}

    def _take_external(self, environ: Mapping[str, str], name: str, directory: Path, secret: str) -> bool:
        value = environ.get(name)
        if not value or is_ours(value, StateFile(directory / "state.json").text(secret)):
            return False
        self._external[name] = value
        return True


def _refuse_incomplete_store(environ: Mapping[str, str]) -> None:
    """Raise ProcessStartError if only some variables of a store are set: files would go to the embedded one."""
    missing = [name for name in S3 if not environ.get(name)]
    if 0 < len(missing) < len(S3):
        raise ProcessStartError(f"a store of your own needs {', '.join(S3)}; not set: {', '.join(missing)}")


def is_ours(value: str, secret: str | None) -> bool:
    """Return whether the value is from this stack, by the generated secret in it: ports may have changed since."""
    return secret is not None and secret in value
