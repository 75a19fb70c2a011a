"""The embedded stack: NATS, PostgreSQL, an S3 store and the services as supervised processes.

`NatsServer`, `PostgresServer` and `ObjectServer` start the real servers from their wheels; tests use them directly and
`python -m tidemill.stack up` keeps them running. Nothing here is used in production, where operators bring their own.
"""

from tidemill.stack.nats_server import NatsServer
from tidemill.stack.object_server import ObjectServer
from tidemill.stack.postgres_server import Durability, PostgresServer
from tidemill.stack.process import StartError

__all__ = ["Durability", "NatsServer", "ObjectServer", "PostgresServer", "StartError"]
