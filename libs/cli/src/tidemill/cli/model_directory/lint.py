"""Finds errors and risks in a model's directory before it is pushed. Reads files and runs nothing.

Secrets are found by the patterns of well-known services; secrets of other forms are not found.
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from tidemill.hosting.model_config.cog_yaml import ConfigRefused
from tidemill.hosting.model_config.directory import read_config
from tidemill.security.bundle_paths import BundleError, check_paths

LARGE_FILE_BYTES: Final = 1024**3  # a worker needs ten seconds to fetch it on a good link
SEARCHED_FILE_BYTES: Final = 1024**2  # code and settings are smaller; larger files are weights or data
SHOWN: Final = 3  # files that one finding names

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
_UNNEEDED: Final = (
    *("tests/*", "test/*", "notebooks/*", "*.ipynb", "*.log", ".github/*", ".idea/*", ".vscode/*", "node_modules/*"),
    *("wandb/*", "runs/*", "venv/*", "env/*", ".pytest_cache/*", ".mypy_cache/*", ".ruff_cache/*", "*.pyc"),
    *("*.swp", "*~", "dist/*", "build/*", "*.egg-info/*"),
)


class LintFinding(NamedTuple):
    """An error makes a push fail; a warning does not."""

    is_error: bool
    text: str


def check_directory(directory: Path, paths: Sequence[str]) -> list[LintFinding]:
    """Check the files `paths` of the directory. Return errors first."""
    sizes = _sizes(directory, paths)
    found = [*_check_bundle(sizes), *_check_config(directory), *_check_files(sizes), *find_secrets(directory, paths)]
    return sorted(found, key=lambda finding: not finding.is_error)


def find_errors(directory: Path, paths: Sequence[str]) -> list[str]:
    """Return the texts of what would make a push fail."""
    found = [*_check_bundle(_sizes(directory, paths)), *_check_config(directory)]
    return [finding.text for finding in found if finding.is_error]


def _sizes(directory: Path, paths: Sequence[str]) -> dict[str, int]:
    return {path: (directory / path).stat().st_size for path in paths}


def _check_bundle(sizes: dict[str, int]) -> Iterator[LintFinding]:
    try:
        check_paths(list(sizes.items()))
    except BundleError as error:
        yield LintFinding(True, str(error))


def _check_config(directory: Path) -> Iterator[LintFinding]:
    try:
        parsed = read_config(directory)
    except ConfigRefused as refused:
        yield LintFinding(True, str(refused))
        return
    for warning in parsed.warnings:
        yield LintFinding(False, warning)
    loose = [each for each in parsed.config.requirements if not _PINNED.search(each.partition(";")[0])]
    if loose:
        text = f"{', '.join(loose)}: no exact version; a later build may get another one and behave differently"
        yield LintFinding(False, text)


def _check_files(sizes: dict[str, int]) -> Iterator[LintFinding]:
    for path, size in sizes.items():
        if size > LARGE_FILE_BYTES:
            yield LintFinding(False, f"{path} is {size / 1024**3:.1f} GiB: the first boot on each worker fetches it")
    for pattern, paths in _matching(sizes, _UNNEEDED).items():
        yield LintFinding(
            False, f"{_named(paths)}: probably not needed to run; {pattern} in .dockerignore leaves it out"
        )
    if any(PurePosixPath(path).name == "Dockerfile" for path in sizes):
        yield LintFinding(False, "a Dockerfile is not used here: models run without a container")


def find_secrets(directory: Path, paths: Sequence[str]) -> Iterator[LintFinding]:
    """Yield warnings about files with secrets. The secrets themselves are not printed."""
    for named in _matching(paths, _SECRET_NAMES).values():
        yield LintFinding(
            False, f"{_named(named)}: such files hold secrets, and whoever runs a version may read its files"
        )
    for path in paths:
        text = _text(directory / path)
        for kind, shape in _SECRETS.items():
            match = shape.search(text)
            if match is not None:
                line = text.count("\n", 0, match.start()) + 1
                yield LintFinding(False, f"{path}:{line} looks like {kind}; use `tidemill secret set` instead")


def _matching(paths: Iterable[str], patterns: Iterable[str]) -> dict[str, list[str]]:
    """Return paths by the first pattern that matches, as .dockerignore spells it."""
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
    """Return the file's text; empty for large and for binary files."""
    if file.stat().st_size > SEARCHED_FILE_BYTES:
        return ""
    raw = file.read_bytes()
    return "" if b"\0" in raw else raw.decode("utf-8", "replace")
