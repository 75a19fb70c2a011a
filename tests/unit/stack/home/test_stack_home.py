import os
import stat

import pytest

from tidemill.stack.home.layout import AlreadyRunningError, Home, HomeError, locate


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def test_the_variable_names_the_place(tmp_path):
    assert locate({"TIDEMILL_HOME": str(tmp_path)}).path == tmp_path


def test_without_it_the_checkout_has_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate({}).path == tmp_path / ".tidemill"


def test_logs_are_private(home):
    assert stat.S_IMODE(home.log_directory.stat().st_mode) == 0o700


def test_the_lock_tells_its_owner(home):
    assert home.owner() is None
    with home.owned():
        assert home.owner() == os.getpid()
    assert home.owner() is None


def test_a_second_owner_is_refused(home):
    with home.owned(), pytest.raises(AlreadyRunningError) as refusal, home.owned():
        pass
    assert refusal.value.pid == os.getpid()


def test_a_stale_pid_owns_nothing(home):
    home.lock_file.write_text("1")
    assert home.owner() is None
    with home.owned():
        assert home.lock_file.read_text() == str(os.getpid())


def test_a_home_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match=r"cannot write to .*/file/home: .*TIDEMILL_HOME"):
        Home(tmp_path / "file" / "home").prepare()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_home_of_somebody_else_is_refused(home):
    os.chown(home.path, 12345, 12345)
    with pytest.raises(HomeError, match="uid 12345"):
        home.prepare()
