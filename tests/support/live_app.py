"""The live panel alone, with the route it needs: `streamlit run tests/support/live_app.py`, with app/ in PYTHONPATH."""

import shared
import streamlit as st
from starlette.routing import Mount

from speech_emotion.server import create_app
from speech_emotion.shipped import MODELS

name = MODELS[0].name
app = st.App("live_page.py", routes=[Mount(shared.route(name), app=create_app(shared.classifier(name)))])
