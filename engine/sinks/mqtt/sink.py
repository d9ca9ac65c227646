"""MQTT: events, state and controls through a broker; Home Assistant finds them by itself.

Below the topic of the settings: `event` (each event as JSON, not retained), and retained `last` (the last wake),
`triggers` (which triggers of automations have been told, by digests of the names), `microphone`, `diagnostics`,
`mode`, `sensitivity`, `voice_sensitivity` (each with a `…/set` to change it) and `availability` (online, offline).
In `daemon` each daemon says a number of its own, so that two that have one topic notice each other.

Events are sent with QoS 1, so that one counts as sent when the broker has it. Everything retained is sent with QoS 0:
it is said anew at every connection, and a state of before that came once more after it would be a lie.
"""

from __future__ import annotations

import collections
import logging
import re
import secrets
import ssl
import sys
import threading
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from ...errors import DaemonError, InputError, SettingsError, text_of
from ..base import Control, Notice, Sink
from .checks import FIRST_TOPIC, check_host, check_page, check_topic, is_loopback, read_password, topic_of
from .client import LimitedClient, at_once
from .discovery import CANCELLED, KNOBS, OFFLINE, ONLINE, Knob, node_of
from .state import State, as_json

_LOG = logging.getLogger(__name__)

KEEPALIVE_S = 20  # a broker that is gone without a word is noticed after 40 s at most, our own end there after 30 s
FIRST_RETRY_S, LAST_RETRY_S = 1, 30
LATE_S = 10.0  # an event that reaches nobody for so long is lost: lights should not go on for a word of long ago
MAX_INFLIGHT = 20
MAX_QUEUED = 64  # messages inside paho; events wait in the outbox, which counts what it drops
SHOWN_BYTES = 40  # of a refused command, in the log
OWN_ID = secrets.token_hex(8)  # of the process: a sink that takes another one's place is no other daemon
MOST_OTHERS = 8  # daemons on our topic that are answered: anybody may pretend to be any number
EARLIER = f"{FIRST_TOPIC}/availability"  # of a daemon of before topics had the name of their machine
LEFT_OUT = ("file", "time_ms")  # of an event: `source` and `at` say it for longer than one connection or one run


