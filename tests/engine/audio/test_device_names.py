"""What microphones are called: as it is printed on them, each once, the likely one first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sound_server import SoundServer, require_pulseaudio

from earmark.engine.audio import devices
from earmark.engine.audio.devices import alsa_descriptions, named, server_microphone

NOWHERE = Path("/nowhere")
YETI = "Yeti Stereo Microphone: USB Audio (hw:1,0)"
PACTL_INFO = """\
Server Name: PulseAudio (on PipeWire 0.3.65)
Default Sink: alsa_output.pci-0000_00_1f.3.analog-stereo
Default Source: alsa_input.usb-Blue_Yeti-00.analog-stereo
"""
PACTL_SOURCES = """\
Source #58
\tState: SUSPENDED
\tName: alsa_output.pci-0000_00_1f.3.analog-stereo.monitor
\tDescription: Monitor of Built-in Audio Analog Stereo
\tDriver: PipeWire

Source #59
\tState: RUNNING
\tName: alsa_input.usb-Blue_Yeti-00.analog-stereo
\tDescription: Yeti Stereo Microphone Analog Stereo
\tDriver: PipeWire
"""
WPCTL = """\
id 49, type PipeWire:Interface:Node
    alsa.card = "1"
  * media.class = "Audio/Source"
  * node.description = "Yeti Stereo Microphone Analog Stereo"
    node.driver = "true"
