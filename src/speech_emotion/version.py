"""The version of this package, which the build reads from here, and the commit of its source tree."""

from functools import cache

__version__ = "0.1.0"
PROGRAM = f"speech-emotion {__version__}"  # how files name what wrote them


@cache
def commit() -> str | None:
    """The commit of this source tree, with "+changes" where files differ from it; None outside of a checkout.

    The first answer is kept: a long run names the code that it started with.
    """
    import subprocess
    from pathlib import Path

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603

    try:
        git(
            "ls-files", "--error-unmatch", Path(__file__).name
        )  # not a repository that happens to be around us
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
