"""Every state and error of the page, without a browser; two visits at once; what is kept."""

import csv
import dataclasses
import gc
import hashlib
import importlib.util
import io
import json
import time
import weakref
import zipfile
from pathlib import Path
from typing import Any

import about
import answers
import choice
import corrections
import downloads
import inputs
import listen
import many
import numpy as np
import pytest
import session
import shared
import sounds
import standin
from streamlit.testing.v1 import AppTest

from speech_emotion import Classifier, Prediction, load
from speech_emotion.corpora.own import read_table
from speech_emotion.segments.reader import segments_of

PAGE = str(Path(__file__).resolve().parents[2] / "app" / "page.py")
VOICE = sounds.wav(sounds.voice(9.0))
OTHER = sounds.wav(sounds.voice(2.0, f0=250))
SILENCE = sounds.wav(np.zeros(32_000, np.float32))
File = tuple[str, bytes, str]


def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **metadata: Any) -> Classifier:
    """Make the page use a stand-in model with the given metadata."""
    path = tmp_path / "stand-in.onnx"
    path.write_bytes(standin.model_bytes(**{"enrolment": standin.ENROLMENT} | metadata))
    classifier = load(path)
    monkeypatch.setattr(shared, "classifier", lambda _: classifier)
    return classifier


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run waits for the answers: no browser asks again."""
    monkeypatch.setattr(listen, "PATIENCE_SECONDS", 60.0)


@pytest.fixture
def standin_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Classifier:
    return use(monkeypatch, tmp_path)


def visit() -> AppTest:
    """A page whose notice is read."""
    page = AppTest.from_file(PAGE, default_timeout=60).run()
    return page.button[0].click().run()


def upload(page: AppTest, *files: File) -> AppTest:
    page.file_uploader(key="files").set_value(list(files))
    return page.run()


def wav(name: str, data: bytes) -> File:
    return name, data, "audio/wav"


def html(page: AppTest) -> str:
    return " ".join(element.proto.body for element in page.get("html"))


def table(page: AppTest) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = page.dataframe[0].value.to_dict("records")
    return rows


def profile_file(page: AppTest) -> str:
    """The key of the uploader of profiles, which changes when a profile is forgotten."""
    return f"profile-file-{page.session_state['session'].enrolments}"


def shown(markdown: str) -> str:
    """Markdown in which every mark is escaped, as it is displayed."""
    return markdown.replace("\\", "")


def texts(page: AppTest) -> str:
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "text")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(page, kind))


def test_the_notice_comes_first_and_once(standin_model: Classifier) -> None:
    page = AppTest.from_file(PAGE, default_timeout=60).run()
    assert not page.exception
    assert len(page.tabs) == 0
    for promise in (
        "does not read what a person feels",
        "Nothing is stored",
        "no telemetry",
        "Article 5(1)(f)",
    ):
        assert promise in texts(page)
    page.button[0].click().run()
    assert [tab.label for tab in page.tabs] == ["Listen", "Live", "Compare", "My voice", "Model and limits"]
    assert "Before you start" not in [heading.value for heading in page.header]


def test_without_a_sound_the_page_says_what_to_do(standin_model: Classifier) -> None:
    page = visit()
    assert page.expander[0].label == inputs.START
    assert not page.exception


def test_a_sound_gets_the_answer_of_the_classifier(standin_model: Classifier) -> None:
    page = upload(visit(), wav("voice.wav", VOICE))
    answer = standin_model.predict(VOICE)
    assert answer.label
    assert f"<span class='se-answer'>{answer.label}</span>" in html(page)
    assert f"<span class='se-share'>{100 * (answer.confidence or 0):.0f} %</span>" in html(page)
    assert "<h2 class='se-name'>voice.wav" in html(page)
    assert page.session_state["session"].found(page.session_state["session"].sounds[0]).windows == tuple(
        standin_model.timeline(VOICE)
    )
    assert [button.label for button in page.get("download_button")] == [
        "Report, HTML",
        "Answers, CSV",
        "Answers, JSON",
        "Timeline, PNG",
        *("SubRip", "WebVTT", "Audacity labels", "Praat TextGrid", "RTTM"),
    ]
    assert "curl --data-binary @voice.wav" in page.code[1].value
    assert not page.exception


def test_many_sounds_are_a_table_even_if_one_is_unreadable(standin_model: Classifier) -> None:
    files = [
        wav("a.wav", VOICE),
        wav("b.wav", b"hello, no sound"),
        wav("c.wav", SILENCE),
        wav("d.wav", OTHER),
    ]
    page = upload(visit(), *files)
    rows = table(page)
    assert [row["sound"] for row in rows] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert rows[1]["answer"] == "not readable"
    assert rows[1]["remarks"].startswith(
        "This is not a sound that can be read: it looks like text that begins 'hello,"
    )
    assert rows[2]["answer"] == "no speech"
    assert rows[2]["remarks"] == "quiet"
    for row, data in ((rows[0], VOICE), (rows[3], OTHER)):
        answer = standin_model.predict(data)
        assert row["answer"] == answer.label
        assert row["probability"] == pytest.approx(100 * (answer.confidence or 0))
    assert not page.exception


def test_an_unreadable_sound_alone_is_explained(standin_model: Classifier) -> None:
    page = upload(visit(), wav("notes.wav", b"hello, no sound"))
    assert "not a sound that can be read: it looks like text" in shown(page.error[0].value)
    assert "Choose a sound or a video." in shown(page.error[0].value)
    assert "curl" not in texts(page)
    assert not page.exception


def test_no_speech_too_short_and_not_sure_are_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, tmp_path, thresholds={"not_sure": 0.99, "set": 0.9})
    page = visit()
    assert "No speech was found" in html(upload(page, wav("silence.wav", SILENCE)))
    assert [warning.value for warning in page.warning] == [
        "**Almost silent:** is the right microphone selected and switched on?"
    ]
    short = html(upload(page, wav("short.wav", sounds.wav(sounds.voice(0.3)))))
    assert "too short" in short
    assert "It needs 0.5 s or more" in short
    unsure = html(upload(page, wav("voice.wav", VOICE)))
    assert "<span class='se-answer'>not sure</span>" in unsure
    assert "maybe " in unsure
    assert not page.exception


def test_warnings_say_what_to_do(standin_model: Classifier) -> None:
    clipped = sounds.wav(np.clip(sounds.voice(3.0) * 20, -1, 1))
    page = upload(visit(), wav("loud.wav", clipped))
    assert any("less gain" in warning.value for warning in page.warning)


def test_names_and_contents_are_displayed_as_text_only(standin_model: Classifier) -> None:
    page = upload(visit(), wav("<img src=x>.wav", VOICE))
    assert "<img" not in html(page)
    page = upload(visit(), wav("notes.wav", b"![](http://elsewhere.example/seen.png) is what it begins with"))
    assert "![](" not in texts(page)
    assert "![](" in shown(texts(page))
    assert not page.exception


def test_one_sound_under_two_names_is_analysed_once_and_has_two_rows(standin_model: Classifier) -> None:
    page = upload(visit(), wav("a.wav", VOICE), wav("b.wav", VOICE))
    state: session.Session = page.session_state["session"]
    assert len(state.analyses) == 1
    assert [row["sound"] for row in table(page)] == ["a.wav", "b.wav"]


def test_the_samples_are_one_click_away_and_can_be_forgotten(standin_model: Classifier) -> None:
    page = visit()
    for key in session.SAMPLES:
        page.button(key=key).click().run()
        assert f"<h2 class='se-name'>{session.SAMPLES[key]} <small>{key}" in html(page)  # the newest is shown
    assert [row["sound"] for row in table(page)] == list(session.SAMPLES)
    next(button for button in page.button if button.label.startswith("Forget recordings")).click().run()
    assert page.expander[0].label == inputs.START
    state: session.Session = page.session_state["session"]
    assert (state.kept, state.analyses, state.played) == ({}, {}, ("", "", None))
    assert not page.exception


def test_a_recording_is_kept_when_another_one_is_made(standin_model: Classifier) -> None:
    page = visit()
    page.audio_input(key="recording-0").set_value(wav("recording.wav", VOICE)).run()
    page.audio_input(key="recording-0").set_value(wav("recording.wav", OTHER)).run()
    assert [row["sound"] for row in table(page)] == ["recording 1.wav", "recording 2.wav"]
    assert "<h2 class='se-name'>recording 2.wav" in html(page)
    assert not page.exception


def test_clearing_the_recorder_removes_the_recording(standin_model: Classifier) -> None:
    page = visit()
    page.audio_input(key="recording-0").set_value(wav("recording.wav", VOICE)).run()
    page.audio_input(key="recording-0").set_value(wav("recording.wav", OTHER)).run()
    page.audio_input(key="recording-0").clear().run()
    state: session.Session = page.session_state["session"]
    assert [sound.name for sound in state.sounds] == ["recording 1.wav"]
    page.audio_input(key="recording-0").set_value(wav("recording.wav", OTHER)).run()
    assert [sound.name for sound in state.sounds] == ["recording 1.wav", "recording 3.wav"]


class Upload(io.BytesIO):
    """A file as the uploader returns it."""

    def __init__(self, file_id: str, data: bytes = VOICE) -> None:
        super().__init__(data)
        self.file_id = self.name = file_id


def test_quotes_in_a_name_are_decoded() -> None:
    state = session.Session()
    upload = Upload("a")
    upload.name = "say %22no%22.wav"
    state.set_uploads([upload])
    assert [sound.name for sound in state.sounds] == ['say "no".wav']


def test_the_chosen_sound_stays_chosen_when_another_goes_and_a_new_one_is_shown() -> None:
    state = session.Session()
    a, b, c = (Upload(name) for name in "abc")
    state.set_uploads([a, b, c])
    assert (state.chosen, state.n_shown) == ("a", 1)
    state.choose("b")
    state.set_uploads([b, c])
    assert (state.chosen, state.n_shown) == ("b", 1)
    state.set_uploads([b, c, a])
    assert (state.chosen, state.n_shown) == ("a", 2)
    state.record(Upload("recorded"))
    assert [sound.name for sound in state.sounds] == ["b", "c", "a", "recording 1.wav"]
    assert (state.chosen, state.n_shown) == ("recorded", 3)


def test_of_new_sounds_the_first_with_an_answer_is_shown(standin_model: Classifier) -> None:
    page = visit()
    page.button(key="demo-low.flac").click().run()
    page = upload(page, wav("notes.wav", b"hello"), wav("voice.wav", VOICE))
    assert "<h2 class='se-name'>voice.wav" in html(page)
    page = upload(page, wav("notes.wav", b"hello"))
    assert "<h2 class='se-name'>notes.wav" in html(page)  # a single unreadable sound is shown too


def test_what_is_finished_while_the_page_is_drawn_is_shown(
    standin_model: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bar is there to ask for another run, because nothing is left to do."""
    problems = inputs.problems

    def after_the_work(state: session.Session) -> None:
        deadline = time.monotonic() + 60
        while state.worker.is_busy:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        problems(state)

    monkeypatch.setattr(listen, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(inputs, "problems", after_the_work)
    page = upload(visit(), wav("voice.wav", VOICE), wav("other.wav", OTHER))
    assert [row["sound"] for row in table(page)] == ["voice.wav", "other.wav"]


def test_a_new_sound_is_shown_whatever_was_ticked(standin_model: Classifier) -> None:
    page = upload(visit(), wav("a.wav", VOICE), wav("b.wav", OTHER))
    assert "<h2 class='se-name'>a.wav" in html(page)
    page.button(key="demo-low.flac").click().run()
    assert "<h2 class='se-name'>A low voice <small>demo-low.flac" in html(page)
    page.run()
    assert "<h2 class='se-name'>A low voice <small>demo-low.flac" in html(page)


def test_snippets_fit_the_sound(standin_model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    page = visit()
    page.button(key="demo-low.flac").click().run()
    assert repr(session.sample_path("demo-low.flac")) in page.code[0].value
    page = upload(visit(), wav("voice.wav", VOICE))
    assert page.code[1].value.splitlines()[1].endswith("/api/timeline")
    limits = dataclasses.replace(downloads.REST_LIMITS, max_body_bytes=len(VOICE) - 1)
    monkeypatch.setattr(downloads, "REST_LIMITS", limits)
    page.run()
    assert len(page.code) == 1
    assert "25 MB and 600 s" in texts(page)


def test_cancel_and_resume(standin_model: Classifier) -> None:
    page = upload(visit(), wav("voice.wav", VOICE), wav("other.wav", OTHER), wav("silence.wav", SILENCE))
    state: session.Session = page.session_state["session"]

    def cancel(*sounds: bytes) -> None:
        for data in sounds:
            del state.analyses[session.Key(hashlib.sha256(data).hexdigest(), "", state.model)]
        state.cancel()
        page.run()

    cancel(VOICE)
    assert "Cancelled: voice.wav" in texts(page)
    cancel(OTHER)
    assert "Cancelled: 2 of 3 sounds" in texts(page)
    assert "No speech was found" in html(page)
    next(button for button in page.button if button.label == "Resume").click().run()
    assert [row["sound"] for row in table(page)] == ["voice.wav", "other.wav", "silence.wav"]
    assert "Cancelled" not in texts(page)
    assert not page.exception


def test_adding_a_cancelled_sound_again_resumes_it(standin_model: Classifier) -> None:
    page = visit()
    state: session.Session = page.session_state["session"]
    low = session.sample("demo-low.flac")
    state.cancelled |= {low.sha256, hashlib.sha256(VOICE).hexdigest()}
    page = upload(page, wav("voice.wav", VOICE))
    assert "class='se-answer'" in html(page)
    state.cancelled.add(low.sha256)
    page.button(key="demo-low.flac").click().run()
    assert "<h2 class='se-name'>A low voice <small>demo-low.flac" in html(page)
    assert "Cancelled" not in texts(page)


def test_forgetting_a_profile_leaves_recordings_and_forgetting_recordings_leaves_enrolments(
    standin_model: Classifier,
) -> None:
    page = visit()
    page.audio_input(key="recording-0").set_value(wav("recording.wav", VOICE))
    page.audio_input(key="enrolment-0").set_value(wav("me.wav", sounds.wav(sounds.voice(14.0)))).run()
    page.button(key="demo-low.flac").click().run()
    next(button for button in page.button if button.label == "Forget recordings and samples").click().run()
    next(button for button in page.button if button.label == "Make my profile").click().run()
    page.audio_input(key="recording-1").set_value(wav("recording.wav", VOICE)).run()
    next(button for button in page.button if button.label == "Forget it").click().run()
    state: session.Session = page.session_state["session"]
    assert [sound.name for sound in state.sounds] == ["recording 2.wav"]
    assert "class='se-answer'" in html(page)


def test_a_profile_is_made_used_switched_off_saved_and_forgotten(standin_model: Classifier) -> None:
    page = upload(visit(), wav("voice.wav", VOICE))
    plain = standin_model.predict(VOICE)
    page.audio_input(key="enrolment-0").set_value(wav("me.wav", sounds.wav(sounds.voice(14.0, f0=180)))).run()
    next(button for button in page.button if button.label == "Make my profile").click().run()
    state: session.Session = page.session_state["session"]
    assert state.profile is not None
    tuned = standin_model.predict(VOICE, profile=state.profile)
    assert tuned.probabilities != plain.probabilities
    assert f"<span class='se-share'>{100 * (tuned.confidence or 0):.0f} %</span>" in html(page)
    assert "Without your profile" in texts(page)
    assert "**Short:** 30 to 60 s" in texts(page)
    (changes,) = [frame.value for frame in page.dataframe if "with your profile" in frame.value.columns]
    assert changes.to_dict("records") == [
        {
            "sound": "voice.wav",
            "without": f"{plain.label} {100 * (plain.confidence or 0):.0f} %",
            "with your profile": f"{tuned.label} {100 * (tuned.confidence or 0):.0f} %",
        }
    ]
    saved = json.dumps(state.profile.to_dict()).encode()
    next(toggle for toggle in page.toggle if toggle.label.startswith("Use it")).set_value(False).run()
    assert f"<span class='se-share'>{100 * (plain.confidence or 0):.0f} %</span>" in html(page)
    next(button for button in page.button if button.label == "Forget it").click().run()
    assert page.session_state["session"].profile is None
    page.file_uploader(key=profile_file(page)).set_value([("me.json", saved, "application/json")]).run()
    next(button for button in page.button if button.label == "Use this profile").click().run()
    assert page.session_state["session"].profile.to_dict() == json.loads(saved)
    assert not page.exception


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no json", "not a speaker profile"),
        (b"{}", "not a speaker profile"),
        (b"[" * 100_000, "not a speaker profile"),
        (None, "another model"),
    ],
)
def test_an_invalid_profile_is_refused(standin_model: Classifier, data: bytes | None, message: str) -> None:
    if data is None:
        voice = sounds.voice(14.0)
        document = standin_model.enrol(voice, sample_rate=16_000).to_dict() | {"model_sha256": "0" * 64}
        data = json.dumps(document).encode()
    page = visit()
    page.file_uploader(key=profile_file(page)).set_value([("me.json", data, "application/json")]).run()
    next(button for button in page.button if button.label == "Use this profile").click().run()
    assert "cannot be used" in page.error[0].value
    assert message in shown(texts(page))
    assert page.session_state["session"].profile is None
    assert not page.exception


