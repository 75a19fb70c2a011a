"""Formats that are checked by our own rules: `uri` is a file that a worker can fetch. Pure."""

from tidemill.security import data_uri_syntax
from tidemill.security.egress.errors import EgressDenied
from tidemill.security.egress.policy import check_url_form


def is_file_url(text: str) -> bool:
    """Whether a worker would accept the text: an http(s) URL with a host, or a data: URI that can be decoded."""
    try:
        if text[: len(data_uri_syntax.PREFIX)].lower() == data_uri_syntax.PREFIX:
            data_uri_syntax.check_data_uri(text)
        else:
            check_url_form(text)
    except (EgressDenied, data_uri_syntax.InvalidDataUri):
        return False
    return True
