"""The log: every line is JSON, whichever library wrote it, and quotes nothing that was sent."""

import json
import logging
from collections.abc import Iterator

import pytest

from speech_emotion.server import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    names = ("", "speech_emotion", "python_multipart", "uvicorn", "uvicorn.access")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.handlers, logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers = []  # those of servers in earlier tests write to what is closed
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers = handlers
        logger.setLevel(level)


def test_every_line_is_json_and_has_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("asyncio").warning("a task of a library")
    logging.getLogger("uvicorn.access").info("GET /v1/predict?secret=1")
    logging.getLogger("python_multipart.multipart").warning("Expected boundary, got secret")
    logging.getLogger("speech_emotion.access").info("request", extra={"fields": {"status": 200}})
    try:
        raise ValueError("secret")
    except ValueError:
        logging.getLogger("speech_emotion.server").exception("a mistake")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == ["a task of a library", "request", "a mistake"]
    assert lines[1]["status"] == 200
    assert lines[2]["exception"] == "ValueError"
    assert "secret" not in json.dumps(lines)
