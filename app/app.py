"""Page and live sound on one port: `streamlit run app/app.py`.

Streamlit finds `app` here and serves it; the page itself is page.py. `/api` is mounted below the same
`server.baseUrlPath`, so that the browser sends the microphone's sound only to the server of the page.
"""

import charts  # noqa: F401 - imports the drawing libraries before the first visit needs them
import shared
import streamlit as st
from starlette.routing import Mount

from speech_emotion.server import create_app

base_path = st.get_option("server.baseUrlPath").strip("/")
routes = create_app(shared.classifier(), origins=st.get_option("server.corsAllowedOrigins"))
api = Mount(f"/{base_path}/api" if base_path else "/api", app=routes)
app = st.App("page.py", routes=[api])
