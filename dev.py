#!/usr/bin/env python3
"""The way in on a machine that has nothing but Python: runs the demo, the tests, or any nox session.

    python3 dev.py demo        the questionnaire: several processes answer it, and what came of it is checked
    python3 dev.py test        everything: lint, types, tests on each Python found here, manual, wheels, faults
    python3 dev.py test -- -k replay -x       only the tests, with arguments for pytest
    python3 dev.py nox -s lint typing         nox itself, with its own arguments

It needs the standard library alone. What else is needed (nox and uv, as pinned in constraints.txt) goes into `.dev/`,
which git ignores; the Python that runs this is never installed into. The first run takes some seconds, later ones none.
"""

# Python 3.8 must be able to load this file, to be told what it lacks or to hand over to a newer one.
from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent
FOLDER = ROOT / ".dev"
VENV = FOLDER / "venv"
STAMP = FOLDER / "complete"
CONSTRAINTS = ROOT / "constraints.txt"
TOOLS = ["nox", "uv"]
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
EVERYTHING = ["lint", "typing", "tests", "lowest", "docs", "packaging", "eventlog", "faults"]


class Unable(Exception):
    """What is missing on this machine, and what to do about it."""


def main(arguments: list[str]) -> int:
    """Does what the command line says and returns the exit status."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if command not in ("demo", "test", "nox"):
        print(f"dev.py: there is no command {command!r}; there are demo, test and nox", file=sys.stderr)
        return 2
    if sys.version_info < OLDEST:
        return hand_to_newer_python(arguments)
    try:
        prepare()
    except Unable as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1
    return run_nox(nox_arguments(command, rest))


def nox_arguments(command: str, rest: list[str]) -> list[str]:
    """What nox is called with for one of our commands."""
    if command == "nox":
        return rest
    own, separator, passed = partition(rest)
    if command == "demo":
        return ["--session", "demo", *(["--", *own, *passed] if own or passed else [])]
    sessions = ["tests"] if passed else EVERYTHING
    return ["--session", *sessions, *own, *separator, *passed]


def partition(arguments: list[str]) -> tuple[list[str], list[str], list[str]]:
    """The arguments before `--`, the `--` itself if it is there, and those after it."""
    if "--" not in arguments:
        return arguments, [], []
    place = arguments.index("--")
    return arguments[:place], ["--"], arguments[place + 1 :]


def hand_to_newer_python(arguments: list[str]) -> int:
    """Runs this file with a newer Python of this machine, or says that there is none."""
    for minor in range(OLDEST[1] + 10, OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # A name on PATH may be a version manager's stub that leads nowhere.
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return subprocess.run([found, str(Path(__file__).resolve()), *arguments], check=False).returncode
    wanted, here = ".".join(map(str, OLDEST)), ".".join(map(str, sys.version_info[:3]))
    print(f"dev.py: needs Python {wanted} or newer; this is {here}, and no newer one is on PATH", file=sys.stderr)
    return 1


def prepare() -> None:
    """Makes `.dev/` what constraints.txt says; does nothing where it already is."""
    FOLDER.mkdir(exist_ok=True)
    with only_one_at_a_time():
        wanted = fingerprint()
        if STAMP.is_file() and STAMP.read_text(encoding="utf-8") == wanted:
            return
        # Without its stamp the environment is half made, or made for something else: it is never mended, but made anew.
        STAMP.unlink(missing_ok=True)
        shutil.rmtree(VENV, ignore_errors=True)
        print(f"dev.py: installing {' and '.join(TOOLS)} into {VENV.relative_to(ROOT)} (once)", flush=True)
        make_environment()
        STAMP.write_text(wanted, encoding="utf-8")


@contextlib.contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Two calls at once do not build the same environment; the lock goes with the process that holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fingerprint() -> str:
    """Changes when the environment has to be made anew."""
    pins = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if line.split("==")[0] in TOOLS]
    parts = [*pins, sys.version, str(Path(sys.executable).resolve()), str(VENV)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make_environment() -> None:
    """A virtual environment with the tools in it, by whatever this machine offers for that."""
    requirements = ["--constraint", str(CONSTRAINTS), *TOOLS]
    python = str(BIN / "python")
    if has_venv():
        call([sys.executable, "-m", "venv", str(VENV)], "could not make a virtual environment")
        install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    elif uv := shutil.which("uv"):
        call([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)], "could not make a virtual environment")
        install = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise Unable(
            f"this Python ({sys.executable}) cannot make virtual environments: its modules venv and ensurepip are a"
            f" package of their own here.\n  On Debian and Ubuntu:  apt-get install python{version}-venv\n"
            "  Then run the same command again."
        )
    call([*install, *requirements], "could not install nox and uv; is the package index reachable?")


def has_venv() -> bool:
    """Whether this Python can make virtual environments that have pip."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return False
    return True


def call(command: list[str], complaint: str) -> None:
    """Runs a command to its end; what it says is shown."""
    # A PYTHONHOME or an active environment of the caller must not leak into the one that is made.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}
    if subprocess.run(command, check=False, env=environment).returncode:
        raise Unable(f"{complaint} (command: {' '.join(command)})")


def run_nox(arguments: list[str]) -> int:
    """Becomes nox, so that signals and the exit status are its own."""
    environment = dict(os.environ)
    environment.pop("VIRTUAL_ENV", None)
    environment["PATH"] = os.pathsep.join([str(BIN), environment.get("PATH", os.defpath)])
    trusted = ssl.get_default_verify_paths()
    if trusted.cafile or trusted.capath:
        # As pip does on most systems: where an organisation signs its own package index, only the system knows.
        environment.setdefault("UV_SYSTEM_CERTS", "true")
    command = [str(BIN / "python"), "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), *arguments]
    sys.stdout.flush()
    if os.name != "nt":
        os.execve(command[0], command, environment)
    return subprocess.run(command, check=False, env=environment).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\ndev.py: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `dev.py --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
