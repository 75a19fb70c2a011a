"""Reads and validates cog.yaml: what is used, what is refused, and what is ignored with a warning.

Pure. What needs a container (system packages, build steps) is refused at push, and never silently dropped.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from tidemill.contracts.validation_messages import describe_error
from tidemill.contracts.variables import is_reserved, is_variable_name
from tidemill.hosting.model_config import requirements, yaml_reader
from tidemill.hosting.model_config.requirements import RequirementRefused, Requirements

DEFAULT_INDEX_URLS: Final = ("https://download.pytorch.org/", "https://pypi.org/")
CONCURRENCY_LIMIT: Final = 1024  # of one instance; a child has no file descriptors for more
ENVIRONMENT_LIMIT: Final = 256  # variables; exec limits arguments and variables together to 2 MiB
ENVIRONMENT_VALUE_LIMIT_CHARS: Final = 32_768
NETWORK_HOSTS_LIMIT: Final = 100  # a model that needs more needs the whole internet
HOST_LIMIT_CHARS: Final = 253  # RFC 1035
REQUIREMENTS_LIMIT_BYTES: Final = 1024 * 1024  # the same as for cog.yaml

ReadFile = Callable[[str], bytes | None]  # returns a file of the bundle by its path, or None

_REFERENCE: Final = re.compile(r"(?P<file>[^:\0\\]+\.py):(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
_PYTHON_VERSION: Final = re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,3})?")
_LABEL: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})+")


class ConfigRefused(Exception):  # noqa: N818 - named after the situation
    """The model cannot be built here; the message says why, by cog.yaml."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"cog.yaml: {reason}")
        self.reason = reason


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a version is run. Stored as JSON in its row, and read by every worker that boots it."""

    entry: str  # file.py:Name
    train_entry: str | None = None
    author: str | None = None  # the account that owns the code, if a training of another account made the version
    weights: str | None = None  # the file that setup() gets, for versions made by a training
    python_version: str | None = None
    requirements: tuple[str, ...] = ()  # PEP 508, sorted
    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    concurrency: int | None = None  # None: the model's decorator decides
    environment: tuple[tuple[str, str], ...] = ()
    gpu: bool = False
    network: bool = False  # the model asks for the network at run time; the operator decides
    network_hosts: tuple[str, ...] = ()  # the hosts it asks for; empty: the whole public internet
    guessed: bool = False  # its schema was derived from the source; the first instance that loads the model corrects it
    warnings: tuple[str, ...] = ()  # from its push; shown with the version


class ParsedConfig(msgspec.Struct, frozen=True):
    config: ModelConfig
    warnings: tuple[str, ...]


class _BuildSection(msgspec.Struct, forbid_unknown_fields=True):
    python_version: str | int | None = None
    python_requirements: str | None = None
    python_packages: list[str] | None = None
    system_packages: list[str] | None = None
    run: list[Any] | None = None
    pre_install: list[Any] | None = None
    gpu: bool | None = None
    cuda: str | int | None = None
    cudnn: str | int | None = None
    sdk_version: str | int | None = None
    # Keys of older Cog releases without a meaning today.
    fast: bool | None = None
    cog_runtime: bool | None = None


class _ConcurrencySection(msgspec.Struct, forbid_unknown_fields=True):
    max: int | None = None
    default_target: int | None = None


class _TidemillSection(msgspec.Struct, forbid_unknown_fields=True):
    network: bool | list[str] = False


class _CogYaml(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of Cog's own schema, and `tidemill` for keys of this platform."""

    build: _BuildSection | None = None
    image: str | None = None
    model: str | None = None
    predict: str | None = None
    run: str | None = None
    train: str | None = None
    concurrency: _ConcurrencySection | None = None
    environment: list[str] | None = None
    weights: Any = None
    tidemill: _TidemillSection | None = None


def parse_config(raw: bytes, read: ReadFile, *, allowed_urls: Sequence[str] = DEFAULT_INDEX_URLS) -> ParsedConfig:
    """Return the configuration in `raw`. `read` returns other files of the bundle. Raise ConfigRefused."""
    document = _document(raw)
    build = document.build or _BuildSection()
    _refuse_container_steps(build, document)
    parsed = _requirements(build, read, allowed_urls)
    concurrency = document.concurrency or _ConcurrencySection()
    network = document.tidemill.network if document.tidemill is not None else False
    environment = _environment(document.environment or [])
    config = ModelConfig(
        entry=_entry(document, read),
        train_entry=None if document.train is None else _reference("train", document.train, read),
        python_version=_python_version(build.python_version),
        requirements=parsed.specifiers,
        indexes=parsed.indexes,
        find_links=parsed.find_links,
        concurrency=_checked_concurrency(concurrency.max),
        environment=tuple(sorted((name, value) for name, value in environment.items() if not is_reserved(name))),
        gpu=bool(build.gpu),
        network=bool(network),
        network_hosts=_network_hosts(network) if isinstance(network, list) else (),
    )
    return ParsedConfig(config, (*_ignored(build, document), *_ignored_variables(environment), *parsed.warnings))


def _document(raw: bytes) -> _CogYaml:
    try:
        value = yaml_reader.read(raw)
    except yaml_reader.YamlRefused as refused:
        raise ConfigRefused(str(refused)) from None
    if not isinstance(value, dict):
        raise ConfigRefused("it must be a mapping of keys to values")
    try:
        return msgspec.convert(value, _CogYaml)
    except msgspec.ValidationError as error:
        raise ConfigRefused(describe_error(error, _CogYaml)) from None


