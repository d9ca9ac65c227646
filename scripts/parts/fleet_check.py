"""A fleet of three homes with real processes: `fleet_check.py FOLDER`, called by scripts/check_fleet in .venv-fleet.

Prints a line for each check; exit code 1 at the first that fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from earmark.engine.networks.head import SpeakerHead
from earmark.enroll.fleet import signed
from earmark.enroll.fleet.asking import free_port

ROOT = Path(__file__).resolve().parents[2]
AUDIO, APP = ROOT / "tests" / "audio", ROOT / "scripts" / "fleet" / "app"
VOICES = ("slt", "rms", "awb")
NOBODY = 65534  # a user who can read nothing of the people
BIN = Path(sys.executable).parent
ROUND_S = 240.0  # for a step to be done; a busy machine is slow


class Failed(Exception):
    """Something is not as it must be."""


class Check:
    """One fleet, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        """By the name of each one's log."""
        self.port = free_port()
        self.joined = 0
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": str(folder),
            **{"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_HOME": str(folder / "flwr")},
            **{"NO_COLOR": "1", "COLUMNS": "200", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        }
        self.environment["PATH"] = f"{BIN}:{self.environment['PATH']}"

    # --- processes

    def run(self, *words: object, fails: bool = False, as_nobody: bool = False) -> str:
        """What a command says; it must end well, or, if so told, must not."""
        done = subprocess.run(
            [*map(str, words)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=ROUND_S,
            cwd=self.folder,
            user=NOBODY if as_nobody else None,
            group=NOBODY if as_nobody else None,
            extra_groups=[] if as_nobody else None,
        )
        if (done.returncode != 0) != fails:
            raise Failed(f"{words}: exit code {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout + done.stderr

    def start(self, name: str, *words: object, as_nobody: bool = False, group: int | None = None) -> Path:
        """Begins a process group of its own; returns its log."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as file:
            self.running[name] = subprocess.Popen(
                [*map(str, words)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
                user=NOBODY if as_nobody else None,
                group=NOBODY if as_nobody else group,
                extra_groups=[] if as_nobody else None,
            )
        return log

    def end(self, name: str) -> None:
        """Kills a process and all that it has started, as a power cut would."""
        process = self.running.pop(name)
        for each in [process.pid, *below(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        process.wait(ROUND_S)

    def earmark(self, *words: object, **options: bool) -> str:
        """What a command of earmark says."""
        return self.run(sys.executable, "-m", "earmark", *words, **options)

    # --- the parts of a fleet

    def make_keys(self) -> None:
        """A certificate of the server, and a key for each home and for a stranger."""
        curve = ("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out")
        self.run("openssl", *curve, "ca.key")
        self.run(
            "openssl", "req", "-x509", "-new", "-key", "ca.key", "-days", 30, "-subj", "/CN=fleet", "-out", "ca.crt"
        )
        self.run("openssl", *curve, "server.key")
        self.run("openssl", "req", "-new", "-key", "server.key", "-subj", "/CN=localhost", "-out", "server.csr")
        (self.folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        sign = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", 30, "-extfile", "names")
        self.run("openssl", "x509", "-req", "-in", "server.csr", *sign, "-out", "server.pem")
        for name in (*VOICES, "stranger"):
            self.run("ssh-keygen", "-q", "-t", "ecdsa", "-b", 384, "-N", "", "-C", "", "-f", f"{name}.key")
            os.chown(self.folder / f"{name}.key", NOBODY, NOBODY)

    def make_home(self, voice: str) -> None:
        """A home with one person, who consents, and an agent."""
        home = self.folder / voice
        takes = sorted(AUDIO.glob(f"{voice}_okay_nabu_enroll_*.flac"))
        if not home.is_dir():  # what an earlier run has enrolled is used again
            self.earmark("enroll", voice, "--store", home / "people", "--from", *takes)
        self.earmark("fleet", "consent", voice, "--store", home / "people", "--folder", home / "fleet")
        self.start_agent(voice)

    def start_agent(self, voice: str) -> None:
        """On a socket that the home's joining user may ask."""
        home, runtime = self.folder / voice, self.folder / f"{voice}-run"
        runtime.mkdir(exist_ok=True)
        os.chown(runtime, 0, NOBODY)
        runtime.chmod(0o750)
        options = (
            "--store",
            home / "people",
            "--folder",
            home / "fleet",
            "--socket",
            runtime / "agent.sock",
            "--group",
        )
        words = (sys.executable, "-m", "earmark", "fleet", "agent", *options)
        self.start(f"agent-{voice}", *words, "--epsilon-year", 3.2, group=NOBODY)
        self.wait_for(lambda: (runtime / "agent.sock").exists(), f"the agent of {voice}")

    def pause_agent(self, voice: str, number: int = signal.SIGSTOP) -> None:
        """Or lets it go on, with SIGCONT."""
        os.killpg(self.running[f"agent-{voice}"].pid, number)

    def start_link(self) -> None:
        """The server; its configuration is where `flwr` looks for it."""
        (self.folder / "flwr").mkdir(exist_ok=True)
        (self.folder / "flwr" / "config.toml").write_text(
            f'[superlink]\ndefault = "fleet"\n\n[superlink.fleet]\naddress = "127.0.0.1:{self.port}"\n'
            f'root-certificates = "{self.folder / "ca.crt"}"\n'
        )
        words: list[object] = [
            BIN / "flower-superlink",
            "--ssl-certfile",
            "server.pem",
            "--ssl-keyfile",
            "server.key",
        ]
        words += ["--ssl-ca-certfile", "ca.crt", "--enable-supernode-auth", "--port", self.port]
        words += ["--database", self.folder / "link.db", "--disable-runtime-dependency-installation"]
        self.start("link", *words)
        self.wait_for(lambda: is_open(self.port), "the SuperLink")

    def restart_link(self) -> None:
        """Kills it first."""
        self.end("link")
        self.start_link()

    def join(self, voice: str, key: str | None = None) -> Path:
        """A home's `earmark fleet join`, as a user who can read nothing of the people."""
        words: list[object] = [
            sys.executable,
            "-m",
            "earmark",
            "fleet",
            "join",
            "-v",
            "--superlink",
            f"127.0.0.1:{self.port}",
        ]
        words += ["--certificates", self.folder / "ca.crt", "--key", self.folder / f"{key or voice}.key"]
        words += ["--socket", self.folder / f"{voice}-run" / "agent.sock"]
        self.joined += 1
        return self.start(f"join-{self.joined}-{voice}", *words, "--wait-s", int(ROUND_S), as_nobody=True)

    def run_app(self, app: Path, **config: object) -> str:
        """`flwr run`, until the run has ended."""
        return self.run(BIN / "flwr", "run", app, "fleet", "--stream", "-c", config_text(**config))

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        """Raises Failed where something is not so in the time for a step."""
        until_s = time.monotonic() + ROUND_S
        while not done():
            if time.monotonic() > until_s:
                raise Failed(f"{what} was not there in {ROUND_S:.0f} s")
            time.sleep(0.2)


def below(parent: int) -> list[int]:
    """The processes that one has started, and those that they have."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == parent:
                found += [int(status.parent.name), *below(int(status.parent.name))]
    return found


def is_open(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def say(text: str) -> None:
    """A line of the log."""
    print(f"ok      {text}", flush=True)


def released(check: Check, voice: str) -> int:
    """How many rounds this home's ledger has."""
    told = check.earmark("fleet", "status", "--json", "--folder", check.folder / voice / "fleet")
    return len(json.loads(told.splitlines()[-1])["rounds"])


def people_of(check: Check) -> dict[str, bytes]:
    """Every file of every home's people."""
    files = [path for voice in VOICES for path in (check.folder / voice / "people").rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in files}


def require(held: bool, what: str) -> None:
    """Raises Failed where something does not hold."""
    if not held:
        raise Failed(what)


def ended(check: Check, log: Path, what: str) -> str:
    """The log of a `join` that has ended."""
    check.wait_for(lambda: "this home's change was sent" in log.read_text() or "\nearmark: " in log.read_text(), what)
    return log.read_text()


def check_all(check: Check) -> None:
    """Every step in its turn."""
    folder, state = check.folder, check.folder / "state"
    check.make_keys()
    public = json.loads(check.earmark("fleet", "key", "start.key", "--json"))["public"]
    for voice in VOICES:
        check.make_home(voice)
    people = people_of(check)
    say(f"three homes, each with one person who has consented, and an agent; {len(people)} files of people")
    check.start_link()
    for voice in VOICES:
        check.run(BIN / "flwr", "supernode", "register", folder / f"{voice}.key.pub", "fleet")
    say("a SuperLink with TLS, which knows the keys of three homes")

    common: dict[str, object] = {"state": str(state), "key": str(folder / "start.key"), "timeout_s": 60.0}
    logs = [check.join(voice) for voice in VOICES]
    check.run_app(APP, homes=3, strategy="median", **common)
    for log in logs:
        require("this home's change was sent" in ended(check, log, log.name), log.read_text()[-500:])
    say("round 1: three homes joined as a user who can read nothing of the people; the round is saved and published")
    require([released(check, voice) for voice in VOICES] == [1, 1, 1], "each home has booked one round")

    log = check.join("slt", key="stranger")
    require("does not let this home in" in ended(check, log, "the stranger"), log.read_text()[-500:])
    say("a home with a key that is not registered is not let in, and says so")

    check.restart_link()
    logs = [check.join(voice) for voice in VOICES]
    check.pause_agent("rms")
    run = check.start(
        "run", BIN / "flwr", "run", APP, "fleet", "--stream", "-c", config_text(homes=3, strategy="mean", **common)
    )
    check.wait_for(lambda: "Receiving: train message" in logs[1].read_text(), "rms in the round")
    check.end(logs[1].stem)
    check.pause_agent("rms", signal.SIGCONT)
    check.wait_for(lambda: (state / "round-0002" / "start.sig").exists(), f"round 2: {run.read_text()[-1500:]}")
    for log in (logs[0], logs[2]):
        ended(check, log, log.name)
    say(
        "the server was killed and started again; in round 2 one home was killed: the round went on with two, "
        "behind round 1"
    )

    start = signed.read(state / "round-0002", public)
    built_in = SpeakerHead().start()
    require(built_in is not None, "the shipped head has a start")
    assert built_in is not None
    require(start.numbers.shape == built_in[0].shape, "the published start has the head's shape")
    moved = np.abs(start.numbers - built_in[0]).max()
    say(f"the start of round {start.card['round']} is signed; no number of it moved by more than {moved:.2f}")
    take = (
        "fleet",
        "take",
        "--signed-by",
        public,
        "--store",
        folder / "slt" / "people",
        "--folder",
        folder / "slt" / "fleet",
    )
    told = check.earmark(*take, state / "round-0002", fails=True)
    require("is not better for who is enrolled here: what is in use stays" in told, told)
    say("a device tried it on its own takes: with the noise of two homes it is not better, and what is in use stays")
    numbers = state / "round-0002" / "start.f32"
    numbers.write_bytes(numbers.read_bytes()[:-1] + b"\x01")
    require("are not those of the card" in check.earmark(*take, state / "round-0002", fails=True), "a tampered start")
    card = state / "round-0001" / "start.json"
    card.write_bytes(card.read_bytes().replace(b'"median"', b'"honest"'))
    require("is not signed with the key" in check.earmark(*take, state / "round-0001", fails=True), "a tampered card")
    say("a start whose numbers or card were changed is refused")

    evil = make_evil(check)
    before = [released(check, voice) for voice in VOICES]
    log = check.join("slt")
    check.run_app(evil, homes=1, **{**common, "state": str(folder / "evil")})
    ended(check, log, "slt with the malicious server")
    got = json.loads((folder / "loot" / "got.json").read_text())
    require(got["answers"] and all(set(answer) == {"error"} for answer in got["answers"]), str(got)[:2000])
    require(got["files"] == [], str(got["files"]))
    require([released(check, voice) for voice in VOICES] == before, "nothing was released to it")
    say(f"a malicious server sent code of its own to a home: {len(got['answers'])} calls for takes, embeddings, "
        "weights and more were refused, and no file of people could be opened")  # fmt: skip

    log = check.join("slt")
    check.run_app(APP, homes=1, strategy="mean", **common)
    require("the year's budget" in (folder / "agent-slt.log").read_text(), "the third round is over the budget")
    say("the third round is over the year's budget of slt: its agent refused, nothing left, the start is as it was")
    require(people_of(check) == people, "the people of every home are as they were")
    say("no home lost anybody: every file of the people is as it was, bit for bit")


def config_text(**config: object) -> str:
    """As `flwr run -c` takes it."""
    return " ".join(
        f"{name}='{value}'" if isinstance(value, str) else f"{name}={value}" for name, value in config.items()
    )


def make_evil(check: Check) -> Path:
    """The app with another client, which asks for what it should not have, and looks for it on the disk."""
    folder = check.folder / "evil-app"
    shutil.copytree(APP, folder)
    loot = check.folder / "loot"
    loot.mkdir()
    loot.chmod(0o777)
    code = EVIL.replace("HOME", repr(str(check.folder / "slt"))).replace("LOOT", repr(str(loot / "got.json")))
    (folder / "earmark_fleet" / "client.py").write_text(code)
    return folder


EVIL = """
import json, socket
from pathlib import Path
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
app = ClientApp()
WANTED = "takes embeddings weights people names ledger status consent audio export start".split()

def ask(path, line):
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect(path)
        agent.sendall(line + b"\\n")
        return json.loads(agent.makefile("rb").readline() or b"{}")

@app.train()
def train(message, context):
    path = str(context.node_config["agent"])
    lines = [json.dumps({"call": call, "person": "slt", "round": "9", "start": ""}).encode() for call in WANTED]
    lines += [b'{"call": "change", "round": "9", "start": "", "clip": "1e9"}', b"takes", b"[]"]
    answers = [ask(path, line) for line in lines]
    files = []
    try:
        for found in Path(HOME).rglob("*"):
            if found.is_file():
                found.read_bytes()
                files.append(str(found))
    except OSError:
        pass
    Path(LOOT).write_text(json.dumps({"answers": answers, "files": files}))
    metrics = MetricRecord({"num-examples": 1})
    content = RecordDict({"arrays": message.content.array_records["arrays"], "metrics": metrics})
    return Message(content=content, reply_to=message)
"""


def main() -> int:
    """The log, and whether all held."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for old in folder.iterdir():
        if old.name not in VOICES:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for voice in VOICES:
        shutil.rmtree(folder / voice / "fleet", ignore_errors=True)
    check = Check(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended, too
    try:
        check_all(check)
    except (Failed, subprocess.TimeoutExpired) as failure:
        print(f"FAILED  {failure}")
        return 1
    finally:
        for name in list(check.running):
            check.end(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
