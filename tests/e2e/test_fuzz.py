"""A few hundred requests of all kinds; `./just fuzz` sends a hundred thousand."""

import requests

from tidemill.testing.fuzz import fuzz

REQUESTS = 500


def test_no_request_breaks_the_gateway(everything):
    document = requests.get(f"{everything.base_url}/openapi.json", timeout=10).json()
    report = fuzz(everything, document, REQUESTS, same=True)
    assert not report.bad
    assert report.sent >= REQUESTS
    assert sum(report.statuses[status] for status in (200, 201, 202, 204)) > REQUESTS // 50
