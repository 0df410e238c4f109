"""The verb `serve`: keys are made and kept, and nobody is let in by mistake. What it serves: tests/server."""

import hashlib
import json
import socket
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from speech_emotion.cli import app
from speech_emotion.errors import ConfigError
from speech_emotion.server.keys import Keys
from speech_emotion.server.run import Address


def serve(*arguments: str) -> str:
    return CliRunner().invoke(app, ["serve", *arguments], catch_exceptions=False).output


def test_a_key_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = {name: serve("--keys", str(path), "--add-key", name).strip() for name in ("shop", "game")}
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name, key in keys.items():
        assert len(key) > 40
        assert key not in text
        assert hashlib.sha256(key.encode()).hexdigest() in text
        found = Keys.read(path, None).find(key)
        assert found is not None
        assert found.name == name
    assert Keys.read(path, None).find("se_another") is None
    with pytest.raises(ConfigError, match="has a key 'shop' already"):
        serve("--keys", str(path), "--add-key", "shop")
    with pytest.raises(ConfigError, match="is no name for a key"):
        serve("--keys", str(path), "--add-key", "a b")
    assert "needs the file to add to" in serve("--add-key", "shop")


@pytest.mark.parametrize(
    "content", ["", "[]", '{"keys": [{"name": "a"}]}', '{"keys": [{"name": "a", "sha256": "b"}]}']
)
def test_a_file_without_keys_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"is not a file of keys .*--add-key NAME"):
        serve("--keys", str(path))


def test_limits_of_a_key_are_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    serve("--keys", str(path), "--add-key", "shop")
    document = json.loads(path.read_text())
    document["keys"][0]["per_minute"] = 0
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="whole numbers above 0"):
        Keys.read(path, None)


def test_other_machines_need_a_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it has no key"):
        serve("--host", "0.0.0.0", "--jobs", str(tmp_path))  # noqa: S104
    Address("0.0.0.0", 0, is_open=True).check(Keys([]))  # noqa: S104
    Address("0.0.0.0", 0).check(Keys.read(None, "a key that is long enough"))  # noqa: S104
    Address("::1", 0).check(Keys([]))
    with pytest.raises(ConfigError, match="has 5 characters; use 20"):
        Keys.read(None, "short")


def test_a_server_answers_to_its_own_names() -> None:
    assert Address("127.0.0.1", 0).host_names(["Voice.example"])[-1] == "voice.example"
    assert "localhost" in Address("127.0.0.1", 0).host_names([])
    assert Address("0.0.0.0", 0).host_names([]) == ()  # noqa: S104
    assert "voice.example" in Address("0.0.0.0", 0).host_names(["voice.example"])  # noqa: S104


def test_a_port_in_use_is_named(model_path: Path, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be used .*--host and --port"):
            serve("--port", port, "--model", str(model_path), "--jobs", str(tmp_path))
