"""Which errors of the database are transient: answered with 503, and retried where that is harmless."""

import asyncpg

from tidemill.runtime.db import TRANSIENT_ERRORS


def test_an_internal_error_of_the_client_is_transient():
    """A connection that breaks during a statement: "cannot switch to state 12; another operation is in progress"."""
    for kind in (
        asyncpg.InternalClientError,
        asyncpg.InterfaceError,
        asyncpg.ProtocolError,
        asyncpg.OutdatedSchemaCacheError,
        asyncpg.InvalidCachedStatementError,
        asyncpg.ConnectionDoesNotExistError,
        asyncpg.IdleSessionTimeoutError,
        asyncpg.OutOfMemoryError,
        asyncpg.DiskFullError,
        asyncpg.TooManyConnectionsError,
        asyncpg.ReadOnlySQLTransactionError,
        ConnectionResetError,
    ):
        assert issubclass(kind, TRANSIENT_ERRORS), kind
