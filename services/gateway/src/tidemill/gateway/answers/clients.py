"""What depends on who asks: official SDKs cannot read some of our answers, so they get what they can read. Pure."""

import re
from typing import Final

from tidemill.contracts.prediction import Status

SDK: Final = re.compile(r"^(replicate-python/|replicate-javascript/|Replicate/Python|_ModuleClient/|AsyncReplicate/)")

# replicate 2.x for Python has two ways: its `run` waits in the create and makes files of data URIs, its `use` polls and
# makes files of the URLs of a file output, whatever their scheme.
READS_URLS_WHEN_POLLING: Final = re.compile(r"^(Replicate/Python|AsyncReplicate/)")


def is_sdk(user_agent: str | None) -> bool:
    return bool(user_agent and SDK.match(user_agent))


def status_for(user_agent: str | None, status: Status) -> Status:
    """The official SDKs know no `aborted`: one refuses it, the others would poll for ever."""
    return Status.CANCELED if status is Status.ABORTED and is_sdk(user_agent) else status


def wants_data_uris(user_agent: str | None, public_url: str, file_output: str, *, polling: bool) -> bool:
    """Whether file outputs go out as data URIs; see Config.file_output. `polling`: the answer is to a GET."""
    if file_output != "auto":
        return file_output == "data"
    if polling and user_agent and READS_URLS_WHEN_POLLING.match(user_agent):
        return False
    return is_sdk(user_agent) and not public_url.startswith("https:")
