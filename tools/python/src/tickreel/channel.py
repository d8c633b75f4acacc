"""Where a server is and how to get in: address, certificates, token."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from .errors import InvalidArgument

PORT = 7400
_ANSWER_BYTES_MAX = 8 << 20
_REQUEST_BYTES_MAX = 16 << 20

OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", _ANSWER_BYTES_MAX),
    ("grpc.max_send_message_length", _REQUEST_BYTES_MAX),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A server that comes back is seen soon.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # The client itself decides what is tried again.
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and what is needed to be let in. Certificates are files in PEM."""

    address: str
    secure: bool
    token: str | None
    ca: Path | None
    cert: Path | None
    key: Path | None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every request."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def credentials(self) -> grpc.ChannelCredentials:
        """TLS with the given certificates; without `ca` those that the machine trusts."""
        parts = (part.read_bytes() if part else None for part in (self.ca, self.key, self.cert))
        return grpc.ssl_channel_credentials(*parts)


def target_of(
    url: str,
    token: str | None,
    ca: str | Path | None,
    cert: str | Path | None,
    key: str | Path | None,
) -> Target:
    """Reads an address such as `http://127.0.0.1:7400`, `https://host:7400` or `host:7400`.

    Raises:
        InvalidArgument: it is none, or a token would travel unencrypted to another machine.

    """
    scheme, split, rest = url.partition("://")
    secure = scheme == "https" if split else bool(ca or cert)
    try:
        parts = urlsplit(f"//{rest if split else url}")
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host, port = None, 0
    if (split and scheme not in ("http", "https")) or not host:
        raise InvalidArgument(f"address {url!r}: expected e.g. http://127.0.0.1:7400")
    if not secure and (ca or cert or key):
        raise InvalidArgument(f"address {url!r}: certificates need https")
    if bool(cert) != bool(key):
        raise InvalidArgument("cert and key: one is nothing without the other")
    if token and not secure and not _is_loopback(host):
        raise InvalidArgument(f"token: {url!r} is not encrypted, anybody could read it; use https")
    name = f"[{host}]" if ":" in host else host
    files = (Path(file) if file else None for file in (ca, cert, key))
    return Target(f"{name}:{port}", secure, token, *files)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
