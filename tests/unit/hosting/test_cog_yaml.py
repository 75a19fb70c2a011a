import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.hosting.model_config import yaml_reader
from tidemill.hosting.model_config.cog_yaml import ConfigRefused, parse_config
from tidemill.hosting.model_config.yaml_reader import YamlRefused

FILES = {"predict.py": b"", "src/train.py": b"", "requirements.txt": b"\xef\xbb\xbfTorch>=2  # big\ncog==0.9\n\nsix"}
ENTRY = 'predict: "predict.py:Predictor"\n'


def parsed(text, files=FILES):
    return parse_config(text.encode() if isinstance(text, str) else text, files.get)


def refusal(text, files=FILES):
    with pytest.raises(ConfigRefused) as refused:
        parsed(text, files)
    return refused.value.reason


def test_the_smallest_file():
    config = parsed(ENTRY).config
    assert config.entry == "predict.py:Predictor"
    assert (config.requirements, config.concurrency, config.python_version, config.gpu, config.network) == (
        (),
        None,
        None,
        False,
        False,
    )


def test_all_supported_keys():
    result = parsed(
        """
build:
  gpu: true
  python_version: 3.10
  python_requirements: ./requirements.txt
run: "./predict.py:run_it"
train: src/train.py:train
concurrency: {max: 8}
environment:
  - A=b=c
  - EMPTY=
tidemill:
  network: yes
"""
    )
    config = result.config
    assert config.entry == "predict.py:run_it"
    assert config.train_entry == "src/train.py:train"
    assert config.python_version == "3.10"  # not the number 3.1
    assert config.requirements == ("six", "torch>=2")
    assert config.concurrency == 8
    assert config.environment == (("A", "b=c"), ("EMPTY", ""))
    assert config.gpu
    assert config.network
    assert result.warnings == ()


def test_variables_that_the_platform_sets_are_ignored_with_a_warning():
    """A model that is also pushed elsewhere may need them there."""
    names = ("COG_LOG_LEVEL", "LD_PRELOAD", "PATH", "TIDEMILL_X")
    result = parsed(ENTRY + "environment: [" + ", ".join(f"{name}=1" for name in (*names, "MINE")) + "]")
    assert result.config.environment == (("MINE", "1"),)
    assert [next(name for name in names if name in warning) for warning in result.warnings] == list(names)


@pytest.mark.parametrize("build", ["{fast: true}", "{cog_runtime: false}", "{sdk_version: '0.16'}", "{cuda: '12.1'}"])
def test_unused_keys_of_cog_are_ignored_with_a_warning(build):
    (warning,) = parsed(f"{ENTRY}build: {build}").warnings
    assert warning.startswith("build.")
    assert warning.endswith(" in cog.yaml is ignored.")


def test_python_packages_are_requirements_too():
    assert parsed(ENTRY + "build: {python_packages: ['Pillow==11', 'numpy']}").config.requirements == (
        "numpy",
        "pillow==11",
    )


