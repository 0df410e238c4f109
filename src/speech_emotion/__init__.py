"""Which emotion a voice expresses: sound in, one calibrated distribution over eight emotions out."""

__version__ = "0.1.0"
