"""``triggers lint``: every error with its line and place, in all formats; warnings; JSON; what people get wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from calling import Call, in_terminal
from triggers_cli.documents import read_document

YAML = """\
t_a:
  after: [x, 1, ""]
  afer: [y]   # a slip
  timeout: -3
t_b:
  after:
    - x
    - no
  run: x
  retry: {times: 0, dely: 3, jitter: 4}
t_c: 3
"""
JSON = """{
  "t_a": {"after": ["x",
      1,
      ""],
    "run": 7, "unless": "x"
  },
  "t_b": {"run": "x", "andEvery": "e", "unless": ["e"]},
  "t_a": {"after": ["x"], "run": "x", "run": "y"}
}"""
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (sign, sign, b",".join([b"*%c" % (sign - 1)] * 9)) for sign in b"bcdefghi"
)
"""Nine lines that stand for 400 million values."""
TOML = """\
# tasks
[t_a]
after = [
  "x",
  1,
]
run = "x"

[t_a.retry]
times = 2
delay = "long"

[t_b]
run = "x"
"""


@pytest.mark.parametrize(
    "name, text, expected",
    [
        (
            "w.yaml",
            YAML,
            [
                (1, "$.t_a", "'run' is missing"),
                (2, "$.t_a.after[1]", "must be a string, got 1"),
                (2, "$.t_a.after[2]", "must not be empty"),
                (3, "$.t_a.afer", "unknown directive 'afer', did you mean 'after'"),
                (4, "$.t_a.timeout", "expected seconds"),
                (10, "$.t_b.retry.times", "a whole number from 1"),
                (10, "$.t_b.retry.dely", "did you mean 'delay'"),
                (10, "$.t_b.retry.jitter", "expected true or false"),
                (11, "$.t_c", "a task is an object"),
            ],
        ),
        (
            "w.json",
            JSON,
            [
                (7, "$.t_b.unless", "is also the task's andEvery"),
                (8, "$.t_a", "the same key stands in line 2 already"),
                (8, "$.t_a.run", "the same key stands in line 8 already"),
            ],
        ),
        (
            "w.toml",
            TOML,
            [
                (5, "$.t_a.after[1]", "must be a string, got 1"),
                (11, "$.t_a.retry.delay", "expected seconds"),
                (13, "$.t_b", "name at least one trigger"),
            ],
        ),
    ],
)
def test_every_error_with_its_line_and_place(command: Call, name: str, text: str, expected: list[tuple[int, str, str]]) -> None:
    """All of them, in the order of lines, as a person and as a program reads them."""
    Path(name).write_text(text)
    answer = command("lint", name)
    assert answer.code == 1
    lines = answer.out.splitlines()
    assert len(lines) == len(expected)
    for line, (number, place, words) in zip(lines, expected, strict=True):
        assert line.startswith(f"{name}:{number}: error: {place}: ")
        assert words in line
    found = command("lint", "--json", name)
    assert (found.code, found.json()["errors"], found.json()["warnings"]) == (1, len(expected), 0)
    problems = found.json()["files"][0]["problems"]
    assert [(problem["line"], problem["place"]) for problem in problems] == [(line, place) for line, place, _ in expected]


def test_several_directives_can_be_wrong_together(command: Call) -> None:
    """A missing run, missing triggers and a contradiction are all told."""
    Path("w.json").write_text('{"t": {}, "u": {"andEvery": "e", "unless": ["e"], "x": 1}}')
    problems = command("lint", "--json", "w.json").json()["files"][0]["problems"]
    assert [(problem["place"], problem["message"].split()[0]) for problem in problems] == [
        ("$.t", "'run'"),
        ("$.t", "name"),
        ("$.u", "'run'"),
        ("$.u.unless", "'e'"),
    ]


WARNINGS = """\
t_a:
  andEvery: t_b
  run: welcome.greet
t_b: {andEvery: t_a, run: welcome.greet}
t_c:
  after: [x, y]
  unless: [x]
  run: welcome.greet
t_d:
  run: welcome.greet
  after:
    - t_c
