"""Object stores: servers on loopback that speak S3 and Google's protocol, with credentials from the environment."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import sounds
from pyarrow import fs

import speech_emotion
from speech_emotion.batch import stores
from speech_emotion.errors import AudioNotFoundError, ConfigError
from speech_emotion.inputs import expand

CLIP = sounds.wav(sounds.voice(0.8))


OBJECTS = {
    "in/b.wav": CLIP,
    "in/deep/a.WAV": CLIP,
    "in/.hidden.wav": b"",
    "in/notes.txt": b"",
    "in/t.csv": b"",
}


class Bucket(NamedTuple):
    """The bucket `calls` with two sounds, other objects and a table."""

    system: fs.FileSystem
    uri: str


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = pytest.importorskip("moto.server", reason="moto is not installed: pip install '.[dev]'")
    threaded = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    threaded.start()
    host, port = threaded.get_host_and_port()
    yield f"http://{host}:{port}"
    threaded.stop()


@pytest.fixture(scope="module")
def gs() -> Iterator[str]:
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="pip install '.[dev]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="calls"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(params=["s3", "gs"])
def bucket(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Bucket]:
    scheme = request.param
    server = request.getfixturevalue(scheme)
    facts = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    facts |= {"AWS_ENDPOINT_URL": server, "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in {**facts, "CLOUD_STORAGE_EMULATOR_ENDPOINT": server}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    stores._system.cache_clear()
    if scheme == "s3":
        fs.S3FileSystem(endpoint_override=server, allow_bucket_creation=True).create_dir("calls")
    found = Bucket(stores._system(scheme), f"{scheme}://calls")
    table = f"path,id\n../none.wav,1\n{found.uri}/in/b.wav,2\n".encode()
    for name, data in {**OBJECTS, "lists/t.csv": table}.items():
        with found.system.open_output_stream(f"calls/{name}") as stream:
            stream.write(data)
    yield found
    for info in found.system.get_file_info(fs.FileSelector("calls", recursive=True)):
        if info.type == fs.FileType.File:
            found.system.delete_file(info.path)
    stores._system.cache_clear()


def test_sounds_below_a_prefix(bucket: Bucket) -> None:
    sounds_in = [f"{bucket.uri}/in/b.wav", f"{bucket.uri}/in/deep/a.WAV"]
    assert stores.sounds_below(f"{bucket.uri}/in/") == sounds_in
    assert stores.sounds_below(f"{bucket.uri}/in/notes.txt") == [f"{bucket.uri}/in/notes.txt"]  # named itself
    assert stores.sounds_below(f"{bucket.uri}/none") == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*.wav", ["in/b.wav"]),
        ("in/**", ["in/b.wav", "in/deep/a.WAV"]),
        ("in/**/*.WAV", ["in/deep/a.WAV"]),
        ("in/**/[ab].*", ["in/b.wav", "in/deep/a.WAV"]),
        ("*/?.wav", ["in/b.wav"]),
        ("in/*.txt", ["in/notes.txt"]),
        ("in/d*/a.WAV", ["in/deep/a.WAV"]),
        ("in/*.mp3", []),
        ("in/*/b.wav", []),
        ("in/**/.h*.wav", []),
    ],
)
def test_wildcards_match_as_on_a_disk(bucket: Bucket, pattern: str, found: list[str]) -> None:
    assert stores.sounds_below(f"{bucket.uri}/{pattern}") == [f"{bucket.uri}/{name}" for name in found]
    if pattern == "in/**":
        return  # pathlib takes folders alone for it, before Python 3.13
    for name in OBJECTS:
        Path("calls", name).parent.mkdir(parents=True, exist_ok=True)
        Path("calls", name).touch()
    on_disk = [one.path for one in expand([f"calls/{pattern}"]) if not one.error]
    assert on_disk == [f"calls/{name}" for name in found]


def test_an_object_may_be_called_like_a_pattern(bucket: Bucket) -> None:
    with bucket.system.open_output_stream("calls/in/[1].wav") as stream:
        stream.write(CLIP)
    assert stores.sounds_below(f"{bucket.uri}/in/[1].wav") == [f"{bucket.uri}/in/[1].wav"]


def test_from_a_bucket_to_a_bucket_and_again(bucket: Bucket, model_path: Path) -> None:
    Path("b.wav").write_bytes(CLIP)
    expected = speech_emotion.load(model_path).predict("b.wav").label

    def answered() -> list[tuple[str, str | None, str | None, str | None]]:
        paths = [f"{bucket.uri}/in", f"{bucket.uri}/lists/t.csv"]
        found = speech_emotion.predict_many(paths, model=model_path, out=f"{bucket.uri}/out", workers=1)
        return [(row["path"], row["label"], row["error"], row["id"]) for row in found]

    rows = answered()
    assert rows == [
        (f"{bucket.uri}/in/b.wav", expected, None, None),
        (f"{bucket.uri}/in/deep/a.WAV", expected, None, None),
        ("../none.wav", None, "audio_not_found", "1"),
        (f"{bucket.uri}/in/b.wav", expected, None, "2"),
    ]
    sizes = stores.folder(f"{bucket.uri}/out").sizes()
    assert [name for name in sizes if name.startswith("part")] == [f"part-{n:05d}.parquet" for n in range(4)]
    bucket.system.delete_file("calls/in/b.wav")
    bucket.system.delete_file("calls/out/part-00001.parquet")
    assert answered() == rows  # only the part that is gone was answered again


def test_an_object_that_is_not_there_is_not_found(bucket: Bucket) -> None:
    with (
        pytest.raises(AudioNotFoundError, match=r"cannot read ..://calls/none.wav: there is no such object"),
        stores.opened(f"{bucket.uri}/none.wav"),
    ):
        pass


def test_an_empty_prefix_is_refused(bucket: Bucket, model_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no sound at ..://calls/none"):
        speech_emotion.predict_many(f"{bucket.uri}/none", model=model_path)
    for nowhere in ("s3://", "s3://*/in"):
        with pytest.raises(ConfigError, match="names no bucket"):
            speech_emotion.predict_many(nowhere, model=model_path)


def test_azure_needs_the_name_of_its_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT", raising=False)
    with pytest.raises(ConfigError, match="Set AZURE_STORAGE_ACCOUNT"):
        stores.sounds_below("az://container/folder")


def test_files_that_are_being_written_are_not_there_yet(tmp_path: Path) -> None:
    folder = stores.folder(tmp_path / "new")
    assert folder.sizes() == {}
    folder.write("a/b.json", b"{}")
    (tmp_path / "new/a/.c.json.partial").write_bytes(b"half")
    assert folder.sizes() == {"a/b.json": 2}
    assert folder.read("a/b.json") == b"{}"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]
