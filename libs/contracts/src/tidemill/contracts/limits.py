"""Limits of the public interface, each with its unit in its name and the reason for its number."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

BODY_LIMIT_BYTES: Final = 6 * MIB  # what Cog itself takes inline; larger inputs belong in a file
JSON_DEPTH_LIMIT: Final = 64  # far above any real input, far below the interpreter's recursion limit
URL_LIMIT_BYTES: Final = 2048  # webhook and input URLs; what browsers and proxies agree on
FILE_LIMIT_BYTES: Final = 100 * MIB  # Replicate's limit for the files API
FILENAME_LIMIT_BYTES: Final = 255  # Replicate's limit, and that of most file systems
FILE_METADATA_LIMIT_BYTES: Final = 16 * KIB  # metadata is for labels
FILE_LIFETIME_S: Final = 24 * 3600  # Replicate's lifetime of an uploaded file
PAGE_SIZE: Final = 100  # Replicate's page of predictions
PRIORITY_LIMIT: Final = 10  # more steps than anybody tells apart
BATCH_LIMIT: Final = 100  # predictions in one create; one statement, and a page's worth to answer
NAME_LIMIT_CHARS: Final = 64  # account and model names
WAIT_LIMIT_S: Final = 60.0  # Replicate's longest sync wait
WAIT_MARGIN_S: Final = 1.5  # clients give up at exactly 60 s, so the answer leaves before
CREATES_PER_MINUTE: Final = 600  # Replicate's, per account; a minute's worth may come at once
REQUESTS_PER_MINUTE: Final = 3_000  # Replicate's, for requests that create no prediction
ANONYMOUS_PER_MINUTE: Final = 600  # per address: a person or a team behind one address, but no crawler
# Per address: an account's creates at the full rate with ten files each, all fetched by one server.
SIGNED_PER_MINUTE: Final = 6_000
EVENT_CONNECTIONS: Final = 50  # on NATS, per account: several programs on several machines, and a bounded part of 5,000
OPEN_PREDICTIONS: Final = 2_000  # per account: over three minutes of creates at the full rate, and little memory
CANCEL_AFTER_MINIMUM_S: Final = 5  # Replicate's minimum
CANCEL_AFTER_LIMIT_S: Final = 24 * 3600  # longer than any time limit of a run
# How long the previous release keeps serving while the new one has no ready instance: longer than the limit of a boot,
# but bounded, because a full fleet may have no capacity for both.
HAND_OVER_LIMIT_S: Final = 660.0
ATTEMPTS: Final = 2  # one lost worker is chance; at the second the model is probably the cause
INLINE_INPUT_LIMIT_BYTES: Final = 64 * KIB  # larger inputs are read from the row, so that the jobs stream stays small
INLINE_OUTPUT_LIMIT_BYTES: Final = 64 * KIB  # larger output and logs are read from the row when needed
LOGS_LIMIT_BYTES: Final = 4 * MIB  # of one prediction; longer logs are cut with a note
OUTPUT_LIMIT_BYTES: Final = 6 * MIB  # JSON of one prediction's output
OUTPUT_FILE_LIMIT_BYTES: Final = 5 * GIB  # one file of an output: the largest single PUT of S3
INPUT_FILE_LIMIT_BYTES: Final = 1 * GIB  # one file of an input, fetched by the worker
DATA_URI_OUTPUT_LIMIT_BYTES: Final = 4 * MIB  # larger file outputs stay URLs even for clients that prefer data URIs
BUNDLE_FILE_LIMIT_BYTES: Final = 20 * GIB  # one file of a model
MANIFEST_LIMIT_BYTES: Final = 32 * MIB  # 100,000 files of about 300 bytes each
DESCRIPTION_LIMIT_CHARS: Final = 2000  # of a model; a few sentences under its name
README_LIMIT_CHARS: Final = 200_000  # longer than any README that people read
EXAMPLES_LIMIT: Final = 100  # of a model; their data is kept forever
SEARCH_LIMIT_CHARS: Final = 200  # a query, not a document