t_e: {after: [x], run: welcome.gret, using: celry}
t_f: {after: [x], run: zzz, using: {runner: threading}}
"""


def test_warnings_fail_only_if_strict(command: Call) -> None:
    """Circles, unreachable tasks, an unless that always wins, unknown works and runners."""
    command("init")
    Path("w.yaml").write_text(WARNINGS)
    answer = command("lint", "w.yaml")
    assert answer.code == 0
    expected = [
        "w.yaml:2: warning: $.t_a.andEvery: runs in a circle for ever once something fires one of them: t_a → t_b → t_a",
        "w.yaml:7: warning: $.t_c.unless: 'unless' always wins",
        "w.yaml:11: warning: $.t_d.after: nothing can start it: it waits for 't_c', which can never run",
        "w.yaml:13: warning: $.t_e.run: no task is registered as 'welcome.gret', did you mean 'welcome.greet'?",
        "w.yaml:13: warning: $.t_e.using: no runner has the key 'celry', did you mean 'celery'?",
        "w.yaml:14: warning: $.t_f.run: no task is registered as 'zzz'; known are ",
    ]
    assert len(answer.out.splitlines()) == len(expected)
    for line, begin in zip(answer.out.splitlines(), expected, strict=True):
        assert line.startswith(begin)
    assert command("lint", "--strict", "w.yaml").code == 1


def test_works_are_not_checked_where_no_module_is_configured(command: Call) -> None:
    """Nothing is known about them then; a module that cannot be imported is told, and fails only if strict."""
    Path("w.json").write_text('{"t": {"after": ["x"], "run": "anything"}}')
    assert command("lint", "--strict", "w.json").out == "w.json: fine\n"
    Path("triggers.toml").write_text('tasks = ["lost_module"]')
    answer = command("lint", "w.json")
    assert answer.code == 0
    assert "'lost_module' of the setting 'tasks' cannot be imported" in answer.out
    assert command("lint", "--strict", "w.json").code == 1


def test_several_files_and_standard_input(command: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own name."""
    Path("a.json").write_text('{"t": {"after": ["x"], "run": "x"}}')
    Path("b.yml").write_text("t: {after: [x], run: 5}")
    answer = command("lint", "a.json", "b.yml")
    assert answer.code == 1
    assert [line[:12] for line in answer.out.splitlines()] == ["a.json: fine", "b.yml:1: err"]
    assert command("lint", "--format", "toml", "a.json").out.startswith("a.json:1: error: $: no TOML: ")


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("w.json", b'{"a": ', "w.json:1: error: $: no JSON: Expecting value"),
        ("w.json", b'{\n"a": nope}', "w.json:2: error: $: no JSON: "),
        ("w.json", b"\n\xff", "w.json:2: error: $: no UTF-8"),
        ("w.json", b"[" * 100_000, "nested too deeply"),
        ("w.json", b"[1]", "w.json:1: error: $: a configuration is an object of tasks"),
        ("w.yaml", b"a: [\nb: }", "w.yaml:2: error: $: no YAML: "),
        ("w.yaml", b"a: &x [*x]", "w.yaml:1: error: $: no YAML: "),
        ("w.yaml", b"a: 1\n---\nb: 2", "no YAML: "),
        ("w.yaml", b"a: !!python/object:os.system {}", "$.a"),
        ("w.yaml", b"a: !thing 1", "has no meaning in a configuration"),
        ("w.yaml", BOMB, "w.yaml:1: error: $: no YAML: its aliases stand for more than 200000 values"),
        ("w.yaml", b"", "a configuration is an object of tasks"),
        ("w.toml", b"[t]\nrun = ", "w.toml:2: error: $: no TOML: "),
        ("w.toml", b"[t]\nrun = 'x'\n[t]", "w.toml:3: error: $: no TOML: "),
    ],
)
def test_what_is_no_such_file(command: Call, name: str, content: bytes, words: str) -> None:
    """One line with the place, and no traceback."""
    Path(name).write_bytes(content)
    answer = command("lint", name)
    assert answer.code == 1
    assert words in answer.out
    assert "Traceback" not in answer.err


def test_yaml_means_what_json_means() -> None:
    """Words such as no and dates are strings; numbers, anchors and merges work."""
    text = "a: &x {no: 2001-01-01, n: 0x10, f: 1e3, t: true, z: ~, 1: '2'}\nb: {<<: *x, n: 07}\n"
    found = read_document("w.yaml", text.encode())
    a = {"no": "2001-01-01", "n": 16, "f": 1000.0, "t": True, "z": None, 1: "2"}
    assert found.value == {"a": a, "b": {**a, "n": 7}}
    assert found.problems == []


def test_lines_of_toml_tables() -> None:
    """Dotted keys, inline tables, arrays of tables and strings of several lines."""
    text = 'a.b = 1\n[c.d]\ne = """\n[x]\n"""\nf = {g = [1]}\n[[h]]\ni = 1\n[[h]]\ni = 2\n[h.j]\nk = 3\n'
    lines = read_document("w.toml", text.encode()).lines
    expected = {"a.b": 1, "c.d": 2, "c.d.e": 3, "c.d.f.g[0]": 6, "h[0].i": 8, "h[1].i": 10, "h[1].j.k": 12}
    assert {place: lines[f"$.{place}"] for place in expected} == expected


def test_lint_in_a_narrow_terminal(tmp_path: Path) -> None:
    """With and without --json, and with a file that is not there."""
    (tmp_path / "w.json").write_text('{"t": {"after": ["x"]}}')
    plain, machine, missing = in_terminal(
        tmp_path, [["lint", "w.json"], ["lint", "--json", "w.json"], ["lint", "gone.json"]], columns=40, more={"NO_COLOR": "1"}
    )
    assert (plain.code, machine.code, missing.code) == (1, 1, 2)
    assert plain.out.strip() == "w.json:1: error: $.t: 'run' is missing: the name of the work, as in \"survey.score\""
    assert machine.json()["errors"] == 1
    assert "gone.json" in missing.out
    assert "Traceback" not in plain.out + machine.out + missing.out