def test_too_little_speech_for_a_profile_says_how_much(standin_model: Classifier) -> None:
    page = visit()
    page.audio_input(key="enrolment-0").set_value(wav("me.wav", OTHER)).run()
    next(button for button in page.button if button.label == "Make my profile").click().run()
    assert "10 s of speech or more" in shown(page.error[0].value)
    assert not page.exception


def test_an_unreadable_recording_is_named_and_the_others_make_the_profile(standin_model: Classifier) -> None:
    page = visit()
    good = wav("me.wav", sounds.wav(sounds.voice(14.0)))
    page.file_uploader(key="enrolment-files-0").set_value([wav("notes.wav", b"hello"), good]).run()
    next(button for button in page.button if button.label == "Make my profile").click().run()
    assert page.session_state["session"].profile is not None
    assert "Left out: notes.wav" in shown(texts(page))
    page = visit()
    page.file_uploader(key="enrolment-files-0").set_value([wav("notes.wav", b"hello")]).run()
    next(button for button in page.button if button.label == "Make my profile").click().run()
    assert "Left out: notes.wav" in shown(page.warning[0].value)
    assert page.session_state["session"].profile is None
    assert not page.exception


def test_a_model_without_enrolment_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(monkeypatch, tmp_path, enrolment=None)
    page = visit()
    assert any("does not support profiles" in info.value for info in page.info)


