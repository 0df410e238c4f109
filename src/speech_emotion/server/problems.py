"""What a refusal says. In: a code and what happened. Out: a problem document of RFC 9457.

Clients read `code`: it is stable. The words of `detail` are for people, and may change.
"""

from typing import Any, Final, NamedTuple

from speech_emotion.errors import SpeechEmotionError

MEDIA_TYPE: Final = "application/problem+json"


class Kind(NamedTuple):
    """A kind of refusal: its HTTP status, its title, and what a client can do."""

    status: int
    title: str
    next_step: str


_SMALLER = "Send a shorter sound, or one with fewer channels or a lower rate."
_ANOTHER_SOUND = "Send another recording, or convert this one to WAV or FLAC first."
_LATER = "Send the request again after the seconds in Retry-After."

KINDS: Final = {
    "config": Kind(400, "A setting is unknown or impossible", "Correct the query of the address."),
    "form": Kind(400, "The form cannot be read", "Send it as `curl -F file=@clip.wav` does."),
    "host": Kind(400, "The Host header names another host", "Start the server with --allow-host NAME."),
    "key_missing": Kind(401, "A key is needed", "Send the header `Authorization: Bearer KEY`."),
    "key_unknown": Kind(401, "There is no such key", "Ask whoever runs this server for a key."),
    "origin": Kind(403, "Pages of this origin are not answered", "Start the server with --origin ORIGIN."),
    "not_found": Kind(404, "There is nothing here", "See the addresses at /docs."),
    "job_not_found": Kind(404, "There is no such job", "Send the sound again; results are kept for a day."),
    "method": Kind(405, "This address takes another method", "Use a method that the header Allow names."),
    "idle": Kind(408, "The body did not arrive in time", "Send it again over a faster line."),
    "too_big": Kind(413, "The body is too large", "Send the sound in parts, or as FLAC or Opus."),
    "audio_too_large": Kind(413, "The sound is too large", _SMALLER),
    "audio_decode": Kind(415, "This is not a sound that can be read", _ANOTHER_SOUND),
    "audio_too_short": Kind(422, "The sound is too short", "Send more of it."),
    "invalid_waveform": Kind(422, "The sound has impossible samples", _ANOTHER_SOUND),
    "model": Kind(422, "The profile cannot be used", "Make the profile with the model that answers."),
    "crashed": Kind(422, "Reading this sound ended a process of the server", _ANOTHER_SOUND),
    "too_costly": Kind(422, "This sound needs too much memory or processor time", _SMALLER),
    "rate": Kind(429, "This key has made too many requests", _LATER),
    "internal": Kind(500, "The server made a mistake", "Report it with the request id."),
    "busy": Kind(503, "The server has too much to do", _LATER),
    "too_long": Kind(503, "There was no answer in time", "Send the sound to /v1/jobs."),
    "worker_lost": Kind(503, "The process with this request was ended", _LATER),
    "storage": Kind(503, "The server cannot keep a job now", _LATER),
}
_KIND_OF_ERROR: Final = {"model_format": "model", "model_integrity": "model", "audio": "audio_decode"}


class ProblemError(Exception):
    """A refusal.

    Attributes:
        code: One of `KINDS`.
        detail: What happened, and what to do.
        retry_seconds: For the header Retry-After, if there is one.
        allow: For the header Allow, if there is one.
    """

    def __init__(
        self, code: str, detail: str, retry_seconds: int | None = None, allow: str | None = None
    ) -> None:
        super().__init__(detail)
        self.code, self.detail, self.retry_seconds, self.allow = code, detail, retry_seconds, allow

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.code].status

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the status asks for."""
        headers = {"Retry-After": str(self.retry_seconds)} if self.retry_seconds is not None else {}
        if self.allow is not None:
            headers["Allow"] = self.allow
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="speech-emotion"'
        return headers

    def document(self, request_id: str) -> dict[str, Any]:
        """The problem document."""
        kind = KINDS[self.code]
        return {
            "type": f"/docs#{self.code}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            "code": self.code,
            "next_step": kind.next_step,
            "request_id": request_id,
        }


def from_error(error: SpeechEmotionError) -> ProblemError:
    """The refusal for an error of this package."""
    code = _KIND_OF_ERROR.get(error.code, error.code)
    return ProblemError(code if code in KINDS else "internal", str(error))