class MqttSink(Sink):
    """A client of one broker; connects by itself, and again, and never makes anybody wait."""

    name = "mqtt"
    counts_sent = True

    def __init__(self, settings: Any, control: Control) -> None:
        super().__init__(settings, control)
        self._topic = topic_of(settings)
        self._client: paho.Client | None = None
        self._unconfirmed: collections.deque[tuple[paho.MQTTMessageInfo, Notice]] = collections.deque()
        self._connected = threading.Event()
        self._closing = False
        self._state = State(settings, control, self._keep)
        self._own_id = OWN_ID
        self._earlier = EARLIER if not settings.topic and self._topic != FIRST_TOPIC else ""
        self._others: set[str] = set()  # daemons that have our topic, too
        self._asks = threading.Lock()
        self._asked: dict[str, str | None] = {}  # knob -> what to ask for when the daemon has done the one before
        self._refused: set[str] = set()  # knobs whose last command was refused
        self._topics: list[str] = []  # that were asked for
        self._deaf_to: list[str] = []  # those that the broker refused
        self._turned_away = False  # the broker has said why it does not want us

    # --- in the sink's own thread

    def check(self) -> None:
        """Raises SettingsError for a host, topics or an account that cannot be."""
        settings = self._settings
        check_topic("mqtt.topic", self._topic)
        if settings.discovery:
            check_topic("mqtt.discovery", settings.discovery)
        check_page(settings.page)
        check_host(settings.host)
        if settings.password_file and not settings.username:
            raise SettingsError("mqtt.password_file without mqtt.username: set both, a password goes with a name")

    def probe(self) -> None:
        """Raises SettingsError for a password file that cannot be used."""
        if self._settings.password_file:
            read_password(self._settings.password_file)

    def open(self) -> None:
        """Begins to connect; that there is no broker yet is not a failure to open.

        Raises:
            SettingsError: the settings cannot be used.
        """
        settings = self._settings
        password = read_password(settings.password_file) if settings.password_file else None
        self.check()
        client = LimitedClient(CallbackAPIVersion.VERSION2, f"{node_of(self._topic)}-{secrets.token_hex(4)}")
        client.on_too_large = self._on_too_large
        if settings.username:
            client.username_pw_set(settings.username, password)
            self._warn_of_password()
        if settings.tls:
            client.tls_set_context(ssl.create_default_context())
        client.will_set(f"{self._topic}/availability", OFFLINE, qos=1, retain=True)
        client.reconnect_delay_set(FIRST_RETRY_S, LAST_RETRY_S)
        client.max_queued_messages_set(MAX_QUEUED)
        client.max_inflight_messages_set(MAX_INFLIGHT)
        client.on_connect, client.on_connect_fail = self._on_connect, self._on_connect_fail
        client.on_disconnect, client.on_message = self._on_disconnect, self._on_message
        client.on_subscribe, client.on_socket_open = self._on_subscribe, at_once
        self._client = client
        self.fault = f"not connected: {settings.host}:{settings.port} has not answered yet"
        client.connect_async(settings.host, settings.port, KEEPALIVE_S)
        client.loop_start()

    def send(self, notice: Notice) -> None:
        """Sends an event; who has no other to send waits in `idle` until the broker has it.

        Raises:
            DaemonError: no broker took this one, or an earlier one, within 10 s; it is lost.
        """
        client = self._opened()
        if not self._connected.wait(max(0.0, LATE_S - _age_s(notice))) or _age_s(notice) > LATE_S:
            raise DaemonError(f"an event is lost: there was no broker for {LATE_S:g} s")
        event = {key: value for key, value in notice.to_json().items() if key not in LEFT_OUT}
        if event["type"] == "detection":
            self._state.wake({key: event[key] for key in event if key != "type"})
        # Home Assistant's event entities want `event_type`.
        if event["type"] == "confirmation":
            self._state.people()
        kind = CANCELLED if event["reason"].endswith(":cancel") else event["type"]
        told = client.publish(f"{self._topic}/event", as_json({**event, "event_type": kind}), qos=1)
        if event["type"] == "rejection":
            self._state.diagnostics()
        self._unconfirmed.append((told, notice))
        self.idle_s = 0.0
        self._confirm(MAX_INFLIGHT - 1)

    def idle(self) -> None:
        """There is nothing to send just now: waits until the broker has what was sent.

        Raises:
            DaemonError: it did not take it within 10 s; it is lost.
        """
        self._confirm(0)

    def _confirm(self, most: int) -> None:
        """Waits until at most so many events are on their way; raises DaemonError as `idle`."""
        while len(self._unconfirmed) > most:
            told, notice = self._unconfirmed.popleft()
            self.idle_s = 0.0 if self._unconfirmed else None
            try:
                told.wait_for_publish(max(0.0, LATE_S - _age_s(notice)))
            except (ValueError, RuntimeError) as error:  # its queue is full, or the connection broke just now
                raise DaemonError(f"an event may be lost: {text_of(error)}") from error
            if not told.is_published():
                raise DaemonError(f"an event may be lost: the broker has not confirmed it for {LATE_S:g} s")
            self._control.stats.add("sent", sink=self.name)

    def close(self) -> None:
        """Says goodbye where somebody listens, and has what was sent before.

        Raises:
            DaemonError: as `idle`; it is closed all the same.
        """
        try:
            if self._connected.is_set():
                self._confirm(0)
        finally:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        client = self._opened()
        self._closing = True
        self._state.end()
        client.disconnect()
        client.loop_stop()

    # --- in the daemon's thread

    def state(self) -> None:
        """Says what is in force now, and asks for what came in while the daemon was at it."""
        with self._asks:
            next_asks = {name: value for name, value in self._asked.items() if value is not None}
            self._asked = dict.fromkeys(next_asks)
        for name, value in next_asks.items():
            self._control.change(KNOBS[name].key, value)
        self._state.household()

    def microphone(self) -> None:
        """Says how it is."""
        self._state.microphone()

    # --- in paho's thread

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self._turned_away = True
            self._lose(str(reason))
            return
        knobs = KNOBS if self._settings.controls else ()
        self._topics = [f"{self._topic}/{name}/set" for name in knobs]
        self._topics += [f"{self._topic}/availability", f"{self._topic}/daemon"]
        if self._earlier:
            self._topics.append(self._earlier)
        if self._settings.discovery:
            self._topics += [self._birth_topic, f"{self._topic}/triggers"]
        if not self._state.knows_last:
            self._topics.append(f"{self._topic}/last")  # an earlier daemon's
        # QoS 0: what is too large is dropped without an answer, and a broker would wait for those of QoS 1
        client.subscribe([(topic, 0) for topic in self._topics])
        _LOG.log(logging.WARNING if self._was_away else logging.INFO, "mqtt: connected to %s", self._broker)
        self._state.introduce()  # before anybody may take us for connected, and before any event
        client.publish(f"{self._topic}/daemon", self._own_id)
        self.fault, self._was_away = None, False
        self._connected.set()

    def _on_connect_fail(self, _client: paho.Client, _data: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this while it handles the exception, and does not hand it on
        self._lose(str(error) if error and str(error) else "no answer")

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        was_connected, turned_away = self._connected.is_set(), self._turned_away
        self._connected.clear()
        self._state.lose()
        self._turned_away = False
        if was_connected and not self._closing:
            self._lose(f"the connection broke ({reason})")
        elif not turned_away and not self._closing:  # else why is known better already
            wants = "" if self._settings.tls else ": is that an MQTT broker, and does it want mqtt.tls = true?"
            self._lose(f"it hung up before it answered ({reason}){wants}")

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, _number: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        found = [topic for topic, reason in zip(self._topics, reasons) if reason.is_failure]
        refused = [topic for topic in found if topic != self._earlier]  # which is none of ours
        if not refused:
            self._deaf_to = []
            return
        self.fault = f"connected, but {self._broker} does not let us read {', '.join(refused)}: changes do not arrive"
        if refused != self._deaf_to:  # once, not at each connection
            _LOG.warning("mqtt: %s", self.fault)
        self._deaf_to = refused

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        ours = {f"{self._topic}/last": self._state.take_over, f"{self._topic}/triggers": self._state.take_back}
        if message.topic in ours:
            if message.retain:  # else we have said it
                ours[message.topic](bytes(message.payload))
            return
        if message.topic == self._earlier:
            self._meet_earlier(message)
            return
        if message.retain:  # of before this connection: not a wish of now, and our own state is true already
            return
        if self._settings.discovery and message.topic == self._birth_topic:
            if message.payload == ONLINE.encode():
                self._state.introduce()
        elif message.topic == f"{self._topic}/availability":
            if message.payload != ONLINE.encode():
                self._state.contradict()
        elif message.topic == f"{self._topic}/daemon":
            self._meet(bytes(message.payload))
        elif self._settings.controls and message.topic in self._topics:
            self._obey(KNOBS[message.topic[len(self._topic) + 1 : -len("/set")]], bytes(message.payload))

    def _meet(self, payload: bytes) -> None:
        """Another daemon that has our topic: both mix up their states, and each takes the other's commands."""
        other = payload.decode("ascii", "replace")
        if not re.fullmatch("[0-9a-f]{16}", other) or other in (self._own_id, *self._others):
            return
        if len(self._others) < MOST_OTHERS:
            if not self._others:
                self.note = f"another daemon has the topic {self._topic}, too: give each its own mqtt.topic"
                _LOG.warning("mqtt: %s", self.note)
            self._others.add(other)
            self._opened().publish(f"{self._topic}/daemon", self._own_id)  # it came later, and has not heard of us

    def _meet_earlier(self, message: paho.MQTTMessage) -> None:
        """A device that the same machine may have left before a topic had its name; nobody is behind it now."""
        if message.retain and message.payload == OFFLINE.encode() and not self._said_earlier:
            self._said_earlier = True
            _LOG.warning(
                "mqtt: the topic is %s, and there is a device of the topic %s at this broker: mqtt.topic = "
                '"%s" goes on with that one, `earmark mqtt forget --topic %s` takes it back',
                *(self._topic, *3 * (FIRST_TOPIC,)),
            )

    def _on_too_large(self, size_bytes: int) -> None:
        self._control.stats.add("refused", sink=self.name)
        self.note = f"a message of {size_bytes} bytes came to a topic of ours: it was dropped"
        if not self._said_too_large:  # once, not for each
            _LOG.warning("mqtt: %s", self.note)
        self._said_too_large = True
        self._state.policy()

    # --- shared

    _was_away = False
    _said_too_large = False
    _said_earlier = False

    def _warn_of_password(self) -> None:
        """A password that everybody between here and the broker can read is worth a word."""
        settings = self._settings
        if settings.password_file and not settings.tls and not is_loopback(settings.host):
            self.note = f"the password goes to {self._broker} unencrypted: mqtt.tls = true, where the broker has TLS"
            _LOG.warning("mqtt: %s", self.note)

    @property
    def _broker(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    @property
    def _birth_topic(self) -> str:
        return f"{self._settings.discovery}/status"

    def _opened(self) -> paho.Client:
        if self._client is None:
            raise DaemonError("mqtt is not open")
        return self._client

    def _lose(self, why: str) -> None:
        fault = f"not connected: {self._broker}: {why}"
        if fault != self.fault:
            _LOG.warning("mqtt: %s; it is tried again", fault)
        self.fault, self._was_away = fault, True

    def _obey(self, knob: Knob, payload: bytes) -> None:
        """A command: to the daemon, or back to the truth."""
        try:
            value = knob.parse(payload)
        except InputError as error:
            self._control.stats.add("refused", sink=self.name)
            if knob.name not in self._refused:  # once, until there is a good one
                shown = repr(payload[:SHOWN_BYTES]) + ("…" if len(payload) > SHOWN_BYTES else "")
                _LOG.warning("mqtt: %s/%s/set: %s %s", self._topic, knob.name, shown, error)
            self._refused.add(knob.name)
            self._state.policy()
            return
        self._refused.discard(knob.name)
        with self._asks:
            if knob.name in self._asked:  # one at a time: a slider that is dragged, or somebody who floods us
                self._asked[knob.name] = value
                return
            if is_new := value != knob.read(self._control.household.policy):
                self._asked[knob.name] = None
        if is_new:
            self._control.change(knob.key, value)
        else:
            self._state.policy()

    def _keep(self, topic: str, payload: str) -> None:
        self._opened().publish(topic, payload, retain=True)


def _age_s(notice: Notice) -> float:
    """By a clock that nobody sets."""
    return time.monotonic() - notice.made_s
