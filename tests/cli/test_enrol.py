"""`speech-emotion enrol`: the profile that it writes, and `predict --profile` with it."""

from pathlib import Path

from shell import Shell

from speech_emotion.classifier import load
from speech_emotion.profile import SpeakerProfile


def test_a_profile_of_a_voice_goes_from_verb_to_verb(enrols: Shell) -> None:
    assert enrols("enrol", "me.wav", "me2.wav", "--out", "me.json") == (0, "me.json: 23.0 s of speech\n", "")
    tuned = load(enrols.model)
    profile = SpeakerProfile.load("me.json")
    assert profile == tuned.enrol("me.wav", "me2.wav")
    expected = {"source": "voice.wav"} | tuned.predict("voice.wav", profile=profile).to_dict()
    assert enrols.rows("voice.wav", "--profile", "me.json") == [expected] != enrols.rows("voice.wav")
    windows = [p.to_dict() for p in tuned.timeline("voice.wav", profile=profile)]
    rows = enrols.rows("voice.wav", "--profile", "me.json", "--timeline")
    assert rows == [{"source": "voice.wav"} | window for window in windows]


def test_a_short_enrolment_is_a_warning_and_none_an_error(enrols: Shell) -> None:
    code, _, err = enrols("enrol", "me.wav", "--out", "me.json")
    assert (code, err) == (0, "Warning: short enrolment. 30 to 60 s of clean speech are best\n")
    code, out, err = enrols("enrol", "silent.wav", "--out", "no.json")
    assert (code, out, Path("no.json").exists()) == (1, "", False)
    assert "needs 10 s of speech" in err
    assert err.endswith("(audio_too_short)\n")


def test_a_profile_that_does_not_fit_ends_it_at_once(enrols: Shell, model_path: Path) -> None:
    enrols("enrol", "me.wav", "me2.wav", "--out", "me.json")
    code, out, err = enrols(
        "predict", "voice.wav", "voice.wav", "--profile", "me.json", "--model", str(model_path)
    )
    assert (code, out) == (1, "")
    assert err.count("exported without enrolment") == 1
    assert (
        "cannot read the profile 'none.json'" in enrols("predict", "voice.wav", "--profile", "none.json")[2]
    )
