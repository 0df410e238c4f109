"""What the pages say must be so: files they link to, verbs they call, their tables, scores and outputs."""

import json
import math
import re
from pathlib import Path
from typing import Any

import about
import pytest
from integers import CLOSE
from typer.main import get_command
from typer.testing import CliRunner

import speech_emotion
from speech_emotion import corpora
from speech_emotion.cli import app
from speech_emotion.evaluation import splits
from speech_emotion.evaluation.report.published import SYSTEMS
from speech_emotion.evaluation.report.systems import parameters
from speech_emotion.evaluation.result import Result, read_result
from speech_emotion.server.problems import KINDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted((ROOT / "results").glob("*.md"))
ids = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("http")]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_exist(page: Path) -> None:
    called = set(
        re.findall(r"^(?:\$ )?speech-emotion ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    )
    verbs: Any = get_command(app)
    assert called <= set(verbs.list_commands(None))


def test_the_reference_documents_every_public_name() -> None:
    reference = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^::: speech_emotion\.(\w+)$", reference, re.MULTILINE))
    elsewhere = {"errors", "SpeechEmotionError", "__version__"}
    assert documented == set(speech_emotion.__all__) - elsewhere


def rows(page: str) -> dict[str, list[str]]:
    """The table rows of a page that begin with a name in backquotes: name → its other cells."""
    lines = re.findall(r"^\| `([\w-]+)` \|(.*)\|$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in lines}


def test_the_table_of_corpora_is_right() -> None:
    known = [corpora.get(name) for name in corpora.names()]
    assert {name: cells[1:] for name, cells in rows("docs/corpora.md").items()} == {
        corpus.name: [corpus.language, str(corpus.n_clips), str(corpus.n_speakers), corpus.licence]
        for corpus in known
    }


def test_the_table_of_protocols_is_right() -> None:
    known = [splits.protocol(name) for name in splits.names()]
    described = rows("docs/training.md")
    assert described.keys() == {protocol.name for protocol in known}.union(splits.SPANNING)
    assert {name for name, cells in described.items() if "LEAKY" in cells[1]} == {
        protocol.name for protocol in known if protocol.leaky
    }


README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", ["standard", "compact", "cnn", "baseline-lr"])
def test_the_readme_states_the_score_of_the_result_file(model: str) -> None:
    result = read_result(ROOT / f"results/ravdess-luna5-{model}.json")
    assert f"**{result.uar}**" in README


def test_the_summary_of_results_states_the_numbers_of_the_result_files() -> None:
    summary = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    assert len(summary.splitlines()) <= 80
    ours = re.findall(
        r"\(\.\./results/([\w-]+)\.md\)\*\* \| ([^|]+) \| ([^|]+) \| \*\*([^|]+)\*\* \|", summary
    )
    assert len(ours) == 8
    for stem, size, protocol, uar in ours:
        result = read_result(ROOT / f"results/{stem}.json")
        assert (size, protocol, uar) == (parameters(result), result.protocol, str(result.uar)), stem
    theirs = re.findall(r"^\| [^*|]+ \| ([^|]+) \| ([^|]+) \| ([\d.]+[^|]*) \|", summary, re.MULTILINE)
    published = {
        (one.parameters, one.protocol, one.accuracy[:4] if one.uar == "–" else one.uar) for one in SYSTEMS
    }
    assert len(theirs) == 6
    assert set(theirs) <= published


def test_the_page_on_limits_states_how_much_speech_is_refused() -> None:
    found = json.loads((ROOT / "results/benchmarks/speech-head.json").read_text())["false_abstention_percent"]
    page = (ROOT / "docs/limits.md").read_text(encoding="utf-8")
    windows, whole = (found["plain-speech"][kind] for kind in ("windows", "whole"))
    low, high = windows["ci95"]
    assert f"({windows['n']}) | **{windows['percent']:.1f} %** [{low:.1f}, {high:.1f}] |" in page
    assert f"({whole['n']}) | {whole['percent']:.0f} % |" in page
    low, high = found["EmoGator"]["windows"]["ci95"]
    assert f"**{found['EmoGator']['windows']['percent']:.1f} %** [{low:.1f}, {high:.1f}]" in page


def test_the_readme_states_the_headline_and_the_gap_between_the_sexes() -> None:
    summary, limits = (
        (ROOT / page).read_text(encoding="utf-8") for page in ("docs/results.md", "docs/limits.md")
    )
    standard, compact = (
        read_result(ROOT / f"results/ravdess-luna5-{name}.json") for name in ("standard", "compact")
    )
    assert f"**{standard.uar} %**" in README
    assert f"UAR {standard.uar} %" in summary
    assert "women's voices ({} %) than on men's ({} %)".format(*of_sexes(standard)) in " ".join(
        README.split()
    )
    assert "UAR {} against {} %".format(*of_sexes(compact)) in limits


def of_sexes(result: Result) -> tuple[str, str]:
    """UAR on women and men, in percent."""
    women, men = (f"{result.per_sex[sex].mean * 100:.1f}" for sex in ("female", "male"))
    return women, men


def test_the_pages_state_the_scores_on_unheard_corpora() -> None:
    pages = [README, (ROOT / "docs/results.md").read_text(encoding="utf-8")]
    page = (ROOT / "results/unheard.md").read_text(encoding="utf-8")
    of_dev_far = page[page.index("## dev-far") : page.index("## CORPUS-unheard")]
    for model in ("compact", "standard"):
        own = of_dev_far[of_dev_far.index(f"### {model}\n") :]
        mean = next(line for line in own.splitlines() if line.startswith("| **mean**"))
        among_four = mean.split("|")[2].strip(" *")
        assert all(f"{among_four}" in one for one in pages), model


def test_the_app_states_what_is_found_in_recordings_from_elsewhere() -> None:
    found = [
        json.loads((ROOT / f"results/enrolled/{name}-{name}-unheard-compact.json").read_text())["ways"]
        for name in ("nemo", "emotiontts-ko", "emospeech-in")
    ]
    plain, enrolled = (
        sorted(round(100 * ways[way]["uar"]["mean"]) for ways in found) for way in ("plain", "60s")
    )
    assert f"right {plain[0]} to {plain[-1]} times in 100" in about.ELSEWHERE["compact"]
    assert f"profile of the voice {enrolled[0]} to {enrolled[-1]} times" in about.ELSEWHERE["compact"]
    far = [read_result(path).uar.mean for path in (ROOT / "results").glob("*-dev-far-standard.json")]
    assert len(far) == 4
    assert f"right {100 * min(far):.0f} to {100 * max(far):.0f} times in 100" in about.ELSEWHERE["standard"]


def test_the_page_on_live_sound_states_the_delays_that_were_measured() -> None:
    cases = json.loads((ROOT / "results/benchmarks/live-delay.json").read_text())["cases"].values()
    page = " ".join((ROOT / "docs/live.md").read_text(encoding="utf-8").split())
    medians = {f"{case['median_ms'] / 1000:.2f}" for case in cases}
    assert len(medians) == 1
    within = math.ceil(max(case["p99_ms"] for case in cases) / 10) / 100
    assert f"{medians.pop()} s after the sound (median; 99 % within {within:.2f} s)" in page
    share = max(case.get("core_share_a_speaker", 0) for case in cases)
    assert f"{100 * share:.0f} % of a core" in page


def test_the_readme_shows_what_the_demo_prints() -> None:
    printed = CliRunner().invoke(app, ["predict", "--demo"]).stdout.splitlines()
    assert len(printed) == 3
    for line in printed:
        (shown,) = (one for one in README.splitlines() if one.endswith(line.split()[-1]))
        assert re.sub(r"0\.\d\d\b|[█░]", "", shown) == re.sub(r"0\.\d\d\b|[█░]", "", line.rstrip())
        numbers, expected = ([float(x) for x in re.findall(r"\d\.\d\d", one)] for one in (line, shown))
        assert numbers == pytest.approx(expected, abs=CLOSE)  # processors round differently


def test_the_quickstart_shows_what_info_prints() -> None:
    quickstart = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
    for arguments in (["info"], ["info", "compact"]):
        printed = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"}).stdout.splitlines()
        assert len(printed) > 8
        assert [line for line in printed if line[:80].rstrip() not in quickstart] == []


def test_the_page_on_scale_states_what_was_measured() -> None:
    page = " ".join((ROOT / "docs/scale.md").read_text(encoding="utf-8").split())
    measured = json.loads((ROOT / "results/benchmarks/batch.json").read_text())
    for row, found in {
        "`batch --workers 1`": measured["ways"]["pool-1"],
        "`batch --workers 2`": measured["ways"]["pool-2"],
        "`batch --engine ray --workers 1`": measured["ways"]["ray-1"],
        "`batch --engine ray --workers 2`": measured["ways"]["ray-2"],
        "in torch, one thread": measured["ways"]["loop"],
    }.items():
        core = f"{found['cpu_ms_per_file']:.1f} ms" if "cpu_ms_per_file" in found else "–"
        rates = f"{found['files_per_second']:.0f} | {found['audio_hours_per_hour']:.0f}"
        assert f"{row} | {rates} | {core} | {found['start_seconds']:.1f} s |" in page
    scaling = measured["two_workers_of_twice_one"]
    assert (
        f"did {100 * scaling['pool']:.0f} % of twice what one did, on Ray {100 * scaling['ray']:.0f} %"
        in page
    )
    core_seconds = measured["ways"]["pool-2"]["cpu_ms_per_file"] / 1000
    assert f"with compact these are {1e6 * core_seconds / 3600:.1f}, and the two cores" in page


@pytest.mark.parametrize("engine", ["pool", "ray"])
def test_the_page_on_scale_tells_of_the_batches_that_were_killed(engine: str) -> None:
    page = " ".join((ROOT / "docs/scale.md").read_text(encoding="utf-8").split())
    killed = json.loads((ROOT / f"results/benchmarks/batch-resume-{engine}.json").read_text())
    assert (killed["rows"], killed["missing"], killed["twice"], killed["broken"]) == (10_000, 0, 0, 100)
    assert sum(killed["errors"].values()) == killed["broken"]
    first, second = (run["parts"] for run in killed["runs"][:2])
    assert f"after {first} and after {second}" in page
    assert f"of {killed['runs'][0]['of']:.0f} parts" in page


def test_the_page_on_long_recordings_states_what_was_measured() -> None:
    page = (ROOT / "docs/long-recordings.md").read_text(encoding="utf-8")
    files = list((ROOT / "results/benchmarks").glob("long-recording-*.json"))
    tabled = [path for path in files if json.loads(path.read_text())["hours"] >= 10]
    assert tabled
    for path in tabled:
        found = json.loads(path.read_text())
        (row,) = (line for line in page.splitlines() if line.startswith("|") and path.name in line)
        slope = found["slope_mib_per_hour"]
        assert row.endswith(f"| {found['n_rows']:,} | {found['peak_mib']:.0f} MiB | {slope:+.2f} MiB |")
        assert found["peak_mib"] <= 250
        assert slope <= 1


def test_the_page_on_serving_names_every_refusal_with_its_status() -> None:
    page = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    stated = {
        code: int(status)
        for status, codes in re.findall(r"^\| (\d{3}) \| (.+) \|$", page, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", codes)
    }
    assert stated == {code: kind.status for code, kind in KINDS.items()}
