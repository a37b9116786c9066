"""Reading rows: CSV and NDJSON, what each column means, and every way in which a file can be wrong."""

from __future__ import annotations

import io
import tracemalloc
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from triggers_cli.rows import BadFile, BadRow, Layout, Row, Rows

CSV = b"uid,trigger,n\ns1,a,1\ns2,b,2\n"


def read(path: Path, content: bytes, **layout: Any) -> list[Row | BadRow]:
    """The rows of a file with this content."""
    path.write_bytes(content)
    with path.open("rb") as file:
        return list(Rows(str(path), file, Layout(**layout)))


def test_csv_rows_have_the_line_on_which_they_begin(tmp_path: Path) -> None:
    """A quoted field may go over lines; empty lines and a byte order mark are nothing."""
    rows = read(tmp_path / "a.csv", b'\xef\xbb\xbfuid,trigger,n\r\ns1,a,"x\ny"\r\n\r\ns2,b,2\r\n', rest=True)
    assert [(row.line, row[1:4]) for row in rows] == [(2, ("s1", "a", {"n": "x\ny"})), (5, ("s2", "b", {"n": "2"}))]


def test_kwargs_come_from_named_columns_or_one_with_json(tmp_path: Path) -> None:
    """By name, all the rest, or an object in one column; an empty field there is none."""
    path, content = tmp_path / "a.csv", b'uid;trigger;k;n\ns1;a;"{""v"": [1]}";5\ns1;b;;6\n'
    options: dict[str, dict[str, Any]] = {"column": {"kwargs": "k"}, "taken": {"taken": ("n",)}, "none": {}}
    kwargs = {
        name: [row.kwargs for row in read(path, content, delimiter=";", **given) if isinstance(row, Row)]
        for name, given in options.items()
    }
    assert kwargs == {"column": [{"v": [1]}, {}], "taken": [{"n": "5"}, {"n": "6"}], "none": [{}, {}]}


def test_ndjson_keeps_the_types_of_values(tmp_path: Path) -> None:
    """Each line is an object; blank lines are nothing."""
    content = b'{"uid": "s1", "trigger": "a", "n": 1, "k": {"v": null}}\n\n{"k": null, "uid": "s2", "trigger": "b", "n": [2]}\n'
    rows = read(tmp_path / "a.ndjson", content, rest=True)
    assert [row[:4] for row in rows] == [
        (1, "s1", "a", {"n": 1, "k": {"v": None}}),
        (3, "s2", "b", {"n": [2], "k": None}),
    ]
    assert [row.kwargs for row in read(tmp_path / "a.jsonl", content, kwargs="k") if isinstance(row, Row)] == [{"v": None}, {}]


def test_event_ids_stay_when_the_file_is_read_again_or_grows(tmp_path: Path) -> None:
    """And are others for another line, content or batch."""

    def ids(content: bytes, name: str = "a.csv", **layout: Any) -> list[str]:
        return [row.event_id for row in read(tmp_path / name, content, rest=True, **layout) if isinstance(row, Row)]

    known = ids(CSV)
    assert known[0] == "a.csv:2:b48a623f9d7d6828a4dc"
    assert ids(CSV + b"s3,c,3\n")[:2] == known
    assert not set(ids(CSV.replace(b"s1,a,1", b"s1,a,9"))) & {known[0]}
    assert not set(ids(b"uid,trigger,n\ns2,b,2\ns1,a,1\n")) & set(known)
    assert not set(ids(CSV, "b.csv")) & set(known)
    assert ids(CSV, "b.csv", batch="a.csv") == known


