"""Everything that is checked, made or measured here, one session each: `nox --list`, or `python3 dev.py nox --list`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PRESENT = f"{sys.version_info[0]}.{sys.version_info[1]}"
PYTHONS = list(dict.fromkeys(["3.11", "3.12", "3.13", PRESENT]))
DISTRIBUTIONS = ["core", "sql", "redis", "cache", "celery", "cli"]
EXTRAS = {"core": "[testing]", "sql": "[postgresql,mysql]", "cache": "[django,memcached]"}
SOURCES = [f"packages/triggers-{name}/src" for name in DISTRIBUTIONS]
MAIN_STORES = ["core", "sql", "redis", "cli"]
EVENT_LOG = "TRIGGERS_EVENTLOG"
GREENLETS = "tests/simulator"
MINIMUM_BRANCH_COVERAGE = 96.5
"""97 are aimed at; processes that tests kill take some of what they covered with them, by chance."""

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typing", "tests"]


def find_pythons() -> dict[str, str]:
    """The interpreters of this machine by version; puts those that only pyenv knows on PATH."""
    found: dict[str, str] = {}
    for version in PYTHONS:
        candidates = [shutil.which(f"python{version}") or ""]
        root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
        kept = [path for path in root.glob(f"versions/{version}.*/bin/python{version}") if path.is_file()]
        kept.sort(key=lambda path: [int(part) for part in path.parts[-3].split(".") if part.isdigit()], reverse=True)
        for candidate in [*candidates, *map(str, kept)]:
            # pyenv's stub on PATH answers for every version and runs only the active ones: only running it tells.
            if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
                found[version] = candidate
                break
    folders = [str(Path(path).parent) for path in found.values()]
    selected = [path.parts[-3] for path in map(Path, found.values()) if "versions" in path.parts]
    if selected and "PYENV_VERSION" not in os.environ:
        os.environ["PYENV_VERSION"] = ":".join([active_pyenv_version(), *selected]).strip(":")
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *dict.fromkeys(folders)])
    return found


def active_pyenv_version() -> str:
    """What pyenv runs as plain `python3` at present, which adding versions must not change."""
    pyenv = shutil.which("pyenv")
    if not pyenv:
        return ""
    answer = subprocess.run([pyenv, "version-name"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""


FOUND = find_pythons()
MAIN = next((version for version in PYTHONS if version in FOUND), PRESENT)


def group(*names: str) -> list[str]:
    """The requirements of dependency groups of pyproject.toml."""
    return list(nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), *names))


def install(session: nox.Session, *groups: str, distributions: list[str] | None = None) -> None:
    """Our distributions, editable and with their extras, and the groups, all as pinned."""
    editable: list[str] = []
    for name in DISTRIBUTIONS if distributions is None else distributions:
        editable += ["-e", f"packages/triggers-{name}{EXTRAS.get(name, '')}"]
    session.install("-c", "constraints.txt", *editable, *group(*groups), silent=True)


@nox.session(python=MAIN)
def lint(session: nox.Session) -> None:
    """Style, formatting, and the contracts that say who may import whom."""
    install(session, "lint", distributions=["core"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")


@nox.session(python=MAIN)
def typing(session: nox.Session) -> None:
    """mypy, strict: the sources with the testing kit, the tools of this repository, then each distribution's tests."""
    install(session, "typing")
    session.run("mypy", *SOURCES, "tests", "dev.py", "noxfile.py", "benchmarks", "docs/conftest.py", "docs/generate.py")
    for name in DISTRIBUTIONS:
        tests = ROOT / f"packages/triggers-{name}/tests"
        if any(tests.glob("*.py")):
            session.run("mypy", str(tests.relative_to(ROOT)), env={"MYPYPATH": str(tests)})
    for example in sorted((ROOT / "examples").glob("*/main.py")):
        session.run(
            "mypy", str(example.parent.relative_to(ROOT)), env={"MYPYPATH": f"{example.parent}:{ROOT / 'examples' / 'eventlog'}"}
        )


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests but the kinds that have a session of their own, on one Python; on the others the core and the main stores."""
    install(session, "test")
    chosen = "not faults and not packaging and not eventlog"
    arguments = [*workers(session), "-m", chosen, *session.posargs]
    if session.python != MAIN and not session.posargs:
        narrower = [*workers(session), "-m", f"{chosen} and not slow", *(f"packages/triggers-{name}" for name in MAIN_STORES)]
        session.run("python", "-m", "pytest", *narrower)
        return
    if session.posargs:
        session.run("python", "-m", "pytest", *arguments)
        return
    session.run("coverage", "erase")
    # Processes that tests start in folders of their own measure into the same place.
    measured = {"COVERAGE_FILE": str(ROOT / ".coverage")}
    session.run("coverage", "run", "-m", "pytest", *arguments, f"--ignore={GREENLETS}", env=measured)
    # By themselves: where threads end that were measured as greenlets, Python 3.11 can run in a circle for ever.
    greenlets = ["--concurrency=greenlet,thread", "-m", "pytest", *arguments, GREENLETS]
    session.run("coverage", "run", *greenlets, env=measured)
    # Processes that tests kill leave half a file, which is left out with a complaint.
    session.run("coverage", "combine", "--quiet", success_codes=[0, 1])
    session.run("coverage", "report")
    check_branches(session)


def workers(session: nox.Session) -> list[str]:
    """Arguments that spread tests over the cores, unless the caller says how."""
    if any(argument.startswith(("-n", "--numprocesses")) for argument in session.posargs):
        return []
    return ["-n", str(min(8, max(2, os.cpu_count() or 1))), "--dist", "worksteal"]


def check_branches(session: nox.Session) -> None:
    """Fails below the minimum for the core's branches; lines alone would flatter."""
    summary = Path(session.create_tmp()) / "coverage.json"
    session.run("coverage", "json", "--quiet", "-o", str(summary), silent=True)
    totals = json.loads(summary.read_text(encoding="utf-8"))["totals"]
    percent = 100 * totals["covered_branches"] / totals["num_branches"]
    session.log(f"branches of the core: {percent:.1f} % of {totals['num_branches']}")
    if percent < MINIMUM_BRANCH_COVERAGE:
        session.error(f"at least {MINIMUM_BRANCH_COVERAGE} % are asked for")


