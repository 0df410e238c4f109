"""The network that we ship: two ears and one head. In: waveform (batch, n_samples), 16 kHz. Out: logits.

The first ear is a speech recogniser's encoder, which hears how something is said; the second a small CNN that learned
emotion from people of other corpora, over longer frames, which tell the harmonics of a low voice apart. They err
differently, and one linear head hears them both. Both stay as they are (probe.py).
"""

import torch
from torch import Tensor, nn

from speech_emotion.training.networks import EmotionNet, EmotionNetwork
from speech_emotion.training.transformer import EmotionTransformer


class EmotionDuo(EmotionNetwork):
    """`speech` and `cnn`, each without a head of its own → their embeddings side by side → linear head."""

    def __init__(
        self, speech: EmotionTransformer, cnn: EmotionNet, *, n_labels: int = 8, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.speech, self.cnn = speech, cnn
        for ear in (speech, cnn):
            ear.head = nn.Sequential()
        self.n_embedding = speech.n_embedding + cnn.n_embedding
        self.head = nn.Sequential(
            nn.BatchNorm1d(self.n_embedding), nn.Dropout(dropout), nn.Linear(self.n_embedding, n_labels)
        )

    def listen(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Both embeddings, the speech encoder's first; the log-mel is the encoder's."""
        spoken, log_mel = self.speech.listen(waveform)
        return torch.cat([spoken, self.cnn.listen(waveform)[0]], dim=1), log_mel
