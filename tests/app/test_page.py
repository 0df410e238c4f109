"""Each state of the page and each of its errors, without a browser; two visits at once; what is kept."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import session
import shared
import sounds
import standin
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
    page.file_uploader(key="files-False").set_value(list(files))
    return page.run()


def wav(name: str, data: bytes) -> File:
    return name, data, "audio/wav"


def html(page: AppTest) -> str:
    return " ".join(element.proto.body for element in page.get("html"))


def table(page: AppTest) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = page.dataframe[0].value.to_dict("records")
    return rows


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
    assert "<h3 class='se-name'>voice.wav</h3>" in html(page)
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
    assert "looks like text" in rows[1]["remarks"]
    assert rows[2]["answer"] == "🔇 no speech"
    assert rows[2]["remarks"] == "quiet"
    for row, data in ((rows[0], VOICE), (rows[3], OTHER)):
        answer = hears.predict(data)
        assert row["answer"].endswith(f" {answer.label}")
        assert row["confidence"] == pytest.approx(100 * (answer.confidence or 0))
    assert not page.exception


def test_a_bad_sound_alone_says_what_it_is(hears: Classifier) -> None:
    page = give(visit(), wav("notes.wav", b"hello, no sound"))
    assert "looks like text" in shown(page.error[0].value)
    assert "curl" not in texts(page)
    assert not page.exception


def test_no_speech_too_short_and_not_sure_are_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, tmp_path, thresholds={"not_sure": 0.99, "set": 0.9})
    page = visit()
    assert "No voice was heard" in html(give(page, wav("silence.wav", SILENCE)))
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
    assert "![](" not in page.error[0].value
    assert "![](" in shown(page.error[0].value)
    assert not page.exception


def test_one_sound_under_two_names_is_heard_once(hears: Classifier) -> None:
    page = give(visit(), wav("a.wav", VOICE), wav("b.wav", VOICE))
    state: session.Session = page.session_state["session"]
    assert len(state.hearings) == 1


def test_the_samples_are_one_click_away_and_can_be_forgotten(hears: Classifier) -> None:
    page = visit()
    for key in session.SAMPLES:
        page.button(key=key).click().run()
    assert [row["sound"] for row in table(page)] == list(reversed(session.SAMPLES))
    next(button for button in page.button if button.label.startswith("Forget recordings")).click().run()
    assert "Upload a sound" in page.info[0].value
    state: session.Session = page.session_state["session"]
    assert (state.kept, state.hearings) == ({}, {})
    assert not page.exception


def test_a_recording_is_kept_when_another_one_is_made(hears: Classifier) -> None:
    page = visit()
    page.audio_input(key="recording").set_value(wav("recording.wav", VOICE)).run()
    page.audio_input(key="recording").set_value(wav("recording.wav", OTHER)).run()
    assert [row["sound"] for row in table(page)] == ["recording 2.wav", "recording 1.wav"]
    assert not page.exception


def test_cancel_stops_and_go_on_goes_on(hears: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    page = visit()
    state: session.Session = page.session_state["session"]
    key = (session.Sound.of("voice.wav", io.BytesIO(VOICE)).sha256, "")
    state.cancel([key])
    give(page, wav("voice.wav", VOICE))
    assert "Cancelled: voice.wav" in texts(page)
    assert "class='se-answer'" not in html(page)
    next(button for button in page.button if button.label == "Go on").click().run()
    assert "class='se-answer'" in html(page)
    assert not page.exception


def test_a_rerun_goes_on_where_the_last_one_was(hears: Classifier) -> None:
    state = session.Session()
    sound = session.Sound.of("voice.wav", io.BytesIO(VOICE))
    analysis = state.work_on((sound.sha256, ""), sound)
    assert state.work_on((sound.sha256, ""), sound) is analysis
    state.cancel([(sound.sha256, "")])
    assert state.work_on((sound.sha256, ""), sound) is not analysis


def test_a_profile_is_made_used_switched_off_taken_along_and_forgotten(hears: Classifier) -> None:
    page = give(visit(), wav("voice.wav", VOICE))
    plain = hears.predict(VOICE)
    page.audio_input(key="enrolment").set_value(wav("me.wav", sounds.wav(sounds.voice(14.0, f0=180)))).run()
    next(button for button in page.button if button.label == "Make my profile").click().run()
    state: session.Session = page.session_state["session"]
    assert state.profile is not None
    tuned = hears.predict(VOICE, profile=state.profile)
    assert tuned.probabilities != plain.probabilities
    assert f"{100 * (tuned.confidence or 0):.0f} % confident" in html(page)
    assert "Without your profile" in texts(page)
    assert "short: 30 to 60 s" in texts(page)
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
    page.file_uploader(key="profile_file").set_value([("me.json", saved, "application/json")]).run()
    next(button for button in page.button if button.label == "Use this profile").click().run()
    assert page.session_state["session"].profile.to_dict() == json.loads(saved)
    assert not page.exception


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no json", "no JSON"),
        (b"{}", "no profile of a voice"),
        (None, "another model"),
    ],
)
def test_a_profile_that_is_none_says_so(hears: Classifier, data: bytes | None, message: str) -> None:
    if data is None:
        voice = sounds.voice(14.0)
        document = hears.enrol(voice, sample_rate=16_000).to_dict() | {"model_sha256": "0" * 64}
        data = json.dumps(document).encode()
    page = visit()
    page.file_uploader(key="profile_file").set_value([("me.json", data, "application/json")]).run()
    next(button for button in page.button if button.label == "Use this profile").click().run()
    assert message in shown(page.error[0].value)
    assert page.session_state["session"].profile is None
    assert not page.exception


def test_too_little_speech_for_a_profile_says_how_much(hears: Classifier) -> None:
    page = visit()
    page.audio_input(key="enrolment").set_value(wav("me.wav", OTHER)).run()
    next(button for button in page.button if button.label == "Make my profile").click().run()
    assert "10 s of speech or more" in shown(page.error[0].value)
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
    expected = "70.5 % found [66.3, 74.7] on 24 speakers it never heard, where guessing finds 12.5 %"
    assert page.caption[0].value == f"Model **stand-in**: {expected}"
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
    found = [session.Sound.of(f"{number}.wav", io.BytesIO(VOICE + bytes([number]))) for number in range(6)]
    for sound in found:
        state.keep(sound)
        state.hearings[sound.sha256, ""] = session.Hearing(sound.name, sound.sha256)
    assert [sound.name for sound in state.kept.values()] == ["4.wav", "5.wav"]
    state.forget_old({found[0].sha256, found[1].sha256})  # these stay, whatever their number
    assert [hearing.name for hearing in state.hearings.values()] == ["0.wav", "1.wav", "4.wav", "5.wav"]


def test_an_upload_is_looked_at_once_and_gone_when_it_is_taken_away(hears: Classifier) -> None:
    page = give(visit(), wav("a.wav", VOICE), wav("b.wav", OTHER))
    state: session.Session = page.session_state["session"]
    before = list(state.uploaded.values())
    page.run()
    assert list(state.uploaded.values()) == before
    give(page)
    assert state.uploaded == {}
    assert "Upload a sound" in page.info[0].value
