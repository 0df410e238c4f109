"""Sound over the network. In: a Classifier. Out: a Starlette app.

    /stream     live sound over a WebSocket: websocket.py
    /predict    one answer for a whole sound: http.py
    /timeline   one answer per window of it: http.py
    /models     the model that answers, and those in the package: http.py

docs/live.md describes the requests and the answers. No sound is kept or logged.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from speech_emotion.classifier import Classifier
from speech_emotion.extras import require
from speech_emotion.server import http, websocket
from speech_emotion.server import origins as allowed
from speech_emotion.server.http import REST_LIMITS, RestLimits
from speech_emotion.server.scheduling import Cores
from speech_emotion.server.websocket import LIVE_LIMITS, LiveLimits

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["LiveLimits", "RestLimits", "create_app"]


def create_app(
    classifier: Classifier,
    *,
    limits: LiveLimits = LIVE_LIMITS,
    rest_limits: RestLimits = REST_LIMITS,
    origins: Collection[str] = (),
) -> "Starlette":
    """Return an app to be served alone or mounted under a path.

    Examples:
        >>> uvicorn.run(create_app(load()), ws_max_size=2**20)

    Args:
        classifier: What answers.
        limits: What a server gives its live connections. uvicorn's `ws_max_size` is the largest message that is read
            at all, `limits.max_message_bytes` the largest that is accepted.
        rest_limits: What one request with a whole sound may cost.
        origins: Other hosts whose pages may connect and read answers (CORS), such as "https://example.org". Pages of
            this host always may.

    Raises:
        MissingExtraError: The extra "serve" is not installed.
        ConfigError: One of `origins` is a pattern or has a path.
    """
    require("starlette", extra="serve", needed_for="The server")
    require("python_multipart", extra="serve", needed_for="The server")
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware

    allowed.check(origins)
    readable = Middleware(
        CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], expose_headers=["Retry-After"]
    )
    cores = Cores()
    live = websocket.route(classifier, limits, origins, cores)
    routes = [live, *http.routes(classifier, rest_limits, origins, cores)]
    return Starlette(routes=routes, middleware=[readable])
