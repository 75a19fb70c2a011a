"""What is wrong or unwise with a model's directory, told before anything is uploaded. Reads files, runs nothing.

It looks for the shapes of well-known secrets; what has no known shape it cannot find.
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from tidemill.hosting.model_config.cog_yaml import ConfigRefused
from tidemill.hosting.model_config.directory import read_config
from tidemill.security.bundle_paths import BundleError, check_paths

LARGE_FILE_BYTES: Final = 1024**3  # ten seconds of a worker's first boot at a good link
SEARCHED_FILE_BYTES: Final = 1024**2  # code and settings; what is larger is weights or data
SHOWN: Final = 3  # files of one kind that are named

_PINNED: Final = re.compile(r"===?(?!.*\*)")
_SECRET_NAMES: Final = (
    *(".env", ".env.*", ".netrc", ".npmrc", ".pypirc", ".git-credentials", "credentials", "credentials.json"),
    *("id_rsa", "id_ecdsa", "id_ed25519", "*.pem", "*.p12", "*.pfx", "*.keystore", "service-account*.json"),
)
_SECRETS: Final = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "an API token of this platform or Replicate": re.compile(r"(?<![A-Za-z0-9])r8_[A-Za-z0-9]{37}(?![A-Za-z0-9])"),
    "a webhook secret": re.compile(r"whsec_[A-Za-z0-9+/=]{24,}"),
    "an access key of AWS": re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    "a token of GitHub": re.compile(r"(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,})"),
    "a token of Hugging Face": re.compile(r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{34}(?![A-Za-z0-9])"),
    "an API key of OpenAI or Anthropic": re.compile(r"(?<![A-Za-z0-9])sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}"),
    "a token of Slack": re.compile(r"xox[abprs]-[A-Za-z0-9-]{20,}"),
    "an API key of Google": re.compile(r"AIza[A-Za-z0-9_-]{35}"),
}
_NEEDLESS: Final = (
    *("tests/*", "test/*", "notebooks/*", "*.ipynb", "*.log", ".github/*", ".idea/*", ".vscode/*", "node_modules/*"),
    *("wandb/*", "runs/*", "venv/*", "env/*", ".pytest_cache/*", ".mypy_cache/*", ".ruff_cache/*", "*.pyc"),
    *("*.swp", "*~", "dist/*", "build/*", "*.egg-info/*"),
)


class Finding(NamedTuple):
    """An error is what a push would fail on."""

    is_error: bool
    text: str


def findings(directory: Path, paths: Sequence[str]) -> list[Finding]:
    """Of the files `paths` of the directory, errors first."""
    sizes = _sizes(directory, paths)
    found = [*_of_bundle(sizes), *_of_config(directory), *_of_files(sizes), *secrets(directory, paths)]
    return sorted(found, key=lambda finding: not finding.is_error)


def errors(directory: Path, paths: Sequence[str]) -> list[str]:
    found = [*_of_bundle(_sizes(directory, paths)), *_of_config(directory)]
    return [finding.text for finding in found if finding.is_error]


def _sizes(directory: Path, paths: Sequence[str]) -> dict[str, int]:
    return {path: (directory / path).stat().st_size for path in paths}


def _of_bundle(sizes: dict[str, int]) -> Iterator[Finding]:
    try:
        check_paths(list(sizes.items()))
    except BundleError as error:
        yield Finding(True, str(error))


def _of_config(directory: Path) -> Iterator[Finding]:
    try:
        parsed = read_config(directory)
    except ConfigRefused as refused:
        yield Finding(True, str(refused))
        return
    for warning in parsed.warnings:
        yield Finding(False, warning)
    loose = [each for each in parsed.config.requirements if not _PINNED.search(each.partition(";")[0])]
    if loose:
        text = f"{', '.join(loose)}: no exact version; a later build may get another one and behave differently"
        yield Finding(False, text)


def _of_files(sizes: dict[str, int]) -> Iterator[Finding]:
    for path, size in sizes.items():
        if size > LARGE_FILE_BYTES:
            yield Finding(False, f"{path} is {size / 1024**3:.1f} GiB: the first boot on each worker fetches it")
    for pattern, paths in _matching(sizes, _NEEDLESS).items():
        yield Finding(False, f"{_named(paths)}: probably not needed to run; {pattern} in .dockerignore leaves it out")
    if any(PurePosixPath(path).name == "Dockerfile" for path in sizes):
        yield Finding(False, "a Dockerfile is not used here: models run without a container")


def secrets(directory: Path, paths: Sequence[str]) -> Iterator[Finding]:
    """What should not leave the author's machine; the secrets themselves are not repeated."""
    for named in _matching(paths, _SECRET_NAMES).values():
        yield Finding(False, f"{_named(named)}: such files hold secrets, and whoever runs a version may read its files")
    for path in paths:
        text = _text(directory / path)
        for kind, shape in _SECRETS.items():
            match = shape.search(text)
            if match is not None:
                line = text.count("\n", 0, match.start()) + 1
                yield Finding(False, f"{path}:{line} looks like {kind}; use `tidemill secret set` instead")


def _matching(paths: Iterable[str], patterns: Iterable[str]) -> dict[str, list[str]]:
    """Paths by the first pattern that fits, as .dockerignore spells it: a name anywhere, or a folder at the root."""
    found: dict[str, list[str]] = {}
    for path in paths:
        name = PurePosixPath(path).name
        for pattern in patterns:
            whole = pattern.endswith("/*")
            if fnmatch.fnmatchcase(path, pattern) if whole else fnmatch.fnmatchcase(name, pattern):
                found.setdefault(pattern.removesuffix("*") if whole else f"**/{pattern}", []).append(path)
                break
    return found


def _named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return f"{', '.join(paths[:SHOWN])}{more}"


def _text(file: Path) -> str:
    """Empty for what is large or no text."""
    if file.stat().st_size > SEARCHED_FILE_BYTES:
        return ""
    raw = file.read_bytes()
    return "" if b"\0" in raw else raw.decode("utf-8", "replace")
