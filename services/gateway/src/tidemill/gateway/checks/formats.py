"""Formats that we know better than the library does: `uri` is a file that a worker can fetch. Pure."""

from tidemill.security import data_uri_form
from tidemill.security.egress_errors import EgressDenied
from tidemill.security.egress_policy import check_form


def is_file_url(text: str) -> bool:
    """An http(s) URL with a host, or a data: URI that can be decoded; whatever else a worker would refuse."""
    try:
        if text[: len(data_uri_form.PREFIX)].lower() == data_uri_form.PREFIX:
            data_uri_form.check(text)
        else:
            check_form(text)
    except (EgressDenied, data_uri_form.DataUriRefused):
        return False
    return True