def test_an_id_column_is_taken_as_it_is(tmp_path: Path) -> None:
    """Numbers of NDJSON become texts; an empty id is refused."""
    content = b'{"uid":"s","trigger":"a","id":7}\n{"uid":"s","trigger":"a","id":"x"}\n{"uid":"s","trigger":"a","id":""}\n'
    rows = read(tmp_path / "a.ndjson", content, event_id="id")
    assert [row.event_id for row in rows if isinstance(row, Row)] == ["7", "x"]
    assert rows[2] == BadRow(3, "'id' is ''; expected an event id")


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.csv", b"uid,trigger,n\ns1,a\n", "2 fields, the header has 3"),
        ("a.csv", b"uid,trigger,n\n,a,1\n", "'uid' is ''; expected a text that is not empty"),
        ("a.csv", b"uid,trigger,n\ns1,a,\xff\n", "'n' is no UTF-8; convert the file first, iconv -t utf-8"),
        ("a.ndjson", b"\n{\n", "no JSON: Expecting property name enclosed in double quotes"),
        ("a.ndjson", b"\n[1]\n", "expected a JSON object on each line"),
        ("a.ndjson", b'\n{"uid": "s1"}\n', "has no 'trigger'; it has 'uid'"),
        ("a.ndjson", b'\n{"uid": 5, "trigger": "a"}\n', "'uid' is 5; expected a text that is not empty"),
        ("a.ndjson", b'\n{"uid": "\xff"}\n', "no UTF-8: invalid start byte at byte 10 of the line"),
        ("a.ndjson", b"\n" + b"[" * 100_000, "no JSON"),
    ],
)
def test_a_wrong_row_says_its_line_and_does_not_end_the_file(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    """What comes after it is read."""
    good = b"\ns9,z,9\n" if name == "a.csv" else b'\n{"uid": "s9", "trigger": "z"}\n'
    bad, after = read(tmp_path / name, content + good)
    assert isinstance(bad, BadRow)
    assert bad.line == 2
    assert reason in bad.reason
    assert isinstance(after, Row)
    assert after.uid == "s9"


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "is empty; its first line must name the columns"),
        (b"case,trigger\n", "has no column 'uid'; its columns are 'case', 'trigger'"),
        (b"uid;trigger\n", "its columns are 'uid;trigger'; perhaps --delimiter ';'"),
        (b"uid\ttrigger\n", "perhaps --delimiter tab"),
        (b"uid,uid,trigger\n", "has two columns 'uid'"),
        (b'uid,trigger\ns1,a\ns2,"b', "line 3: no CSV: unexpected end of data"),
        (b'uid,trigger\ns1,a\ns2,"b"x\n', "line 3: no CSV: ',' expected after '\"'"),
        (b"\xff\xfeu\x00", "line 1: no UTF-8"),
    ],
)
def test_a_file_that_cannot_be_trusted_ends_the_reading(tmp_path: Path, content: bytes, reason: str) -> None:
    """With the line and the reason."""
    with pytest.raises(BadFile) as caught:
        read(tmp_path / "a.csv", content)
    assert reason in str(caught.value)


def test_a_file_that_is_cut_while_it_is_read_is_told_from_its_end(tmp_path: Path) -> None:
    """It had more when it was opened."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"uid,trigger\n" + b"s1,a\n" * 100_000)
    with path.open("rb") as file:
        rows = iter(Rows(str(path), file, Layout()))
        next(rows)
        with path.open("r+b") as other:
            other.truncate(300_012)
        with pytest.raises(BadFile, match=r"had 500012 bytes when it was opened .* it was cut while it was read"):
            list(rows)


def test_memory_does_not_grow_with_the_file() -> None:
    """Thousands of rows take less than a tenth of what they are together."""

    def most(number: int) -> int:
        file = Endless(number)
        tracemalloc.start()
        assert len(deque((row.line for row in Rows("-", cast(BinaryIO, file), Layout(rest=True))), maxlen=1)) == 1
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert most(5_000) < 250_000


class Endless(io.RawIOBase):
    """A CSV file of so many rows that is nowhere."""

    def __init__(self, rows: int) -> None:
        self._lines = (b"uid,trigger,n\n" if number == 0 else b"s%d,a,%d\n" % (number, number) for number in range(rows + 1))

    def readline(self, size: int | None = -1) -> bytes:
        """The next line."""
        return next(self._lines, b"")
