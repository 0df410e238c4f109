"""Speaker profiles: what one holds, what it does to answers, how it is kept, and what is refused."""

import dataclasses
import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import media
import numpy as np
import onnxruntime
import pytest
import sounds
import standin

import speech_emotion as ser
from speech_emotion import classifier as classifier_module
from speech_emotion.classifier import Classifier, load
from speech_emotion.errors import AudioDecodeError, AudioTooShortError, ModelError
from speech_emotion.model import EmotionModel, ModelInfo, seal
from speech_emotion.profile import WARNINGS, RunningProfile, SpeakerProfile, population_weight, shrunk

RATE = 16_000
VOICE = sounds.voice(24, f0=150)
CLIP = sounds.voice(4.2, f0=150)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "enrols.onnx"
    path.write_bytes(standin.model_bytes(enrolment=standin.ENROLMENT))
    return path


@pytest.fixture(scope="module")
def tuned(path: Path) -> Classifier:
    return load(path)


@pytest.fixture(scope="module")
def profile(tuned: Classifier) -> SpeakerProfile:
    return tuned.enrol(VOICE, sample_rate=RATE)


# What it holds


def test_it_is_mean_and_deviation_of_the_windows(path: Path, profile: SpeakerProfile) -> None:
    windows = np.stack([VOICE[start : start + 3 * RATE] for start in range(0, 22 * RATE, RATE)])
    voices = EmotionModel.load(path).score(windows).voice  # (22, n_features)
    assert (profile.n_windows, profile.seconds, profile.warnings) == (22, 24.0, ())
    share = 22 / (22 + population_weight(voices.mean(axis=0), 22, 10))
    assert 0.99 < share < 1  # to a stand-in the voice is far from 0
    np.testing.assert_allclose(profile.mean, share * voices.mean(axis=0), atol=1e-4)
    expected = np.sqrt(share * voices.var(axis=0) + 1 - share)
    np.testing.assert_allclose(profile.deviation, expected, atol=1e-4)
    assert repr(profile) == "SpeakerProfile(24.0 s of speech)"
    assert profile.created_by == f"speech-emotion {ser.__version__}"


def test_much_speech_is_believed_and_little_hardly() -> None:
    voices = np.random.default_rng(0).normal(3, 0.5, (4000, 2)).astype(np.float32)
    mean, variance = voices.mean(axis=0), voices.var(axis=0)
    np.testing.assert_allclose(shrunk(mean, variance, 4000, 10), [[3, 3], [0.5, 0.5]], atol=0.05)
    one = shrunk(voices[0], np.zeros(2), 1, 99)
    np.testing.assert_allclose(one, [voices[0] / 100, [np.sqrt(0.99)] * 2], rtol=1e-5)


def test_the_population_is_worth_less_to_a_voice_that_is_not_of_it() -> None:
    random = np.random.default_rng(0)
    mean = random.normal(0, 1, (20, 5000)).astype(np.float32).mean(axis=0)
    assert population_weight(mean, 20, 10) == 10
    assert population_weight(mean + 1.2, 20, 10) == 10  # at a distance of 1.44
    assert population_weight(mean + 1.3, 20, 10) == pytest.approx(1 / 1.69, rel=0.05)
    assert population_weight(mean + 2, 20, 10) == pytest.approx(1 / 4, rel=0.05)
    assert population_weight(mean + 2, 20, 0.1) == 0.1  # never more than a voice of the population needs


def summarised(info: ModelInfo, voices: list[np.ndarray]) -> SpeakerProfile:
    running = RunningProfile(info)
    for voice in voices:
        running.add(voice)
    return running.finish(20.0)


def test_a_far_voice_is_believed_after_few_windows(path: Path) -> None:
    info = EmotionModel.load(path).info
    voices = [np.full(16, 2.0, np.float32) + step for step in (-1, 0, 1)]
    profile = summarised(info, voices)
    share = 3 / (3 + 1 / (4 - 1 / 3))
    assert profile.mean == pytest.approx([2 * share] * 16)
    assert profile.deviation == pytest.approx([np.sqrt(share * 2 / 3 + 1 - share)] * 16)
    near = summarised(info, [voice - 1 for voice in voices])
    assert near.mean == pytest.approx([3 / 13] * 16)
    assert near.deviation == pytest.approx([np.sqrt(3 / 13 * 2 / 3 + 10 / 13)] * 16)


def test_a_steady_tone_is_no_voice(path: Path) -> None:
    info = EmotionModel.load(path).info
    for tone in (np.full(16, 11.0, np.float32), np.full(16, 5.0, np.float32)):
        with pytest.raises(ModelError, match="no voice has the numbers"):
            summarised(info, [tone] * 400)


