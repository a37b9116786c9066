"""S13 to S17: names compare by their bytes, values come back, sizes up to the limit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from triggers.errors import SessionTooLarge
from triggers.store import ABSENT, EVERYTHING, Capability, Change, Record, Store, Want
from triggers.testing.conformance.kit import Kit, not_tested
from triggers.testing.conformance.space import VERSION_ONLY, Pair, Space, check_snapshot, plain

ODD_NAMES = (
    *(
        "a",
        "A",
        "a ",
        " a",
        "á",
        "a\u0301",
        "ä",
        "ß",
        "ss",
        "SS",
        "ı",
        "i",
        "İ",
        "I",
        "0",
        "00",
        "1",
        "01",
        "-1",
        "1e3",
    ),
    *(
        "*",
        "?",
        "[a]",
        "%",
        "_",
        "a%",
        "\\",
        "\\x00",
        "/",
        "..",
        ".",
        "a/b",
        "a:b",
        "a|b",
        "{a}",
        "{a",
        "}",
        "#",
        "a#0",
        "'",
        '"',
        "`",
        ";--",
    ),
    *(
        "日本語",
        "🦋",
        "👩‍👩‍👧",
        "\u2126",
        "\u03a9",
        "\ufb01",
        "fi",
        "\u200b",
        "\ufeff",
        "\u2028",
        "\ue000",
        "\uffff",
        "\U0010ffff",
        "a\u00a0",
        "null",
        "None",
    ),
)
LONGEST = {"bytes": "k" * 255, "text": "é" * 127 + "k", "symbols": "🦋" * 63 + "abc"}
MOST_TRIED = 16 * 2**20
"""The kit tries values up to 16 MiB; what a store declares beyond it is reported as not tested."""
AT_LEAST = 2**20
"""What a store that declares no limit has to take (1 MiB)."""


def _every_character() -> str:
    return (
        "".join(map(chr, range(1, 0xD800)))
        + "".join(map(chr, range(0xE000, 0x10000)))
        + "".join(chr(code) for code in range(0x10000, 0x110000, 251))
    )


VALUES: dict[str, Any] = {
    "an empty object": {},
    "an empty list": [],
    "an empty text": "",
    "null": None,
    "booleans": [True, False],
    "zero": [0, -0.0, 0.0],
    "whole numbers of 64 bits": [2**63 - 1, -(2**63), 2**53 + 1, -(2**53) - 1],
    "floats": [0.1, 1e5, 1e22, 1.5e300, 5e-324, 1.7976931348623157e308, -2.2250738585072014e-308, 1 / 3, 100000.0],
    "numbers as texts": ["1", "1.0", "1e5"],
    "empty names inside": {"": {"": []}, " ": 1, "a": 2, "A": 3, "á": 4},
    "deep": json.loads("[" * 99 + "]" * 99),
    "spaces and lines": {"text": " a\r\n\tb  \u2028 ", "quote": "\"'\\`;--"},
    "markup": "</script>%s{0}${x}\\u0041",
}


class Values(Kit):
    """S13 to S17."""

    def test_s13_uids_compare_by_their_bytes(self, store: Store, space: Space) -> None:
        """Uids that differ in one byte are two sessions: case, accents, trailing spaces, composed letters.

        Look at: collations (use VARBINARY or ``COLLATE "C"``), file systems that ignore case, names that the medium
        escapes, cuts or trims.
        """
        versions = {space.uid(name): space.write(store, space.uid(name), {("c", "name"): _text(name)}) for name in ODD_NAMES}
        for name in ODD_NAMES:
            uid = space.uid(name)
            check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, versions[uid], {("c", "name"): (plain(_text(name)), None)})
        if Capability.SCAN in store.capabilities:
            assert sorted(space.scan(store)) == sorted(versions)

    def test_s13_keys_and_collections_compare_by_their_bytes(self, store: Store, space: Space) -> None:
        """Collections and keys that differ in one byte are two; each is found alone and with its collection.

        Look at: the same as for uids, and at names that are joined into one (use a separator that cannot occur, or a
        length).
        """
        uid = space.uid()
        put = {("keys", name): _text(name) for name in ODD_NAMES} | {(name, "key"): _text(name) for name in ODD_NAMES}
        version = space.write(store, uid, put)
        stored = {pair: (plain(value), None) for pair, value in put.items()}
        for want in (EVERYTHING, Want(collections=frozenset({"keys"})), Want(records=frozenset(put))):
            check_snapshot(store.load(uid, want), want, version, stored)
        for name in ("a", "A ", "á", "%", "_", "*", "日本語"):
            want = Want(records=frozenset({("keys", name)}), collections=frozenset({name}))
            check_snapshot(store.load(uid, want), want, version, stored)
        version = space.write(store, uid, {}, drop=[("keys", "a"), ("A", "key"), ("*", "key"), ("keys", "%")])
        for gone in (("keys", "a"), ("A", "key"), ("*", "key"), ("keys", "%")):
            del stored[gone]
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, stored)

    @pytest.mark.parametrize("name", LONGEST.values(), ids=LONGEST.keys())
    def test_s13_names_of_255_bytes(self, store: Store, space: Space, name: str) -> None:
        """Uids, keys, labels have up to 255 bytes, collections up to 300; those that differ in the last byte are two.

        Look at: columns that count characters, keys of the medium that have a smaller limit (hash what is too long),
        silent cutting.
        """
        room = name.encode()[: 254 - len(space.prefix)].decode(errors="ignore")
        uids = [space.uid(f"{room}{last}") for last in "xy"]
        labels = [space.label(f"{room}{last}") for last in "xy"]
        key = name.encode()[:254].decode(errors="ignore")
        collection = f"{'c' * (300 - 1 - len(key.encode()))}{key}"
        for uid, label in zip(uids, labels, strict=True):
            stored: dict[Pair, bytes | Record] = {
                (collection + last, key + last): Record(b'"%s"' % last.encode(), space.early) for last in "xy"
            }
            version = space.write(store, uid, stored, labels=[label])
            expected = {(collection + last, key + last): (f'"{last}"', space.early) for last in "xy"}
            for want in (
                EVERYTHING,
                Want(records=frozenset(expected)),
                Want(collections=frozenset({collection + "x"})),
            ):
                check_snapshot(store.load(uid, want), want, version, expected)
        if Capability.DUE in store.capabilities:
            found = space.due(store, space.early)
            assert sorted(found) == sorted((uid, collection + last, key + last, space.early) for uid in uids for last in "xy")
        if Capability.SCAN in store.capabilities:
            for uid, label in zip(uids, labels, strict=True):
                assert space.scan(store, label) == [uid]

    def test_s14_names_do_not_run_together(self, store: Store, space: Space) -> None:
        """``a`` + ``bc`` is not ``ab`` + ``c``: neither uid and collection, nor collection and key.

        Look at: keys of the medium that are joined from parts with a separator that may occur in the parts.
        """
        pairs = [
            ("a", "bc"),
            ("ab", "c"),
            ("a:b", "c"),
            ("a", "b:c"),
            ("a/b", "c"),
            ("a", "b/c"),
            ("a|", "b"),
            ("a", "|b"),
            ("a.b", "c"),
            ("a", "b.c"),
        ]
        uids = [space.uid(name) for name in ("u", "ua", "u:a", "u/a", "u|a", "u.a", "u:")]
        versions = {}
        for uid in uids:
            versions[uid] = space.write(store, uid, {pair: _text(f"{uid} {pair}") for pair in pairs})
        for uid in uids:
            stored = {pair: (plain(_text(f"{uid} {pair}")), None) for pair in pairs}
            for want in (EVERYTHING, *(Want(collections=frozenset({name})) for name in ("a", "ab", "a:b"))):
                check_snapshot(store.load(uid, want), want, versions[uid], stored)

    def test_s14_sessions_leave_each_other_alone(self, store: Store, space: Space) -> None:
        """Commits, drops and deletion of one session leave those alone whose uids it begins, or that begin it.

        Look at: deletion or loading by a prefix or pattern, and wildcards in uids that are not escaped.
        """
        names = ("p", "p1", "p10", "p:1", "p*", "p%", "p_", "P", "p ")
        stored: dict[Pair, bytes | Record] = {("c", "k"): Record(b"1", space.early), ("c", "k2"): b"2"}
        versions = {space.uid(name): space.write(store, space.uid(name), stored, labels=[space.label("l")]) for name in names}
        gone = [space.uid(name) for name in ("p", "p*", "p%", "p_", "p:1")]
        for uid in gone:
            space.write(store, uid, {("c", "k"): b"3"}, drop=[("c", "k2")], labels=[])
            assert store.delete(uid) is True
            del versions[uid]
            for left, version in versions.items():
                check_snapshot(
                    store.load(left, EVERYTHING),
                    EVERYTHING,
                    version,
                    {("c", "k"): ("1", space.early), ("c", "k2"): ("2", None)},
                )
        if Capability.DUE in store.capabilities:
            assert sorted(entry.uid for entry in space.due(store, space.early)) == sorted(versions)
        if Capability.SCAN in store.capabilities:
            assert sorted(space.scan(store, space.label("l"))) == sorted(versions)

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
    def test_s15_values_come_back_equal(self, store: Store, space: Space, value: Any) -> None:
        """A JSON value comes back equal and of the same types: ``1`` is no ``1.0``, 64 bits are exact.

        Only white space and the order of an object's keys may differ. Look at: JSON columns that normalise numbers
        (keep the text, as PostgreSQL's ``json`` does), and values that are taken for absent because they are empty.
        """
        uid = space.uid()
        text = json.dumps(value).encode()
        version = space.write(store, uid, {("c", "k"): Record(text, 0), ("c", "inside"): b'{"v":%s}' % text})
        check_snapshot(
            store.load(uid, EVERYTHING),
            EVERYTHING,
            version,
            {
                ("c", "k"): (json.dumps(value, sort_keys=True), 0),
                ("c", "inside"): (json.dumps({"v": value}, sort_keys=True), None),
            },
        )

    def test_s15_every_character_comes_back(self, store: Store, space: Space) -> None:
        """Texts come back with every character but NUL and lone surrogates, escaped or as UTF-8.

        Look at: connection encodings (MySQL's ``utf8`` is not UTF-8, ``utf8mb4`` is), normalisation, line ends.
        """
        uid = space.uid()
        text = _every_character()
        stored = {
            ("c", "raw"): json.dumps(text, ensure_ascii=False).encode(),
            ("c", "escaped"): json.dumps(text[:70_000:7]).encode(),
        }
        version = space.write(store, uid, stored)
        expected = {("c", "raw"): (json.dumps(text), None), ("c", "escaped"): (json.dumps(text[:70_000:7]), None)}
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, expected)

    def test_s15_wake_at_is_exact(self, store: Store, space: Space) -> None:
        """``wake_at`` is any whole number of microseconds from 0 to 2**53 - 1 and comes back exact.

        Look at: times that are kept as seconds, as floats, or in a column of 32 bits.
        """
        uid = space.uid()
        times = (0, 1, 999_999, 1_000_001, 1_899_999_999_999_999, 1_900_000_000_000_001, 2**53 - 1)
        version = space.write(store, uid, {("c", str(at)): Record(b"1", at) for at in times})
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, {("c", str(at)): ("1", at) for at in times})

    def test_s16_values_up_to_the_limit(self, store: Store, space: Space) -> None:
        """A value of ``max_value_bytes`` fits: half of it where it limits a session, 1 MiB where none is declared.

        Look at: limits of the medium below the declared one: packet sizes, item sizes, columns that cut (``TEXT`` of
        MySQL).
        """
        uid = space.uid()
        limit = store.max_value_bytes or AT_LEAST
        if limit > MOST_TRIED:
            limit = MOST_TRIED
        value = _of_size(limit // 2 if store.one_value else limit)
        version = space.write(store, uid, {("c", "large"): value, ("c", "small"): b"1"})
        check_snapshot(
            store.load(uid, EVERYTHING),
            EVERYTHING,
            version,
            {("c", "large"): (value.decode(), None), ("c", "small"): ("1", None)},
        )
        if (store.max_value_bytes or 0) > MOST_TRIED:
            not_tested(f"values between {MOST_TRIED} and the declared {store.max_value_bytes} bytes; those below came back")

    def test_s16_beyond_the_limit_nothing_is_stored(self, store: Store, space: Space) -> None:
        """A value one byte over ``max_value_bytes`` raises ``SessionTooLarge``, and nothing of the commit is stored.

        Look at: silent cutting, an error of the medium that reaches the caller as it is, and records of the same
        commit that were written before.
        """
        if store.max_value_bytes is None:
            not_tested("declares no limit of its values")
        if store.max_value_bytes > MOST_TRIED:
            not_tested(f"the declared limit of {store.max_value_bytes} bytes is more than the kit tries ({MOST_TRIED})")
        uid = space.uid()
        put = {
            ("c", "a"): Record(b"2", space.early),
            ("c", "large"): Record(_of_size(store.max_value_bytes + 1)),
            ("c", "z"): Record(b"2"),
        }
        with pytest.raises(SessionTooLarge):
            store.commit(uid, Change(space.version(), put), ABSENT, VERSION_ONLY)
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, ABSENT, {})
        version = space.write(store, uid, {("c", "a"): b"1"}, expected=ABSENT)
        with pytest.raises(SessionTooLarge):
            store.commit(uid, Change(space.version(), put), version, VERSION_ONLY)
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, {("c", "a"): ("1", None)})

    def test_s17_ten_thousand_records(self, store: Store, space: Space) -> None:
        """A session holds 10 000 records, which are put, loaded whole and in parts, replaced and dropped at once.

        Look at: limits on the parameters of a statement, on Lua's ``unpack``, on packet sizes: work in chunks inside
        of one transaction.
        """
        if store.one_value and store.max_value_bytes is not None and store.max_value_bytes < 10_000 * 64:
            not_tested(f"10 000 records need more than the {store.max_value_bytes} bytes of a session")
        uid = space.uid()
        pairs = [(f"done/{number % 3}", str(number)) for number in range(10_000)]
        version = space.write(
            store, uid, {pair: Record(b"[1]", space.early if pair[1].endswith("99") else None) for pair in pairs}
        )
        stored: dict[Pair, tuple[str, int | None]] = {
            pair: ("[1]", space.early if pair[1].endswith("99") else None) for pair in pairs
        }
        some = Want(records=frozenset(pairs[5:4_000:3]), collections=frozenset({"done/1"}))
        for want in (EVERYTHING, some):
            check_snapshot(store.load(uid, want), want, version, stored)
        version = space.write(store, uid, dict.fromkeys(pairs[:5000], b"2"), drop=pairs[5_000:9_990])
        stored = dict.fromkeys(pairs[:5000], ("2", None)) | {pair: stored[pair] for pair in pairs[9_990:]}
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, stored)
        assert store.delete(uid) is True
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, ABSENT, {})


def _text(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=False).encode()


def _of_size(size: int) -> bytes:
    """A JSON text of exactly so many bytes."""
    return b'"' + b"x" * (size - 2) + b'"'
