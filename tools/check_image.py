"""Make what deploy/Dockerfile describes without a container engine, and check it. Needs Linux, root and debootstrap.

    apt-get install debootstrap
    python tools/check_image.py [--bind /etc/ssl/certs] [--work FOLDER]

In: the Dockerfile; a Debian with its Python, made by debootstrap, stands for the image python:3.11-slim.
Out: the size, and whether everything holds that the Dockerfile promises: an error says what does not. `--bind` lends a
path of this machine to the build, such as the certificates of a package index of its own; PIP_* is passed on.
"""

import argparse
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_MB = 400
PORT = 8765
KEY = "the key of this check, long enough"
ANSWER = "angry"  # of the default model on demo-low.flac


@dataclass
class Stage:
    """The root folder of an image, and what its instructions have set so far."""

    root: Path
    env: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
    )
    user: str = "0"
    volumes: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--bind", action="append", default=[], metavar="PATH", help="lend a path to the build"
    )
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/speech-emotion-image"))  # noqa: S108 - of root
    arguments = parser.parse_args()
    image = build(base(arguments.work / "base"), arguments.work, arguments.bind)
    check_files(image)
    check_service(image)


def base(folder: Path) -> Path:
    """A Debian with Python, kept for the next time."""
    if not (folder / "usr/bin/python").exists():
        shutil.rmtree(folder, ignore_errors=True)
        packages = "--include=python3,python3-venv,ca-certificates"
        run("debootstrap", "--variant=minbase", packages, "bookworm", str(folder))
        (folder / "usr/bin/python").symlink_to("python3")
        left_out = (
            "var/cache/apt",
            "var/lib/apt/lists",
            "usr/share/doc",
            "usr/share/locale",
            "usr/share/man",
        )
        for path in left_out:  # as in the image
            shutil.rmtree(folder / path)
    return folder


def build(origin: Path, work: Path, lent: list[str]) -> Stage:
    """Follow the Dockerfile to its last stage."""
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    stages: dict[str, Stage] = {}
    stage = Stage(origin)
    for line in filter(None, lines):
        instruction, _, rest = line.partition(" ")
        print(f"{instruction} {' '.join(rest.split())}", flush=True)
        if instruction == "FROM":
            name = rest.partition(" AS ")[2] or "image"
            stage = stages[name] = Stage(work / name)
            shutil.rmtree(stage.root, ignore_errors=True)
            run("cp", "-a", str(origin), str(stage.root))
        elif instruction == "COPY":
            copy(stage, stages, shlex.split(rest))
        elif instruction == "RUN":
            with lent_to(stage.root, lent):
                passed_on = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
                run("chroot", str(stage.root), "/bin/sh", "-ec", rest, env=stage.env | passed_on)
        else:
            note(stage, instruction, rest)
    return stage


def copy(stage: Stage, stages: dict[str, Stage], words: list[str]) -> None:
    """COPY [--from=STAGE] SOURCE … DESTINATION. A folder is copied by what is in it."""
    origin = ROOT
    if words[0].startswith("--from="):
        origin = stages[words.pop(0).removeprefix("--from=")].root
    *sources, destination = words
    target = stage.root / destination.lstrip("/")
    for source in sources:
        path = origin / source.lstrip("/")
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            run("cp", "-a", f"{path}/.", str(target))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def note(stage: Stage, instruction: str, rest: str) -> None:
    """What holds from here on, or for the container."""
    if instruction in ("ARG", "ENV"):
        for word in shlex.split(rest):
            name, _, value = word.partition("=")
            stage.env[name] = value.replace("$PATH", stage.env["PATH"])
    elif instruction == "USER":
        stage.user = rest
    elif instruction == "VOLUME":
        stage.volumes.append(rest)
    elif instruction == "HEALTHCHECK":
        stage.health = json.loads(rest.partition("CMD")[2])
    elif instruction == "ENTRYPOINT":
        stage.entrypoint = json.loads(rest)
    elif instruction != "EXPOSE":
        raise SystemExit(f"this program does not know the instruction {instruction}")


@contextmanager
def lent_to(root: Path, paths: list[str]) -> Iterator[None]:
    """Paths of this machine inside of `root`; the network's names and certificates go there with them."""
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    targets = [root / path.lstrip("/") for path in paths]
    for path, target in zip(paths, targets, strict=True):
        target.mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", path, str(target))
    try:
        yield
    finally:
        for target in targets:
            run("umount", str(target))


