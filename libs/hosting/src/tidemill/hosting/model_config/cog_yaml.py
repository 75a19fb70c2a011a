"""cog.yaml, checked: what of it this platform honours, what it refuses and what it says about the rest.

Pure. What needs a container (system packages, build steps) is refused here, at push, and never silently dropped.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from tidemill.contracts.validation_messages import describe_error
from tidemill.contracts.variables import is_reserved, is_variable_name
from tidemill.hosting.model_config import requirements, yaml_reader
from tidemill.hosting.model_config.requirements import RequirementRefused, Requirements

DEFAULT_PLACES: Final = ("https://download.pytorch.org/", "https://pypi.org/")
CONCURRENCY_LIMIT: Final = 1024  # of one instance; more are files and sockets that a child does not have
ENVIRONMENT_LIMIT: Final = 256  # variables; exec gives arguments and variables 2 MiB together
ENVIRONMENT_VALUE_LIMIT_CHARS: Final = 32_768
NETWORK_HOSTS_LIMIT: Final = 100  # a model that talks to more wants the internet
HOST_LIMIT_CHARS: Final = 253  # RFC 1035
REQUIREMENTS_LIMIT_BYTES: Final = 1024 * 1024  # as cog.yaml itself

Read = Callable[[str], bytes | None]  # a file of the bundle by its path; None when there is none

_REFERENCE: Final = re.compile(r"(?P<file>[^:\0\\]+\.py):(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
_PYTHON_VERSION: Final = re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,3})?")
_LABEL: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})+")


class ConfigRefused(Exception):  # noqa: N818 - named after the situation
    """The model cannot be built here; the message says what in cog.yaml is the cause."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"cog.yaml: {reason}")
        self.reason = reason


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a version is run: kept as JSON in its row, read by every worker that boots it."""

    entry: str  # file.py:Name
    train_entry: str | None = None
    author: str | None = None  # the account whose code it is, where a training made the version of somebody else's
    weights: str | None = None  # a file of the version's that its setup is given, for one that a training has made
    python_version: str | None = None
    requirements: tuple[str, ...] = ()  # PEP 508, sorted
    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    concurrency: int | None = None  # None leaves it to the model's decorator
    environment: tuple[tuple[str, str], ...] = ()
    gpu: bool = False
    network: bool = False  # asks for the network while it runs; the operator decides
    network_hosts: tuple[str, ...] = ()  # the only ones it asks for; none named: the whole public internet
    guessed: bool = False  # its schema was made of its source, and is corrected by the first that loads it
    warnings: tuple[str, ...] = ()  # of its push; shown with the version


class Parsed(msgspec.Struct, frozen=True):
    config: ModelConfig
    warnings: tuple[str, ...]


class _Build(msgspec.Struct, forbid_unknown_fields=True):
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
    # Of older releases of Cog, which no longer mean anything.
    fast: bool | None = None
    cog_runtime: bool | None = None


class _Concurrency(msgspec.Struct, forbid_unknown_fields=True):
    max: int | None = None
    default_target: int | None = None


class _Extension(msgspec.Struct, forbid_unknown_fields=True):
    network: bool | list[str] = False


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of Cog's own schema, and `tidemill` for what only this platform has."""

    build: _Build | None = None
    image: str | None = None
    model: str | None = None
    predict: str | None = None
    run: str | None = None
    train: str | None = None
    concurrency: _Concurrency | None = None
    environment: list[str] | None = None
    weights: Any = None
    tidemill: _Extension | None = None


def parse(raw: bytes, read: Read, *, allowed_places: Sequence[str] = DEFAULT_PLACES) -> Parsed:
    """The configuration in `raw`; `read` gives the other files of the bundle. Raises ConfigRefused."""
    document = _document(raw)
    build = document.build or _Build()
    _refuse_container_steps(build, document)
    wanted = _requirements(build, read, allowed_places)
    concurrency = document.concurrency or _Concurrency()
    network = document.tidemill.network if document.tidemill is not None else False
    environment = _environment(document.environment or [])
    config = ModelConfig(
        entry=_entry(document, read),
        train_entry=None if document.train is None else _reference("train", document.train, read),
        python_version=_python_version(build.python_version),
        requirements=wanted.specifiers,
        indexes=wanted.indexes,
        find_links=wanted.find_links,
        concurrency=_checked_concurrency(concurrency.max),
        environment=tuple(sorted((name, value) for name, value in environment.items() if not is_reserved(name))),
        gpu=bool(build.gpu),
        network=bool(network),
        network_hosts=_network_hosts(network) if isinstance(network, list) else (),
    )
    return Parsed(config, (*_ignored(build, document), *_overridden(environment), *wanted.warnings))


def _document(raw: bytes) -> _Document:
    try:
        value = yaml_reader.read(raw)
    except yaml_reader.YamlRefused as refused:
        raise ConfigRefused(str(refused)) from None
    if not isinstance(value, dict):
        raise ConfigRefused("it must be a mapping of keys to values")
    try:
        return msgspec.convert(value, _Document)
    except msgspec.ValidationError as error:
        raise ConfigRefused(describe_error(error, _Document)) from None


def _refuse_container_steps(build: _Build, document: _Document) -> None:
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


def _ignored(build: _Build, document: _Document) -> list[str]:
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


def _entry(document: _Document, read: Read) -> str:
    if document.predict is not None and document.run is not None:
        raise ConfigRefused("it has both run and predict; one of them names the model")
    reference = document.predict if document.run is None else document.run
    if reference is None:
        raise ConfigRefused('it does not say what to run: predict: "predict.py:Predictor" is missing')
    return _reference("predict" if document.run is None else "run", reference, read)


def _reference(key: str, text: str, read: Read) -> str:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ConfigRefused(f'{key} must be like "predict.py:Predictor", not {text[:120]!a}')
    path = _inside(key, match["file"])
    if read(path) is None:
        raise ConfigRefused(f"{key} names {path!a}, which is not among the model's files")
    return f"{path}:{match['name']}"


def _inside(key: str, text: str) -> str:
    """A path of the bundle as its index spells it."""
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


def _requirements(build: _Build, read: Read, allowed_places: Sequence[str]) -> Requirements:
    if build.python_requirements is not None and build.python_packages:
        raise ConfigRefused("it has both build.python_requirements and build.python_packages; use one of them")
    key = "build.python_packages" if build.python_requirements is None else "build.python_requirements"
    lines = build.python_packages or []
    if build.python_requirements is not None:
        lines = _requirement_lines(_inside(key, build.python_requirements), read)
    try:
        return requirements.parse(lines, allowed_places)
    except RequirementRefused as refused:
        raise ConfigRefused(f"{key}: {refused}") from None


def _requirement_lines(path: str, read: Read) -> list[str]:
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


def _overridden(environment: Iterable[str]) -> list[str]:
    """Return a warning for each variable that the platform sets itself: a model pushed elsewhere may need to set it."""
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
