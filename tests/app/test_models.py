"""The choice of a model in the app: the page, the profile and the routes follow it."""

import json
import runpy
from collections.abc import Iterator
from pathlib import Path

import listen
import pytest
import shared
import sounds
from serving import served
from starlette.applications import Starlette
from streamlit.testing.v1 import AppTest

from speech_emotion import Classifier, load, shipped
from speech_emotion.shipped import ShippedModel

APP = Path(__file__).resolve().parents[2] / "app"
VOICE = sounds.wav(sounds.voice(9.0))
ME = sounds.wav(sounds.voice(14.0, f0=180))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run waits for the answers: no browser asks again."""
    monkeypatch.setattr(listen, "PATIENCE_SECONDS", 60.0)


@pytest.fixture
def models(two_models: list[ShippedModel]) -> Iterator[list[Classifier]]:
    """The first model, which takes no profiles, and the second, which does; the app loads them anew."""
    shared.classifier.cache_clear()
    yield [load(model.name) for model in two_models]
    shared.classifier.cache_clear()


def visit() -> AppTest:
    """A page with one sound."""
    page = AppTest.from_file(str(APP / "page.py"), default_timeout=60).run()
    page.button[0].click().run()
    page.file_uploader(key="files").set_value([("voice.wav", VOICE, "audio/wav")])
    return page.run()


def answer(page: AppTest) -> str:
    """The card with the answer."""
    (card,) = [one.proto.body for one in page.get("html") if "class='se-answer'" in one.proto.body]
    return str(card)


def press(page: AppTest, label: str) -> None:
    next(button for button in page.button if button.label == label).click().run()


def test_one_model_leaves_no_choice(models: list[Classifier], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [select.label for select in visit().selectbox] == ["Model"]
    monkeypatch.setattr(shipped, "MODELS", shipped.MODELS[:1])
    assert len(visit().selectbox) == 0


def test_the_chosen_model_answers(models: list[Classifier]) -> None:
    page = visit()
    assert page.selectbox[0].options == ["first · 0 MB · long talks", "second · 0 MB · short talks"]
    for name, classifier in zip(("first", "second", "first"), (*models, models[0]), strict=True):
        page.selectbox(key="model").set_value(name).run()
        expected = classifier.predict(VOICE)
        assert f"<span class='se-share'>{100 * (expected.confidence or 0):.0f} %</span>" in answer(page)
        assert page.query_params.get("model", [name]) in (name, [name])  # the first is the default
        assert f'ser.load("{name}")' in page.code[0].value
        address = "/api/predict" if name == "first" else "/api/second/predict"
        assert page.code[1].value.splitlines()[0].endswith(address)
        assert not page.exception
    assert len(page.session_state["session"].analyses) == 2  # the first model's answer was kept


def test_a_profile_belongs_to_its_model(models: list[Classifier]) -> None:
    page = visit()
    assert any("The model first does not support profiles" in one.value for one in page.info)
    page.selectbox(key="model").set_value("second").run()
    page.audio_input(key="enrolment-0").set_value(("me.wav", ME, "audio/wav")).run()
    press(page, "Make my profile")
    state = page.session_state["session"]
    tuned = models[1].predict(VOICE, profile=state.profiles["second"])
    assert f"<span class='se-share'>{100 * (tuned.confidence or 0):.0f} %</span>" in answer(page)
    page.selectbox(key="model").set_value("first").run()
    assert state.profile is None
    assert (
        f"<span class='se-share'>{100 * (models[0].predict(VOICE).confidence or 0):.0f} %</span>"
        in answer(page)
    )
    page.selectbox(key="model").set_value("second").run()
    assert f"<span class='se-share'>{100 * (tuned.confidence or 0):.0f} %</span>" in answer(page)
    press(page, "Forget it")
    assert state.profiles == {}
    assert {(key.model, key.profile) for key in state.analyses} == {("first", ""), ("second", "")}
    assert not page.exception


def test_each_model_has_routes_of_its_own(models: list[Classifier]) -> None:
    routes = runpy.run_path(str(APP / "app.py"))["routes"]
    with served(Starlette(routes=routes)) as server:
        for path, classifier in (("/api", models[0]), ("/api/second", models[1])):
            status, found, _ = server.post(f"{path}/predict", VOICE)
            assert (status, found["model_sha256"]) == (200, classifier.info.sha256)
            assert found["probabilities"] == dict(classifier.predict(VOICE).probabilities)
            with server.websocket(f"{path}/stream") as line:
                line.send(json.dumps({"sample_rate": 16_000, "format": "f32le"}))
                assert json.loads(line.recv(timeout=10))["model"] == classifier.info.name


@pytest.mark.parametrize(
    ("base", "default", "other"), [("", "/api", "/api/second"), ("/a/b/", "/a/b/api", "/a/b/api/second")]
)
def test_routes_lie_below_the_path_of_the_page(
    models: list[Classifier], monkeypatch: pytest.MonkeyPatch, base: str, default: str, other: str
) -> None:
    monkeypatch.setattr(shared.st, "get_option", {"server.baseUrlPath": base}.__getitem__)
    assert (shared.route("first"), shared.route("second")) == (default, other)
