"""The page beside a daemon that comes, goes and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_store import environment
from live import Live
from serving_page import Served, frames
from sound_server import until

from earmark.engine.people.store import PersonStore, Voiceprint

pytestmark = pytest.mark.slow


def test_the_page_says_what_the_daemon_hears_and_that_it_is_gone_and_back(
    slt: Voiceprint, spoken: dict[str, bytes], tmp_path: Path
) -> None:
    PersonStore(tmp_path / "people").save(slt)

    def daemon() -> Live:
        arguments = ("-", "--store", tmp_path / "people", "--set", f"socket.path={tmp_path / 's'}")
        return Live(*arguments, env=environment(XDG_STATE_HOME=str(tmp_path / "state")))

    with Served(tmp_path) as served:
        visitor = served.log_in()
        status, connection = visitor.shake_hands()
        assert status == 101
        connection.settimeout(60)
        told = frames(connection)

        def wait(*kinds: str) -> dict[str, object]:
            return next(message for message in told if message["type"] in kinds)

        assert "no daemon answers" in str(wait("gone")["why"])
        with daemon() as first:
            assert wait("status")["people"] == ["slt"]
            first.feed(spoken["slt"])
            assert wait("level")["scores"].keys() == {"okay_nabu"}  # type: ignore[attr-defined]
            event = wait("detection")
            assert event["said"]["title"] == "It woke for slt"  # type: ignore[index]
            assert "It woke for slt" in visitor.page("/")
            for knob, value, key in (
                ("mode", "label", "mode"),
                ("sensitivity", 0.6, "sensitivity"),
                ("voice", 0.4, "voice_sensitivity"),
            ):
                assert visitor.change("/knob", knob=knob, value=value).status == 200
                while wait("status")[key] != value:
                    pass
            assert visitor.change("/knob", knob="person", name="slt", value=0.7).status == 200
            while wait("status")["voice_sensitivity_of"] != {"slt": 0.7}:
                pass
            assert visitor.change("/people/rename", name="slt", new_name="anna").status == 200
            while wait("status")["voice_sensitivity_of"] != {"anna": 0.7}:
                pass
            assert visitor.change("/knob", knob="mode", value="never").status == 409
            connection_count = served.house.live
            assert first.stop().code == 0
        assert wait("gone")["why"]
        with daemon() as second:
            assert wait("status")["mode"] == "label", "what was changed stays"
            connection.close()
            until(lambda: not connection_count._pages, "nobody looks any more")
            second.feed(spoken["slt"])
            assert second.event()["person"] == "anna"
            assert second.stop().code == 0