def test_the_score_stands_beside_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    metrics = {
        "uar": {"mean": 0.705, "ci95": [0.663, 0.747]},
        "per_class": {"angry": 0.819, "sad": 0.536},
        "n_speakers": 24,
        "corpus": "ravdess",
        "protocol": "luna5",
    }
    use(monkeypatch, tmp_path, metrics=metrics)
    page = visit()
    expected = (
        "finds the acted emotion 70 times in 100 (95 % interval 66 to 75), tested on 24 actors, each left out of "
        "training"
    )
    assert f"it {expected}; guessing finds 12.5." in texts(page)
    recalls = {row["emotion"]: row["found"] for row in table(page)}
    assert recalls == {"sad": pytest.approx(53.6), "angry": pytest.approx(81.9)}


def test_two_visits_do_not_mix(standin_model: Classifier) -> None:
    one, other = visit(), visit()
    upload(one, wav("voice.wav", VOICE))
    upload(other, wav("voice.wav", OTHER))  # the same name, another sound
    for page, data in ((one, VOICE), (other, OTHER)):
        page.run()
        answer = standin_model.predict(data)
        assert f"<span class='se-answer'>{answer.label}</span>" in html(page)
        assert f"<span class='se-share'>{100 * (answer.confidence or 0):.0f} %</span>" in html(page)
        assert len(page.session_state["session"].analyses) == 1
    assert one.session_state["session"] is not other.session_state["session"]


