"""Formats whose header counts the bytes of the sound: WAV and its kin, AIFF, CAF, AU, NIST, VOC, HTK."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import replace

from ..samples import MAX_RATE_HZ, MIN_RATE_HZ
from .extent import ENDLESS, MAX_32, MOST_CHUNKS, Extent, bytes_at, patched

NEVER_SO_LONG = 0x7FFFF000  # what sox writes into a pipe; arecord and ffmpeg write more
NEAR_BYTES = 4096  # a placeholder may count the header or leave it out
ROUND = (10**9, 2 * 10**9, *(1 << power for power in range(29, 63)))  # lengths that nobody has recorded

_BLOCK_CODINGS = (0x2, 0x11, 0x31)  # MS ADPCM, IMA ADPCM, GSM 6.10: their `fmt ` says how many frames a block has


def riff(file: io.FileIO, size: int) -> Extent:
    """WAV and RF64: chunks of a name and a 32-bit length; RF64 has the length in another chunk before."""
    order = ">" if bytes_at(file, 0, 4) == b"RIFX" else "<"
    form, wide_at, coding = bytes_at(file, 0, 4), None, b""
    for begin, name, length in _chunks(file, 12, f"{order}4sI"):
        if name == b"fmt ":
            coding = bytes_at(file, begin, min(length, 20))
        if name == b"ds64":
            wide_at = begin + 8
        if name == b"data":
            break
    else:
        return Extent()
    if form == b"RF64" and wide_at is not None and length in (0, MAX_32):
        (length,) = struct.unpack("<q", bytes_at(file, wide_at, 8))
        extent = _in_blocks(_sized(file, size, begin, length, f"{order}4sI", wide=True), coding, order)
        if not _has_to_be_shown(extent):
            return extent
        return patched(extent, size, {wide_at: struct.pack("<q", extent.there_bytes)})
    extent = _in_blocks(_sized(file, size, begin, length, f"{order}4sI"), coding, order)
    if not _has_to_be_shown(extent):
        return extent
    if extent.there_bytes <= MAX_32:
        return patched(extent, size, {begin - 4: struct.pack(f"{order}I", extent.there_bytes)})
    # more than 4 GB behind a length of 32 bits: the same as RF64
    wide = struct.pack("<4sI4s4sIqqqI", b"RF64", MAX_32, b"WAVE", b"ds64", 28, size + 28, extent.there_bytes, 0, 0)
    return replace(extent, view=(wide, (12, begin - 8), b"data" + struct.pack("<I", MAX_32), (begin, size)))


def _chunks(file: io.FileIO, at: int, form: str) -> Iterator[tuple[int, bytes, int]]:
    """Where each chunk's content begins, its name and its length; those with 32 bits of length are padded to even."""
    head_bytes = struct.calcsize(form)
    for _ in range(MOST_CHUNKS):
        header = bytes_at(file, at, head_bytes)
        if len(header) < head_bytes:
            return
        name, length = struct.unpack(form, header)
        yield at + head_bytes, name, length
        if length < 0:
            return
        at += head_bytes + length + (length % 2 if form.endswith("I") else 0)


