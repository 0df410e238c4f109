"""Each state of the page and each of its errors, without a browser; two visits at once; what is kept."""

import dataclasses
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import about
import numpy as np
import pytest
import session
import shared
import sounds
import standin
import takeaway
from streamlit.testing.v1 import AppTest

from speech_emotion import Classifier, load
from speech_emotion.labels import ICONS

PAGE = str(Path(__file__).resolve().parents[2] / "app" / "page.py")
VOICE = sounds.wav(sounds.voice(9.0))
OTHER = sounds.wav(sounds.voice(2.0, f0=250))
SILENCE = sounds.wav(np.zeros(32_000, np.float32))
File = tuple[str, bytes, str]


def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **metadata: Any) -> Classifier:
    """The page hears with a stand-in, its metadata changed as named."""
    path = tmp_path / "stand-in.onnx"
    path.write_bytes(standin.model_bytes(**{"enrolment": standin.ENROLMENT} | metadata))
    classifier = load(path)
    monkeypatch.setattr(shared, "classifier", lambda: classifier)
    return classifier


@pytest.fixture
def hears(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Classifier:
    return use(monkeypatch, tmp_path)


def visit() -> AppTest:
    """A visit of somebody who has read the notice."""
    page = AppTest.from_file(PAGE, default_timeout=60).run()
    return page.button[0].click().run()


def give(page: AppTest, *files: File) -> AppTest:
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
    """The key of the uploader of profiles, which is another one after each forgetting."""
    return f"profile-file-{page.session_state['session'].enrolments}"


def shown(markdown: str) -> str:
    """What is read of text in which every mark is escaped."""
    return markdown.replace("\\", "")


def texts(page: AppTest) -> str:
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "text")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(page, kind))


def test_the_notice_comes_first_and_once(hears: Classifier) -> None:
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
    assert [tab.label for tab in page.tabs] == ["🎧 Listen", "🎙️ Live", "👤 My voice", "ℹ️ Model and limits"]
    assert "Before you start" not in [heading.value for heading in page.subheader]


def test_without_a_sound_it_says_what_to_do(hears: Classifier) -> None:
    page = visit()
    assert "Upload a sound" in page.info[0].value
    assert not page.exception


def test_a_sound_gets_the_answer_of_the_classifier(hears: Classifier) -> None:
    page = give(visit(), wav("voice.wav", VOICE))
    answer = hears.predict(VOICE)
    assert answer.label
    assert f"<div class='se-answer'>{answer.label}</div>" in html(page)
    assert f"{100 * (answer.confidence or 0):.0f} % confident" in html(page)
    assert "<h2 class='se-name'>voice.wav</h2>" in html(page)
    assert len(page.get("vega_lite_chart")) == 4  # bars, waveform, spectrogram, timeline
    segments = page.dataframe[0].value
    assert list(segments["answer"]) == [f"{ICONS[w.label or '']} {w.label}" for w in hears.timeline(VOICE)]
    assert [button.label for button in page.get("download_button")] == [
        "Answers, CSV",
        "Answers, JSON",
        "Timeline, PNG",
    ]
    assert "curl --data-binary @voice.wav" in page.code[1].value
    assert not page.exception


def test_many_sounds_are_a_table_and_a_bad_one_stops_nobody(hears: Classifier) -> None:
    files = [
        wav("a.wav", VOICE),
        wav("b.wav", b"hello, no sound"),
        wav("c.wav", SILENCE),
        wav("d.wav", OTHER),
    ]
    page = give(visit(), *files)
    rows = table(page)
    assert [row["sound"] for row in rows] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert rows[1]["answer"] == "❌ not readable"
    assert rows[1]["remarks"].startswith(
        "This is not a sound that can be read: it looks like text that begins 'hello,"
    )
    assert rows[2]["answer"] == "🔇 no speech"
    assert rows[2]["remarks"] == "quiet"
    for row, data in ((rows[0], VOICE), (rows[3], OTHER)):
        answer = hears.predict(data)
        assert row["answer"].endswith(f" {answer.label}")
        assert row["confidence"] == pytest.approx(100 * (answer.confidence or 0))
    assert not page.exception


