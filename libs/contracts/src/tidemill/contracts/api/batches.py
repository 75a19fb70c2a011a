"""Several predictions in one request, as they are on the wire."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tidemill.contracts.api.predictions import CreatePredictionOfVersion, Prediction
from tidemill.contracts.limits import BATCH_LIMIT


class CreateBatch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`atomic`: all of them are created, or none."""

    predictions: Annotated[list[CreatePredictionOfVersion], Meta(min_length=1, max_length=BATCH_LIMIT)]
    atomic: bool = False


class CreateBatchItems(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The same as it is read: what is wrong with one item is said of that item."""

    predictions: Annotated[list[Raw], Meta(min_length=1, max_length=BATCH_LIMIT)]
    atomic: bool = False


class InvalidField(msgspec.Struct):
    type: str
    field: str
    description: str


class ItemProblem(msgspec.Struct, kw_only=True):
    """Why an item was refused: what a single create would have answered."""

    detail: str
    status: int
    title: str | UnsetType = UNSET
    invalid_fields: list[InvalidField] | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET


class BatchResult(msgspec.Struct, kw_only=True):
    """`status` is 201 with a prediction, or that of the problem."""

    status: int
    prediction: Prediction | UnsetType = UNSET
    problem: ItemProblem | UnsetType = UNSET


class Batch(msgspec.Struct, kw_only=True):
    """One result for each item of the request, in its order."""

    results: list[BatchResult]
