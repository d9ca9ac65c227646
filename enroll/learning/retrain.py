"""Voiceprints made anew from what the store has kept: with other networks, or from two names of one person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from earmark.engine.audio.samples import Float32, Int16
from earmark.engine.errors import EnrolmentRefused, InputError, PersonDamaged, PersonError, PersonMismatch
from earmark.engine.history import erasure
from earmark.engine.history.journal import Journal
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.trained.kinds import HEARING
from earmark.engine.people import codec, operations
from earmark.engine.people.loading import binding_of, check_networks
from earmark.engine.people.store import KEPT_VERSIONS, Contents, PersonStore, Tree, Voiceprint
from earmark.engine.people.voiceprint import WITHOUT_NETWORK
from earmark.engine.phrases.model import is_phrase
from earmark.engine.storage.names import folder_name

from ..enrolment import Enroller, Options, Recording
from ..options import SILENT, Watcher
from ..takes.rules import AS_THEY_ARE

RECORDINGS, EMBEDDINGS = "recordings", "embeddings"

FindNetwork = Callable[[str], KeywordNetwork]
"""Opens the keyword network of a wake word's name; may raise KeywordError."""


@dataclass(frozen=True)
class Remade:
    """A voiceprint that is not saved yet."""

    voiceprint: Voiceprint
    recordings: list[Int16]
    """To be kept with it; none where none were kept before."""
    source: str
    """`recordings` or `embeddings`: what it was made from."""
    made_from: Contents = field(default_factory=dict, repr=False)
    """The files of the version that it was made from; empty: of two people's."""

    def save(self, store: PersonStore) -> int:
        """Puts it behind the version that it was made from; returns the new version.

        Raises:
            PersonUnknown: the person was erased or renamed meanwhile; nothing has changed.
            PersonError: there is another version by now; nothing has changed.
            StoreUnwritable: the store may not be written; nothing has changed.
        """
        of = self.voiceprint.name, self.voiceprint.keyword
        check = partial(operations.require_unchanged, store, *of, self.made_from)
        return int(store.save(self.voiceprint, self.recordings, check).name)


def remade(
    store: PersonStore,
    name: str,
    keyword: str,
    enroller: Enroller,
    find: FindNetwork,
    watcher: Watcher = SILENT,
) -> Remade:
    """A person's newest voiceprint, made anew with the networks in use; nothing is written.

    Raises:
        PersonMismatch: no recordings were kept, and the embeddings are of another speaker network.
        EnrolmentRefused: with these networks the recordings would not make a person that works.
        PersonError: it cannot be read.
    """
    files = store.contents(name, keyword)  # first: where it changes before the next look, `save` refuses
    old, recordings = store.load(name, keyword), store.recordings(name, keyword)
    network = None if keyword in WITHOUT_NETWORK or is_phrase(keyword) else find(keyword)
    return replace(_remade(old, [old], recordings, enroller, network, watcher), made_from=files)


def merge(
    store: PersonStore,
    name: str,
    other: str,
    enroller: Enroller,
    find: FindNetwork,
    force: bool = False,
    watcher: Watcher = SILENT,
    journal: Journal | None = None,
) -> tuple[list[Remade], erasure.Renamed]:
    """Makes one person of two names; `other` is erased in the same step.

    For a wake word that both have, a new version is made from the takes of both; one that only `other` has is taken
    over with its versions. What waits to be learned of `other`, and `other` in the journal, is of `name` afterwards.

    Returns:
        What was made anew, and where else the name has changed.

    Raises:
        EnrolmentRefused: they do not sound like one person, and it is not forced; nothing has changed.
        InputError: the two names are one.
        PersonError: one is not there, cannot be read, or is of other networks; nothing has changed.
        StoreUnwritable: the store may not be written; nothing has changed.
    """
    if name == other:
        raise InputError(f"{name!r} and {other!r} are the same name")
    before = _of(store, name, other)
    words = store.keywords(name), store.keywords(other)
    both = [keyword for keyword in words[0] if keyword in words[1]]
    made = {keyword: _merged(store, name, other, keyword, enroller, find, force, watcher) for keyword in both}

    def put() -> dict[str, Tree]:
        if _of(store, name, other) != before:
            raise InputError(f"{name!r} or {other!r} has changed meanwhile: nothing was merged; try again")
        tree = {**store.tree(name)}
        for keyword, new in made.items():
            versions = store.versions(name, keyword)
            for old in versions[: -(KEPT_VERSIONS - 1)]:
                del tree[keyword, old]
            tree[keyword, versions[-1] + 1] = codec.encode(new.voiceprint, new.recordings)
        others = operations.as_name(store.tree(other), name)
        tree.update({key: files for key, files in others.items() if key[0] not in both})
        return {name: tree}

    what = f"{name!r} and {other!r} could not be merged"
    _, also = erasure.called(store, journal, other, name, lambda: store.exchange(what, put, [other]))
    return list(made.values()), also


