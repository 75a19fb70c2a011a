"""Which of the worker's own packages (torch and what it needs) a model's environment can use instead of a copy.

A layer is told to the resolver as a wheel without files, so that it chooses everything else to fit; the wheel's
traces are removed afterwards and the real package is found in the worker's own site-packages. Runs nothing.
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

LAYERED: Final = ("torch", "numpy")  # gigabytes, and seconds of import
# Seconds of import too, but with many needs that models pin: shared only by those that name it.
ON_REQUEST: Final = ("transformers",)
_STAND_IN: Final = "tidemill"  # a local version that no index has: only the wheel without files can be chosen


class Layer(NamedTuple):
    """A package of the worker's that models may use; `needs` are its requirements, without those of extras."""

    name: str
    version: str
    needs: tuple[str, ...]
    extras: tuple[str, ...] = ()  # metadata lines about extras

    @property
    def stand_in(self) -> str:
        return f"{self.version.partition('+')[0]}+{_STAND_IN}"


class Attempt(NamedTuple):
    """One way to build an environment. `layers` come from the worker; `constraints` keep the rest fit for them."""

    requirements: tuple[str, ...]
    layers: tuple[Layer, ...]
    constraints: tuple[str, ...]
    shares_imports: bool  # what the layers import is the worker's own, so they may be imported ahead


def installed_layers(names: Iterable[str] = (*LAYERED, *ON_REQUEST)) -> tuple[Layer, ...]:
    """The named packages as far as this interpreter has them, and all that they need."""
    found: dict[str, Layer] = {}
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        distribution = None if name in found else _distribution(name)
        if distribution is not None:
            found[name] = layer = _layer(name, distribution)
            waiting.extend(canonicalize_name(Requirement(need).name) for need in layer.needs)
    return tuple(sorted(found.values()))


def _distribution(name: str) -> Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _layer(name: str, distribution: Distribution) -> Layer:
    needs, extras = [], [f"Provides-Extra: {extra}" for extra in distribution.metadata.get_all("Provides-Extra") or ()]
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            requirement.marker = None
            needs.append(str(requirement))
        elif "extra" in str(requirement.marker):
            extras.append(f"Requires-Dist: {text}")
    return Layer(name, distribution.version, tuple(needs), tuple(extras))


def relevant(specifiers: Sequence[str], layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Without those that are there on request, unless they are named and will do with all that they need."""
    wanted = [Requirement(text) for text in specifiers]
    requested = closure(layers, (*LAYERED, *named(specifiers, ON_REQUEST)))
    if all(_satisfies(layer, wanted) for layer in requested):
        return requested
    return closure(layers, LAYERED)


def closure(layers: Sequence[Layer], roots: Iterable[str]) -> tuple[Layer, ...]:
    """The roots as far as there are such layers, and all layers that they need."""
    by_name = {layer.name: layer for layer in layers}
    found: set[str] = set()
    waiting = [name for name in roots if name in by_name]
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in found:
            found.add(name)
            waiting.extend(canonicalize_name(Requirement(need).name) for need in by_name[name].needs)
    return tuple(layer for layer in layers if layer.name in found)


def attempts(
    specifiers: Sequence[str], layers: Sequence[Layer], roots: Collection[str] = LAYERED
) -> tuple[Attempt, ...]:
    """Ways to build, the most sharing first; each later one is for when the one before has no solution. The last one
    uses no layer at all.

    With `layers` from relevant().
    """
    wanted = [Requirement(text) for text in specifiers]
    alone = Attempt(tuple(specifiers), (), (), shares_imports=False)
    refused = {layer.name for layer in layers if not _satisfies(layer, wanted)}
    if "torch" in refused or not layers:
        return (alone,)
    kept = tuple(layer for layer in layers if layer.name in roots and layer.name not in refused)
    ways = [_attempt(wanted, kept, shares_imports=False), alone] if kept else [alone]
    if not refused:
        sets = dict.fromkeys((tuple(layers), closure(layers, roots)))
        ways[:0] = [_attempt(wanted, each, shares_imports=True) for each in sets if each]
    return tuple(ways)


def satisfied(specifiers: Sequence[str], layers: Sequence[Layer]) -> bool:
    """Whether the worker's own packages are all that is asked for."""
    by_name = {layer.name: layer for layer in layers}
    wanted = [Requirement(text) for text in specifiers]
    return all(
        not _applies(each) or (each.name in by_name and not each.extras and _satisfies(by_name[each.name], [each]))
        for each in wanted
    )


def named(specifiers: Sequence[str], names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` that the list asks for itself."""
    asked = {each.name for each in map(Requirement, specifiers) if _applies(each)}
    return tuple(name for name in names if name in asked)


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate()


def _satisfies(layer: Layer, wanted: Sequence[Requirement]) -> bool:
    return all(
        each.specifier.contains(layer.version, prereleases=True)
        for each in wanted
        if each.name == layer.name and _applies(each)
    )


def _attempt(wanted: Sequence[Requirement], layers: tuple[Layer, ...], *, shares_imports: bool) -> Attempt:
    names = {layer.name for layer in layers}
    requirements = []
    for each in wanted:
        free = Requirement(str(each))
        if each.name in names:  # checked already, and `==2.9.1+cpu` would not match the stand-in
            free.specifier = type(free.specifier)()
        requirements.append(str(free))
    constraints = {f"{layer.name}=={layer.stand_in}" for layer in layers}
    constraints |= {
        need for layer in layers for need in layer.needs if canonicalize_name(Requirement(need).name) not in names
    }
    return Attempt(tuple(requirements), layers, tuple(sorted(constraints)), shares_imports)


def write_stand_ins(layers: Iterable[Layer], directory: Path) -> None:
    """A wheel without files for each layer."""
    directory.mkdir(parents=True, exist_ok=True)
    for layer in layers:
        name = layer.name.replace("-", "_")
        info = f"{name}-{layer.stand_in}.dist-info"
        metadata = [f"Name: {layer.name}", f"Version: {layer.stand_in}", *layer.extras]
        members = {
            f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", *metadata, ""]),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tidemill\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        members[f"{info}/RECORD"] = _record(members) + f"{info}/RECORD,,\n"
        with zipfile.ZipFile(directory / f"{name}-{layer.stand_in}-py3-none-any.whl", "w") as wheel:
            for path, text in members.items():
                wheel.writestr(path, text)


def _record(members: Mapping[str, str]) -> str:
    lines = []
    for path, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text.encode())}\n")
    return "".join(lines)


def remove_stand_ins(site: Path) -> tuple[str, ...]:
    """Takes the wheels' traces out of an installed directory; the names of those that had been chosen."""
    chosen = []
    for info in site.glob(f"*+{_STAND_IN}.dist-info"):
        chosen.append(info.name.partition("-")[0].replace("_", "-"))
        shutil.rmtree(info)
    return tuple(sorted(chosen))
