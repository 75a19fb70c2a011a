import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from tidemill.hosting.model_config.requirements import RequirementRefused, parse_requirements

PLACES = ("https://download.pytorch.org/",)


def specifiers(*lines):
    return parse_requirements(lines, PLACES).specifiers


def refusal(*lines):
    with pytest.raises(RequirementRefused) as refused:
        parse_requirements(lines, PLACES)
    return str(refused.value)


def test_equal_requirements_make_equal_lists():
    assert specifiers("Foo_Bar [b,a] >=1, <2 # why", "", "zlib-ng") == specifiers(
        "zlib.ng", "foo-bar[a,b]<2,>=1", "foo-bar[a,b]<2,>=1"
    )


def test_markers_and_continued_lines():
    assert specifiers("a \\", '  ; python_version < "4"') == ('a; python_version < "4"',)


def test_the_platforms_own_module_is_not_installed():
    assert specifiers("cog==0.9.4", "coglet", "Cog >= 0.1") == ()


def test_hashes_are_dropped_with_a_warning():
    result = parse_requirements(["six==1.17.0 \\", "  --hash=sha256:abc \\", "  --hash=sha256:def"], PLACES)
    assert result.specifiers == ("six==1.17.0",)
    assert result.warnings == ("The hashes in the requirements are not checked.",)


def test_indexes_that_the_operator_allows():
    result = parse_requirements(
        [
            "--extra-index-url https://download.pytorch.org/whl/cu126",
            "-i=https://download.pytorch.org/whl/cpu",
            "-f https://download.pytorch.org/whl/torch_stable.html",
            "torch==2.9.0+cu126",
        ],
        PLACES,
    )
    assert result.indexes == ("https://download.pytorch.org/whl/cu126", "https://download.pytorch.org/whl/cpu")
    assert result.find_links == ("https://download.pytorch.org/whl/torch_stable.html",)
    assert result.specifiers == ("torch==2.9.0+cu126",)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("--index-url https://169.254.169.254/", "may not be fetched"),
        ("--extra-index-url https://download.pytorch.org.evil.example/", "may not be fetched"),
        ("--find-links /etc", "may not be fetched"),
        ("-e .", "'-e'"),
        ("-r other.txt", "'-r'"),
        ("-c c.txt", "'-c'"),
        ("--pre", "'--pre'"),
        ("git+https://github.com/a/b", "URL"),
        ("a @ https://example.com/a.whl", "URL"),
        ("a @ file:///etc/passwd", "URL"),
        ("./local.whl", "not a requirement"),
        ("a==1; os_name == '${HOME}'", "variable"),
        ("a b", "not a requirement"),
        ("a" * 3000, "longer"),
    ],
)
def test_what_is_refused(line, part):
    assert part in refusal(line)


def test_a_line_break_inside_an_entry_begins_a_line():
    assert "'--index-url'" not in refusal("six\n--index-url https://evil.example/")
    assert specifiers("six\nattrs") == ("attrs", "six")


def test_too_many():
    assert "more than" in refusal(*(f"a{n}" for n in range(1001)))


@given(st.lists(st.text(max_size=30), max_size=4))
def test_any_lines_are_read_or_refused(lines):
    try:
        result = parse_requirements(lines, PLACES)
    except RequirementRefused:
        return
    for specifier in result.specifiers:
        assert len(specifier.splitlines()) == 1
        assert Requirement(specifier).url is None
