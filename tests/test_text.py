"""Cells that no spreadsheet runs, and that come back as they were."""

import pytest

from speech_emotion.text import guard, unguard


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1.wav", "@sum", "'=1", "'", "'quoted'"])
def test_what_may_be_a_formula_is_guarded_and_comes_back(text: str) -> None:
    assert guard(text) == f"'{text}"
    assert unguard(guard(text)) == text


@pytest.mark.parametrize("text", ["", "a=1", "03-01.wav", "it's", "1+1"])
def test_the_rest_stays_as_it_is(text: str) -> None:
    assert guard(text) == unguard(text) == text