def run(*command: str, env: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=env)


def check_files(image: Stage) -> None:
    """Size, bytecode, and what must not be there."""
    size = int(subprocess.check_output(["du", "-sxm", str(image.root)], text=True).split()[0])
    own = int(subprocess.check_output(["du", "-sxm", f"{image.root}/opt"], text=True).split()[0])
    print(f"size: {size} MB, of which {own} MB are the service with its Python packages")
    require(size <= MAX_MB, f"more than {MAX_MB} MB")
    packages = next((image.root / "opt/speech-emotion/lib").glob("python3*/site-packages"))
    found = {path.name for path in packages.iterdir()}
    require("av" in found, "FFmpeg (av) is missing")
    require(not found & {"torch", "pip", "streamlit"}, "there is a package that the service does not need")
    sources = list(packages.rglob("*.py"))
    tag = f"cpython-{packages.parent.name.removeprefix('python').replace('.', '')}"
    plain = [
        path for path in sources if not (path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc").exists()
    ]
    print(
        f"bytecode: {len(sources) - len(plain)} of {len(sources)} files; without: {[str(p) for p in plain[:5]]}"
    )
    require(not [path for path in plain if "speech_emotion" in path.parts], "the service is not compiled")
    require(image.user not in ("", "0", "root"), "it runs as root")


def check_service(image: Stage) -> None:
    """Refuse without a key; answer with one, on a read-only root, without rights; end when told to."""
    done = subprocess.run(
        inside(image, image.entrypoint), capture_output=True, text=True, timeout=300, check=False
    )
    require(done.returncode and "no key" in done.stderr, f"it starts without a key: {done}")
    image.env["SPEECH_EMOTION_API_KEY"] = KEY
    process = subprocess.Popen(
        inside(image, [*image.entrypoint, "--port", str(PORT)]), start_new_session=True
    )
    try:
        started = time.monotonic()
        healthy = [word.replace(":8000/", f":{PORT}/") for word in image.health]
        while subprocess.run(inside(image, healthy), capture_output=True, check=False).returncode:
            require(process.poll() is None and time.monotonic() - started < 300, "it does not become healthy")
            time.sleep(1)
        sound = (ROOT / "src/speech_emotion/assets/demo-low.flac").read_bytes()
        require(ask(sound, {}) == (401, "key_missing"), "it answers without a key")
        status, label = ask(sound, {"Authorization": f"Bearer {KEY}"})
        require((status, label) == (200, ANSWER), f"it answered {status}, {label}")
        os.killpg(process.pid, signal.SIGTERM)
        require(process.wait(60) in (0, -signal.SIGTERM), "it does not end")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    print(
        "the service: healthy, refuses without a key, answers with one, ends at SIGTERM; read-only root, not root"
    )


def inside(image: Stage, command: list[str]) -> list[str]:
    """`command` as the user of the image, on a read-only root; only volumes can be written."""
    root = shlex.quote(str(image.root))
    mounts = f"mount --bind {root} {root} && mount -o remount,bind,ro {root} && mount --rbind /dev {root}/dev"
    mounts += f" && mount -t proc proc {root}/proc"
    for volume in image.volumes:
        mounts += f" && mount -t tmpfs -o uid={image.user} tmpfs {root}{volume}"
    variables = " ".join(shlex.quote(f"{name}={value}") for name, value in image.env.items())
    drop = f"setpriv --reuid={image.user} --regid={image.user} --clear-groups --no-new-privs --inh-caps=-all"
    line = f"exec chroot {root} {drop} --bounding-set=-all env -i {variables} {shlex.join(command)}"
    return ["unshare", "--mount", "sh", "-ec", f"{mounts} && {line}"]


def ask(sound: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """The status of an answer, and its label or its code."""
    line = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    line.request("POST", "/v1/predict", sound, headers)
    with closing(line), line.getresponse() as answer:
        document = json.load(answer)
    return answer.status, document["label"] if answer.status == 200 else document["code"]


def require(holds: bool, message: str) -> None:
    if not holds:
        raise SystemExit(f"NOT SO: {message}")


if __name__ == "__main__":
    main()