def test_what_is_kept_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_ANALYSES", 2)
    monkeypatch.setattr(session, "MAX_KEPT", 2)
    state = session.Session()
    for number in range(6):
        sound = session.Sound.of(f"{number}.wav", VOICE + bytes([number]), str(number))
        state.keep(sound)
        state.analyses[state.key(sound)] = session.Analysis(sound.name, sound.sha256)
    assert [sound.name for sound in state.kept.values()] == ["4.wav", "5.wav"]
    state.forget_old()  # those of present sounds stay, and of the others the newest
    assert [analysis.name for analysis in state.analyses.values()] == ["2.wav", "3.wav", "4.wav", "5.wav"]


def test_an_upload_is_read_once_and_gone_when_it_is_removed(standin_model: Classifier) -> None:
    page = upload(visit(), wav("a.wav", VOICE), wav("b.wav", OTHER))
    state: session.Session = page.session_state["session"]
    before = list(state.uploaded.values())
    page.run()
    assert list(state.uploaded.values()) == before
    upload(page)
    assert (state.uploaded, state.played) == ({}, ("", "", None))
    assert page.expander[0].label == inputs.START


def test_profiles_are_identified_by_their_content(standin_model: Classifier) -> None:
    one, other = (
        standin_model.enrol(sounds.voice(14.0, f0=pitch), sample_rate=16_000) for pitch in (110, 220)
    )
    keys = {session.profile_key(profile) for profile in (one, other, None)}
    assert len(keys) == 3
    assert session.profile_key(session.SpeakerProfile.from_dict(one.to_dict())) in keys


