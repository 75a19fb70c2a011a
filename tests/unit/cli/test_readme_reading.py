"""What is read from a README, and which metadata a push sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.cli.errors import CommandError
from tidemill.cli.model_directory.readme import find_first_paragraph, find_license_link, find_title
from tidemill.cli.push.metadata import ModelMetadata, find_changes, read_readme

README = """
![logo](logo.png)

# tide-tables

[![badge](https://example.com/badge.svg)](https://example.com)

- a list

Tells the *tides*
of [any harbour](https://example.com/harbours).

More text.

## License and thanks

Under [Apache-2.0](https://www.apache.org/licenses/LICENSE-2.0 "title"), [MIT](https://example.com/mit).
"""


def test_a_readme_is_read():
    assert find_title(README) == "tide-tables"
    assert find_first_paragraph(README) == "Tells the *tides* of any harbour."
    assert find_license_link(README) == "https://www.apache.org/licenses/LICENSE-2.0"


@pytest.mark.parametrize(
    "text",
    ["", "# Title", "## Licence\n\nNone.\n\n## More\n\n[x](https://example.com)", "## Licence\n[x](LICENSE)", "- x"],
)
def test_missing_parts_are_none(text):
    assert find_license_link(text) is None
    assert find_first_paragraph(text) in {None, "None."}


@given(st.text())
def test_any_text_is_read(text):
    assert len(find_first_paragraph(text) or "") <= 2000
    assert (find_license_link(text) or "https://").startswith(("https://", "http://"))
    find_title(text)


def test_options_win_over_the_model_and_the_model_over_the_readme():
    known = {"description": "known", "license_url": None, "visibility": "private", "hardware": "cpu"}
    assert find_changes(known, ModelMetadata(readme=README)) == {
        "license_url": "https://www.apache.org/licenses/LICENSE-2.0"
    }
    assert find_changes(known, ModelMetadata(description="said", visibility="public")) == {
        "description": "said",
        "visibility": "public",
    }
    assert find_changes(known, ModelMetadata(description="known", hardware="cpu")) == {}


@pytest.mark.parametrize("content", [b"caf\xe9", b"a\0b"])
def test_a_readme_that_no_model_can_have_is_refused_by_name(tmp_path, content):
    (tmp_path / "README.md").write_bytes(content)
    with pytest.raises(CommandError, match=r"cannot read .*README\.md"):
        read_readme(None, tmp_path)


def test_a_readme_is_the_given_one_else_the_directorys_if_there_is_one(tmp_path):
    assert read_readme(None, tmp_path) is None
    (tmp_path / "README.md").write_text("its own")
    (tmp_path / "other.md").write_text("given")
    assert read_readme(None, tmp_path) == "its own"
    assert read_readme(tmp_path / "other.md", tmp_path) == "given"