@pytest.mark.parametrize(
    ("build", "part"),
    [
        ("system_packages: [ffmpeg]", "build.system_packages needs a container"),
        ("run: [echo]", "build.run needs a container"),
        ("run: [{command: x}]", "build.run needs a container"),
        ("pre_install: [x]", "build.pre_install needs a container"),
        ("colour: red", "build has the unknown key 'colour'"),
        ("gpu: maybe", "gpu"),
        ("python_version: '2.7'", "python_version"),
        ("python_version: 3.12; rm", "python_version"),
        ("python_packages: [3]", "python_packages"),
        ("python_requirements: gone.txt", "not among the model's files"),
        ("python_requirements: ../x.txt", "outside"),
        ("python_requirements: /etc/passwd", "outside"),
        ("{python_requirements: requirements.txt, python_packages: [a]}", "both"),
        ("python_packages: ['--pre']", "'--pre'"),
    ],
)
def test_what_is_refused_in_build(build, part):
    assert part in refusal(f"{ENTRY}build: {build if build.startswith('{') else '{' + build + '}'}")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "mapping"),
        ("[]", "mapping"),
        ("build: {}", "what to run"),
        ("predict: predict.py", "must be like"),
        ("predict: 'gone.py:P'", "not among"),
        ("predict: '../predict.py:P'", "outside"),
        ("predict: '/predict.py:P'", "outside"),
        (ENTRY + "run: 'predict.py:P'", "both run and predict"),
        (ENTRY + "train: 'gone.py:t'", "not among"),
        (ENTRY + "weights: [{name: a, target: /w, source: {uri: hf://x/y}}]", "weights"),
        (ENTRY + "concurrency: {max: 0}", "concurrency.max"),
        (ENTRY + "concurrency: {max: 100000}", "concurrency.max"),
        (ENTRY + "concurrency: 3", "concurrency"),
        (ENTRY + "environment: ['no equals']", "NAME=value"),
        (ENTRY + "environment: {A: b}", "environment"),
        (ENTRY + "surprise: 1", "it has the unknown key 'surprise'"),
        (ENTRY + ENTRY, "given twice"),
        (ENTRY + "image: &a x\nmodel: *a", "anchors"),
        (ENTRY + "image: !!python/object/apply:os.system [id]", "tags"),
        (ENTRY + "---\n" + ENTRY, "more than one document"),
        (ENTRY + "image: " + "[" * 100, "nested"),
        ("? [a]\n: b", "key"),
        ("a: b: c", "mapping values"),
        (b"\xff\xfe", "UTF-8"),
        (b"#" * (1024 * 1024 + 1), "larger"),
        ("a: [" + "1," * 30_000 + "]", "entries"),
    ],
)
def test_what_is_refused(text, part):
    assert part in refusal(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("build: {python_packages: torch}", "build.python_packages must be a list, not a text"),
        ("build: []", "build must be a mapping of keys to values, not a list"),
        ("build: {python_version: [3]}", "build.python_version must be a whole number or a text, not a list"),
        ("build: {gpu: 'yes'}", "build.gpu must be true or false, not a text"),
        ("environment: [1]", "environment[0] must be a text, not a whole number"),
        ("concurrency: {max: '4'}", "concurrency.max must be a whole number, not a text"),
        ("tidemill: {network: 3}", "tidemill.network must be true or false or a list, not a whole number"),
        (
            "build: {python_package: [torch]}",
            "build has the unknown key 'python_package'; did you mean python_packages?",
        ),
        ("buidl: {}", "it has the unknown key 'buidl'; did you mean build?"),
        ("zzz: {}", "it has the unknown key 'zzz'"),
    ],
)
def test_an_invalid_document_is_explained_in_words(text, said):
    """No message names a type of msgspec, Python or JSON schema."""
    assert refusal(ENTRY + text) == said


def test_a_yaml_bomb_is_refused_quickly():
    levels = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30))
    assert "anchors" in refusal("a0: &a0 {x: y}\n" + levels)


def test_ignored_keys_are_warned_of():
    result = parsed(ENTRY + "build: {cuda: '12.4', cudnn: 9}\nimage: r8.im/a/b")
    assert result.warnings == (
        "build.cuda in cog.yaml is ignored.",
        "build.cudnn in cog.yaml is ignored.",
        "image in cog.yaml is ignored.",
    )


def test_empty_container_steps_are_fine():
    parsed(ENTRY + "build: {system_packages: [], run: null}")


def test_a_large_requirements_file_is_refused():
    files = {**FILES, "requirements.txt": b"#" * (1024 * 1024 + 1)}
    assert "larger" in refusal(ENTRY + "build: {python_requirements: requirements.txt}", files)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw):
    with contextlib.suppress(ConfigRefused):
        parse_config(raw, FILES.get)


YAML_LIKE = st.lists(
    st.sampled_from(["a", ": ", "\n", "  ", "- ", *"[]{},'|!", '"', "0x_", "1e3", "~", "2001-99-99"]),
    max_size=30,
).map("".join)


@settings(max_examples=300)
@given(YAML_LIKE)
def test_any_yaml_is_read_or_refused(text):
    with contextlib.suppress(YamlRefused):
        yaml_reader.read(text.encode())


def test_scalars():
    assert yaml_reader.read(b"{a: 1, b: 1.50, c: yes, d: ~, e: '1', f: 0x1F, g: 2001-01-01, h: off}") == {
        "a": 1,
        "b": "1.50",
        "c": True,
        "d": None,
        "e": "1",
        "f": "0x1F",
        "g": "2001-01-01",
        "h": False,
    }
