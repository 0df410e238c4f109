"""p2: means of MFCC by librosa, then a one-dimensional CNN in Keras on TensorFlow: what most repositories do."""

import os

from serve import Task, serve

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}


def start() -> dict[str, Task]:
    """Build the network, with random weights."""
    import keras
    import librosa
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    layers = keras.layers
    network = keras.Sequential(
        [
            layers.Input((40, 1)),
            layers.Conv1D(128, 5, padding="same", activation="relu"),
            layers.Dropout(0.1),
            layers.MaxPooling1D(8),
            layers.Conv1D(128, 5, padding="same", activation="relu"),
            layers.Dropout(0.1),
            layers.Flatten(),
            layers.Dense(8, activation="softmax"),
        ]
    )

    def answer(path: str) -> int:
        samples, rate = librosa.load(path, sr=None)
        means = librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=40).mean(axis=1)
        return int(network.predict(means[None, :, None], verbose=0).argmax())

    return {"answer": answer}


serve(start)
