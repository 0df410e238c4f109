"""This package, with one of its models, as its documentation says to use it."""

from serve import Task, serve


def start(model: str) -> dict[str, Task]:
    """Load `model` and return what is measured of it."""
    import numpy as np
    import soundfile

    from speech_emotion import load

    classifier = load(model)

    def answer(path: str) -> str | None:
        return classifier.predict(path).label

    def live(request: dict[str, str | float]) -> int:
        """A recording, pushed in pieces of 20 ms; returns the number of answers."""
        samples, rate = soundfile.read(request["path"], dtype="float32")
        stream = classifier.stream(sample_rate=rate, hop_seconds=float(request["hop_seconds"]))
        pieces = np.array_split(samples, len(samples) // (rate // 50))
        return sum(len(stream.push(piece)) for piece in pieces) + len(stream.finish())

    def all_of(paths: list[str]) -> int:
        return sum(classifier.predict(path).label is not None for path in paths)

    return {"answer": answer, "live": live, "all": all_of}


serve(start)
