"""The client against a real service: the answers of the classifier, jobs, streams, refusals, patience."""

import asyncio
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import sounds
from services import service
from serving import Served

from speech_emotion.classifier import Classifier
from speech_emotion.client import AsyncClient, Client, ServiceError
from speech_emotion.errors import AudioDecodeError, AudioNotFoundError, ConfigError
from speech_emotion.server.keys import Keys
from speech_emotion.server.service import ServiceOptions

KEY = "a key that is long enough"
SAMPLES = sounds.voice(5.0)
VOICE = sounds.wav(SAMPLES, subtype="FLOAT")
LONG = sounds.wav(np.tile(sounds.voice(13.0), 5))


@pytest.fixture(scope="module")
def server(tuned: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("jobs")
    model = str(tuned._model._source)
    with service(ServiceOptions(folder, model, n_workers=1, keys=Keys.read(None, KEY))) as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    with Client(f"http://{server.address}", key=KEY) as found:
        yield found


def test_the_answers_are_those_of_the_classifier(client: Client, tuned: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    path.write_bytes(VOICE)
    expected = tuned.predict(VOICE)
    for source in (VOICE, path, str(path), io.BytesIO(VOICE)):
        assert client.predict(source) == expected
    assert client.timeline(VOICE, hop_seconds=0.5) == tuned.timeline(VOICE, hop_seconds=0.5)
    stereo = sounds.wav(np.stack([SAMPLES, SAMPLES[::-1]], axis=1))
    assert client.predict(stereo, channels="separate") == tuned.predict(stereo, channels="separate")
    profile = tuned.enrol(sounds.voice(12, f0=200), sample_rate=16_000)
    assert client.predict(VOICE, profile=profile) == tuned.predict(VOICE, profile=profile)


def test_a_long_sound_is_waited_for(client: Client, tuned: Classifier) -> None:
    assert client.predict(LONG) == tuned.predict(LONG)


def test_errors_are_those_of_the_package(client: Client, server: Served) -> None:
    with pytest.raises(AudioDecodeError, match="not a sound that can be read"):
        client.predict(b"hello, this is not a sound at all")
    with pytest.raises(ConfigError, match="no setting 'hop'"):
        client.timeline(VOICE, hop=1)
    with pytest.raises(AudioNotFoundError, match="Check the path"):
        client.predict("missing.wav")
    with Client(f"http://{server.address}") as stranger, pytest.raises(ServiceError) as raised:
        stranger.predict(VOICE)
    assert (raised.value.code, raised.value.status) == ("key_missing", 401)
    assert raised.value.request_id
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(ServiceError, match="is it running") as raised:
        nobody.predict(VOICE)
    assert raised.value.code == "no_answer"


def test_a_stream_gives_the_answers_of_the_file(client: Client, tuned: Classifier) -> None:
    expected = [one.probabilities for one in tuned.timeline(SAMPLES, sample_rate=16_000, hop_seconds=0.5)]
    with client.stream(16_000, hop_seconds=0.5) as stream:
        found = [one for chunk in np.array_split(SAMPLES, 50) for one in stream.push(chunk)]
        found += stream.finish()
        assert (stream.lag_seconds, stream.warnings) == (0.0, ())
    assert [one.probabilities for one in found] == expected


def test_the_same_in_asyncio(server: Served, tuned: Classifier) -> None:
    async def check() -> None:
        async with AsyncClient(f"http://{server.address}", key=KEY) as client:
            answers = await asyncio.gather(
                client.predict(VOICE), client.predict(LONG), client.timeline(VOICE)
            )
            assert answers == [tuned.predict(VOICE), tuned.predict(LONG), tuned.timeline(VOICE)]
            async with client.stream(16_000) as stream:
                found = await stream.push(SAMPLES)
                found += await stream.finish()
            expected = tuned.timeline(SAMPLES, sample_rate=16_000)
            assert [one.probabilities for one in found] == [one.probabilities for one in expected]
        with pytest.raises(ServiceError) as raised:
            async with AsyncClient(f"http://{server.address}") as client, client.stream(16_000):
                pass
        assert raised.value.code == "key_missing"

    asyncio.run(check())


def test_a_busy_server_is_asked_again_until_patience_ends() -> None:
    answer = {"probabilities": {"calm": 1.0}, "start_seconds": 0.0, "end_seconds": 1.0}
    answer |= {"abstained": None, "warnings": [], "emotions": ["calm"]}
    n_asked = 0

    def reply(_: httpx.Request) -> httpx.Response:
        nonlocal n_asked
        n_asked += 1
        if n_asked % 3:
            return httpx.Response(503, headers={"Retry-After": "0"}, json={"code": "busy", "detail": "later"})
        return httpx.Response(200, content=json.dumps(answer))

    client = Client()
    client._http = httpx.Client(base_url="http://x", transport=httpx.MockTransport(reply))
    assert client.predict(b"").end_seconds == 1.0
    assert n_asked == 3
    client._wait_seconds = -1.0
    with pytest.raises(ServiceError, match="later") as raised:
        client.predict(b"")
    assert (raised.value.code, n_asked) == ("busy", 4)


CLIENTS = Path(__file__).parents[1] / "clients"
EXAMPLES = {
    "node": ["node", str(CLIENTS / "javascript" / "predict.mjs")],
    "go": ["go", "run", str(CLIENTS / "go" / "predict.go")],
}


@pytest.mark.parametrize("program", EXAMPLES)
def test_the_examples_in_other_languages_say_the_same(
    server: Served, tuned: Classifier, tmp_path: Path, program: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    for name, body in (("voice.wav", VOICE), ("long.wav", LONG), ("no.wav", b"hello, this is not a sound")):
        (tmp_path / name).write_bytes(body)
        line = [*EXAMPLES[program], str(tmp_path / name), f"http://{server.address}", KEY]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
        if name == "no.wav":
            assert done.returncode == 1
            assert "(audio_decode, request " in done.stderr
        else:
            answer = tuned.predict(body)
            assert done.stdout == f"{answer.label} {answer.confidence:.2f}\n"
