"""A server that speaks TLS."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.client import OwnServer
from tests.servers.place import free_ports
from triggers.errors import StorageUnavailable
from triggers.store import ABSENT, Change, Want
from triggers_redis import RedisStore


@pytest.fixture
def certificate() -> Iterator[Path]:
    """A folder with a certificate for 127.0.0.1 that signs itself, and its key; the server's account can read both."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with; install the package openssl")
    with tempfile.TemporaryDirectory(prefix="tls-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files],
            check=True,
            capture_output=True,
        )
        (folder / "key.pem").chmod(0o644)
        yield folder


def test_a_server_is_reached_over_tls(
    certificate: Path, own_server: Callable[..., OwnServer], make_store: Callable[..., RedisStore]
) -> None:
    """``rediss://`` works with the certificate that it was given, refuses one that it does not know, and plain text fails."""
    (port,) = free_ports(1)
    own_server(
        "redis",
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificate / "cert.pem"), "--tls-key-file", str(certificate / "key.pem")),
        *("--tls-ca-cert-file", str(certificate / "cert.pem")),
    )
    store = make_store(url=f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}/cert.pem")
    store.commit("s", Change("1", {}), ABSENT, Want())
    assert store.load("s", Want()).version == "1"
    with pytest.raises(StorageUnavailable, match="certificate verify failed"):
        make_store(url=f"rediss://127.0.0.1:{port}/0", retries=0).load("s", Want())
    with pytest.raises(StorageUnavailable):
        make_store(url=f"redis://127.0.0.1:{port}/0", retries=0, timeout=1.0).load("s", Want())