def call() -> tuple[list[np.ndarray], bytes]:
    """Both sides of a call, and the call."""
    agent, customer = sounds.voice(4.0), sounds.voice(4.0, f0=250)
    silence = np.zeros(len(agent), np.float32)
    sides = [np.concatenate(side) for side in ((agent, silence), (silence, customer))]
    return sides, sounds.wav(np.stack(sides, axis=1))


SRT = b"""1
00:00:00,000 --> 00:00:03,500
Good morning

2
00:00:04,200 --> 00:00:07,800
It is broken
"""
VTT = b"""WEBVTT

00:00.000 --> 00:03.500
<v Ann>Good morning

00:04.200 --> 00:07.800
<v Bob>It is broken
"""


def test_the_channels_of_a_call_are_answered_side_by_side(standin_model: Classifier) -> None:
    sides, data = call()
    page = upload(visit(), wav("call.wav", data))
    assert "Different speech on each channel" in page.info[0].value
    assert not page.warning  # nothing is wrong with the sound
    state: session.Session = page.session_state["session"]
    found = state.found(state.sounds[0], "channels")
    assert found is not None
    assert [lane.name for lane in found.lanes] == ["left", "right"]
    for lane, side in zip(found.lanes, sides, strict=True):
        expected = standin_model.predict(side, sample_rate=16_000)
        assert lane.answer is not None
        assert lane.answer.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
        assert f">{lane.name.capitalize()} channel</h3>" in html(page)
        assert "channels_differ" not in lane.answer.warnings
    assert "The mix of all channels" in texts(page)
    python, curl = (code.value for code in page.code)
    assert "predict('call.wav', channels=\"separate\")" in python
    assert "/predict?channels=separate" in curl
    report = downloads.html_report(
        downloads.Results([downloads.complete(state.sounds[0], state)], standin_model.info)
    )
    parts = ("Left channel</h3>", "Right channel</h3>", "The mix of all channels</h3>")
    assert [report.count(part) for part in parts] == [1, 1, 1]
    assert report.index(parts[0]) < report.index(parts[1]) < report.index(parts[2])
    assert f"<span class='se-answer'>{found.lanes[0].answer.label}</span>" in report
    assert "Different speech on each channel" in report
    assert not page.exception


