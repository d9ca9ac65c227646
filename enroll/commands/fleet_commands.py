"""`earmark fleet …`: learning with other homes. Each takes the parsed arguments and returns an exit code."""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import os
import sys
from pathlib import Path

from earmark.engine.commands.arguments import models, open_store
from earmark.engine.errors import FleetError, system_text_of
from earmark.engine.storage.atomic import write_synced
from earmark.engine.storage.user_folders import SERVICE_FOLDER, data_folder, people_folder

from ..enrolment import Enroller
from ..fleet import signed, starts
from ..fleet.agent import Agent, Terms, serve
from ..fleet.asking import agent_socket, is_answered
from ..fleet.consent import Consent
from ..fleet.join import Fleet, join, require_stranger
from ..fleet.ledger import Ledger


def _folder(arguments: argparse.Namespace) -> Path:
    return Path(arguments.folder) if arguments.folder else data_folder() / "fleet"


def agent(arguments: argparse.Namespace) -> int:
    """Serves the socket until it is ended."""
    store, folder = open_store(arguments), _folder(arguments)
    terms = Terms(arguments.clip, arguments.epsilon_round, arguments.epsilon_year)
    ledger = Ledger(folder / "ledger.json", terms.epsilon_year)
    ledger.entries()  # a damaged one is told now
    path = agent_socket(arguments.socket, os.environ)
    answers = Agent(store, Consent(folder / "consent.json"), ledger, Enroller.load(models(arguments)), terms)
    server = serve(path, answers, arguments.group)
    logging.getLogger(__name__).info("answers at %s", path)
    print(json.dumps({"socket": str(path)}) if arguments.json else f"the agent answers at {path}", flush=True)
    server.serve_forever()  # until it is ended; the next agent replaces the socket
    return 0


def consent(arguments: argparse.Namespace) -> int:
    """Takes a person in or out."""
    names = Consent(_folder(arguments) / "consent.json").change(
        arguments.name, not arguments.withdraw, open_store(arguments)
    )
    if arguments.json:
        print(json.dumps({"consented": names}, ensure_ascii=False))
    else:
        print(f"takes part: {', '.join(names) or 'nobody'}")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """What left, when, and what it cost."""
    folder, path = _folder(arguments), agent_socket(arguments.socket, os.environ)
    ledger = Ledger(folder / "ledger.json", arguments.epsilon_year)
    entries, names = ledger.entries(), Consent(folder / "consent.json").names()
    answered = is_answered(path)
    if arguments.json:
        lines = [{**vars(entry), "at": _day(entry.at_s)} for entry in entries]
        told = {"agent": answered, "consented": names, "epsilon_spent": round(ledger.spent(), 3), "rounds": lines}
        print(json.dumps({**told, "epsilon_year": ledger.budget}, ensure_ascii=False))
        return 0
    print(f"agent: {'answers' if answered else 'does not run'} ({path})")
    print(f"takes part: {', '.join(names) or 'nobody'}")
    print(f"told in the last 365 days: ε {ledger.spent():.2f} of {ledger.budget:g}, at δ = 1e-5")
    for entry in entries:
        people = "1 person" if entry.people == 1 else f"{entry.people} people"
        print(f"{_day(entry.at_s)}  round {entry.round}: {entry.size_bytes} bytes, of {people}")
    if not entries:
        print("nothing ever left this device")
    return 0


def join_round(arguments: argparse.Namespace) -> int:
    """Takes part in one round, and ends."""
    if not arguments.same_user:
        require_stranger(people_folder(), SERVICE_FOLDER / "people")
    fleet = Fleet(arguments.superlink, Path(arguments.certificates).absolute(), Path(arguments.key).absolute())

    def tell(line: str) -> None:
        if arguments.verbose:
            print(line, file=sys.stderr)

    join(fleet, agent_socket(arguments.socket, os.environ), arguments.wait_s, tell)
    print(json.dumps({"joined": arguments.superlink}) if arguments.json else "this home's change was sent")
    return 0


def take(arguments: argparse.Namespace) -> int:
    """Tries a published start, and makes a folder of models with it where it is better."""
    store, base = open_store(arguments), models(arguments)
    start = signed.read(Path(arguments.start), arguments.signed_by)
    made = starts.make_models(start, _folder(arguments), base)
    people = [store.load(name, word) for name in store.names() for word in store.keywords(name)]
    result = starts.tried(base, made, people)
    means = [sum(margins) / len(margins) for margins in (result.now, result.then)]
    if arguments.json:
        print(json.dumps({"better": result.is_better, "now": means[0], "then": means[1], "models": str(made)}))
    else:
        print(f"told from strangers by {means[0]:.2f} deviations now, {means[1]:.2f} with the start ({made})")
        if result.is_better:
            print(f'to use it: set people.models = "{made}", then `earmark people retrain --models {made}`')
            print("to go back: take that setting out, then `earmark people retrain`")
    if not result.is_better:
        raise FleetError(f"{arguments.start}: is not better for who is enrolled here: what is in use stays")
    return 0


def key(arguments: argparse.Namespace) -> int:
    """Makes the key that starts are signed with."""
    path = Path(arguments.file)
    private, public = signed.new_key()
    try:
        write_synced(path, private)
    except OSError as error:
        raise FleetError(f"{path}: cannot be made: {system_text_of(error)}: name a new file") from error
    print(json.dumps({"public": public}) if arguments.json else public)
    return 0


def _day(at_s: float) -> str:
    return datetime.datetime.fromtimestamp(at_s, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