def test_a_bad_sound_alone_says_what_it_is(hears: Classifier) -> None:
    page = give(visit(), wav("notes.wav", b"hello, no sound"))
    assert "not a sound that can be read: it looks like text" in shown(page.error[0].value)
    assert "Export it again, as WAV, MP3 or M4A." in shown(page.error[0].value)
    assert "curl" not in texts(page)
    assert not page.exception


def test_no_speech_too_short_and_not_sure_are_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, tmp_path, thresholds={"not_sure": 0.99, "set": 0.9})
    page = visit()
    assert "Nobody was heard to speak" in html(give(page, wav("silence.wav", SILENCE)))
    assert [warning.value for warning in page.warning] == [
        "**Almost silent:** is the right microphone chosen, and is it switched on?"
    ]
    short = html(give(page, wav("short.wav", sounds.wav(sounds.voice(0.3)))))
    assert "too short" in short
    assert "It needs 0.5 s or more" in short
    unsure = html(give(page, wav("voice.wav", VOICE)))
    assert "<div class='se-answer'>not sure</div>" in unsure
    assert "maybe " in unsure
    assert not page.exception


def test_warnings_say_what_to_do(hears: Classifier) -> None:
    clipped = sounds.wav(np.clip(sounds.voice(3.0) * 20, -1, 1))
    page = give(visit(), wav("loud.wav", clipped))
    assert any("less gain" in warning.value for warning in page.warning)


def test_names_and_contents_are_text_and_nothing_else(hears: Classifier) -> None:
    page = give(visit(), wav("<img src=x>.wav", VOICE))
    assert "<img" not in html(page)
    page = give(visit(), wav("notes.wav", b"![](http://elsewhere.example/seen.png) is what it begins with"))
    assert "![](" not in texts(page)
    assert "![](" in shown(texts(page))
    assert not page.exception


def test_one_sound_under_two_names_is_heard_once_and_has_two_rows(hears: Classifier) -> None:
    page = give(visit(), wav("a.wav", VOICE), wav("b.wav", VOICE))
    state: session.Session = page.session_state["session"]
    assert len(state.hearings) == 1
    assert [row["sound"] for row in table(page)] == ["a.wav", "b.wav"]


def test_the_samples_are_one_click_away_and_can_be_forgotten(hears: Classifier) -> None:
    page = visit()
    for key in session.SAMPLES:
        page.button(key=key).click().run()
        assert f"<h2 class='se-name'>{key}</h2>" in html(page)  # the newest is shown
    assert [row["sound"] for row in table(page)] == list(session.SAMPLES)
    next(button for button in page.button if button.label.startswith("Forget recordings")).click().run()
    assert "Upload a sound" in page.info[0].value
    state: session.Session = page.session_state["session"]
    assert (state.kept, state.hearings, state.played) == ({}, {}, ("", 0, b""))
    assert not page.exception


def test_a_recording_is_kept_when_another_one_is_made(hears: Classifier) -> None:
    page = visit()
    page.audio_input(key="recording-0").set_value(wav("recording.wav", VOICE)).run()
    page.audio_input(key="recording-0").set_value(wav("recording.wav", OTHER)).run()
    assert [row["sound"] for row in table(page)] == ["recording 1.wav", "recording 2.wav"]
    assert "<h2 class='se-name'>recording 2.wav</h2>" in html(page)
    assert not page.exception


def test_what_is_cleared_in_the_recorder_is_gone_here(hears: Classifier) -> None:
    page = visit()
    page.audio_input(key="recording-0").set_value(wav("recording.wav", VOICE)).run()
    page.audio_input(key="recording-0").set_value(wav("recording.wav", OTHER)).run()
    page.audio_input(key="recording-0").clear().run()
    state: session.Session = page.session_state["session"]
    assert [sound.name for sound in state.sounds] == ["recording 1.wav"]
    page.audio_input(key="recording-0").set_value(wav("recording.wav", OTHER)).run()
    assert [sound.name for sound in state.sounds] == ["recording 1.wav", "recording 3.wav"]


