"""Examples for the help of each command: what is typed, and what that does. tests/test_help.py parses each."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("earmark doctor", "is everything there?"),
        ("earmark enroll anna", "learn a voice at the microphone"),
        ("earmark listen", "a line for each wake, and who it was"),
        ("earmark people list", "who is enrolled"),
        ("sudo earmark service install", "let it run all day"),
    ),
    "enroll": (
        ("earmark enroll anna", "asks for five takes at the microphone"),
        ("earmark enroll anna --keyword hey_jarvis", "for another wake word"),
        ("earmark enroll anna --from take*.wav", "from recordings, asking nothing"),
        ("earmark enroll anna --from take*.wav --others tv.wav", "and told from what is in tv.wav"),
    ),
    "replay": (
        ("earmark replay evening.flac", "what would have been heard"),
        ("earmark replay --json *.wav", "a JSON object for each event and each file"),
    ),
    "listen": (
        ("earmark listen", "the default microphone"),
        ("earmark listen --mode prefer --keyword alexa", "everybody wakes it, known people by name"),
        ("earmark listen --set mqtt.host=homeassistant.local", "tells Home Assistant"),
        ("arecord -q -f S16_LE -r 16000 -t raw | earmark listen -", "sound from another program"),
    ),
    "plot": (("earmark plot evening.flac --out evening.png", ""),),
    "evaluate": (
        ("earmark evaluate trials.csv", "a table of error rates"),
        ("earmark evaluate trials.csv --json rates.json --plot rates.png", "also for machines, and as a picture"),
    ),
    "doctor": (
        ("earmark doctor", "tries every model, lists the microphones"),
        ("earmark doctor --microphone", "records for a second as well"),
        ("earmark doctor --bundle report.txt", "what a report of a fault needs"),
    ),
    "web": (
        ("earmark web", "for a browser of this machine"),
        ("earmark web --address 0.0.0.0", "for a phone, by HTTPS"),
        ("earmark web --code", "another code to log in with"),
    ),
    "people": (
        ("earmark people list", ""),
        ("earmark people show anna", ""),
        ("earmark people remove anna", "erases everything of that voice"),
    ),
    "people import": (
        ("earmark people import anna.tar", ""),
        ("earmark people import anna.tar --as anne", ""),
    ),
    "people export": (("earmark people export anna --to anna.tar", ""),),
    "people rollback": (
        ("earmark people rollback anna", "what was enrolled before counts again"),
        ("earmark people rollback anna --to 2", ""),
    ),
    "people encrypt": (("earmark people encrypt --key-file key", ""),),
    "fleet": (
        ("earmark fleet consent anna", "she may take part; nobody does before that"),
        ("earmark fleet status", "what left this device, and when"),
    ),
    "settings": (
        ("earmark settings show", "all of them, explained"),
        ("earmark settings check earmark.toml", "before a reload"),
    ),
    "service": (
        ("sudo earmark service install", ""),
        ("earmark service install --user", "with your own sound server"),
        ("earmark service status", ""),
    ),
    "mqtt": (
        ("earmark mqtt forget", "while the daemon does not run; Home Assistant then removes the device"),
        ("earmark mqtt forget --topic earmark", "of a daemon that had another topic"),
    ),
    "wakes": (
        ("earmark wakes list --last 20", ""),
        ("earmark wakes play 7", ""),
        ("earmark wakes label 7 not-me", "it was a stranger"),
    ),
    "learn": (
        ("earmark learn list", "what was learned, and what waits"),
        ("earmark learn now --dry-run", "what would be learned"),
        ("earmark learn undo anna", "takes the last update back"),
    ),
    "bench": (("earmark bench --against pymicro-wakeword", ""), ("earmark bench --live", "")),
}
