"""Sound over the network. In: a classifier. Out: a Starlette app with the route `/stream`, see docs/live.md."""

from starlette.applications import Starlette

from speech_emotion.classifier import Classifier


def create_app(classifier: Classifier) -> Starlette:
    """The routes, to be mounted wherever one likes."""
    return Starlette()