class Upload(io.BytesIO):
    """As the uploader hands it over."""

    def __init__(self, file_id: str, data: bytes = VOICE) -> None:
        super().__init__(data)
        self.file_id = self.name = file_id


def test_quotes_in_a_name_come_back_from_how_browsers_send_them() -> None:
    state = session.Session()
    upload = Upload("a")
    upload.name = "say %22no%22.wav"
    state.take([upload])
    assert [sound.name for sound in state.sounds] == ['say "no".wav']


def test_the_chosen_sound_stays_chosen_when_another_goes_and_a_new_one_is_shown() -> None:
    state = session.Session()
    a, b, c = (Upload(name) for name in "abc")
    state.take([a, b, c])
    assert (state.chosen, state.n_shown) == ("a", 1)
    state.choose("b")
    state.take([b, c])
    assert (state.chosen, state.n_shown) == ("b", 1)
    state.take([b, c, a])
    assert (state.chosen, state.n_shown) == ("a", 2)
    state.record(Upload("recorded"))
    assert [sound.name for sound in state.sounds] == ["b", "c", "a", "recording 1.wav"]
    assert (state.chosen, state.n_shown) == ("recorded", 3)


def test_of_new_sounds_the_first_that_can_be_heard_is_shown(hears: Classifier) -> None:
    page = visit()
    page.button(key="demo-low.flac").click().run()
    page = give(page, wav("notes.wav", b"hello"), wav("voice.wav", VOICE))
    assert "<h2 class='se-name'>voice.wav</h2>" in html(page)
    page = give(page, wav("notes.wav", b"hello"))
    assert "<h2 class='se-name'>notes.wav</h2>" in html(page)  # who gave one that cannot be heard is told so


def test_a_new_sound_is_shown_whatever_was_ticked(hears: Classifier) -> None:
    page = give(visit(), wav("a.wav", VOICE), wav("b.wav", OTHER))
    assert "<h2 class='se-name'>a.wav</h2>" in html(page)
    page.button(key="demo-low.flac").click().run()
    assert "<h2 class='se-name'>demo-low.flac</h2>" in html(page)
    page.run()
    assert "<h2 class='se-name'>demo-low.flac</h2>" in html(page)


def test_a_seek_is_over_when_another_sound_is_chosen() -> None:
    state = session.Session()
    state.choose("a")
    state.play_from("a", 7.0)
    state.play_from("a", 7.0)
    assert state.seek == ("a", 7.0, 2)  # asked for again, it plays again
    state.choose("b")
    assert state.seek is None
    state.show(session.Sound.of("c", VOICE, "c"))
    state.play_from("b", 3.0)  # who listens is not interrupted by what is heard later
    assert (state.chosen, state.newest, state.seek) == ("b", (), ("b", 3.0, 1))


def test_a_seek_is_over_when_its_sound_goes(hears: Classifier) -> None:
    page = give(visit(), wav("a.wav", VOICE), wav("b.wav", OTHER))
    state: session.Session = page.session_state["session"]
    state.play_from(state.chosen or "", 4.0)
    page.run()
    assert page.get("audio")[0].proto.autoplay
    page = give(page, wav("b.wav", OTHER))
    (player,) = page.get("audio")
    assert (player.proto.autoplay, player.proto.start_time) == (False, 0)


