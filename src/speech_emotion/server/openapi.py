"""The description of the service. In: the model and the limits. Out: an OpenAPI 3.1 document, and a page to read.

The page is made of the document, and loads nothing from anywhere.
"""

import html
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from speech_emotion.model_info import MIN_NETWORK_HOP_SECONDS, ModelInfo
from speech_emotion.server.keys import Keys
from speech_emotion.server.problems import KINDS, MEDIA_TYPE
from speech_emotion.server.scoring import ANSWERS
from speech_emotion.version import __version__

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

JSON: Final = "application/json"
_REFUSALS: Final = ("config", "host", "origin", "rate", "internal", "busy")  # of any request
_OF_SOUNDS: Final = (
    *("form", "idle", "too_big", "audio_too_large", "audio_decode", "audio_too_short", "invalid_waveform"),
    *("model", "crashed", "too_costly", "too_long", "worker_lost"),
)


class Served(Protocol):
    """What of the options the description says."""

    @property
    def keys(self) -> Keys:
        """Who may ask."""

    @property
    def max_body_bytes(self) -> int:
        """The largest body."""

    @property
    def max_seconds(self) -> float:
        """The longest sound."""


def document(info: ModelInfo, options: Served) -> dict[str, Any]:
    """The OpenAPI document."""
    secured = bool(options.keys)
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "speech-emotion",
            "version": __version__,
            "summary": "Which emotion a voice expresses, from its sound alone",
            "description": _about(info, options),
            "license": {"name": info.licence},
        },
        "servers": [{"url": "/"}],
        "paths": _paths(info, secured),
        "components": {"schemas": _schemas(info)},
    }
    if secured:
        described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return described


def _about(info: ModelInfo, options: Served) -> str:
    return (
        f"The model {info.name} answers. It scores acted expression and does not read feelings. Send sounds of up to "
        f"{options.max_body_bytes // 2**20} MB and {options.max_seconds:g} s in any container; the content decides "
        "what they are. No sound is kept once it is answered. Live sound: WebSocket /v1/stream."
    )


def _paths(info: ModelInfo, secured: bool) -> dict[str, Any]:
    def operation(name: str, summary: str, codes: tuple[str, ...], **more: Any) -> dict[str, Any]:
        found = {"operationId": name, "summary": summary, **more}
        refusals = (*_REFUSALS, *codes, *(("key_missing", "key_unknown") if secured else ()))
        found["responses"] = {**more.get("responses", {}), **_problems(refusals)}
        return found | ({"security": [{"key": []}]} if secured else {})

    job = {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    }
    accepted = _response("A job was made of the sound", "Job", headers=_LOCATION)
    paths: dict[str, Any] = {}
    for path in ANSWERS:
        name = path.removeprefix("/")
        responses = {"200": _response("The answer", _SCHEMA_OF.get(name)), "202": accepted}
        paths[f"/v1{path}"] = {
            "post": operation(
                name,
                _SUMMARY_OF.get(name, f"Answer with {name}"),
                _OF_SOUNDS,
                parameters=_settings(info),
                requestBody=_sound(several=True),
                responses=responses,
            )
        }
    task = _query(
        "task", {"enum": [path.removeprefix("/") for path in ANSWERS], "default": "predict"}, "What to answer"
    )
    paths["/v1/jobs"] = {
        "post": operation(
            "addJob",
            "Score a long recording; ask for the result later",
            _OF_SOUNDS,
            parameters=[task, *_settings(info)],
            requestBody=_sound(several=False),
            responses={"202": accepted},
        )
    }
    paths["/v1/jobs/{id}"] = {
        "get": operation(
            "getJob", "How far a job is, and its result", ("job_not_found",), parameters=[job],
            responses={"200": _response("The job", "Job")},
        ),
        "delete": operation(
            "deleteJob", "Forget a job and its sound", ("job_not_found",), parameters=[job],
            responses={"204": {"description": "It is forgotten"}},
        ),
    }  # fmt: skip
    paths["/v1/models"] = {
        "get": operation(
            "listModels", "The model that answers, and those in the package", (),
            responses={"200": _response("The models", "Models")},
        )
    }  # fmt: skip
    for path, summary in (("/healthz", "Whether the server runs"), ("/readyz", "Whether it can score")):
        responses = {"200": _response("It does", "Status")} | _problems(
            ("busy",) if path == "/readyz" else ()
        )
        paths[path] = {
            "get": {"operationId": path[1:-1], "summary": summary, "responses": responses, "security": []}
        }
    text = {"description": "Counters", "content": {"text/plain": {"schema": {"type": "string"}}}}
    paths["/metrics"] = {"get": operation("metrics", "Counters for Prometheus", (), responses={"200": text})}
    return paths


