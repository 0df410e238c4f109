"""What speaker profiles gain. In: files of results/enrolled. Out: the page profiles.md."""

from collections.abc import Sequence
from typing import Final

from speech_emotion.evaluation.enrolment import Enrolled, Outcome
from speech_emotion.evaluation.report.tables import heading, points, source, table

_EXPLANATION: Final = (
    "With a profile of the tested speaker, made of their own recordings without labels: **not to be compared** with "
    "scores that use no sound of the tested speaker. Percent, and points for the speakers' own UAR with a profile "
    "minus without. Speakers with less speech than a profile asks for enrol with all of it; those with less than 10 s "
    "answer without one: 'profiles' says how many were made, and the scores are of all speakers. 'UAR, other clips' "
    "and 'without profile' are over the clips that the speaker's profile was not made of. The profile of other people, "
    "who are tested by the same model, is one of the place: its people, microphones and rooms."
)
_HEADER: Final = (
    *("profile", "profiles", "UAR", "ECE", "gain by speaker", "better, worse for"),
    *("UAR, other clips", "without profile"),
)
_AMONG_SPOKEN: Final = "UAR, likeliest of the corpus's own emotions"


def page(measured: Sequence[Enrolled]) -> str:
    """One part per file."""
    lines = ["# Speaker profiles", "", _EXPLANATION, ""]
    for found in measured:
        outcomes = list(found.ways.values())
        extra = (_AMONG_SPOKEN,) if outcomes[0].uar_among_spoken else ()
        lines += [f"## {heading(found)}", "", *table((*_HEADER, *extra), map(_row, outcomes)), ""]
        lines += source(found.support, found.commit, found.command)
    return "\n".join(lines)


def _row(outcome: Outcome) -> tuple[str, ...]:
    both = (outcome.uar_unheard, outcome.plain_unheard)
    others = (f"{100 * value:.1f}" if value else "–" for value in both)
    gain, counts = "–", "–"
    if found := outcome.difference:
        gain, counts = points(found), f"{found.n_better}, {found.n_worse} of {found.n_speakers}"
    among_spoken = [str(outcome.uar_among_spoken)] if outcome.uar_among_spoken else []
    scores = (outcome.title, str(outcome.n_profiles or "–"), str(outcome.uar), str(outcome.ece))
    return (*scores, gain, counts, *others, *among_spoken)