def test_silence_takes_no_part(tuned: Classifier, profile: SpeakerProfile) -> None:
    silent = np.concatenate([VOICE, np.zeros(30 * RATE, np.float32)])
    enrolled = tuned.enrol(silent, sample_rate=RATE)
    assert 24 <= enrolled.seconds <= 27  # windows that end in silence hold a voice as well
    assert enrolled.mean == pytest.approx(profile.mean, abs=0.5)


def test_what_the_model_takes_for_no_speech_takes_no_part(judging: Classifier) -> None:
    loud = sounds.voice(24, f0=150, peak=0.9)
    followed = np.concatenate([loud, sounds.voice(30, f0=150, peak=0.03)])
    enrolled, alone = (judging.enrol(sound, sample_rate=RATE) for sound in (followed, loud))
    assert (alone.seconds, alone.n_windows) == (24.0, 22)
    assert 24 <= enrolled.seconds <= 27  # windows that end in soft speech are loud as well
    with pytest.raises(AudioTooShortError, match=r"this has 0\.0 s"):
        judging.enrol(followed[-30 * RATE :], sample_rate=RATE)


def test_several_recordings_are_one_voice(tuned: Classifier, tmp_path: Path) -> None:
    halves = [tmp_path / "one.wav", tmp_path / "two.wav"]
    for file, half in zip(halves, np.split(VOICE, 2), strict=True):
        file.write_bytes(sounds.wav(half, RATE))
    enrolled = tuned.enrol(*halves)
    assert (enrolled.seconds, enrolled.n_windows) == (24.0, 20)


def test_of_several_recordings_the_bad_one_is_named(tuned: Classifier, tmp_path: Path) -> None:
    (tmp_path / "good.wav").write_bytes(sounds.wav(VOICE, RATE))
    (tmp_path / "notes.wav").write_text("hello")
    with pytest.raises(AudioDecodeError, match=r"notes\.wav: this is not a sound"):
        tuned.enrol(tmp_path / "good.wav", tmp_path / "notes.wav")


def test_warnings_of_the_recordings_stand_on_it_once(tuned: Classifier) -> None:
    clipped = np.clip(VOICE * 20, -1, 1)
    assert tuned.enrol(clipped[: 12 * RATE], sample_rate=RATE).warnings == ("short_enrolment", "clipped")