def test_lines_to_copy_fit_the_sound(hears: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    page = visit()
    page.button(key="demo-low.flac").click().run()
    assert repr(session.sample_path("demo-low.flac")) in page.code[0].value
    page = give(visit(), wav("voice.wav", VOICE))
    assert page.code[1].value.splitlines()[1].endswith("/api/timeline")
    limits = dataclasses.replace(takeaway.REST_LIMITS, max_body_bytes=len(VOICE) - 1)
    monkeypatch.setattr(takeaway, "REST_LIMITS", limits)
    page.run()
    assert len(page.code) == 1
    assert "25 MB and 600 s" in texts(page)


def test_cancel_stops_and_go_on_goes_on(hears: Classifier) -> None:
    page = give(visit(), wav("voice.wav", VOICE), wav("other.wav", OTHER), wav("silence.wav", SILENCE))
    state: session.Session = page.session_state["session"]

    def cancel(*sounds: bytes) -> None:
        given = [hashlib.sha256(data).hexdigest() for data in sounds]
        for sha256 in given:
            del state.hearings[sha256, ""]
        state.cancel(given)
        page.run()

    cancel(VOICE)
    assert "Cancelled: voice.wav" in texts(page)
    cancel(OTHER)
    assert "Cancelled: 2 sounds, of 3" in texts(page)
    assert "Nobody was heard" in html(page)
    assert len(page.dataframe) == 0
    next(button for button in page.button if button.label == "Go on").click().run()
    assert [row["sound"] for row in table(page)] == ["voice.wav", "other.wav", "silence.wav"]
    assert "Cancelled" not in texts(page)
    assert not page.exception


def test_a_rerun_goes_on_where_the_last_one_was(hears: Classifier) -> None:
    state = session.Session()
    sound = session.Sound.of("voice.wav", VOICE, "1")
    state.keep(sound)
    analysis = state.work_on((sound.sha256, ""), sound, None)
    assert state.work_on((sound.sha256, ""), sound, None) is analysis
    state.cancel([sound.sha256])
    assert state.work_on((sound.sha256, ""), sound, None) is not analysis
    state.forget_kept()  # what was under way holds no sound that is gone
    assert state.under_way == {}


def test_a_sound_that_is_given_again_is_not_cancelled_any_more(hears: Classifier) -> None:
    page = visit()
    state: session.Session = page.session_state["session"]
    low = session.sample("demo-low.flac")
    state.cancel([low.sha256, hashlib.sha256(VOICE).hexdigest()])
    page = give(page, wav("voice.wav", VOICE))
    assert "class='se-answer'" in html(page)
    state.cancel([low.sha256])
    page.button(key="demo-low.flac").click().run()
    assert "<h2 class='se-name'>demo-low.flac</h2>" in html(page)
    assert "Cancelled" not in texts(page)


def test_forgetting_a_profile_leaves_recordings_and_forgetting_recordings_leaves_enrolments(
    hears: Classifier,
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


def test_a_profile_is_made_used_switched_off_taken_along_and_forgotten(hears: Classifier) -> None:
    page = give(visit(), wav("voice.wav", VOICE))
    plain = hears.predict(VOICE)
    page.audio_input(key="enrolment-0").set_value(wav("me.wav", sounds.wav(sounds.voice(14.0, f0=180)))).run()
    next(button for button in page.button if button.label == "Make my profile").click().run()
    state: session.Session = page.session_state["session"]
    assert state.profile is not None
    tuned = hears.predict(VOICE, profile=state.profile)
    assert tuned.probabilities != plain.probabilities
    assert f"{100 * (tuned.confidence or 0):.0f} % confident" in html(page)
    assert "Without your profile" in texts(page)
    assert "**Short:** 30 to 60 s" in texts(page)
    (changes,) = [frame.value for frame in page.dataframe if "with your profile" in frame.value.columns]
    assert changes.to_dict("records") == [
        {
            "sound": "voice.wav",
            "without": f"{ICONS[plain.label or '']} {plain.label}",
            "sure": pytest.approx(100 * (plain.confidence or 0)),
            "with your profile": f"{ICONS[tuned.label or '']} {tuned.label}",
            "sure ": pytest.approx(100 * (tuned.confidence or 0)),
        }
    ]
    saved = json.dumps(state.profile.to_dict()).encode()
    next(toggle for toggle in page.toggle if toggle.label.startswith("Use it")).set_value(False).run()
    assert f"{100 * (plain.confidence or 0):.0f} % confident" in html(page)
    next(button for button in page.button if button.label == "Forget it").click().run()
    assert page.session_state["session"].profile is None
    page.file_uploader(key=profile_file(page)).set_value([("me.json", saved, "application/json")]).run()
    next(button for button in page.button if button.label == "Use this profile").click().run()
    assert page.session_state["session"].profile.to_dict() == json.loads(saved)
    assert not page.exception


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no json", "no speaker profile"),
        (b"{}", "no speaker profile"),
        (b"[" * 100_000, "no speaker profile"),
        (None, "another model"),
    ],
)
def test_a_profile_that_is_none_says_so(hears: Classifier, data: bytes | None, message: str) -> None:
    if data is None:
        voice = sounds.voice(14.0)
        document = hears.enrol(voice, sample_rate=16_000).to_dict() | {"model_sha256": "0" * 64}
        data = json.dumps(document).encode()
    page = visit()
    page.file_uploader(key=profile_file(page)).set_value([("me.json", data, "application/json")]).run()
    next(button for button in page.button if button.label == "Use this profile").click().run()
    assert "cannot be used" in page.error[0].value
    assert message in shown(texts(page))
    assert page.session_state["session"].profile is None
    assert not page.exception


