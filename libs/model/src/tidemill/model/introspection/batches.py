"""What `@cog.batch` requires of a signature, and which queued predictions share one call.

Pure. The rules for authors are in docs/batching.md.
"""

import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import cog
from tidemill.model.errors.contract import ContractError
from tidemill.model.introspection.shapes import FILE_KINDS, Kind, describe
from tidemill.model.introspection.signature import Parameter, Signature

SIZE_LIMIT: Final = 256  # predictions in one call; twice as many inputs wait in the child's memory
WAIT_LIMIT_MS: Final = 1_000  # each prediction may wait this long: more than a second is a queue, not a batch
# A file or a secret is never the same for two predictions.
UNSHARED: Final = FILE_KINDS | {Kind.SECRET}


def item_of(annotation: Any) -> Any | None:
    """Return the item type of `Batch[...]`, None for any other annotation. Raise ContractError for a bare `Batch`."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if annotation is cog.Batch:
        raise ContractError("Batch alone does not say what it holds; write Batch[str], for one")
    if typing.get_origin(annotation) is not cog.Batch:
        return None
    return typing.get_args(annotation)[0]


def output_item(annotation: Any) -> Any:
    """Return the annotation of one prediction's output. Raise ContractError."""
    try:
        item = item_of(annotation)
    except ContractError as error:
        raise error.within("return annotation") from None
    if item is None:
        raise ContractError(
            "return annotation: a function under @batch returns one output for each prediction: annotate it "
            "Batch[...] (its outputs come all at once, so an Iterator cannot be one)"
        )
    return item


def check(signature: Signature) -> None:
    """Raise ContractError if `@batch` and the rest of the signature contradict each other."""
    batched = [parameter for parameter in signature.parameters if parameter.batched]
    if signature.batch is None:
        if batched:
            raise ContractError(f"parameter {batched[0].name!r}: Batch[...] is for functions under @batch")
        return
    if signature.is_async:
        raise ContractError("@batch is for a synchronous function; an async one takes several with @concurrent")
    if signature.is_generator:
        raise ContractError("@batch is for a function that returns all outputs of a call at once; this one yields")
    if not batched:
        raise ContractError("@batch needs a parameter that is annotated Batch[...]")
    for parameter in signature.parameters:
        if not parameter.batched and parameter.shape.kind in UNSHARED:
            raise ContractError(
                f"parameter {parameter.name!r}: predictions share a call when their {parameter.name} is the same, and "
                f"no two {describe(parameter.shape)} inputs are; annotate it Batch[{describe(parameter.shape)}]"
            )
    if signature.batch.max_size > SIZE_LIMIT:
        raise ContractError(f"@batch(max_size={signature.batch.max_size}) is over the limit of {SIZE_LIMIT}")
    if signature.batch.max_wait_ms > WAIT_LIMIT_MS:
        raise ContractError(f"@batch(max_wait_ms={signature.batch.max_wait_ms}) is over the limit of {WAIT_LIMIT_MS}")


def shared_key(parameters: Sequence[Parameter], values: Mapping[str, Any]) -> str:
    """Return a text that is equal for inputs with equal unbatched `parameters`, defaults included."""
    if not parameters:
        return ""
    given = [values.get(parameter.name) for parameter in parameters]
    filled = [parameter.default if value is None else value for parameter, value in zip(parameters, given, strict=True)]
    return json.dumps(filled, sort_keys=True, default=repr)


class BatchCandidate(Protocol):
    """A queued prediction."""

    @property
    def key(self) -> str: ...
    @property
    def alone(self) -> bool: ...


CandidateT = TypeVar("CandidateT", bound=BatchCandidate)


def choose(queued: Sequence[CandidateT], max_size: int) -> list[CandidateT]:
    """Return the predictions of the next call, in order of arrival: the first, and those that may share its call."""
    first = queued[0]
    if first.alone:
        return [first]
    chosen: list[CandidateT] = []
    for candidate in queued:
        if candidate.key == first.key and not candidate.alone:
            chosen.append(candidate)
            if len(chosen) == max_size:
                break
    return chosen


def arguments(parameters: Sequence[Parameter], inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the arguments of one call. Each of `inputs` has the arguments of one prediction."""
    return {
        parameter.name: cog.Batch(each[parameter.name] for each in inputs)
        if parameter.batched
        else inputs[0][parameter.name]
        for parameter in parameters
    }


def outputs_of(value: Any, count: int) -> list[Any]:
    """Return the outputs in a returned value. Raise ContractError unless there is one for each prediction."""
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__len__") or not hasattr(value, "__iter__"):
        raise ContractError(
            f"a function under @batch returns a list with one output for each prediction, not {type(value).__name__}"
        )
    outputs = list(value)
    if len(outputs) != count:
        raise ContractError(f"the model was called for {count} predictions and returned {len(outputs)} outputs")
    return outputs
