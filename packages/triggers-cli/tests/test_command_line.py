"""The command line as a whole: help, unknown commands, plugins, completion, imports, closed pipes, Ctrl-C."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pexpect
import pytest

from calling import Call, environment, in_terminal
from triggers.hooks import get_hooks, hookimpl
from triggers_cli.frame import command_line

COMMANDS = sorted(command_line.commands)
PLUGIN = """
import click
from triggers.hooks import hookimpl

@click.command()
@click.argument("name", default="world")
def greet(name):
    "Greet somebody."
    click.echo(f"hello {name}")

@hookimpl
def triggers_cli_commands():
    return [greet]
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_without_marks(command: Call, name: str) -> None:
    """``--help`` of every command says what it does, keeps the lines of its examples, and needs no readable settings."""
    Path("triggers.toml").write_text("no toml")
    answer = command(name, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"Usage: triggers {name}")
    assert "\\b" not in answer.out
    assert "\b" not in answer.out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_json_has_a_documented_shape(command: Call, name: str) -> None:
    """The help of a command with --json says what it prints."""
    text = command(name, "--help").out
    assert ("--json" in text) == ("JSON: " in text)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_has_examples(command: Call, name: str) -> None:
    """Of this command, under the word."""
    lines = command(name, "--help").out.splitlines()
    (begin,) = [number for number, line in enumerate(lines) if line.strip() in ("Example:", "Examples:")]
    examples = lines[begin + 1 : lines.index("", begin)]
    assert examples
    assert all("triggers " in example and name in example.split() for example in examples)


def test_the_help_lists_examples_line_by_line_and_exit_codes(command: Call) -> None:
    """The group's own help too."""
    lines = command("--help").out.splitlines()
    assert "    triggers doctor" in lines
    assert "    3    the storage does not answer" in lines
    assert {line.split()[0] for line in lines[lines.index("Commands:") + 1 :] if line} == set(COMMANDS)


@pytest.mark.parametrize("typed, answer", [("explian", "Did you mean 'explain'?"), ("xyzzy", "'triggers --help' lists them")])
def test_an_unknown_command_is_wrong_use(command: Call, typed: str, answer: str) -> None:
    """And the nearest one is named."""
    said = command(typed)
    assert said.code == 2
    assert f"There is no command {typed!r}. {answer}" in said.err


class Useful:
    """A plugin with a command."""

    @hookimpl
    def triggers_cli_commands(self) -> object:
        @click.command()
        def useful() -> None:
            """Do what the team needs."""
            click.echo("done")

        @click.command("show")
        def shadow() -> None:
            """Stand in the way of show."""

        return useful, shadow


class Broken:
    """A plugin that fails."""

    @hookimpl
    def triggers_cli_commands(self) -> object:
        raise OSError("no disk")


@pytest.fixture
def plugins() -> Iterator[None]:
    """Both registered in this process."""
    registered = [Useful(), Broken()]
    for plugin in registered:
        get_hooks().register(plugin, type(plugin).__name__)
    yield
    for plugin in registered:
        get_hooks().unregister(plugin)


