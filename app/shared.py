"""What the page and its routes share: the models and where each one answers."""

from functools import cache

import streamlit as st

from speech_emotion import Classifier, load
from speech_emotion.shipped import find


@cache
def classifier(model: str) -> Classifier:
    """A model of the package, loaded once."""
    return load(model)


def api(model: str) -> str:
    """Where a model answers programs, from the address of the page: api the default, api/NAME any other."""
    return "api" if find(model) == find(None) else f"api/{model}"


def route(model: str) -> str:
    """The same from the root of the server."""
    return from_root(api(model))


def from_root(path: str) -> str:
    """A path of the page, below the address at which it is served, from the root of the server."""
    base_path = st.get_option("server.baseUrlPath").strip("/")
    return f"/{base_path}/{path}" if base_path else f"/{path}"