def test_too_little_speech_for_a_profile_says_how_much(hears: Classifier) -> None:
    page = visit()
    page.audio_input(key="enrolment-0").set_value(wav("me.wav", OTHER)).run()
    next(button for button in page.button if button.label == "Make my profile").click().run()
    assert "10 s of speech or more" in shown(page.error[0].value)
    assert not page.exception


def test_a_recording_that_is_none_is_named_and_the_others_make_the_profile(hears: Classifier) -> None:
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
    assert any("takes no profiles" in info.value for info in page.info)


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
        "finds the acted emotion 70 times in 100 (95 % interval 66 to 75) in voices of 24 actors, trained without "
        "those it is tested on"
    )
    assert page.caption[0].value == f"Model **stand-in**: {expected}; guessing finds 12.5. {about.ELSEWHERE}."
    recalls = {row["emotion"]: row["found, %"] for row in table(page)}
    assert recalls == {"😢 sad": 53.6, "😠 angry": 81.9}


def test_two_visits_do_not_mix(hears: Classifier) -> None:
    one, other = visit(), visit()
    give(one, wav("voice.wav", VOICE))
    give(other, wav("voice.wav", OTHER))  # the same name, another sound
    for page, data in ((one, VOICE), (other, OTHER)):
        page.run()
        answer = hears.predict(data)
        assert f"<div class='se-answer'>{answer.label}</div>" in html(page)
        assert f"{100 * (answer.confidence or 0):.0f} % confident" in html(page)
        assert len(page.session_state["session"].hearings) == 1
    assert one.session_state["session"] is not other.session_state["session"]


def test_what_is_kept_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_HEARINGS", 2)
    monkeypatch.setattr(session, "MOST_KEPT", 2)
    state = session.Session()
    for number in range(6):
        sound = session.Sound.of(f"{number}.wav", VOICE + bytes([number]), str(number))
        state.keep(sound)
        state.hearings[sound.sha256, ""] = session.Hearing(sound.name, sound.sha256)
    assert [sound.name for sound in state.kept.values()] == ["4.wav", "5.wav"]
    state.forget_old()  # what is there stays, whatever its number, and of the rest the newest
    assert [hearing.name for hearing in state.hearings.values()] == ["2.wav", "3.wav", "4.wav", "5.wav"]


def test_an_upload_is_looked_at_once_and_gone_when_it_is_taken_away(hears: Classifier) -> None:
    page = give(visit(), wav("a.wav", VOICE), wav("b.wav", OTHER))
    state: session.Session = page.session_state["session"]
    before = list(state.uploaded.values())
    page.run()
    assert list(state.uploaded.values()) == before
    give(page)
    assert (state.uploaded, state.played) == ({}, ("", 0, b""))
    assert "Upload a sound" in page.info[0].value


def test_profiles_are_told_apart_by_what_is_in_them(hears: Classifier) -> None:
    one, other = (hears.enrol(sounds.voice(14.0, f0=pitch), sample_rate=16_000) for pitch in (110, 220))
    keys = {session.profile_key(profile) for profile in (one, other, None)}
    assert len(keys) == 3
    assert session.profile_key(session.SpeakerProfile.from_dict(one.to_dict())) in keys