def test_a_transcript_beside_a_sound_gives_an_answer_per_utterance(standin_model: Classifier) -> None:
    _, data = call()
    page = upload(visit(), wav("call.wav", data), ("call.srt", SRT, "text/plain"))
    (said,) = [frame.value for frame in page.dataframe if "words" in frame.value.columns]
    assert list(said["words"]) == ["Good morning", "It is broken"]
    assert list(said["from"]) == ["0:00.0", "0:04.2"]
    segments = segments_of(SRT, "call.srt")
    expected = [answer.label for _, answer in standin_model.segments(data, segments)]
    assert list(said["answer"]) == expected
    assert [sound.name for sound in page.session_state["session"].sounds] == ["call.wav"]
    assert "who" not in said.columns  # the transcript names nobody
    page = upload(visit(), wav("call.wav", data), ("call.vtt", VTT, "text/vtt"))
    (said,) = [frame.value for frame in page.dataframe if "words" in frame.value.columns]
    assert list(said["who"]) == ["Ann", "Bob"]
    assert not page.exception


def test_a_transcript_without_its_sound_or_in_pieces_is_a_sentence(standin_model: Classifier) -> None:
    page = upload(visit(), wav("a.wav", VOICE), wav("b.wav", OTHER), ("c.srt", SRT, "text/plain"))
    assert "belongs to no sound here" in page.error[0].value
    page = upload(page, wav("a.wav", VOICE), ("a.srt", b"no times", "text/plain"))
    assert "cannot be used as a transcript" in page.error[0].value
    assert not page.exception


