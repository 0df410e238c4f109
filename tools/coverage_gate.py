"""Refuse a test run that leaves branches of the modules that guard data, or measure, untried.

In: the JSON that `pytest --cov-branch --cov-report=json:FILE` wrote. Out: a line a module; exit 0 or 1.
"""

import json
import sys
from pathlib import Path
from typing import Any

FLOOR = 95.0  # per cent of the branches
GUARDS = (
    "src/speech_emotion/audio/reader.py",
    "src/speech_emotion/audio/quality.py",
    "src/speech_emotion/audio/containers.py",
    "src/speech_emotion/audio/decoders.py",
    "src/speech_emotion/model.py",
    "src/speech_emotion/model_info.py",
    "src/speech_emotion/profile.py",
    "src/speech_emotion/server/http.py",
    "src/speech_emotion/server/websocket.py",
    "src/speech_emotion/server/scheduling.py",
    "src/speech_emotion/corpora/prepare.py",
    "src/speech_emotion/files.py",
    "src/speech_emotion/degrade.py",
    "src/speech_emotion/evaluation/audit/fingerprint.py",
    "src/speech_emotion/evaluation/audit/ravdess.py",
    "src/speech_emotion/evaluation/audit/rules.py",
    "src/speech_emotion/evaluation/audit/table.py",
    "src/speech_emotion/evaluation/answers.py",
    "src/speech_emotion/evaluation/enrolment.py",
    "src/speech_emotion/evaluation/metrics.py",
    "src/speech_emotion/evaluation/report/confidence.py",
    "src/speech_emotion/evaluation/report/honesty_ladder.py",
    "src/speech_emotion/evaluation/report/page.py",
    "src/speech_emotion/evaluation/report/plots.py",
    "src/speech_emotion/evaluation/report/systems.py",
    "src/speech_emotion/evaluation/result.py",
    "src/speech_emotion/evaluation/splits.py",
    "src/speech_emotion/training/fit/checkpoint.py",
)


def branch_coverage(files: dict[str, Any], file: str) -> float:
    """Per cent of the branches of `file` that were taken; 0 when it was never imported."""
    if file not in files:
        return 0.0
    summary = files[file]["summary"]
    n_branches, n_taken = summary["num_branches"], summary["covered_branches"]
    return 100.0 * n_taken / n_branches if n_branches else 100.0


def main(report: Path) -> int:
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    scores = {file: branch_coverage(files, file) for file in GUARDS}
    for file, score in scores.items():
        print(f"{score:6.1f} %  {file}" + ("" if score >= FLOOR else f"  is below {FLOOR:.0f} %"))
    return int(min(scores.values()) < FLOOR)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
