"""Page and live sound on one port: `streamlit run app/app.py`.

Streamlit finds `app` here and serves it; the page itself is page.py. The routes of each model are mounted below the
same `server.baseUrlPath`, so that the browser sends the microphone's sound only to the server of the page.
"""

import live_sounds
import player
import shared
import streamlit as st
from starlette.routing import BaseRoute, Mount, Route

from speech_emotion.server import create_app
from speech_emotion.shipped import MODELS

origins = st.get_option("server.corsAllowedOrigins")
routes: list[BaseRoute] = [
    Mount(shared.route(model.name), app=create_app(shared.classifier(model.name), origins=origins))
    for model in reversed(MODELS)  # the default last: its path begins those of the others
]
routes.append(player.mount())
routes.append(Route(shared.from_root("live-sound/{ticket}"), live_sounds.receive, methods=["PUT"]))
app = st.App("page.py", routes=routes)