def test_text_in_a_folder_of_sounds_is_named_and_no_fault(standin_model: Classifier) -> None:
    page = upload(visit(), wav("a.wav", VOICE), wav("b.wav", OTHER), ("read me.txt", b"hello", "text/plain"))
    assert not page.error
    assert "Neither sounds nor transcripts: read me\\.txt." in texts(page)
    page = upload(page, wav("a.wav", VOICE), ("read me.txt", b"hello", "text/plain"))
    assert "cannot be used as a transcript" in page.error[0].value  # perhaps it was meant for the only sound


def test_a_removed_sound_is_no_longer_in_memory(standin_model: Classifier) -> None:
    page = upload(visit(), wav("a.wav", VOICE))
    sound = weakref.ref(page.session_state["session"].sounds[0])
    page = upload(page)
    page = page.run()
    gc.collect()
    assert sound() is None


def test_what_was_it_makes_a_table_to_train_on_and_a_score(standin_model: Classifier, tmp_path: Path) -> None:
    page = upload(visit(), wav("a/one.wav", VOICE), wav("b/two.wav", OTHER))
    state: session.Session = page.session_state["session"]
    first, second = state.sounds
    label = standin_model.predict(VOICE).label
    other = next(one for one in standin_model.info.labels if one != standin_model.predict(OTHER).label)
    page.button_group(key=f"label-{first.sha256[:16]}").set_value(label).run()
    page.text_input(key=f"speaker-{first.sha256[:16]}").set_value("ann").run()
    state.correct(second.sha256, session.Correction(second.name, other, "bob", "a note"))
    page.run()
    assert "agrees with you on 1 of 2 sounds (50 %)" in texts(page)
    path = tmp_path / "corrections.csv"
    path.write_text(corrections.table(state))
    corpus = read_table("mine", path)
    assert [(clip.path, clip.label, clip.speaker) for clip in corpus.clips] == [
        ("a/one.wav", label, "ann"),
        ("b/two.wav", other, "bob"),
    ]
    with zipfile.ZipFile(io.BytesIO(corrections.archive(state))) as packed:
        assert packed.namelist() == ["corrections.csv", "a/one.wav", "b/two.wav"]
        assert packed.read("a/one.wav") == VOICE
    state.correct(first.sha256, session.Correction(first.name, "", "ann"))
    assert "one.wav" not in corrections.table(state)  # unsure
    assert not page.exception


def test_of_two_sounds_with_one_name_each_is_in_the_table() -> None:
    state = session.Session()
    for number, data in enumerate((VOICE, OTHER)):
        sound = session.Sound.of("same.wav", data, str(number))
        state.keep(sound)
        state.correct(sound.sha256, session.Correction(sound.name, "sad", "ann"))
    files = [row["file"] for row in csv.DictReader(io.StringIO(corrections.table(state)))]
    assert files[0] == "same.wav"
    assert files[1].startswith("same ")
    assert len(set(files)) == 2


def test_of_new_sounds_the_first_with_speech_is_shown(standin_model: Classifier) -> None:
    page = upload(visit(), wav("silence.wav", SILENCE), wav("voice.wav", VOICE), wav("other.wav", OTHER))
    assert "<h2 class='se-name'>voice.wav" in html(page)
    alone = upload(visit(), wav("silence.wav", SILENCE))
    assert "<h2 class='se-name'>silence.wav" in html(alone)


