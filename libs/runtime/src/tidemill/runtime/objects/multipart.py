"""S3's multipart upload: the parts of an object, and the XML that begins and completes an upload. Pure.

A single PUT takes at most 5 GiB and starts again when it breaks off; of a multipart upload only one part does.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

from tidemill.contracts.limits import MIB

PART_BYTES: Final = 256 * MIB  # an upload has 10,000 parts at most: 2.4 TiB


class UploadPart(NamedTuple):
    """`number` counts from 1."""

    number: int
    offset: int
    size: int


def parts(size: int, part_bytes: int) -> Iterator[UploadPart]:
    offsets = range(0, size, part_bytes)
    return (UploadPart(number, offset, min(part_bytes, size - offset)) for number, offset in enumerate(offsets, 1))


def completion(etags: Iterable[str]) -> bytes:
    """Return the request body that makes an object of the parts with these tags, in their order."""
    root = ET.Element("CompleteMultipartUpload")
    for number, etag in enumerate(etags, 1):
        part = ET.SubElement(root, "Part")
        ET.SubElement(part, "PartNumber").text = str(number)
        ET.SubElement(part, "ETag").text = etag
    return ET.tostring(root)


def value(reply: bytes, name: str) -> str | None:
    """Return the text of the first element with that name, or None if the reply has none, as an error has."""
    try:
        root = ET.fromstring(reply)  # noqa: S314 - the operator's own store
    except ET.ParseError:
        return None
    return root.findtext(f".//{{*}}{name}")
