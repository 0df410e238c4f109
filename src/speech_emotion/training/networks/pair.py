"""Two networks as one. In: waveform (batch, n_samples), 16 kHz. Out: the weighted mean of their logits."""

import torch
from torch import Tensor, nn

from speech_emotion.training.networks.base import EmotionNetwork


class EmotionPair(nn.Module):
    """Two networks, trained apart, that score the same window. `weight` is the second network's share of 1.

    A logarithmic opinion pool (Genest & Zidek 1986, Statistical Science 1(1)): up to a constant, the weighted mean of
    the log-probabilities.
    """

    def __init__(self, first: EmotionNetwork, second: EmotionNetwork, *, weight: float) -> None:
        super().__init__()
        self.first, self.second, self.weight = first, second, weight
        self.labels = first.labels
        self.n_embedding = first.n_embedding + second.n_embedding
        self.has_one_frontend = first.frontend_config == second.frontend_config

    @property
    def standard(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation, (n_embedding,) each, by which the heads standardise their embeddings."""
        (mean, deviation), (second_mean, second_deviation) = self.first.standard, self.second.standard
        return torch.cat([mean, second_mean]), torch.cat([deviation, second_deviation])

    def analyse(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, n_samples) → both embeddings side by side (batch, n_embedding), the first network's log-mel."""
        embedding, log_mel = self.first.analyse(waveform)
        heard = log_mel if self.has_one_frontend else self.second.features(waveform)
        return torch.cat([embedding, self.second.embed(heard)], dim=1), log_mel

    def logits(self, embedding: Tensor) -> Tensor:
        """(batch, n_embedding) → logits (batch, n_labels)."""
        n = self.first.n_embedding
        first, second = self.first.logits(embedding[:, :n]), self.second.logits(embedding[:, n:])
        return (1 - self.weight) * first + self.weight * second

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, n_samples) → logits (batch, n_labels)."""
        return self.logits(self.analyse(waveform)[0])


Network = EmotionNetwork | EmotionPair
