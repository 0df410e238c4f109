"""Text that no spreadsheet runs and no terminal obeys, and that comes back as it was."""

import pytest

from speech_emotion.text import guard, printable, unguard, valid_unicode


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1.wav", "@sum", "'=1", "'", "'quoted'"])
def test_what_may_be_a_formula_is_guarded_and_comes_back(text: str) -> None:
    assert guard(text) == f"'{text}"
    assert unguard(guard(text)) == text


@pytest.mark.parametrize("text", ["", "a=1", "03-01.wav", "it's", "1+1"])
def test_the_rest_stays_as_it_is(text: str) -> None:
    assert guard(text) == unguard(text) == text


def test_a_terminal_is_not_steered() -> None:
    assert printable("a\x1b[2Jb\nc\udc80 ä") == r"a\x1b[2Jb\nc\udc80 ä"


def test_json_can_hold_the_name_of_any_file() -> None:
    assert valid_unicode("a\udc80 ä\n") == "a\\udc80 ä\n"
