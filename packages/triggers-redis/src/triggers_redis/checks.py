"""What is asked of the server once: whether it fits the settings, and what its operator should know."""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from triggers.errors import StorageError
from triggers_redis.commands import NotRun, call
from triggers_redis.keys import Layout
from triggers_redis.link import Link
from triggers_redis.scripts import LAYOUT

_log = logging.getLogger("triggers.redis")
_told: set[str] = set()

OLDEST = (6, 2)

PROMISES = {
    "durability": "what appendonly and appendfsync give: 'always' loses nothing, 'everysec' up to a second",
    "replication": "asynchronous: a failover may lose the last commits that were confirmed",
    "eviction": "none while maxmemory-policy is noeviction; any other policy may remove sessions",
    "atomicity": "each load and each commit is one script",
    "expiry": "exact, by the server's clock; entries in listings go when they are next listed",
}


def check_layout(link: Link, layout: Layout, name: str) -> None:
    """Compares the number of shards with the one that the data have; notes it where there are none yet.

    Raises:
        StorageError: another number was used under this prefix, or the server does not allow what Triggers needs.
    """
    (found,) = link.run([call(LAYOUT, [layout.key], [b"1:%d" % layout.shards])])
    number, _, shards = found.decode(errors="replace").partition(":")
    if number != "1":
        raise StorageError(
            f"{name}: {layout.key.decode()} is {found!r}, which this version does not know; upgrade triggers-redis"
        )
    if shards != str(layout.shards):
        raise StorageError(
            f"{name}: the sessions under this prefix are spread over {shards} shards, the setting says {layout.shards}; "
            f"set shards={shards}, or use another prefix"
        )


def log_warnings(link: Link, name: str) -> None:
    """Logs what can lose sessions, once per process and server. That it cannot be asked keeps nobody from working."""
    if name in _told:
        return
    _told.add(name)
    try:
        found = warnings(link)
    except (NotRun, StorageError) as error:
        _told.discard(name)
        _log.debug("%s was not asked whether it may lose sessions: %s", name, error)
        return
    for text in found:
        _log.warning("%s: %s", name, text)


def warnings(link: Link) -> list[str]:
    """What can lose sessions with the servers as they are set up."""
    try:
        return list(dict.fromkeys(text for server in link.servers() for text in _warnings(server)))
    except NoPermissionError as error:
        return [f"whether the server may lose sessions is not known, it does not answer INFO: {error}"]
    except (RedisError, OSError) as error:
        raise NotRun(error) from error


def _warnings(server: Any) -> list[str]:
    facts = server.info("server", "memory", "persistence", "replication")
    settings = _settings(server)
    found = []
    version = str(facts.get("valkey_version") or facts.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        found.append(f"Redis {version} is too old, Triggers needs 6.2 or later")
    if facts.get("role") == "slave":
        found.append("this server is a replica: it takes no writes, and reads from it may be old; name the primary")
    policy = settings.get("maxmemory-policy") or facts.get("maxmemory_policy", "noeviction")
    limited = int(settings.get("maxmemory") or facts.get("maxmemory", 0)) > 0
    if policy.startswith("allkeys"):
        when = "evicts any session when memory is short" if limited else "would evict any session once maxmemory is set"
        found.append(f"maxmemory-policy is {policy}: the server {when}; set it to noeviction")
    elif policy.startswith("volatile") and limited:
        found.append(
            f"maxmemory-policy is {policy}: the server evicts sessions that expire before their time when memory is "
            "short; set it to noeviction"
        )
    appends = int(facts.get("aof_enabled", 0)) == 1
    if not appends and settings.get("save") == "":
        found.append("the server keeps nothing on disk (appendonly no, save ''): a restart loses all; set appendonly yes")
    elif not appends and "save" in settings:
        found.append(
            f"the server writes snapshots only (appendonly no, save '{settings['save']}'): a crash loses what was "
            "committed since the last one; set appendonly yes"
        )
    elif not appends:
        found.append("appendonly is no, and the server hides whether it writes snapshots: a crash may lose sessions")
    return found


def _settings(server: Any) -> dict[str, str]:
    """The configuration as far as the server tells; hosted ones often do not."""
    found: dict[str, str] = {}
    for name in ("maxmemory", "maxmemory-policy", "save"):
        try:
            found |= server.config_get(name)
        except ResponseError:
            return found
    return found
