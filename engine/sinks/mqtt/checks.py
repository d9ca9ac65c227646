"""What can be checked of the settings of MQTT before there is a broker."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import re
import socket
import stat
from pathlib import Path
from urllib.parse import urlsplit

from ...errors import SettingsError, text_of
from ...settings.schema import Mqtt
from ...storage.edited import decoded

_LOG = logging.getLogger(__name__)

MAX_TOPIC_BYTES = 1000  # the protocol allows 65,535; some brokers stop far below
MOST_HOST = 40  # characters of this machine's name in a topic
FIRST_TOPIC = "earmark"  # of daemons that did not take this machine's name
_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]")
MAX_PASSWORD_FILE_BYTES = 65_536  # the protocol's limit of a password


def topic_of(settings: Mqtt) -> str:
    """What all our topics begin with: that of the settings, or one of this machine's own."""
    if settings.topic:
        return settings.topic
    host = _UNSAFE.sub("-", socket.gethostname().partition(".")[0])[:MOST_HOST]
    return f"{FIRST_TOPIC}-{host}" if host else FIRST_TOPIC


def check_page(page: str) -> None:
    """Raises SettingsError for what Home Assistant does not take for a link: it would refuse the whole device."""
    try:
        parts = urlsplit(page)
        is_good = parts.scheme in ("http", "https") and parts.hostname and page.isprintable() and " " not in page
    except ValueError:
        is_good = False
    if page and not is_good:
        raise SettingsError(f"mqtt.page={page[:80]!r} must be a link as https://pi.local/help")


def is_loopback(host: str) -> bool:
    """Whether what goes to this host stays on the machine."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def check_host(host: str) -> None:
    """Raises SettingsError, with what to write instead, for an address with more in it than a host."""
    text = host.strip()
    parts = re.fullmatch(
        r"(?:(\w+)://)?(?:[^/@]*@)?(\[[^]]*\]|[^/:]*|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)(?::(\d+))?/?", text
    )
    if parts is None:
        raise SettingsError(
            f"mqtt.host must be the name or the address of a host alone, as broker.local: {_bare(host)}"
        )
    scheme, name, port = parts[1], parts[2].strip("[]"), parts[3]
    if name != host:
        write = [f'mqtt.host = "{name}"', *([f"mqtt.port = {port}"] if port else [])]
        write += ["mqtt.tls = true"] if scheme in ("mqtts", "ssl", "tls") else []
        write += ["mqtt.username and mqtt.password_file"] if "@" in text else []
        raise SettingsError(
            f"mqtt.host={_bare(host)} must be the name or the address of a host alone: write {', '.join(write)}"
        )
    if " " in name or not name.isprintable():
        raise SettingsError(f"mqtt.host={host!r} must have no blanks in it")
    try:
        name.encode("idna")
    except UnicodeError as error:
        raise SettingsError(f"mqtt.host={host!r} is no name of a host: {text_of(error)}") from error


def _bare(host: str) -> str:
    """For a message: a password that stands in a URL does not."""
    return repr(re.sub(r"[^/@]*@", "…@", host))


def check_topic(key: str, topic: str) -> None:
    """Raises SettingsError for what is no topic to publish to."""
    parts = topic.split("/")
    is_long = len(topic.encode("utf-8", "replace")) > MAX_TOPIC_BYTES
    if is_long or topic.startswith("$") or not all(parts) or not topic.isprintable() or set(topic) & set("+#"):
        raise SettingsError(
            f"{key}={topic[:80]!r} must be names with / between them, without + and #, of {MAX_TOPIC_BYTES} bytes "
            "at most, and must not begin with $"
        )


def read_password(file: str) -> str:
    """The first line of a file; who else can read it is worth a word.

    Raises:
        SettingsError: it cannot be read, or the line is empty.
    """
    try:
        with Path(file).open("rb") as opened:
            if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
                _LOG.warning("mqtt.password_file=%s can be read by others: chmod 600 %s", file, file)
            password = decoded(opened.read(MAX_PASSWORD_FILE_BYTES)).partition("\n")[0].rstrip("\r")
    except (OSError, ValueError) as error:
        raise SettingsError(f"mqtt.password_file={file}: cannot be read: {text_of(error)}") from error
    if not password:
        raise SettingsError(f"mqtt.password_file={file}: its first line is empty, and should be the password")
    return password
