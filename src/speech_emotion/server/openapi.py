"""The description of the service. In: the model and the limits. Out: an OpenAPI 3.1 document, and a page to read.

The page is made of the document, and loads nothing from anywhere.
"""

import html
import json
from collections.abc import Mapping, Sequence
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
    *("model", "crashed", "too_costly", "too_long", "worker_lost", "storage"),
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
    """All addresses, with the refusals that each may give."""
    text = {"description": "Counters", "content": {"text/plain": {"schema": {"type": "string"}}}}
    models = {"200": _response("The models", "Models")}
    paths = {
        **_sound_paths(info),
        **_job_paths(info),
        "/v1/models": {
            "get": _operation("listModels", "The model that answers, and those in the package", models)
        },
        "/metrics": {"get": _operation("metrics", "Counters for Prometheus", {"200": text})},
    }
    if secured:
        for operation in (one for operations in paths.values() for one in operations.values()):
            operation["security"] = [{"key": []}]
            operation["responses"] |= _problems(("key_missing", "key_unknown"))
    for path, summary in (("/healthz", "Whether the server runs"), ("/readyz", "Whether it can score")):
        responses = {"200": _response("It does", "Status")} | _problems(
            ("busy",) if path == "/readyz" else ()
        )
        operation = {"operationId": path[1:-1], "summary": summary, "responses": responses, "security": []}
        paths[path] = {"get": operation}
    return paths


def _operation(
    name: str, summary: str, answers: Mapping[str, Any], refusals: tuple[str, ...] = (), **more: Any
) -> dict[str, Any]:
    responses = {**answers, **_problems((*_REFUSALS, *refusals))}
    return {"operationId": name, "summary": summary, **more, "responses": responses}


def _sound_paths(info: ModelInfo) -> dict[str, Any]:
    accepted = _response("A job was made of the sound", "Job", headers=_LOCATION)
    paths: dict[str, Any] = {}
    for path in ANSWERS:
        name = path.removeprefix("/")
        answers = {"200": _response("The answer", _SCHEMA_OF.get(name)), "202": accepted}
        asked = {"parameters": _settings(info), "requestBody": _sound(several=True)}
        summary = _SUMMARY_OF.get(name, f"Answer with {name}")
        paths[f"/v1{path}"] = {"post": _operation(name, summary, answers, _OF_SOUNDS, **asked)}
    return paths


def _job_paths(info: ModelInfo) -> dict[str, Any]:
    accepted = {"202": _response("A job was made of the sound", "Job", headers=_LOCATION)}
    tasks = {"enum": [path.removeprefix("/") for path in ANSWERS], "default": "predict"}
    asked = {"parameters": [_query("task", tasks, "What to answer"), *_settings(info)]}
    asked["requestBody"] = _sound(several=False)  # type: ignore[assignment]
    one = {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    }
    found, forgotten = {"200": _response("The job", "Job")}, {"204": {"description": "It is forgotten"}}
    missing = ("job_not_found",)
    return {
        "/v1/jobs": {
            "post": _operation("addJob", "Score a long recording later", accepted, _OF_SOUNDS, **asked)
        },
        "/v1/jobs/{id}": {
            "get": _operation("getJob", "How far a job is, and its result", found, missing, parameters=[one]),
            "delete": _operation(
                "deleteJob", "Forget a job and its sound", forgotten, missing, parameters=[one]
            ),
        },
    }


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
            "adapt",
            {"enum": ["recording"]},
            "Answer relative to the voice heard so far; without profile or segments",
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
    if schema and schema in _EXAMPLES:
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
    share = {"type": "number", "minimum": 0, "maximum": 1}
    channels = _object({"channels": _array(_ref("Prediction"))})
    shipped = _object({"name": _TEXT, "purpose": _TEXT, "default": {"type": "boolean"}})
    facts = ("type", "title", "detail", "next_step", "request_id")
    of_job = dict.fromkeys(("id", "task", "created", "url"), _TEXT)
    states = {"enum": ["QUEUED", "IN_PROGRESS", "COMPLETED", "FAILED"]}
    return {
        "Prediction": _prediction_schema(info),
        "PredictAnswer": _answer_schema({"anyOf": [_ref("Prediction"), channels]}),
        "TimelineAnswer": _answer_schema(_object({"windows": _array(_ref("Prediction"))})),
        "Job": _object(
            {**of_job, "status": states, "progress": share},
            {
                "finished": _TEXT,
                "expires": _TEXT,
                "result": {"type": "object"},
                "problem": {"type": "object"},
            },
        ),
        "Models": _object({"shipped": _array(shipped), **_BY_SCHEMA}),
        "Status": _object({"status": _TEXT}),
        "Problem": _object(
            dict.fromkeys(facts, _TEXT) | {"status": {"type": "integer"}, "code": {"enum": list(KINDS)}}
        ),
    }


_BY_SCHEMA: Final = {"version": _TEXT, "model": _TEXT, "model_sha256": _TEXT}


def _prediction_schema(info: ModelInfo) -> dict[str, Any]:
    label = {"enum": [*info.labels, None]}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    return _object(
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


def _answer_schema(one: Mapping[str, Any]) -> dict[str, Any]:
    """The answer on one sound, on its segments, or on several sounds."""
    alone = {"allOf": [dict(one), _object(_BY_SCHEMA)]}
    in_segments = _object({"segments": _array(one), **_BY_SCHEMA})
    problem = _object({"problem": _object({"code": _TEXT, "detail": _TEXT})})
    of_each = {"anyOf": [alone, in_segments, _object({"job": _ref("Job")}), problem]}
    of_several = {"allOf": [_object({"name": _TEXT}), of_each]}
    return {"anyOf": [alone, in_segments, _object({"answers": _array(of_several)})]}


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
    title = f"<h1>{_text(about['title'])} {_text(about['version'])}</h1><p>{_text(about['description'])}</p>"
    lead = '<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1)</p>'
    operations = [
        _operation_part(method, path, one)
        for path, methods in described["paths"].items()
        for method, one in methods.items()
    ]
    refusals = [
        (f'<a id="{code}">{code}</a>', str(kind.status), _text(kind.title), _text(kind.next_step))
        for code, kind in KINDS.items()
    ]
    table = _table(("code", "status", "when", "what to do"), refusals)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>speech-emotion</title><style>{_STYLE}</style>"
        f"<body>{title}{lead}{''.join(operations)}<h2>Refusals</h2>{table}</body></html>"
    )


def _operation_part(method: str, path: str, one: Mapping[str, Any]) -> str:
    """What one address does, its settings, and examples of its answers."""
    part = f"<h2><code>{method.upper()} {_text(path)}</code></h2><p>{_text(one['summary'])}</p>"
    if one.get("parameters"):
        rows = [
            (f"<code>{p['name']}</code>", _text(p.get("description", "")), _text(json.dumps(p["schema"])))
            for p in one["parameters"]
        ]
        part += _table(("setting", "meaning", "values"), rows)
    if "requestBody" in one:
        part += f"<pre>curl -F file=@clip.wav http://127.0.0.1:8000{_text(path)}</pre>"
    for status, response in one["responses"].items():
        for found in response.get("content", {}).values():
            if "example" in found:
                shown = json.dumps(found["example"], indent=1, ensure_ascii=False)
                part += f"<details><summary>{status}</summary><pre>{_text(shown)}</pre></details>"
    return part


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    lines = ["".join(f"<th>{head}</th>" for head in heads)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _text(words: str) -> str:
    return html.escape(words)
