"""Blocks of pages say what they are, and a session runs them as a reader would: what fails is not passed over."""

import os

import psutil
import pytest

from tidemill.testing.documents import Block, PageError, blocks_of, session

PAGE = """# A page

```sh
a=1
```

- in a list:

  ```sh prints: 2
  echo $((a + 1))
  ```

```json
{}
```

```sh not run: it ends the world
exit
```
"""


def sh(code, about="", text=""):
    return Block("page.md", 1, "sh", about, text, code)


@pytest.fixture
async def shell(tmp_path):
    async with session(tmp_path, {"PATH": os.environ["PATH"]}) as shell:
        yield shell


def test_blocks_are_read_with_what_is_said_of_them():
    first, second, third, fourth = blocks_of("page.md", PAGE)
    assert first == Block("page.md", 3, "sh", "", "", "a=1\n")
    assert second == Block("page.md", 9, "sh", "prints", "2", "echo $((a + 1))\n")
    assert (third.language, third.runs) == ("json", False)
    assert (fourth.about, fourth.text, fourth.runs) == ("not run", "it ends the world", False)


@pytest.mark.parametrize(
    "page",
    [
        "```\nno language\n```",
        "```bash\nanother name\n```",
        "```sh not run\nno reason\n```",
        "```sh not run: \nno reason\n```",
        "```sh skip: x\nno such word\n```",
        "```json not run: x\nis not run anyway\n```",
        "```sh\nwithout an end",
    ],
)
def test_a_block_that_does_not_say_what_it_is_is_refused(page):
    with pytest.raises(PageError, match=r"page\.md:1"):
        blocks_of("page.md", page)


async def test_blocks_of_a_page_share_a_shell(shell):
    await shell.run(sh("a=1; alias louder='echo LOUD'; cd /\n"), [])
    assert await shell.run(sh("louder $((a + 1)) $PWD\n", "prints", "LOUD 2 /"), []) == "LOUD 2 /\n"


@pytest.mark.parametrize(
    "block",
    [
        sh("false\ntrue\n"),
        sh("false | cat\n"),
        sh("echo $NOT_SET\n"),
        sh("exit 3\n"),
        sh("no-such-program\n"),
        sh("if\n"),
        sh("echo one\n", "prints", "two"),
        sh("echo fine\n", "fails", "fine"),
        sh("echo no; false\n", "fails", "yes"),
    ],
)
async def test_what_does_not_do_as_the_page_says_is_an_error(shell, block):
    with pytest.raises(PageError, match=r"page\.md:1"):
        await shell.run(block, [])


async def test_what_must_fail_may_and_the_page_goes_on(shell):
    await shell.run(sh("echo refused: 422; false\n", "fails", "422"), [])
    await shell.run(sh("echo on\n", "prints", "on"), [])


async def test_what_stays_in_the_foreground_runs_beside_the_rest_and_ends_with_the_page(tmp_path):
    async with session(tmp_path, {"PATH": os.environ["PATH"]}) as shell:
        await shell.run(sh("echo $BASHPID > pid; echo ready; exec sleep 1000\n", "until", "ready"), [])
        await shell.run(sh("kill -0 $(cat pid)\n"), [])
        pid = int((tmp_path / "pid").read_text())
    # Whoever adopted it may not have looked at its end yet.
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_what_comes_soon_is_looked_at_until_it_is_there(shell):
    await shell.run(sh("(sleep 0.3; echo here > file) &\n"), [])
    assert await shell.run(sh("cat file\n", "soon", "here"), []) == "here\n"


async def test_programs_run_in_files_of_the_folder(shell, tmp_path):
    block = Block("page.md", 1, "python", "prints", "3", "import sys; print(len(sys.argv) + 2)\n")
    assert await shell.run(block, ["python3"]) == "3\n"