@pytest.mark.usefixtures("plugins")
def test_plugins_add_commands_and_a_broken_one_is_one_line(command: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's command is listed and runs; one that raises or takes a name is warned of, once, without a traceback."""
    monkeypatch.setattr("triggers_cli.added._warned", set())
    answer = command("useful")
    assert (answer.code, answer.out) == (0, "done\n")
    assert sorted(answer.err.splitlines()) == [
        "warning: plugin 'Broken' gives no commands: OSError: no disk",
        "warning: plugin 'Useful' has a command 'show', which is there already; it is left out",
    ]
    listed = command("--help")
    assert "useful" in listed.out
    assert "Do what the team needs." in listed.out
    assert "Stand in the way" not in command("show", "--help").out


def test_plugins_of_installed_distributions(tmp_path: Path) -> None:
    """Entry points: one that works beside one that cannot be imported, which is one line."""
    (tmp_path / "greeting.py").write_text(PLUGIN)
    about = tmp_path / "greeting-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[triggers.plugins]\ngreeting = greeting\nlost = not_there_at_all\n")
    greeted = subprocess.run(
        [sys.executable, "-m", "triggers_cli", "greet", "you"],
        cwd=tmp_path, env=environment(tmp_path, PYTHONPATH=str(tmp_path)),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (greeted.returncode, greeted.stdout) == (0, "hello you\n")
    (warning,) = greeted.stderr.splitlines()
    assert warning.startswith("warning: plugin 'lost' cannot be loaded: ModuleNotFoundError")


@pytest.mark.parametrize("shell, mark", [("bash", "complete "), ("zsh", "compdef "), ("fish", "complete ")])
def test_completion_prints_the_script(command: Call, shell: str, mark: str) -> None:
    """For the shells that people use."""
    answer = command("completion", shell)
    assert answer.code == 0
    assert mark in answer.out
    assert "_TRIGGERS_COMPLETE" in answer.out


def test_the_scripts_are_scripts(command: Call, tmp_path: Path) -> None:
    """Bash reads what it is given."""
    (tmp_path / "complete.sh").write_text(command("completion", "bash").out)
    assert subprocess.run(["bash", "-n", "complete.sh"], cwd=tmp_path, check=False).returncode == 0


@pytest.mark.parametrize(
    "words, answers",
    [
        ("triggers expl", ["plain,explain"]),
        ("triggers sessions --status f", ["plain,failed", "plain,finalized"]),
        ("triggers fire --from l", ["file,l"]),
        ("triggers configure s1 l", ["file,l"]),
    ],
)
def test_the_shell_asks_and_gets_words(tmp_path: Path, words: str, answers: list[str]) -> None:
    """What the script calls answers with the commands and values that begin like this, or says that a file is meant."""
    place = str(len(words.split()) - 1)
    asked = subprocess.run(
        [sys.executable, "-m", "triggers_cli"],
        cwd=tmp_path, env=environment(tmp_path, _TRIGGERS_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=place),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert asked.stdout.split() == answers


@pytest.mark.parametrize("arguments", [["--help"], ["schema"], ["completion", "bash"], ["graph", "t.json"], ["lint", "t.json"]])
def test_what_needs_no_backend_imports_none(tmp_path: Path, arguments: list[str]) -> None:
    """These stay quick: no backend, no plugins, no library for tables."""
    (tmp_path / "t.json").write_text('{"t_a": {"after": ["a"], "run": "x"}}')
    program = (
        f"import sys; from triggers_cli.__main__ import run; run({arguments!r}); "
        "print(sorted({'sqlalchemy', 'redis', 'celery', 'django', 'pymemcache', 'pluggy', 'rich', 'yaml'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert answer.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", ["--help", "schema"])
def test_a_closed_pipe_ends_quietly(tmp_path: Path, arguments: str) -> None:
    """``| head`` is no error."""
    answer = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m triggers_cli {arguments} | true; echo ${{PIPESTATUS[0]}}"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (answer.stdout, answer.stderr) == ("0\n", "")


@pytest.mark.parametrize("table", ["sessions", "show s0"])
def test_a_closed_pipe_ends_a_table_quietly(tmp_path: Path, table: str) -> None:
    """Which is written by another library than lines are."""
    program = f"'{sys.executable}' -m triggers_cli --url sqlite:///mine.db"
    answer = subprocess.run(
        ["bash", "-c", f"{program} fire s0 a --yes >&2; {program} {table} | true; echo ${{PIPESTATUS[0]}}"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (answer.stdout, answer.stderr) == ("0\n", "recorded\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command_", ["schema", "completion bash", "doctor"])
def test_a_full_disk_is_one_line(tmp_path: Path, command_: str) -> None:
    """Of lines and of tables, whenever the system says so."""
    answer = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m triggers_cli {command_} > /dev/full; echo $?"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (answer.stdout, answer.stderr) == ("1\n", "error: [Errno 28] No space left on device\n")


@pytest.mark.parametrize(
    "arguments", ["completion bash", "show s0", "explain s0", "doctor", "fire --from rows.csv --yes", "retry-failed --dry-run"]
)
def test_without_standard_output(tmp_path: Path, arguments: str) -> None:
    """``>&-`` is no reason to fail, however a command writes."""
    (tmp_path / "rows.csv").write_text("uid,trigger\ns1,a\n")
    program = f"'{sys.executable}' -m triggers_cli"
    answer = subprocess.run(
        ["bash", "-c", f"{program} fire s0 a --yes >/dev/null; {program} {arguments} >&-; echo $?"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (answer.stdout, answer.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        ("fire s0 a", 2, "Nobody can answer, standard input is no terminal; give --yes"),
        ("fire --from - --yes", 1, "standard input is empty; its first line must name the columns"),
        ("configure s0 - --yes", 1, "a configuration is an object of tasks"),
        ("lint -", 1, ""),
        ("graph -", 1, "a configuration is an object of tasks"),
    ],
)
def test_without_standard_input(tmp_path: Path, arguments: str, code: int, says: str) -> None:
    """``<&-`` is an input with nothing in it, and nobody who could answer."""
    answer = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m triggers_cli {arguments} <&-; echo $?"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert answer.stdout.splitlines()[-1] == str(code)
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    "arguments",
    ["fire s1 a --yes", "fire --from rows.csv --processes 2 --yes", "lint tasks.json", "doctor", "show s1", "show nobody"],
)
def test_with_json_nothing_else_gets_to_standard_output(tmp_path: Path, arguments: str) -> None:
    """Neither what works and modules print, nor what processes that they start do; it goes to standard error."""
    (tmp_path / "triggers.toml").write_text('tasks = ["talking"]\n')
    (tmp_path / "talking.py").write_text(
        "import os, subprocess\n"
        "from triggers import task\n"
        "print('module')\n"
        "@task('talk')\n"
        "def talk(context):\n"
        "    print('work')\n"
        "    subprocess.run(['echo', 'child'], check=True)\n"
    )
    (tmp_path / "tasks.json").write_text('{"t": {"andEvery": "a", "run": "talk"}}')
    (tmp_path / "rows.csv").write_text("uid,trigger\ns1,a\n")
    program = f"'{sys.executable}' -m triggers_cli"
    answer = subprocess.run(
        ["bash", "-c", f"{program} configure s1 tasks.json --yes > ignored; {program} {arguments} --json"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert isinstance(json.loads(answer.stdout), dict) if answer.returncode == 0 else answer.stdout == ""
    if arguments.startswith("fire"):
        assert answer.stderr.splitlines() == ["module", "work", "child"]


def test_ctrl_c_during_a_question_is_one_line_and_130(tmp_path: Path) -> None:
    """Nothing is changed, and no traceback is shown."""
    terminal = pexpect.spawn(
        sys.executable, ["-m", "triggers_cli", "--storage", "memory", "fire", "s", "a"],
        cwd=str(tmp_path), env=environment(tmp_path), encoding="utf-8", timeout=60,
    )  # fmt: skip
    terminal.expect(r"fire 'a' in session 's'\?")
    terminal.expect(r"\[y/N\]: ")
    # A signal that comes just before readline begins to wait is only seen with the next key, so it may take another.
    for _ in range(30):
        terminal.sendintr()
        if terminal.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=2) == 0:
            break
    said = terminal.before
    terminal.close()
    assert terminal.exitstatus == 130
    assert said.replace("^C", "").split() == ["interrupted"]


def test_help_fits_forty_columns(tmp_path: Path) -> None:
    """In a real terminal, apart from examples, which must not be broken; what programs read is printed as it is."""
    commands = [["--help"], ["completion", "zsh"], ["schema"], ["shcema"]]
    help_, completion, schema, mistyped = in_terminal(tmp_path, commands, columns=40)
    assert [answer.code for answer in (help_, completion, schema, mistyped)] == [0, 0, 0, 2]
    assert "compdef" in completion.out
    assert schema.json()["$schema"].endswith("2020-12/schema")
    assert "Did you mean 'schema'?" in mistyped.out
    text = help_.out[help_.out.index("Options:") :]
    assert max(map(len, text.splitlines())) <= 40
