"""English text to speech with hibari, whose American voice "heart" comes in its wheel: nothing is downloaded."""

import tempfile
import wave
from collections.abc import Iterator
from typing import Optional

import numpy as np
from hibari import SAMPLE_RATE, Hibari

from cog import BasePredictor, Input, Path

# About five minutes of speech, a WAV file of 16 MB.
MAX_TEXT_CHARACTERS = 5000
FULL_SCALE = 32767


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.speaker = Hibari(voice="heart", threads=1)
        # The first sentence loads the pronunciation tables and the network's buffers; let it be this one.
        self.speaker("Ready.")

    def predict(
        self,
        text: str = Input(description="English text to read aloud", min_length=1, max_length=MAX_TEXT_CHARACTERS),
        speed: float = Input(description="1 is the voice's own pace; higher is faster", default=1.0, ge=0.5, le=2.0),
        seed: Optional[int] = Input(description="Same seed, same sound file; random when left out", default=None, ge=0),
    ) -> Path:
        if not any(character.isalnum() for character in text):
            raise ValueError("There is nothing to read in this text: it has no letters or digits.")
        path = Path(tempfile.mkdtemp()) / "speech.wav"
        seconds = write_wav(path, self.speaker.stream(text, speed=speed, seed=seed))
        if seconds == 0:
            raise ValueError("There is nothing to read in this text: none of it can be pronounced as English.")
        print(f"{seconds:.1f} s of speech")
        return path


def write_wav(path: Path, sentences: Iterator[np.ndarray]) -> float:
    """Write the sentences as they come, 16 bits mono; answers the length in seconds."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for sentence in sentences:
            file.writeframes((np.clip(sentence, -1.0, 1.0) * FULL_SCALE).astype("<i2").tobytes())
        return file.tell() / SAMPLE_RATE
