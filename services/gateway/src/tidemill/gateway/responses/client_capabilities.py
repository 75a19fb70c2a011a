"""Differences between clients: some cannot read every response, and get a form that they can read. Pure."""

import re
from typing import Final

from tidemill.contracts.prediction import Status

SDK: Final = re.compile(r"^(replicate-python/|replicate-javascript/|Replicate/Python|_ModuleClient/|AsyncReplicate/)")

# replicate 2.x for Python has two modes: `run` waits in the create and makes files of data URIs; `use` polls and makes
# files of the URLs of a file output, whatever their scheme.
READS_URLS_WHEN_POLLING: Final = re.compile(r"^(Replicate/Python|AsyncReplicate/)")
OURS: Final = re.compile(r"^tidemill-")  # the command, the MCP server, the website
PREFERS_ABORTED: Final = re.compile(r"(?:^|[,;\s])aborted(?:$|[,;\s])", re.IGNORECASE)


def is_sdk(user_agent: str | None) -> bool:
    return bool(user_agent and SDK.match(user_agent))


def knows_aborted(user_agent: str | None, prefer: str | None, filtered: str | None) -> bool:
    """Return whether the client is ours, or names `aborted` in its `Prefer` header or in the filter of its list.

    Other clients may not know this status: most stop polling at the three terminal statuses of Replicate's API, one
    raises an error for a fourth, and the rest would poll forever. A list of known agents would never be complete.
    """
    return bool(
        (user_agent and OURS.match(user_agent))
        or (prefer and PREFERS_ABORTED.search(prefer))
        or (filtered and Status.ABORTED in filtered.split(","))
    )


def without_aborted(status: Status) -> Status:
    """Return the status for a client that does not know `aborted`; the error code `deadline` tells the reason."""
    return Status.CANCELED if status is Status.ABORTED else status


def wants_data_uris(user_agent: str | None, public_url: str, file_output: str, *, polling: bool) -> bool:
    """Return whether file outputs are sent as data URIs; see Config.file_output. `polling`: the request is a GET."""
    if file_output != "auto":
        return file_output == "data"
    if polling and user_agent and READS_URLS_WHEN_POLLING.match(user_agent):
        return False
    return is_sdk(user_agent) and not public_url.startswith("https:")