def test_many_sounds_are_counted_filtered_and_grouped(standin_model: Classifier) -> None:
    files = [
        wav("calls/a.wav", VOICE),
        wav("calls/b.wav", b"hello, no sound"),
        wav("03-01-05-01-01-01-12.wav", OTHER),
    ]
    page = upload(visit(), *files)
    assert "not readable 1 (33 %)" in html(page)
    assert "calls/b\\.wav" in page.error[0].value.replace("\\/", "/")
    page.button_group(key="only").set_value(["unreadable"]).run()
    (rows,) = [frame.value for frame in page.dataframe if "length" in frame.value.columns]
    assert list(rows["sound"]) == ["calls/b.wav"]
    page.button_group(key="only").set_value([]).run()
    page.text_input(key="search").set_value("CALLS").run()
    (rows,) = [frame.value for frame in page.dataframe if "length" in frame.value.columns]
    assert list(rows["sound"]) == ["calls/a.wav", "calls/b.wav"]
    assert many.group("calls/a.wav") == "calls"
    assert many.group("x/03-01-05-01-01-01-12.wav") == "actor 12"
    assert many.group("a.wav") == ""
    assert not page.exception


def test_two_sounds_side_by_side(standin_model: Classifier) -> None:
    page = visit()
    next(button for button in page.button if button.label == "Compare two synthetic voices").click().run()
    chosen = [box.value for box in page.selectbox if box.label.endswith(" sound")]
    assert sorted(chosen) == sorted(session.SAMPLES)[:2]
    assert "Compared with the first" in texts(page) or "nearly the same" in texts(page)
    assert not page.exception


def test_an_answer_says_how_often_such_answers_were_right() -> None:
    info = load().info
    sure = Prediction({"angry": 0.75, "sad": 0.25}, 0, 4)
    share = about.right(0.75, info, "elsewhere")
    assert share is not None
    assert f"{100 * share:.0f} % of answers as sure as this" in about.caveat(sure, info, "mine.wav")
    assert "never heard and without a profile, " in about.caveat(sure, info, "mine.wav", is_tuned=True)
    assert "learned from these actors" in about.caveat(sure, info, "Actor_12/03-01-05-01-01-01-12.wav")
    assert about.caveat(sure, info, "demo-low.flac") == "A synthetic voice: it has no right answer."
    unsure = Prediction({"angry": 0.55, "sad": 0.45}, 0, 4, abstained="not_sure")
    assert about.caveat(unsure, info, "mine.wav") == ""


def test_the_scores_are_those_of_the_results() -> None:
    path = Path(__file__).resolve().parents[2] / "tools" / "make_page_scores.py"
    spec = importlib.util.spec_from_file_location("make_page_scores", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.scores() == choice.SCORES


def test_a_clip_little_longer_than_a_window_has_no_timeline(standin_model: Classifier) -> None:
    info = standin_model.info
    for seconds, expected in ((info.window_seconds + 0.1, False), (info.window_seconds + 3, True)):
        windows = tuple(standin_model.timeline(sounds.voice(seconds), sample_rate=16_000))
        found = session.Analysis("a", "", seconds, windows[0], windows)
        assert answers.has_timeline(found, info) is expected


def test_the_model_of_the_address_answers(monkeypatch: pytest.MonkeyPatch, standin_model: Classifier) -> None:
    page = AppTest.from_file(PAGE, default_timeout=60)
    page.query_params["model"] = "compact"
    page.run()
    assert page.session_state["session"].model == "compact"
    other = AppTest.from_file(PAGE, default_timeout=60)
    other.query_params["model"] = "no such model"
    assert other.run().session_state["session"].model == "standard"


def test_leaving_is_asked_about_only_with_work_on_the_page(standin_model: Classifier) -> None:
    state = session.Session()
    assert not state.is_worth_keeping
    state.keep(session.sample("demo-low.flac"))
    assert not state.is_worth_keeping  # a click brings it back
    state.keep(session.Sound.of("recording 1.wav", VOICE, "1"))
    assert state.is_worth_keeping
