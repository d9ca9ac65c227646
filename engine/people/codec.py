"""A voiceprint as the files of a version, and back: checked byte for byte before anything of it is believed.

`header.json` says what it is, which networks it belongs to, and has checksums; `arrays.npz` holds plain arrays, never
a pickle; `take-01.wav` and so on are there where the recordings of the takes were to be kept. The same voiceprint
gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio.samples import Int16
from ..audio.wav import from_wav, to_wav
from ..errors import InputError, PersonNewer
from ..networks.head import HeadWeights, no_weights
from ..networks.trained.kinds import HEAD, LAYOUTS, TRAINERS
from ..phrases import codec as phrases
from ..phrases.model import is_phrase
from ..storage.names import folder_name
from . import meaning
from .voiceprint import COSINE, TRAINED, Binding, Voiceprint

FORMAT = 3  # with another trainer, or a phrase of the person's own
FORMAT_OF_HEADS = 2  # of whom the head trains: written as it ever was, and older versions read it
FORMAT_WITHOUT_ELSEWHERE = 1  # what has no takes from elsewhere is written as it ever was, and older versions read it
HEADER_FILE, ARRAYS_FILE = "header.json", "arrays.npz"
MAX_RECORDINGS = 99  # two digits; the head has no room for more takes than 80
MAX_FILE_BYTES = 4 << 20  # two minutes of sound, ten times everything else: refuses a bomb before it is unpacked
MAX_SEAL_BYTES = 64  # by so much encryption makes a file longer (engine/people/vault.py: 45)

_ARRAYS: Mapping[str, tuple[str, str]] = {  # name -> type, and a letter a dimension: the same letter, the same length
    "takes": ("float32", "nd"),
    "centroid": ("float32", "d"),
    "prototype": ("float32", "p"),
    "projection": ("float16", "dp"),
    "bias": ("float32", "1"),
}
_OF_EVERYBODY = ("takes", "centroid")
_VARIED = ("copies", "elsewhere")  # float16 (e, c, d) each; not in the file where there are none, as in older files
_OFFSETS = "offsets"  # float32 (1 + k,), with `elsewhere` only
_TRAINED_ARRAYS = ("prototype", "projection", "bias")  # empty where the kind is `cosine`
_HEADER: Mapping[str, type] = {
    "format": int,
    "name": str,
    "keyword": str,
    "kind": str,
    "threshold": float,
    "binding": dict,
    "report": dict,
    "arrays_sha256": str,
    "header_sha256": str,
}
_OPTIONAL: Mapping[
    str, type
] = {  # written only where there is something to say, so that older files stay as they are
    "recordings_sha256": list,
    "learned": list,
    "gate": float,
    "trainer": str,
    "phrase": dict,
}


def encode(voiceprint: Voiceprint, recordings: Sequence[Int16] = ()) -> dict[str, bytes]:
    """File name -> content.

    Args:
        voiceprint: to be written.
        recordings: (n,) int16 at 16 kHz each, what the takes were found in; none: no sound is kept.

    Raises:
        InputError: there are more than 99 recordings, or one has more than two minutes.
    """
    if len(recordings) > MAX_RECORDINGS:
        raise InputError(f"{len(recordings)} recordings, at most {MAX_RECORDINGS} can be kept")
    arrays = io.BytesIO()
    varied = {"copies": voiceprint.copies, "elsewhere": voiceprint.elsewhere}
    phrase, phrase_arrays = ({}, {}) if voiceprint.phrase is None else phrases.to_parts(voiceprint.phrase)
    kept: dict[str, Any] = {name: varied[name].astype(np.float16) for name in _VARIED if varied[name].size}
    save: Callable[..., None] = np.savez  # numpy 2 would take what is named at run time for its own arguments
    save(
        arrays,
        takes=voiceprint.takes.astype(np.float32),
        centroid=voiceprint.centroid.astype(np.float32),
        **_trained(voiceprint),
        **kept,
        **phrase_arrays,
        **({_OFFSETS: voiceprint.offsets.astype(np.float32)} if voiceprint.elsewhere.size else {}),
    )
    wavs = {recording_file(number): to_wav(samples) for number, samples in enumerate(recordings, start=1)}
    for number, wav in enumerate(wavs.values(), start=1):
        if len(wav) > MAX_FILE_BYTES - MAX_SEAL_BYTES:
            raise InputError(f"recording {number} has {len(wav)} bytes, at most {MAX_FILE_BYTES} can be kept: cut it")
    header: dict[str, Any] = {
        "format": _format(voiceprint.trainer, bool(phrase), bool(voiceprint.elsewhere.size)),
        "name": voiceprint.name,
        "keyword": voiceprint.keyword,
        "kind": voiceprint.kind,
        "threshold": voiceprint.threshold,
        "binding": asdict(voiceprint.binding),
        "report": dict(voiceprint.report),
        "arrays_sha256": _sha256(arrays.getvalue()),
        **({"recordings_sha256": [_sha256(wav) for wav in wavs.values()]} if wavs else {}),
        **({} if voiceprint.loose_share is None else {"gate": voiceprint.loose_share}),
        **({} if voiceprint.trainer == HEAD else {"trainer": voiceprint.trainer}),
        **({"learned": [dict(one) for one in voiceprint.learned]} if voiceprint.learned else {}),
        **({"phrase": phrase} if phrase else {}),
    }
    return {ARRAYS_FILE: arrays.getvalue(), **wavs, HEADER_FILE: _header_bytes(header)}


def decode(contents: Mapping[str, bytes]) -> Voiceprint:
    """The voiceprint that header and arrays hold; recordings are not looked at.

    Raises:
        PersonNewer: it is of a later format.
        Exception: anything else is wrong; what json, zipfile and numpy raise on bytes made to harm is no closed list.
    """
    header = _checked_header(json.loads(contents[HEADER_FILE]))
    if header["arrays_sha256"] != _sha256(contents[ARRAYS_FILE]):
        raise ValueError("the arrays' checksum does not hold")
    for name in (header["name"], header["keyword"]):
        folder_name(name)  # refuses what can be nobody's
    trainer = header.get("trainer", HEAD)
    arrays = _read_arrays(contents[ARRAYS_FILE], header["kind"], trainer)
    of_phrase = {name: arrays[name] for name in phrases.ARRAYS if name in arrays}
    if is_phrase(header["keyword"]) != ("phrase" in header) or ("phrase" in header) != bool(of_phrase):
        raise ValueError(
            f"keyword={header['keyword']!r:.80}: what is learned of a phrase must be there for one alone"
        )
    learned = tuple(header.get("learned", ()))
    enrolled = len(arrays["takes"]) - len(learned)
    if enrolled < 1:
        raise ValueError(f"{len(arrays['takes'])} takes, {len(learned)} learned")
    if header["format"] != _format(trainer, "phrase" in header, bool(arrays["elsewhere"].size)):
        raise ValueError(f"format {header['format']} has {len(arrays['elsewhere'])} takes from elsewhere")
    wanted = (1 + arrays["elsewhere"].shape[1],) if arrays["elsewhere"].size else (0,)
    if arrays[_OFFSETS].shape != wanted:
        raise ValueError(f"{_OFFSETS} has {arrays[_OFFSETS].shape}, it must have {wanted}")
    for name in _VARIED:
        if arrays[name].size and len(arrays[name]) != enrolled:
            raise ValueError(f"{enrolled} enrolled takes, {name} of {len(arrays[name])}")
    none = np.zeros(0, np.float32)
    voiceprint = Voiceprint(
        name=header["name"],
        keyword=header["keyword"],
        kind=header["kind"],
        threshold=header["threshold"],
        binding=Binding(**header["binding"]),
        takes=arrays["takes"],
        centroid=arrays["centroid"],
        prototype=arrays.get("prototype", none),
        weights=HeadWeights(arrays["projection"], arrays["bias"]) if trainer == HEAD else no_weights(),
        report=header["report"],
        copies=arrays["copies"],
        elsewhere=arrays["elsewhere"],
        offsets=arrays[_OFFSETS],
        learned=learned,
        trainer=trainer,
        model={name: arrays[name] for name in LAYOUTS.get(trainer, {}) if name in arrays},
        loose_share=header.get("gate"),
        phrase=phrases.from_parts(header["phrase"], of_phrase, header["keyword"]) if of_phrase else None,
    )
    meaning.check(voiceprint)
    return voiceprint


def recording_files(header: bytes) -> list[str]:
    """The names of the recordings that belong to a header.

    Raises:
        Exception: as `decode`.
    """
    sums = _checked_header(json.loads(header)).get("recordings_sha256", [])
    return [recording_file(number) for number in range(1, len(sums) + 1)]


def decode_recordings(contents: Mapping[str, bytes]) -> list[Int16]:
    """The recordings, (n,) int16 at 16 kHz each, in the order in which they were given.

    Raises:
        Exception: as `decode`.
    """
    sums = _checked_header(json.loads(contents[HEADER_FILE])).get("recordings_sha256", [])
    recordings = []
    for number, wanted in enumerate(sums, start=1):
        wav = contents[recording_file(number)]
        if _sha256(wav) != wanted:
            raise ValueError(f"the checksum of {recording_file(number)} does not hold")
        recordings.append(from_wav(wav))
    return recordings


def renamed(contents: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    """The same files as those of another person; what was learned has the name too.

    Raises:
        Exception: as `decode`.
    """
    header = {**_checked_header(json.loads(contents[HEADER_FILE]))}
    old, header["name"] = header["name"], name
    if "learned" in header:
        header["learned"] = [
            {key: name if key in ("person", "label") and value == old else value for key, value in facts.items()}
            for facts in header["learned"]
        ]
    return {**contents, HEADER_FILE: _header_bytes(header)}


def without_recordings(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same files without any sound.

    Raises:
        Exception: as `decode`.
    """
    header = _checked_header(json.loads(contents[HEADER_FILE]))
    header.pop("recordings_sha256", None)
    return {ARRAYS_FILE: contents[ARRAYS_FILE], HEADER_FILE: _header_bytes(header)}