_SUMMARY_OF: Final = {
    "predict": "One answer for a whole sound",
    "timeline": "One answer per window of a sound",
}
_SCHEMA_OF: Final = {"predict": "PredictAnswer", "timeline": "TimelineAnswer"}
_LOCATION: Final = {"Location": {"description": "Where the job is", "schema": {"type": "string"}}}


def _settings(info: ModelInfo) -> list[dict[str, Any]]:
    hop = {"type": "number", "minimum": MIN_NETWORK_HOP_SECONDS, "maximum": info.window_seconds}
    pair = r"\d{1,6}(\.\d{1,6})?-\d{1,6}(\.\d{1,6})?"
    segments = {"type": "string", "pattern": f"^{pair}(,{pair})*$"}
    return [
        _query("hop_seconds", hop, f"Time between two windows; {info.hop_seconds:g} if left out"),
        _query(
            "track", {"type": "integer", "minimum": 1, "maximum": 99_999}, "Audio track of the file, from 1"
        ),
        _query(
            "channels", {"enum": ["mix", "separate"], "default": "mix"}, "Score their mean, or each channel"
        ),
        _query(
            "segments", segments, "Stretches to answer on, in seconds: 0-2.5,4-6; the end is after the start"
        )
        | {"example": "0-2.5,4-6"},
    ]


