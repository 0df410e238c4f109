"""Training windows: the frames of the right clip, at the right speed, drawn from the generator alone."""

import numpy as np
import pytest
import torch
from miniature import clips, dataset, recipe, sound
from torch import Generator

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import CorpusError
from speech_emotion.labels import EMOTIONS
from speech_emotion.training.data.frames import FrameCache, batches
from speech_emotion.training.data.waveform_augment import at_speed, in_a_room, over_the_telephone
from speech_emotion.training.networks.frontend import LogMel

CLIPS = clips([1, 2], ["calm", "angry"])
FRONTEND = LogMel(n_mels=32)


def cache(made: PreparedDataset, *speeds: float, **augment: float) -> FrameCache:
    return FrameCache(recipe(augment={"speeds": list(speeds), **augment}), made)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def log_mel(index: int) -> torch.Tensor:
    return FRONTEND(torch.from_numpy(dataset(CLIPS).waveform(index)).unsqueeze(0))[0]


def test_windows_are_cut_from_the_clip_s_own_frames() -> None:
    cached = cache(dataset(CLIPS), 1.0)
    windows = cached.windows(torch.tensor([3, 0, 3]), 20, generator())
    assert windows.shape == (3, 32, 20)
    for window, index in zip(windows, (3, 0, 3), strict=True):
        places = log_mel(index).unfold(1, 20, 1).transpose(0, 1)  # (place, band, frame)
        distances = (places - window).abs().amax(dim=(1, 2))
        assert distances.min() < 1e-3
        assert distances.max() > 0.5
    assert cached.labels.tolist() == [EMOTIONS.index(clip.label) for clip in CLIPS]


def test_a_window_begins_anywhere() -> None:
    n_frames = log_mel(0).shape[1]
    cached = cache(dataset(CLIPS), 1.0)
    whole = cached.windows(torch.tensor([0]), n_frames, generator())[0]
    windows = cached.windows(torch.zeros(60, dtype=torch.int64), n_frames - 2, generator())
    starts = {s for w in windows for s in range(3) if torch.equal(w, whole[:, s : s + n_frames - 2])}
    assert starts == {0, 1, 2}


def test_a_short_clip_starts_again_at_its_beginning() -> None:
    cached = cache(dataset(CLIPS), 1.0)
    n_frames = log_mel(1).shape[1]
    window = cached.windows(torch.tensor([1]), 2 * n_frames + 5, generator())[0]
    assert torch.equal(window[:, :n_frames], window[:, n_frames : 2 * n_frames])
    assert torch.equal(window[:, :5], window[:, -5:])
    torch.testing.assert_close(window[:, :n_frames], log_mel(1), rtol=0, atol=1e-3)


def test_speed_moves_tempo_and_pitch_together() -> None:
    seconds = np.arange(32_000) / 16_000
    tone = (0.3 * np.sin(2 * np.pi * 1000 * seconds)).astype(np.float32)
    frontend = LogMel(n_mels=64, n_fft=1024)
    speeds = (0.8, 1.0, 1.2)
    config = recipe(frontend={"n_mels": 64, "n_fft": 1024}, augment={"speeds": list(speeds)})
    cached = FrameCache(config, dataset(CLIPS[:1], waveforms=[tone]))
    for speed, frames in zip(speeds, cached._clips[0][0], strict=True):  # (n_frames, n_mels)
        faster = np.sin(2 * np.pi * 1000 * speed * np.arange(round(32_000 / speed)) / 16_000)
        expected = frontend(torch.from_numpy(faster.astype(np.float32)).unsqueeze(0))[0]
        assert len(frames) == expected.shape[1]
        assert frames.mean(dim=0).argmax() == expected.mean(dim=1).argmax()


def test_speeds_are_all_drawn() -> None:
    cached = cache(dataset(CLIPS), 0.9, 1.0, 1.1)
    windows = cached.windows(torch.zeros(40, dtype=torch.int64), 20, generator())
    rows = {window.sum().item() for window in windows}
    assert len(rows) > 20
    assert torch.equal(cached.windows(torch.zeros(40, dtype=torch.int64), 20, generator()), windows)
    assert not torch.equal(cached.windows(torch.zeros(40, dtype=torch.int64), 20, generator(1)), windows)


def test_each_channel_is_drawn_as_often_as_the_recipe_says() -> None:
    speeds = (0.9, 1.0)
    cached = cache(dataset(CLIPS[:1]), *speeds, telephone_probability=0.5, room_probability=0.2)
    as_recorded = cache(dataset(CLIPS[:1]), *speeds)._clips[0]
    (recorded, telephone, room) = cached._clips[0]
    for mine, theirs in zip(recorded, as_recorded[0], strict=True):
        assert torch.equal(mine, theirs)
    spoken, rng = dataset(CLIPS[:1]).waveform(0), np.random.default_rng(0)
    for channel, spoil in ((telephone, over_the_telephone), (room, in_a_room)):
        for frames, speed in zip(channel, speeds, strict=True):
            spoiled = torch.from_numpy(spoil(at_speed(spoken, speed), rng))
            assert torch.equal(frames.T, FRONTEND(spoiled[None])[0])
        assert not torch.equal(channel[0], recorded[0])
    whole = min(len(frames) for frames in recorded)
    windows = cached.windows(torch.zeros(600, dtype=torch.int64), whole, generator())
    drawn = [
        number
        for window in windows
        for number, channel in enumerate(cached._clips[0])
        if any(torch.equal(window.T, f[s : s + whole]) for f in channel for s in range(len(f) - whole + 1))
    ]
    assert len(drawn) == 600
    np.testing.assert_allclose(np.bincount(drawn) / 600, [0.3, 0.5, 0.2], atol=0.06)


def test_a_clip_too_short_for_one_frame_is_refused_by_name() -> None:
    tiny = dataset(CLIPS[:2], waveforms=[sound(CLIPS[0]), np.zeros(512, np.float32)])
    cached = cache(tiny, 1.0)
    assert cached.windows(torch.tensor([1]), 3, generator()).shape == (1, 32, 3)
    with pytest.raises(CorpusError, match=rf"{CLIPS[1].path}: its 0.032 s are shorter than one frame"):
        cache(tiny, 1.0, 1.1)


def test_batches_are_a_shuffle_in_equal_parts() -> None:
    indices = torch.arange(100, 125)
    order = batches(indices, 8, generator())
    assert [len(part) for part in order] == [8, 8, 8]
    seen = torch.cat(order).tolist()
    assert len(set(seen)) == 24
    assert set(seen) < set(indices.tolist())
    assert seen != sorted(seen)
    assert torch.cat(batches(indices, 8, generator())).tolist() == seen
    assert torch.cat(batches(indices, 8, generator(1))).tolist() != seen


def test_fewer_clips_than_a_batch_are_one_batch() -> None:
    (only,) = batches(torch.arange(5), 8, generator())
    assert sorted(only.tolist()) == [0, 1, 2, 3, 4]
    assert [len(part) for part in batches(torch.arange(8), 8, generator())] == [8]