def recording_file(number: int) -> str:
    """The file of the recording with a number: 1, 2, …"""
    return f"take-{number:02d}.wav"


def _format(trainer: str, phrase: bool, elsewhere: bool) -> int:
    """The oldest that can say it."""
    if trainer != HEAD or phrase:
        return FORMAT
    return FORMAT_OF_HEADS if elsewhere else FORMAT_WITHOUT_ELSEWHERE


def _trained(voiceprint: Voiceprint) -> dict[str, Any]:
    """The arrays of the trainer."""
    if voiceprint.trainer != HEAD:
        layout = LAYOUTS[voiceprint.trainer]
        return {name: np.asarray(array).astype(layout[name][0]) for name, array in voiceprint.model.items()}
    return {
        "prototype": voiceprint.prototype.astype(np.float32),
        "projection": voiceprint.weights.projection.astype(np.float16),  # training rounds to it: nothing is lost here
        "bias": voiceprint.weights.bias.astype(np.float32),
    }


def _layout(kind: str, trainer: str) -> dict[str, tuple[str, str]]:
    """The arrays that a voiceprint of a trainer must have, beside those that it may have."""
    if trainer == HEAD:
        return dict(_ARRAYS)
    return {**{name: _ARRAYS[name] for name in _OF_EVERYBODY}, **(LAYOUTS[trainer] if kind == TRAINED else {})}


