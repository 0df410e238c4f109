"""uvicorn's protocols, with what a server in the open needs more. In: bytes of a connection. Out: the same, with ends.

uvicorn waits forever for the rest of a request's head, and for the body of a request that is answered already; it
closes WebSockets with 1012 when it stops, and logs a traceback when a client sends text that is not UTF-8.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEAD_SECONDS: Final = 15.0  # until the head of a request is complete
GOING_AWAY, NOT_UTF8 = 1001, 1007


class HttpProtocol(H11Protocol):
    """Closes a connection that sends neither the next request nor the rest of one within `HEAD_SECONDS`."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Begin to wait where this is not a whole head, nor belongs to a request that is being answered."""
        super().data_received(data)
        if self.transport.get_protocol() is not self or not (
            self.cycle is None or self.cycle.response_complete
        ):
            self._stop_waiting()
        elif self._head_timer is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._head_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes with 1001 when the server stops, and with 1007, without a traceback, what is no UTF-8."""

    def shutdown(self) -> None:
        """Tell the client that this server goes away."""
        if self.handshake_complete and not self.close_sent:
            self.stop_keepalive()
            self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY})
            self.conn.send_close(GOING_AWAY)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()
        else:
            super().shutdown()

    def send_receive_event_to_app(self) -> None:
        """Pass on a message whose text is UTF-8."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.fail(NOT_UTF8)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()
