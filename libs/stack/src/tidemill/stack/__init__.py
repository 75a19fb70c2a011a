"""The embedded stack: NATS, PostgreSQL, an S3 store and the services as supervised processes.

`NatsServer`, `PostgresServer` and `ObjectServer` start the real servers from their wheels. Tests use them directly, and
`python -m tidemill.stack up` keeps them running. It is not for production, where operators run their own servers.
"""

from tidemill.stack.processes.process import ProcessStartError
from tidemill.stack.servers.nats_server import NatsServer
from tidemill.stack.servers.object_server import ObjectServer
from tidemill.stack.servers.postgres_server import Durability, PostgresServer

__all__ = ["Durability", "NatsServer", "ObjectServer", "PostgresServer", "ProcessStartError"]
