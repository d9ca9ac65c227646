"""What a voiceprint learned, in the store: put there as a new version, and taken back exactly.

An update replaces the person's folder in one step (`PersonStore.exchange`), so that it can choose which versions
stay: the last enrolment, whatever its age, and the newest updates. To take one back is to drop the versions behind
another one, of which not a bit has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError, LearningError
from ..people.codec import decode, decode_recordings, encode
from ..people.store import KEPT_VERSIONS, PersonStore, Tree, Voiceprint
from .queue import LearningQueue


def put(store: PersonStore, voiceprint: Voiceprint, instead_of: int, made_from: Voiceprint | None = None) -> int:
    """Saves what has learned, behind the version that it was made from; returns the new version.

    Args:
        store: to be written.
        voiceprint: to be saved.
        instead_of: the version that it was made from.
        made_from: what was in that version: somebody erased and enrolled anew has one of this number, too.

    Raises:
        LearningError: there is another version by now: somebody enrolled, or another process learned.
        PersonError: a version cannot be read; nothing has changed.
        StoreUnwritable: it could not be written; nothing has changed.
    """
    name, keyword = voiceprint.name, voiceprint.keyword

    def everything() -> Mapping[str, Tree]:
        tree = dict(store.tree(name))
        versions = sorted(version for other, version in tree if other == keyword)
        newest = tree[keyword, versions[-1]] if versions else {}
        changed = made_from is not None and newest and encode(decode(newest)) != encode(made_from)
        if not versions or versions[-1] != instead_of or changed:
            raise LearningError(f"{name!r} ({keyword}) has changed meanwhile: nothing was learned")
        keep = {_enrolment(tree, keyword), *versions[-(KEPT_VERSIONS - 2) :]}
        tree = {key: files for key, files in tree.items() if key[0] != keyword or key[1] in keep}
        return {name: {**tree, (keyword, instead_of + 1): encode(voiceprint, decode_recordings(newest))}}

    store.exchange(f"what {name!r} learned could not be saved", everything)
    return instead_of + 1


def take_back(
    store: PersonStore, name: str, keyword: str, everything: bool = False
) -> tuple[int, list[dict[str, Any]]]:
    """Goes back to the version before the last update, or to the enrolment; what was learned is not learned again.

    Returns:
        The version that counts now, and the facts of what was taken out.

    Raises:
        InputError: nothing was learned.
        PersonError: a version cannot be read; nothing has changed.
        StoreUnwritable: it could not be written; nothing has changed.
    """
    newest = store.load(name, keyword)
    if not newest.learned:
        raise InputError(f"{name!r} ({keyword}) has learned nothing: there is nothing to take back")
    found: list[int] = []
    gone: list[dict[str, Any]] = []

    def without() -> Mapping[str, Tree]:
        tree = dict(store.tree(name))
        versions = sorted(version for other, version in tree if other == keyword)
        learned = decode(tree[keyword, versions[-1]]).learned
        target = _enrolment(tree, keyword) if everything or len(versions) < 2 else versions[-2]
        left = decode(tree[keyword, target]).learned
        if target == versions[-1]:
            raise InputError(f"{name!r} ({keyword}) has learned nothing: there is nothing to take back")
        found[:] = [target]
        gone[:] = [dict(one) for one in learned if one not in left]
        return {name: {key: files for key, files in tree.items() if key[0] != keyword or key[1] <= target}}

    store.exchange(f"what {name!r} learned could not be taken back", without)
    LearningQueue(store).undo(str(one["id"]) for one in gone)
    return found[0], gone


def _enrolment(tree: Tree, keyword: str) -> int:
    """The newest version that has learned nothing; the oldest, if there is none any more."""
    versions = sorted((version for other, version in tree if other == keyword), reverse=True)
    return next((version for version in versions if not decode(tree[keyword, version]).learned), versions[-1])
