"""Decides which of the worker's packages (torch and its dependencies) an environment uses instead of its own copy.

The resolver sees a shared package as a wheel without files (a placeholder), and chooses all other versions to fit. The
placeholder is removed after the installation, and the child finds the real package in the worker's site-packages.
"""

import base64
import hashlib
import importlib.metadata
import shutil
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SHARED: Final = ("torch", "numpy")  # gigabytes, and seconds of import
# Seconds of import too, but its dependencies are often pinned: shared only with models that name it.
SHARED_IF_NAMED: Final = ("transformers",)
_PLACEHOLDER: Final = "tidemill"  # a local version that no index has, so that only the placeholder matches


class SharedPackage(NamedTuple):
    """A package of the worker that models may use. `dependencies` are its requirements without those of extras."""

    name: str
    version: str
    dependencies: tuple[str, ...]
    extras: tuple[str, ...] = ()  # metadata lines about extras

    @property
    def placeholder(self) -> str:
        return f"{self.version.partition('+')[0]}+{_PLACEHOLDER}"


class BuildVariant(NamedTuple):
    """One way to build an environment. `packages` come from the worker; `constraints` keep the rest compatible."""

    requirements: tuple[str, ...]
    packages: tuple[SharedPackage, ...]
    constraints: tuple[str, ...]
    can_preload: bool  # all imports of the shared packages are the worker's own, so a zygote may preload them


def find_shared_packages(names: Iterable[str] = (*SHARED, *SHARED_IF_NAMED)) -> tuple[SharedPackage, ...]:
    """Return the named packages that this interpreter has, and all their dependencies."""
    found: dict[str, SharedPackage] = {}
    pending = [canonicalize_name(name) for name in names]
    while pending:
        name = pending.pop()
        distribution = None if name in found else _distribution(name)
        if distribution is not None:
            found[name] = package = _shared_package(name, distribution)
            pending.extend(canonicalize_name(Requirement(dependency).name) for dependency in package.dependencies)
    return tuple(sorted(found.values()))


def _distribution(name: str) -> Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _shared_package(name: str, distribution: Distribution) -> SharedPackage:
    dependencies, extras = (
        [],
        [f"Provides-Extra: {extra}" for extra in distribution.metadata.get_all("Provides-Extra") or ()],
    )
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            requirement.marker = None
            dependencies.append(str(requirement))
        elif "extra" in str(requirement.marker):
            extras.append(f"Requires-Dist: {text}")
    return SharedPackage(name, distribution.version, tuple(dependencies), tuple(extras))


def select_packages(specifiers: Sequence[str], packages: Sequence[SharedPackage]) -> tuple[SharedPackage, ...]:
    """Return the packages to share. SHARED_IF_NAMED counts if it is named and all versions satisfy."""
    wanted = [Requirement(text) for text in specifiers]
    requested = with_dependencies(packages, (*SHARED, *named_in(specifiers, SHARED_IF_NAMED)))
    if all(_satisfies(package, wanted) for package in requested):
        return requested
    return with_dependencies(packages, SHARED)


def with_dependencies(packages: Sequence[SharedPackage], roots: Iterable[str]) -> tuple[SharedPackage, ...]:
    """Return the roots that are in `packages`, and all their dependencies in it."""
    by_name = {package.name: package for package in packages}
    found: set[str] = set()
    pending = [name for name in roots if name in by_name]
    while pending:
        name = pending.pop()
        if name in by_name and name not in found:
            found.add(name)
            pending.extend(canonicalize_name(Requirement(dependency).name) for dependency in by_name[name].dependencies)
    return tuple(package for package in packages if package.name in found)


def build_variants(
    specifiers: Sequence[str], packages: Sequence[SharedPackage], roots: Collection[str] = SHARED
) -> tuple[BuildVariant, ...]:
    """Return ways to build, the most sharing first. Each next one is for when no solution exists for the one before.

    The last one shares nothing. `packages` come from select_packages().
    """
    wanted = [Requirement(text) for text in specifiers]
    alone = BuildVariant(tuple(specifiers), (), (), can_preload=False)
    refused = {package.name for package in packages if not _satisfies(package, wanted)}
    if "torch" in refused or not packages:
        return (alone,)
    kept = tuple(package for package in packages if package.name in roots and package.name not in refused)
    ways = [_variant(wanted, kept, can_preload=False), alone] if kept else [alone]
    if not refused:
        sets = dict.fromkeys((tuple(packages), with_dependencies(packages, roots)))
        ways[:0] = [_variant(wanted, each, can_preload=True) for each in sets if each]
    return tuple(ways)


def are_satisfied(specifiers: Sequence[str], packages: Sequence[SharedPackage]) -> bool:
    """Return whether the worker's own packages satisfy all requirements."""
    by_name = {package.name: package for package in packages}
    wanted = [Requirement(text) for text in specifiers]
    return all(
        not _applies(each) or (each.name in by_name and not each.extras and _satisfies(by_name[each.name], [each]))
        for each in wanted
    )


def named_in(specifiers: Sequence[str], names: Iterable[str]) -> tuple[str, ...]:
    """Return those of `names` that the requirements name directly."""
    asked = {each.name for each in map(Requirement, specifiers) if _applies(each)}
    return tuple(name for name in names if name in asked)


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate()


def _satisfies(package: SharedPackage, wanted: Sequence[Requirement]) -> bool:
    return all(
        each.specifier.contains(package.version, prereleases=True)
        for each in wanted
        if each.name == package.name and _applies(each)
    )


def _variant(wanted: Sequence[Requirement], packages: tuple[SharedPackage, ...], *, can_preload: bool) -> BuildVariant:
    names = {package.name for package in packages}
    requirements = []
    for each in wanted:
        free = Requirement(str(each))
        if each.name in names:  # checked already, and `==2.9.1+cpu` would not match the placeholder
            free.specifier = type(free.specifier)()
        requirements.append(str(free))
    constraints = {f"{package.name}=={package.placeholder}" for package in packages}
    constraints |= {
        dependency
        for package in packages
        for dependency in package.dependencies
        if canonicalize_name(Requirement(dependency).name) not in names
    }
    return BuildVariant(tuple(requirements), packages, tuple(sorted(constraints)), can_preload)


def write_placeholders(packages: Iterable[SharedPackage], directory: Path) -> None:
    """Write a wheel without files for each package."""
    directory.mkdir(parents=True, exist_ok=True)
    for package in packages:
        name = package.name.replace("-", "_")
        info = f"{name}-{package.placeholder}.dist-info"
        metadata = [f"Name: {package.name}", f"Version: {package.placeholder}", *package.extras]
        members = {
            f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", *metadata, ""]),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tidemill\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        members[f"{info}/RECORD"] = _record(members) + f"{info}/RECORD,,\n"
        with zipfile.ZipFile(directory / f"{name}-{package.placeholder}-py3-none-any.whl", "w") as wheel:
            for path, text in members.items():
                wheel.writestr(path, text)


def _record(members: Mapping[str, str]) -> str:
    lines = []
    for path, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text.encode())}\n")
    return "".join(lines)


def remove_placeholders(site: Path) -> tuple[str, ...]:
    """Remove the installed placeholders. Return the names of those that the resolver chose."""
    chosen = []
    for info in site.glob(f"*+{_PLACEHOLDER}.dist-info"):
        chosen.append(info.name.partition("-")[0].replace("_", "-"))
        shutil.rmtree(info)
    return tuple(sorted(chosen))