@nox.session(python=MAIN, reuse_venv=False)
def lowest(session: nox.Session) -> None:
    """The distributions' own tests on the lowest versions that their metadata allow."""
    ours = [part for name in DISTRIBUTIONS for part in ("-e", f"packages/triggers-{name}{EXTRAS.get(name, '')}")]
    session.install("--resolution", "lowest-direct", *ours, silent=True)
    # These leave alone what is there already.
    session.install("-c", "constraints.txt", *group("test-tools"), silent=True)
    chosen = "not faults and not packaging and not eventlog and not slow"
    tested = [f"packages/triggers-{name}" for name in ("core", "sql", "redis", "celery")]
    session.run("python", "-m", "pytest", *workers(session), "-m", chosen, *tested, *session.posargs)


@nox.session(python=MAIN)
def packaging(session: nox.Session) -> None:
    """Builds each wheel and installs it alone into a clean environment: it works with what it declares."""
    install(session, "test", distributions=["core"])
    session.run("python", "-m", "pytest", "-m", "packaging", "tests/packaging", "tests/third_party", *session.posargs)


@nox.session(python=MAIN)
def docs(session: nox.Session) -> None:
    """The manual: its code runs, page by page, and it builds; a warning is an error."""
    install(session, "docs", "test")
    session.run("python", "-m", "pytest", "docs", "-n", "0")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-E", "-b", "html", "docs", "docs/_build/html", *session.posargs)
    session.log("the manual: docs/_build/html/index.html")


@nox.session(python=MAIN)
def faults(session: nox.Session) -> None:
    """Processes killed, servers stopped, connections cut."""
    install(session, "test")
    session.run("python", "-m", "pytest", "-m", "faults", *session.posargs)


@nox.session(python=MAIN)
def eventlog(session: nox.Session) -> None:
    """The event log example on a whole log: the one that TRIGGERS_EVENTLOG names, or a generated one."""
    install(session, "test")
    session.log(f"event log: {os.environ.get(EVENT_LOG) or 'generated'}")
    session.run("python", "-m", "pytest", "-m", "eventlog", *session.posargs)


@nox.session(python=MAIN)
def bench(session: nox.Session) -> None:
    """All measurements side by side in one run."""
    install(session, "test", "bench")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session(python=MAIN)
def demo(session: nox.Session) -> None:
    """The questionnaire, on the core and SQLite alone."""
    install(session, distributions=["core", "sql"])
    session.run("python", "examples/questionnaire/main.py", *session.posargs)


@nox.session(python=MAIN)
def lock(session: nox.Session) -> None:
    """Writes constraints.txt anew, with the newest versions that fit; nothing of it names a host or a folder."""
    session.install("uv")
    session.run("uv", "lock", "--upgrade")
    everything = ["--all-packages", "--all-extras", "--all-groups", "--no-emit-workspace"]
    form = ["--no-hashes", "--no-annotate", "--no-header", "--quiet"]
    session.run("uv", "export", *everything, *form, "-o", "constraints.txt", silent=True)
