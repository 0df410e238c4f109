"""What the page and the live route share: the classifier."""

from functools import cache

from speech_emotion import Classifier, load


@cache
def classifier() -> Classifier:
    """The shipped model, loaded once."""
    return load()
