"""Untrusted text is escaped at a terminal, however it is cut; pipes and files get it unchanged."""

import contextlib
import io
import os
import pty
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.cli.output import terminal

PROGRAM = Path(sys.executable).with_name("tidemill")
OBEYED = "\x1b[]();?0123456789mJHK\\\x07\x9b\x9d\x90\x9c\x05\x7f\x00\b\r\n\t\u202e\u2066\ud800é🌊 a"
# Not st.text(): of these two it makes one alphabet, in which what matters is rare.
hostile = st.lists(st.sampled_from(OBEYED) | st.characters()).map("".join)
OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
plain = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=OVERRIDES))
HOSTILE = {
    "a title": ("\x1b]0;pwned\x07", "^[]0;pwned^G"),
    "a clear": ("\x1b[2J\x1b[H", "^[[2J^[[H"),
    "a colour": ("\x1b[31mred\x1b[0m", "^[[31mred^[[0m"),
    "a link": ("\x1b]8;;http://x\x1b\\y", "^[]8;;http://x^[\\y"),
    "an answer": ("\x05\x1b[c", "^E^[[c"),
    "a clipboard": ("\x1b]52;c;cHc=\x1b\\", "^[]52;c;cHc=^[\\"),
    "C1": ("\x9b2J\x9d0;x\x9c", "<U+009B>2J<U+009D>0;x<U+009C>"),
    "right to left": ("\u202eexe.txt", "<U+202E>exe.txt"),
    "deletions": ("ab\b\b\x7f\0", "ab^H^H^?^@"),
    "a return": ("ours\rtheirs", "ours^Mtheirs"),
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def screen():
    return Terminal()


def allowed(character):
    return character in "\n\t" or (unicodedata.category(character) not in {"Cc", "Cs"} and character not in OVERRIDES)


@pytest.mark.parametrize(("sent", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_control_characters_are_escaped(sent, shown, screen):
    print(sent, file=terminal.escape_if_terminal(screen))
    assert screen.getvalue() == f"{shown}\n"


@given(st.lists(hostile))
def test_sequences_are_escaped_however_they_are_cut(chunks):
    screen = Terminal()
    stream = terminal.escape_if_terminal(screen)
    for chunk in chunks:
        stream.write(chunk)
        stream.flush()
    shown = screen.getvalue()
    assert all(allowed(character) for character in shown.replace("\r\n", "\n"))


@given(st.lists(hostile))
def test_logs_keep_carriage_returns_only(chunks):
    screen = Terminal()
    with contextlib.redirect_stdout(terminal.escape_if_terminal(screen)):
        for chunk in chunks:
            terminal.print_log(chunk)
    assert all(allowed(character) for character in screen.getvalue().replace("\r", ""))
    assert screen.getvalue().count("\r") == "".join(chunks).count("\r")


@given(st.binary())
def test_bytes_are_escaped_too(content):
    screen = Terminal()
    stream = terminal.escape_if_terminal(screen)
    stream.buffer.write(content)
    stream.flush()
    assert all(allowed(character) for character in screen.getvalue().replace("\r\n", "\n"))


@given(st.lists(plain))
def test_printable_text_is_unchanged(chunks):
    screen = Terminal()
    with contextlib.redirect_stdout(terminal.escape_if_terminal(screen)):
        for chunk in chunks:
            sys.stdout.write(f"{chunk}\t\n")
            terminal.print_log(f"{chunk}\r\n")
    assert screen.getvalue() == "".join(f"{chunk}\t\n{chunk}\r\n" for chunk in chunks)


def test_logs_and_lines_keep_their_order(screen):
    with contextlib.redirect_stdout(terminal.escape_if_terminal(screen)):
        sys.stdout.write("a")
        terminal.print_log("b")
        sys.stdout.write("c")
        terminal.print_log("d\n")
    assert screen.getvalue() == "abcd\n"


def test_logs_are_unchanged_without_a_terminal(capsys):
    text = "".join(sent for sent, _ in HOSTILE.values())
    terminal.print_log(text)
    terminal.print_log(text, err=True)
    assert capsys.readouterr() == (text, text)


def test_other_streams_are_unchanged():
    stream = io.StringIO()
    assert terminal.escape_if_terminal(stream) is stream


def test_the_command_at_a_terminal_and_in_a_pipe(tmp_path):
    name = "a\x1b[31m\x1b]0;title\x07"
    assert f"Made {name}:" in called(tmp_path, name, into=subprocess.PIPE)
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal_end:
        called(tmp_path, f"{name}2", into=theirs)
        os.close(theirs)
        shown = read(terminal_end)
    assert "Made a^[[31m^[]0;title^G2:" in shown
    assert "\x1b" not in shown


def test_errors_at_a_terminal(tmp_path):
    """Errors that Python prints itself after the command has ended are escaped too."""
    name = "b\x1b[2J"
    (tmp_path / name).mkdir()
    (tmp_path / name / "README.md").touch()
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal_end:
        subprocess.run([PROGRAM, "init", name], cwd=tmp_path, stderr=theirs, timeout=300)
        os.close(theirs)
        shown = read(terminal_end)
    assert "tidemill: b^[[2J has README.md already" in shown
    assert "\x1b" not in shown


def called(directory, name, *, into):
    done = subprocess.run([PROGRAM, "init", name], cwd=directory, stdout=into, timeout=300)
    assert done.returncode == 0
    return (done.stdout or b"").decode()


def read(terminal_end):
    """Linux answers EIO when the other end is closed."""
    parts = []
    with contextlib.suppress(OSError):
        while part := terminal_end.read(65536):
            parts.append(part)
    return b"".join(parts).decode()
