"""`earmark people import`: a person from a file, if the file means what it says. Returns an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from earmark.engine.commands import next_steps
from earmark.engine.commands.arguments import models, open_store, say_alike
from earmark.engine.errors import BundleError, CryptographyMissing, PersonLocked, PersonMismatch
from earmark.engine.people import bundle, codec, operations
from earmark.engine.people.store import Contents, PersonStore, Tree

from ..enrolment import Enroller
from ..training.strangers import require_few


def import_file(arguments: argparse.Namespace) -> int:
    """An exported person into the store; nothing is written unless all of the file holds.

    Every version is asked about the strangers of the cohort: its own report, and its threshold, are its author's.
    So is what this very store has signed, for a signature tells who has exported it, and not where it was from.
    """
    store = open_store(arguments, may_be_new=True)
    found = bundle.read(Path(arguments.file))
    signer = _signer(found, store, arguments.signed_by)
    notes: list[str] = []
    tree = dict(_judged(found.tree, Enroller.load(models(arguments)), arguments.unjudged, notes))
    name = arguments.new_name or found.name
    say_alike(name, store)
    operations.insert(
        store, name, operations.as_name(tree, name) if name != found.name else tree, replace=arguments.replace
    )
    keywords = sorted({keyword for keyword, _ in tree})
    report = {"imported": name, "versions": len(tree), "keywords": keywords, "signed_by": found.signed_by}
    versions = f"{len(tree)} version{'s' if len(tree) != 1 else ''}"
    text = f"{name}: {versions} from {arguments.file}, {signer}"
    print(json.dumps(report, ensure_ascii=False) if arguments.json else text)
    for note in dict.fromkeys(notes):
        print(f"earmark: {note}", file=sys.stderr)
    if not arguments.json and not notes:
        for keyword in keywords:
            print(next_steps.after_enrolling(arguments, name, keyword))
    return 0


def _judged(
    tree: Tree, enroller: Enroller, unjudged: bool, notes: list[str]
) -> Iterator[tuple[tuple[str, int], Contents]]:
    """Every version, with the threshold that its takes give it.

    One that is of other networks, which nobody can ask, is left out where a newer one counts.

    Args:
        tree: as it is in the file.
        enroller: with the networks in use.
        unjudged: whether what is of other networks is taken as it is.
        notes: for who imports; what there is to say is appended.

    Raises:
        BundleError: one lets in too many strangers; or the newest one cannot be asked, and is not to be taken so.
        PersonDamaged: one says that it is of the networks in use, and cannot be.
    """
    newest = dict(sorted(tree))
    for (keyword, version), files in tree.items():
        person = codec.decode(files)
        try:
            asked = require_few(person, enroller)
        except PersonMismatch as error:
            what = f"{person.name} ({keyword}, version {version}) is of other networks than those in use"
            if unjudged:
                notes.append(
                    f"{what}: taken unjudged. It is not used now; if these networks come into use, it lets in whom "
                    f"its author wanted, perhaps everybody. `earmark people retrain {person.name}`, or enrol again"
                )
                yield (keyword, version), files
            elif version != newest[keyword]:
                notes.append(f"{what}: left out; a newer one counts")
            else:
                raise BundleError(
                    f"{what}: nobody can say whom it lets in, perhaps everybody; nothing was changed. Where it is "
                    "from, bring these networks into use, `earmark people retrain`, and export it again; or enrol "
                    "again here. If the file is your own, --unjudged takes it as it is"
                ) from error
            continue
        if asked.voiceprint.threshold > person.threshold:
            notes.append(
                f"{person.name} ({keyword}, version {version}): the threshold is {asked.voiceprint.threshold:.3f}, "
                f"as its takes give it, and not {person.threshold:.3f}"
            )
            files = codec.encode(asked.voiceprint, codec.decode_recordings(files))
        yield (keyword, version), files


def _signer(found: bundle.Bundle, store: PersonStore, wanted: str | None) -> str:
    """By whom it is signed, to go on with a sentence.

    Raises:
        BundleError: not by the one that is wanted.
    """
    if wanted is not None and found.signed_by != wanted:
        raise BundleError(f"it is signed by {found.signed_by or 'nobody'}, not by {wanted}; nothing was changed")
    if found.signed_by is None:
        return "which nobody has signed"
    own = None
    try:
        vault = store.vault()
        own = vault.sign(b"")[0] if vault is not None else None
    except (PersonLocked, CryptographyMissing):  # whoever writes into the store will say so
        pass
    return f"signed by {'this very store' if own == found.signed_by else found.signed_by}"