def _refuse_container_steps(build: _BuildSection, document: _CogYaml) -> None:
    steps = {
        "system_packages": build.system_packages,
        "run": build.run,
        "pre_install": build.pre_install,
    }
    for key, value in steps.items():
        if value:
            raise ConfigRefused(
                f"build.{key} needs a container, and models run here without one; "
                "use Python packages that bring what they need, or put the files into the model's directory"
            )
    if document.weights:
        raise ConfigRefused("weights is not supported; put the weights into the model's directory")


def _ignored(build: _BuildSection, document: _CogYaml) -> list[str]:
    given = {
        "build.cuda": build.cuda,
        "build.cudnn": build.cudnn,
        "build.sdk_version": build.sdk_version,
        "build.fast": build.fast,
        "build.cog_runtime": build.cog_runtime,
        "image": document.image,
        "model": document.model,
        "concurrency.default_target": document.concurrency and document.concurrency.default_target,
    }
    return [f"{key} in cog.yaml is ignored." for key, value in given.items() if value is not None]


def _entry(document: _CogYaml, read: ReadFile) -> str:
    if document.predict is not None and document.run is not None:
        raise ConfigRefused("it has both run and predict; one of them names the model")
    reference = document.predict if document.run is None else document.run
    if reference is None:
        raise ConfigRefused('it does not say what to run: predict: "predict.py:Predictor" is missing')
    return _reference("predict" if document.run is None else "run", reference, read)


def _reference(key: str, text: str, read: ReadFile) -> str:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ConfigRefused(f'{key} must be like "predict.py:Predictor", not {text[:120]!a}')
    path = _bundle_path(key, match["file"])
    if read(path) is None:
        raise ConfigRefused(f"{key} names {path!a}, which is not among the model's files")
    return f"{path}:{match['name']}"


def _bundle_path(key: str, text: str) -> str:
    """Return the path as the bundle's index spells it. Raise ConfigRefused if it leads outside."""
    path = text.removeprefix("./")
    if any(part in {"", ".", ".."} for part in path.split("/")):
        raise ConfigRefused(f"{key} names a file outside of the model's directory: {text[:120]!a}")
    return path


def _python_version(given: str | int | None) -> str | None:
    if given is None:
        return None
    text = str(given)
    if _PYTHON_VERSION.fullmatch(text) is None:
        raise ConfigRefused(f'build.python_version must be like "3.12", not {text[:120]!a}')
    return text


def _requirements(build: _BuildSection, read: ReadFile, allowed_urls: Sequence[str]) -> Requirements:
    if build.python_requirements is not None and build.python_packages:
        raise ConfigRefused("it has both build.python_requirements and build.python_packages; use one of them")
    key = "build.python_packages" if build.python_requirements is None else "build.python_requirements"
    lines = build.python_packages or []
    if build.python_requirements is not None:
        lines = _requirement_lines(_bundle_path(key, build.python_requirements), read)
    try:
        return requirements.parse_requirements(lines, allowed_urls)
    except RequirementRefused as refused:
        raise ConfigRefused(f"{key}: {refused}") from None


def _requirement_lines(path: str, read: ReadFile) -> list[str]:
    raw = read(path)
    if raw is None:
        raise ConfigRefused(f"build.python_requirements names {path!a}, which is not among the model's files")
    if len(raw) > REQUIREMENTS_LIMIT_BYTES:
        raise ConfigRefused(f"{path!a} is larger than {REQUIREMENTS_LIMIT_BYTES} bytes")
    try:
        return raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ConfigRefused(f"{path!a} is not UTF-8") from None


def _checked_concurrency(given: int | None) -> int | None:
    if given is not None and not 1 <= given <= CONCURRENCY_LIMIT:
        raise ConfigRefused(f"concurrency.max must be between 1 and {CONCURRENCY_LIMIT}, not {given}")
    return given


def _network_hosts(given: list[str]) -> tuple[str, ...]:
    if len(given) > NETWORK_HOSTS_LIMIT:
        raise ConfigRefused(f"tidemill.network names more than {NETWORK_HOSTS_LIMIT} hosts")
    for host in given:
        if len(host) > HOST_LIMIT_CHARS or _HOST.fullmatch(host) is None:
            raise ConfigRefused(f"tidemill.network must name hosts like huggingface.co or *.hf.co, not {host[:120]!a}")
    return tuple(sorted({host.lower() for host in given}))


def _ignored_variables(environment: Iterable[str]) -> list[str]:
    """Return a warning for each variable that the platform sets itself. Models for other platforms may set them."""
    return [
        f"environment in cog.yaml sets {name}, which is ignored: the platform sets it itself."
        for name in sorted(environment)
        if is_reserved(name)
    ]


def _environment(entries: Sequence[str]) -> dict[str, str]:
    if len(entries) > ENVIRONMENT_LIMIT:
        raise ConfigRefused(f"environment has more than {ENVIRONMENT_LIMIT} variables")
    variables: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not is_variable_name(name):
            raise ConfigRefused(f'environment has {entry[:120]!a}, which is not like "NAME=value"')
        if "\0" in value or len(value) > ENVIRONMENT_VALUE_LIMIT_CHARS:
            raise ConfigRefused(f"environment sets {name} to a value that is too long or has a NUL")
        variables[name] = value
    return variables