def test_whatever_the_gate_notices_a_profile_can_carry(tuned: Classifier) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE).astype(np.float32)
    short = CLIP[: 3 * RATE // 2]
    turn = np.stack([CLIP[:RATE], 0 * CLIP[:RATE]], axis=1)
    recordings = [
        sounds.wav(np.clip(CLIP * 20, -1, 1), RATE),
        sounds.wav(CLIP * 1e-3, RATE),
        sounds.wav(noise, RATE),
        sounds.wav(np.stack([CLIP, -CLIP], axis=1), RATE),
        sounds.wav(CLIP, RATE)[:-RATE],
        sounds.wav(short, RATE).replace(struct.pack("<I", 2 * len(short)), bytes(4)),
        media.two_tracks(short, short, default=1),
        sounds.wav(np.concatenate([turn, turn[:, ::-1]]), RATE),
    ]
    profile = tuned.enrol(*recordings)
    assert set(profile.warnings) == set(WARNINGS)
    assert SpeakerProfile.from_dict(profile.to_dict()) == profile


@pytest.mark.parametrize("seconds", [0, 4, 9.9])
def test_too_little_speech_is_refused(tuned: Classifier, seconds: float) -> None:
    some = np.concatenate([VOICE[: round(seconds * RATE)], np.zeros(3 * RATE, np.float32)])
    with pytest.raises(
        AudioTooShortError, match=r"needs 10 s of speech or more, this has .* Record 30 to 60 s"
    ):
        tuned.enrol(some[: round((seconds or 3) * RATE)], sample_rate=RATE)
    with pytest.raises(AudioTooShortError, match=r"this has 0\.0 s"):
        tuned.enrol()


# What it does


def test_answers_with_it_are_those_of_a_normalised_voice(
    path: Path, tuned: Classifier, profile: SpeakerProfile
) -> None:
    window = CLIP[: 3 * RATE]
    voice = EmotionModel.load(path).score(window[None]).voice[0]
    weights = {t.name: t for t in standin.graph(enrols=True).initializer}["weights"]
    logits = (voice - profile.mean) / profile.deviation @ standin.numpy_helper.to_array(weights)
    powers = np.exp(logits / 1.25)
    prediction = tuned.predict(window, sample_rate=RATE, profile=profile)
    np.testing.assert_allclose(list(prediction.probabilities.values()), powers / powers.sum(), atol=1e-5)


def test_every_door_takes_it(
    tuned: Classifier, profile: SpeakerProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = tuned.predict(CLIP, sample_rate=RATE, profile=profile)
    plain = tuned.predict(CLIP, sample_rate=RATE)
    assert max(abs(answer.probabilities[label] - plain.probabilities[label]) for label in ser.EMOTIONS) > 0.01
    timeline = tuned.timeline(CLIP, sample_rate=RATE, profile=profile)
    stream = tuned.stream(sample_rate=RATE, profile=profile)
    assert stream.push(CLIP) + stream.finish() == timeline
    assert classifier_module.pool(timeline) == answer
    monkeypatch.setattr(classifier_module, "_default", lambda: tuned)
    assert ser.predict(CLIP, sample_rate=RATE, profile=profile) == answer


def test_without_it_nothing_changes(path: Path, tuned: Classifier, classifier: Classifier) -> None:
    """Bit for bit: left out, of zeros, or in a model that knows no profiles."""
    plain = classifier.predict(CLIP, sample_rate=RATE)
    assert tuned.predict(CLIP, sample_rate=RATE) == plain
    model, window = EmotionModel.load(path), CLIP[None, : 3 * RATE]
    zeros = np.zeros((2, standin.N_BANDS), np.float32)
    for one, other in zip(model.score(window), model.score(window, zeros), strict=True):
        np.testing.assert_array_equal(one, other)


def test_runtimes_that_feed_required_inputs_only_can_require_it(path: Path, profile: SpeakerProfile) -> None:
    """ONNX Runtime for JavaScript is one: with the initializer's name changed, the input has no default any more."""
    data = path.read_bytes()
    assert data.count(b"\x42\x07profile") == 1
    session = onnxruntime.InferenceSession(data.replace(b"\x42\x07profile", b"\x42\x07default"))
    assert [value.name for value in session.get_inputs()] == ["waveform", "profile"]
    model, window = EmotionModel.load(path), CLIP[None, : 3 * RATE]
    values = profile.for_model(model.info)
    (probabilities,) = session.run(["probabilities"], {"waveform": window, "profile": values})
    np.testing.assert_allclose(probabilities, model.score(window, values).probabilities, atol=1e-6)


# How it is kept


def test_it_comes_back_from_its_file(tuned: Classifier, profile: SpeakerProfile, tmp_path: Path) -> None:
    file = tmp_path / "me.json"
    file.write_text("the old one")
    profile.save(file)
    again = SpeakerProfile.load(str(file))
    assert again == profile == SpeakerProfile.from_json(file.read_bytes())
    assert [p.name for p in tmp_path.iterdir()] == ["me.json"]
    assert file.stat().st_size < 4_000
    assert tuned.predict(CLIP, sample_rate=RATE, profile=again) == tuned.predict(
        CLIP, sample_rate=RATE, profile=profile
    )


def test_it_travels_as_a_document(tuned: Classifier, profile: SpeakerProfile, tmp_path: Path) -> None:
    document = profile.to_dict()
    assert SpeakerProfile.from_dict(document) == profile
    assert SpeakerProfile.from_dict(json.loads(json.dumps(document))) == profile
    profile.save(tmp_path / "me.json")
    assert json.loads((tmp_path / "me.json").read_text()) == document
    with pytest.raises(ModelError, match=r"this is not a speaker profile: .*finite.*speech-emotion enrol"):
        SpeakerProfile.from_dict(document | {"seconds": 1, "mean": [float("nan")] * 16})
    for other in (None, [], "me.json", {}):
        with pytest.raises(ModelError, match="not a speaker profile"):
            SpeakerProfile.from_dict(other)


def test_a_profile_that_cannot_be_written(profile: SpeakerProfile, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot write the profile .*No such file.*Choose another path"):
        profile.save(tmp_path / "nowhere" / "me.json")
    with pytest.raises(ModelError, match="cannot write the profile"):
        profile.save("me\0.json")


def test_a_device_is_written_to_and_stays_one(profile: SpeakerProfile) -> None:
    profile.save(os.devnull)
    assert not Path(os.devnull).is_file()


def test_a_profile_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read the profile .*none\.json.*speech-emotion enrol"):
        SpeakerProfile.load(tmp_path / "none.json")
    for name in (tmp_path, "me\0.json"):
        with pytest.raises(ModelError, match="cannot read the profile"):
            SpeakerProfile.load(name)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format_version": 2}, "format version 2, this package reads 1"),
        ({"format_version": "\ud800" * 99}, r"format version '(\\ud800){6}\\ud, this package"),
        ({"colour": "blue"}, "its fields differ in 'colour'"),
        ({"\ud800" * 99: 0}, r"its fields differ in '(\\ud800){6}\\ud\."),
        ({f"{n:03}": n for n in range(500)}, r"differ in '000', .*, '009'\."),
        ({"seconds": 0}, "seconds and n_windows must be numbers above 0"),
        ({"n_windows": True}, "seconds and n_windows"),
        ({"mean": [0.0]}, "lists of one length"),
        ({"mean": [], "deviation": []}, "lists of one length"),
        ({"mean": "0.0"}, "lists of one length"),
        ({"mean": [float("nan")] * 16}, "finite numbers"),
        ({"deviation": [float("inf")] * 16}, "finite numbers"),
        ({"deviation": [0.0] * 16}, "deviations above 0"),
        ({"mean": ["a"] * 16}, "finite numbers"),
        ({"model_sha256": 7}, "must be text"),
        ({"model_sha256": "\ud800"}, "must be text, in ASCII"),
        ({"created_by": "\ud800"}, "must be text, in ASCII"),
        ({"warnings": "quiet"}, "a list of the words short_enrolment, clipped"),
        ({"warnings": [7]}, "a list of the words"),
        ({"warnings": [["quiet"]]}, "a list of the words"),
        ({"warnings": ["quiet", "![](https://example.org/x.png)"]}, "a list of the words"),
    ],
)
def test_a_file_that_is_no_profile(
    profile: SpeakerProfile, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    file = tmp_path / "me.json"
    profile.save(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    for read in (SpeakerProfile.load, lambda path: SpeakerProfile.from_json(path.read_bytes())):
        with pytest.raises(
            ModelError, match=rf"is not a speaker profile: .*{complaint}.*speech-emotion enrol"
        ) as refused:
            read(file)
        assert len(str(refused.value).encode()) < 500


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b" " * (2**20 + 1)])
def test_bytes_that_are_no_profile(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "me.json"
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"me\.json': (this is not a speaker profile|it is larger)"):
        SpeakerProfile.load(file)
    with pytest.raises(ModelError, match=r"^this is not a speaker profile"):
        SpeakerProfile.from_json(data)


# Whose it is


def test_a_profile_of_another_model_is_refused(
    profile: SpeakerProfile, tuned: Classifier, tmp_path: Path
) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(seal(standin.model_bytes(enrolment=standin.ENROLMENT, name="another")))
    other = load(path)
    made_with = hashlib.sha256((tmp_path / "other.onnx").read_bytes()).hexdigest()[:12]
    with pytest.raises(ModelError, match=rf"another model \({profile.model_sha256[:12]}, not {made_with}\)"):
        other.predict(CLIP, sample_rate=RATE, profile=profile)
    foreign = dataclasses.replace(profile, model_sha256=other.info.sha256)
    with pytest.raises(ModelError, match="Make it again"):
        tuned.stream(sample_rate=RATE, profile=foreign)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"mean": (0.0,) * 15, "deviation": (1.0,) * 15}, "15 means and 15 deviations, .* takes 16 of each"),
        ({"mean": (0.0,) * 17}, "17 means and 16 deviations"),
        ({"deviation": (1.0,) * 15 + (1e-50,)}, "deviations of 1e-50 to 1, where"),
        ({"deviation": (1.0,) * 15 + (1e-30,)}, "deviations of 1e-30 to 1, where"),
        ({"deviation": (1.0,) * 15 + (0.0,)}, "deviations of 0 to 1, where"),
        ({"deviation": (0.05,) * 16}, "deviations of 0.05 to 0.05, where"),
        ({"deviation": (1.0,) * 15 + (101.0,)}, "deviations of 1 to 101, where"),
        ({"deviation": (11.0,) * 16}, "deviations of 11 to 11, where"),
        ({"deviation": (float("nan"),) * 16}, "no voice has"),
        ({"mean": (1e39,) * 16}, r"means up to 1e\+39, deviations"),
        ({"mean": (-1e30,) + (0.0,) * 15}, r"means up to 1e\+30, deviations"),
        ({"mean": (11.0,) * 16}, "means up to 11, deviations"),
        ({"mean": (float("inf"),) * 16}, "means up to inf"),
    ],
)
def test_numbers_that_the_model_cannot_take_are_refused(
    tuned: Classifier, profile: SpeakerProfile, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ModelError, match=rf"{complaint}.*speech-emotion enrol"):
        tuned.predict(CLIP, sample_rate=RATE, profile=dataclasses.replace(profile, **change))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name")
def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", "/dev/zero"):
        with pytest.raises(ModelError, match=r"cannot read the profile .*a pipe or a device.*enrol"):
            SpeakerProfile.load(path)


def test_a_model_without_enrolment_says_so(classifier: Classifier, profile: SpeakerProfile) -> None:
    for door in (
        lambda: classifier.enrol(VOICE, sample_rate=RATE),
        lambda: classifier.predict(CLIP, sample_rate=RATE, profile=profile),
        lambda: classifier.timeline(CLIP, sample_rate=RATE, profile=profile),
    ):
        with pytest.raises(ModelError, match="exported without enrolment"):
            door()