def _in_blocks(extent: Extent, coding: bytes, order: str) -> Extent:
    """With the frames that are claimed, where the coding has blocks of which the end of a file may hold a part."""
    if len(coding) < 20 or extent.claimed_bytes is None:
        return extent
    tag, block_bytes, block_frames = (struct.unpack_from(f"{order}H", coding, at)[0] for at in (0, 12, 18))
    if tag not in _BLOCK_CODINGS or not block_bytes:
        return extent
    return replace(extent, claimed_frames=extent.claimed_bytes // block_bytes * block_frames)


def w64(file: io.FileIO, size: int) -> Extent:
    """Chunks of a GUID and a 64-bit length that counts its own 24 bytes, at multiples of 8; libsndfile reads to the
    end."""
    at, coding = 40, b""
    for _ in range(MOST_CHUNKS):
        header = bytes_at(file, at, 24)
        if len(header) < 24:
            break
        (length,) = struct.unpack("<q", header[16:])
        if header.startswith(b"fmt "):
            coding = bytes_at(file, at + 24, 20)
        if header.startswith(b"data"):
            extent = _in_blocks(_sized(file, size, at + 24, length - 24, "", wide=True), coding, "<")
            if extent.beyond and bytes_at(file, _to_eight(at + length) + 4, 12) == bytes_at(file, at + 4, 12):
                return replace(  # another chunk follows, which is no sound
                    extent, there_bytes=length - 24, view=((0, at + length),)
                )
            if extent.claimed_bytes is None and extent.there_bytes:
                return patched(extent, size, {at + 16: struct.pack("<q", extent.there_bytes + 24)})
            return extent
        if length < 24:
            break
        at += _to_eight(length)
    return Extent()


def _to_eight(position: int) -> int:
    return position + -position % 8


def aiff(file: io.FileIO, size: int) -> Extent:
    """Chunks of a name and a 32-bit length; that of the sound begins with 8 bytes of its own."""
    for begin, name, length in _chunks(file, 12, ">4sI"):
        if name == b"SSND":
            extent = _sized(file, size, begin + 8, length - 8, ">4sI")
            if not _has_to_be_shown(extent):
                return extent
            return patched(extent, size, {begin - 4: struct.pack(">I", min(extent.there_bytes + 8, MAX_32))})
    return Extent()


def caf(file: io.FileIO, size: int) -> Extent:
    """Chunks of a name and a 64-bit length; that of the sound begins with 4 bytes of its own, −1: up to the end.

    Where packets differ in size, `pakt` says how many of them there are, and how many frames.
    """
    frames = None
    for begin, name, length in _chunks(file, 8, ">4sq"):
        if name == b"pakt" and len(counts := bytes_at(file, begin, 16)) == 16:
            packets, frames = struct.unpack(">qq", counts)
            frames = frames if packets > 0 and frames > 0 else None
        if name == b"data":
            extent = replace(_sized(file, size, begin + 4, length - 4, ">4sq", wide=True), claimed_frames=frames)
            if extent.claimed_bytes == extent.there_bytes:
                return extent
            return patched(extent, size, {begin - 8: struct.pack(">q", extent.there_bytes + 4)})
    return Extent()


def au(file: io.FileIO, size: int) -> Extent:
    """Position and length of the sound, 32 bits each; all ones: up to the end."""
    order = ">" if bytes_at(file, 0, 4) == b".snd" else "<"
    begin, length = struct.unpack(f"{order}II", bytes_at(file, 4, 8).ljust(8, b"\0"))
    if not 24 <= begin < size:
        return Extent()
    extent = _sized(file, size, begin, length, "")
    if not _has_to_be_shown(extent):
        return extent
    return patched(extent, size, {8: struct.pack(f"{order}I", MAX_32)})


_NIST_COUNTS = (b"sample_count", b"sample_n_bytes", b"channel_count")


def nist(file: io.FileIO, size: int) -> Extent:
    """A header of text, its length in its second line; the sound is all that follows."""
    header = bytes_at(file, 0, 16).split(b"\n")
    begin = int(header[1]) if len(header) > 1 and header[1].strip().isdigit() else 1024
    text = bytes_at(file, 0, min(begin, 1 << 16))
    found = [re.search(rb"%s -\w+ (\d{1,12})" % key, text) for key in _NIST_COUNTS]
    count, width, channels = (int(match[1]) if match else 0 for match in found)
    return _sized(file, size, begin, count * width * max(channels, 1), "") if count and width else Extent()


def voc(file: io.FileIO, size: int) -> Extent:
    """Blocks of a type and a 24-bit length. A sound may go on in further blocks: only what is missing is told."""
    (at,) = struct.unpack("<H", bytes_at(file, 20, 2).ljust(2, b"\0"))
    for _ in range(MOST_CHUNKS):
        header = bytes_at(file, at, 4)
        if len(header) < 4:
            break
        kind, length = header[0], int.from_bytes(header[1:], "little")
        own = {1: 2, 9: 12}.get(kind)  # what the block has of its own before the sound
        if own is not None:
            there = size - at - 4 - own
            if there <= 0 or length - own < there:
                break
            extent = patched(Extent(length - own, there), size, {at + 1: (there + own).to_bytes(3, "little")})
            return replace(extent, view=(*extent.view, b"\0"))  # the block that ends them all
        if kind == 0:
            break
        at += 4 + length
    return Extent()


def htk(file: io.FileIO, size: int) -> Extent:
    """Frames, period in 100 ns, bytes a frame (2), kind (0: waveform); libsndfile takes it only if all of it fits."""
    frames, there = int.from_bytes(bytes_at(file, 0, 4), "big"), (size - 12) // 2
    period = int.from_bytes(bytes_at(file, 4, 4), "big")
    unlike = not 10**7 // MAX_RATE_HZ <= period <= 10**7 // MIN_RATE_HZ  # nothing else tells these files from others
    if frames == there or unlike or not 0 < there <= MAX_32:
        return Extent()
    extent = Extent(2 * frames, 2 * there)
    return patched(extent, 12 + 2 * there, {0: struct.pack(">I", there)})


def _sized(file: io.FileIO, size: int, begin: int, claimed: int, chunk: str, wide: bool = False) -> Extent:
    """The sound begins at `begin`, and the header says so many bytes of it; chunks of that form may follow."""
    there = max(0, size - begin)
    unknown = claimed <= 0 or (claimed > there and _placeholder(claimed, begin, wide))
    if unknown:
        return Extent(None, there, counted=False)
    if claimed < there and _metadata(file, begin + claimed, size, chunk):
        return Extent(claimed, claimed)
    return Extent(claimed, there)


def _placeholder(claimed: int, begin: int, wide: bool) -> bool:
    """Whether a length beyond what is there was written by somebody who could not know it; `wide`: in 64 bits."""
    if (claimed >= NEVER_SO_LONG and not wide) or claimed >= ENDLESS:
        return True
    return any(abs(claimed - length) <= NEAR_BYTES + begin for length in ROUND)


def _has_to_be_shown(extent: Extent) -> bool:
    """Whether libsndfile would read less than there is."""
    return extent.beyond or (extent.claimed_bytes is None and extent.there_bytes > 0)


_METADATA = (b"TAG", b"ID3", b"APETAGEX", b"LIST", b"bext", b"iXML", b"_PMX", b"id3 ", b"JUNK", b"junk")
_SOUND = (b"data", b"RIFF", b"RIFX", b"RF64", b"FORM", b"SSND", b"caff")  # another recording, or more of this one


def _metadata(file: io.FileIO, at: int, end: int, chunk: str) -> bool:
    """Whether what lies in [at, end) is no sound: whole chunks of that form, tags or zeros."""
    for _ in range(MOST_CHUNKS):
        if end - at < 8:
            return True
        begins = bytes_at(file, at, 8)
        if begins.startswith(_METADATA[:3]) or begins[1:].startswith(_METADATA[:3]):
            return True
        if not any(begins):
            return _zeros(file, at, end)
        if not chunk:
            return False
        if begins[0] == 0:  # chunks of odd length are padded
            at += 1
        header = bytes_at(file, at, struct.calcsize(chunk))
        if len(header) < struct.calcsize(chunk):
            return True
        name, length = struct.unpack(chunk, header)
        if name in _SOUND or not all(32 <= byte < 127 for byte in name) or length < 0:
            return False
        at += len(header) + length
        if at > end + 1:
            return name in _METADATA  # cut, but no sound
    return False


def _zeros(file: io.FileIO, at: int, end: int) -> bool:
    while at < end:
        piece = bytes_at(file, at, min(1 << 16, end - at))
        if not piece or any(piece):
            return not piece
        at += len(piece)
    return True
