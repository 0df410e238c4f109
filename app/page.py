"""The page, run anew at every visit and every click."""

import streamlit as st

st.title("speech-emotion")
