import pytest

from tidemill.security.capability import InvalidCapability
from tidemill.security.delivery import delivery_url, is_delivery_url, object_key_of_token, object_key_of_url

KEY = b"k" * 32
BASE = "https://api.example/"


def test_a_url_opens_until_it_expires():
    url = delivery_url(KEY, BASE, "outputs/1/a b.png", 100)
    assert url.startswith("https://api.example/v1/delivery/")
    assert url.endswith("/a%20b.png")
    assert is_delivery_url(BASE, url)
    assert object_key_of_url([b"o" * 32, KEY], BASE, url, 99) == "outputs/1/a b.png"
    assert object_key_of_token([KEY], url.split("/")[5], 99) == "outputs/1/a b.png"
    for keys, base, given, now in (
        ([KEY], BASE, url, 100),
        ([b"o" * 32], BASE, url, 99),
        ([KEY], "https://other.example", url, 99),
        ([KEY], BASE, "https://api.example/v1/delivery/", 99),
    ):
        with pytest.raises(InvalidCapability):
            object_key_of_url(keys, base, given, now)
