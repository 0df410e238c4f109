"""p1: log-mel by librosa, then a residual CNN of our size in eager torch."""

from serve import Task, serve

CHANNELS, STRIDES = (32, 64, 96, 128), ((1, 1), (2, 2), (2, 1), (2, 2))


def start() -> dict[str, Task]:
    """Build the network, with random weights."""
    import librosa
    import numpy as np
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self, n_in: int, n_out: int, stride: tuple[int, int]) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
                nn.BatchNorm2d(n_out),
                nn.ReLU(),
                nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False),
                nn.BatchNorm2d(n_out),
            )
            self.shortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.body(x) + self.shortcut(x))

    sizes = zip((32, *CHANNELS), CHANNELS, STRIDES, strict=False)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 5, 2, 2, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        *(Block(*size) for size in sizes),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(CHANNELS[-1], 8),
    ).eval()

    @torch.inference_mode()
    def answer(path: str) -> int:
        samples, rate = librosa.load(path, sr=16_000)
        power = librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=1024, hop_length=320, n_mels=64)
        decibels = librosa.power_to_db(power, ref=np.max)
        return int(network(torch.from_numpy(decibels)[None, None]).argmax())

    return {"answer": answer}


serve(start)
