"""A page with nothing but the player, and its routes: `streamlit run tests/support/player_app.py`."""

import player
import streamlit as st

app = st.App("player_page.py", routes=[player.mount()])
