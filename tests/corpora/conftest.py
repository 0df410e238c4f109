"""Miniature corpora: a few clips of noise under published names."""

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sounds import wav

from speech_emotion.corpora.manifest import Archive, Corpus
from speech_emotion.corpora.readers import ravdess


@pytest.fixture
def small_corpus() -> tuple[bytes, Callable[[str], Corpus]]:
    """An archive with two clips, and the corpus that is published at a URL as just these."""
    rng = np.random.default_rng(11)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for repetition in (1, 2):
            noise = rng.uniform(-0.5, 0.5, 4000).astype(np.float32)
            zipped.writestr(f"Actor_01/03-01-03-01-01-0{repetition}-01.wav", wav(noise))
    body = file.getvalue()
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()

    def corpus(url: str) -> Corpus:
        archive = Archive(url, "archive.zip", len(body), md5)
        return replace(ravdess.SPEECH, counts={("01", "happy"): 2}, archive=archive)

    return body, corpus