def _header_bytes(header: Mapping[str, Any]) -> bytes:
    signed = {**header, "header_sha256": _header_sha256(header)}
    return json.dumps(signed, indent=1).encode() + b"\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _header_sha256(header: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in header.items() if key != "header_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _read_arrays(content: bytes, kind: str, trainer: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a voiceprint as float32, and as they are those of a phrase, which `phrases` checks.

    Exactly these, of their types and shapes; those of the voice finite.
    """
    layout = _layout(kind, trainer)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = {info.filename.removesuffix(".npy") for info in archive.infolist()}
        may = {*_VARIED, _OFFSETS, *phrases.ARRAYS}
        if found - may != set(layout) or len(found) != len(archive.infolist()):
            raise ValueError(f"the arrays must be exactly {sorted(layout)}, and may be {' and '.join(sorted(may))}")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("the arrays must not be packed: they could unpack to any size")
        arrays = {info.filename.removesuffix(".npy"): _read_array(archive.read(info)) for info in archive.infolist()}
    of_phrase = {name: arrays.pop(name) for name in phrases.ARRAYS if name in arrays}
    # as float32, of which numpy tells ten times as fast as of float16 whether they are finite
    small = {name: array for name, array in arrays.items() if array.dtype in (np.float16, np.float32)}
    numbers = {name: array.astype(np.float32) for name, array in small.items()}
    lengths = {"1": 1, "2": 2}
    for name, (dtype, letters) in layout.items():
        array = arrays[name]
        if kind == COSINE and name in _TRAINED_ARRAYS:
            fits = array.size == 0
        else:
            fits = len(array.shape) == len(letters) and all(
                length > 0 and lengths.setdefault(letter, length) == length
                for letter, length in zip(letters, array.shape)
            )
        if not fits or array.dtype != dtype or not np.isfinite(numbers[name]).all():
            raise ValueError(
                f"{name} is {array.dtype}{array.shape}, it must be finite {dtype}, shape {letters!r} with {lengths}, "
                f"kind {kind!r}"
            )
    offsets = arrays.setdefault(_OFFSETS, np.zeros(0, np.float32))
    if offsets.dtype != np.float32 or not np.isfinite(numbers.setdefault(_OFFSETS, offsets)).all():
        raise ValueError(f"{_OFFSETS} is {offsets.dtype}{offsets.shape}, it must be finite float32")
    for name in _VARIED:
        rows = arrays.setdefault(name, np.zeros((0, 0, 0), np.float16))
        finite = np.isfinite(numbers.setdefault(name, np.zeros((0, 0, 0), np.float32))).all()
        if rows.dtype != np.float16 or rows.ndim != 3 or not finite:
            raise ValueError(f"{name} is {rows.dtype}{rows.shape}, it must be finite float16 in three dimensions")
        if rows.size and rows.shape[2] != lengths["d"]:
            raise ValueError(f"{name} has rows of {rows.shape[2]}, the takes have {lengths['d']}")
    return {**numbers, **of_phrase}


def _read_array(content: bytes) -> npt.NDArray[Any]:
    read: Callable[..., Any] = np.lib.format.read_array  # numpy 1 gives it no types
    array: npt.NDArray[Any] = read(io.BytesIO(content), allow_pickle=False)
    return array


def _checked_header(header: Any) -> dict[str, Any]:
    """The header, if its checksum holds and it has exactly the keys and types of the format."""
    if not isinstance(header, dict):
        raise ValueError("the header is no table")
    written = header.get("format")
    if type(written) is int and written > FORMAT:
        raise PersonNewer(f"it is of format {written}, this earmark knows {FORMAT}: install a newer earmark")
    if type(written) is not int or not written >= FORMAT_WITHOUT_ELSEWHERE:
        raise ValueError(f"its format must be {FORMAT_WITHOUT_ELSEWHERE} to {FORMAT}")
    if header["header_sha256"] != _header_sha256(header):
        raise ValueError("the header's checksum does not hold")
    kinds = {**_HEADER, **{key: kind for key, kind in _OPTIONAL.items() if key in header}}
    if set(header) != set(kinds):
        raise ValueError(f"the header's keys must be {sorted(_HEADER)}, and may be {sorted(_OPTIONAL)}")
    for key, kind in kinds.items():
        if type(header[key]) is not kind:  # JSON's true is an int to isinstance
            raise ValueError(f"{key}={header[key]!r} must be {kind.__name__}")
    if header.get("trainer", TRAINERS[1]) not in TRAINERS[1:]:  # the head is named by naming none
        raise ValueError(f"trainer={header['trainer']!r:.80} must be one of {', '.join(TRAINERS[1:])}")
    if header["kind"] not in (COSINE, TRAINED):
        raise ValueError(f"kind={header['kind']!r} must be {COSINE} or {TRAINED}")
    if not all(isinstance(value, str) for value in header["binding"].values()):
        raise ValueError(f"binding={header['binding']!r} must have sha256 sums")
    sums = header.get("recordings_sha256", [])
    if len(sums) > MAX_RECORDINGS or not all(isinstance(value, str) for value in sums):
        raise ValueError(f"recordings_sha256={sums!r:.80} must be at most {MAX_RECORDINGS} sha256 sums")
    if not 0 < header.get("gate", 1.0) <= 1:
        raise ValueError(f"gate={header['gate']} must be above 0 and at most 1")
    if not all(isinstance(one, dict) for one in header.get("learned", [])):
        raise ValueError(f"learned={header['learned']!r:.80} must be a list of tables")
    return header