"""


def device(name: str, default: bool = False) -> dict[str, Any]:
    return {"name": name, "default": default}


def labels(
    *names: str, default: str = "", server: str | None = None, descriptions: dict[str, str] | None = None
) -> list[str]:
    found = named([device(name, name == default) for name in names], descriptions or {}, server, NOWHERE)
    return [one.label for one in found]


def test_a_machine_with_pipewire_lists_the_names_on_the_things() -> None:
    names = ("HDA Intel PCH: ALC257 Analog (hw:0,0)", "sysdefault", "samplerate", "speexrate", YETI, "pulse")
    found = labels(*names, "upmix", "vdownmix", "pipewire", "default", default="default", server="HD Webcam C615")
    assert found == ["HD Webcam C615", "Yeti Stereo Microphone", "built in (HDA Intel PCH)"]


def test_a_board_without_a_sound_server_lists_its_cards() -> None:
    found = labels("seeed4micvoicec: - (hw:2,0)", "USB PnP Sound Device: Audio (hw:1,0)", "sysdefault", "dsnoop")
    assert found == ["seeed4micvoicec", "USB PnP Sound Device"]


def test_where_one_card_records_the_default_of_alsa_is_it_and_other_programs_may_have_it_too() -> None:
    devices = [device("USB PnP Sound Device: Audio (hw:1,0)"), device("sysdefault"), device("default", True)]
    (one,) = named(devices, {}, None, NOWHERE)
    assert (one.device, one.label, one.default) == ("default", "USB PnP Sound Device", True)
    assert labels("One: PCM (hw:0,0)", "Two: PCM (hw:1,0)", "default", default="default") == [
        "the default of this system",
        "One",
        "Two",
    ]


def test_inputs_of_one_card_and_two_cards_of_one_name_can_be_told_apart() -> None:
    assert set(labels("HDA Intel PCH: ALC1150 Analog (hw:0,0)", "HDA Intel PCH: ALC1150 Alt Analog (hw:0,2)")) == {
        "built in (HDA Intel PCH), ALC1150 Analog",
        "built in (HDA Intel PCH), ALC1150 Alt Analog",
    }
    assert set(labels("sof-hda-dsp: - (hw:1,6)", "sof-hda-dsp: - (hw:1,7)")) == {
        "built in (sof-hda-dsp), hw:1,6",
        "built in (sof-hda-dsp), hw:1,7",
    }
    assert set(labels("Mic: USB Audio (hw:1,0)", "Mic: USB Audio (hw:2,0)")) == {
        "Mic, USB Audio (hw:1,0)",
        "Mic, USB Audio (hw:2,0)",
    }


def test_what_somebody_set_up_in_alsa_has_the_description_given_there() -> None:
    assert labels("mic", "room", descriptions={"mic": "virtual microphone"}) == ["virtual microphone", "room"]


def test_monitors_and_digital_inputs_come_last_even_where_they_are_the_default() -> None:
    monitor = "Monitor of Built-in Audio"
    assert labels("default", "Line: In (hw:1,0)", default="default", server=monitor) == ["Line", monitor]
    assert labels("Loopback: Loopback PCM (hw:0,0)", "Thing: PCM (hw:1,0)") == ["Thing", "Loopback"]


def test_of_two_that_are_as_likely_the_default_is_first() -> None:
    names = ("One: PCM (hw:0,0)", "Two: PCM (hw:1,0)")
    for default in names:
        assert labels(*names, default=default)[0] == default.split(":")[0]


def test_what_is_at_usb_comes_before_what_is_built_in(tmp_path: Path) -> None:
    (tmp_path / "card1").mkdir()
    (tmp_path / "card1" / "usbid").write_text("046d:0825")
    devices = [device("HDA Intel PCH: ALC257 Analog (hw:0,0)", True), device("C615: PCM (hw:1,0)")]
    assert next(one.label for one in named(devices, {}, None, tmp_path)) == "C615"
    assert next(one.label for one in named(devices, {}, None, NOWHERE)) == "built in (HDA Intel PCH)"


def test_where_there_are_only_converters_they_are_shown() -> None:
    assert labels("sysdefault", "samplerate") == ["sysdefault", "samplerate"]


CARDS = st.sampled_from(["Yeti", "HDA Intel PCH", "Mic: Array", "Loopback", "sof-hda-dsp", "Gerät", "麦克风"])
HARDWARE = st.builds(
    lambda card, pcm, number, place: f"{card}: {pcm} (hw:{number},{place})",
    *(CARDS, st.sampled_from(["USB Audio", "-", "", "ALC257 Analog"]), st.integers(0, 9), st.integers(0, 3)),
)
OTHERS = st.sampled_from(["default", "pulse", "pipewire", "sysdefault", "mic", "/dev/dsp", "surround40", "IceCat"])


@given(
    names=st.lists(HARDWARE | OTHERS | st.text(min_size=1, max_size=20), min_size=1, max_size=12, unique=True),
    default=st.integers(0, 11),
    server=st.none() | st.sampled_from(["Yeti", "Monitor of Built-in Audio", "mic"]),
)
def test_every_microphone_has_a_name_of_its_own_and_can_be_opened_by_its_device(
    names: list[str], default: int, server: str | None
) -> None:
    found = named([device(name, number == default) for number, name in enumerate(names)], {}, server, NOWHERE)
    assert found
    assert len({one.label for one in found}) == len({one.device for one in found}) == len(found)
    assert {one.device for one in found} <= set(names)
    kept = {name for name in names if "(hw:" in name}
    shown = {one.device for one in found}
    assert kept <= shown or (len(kept) == 1 and "default" in shown), "no sound card is left out"


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({"pactl info": PACTL_INFO, "pactl list sources": PACTL_SOURCES}, "Yeti Stereo Microphone Analog Stereo"),
        ({"pactl info": PACTL_INFO}, "alsa_input.usb-Blue_Yeti-00.analog-stereo"),
        ({"wpctl inspect @DEFAULT_AUDIO_SOURCE@": WPCTL}, "Yeti Stereo Microphone Analog Stereo"),
        ({}, None),
    ],
)
def test_the_sound_server_says_what_it_records_from(answers: dict[str, str], found: str | None) -> None:
    assert server_microphone(lambda line: answers.get(" ".join(line), "")) == found


def test_a_program_that_is_missing_or_fails_or_hangs_is_no_sound_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "SERVER_ANSWERS_S", 0.2)
    monkeypatch.setenv("PATH", str(tmp_path))
    for script in (None, "exit 1", "exec /bin/sleep 60"):
        for program in ("pactl", "wpctl") if script else ():
            (tmp_path / program).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / program).chmod(0o755)
        assert server_microphone() is None


@pytest.mark.slow
@pytest.mark.alone
def test_a_real_sound_server_and_a_real_alsa_say_what_their_microphones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_pulseaudio()
    with SoundServer(tmp_path) as server:
        for key in ("HOME", "XDG_RUNTIME_DIR", "PULSE_SERVER"):
            monkeypatch.setenv(key, server.env[key])
        assert "Monitor of" in (server_microphone() or "")  # a null sink's, or what is made of it
        assert alsa_descriptions()["mic"] == "virtual microphone"