def _of(store: PersonStore, *names: str) -> set[tuple[str, str, int, int]]:
    """What `fingerprint` says of some people."""
    folders = set(map(folder_name, names))
    return {each for each in store.fingerprint() if folder_name(each[0]) in folders}


def _merged(
    store: PersonStore,
    name: str,
    other: str,
    keyword: str,
    enroller: Enroller,
    find: FindNetwork,
    force: bool,
    watcher: Watcher,
) -> Remade:
    one, two = store.load(name, keyword), store.load(other, keyword)
    network = None if keyword in WITHOUT_NETWORK or is_phrase(keyword) else find(keyword)
    sha256 = network.manifest.model_sha256 if network else one.binding.keyword  # which two of one phrase share
    binding = binding_of(sha256, enroller.speaker.card, enroller.head.card)
    for each in (one, two):
        check_networks(each, binding.keyword, enroller.speaker.card, enroller.head.card)
    verifier = enroller.verifier
    theirs = int(np.sum(verifier.margin(one, two.takes) >= 0))
    own = int(np.sum(verifier.margin(two, one.takes) >= 0))
    if 2 * (theirs + own) < len(one.takes) + len(two.takes) and not force:
        raise EnrolmentRefused(
            f"{name!r} and {other!r} do not sound like one person ({keyword}): {theirs} of {len(two.takes)} takes of "
            f"{other!r} pass as {name!r}, {own} of {len(one.takes)} the other way round; --force merges them"
        )
    recordings = [store.recordings(name, keyword), store.recordings(other, keyword)]
    kept = [*recordings[0], *recordings[1]] if all(recordings) else []
    return _remade(one, [one, two], kept[: codec.MAX_RECORDINGS], enroller, network, watcher)


def _remade(
    old: Voiceprint,
    of: Sequence[Voiceprint],
    recordings: list[Int16],
    enroller: Enroller,
    network: KeywordNetwork | None,
    watcher: Watcher,
) -> Remade:
    """From recordings where there are some, else from embeddings; what was learned since is not among them."""
    report = old.report
    seed, far = int(report.get("seed", 0)), float(report.get("wanted_far", Options().far))
    options = replace(Options(), seed=seed, far=far, trainer=old.trainer)
    if recordings:
        numbered = [Recording(f"recording {number}", samples) for number, samples in enumerate(recordings, start=1)]
        # they were good enough once, and nobody can say them again
        options = replace(options, min_takes=min(options.min_takes, len(old.takes)), limits=AS_THEY_ARE)
        enrolment = enroller.enrol(old.name, numbered, network, options, watcher=watcher)
        return Remade(_with_phrase(enrolment.voiceprint, old), recordings, RECORDINGS)
    if old.binding.speaker != enroller.speaker.card.sha256:
        raise PersonMismatch(
            f"{old.name!r} ({old.keyword}) was enrolled with another speaker network, and no recordings were kept: "
            f"`earmark enroll {old.name}` again"
        )
    if old.trainer in HEARING:
        raise PersonError(
            f"{old.name!r} ({old.keyword}) was enrolled with the trainer {old.trainer!r}, which hears the takes, and "
            f"no recordings were kept: `earmark enroll {old.name} --trainer {old.trainer}` again"
        )
    if old.takes.shape[1] != enroller.speaker.embedding_size:
        raise PersonDamaged(
            f"{old.name!r} ({old.keyword}) cannot be of these networks: its takes have {old.takes.shape[1]} numbers, "
            f"they make {enroller.speaker.embedding_size}: `earmark enroll {old.name}` again"
        )
    sha256 = network.manifest.model_sha256 if network else ""
    takes = np.concatenate([each.takes[: each.enrolled_takes] for each in of])
    varied, through = (_joined(rows) for rows in ([one.copies for one in of], [one.elsewhere for one in of]))
    high_db = report.get("takes_high_db")
    made = enroller.remake(old.name, takes, old.keyword, sha256, options, varied, through, high_db, watcher)
    loose_share = old.loose_share if old.binding.keyword == sha256 else None  # of another network it says nothing
    if "takes_snr_db" in report:  # no sound, no SNR; it is of the same takes, though
        made = replace(made, report={**made.report, "takes_snr_db": report["takes_snr_db"]})
    return Remade(_with_phrase(replace(made, loose_share=loose_share), old), [], EMBEDDINGS)


def _with_phrase(made: Voiceprint, old: Voiceprint) -> Voiceprint:
    """What was learned of a phrase of the person's own stays as it was: only the voice is made anew."""
    if old.phrase is None:
        return made
    report = {**made.report, **{key: old.report[key] for key in ("phrase",) if key in old.report}}
    return replace(
        made,
        keyword=old.keyword,
        binding=replace(made.binding, keyword=old.binding.keyword),
        loose_share=old.loose_share,
        phrase=old.phrase,
        report=report,
    )


def _joined(varied: Sequence[Float32]) -> Float32 | None:
    """(e, c, d) variations of several people's takes as one; None: they are not of the same kinds."""
    return np.concatenate(varied) if len({rows.shape[1:] for rows in varied}) == 1 else None
