"""One port for the page and the live sound: `streamlit run app/app.py`.

Streamlit finds `app` here and serves it; the page itself is page.py. `/api` lies beside the page, below the same
`server.baseUrlPath`, so that the browser sends the sound of the microphone to where the page came from and nowhere
else.
"""

import charts  # noqa: F401 - with all that draws, before the first visitor waits for it
import shared
import streamlit as st
from starlette.routing import Mount

from speech_emotion.server import create_app

base_path = st.get_option("server.baseUrlPath").strip("/")
routes = create_app(shared.classifier(), origins=st.get_option("server.corsAllowedOrigins"))
api = Mount(f"/{base_path}/api" if base_path else "/api", app=routes)
app = st.App("page.py", routes=[api])
