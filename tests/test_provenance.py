"""The commit that results and models name."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from speech_emotion.provenance import commit


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    answers = {"ls-files": "version.py", "status": "", "rev-parse": "0123456789ab"}

    def answer(command: list[str], **_: Any) -> Any:
        reply = answers.get(command[3])
        if reply is None:
            raise subprocess.CalledProcessError(128, command)
        return subprocess.CompletedProcess(command, 0, stdout=f"{reply}\n")

    monkeypatch.setattr(subprocess, "run", answer)
    commit.cache_clear()
    yield answers
    commit.cache_clear()


def test_the_commit_of_a_clean_tree(git: dict[str, str]) -> None:
    assert commit() == "0123456789ab"


def test_the_commit_of_a_changed_tree(git: dict[str, str]) -> None:
    git["status"] = " M fit.py"
    assert commit() == "0123456789ab+changes"


def test_outside_of_our_repository_there_is_no_commit(git: dict[str, str]) -> None:
    del git["ls-files"]
    assert commit() is None


def test_a_long_run_names_the_commit_it_started_from(git: dict[str, str]) -> None:
    before = commit()
    git["rev-parse"] = "fedcba987654"
    assert commit() == before
