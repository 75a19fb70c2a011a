import pytest

from tidemill.cli.admin.database import run_on_database
from tidemill.cli.errors import CommandError


@pytest.mark.parametrize("url", ["garbage", "postgresql://h:port/x", "mysql://h/x"])
def test_a_malformed_url_is_reported(monkeypatch, url):
    monkeypatch.setenv("TIDEMILL_DATABASE_URL", url)
    with pytest.raises(CommandError, match="database"):
        run_on_database(None)
