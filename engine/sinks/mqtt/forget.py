"""Takes back all that a daemon has left at its broker: the device of Home Assistant, and every retained topic."""

from __future__ import annotations

import secrets
import ssl
import threading
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from ...errors import DaemonError, text_of
from ...settings.schema import Mqtt
from .checks import check_host, check_topic, read_password, topic_of
from .client import LimitedClient
from .discovery import ONLINE, node_of
from .state import RETAINED, discovery_topic

REMOVED_S = 2.0  # in which Home Assistant removes the device; its entities would take what is empty for a state
LIMIT_S = 10.0  # for each of: connecting, what the broker keeps, what it is told


def forget(settings: Mqtt, topic: str = "") -> list[str]:
    """Empties them: first the device, which Home Assistant removes, then what it was told of.

    Args:
        settings: where the broker is.
        topic: of a daemon of before; empty: that of the settings.

    Returns:
        The topics that were emptied.

    Raises:
        SettingsError: the settings cannot be used.
        DaemonError: there is no broker, or it refuses; or a daemon is connected, which would say all of it again.
    """
    topic = topic or topic_of(settings)
    check_host(settings.host)
    check_topic("the topic", topic)
    ours = [f"{topic}/{name}" for name in RETAINED]
    place = f"{settings.host}:{settings.port}"
    answered, subscribed, refused = threading.Event(), threading.Event(), []
    running = threading.Event()

    def on_connect(_client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        refused.extend([str(reason)] if reason.is_failure else [])
        answered.set()

    def on_message(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        if message.topic == f"{topic}/availability" and message.payload == ONLINE.encode():
            running.set()

    def check_nobody_runs() -> None:
        if running.is_set():
            raise DaemonError(
                f"mqtt: a daemon with the topic {topic} is connected to {place}, and would say all of it again: "
                "stop it first (`systemctl stop earmark`)"
            )

    client = LimitedClient(CallbackAPIVersion.VERSION2, f"{node_of(topic)}-{secrets.token_hex(4)}")
    client.on_connect, client.on_message = on_connect, on_message
    client.on_subscribe = lambda *_: subscribed.set()
    if settings.username:
        client.username_pw_set(
            settings.username, read_password(settings.password_file) if settings.password_file else None
        )
    if settings.tls:
        client.tls_set_context(ssl.create_default_context())
    try:
        client.connect(settings.host, settings.port)
        client.loop_start()
        if not answered.wait(LIMIT_S) or refused:
            raise DaemonError(f"mqtt: {place}: {''.join(refused) or 'no answer'}")
        client.subscribe([(one, 0) for one in ours])
        if not subscribed.wait(LIMIT_S):
            raise DaemonError(f"mqtt: {place} does not let us read: allow reading below {topic}")
        _empty(client, place, f"{topic}/daemon", retain=False)  # what it keeps of ours comes before it confirms that
        check_nobody_runs()
        if settings.discovery:
            _empty(client, place, discovery_topic(settings.discovery, topic))
            time.sleep(REMOVED_S)
        for one in ours:  # also those that are too large to be read here
            _empty(client, place, one)
        check_nobody_runs()  # one may have come meanwhile
    except (OSError, ValueError, RuntimeError) as error:
        raise DaemonError(f"mqtt: {place}: {text_of(error)}") from error
    finally:
        client.disconnect()
        client.loop_stop()
    return [*([discovery_topic(settings.discovery, topic)] if settings.discovery else []), *ours]


def _empty(client: paho.Client, place: str, topic: str, retain: bool = True) -> None:
    """Raises DaemonError where the broker does not confirm an empty message."""
    told = client.publish(topic, b"", qos=1, retain=retain)
    told.wait_for_publish(LIMIT_S)
    if not told.is_published():
        raise DaemonError(f"mqtt: {place} has not answered for {LIMIT_S:g} s")
