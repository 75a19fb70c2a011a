"""Paints a PNG of one colour, which the seed chooses."""

import struct
import tempfile
import time
import zlib

from cog import BasePredictor, Input, Path


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes(colour) * width) * height
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


class Predictor(BasePredictor):
    def predict(
        self,
        prompt: str = Input(description="What to paint"),
        seed: int = Input(description="The colour", default=0, ge=0, le=255),
        num_outputs: int = Input(description="How many", default=1, ge=1, le=4),
        seconds: float = Input(description="How long it takes", default=0, ge=0, le=60),
    ) -> list[Path]:
        time.sleep(seconds)
        folder, paths = Path(tempfile.mkdtemp()), []
        for number in range(num_outputs):
            paths.append(folder / f"{number}.png")
            paths[-1].write_bytes(png(8, 4, (seed, number, len(prompt) % 256)))
        return paths
