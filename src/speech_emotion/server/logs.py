"""The log of the service. In: records. Out: one JSON object per line on stderr."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any


class JsonFormatter(logging.Formatter):
    """Time, level, message and fields; of an exception its type and the lines of code, never its values."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            document["exception"] = record.exc_info[0].__name__
            document["where"] = _where(record.exc_info[2])
        return json.dumps(document)


def _where(trace: Any) -> list[str]:
    places = []
    while trace:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places


def configure() -> None:
    """Send what this package and all libraries log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)  # uvicorn's lines about requests have their queries
    logging.getLogger("speech_emotion").setLevel(logging.INFO)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings quote what was sent