def _query(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": dict(schema)}


def _sound(*, several: bool) -> dict[str, Any]:
    binary = {"type": "string", "contentMediaType": "application/octet-stream"}
    file = {"type": "array", "items": binary, "minItems": 1, "maxItems": 20} if several else binary
    form = {
        "type": "object",
        "properties": {"file": file, "profile": {"type": "object", "description": "A speaker profile"}},
        "required": ["file"],
        "additionalProperties": False,
    }
    return {
        "required": True,
        "description": "The bytes of the sound, or a form as curl -F file=@clip.wav sends it",
        "content": {"application/octet-stream": {"schema": {}}, "multipart/form-data": {"schema": form}},
    }


def _response(description: str, schema: str | None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "schema": {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}
    }
    if schema in _EXAMPLES:
        found["example"] = _EXAMPLES[schema]
    return {"description": description, "content": {JSON: found}, **more}


def _problems(codes: tuple[str, ...]) -> dict[str, Any]:
    """The refusals by their status."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(KINDS[code].status, []).append(code)
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        str(status): {
            "description": "; ".join(f"`{code}`: {KINDS[code].title}" for code in found),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, found in sorted(by_status.items())
    }


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _array(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(items)}


_TEXT: Final[dict[str, Any]] = {"type": "string"}
_NUMBER: Final[dict[str, Any]] = {"type": "number"}


def _schemas(info: ModelInfo) -> dict[str, Any]:
    label = {"enum": [*info.labels, None]}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    prediction = _object(
        {
            "label": label | {"description": "The most probable emotion; null if there is no answer"},
            "confidence": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "runner_up": label,
            "emotions": _array({"enum": list(info.labels)})
            | {"description": "What it may be, the best first"},
            "abstained": {"enum": [None, "not_sure", "too_short", "no_speech"]},
            "start_seconds": _NUMBER,
            "end_seconds": _NUMBER,
            "warnings": _array(_TEXT),
            "probabilities": {"type": "object", "additionalProperties": share},
        },
        {"channel": _TEXT},
    )
    by = {"version": _TEXT, "model": _TEXT, "model_sha256": _TEXT}
    problem_of_one = _object({"problem": _object({"code": _TEXT, "detail": _TEXT})})

    def answer(one: Mapping[str, Any]) -> dict[str, Any]:
        """Of one sound; of its segments; of several sounds."""
        alone = {"allOf": [dict(one), _object(by)]}
        in_segments = _object({"segments": _array(one), **by})
        of_several = {
            "allOf": [
                _object({"name": _TEXT}),
                {"anyOf": [alone, in_segments, _object({"job": _ref("Job")}), problem_of_one]},
            ]
        }
        return {"anyOf": [alone, in_segments, _object({"answers": _array(of_several)})]}

    channels = _object({"channels": _array(_ref("Prediction"))})
    shipped = _object({"name": _TEXT, "purpose": _TEXT, "default": {"type": "boolean"}})
    return {
        "Prediction": prediction,
        "PredictAnswer": answer({"anyOf": [_ref("Prediction"), channels]}),
        "TimelineAnswer": answer(_object({"windows": _array(_ref("Prediction"))})),
        "Job": _object(
            {
                "id": _TEXT,
                "task": _TEXT,
                "status": {"enum": ["QUEUED", "IN_PROGRESS", "COMPLETED", "FAILED"]},
                "progress": share,
                "created": _TEXT,
                "url": _TEXT,
            },
            {"finished": _TEXT, "expires": _TEXT, "result": {"type": "object"}, "problem": {"type": "object"}},
        ),
        "Models": _object({"shipped": _array(shipped), **by}),
        "Status": _object({"status": _TEXT}),
        "Problem": _object(
            {
                "type": _TEXT,
                "title": _TEXT,
                "status": {"type": "integer"},
                "detail": _TEXT,
                "code": {"enum": list(KINDS)},
                "next_step": _TEXT,
                "request_id": _TEXT,
            }
        ),
    }  # fmt: skip


_PREDICTION: Final = {
    "label": "angry",
    "confidence": 0.4722678605467081,
    "runner_up": "neutral",
    "emotions": ["angry", "neutral", "disgust"],
    "abstained": None,
    "start_seconds": 0.0,
    "end_seconds": 11.0,
    "warnings": [],
    "probabilities": {"angry": 0.47, "neutral": 0.29, "disgust": 0.13, "happy": 0.11},
}
_BY: Final = {"version": __version__, "model": "standard", "model_sha256": "3f0c…"}
_EXAMPLES: Final[Mapping[str, Any]] = {
    "PredictAnswer": {**_PREDICTION, **_BY},
    "TimelineAnswer": {"windows": [{**_PREDICTION, "end_seconds": 4.0}], **_BY},
    "Job": {
        "id": "pX2hQeRk0yH2c8mWb1tUag",
        "task": "predict",
        "status": "IN_PROGRESS",
        "progress": 0.4,
        "created": "2026-11-29T12:00:00Z",
        "url": "/v1/jobs/pX2hQeRk0yH2c8mWb1tUag",
    },
}


def routes(described: Mapping[str, Any]) -> "list[BaseRoute]":
    """The document, and the page."""
    from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse
    from starlette.routing import Route

    page = _page(described)

    async def show(_: Any) -> HTMLResponse:
        return HTMLResponse(
            page, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        )

    async def serve(_: Any) -> JSONResponse:
        return JSONResponse(described)

    async def lead(_: Any) -> RedirectResponse:
        return RedirectResponse("docs")

    return [
        Route("/docs", show, methods=["GET"]),
        Route("/openapi.json", serve, methods=["GET"]),
        Route("/", lead, methods=["GET"]),
    ]


_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
:root { color-scheme: light dark }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .2rem .6rem }
tr { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent) } pre { overflow-x: auto }
"""


def _page(described: Mapping[str, Any]) -> str:
    """The document as HTML."""
    about = described["info"]
    parts = [
        f"<h1>{_text(about['title'])} {_text(about['version'])}</h1><p>{_text(about['description'])}</p>"
    ]
    parts.append('<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1)</p>')
    for path, operations in described["paths"].items():
        for method, one in operations.items():
            parts.append(
                f"<h2><code>{method.upper()} {_text(path)}</code></h2><p>{_text(one['summary'])}</p>"
            )
            if one.get("parameters"):
                rows = [
                    (p["name"], p.get("description", ""), json.dumps(p["schema"])) for p in one["parameters"]
                ]
                parts.append(_table(("setting", "meaning", "values"), rows))
            if "requestBody" in one:
                parts.append(f"<pre>curl -F file=@clip.wav http://127.0.0.1:8000{_text(path)}</pre>")
            for status, response in one["responses"].items():
                for found in response.get("content", {}).values():
                    if "example" in found:
                        shown = json.dumps(found["example"], indent=1, ensure_ascii=False)
                        parts.append(
                            f"<details><summary>{status}</summary><pre>{_text(shown)}</pre></details>"
                        )
    parts.append("<h2>Refusals</h2>")
    rows = [
        (f'<a id="{code}">{code}</a>', str(kind.status), kind.title, kind.next_step)
        for code, kind in KINDS.items()
    ]
    parts.append(_table(("code", "status", "when", "what to do"), rows, trusted_first=True))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>speech-emotion</title><style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]], *, trusted_first: bool = False) -> str:
    lines = ["".join(f"<th>{_text(head)}</th>" for head in heads)]
    for first, *rest in rows:
        cells = [first if trusted_first else f"<code>{_text(first)}</code>", *map(_text, rest)]
        lines.append("".join(f"<td>{cell}</td>" for cell in cells))
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _text(words: str) -> str:
    return html.escape(words)
