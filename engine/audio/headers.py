"""What the header of a recording says of its length, and how much sound there really is.

Recorders write a header before they know how long the sound will be, and many never come back to mend it. libsndfile
takes the smaller of header and file without a word, or refuses. Here the header is read beside it: what libsndfile is
shown is a view in which the length is right, and what the header promised is kept, to be compared with what was read.

A length is unknown where it is zero, or what recorders write into a pipe. Sound beyond the header is told from
metadata: metadata are whole chunks up to the file's end.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

from .samples import MAX_RATE_HZ, MIN_RATE_HZ

NEVER_SO_LONG = 0x7FFFF000  # what sox writes into a pipe; arecord and ffmpeg write more
MAX_32 = 0xFFFFFFFF
MOST_CHUNKS = 10_000  # a file of nothing but empty ones would take minutes
NEAR_BYTES = 4096  # a placeholder may count the header or leave it out
ROUND = (10**9, 2 * 10**9, *(1 << power for power in range(29, 63)))  # lengths that nobody has recorded
TAG_BYTES = 128  # of ID3v1, at the end of a file
PAGE_HEADER_BYTES = 27  # of Ogg: up to the number of lacing values
MAX_PAGE_BYTES = PAGE_HEADER_BYTES + 255 + 255 * 255  # header, lacing values, body
LAST_PAGE = 4  # the flag of a page that ends its stream
ENDLESS = 1 << 40  # samples; a granule position that no recording reaches

_BLOCK_CODINGS = (0x2, 0x11, 0x31)  # MS ADPCM, IMA ADPCM, GSM 6.10: their `fmt ` says how many frames a block has

Piece = Union[bytes, "tuple[int, int]"]
"""A part of a view: these bytes, or the file's from the first to before the second position."""


@dataclass(frozen=True)
class Extent:
    """Where a file's sound lies. None: the header does not say."""

    claimed_bytes: int | None = None
    """The header's length of the sound."""
    there_bytes: int = 0
    """The bytes of sound that are there."""
    claimed_frames: int | None = None
    """The header's length, where it counts frames."""
    view: tuple[Piece, ...] = ()
    """What libsndfile has to be shown instead of the file; empty: the file as it is."""
    cut: bool = False
    """It ends within something, and nothing says how much is missing."""
    unfinished: bool = False
    """It has no mark of its end, and may have had more."""
    counted: bool = True
    """Whether libsndfile's own count of frames is what the header promises."""

    @property
    def beyond(self) -> bool:
        """Whether there is more sound than the header says."""
        return self.claimed_bytes is not None and 0 <= self.claimed_bytes < self.there_bytes


class View(io.RawIOBase):
    """A file of which parts are replaced, read only."""

    def __init__(self, path: Path, pieces: tuple[Piece, ...]) -> None:
        super().__init__()
        self._file = io.FileIO(path)
        self._parts: list[tuple[int, int, Piece]] = []  # first position in the view, end, what is there
        self._at = end = 0
        for piece in pieces:
            length = len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
            self._parts.append((end, end + length, piece))
            end += length
        self._end = end

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Like any file's."""
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence])
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fills the buffer as far as the view goes."""
        target, count = memoryview(buffer), 0
        for start, end, piece in self._parts:
            if start <= self._at < end and count < len(target):
                here = min(end - self._at, len(target) - count)
                got = self._part(piece, self._at - start, here)
                target[count : count + len(got)] = got
                count += len(got)
                self._at += len(got)
                if len(got) < here:  # the file has become shorter meanwhile
                    break
        return count

    def _part(self, piece: Piece, offset: int, length: int) -> bytes:
        if isinstance(piece, bytes):
            return piece[offset : offset + length]
        self._file.seek(piece[0] + offset)
        return self._file.read(length)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()


def read(file: io.FileIO) -> Extent:
    """What a file's header says. A format that is not known here, or a damaged header, says nothing."""
    size = file.seek(0, os.SEEK_END)
    first = _at(file, 0, 12)
    for begins, reader in _READERS:
        if re.match(begins, first, re.DOTALL):
            return reader(file, size)
    return Extent()


def beginning(file: io.FileIO) -> bytes:
    """The first bytes of a file, by which its format is known."""
    return _at(file, 0, 16)


# --- formats whose header has a count of bytes


def _riff(file: io.FileIO, size: int) -> Extent:
    """WAV and RF64: chunks of a name and a 32-bit length; RF64 has the length in another chunk before."""
    order = ">" if _at(file, 0, 4) == b"RIFX" else "<"
    form, wide_at, coding = _at(file, 0, 4), None, b""
    for begin, name, length in _chunks(file, 12, f"{order}4sI"):
        if name == b"fmt ":
            coding = _at(file, begin, min(length, 20))
        if name == b"ds64":
            wide_at = begin + 8
        if name == b"data":
            break
    else:
        return Extent()
    if form == b"RF64" and wide_at is not None and length in (0, MAX_32):
        (length,) = struct.unpack("<q", _at(file, wide_at, 8))
        extent = _in_blocks(_sized(file, size, begin, length, f"{order}4sI", wide=True), coding, order)
        if not _has_to_be_shown(extent):
            return extent
        return _patched(extent, size, {wide_at: struct.pack("<q", extent.there_bytes)})
    extent = _in_blocks(_sized(file, size, begin, length, f"{order}4sI"), coding, order)
    if not _has_to_be_shown(extent):
        return extent
    if extent.there_bytes <= MAX_32:
        return _patched(extent, size, {begin - 4: struct.pack(f"{order}I", extent.there_bytes)})
    # more than 4 GB behind a length of 32 bits: the same as RF64
    wide = struct.pack("<4sI4s4sIqqqI", b"RF64", MAX_32, b"WAVE", b"ds64", 28, size + 28, extent.there_bytes, 0, 0)
    return replace(extent, view=(wide, (12, begin - 8), b"data" + struct.pack("<I", MAX_32), (begin, size)))


def _chunks(file: io.FileIO, at: int, form: str) -> Iterator[tuple[int, bytes, int]]:
    """Where each chunk's content begins, its name and its length; those with 32 bits of length are padded to even."""
    head_bytes = struct.calcsize(form)
    for _ in range(MOST_CHUNKS):
        header = _at(file, at, head_bytes)
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


def _w64(file: io.FileIO, size: int) -> Extent:
    """Chunks of a GUID and a 64-bit length that counts its own 24 bytes, at multiples of 8; libsndfile reads to the
    end."""
    at, coding = 40, b""
    for _ in range(MOST_CHUNKS):
        header = _at(file, at, 24)
        if len(header) < 24:
            break
        (length,) = struct.unpack("<q", header[16:])
        if header.startswith(b"fmt "):
            coding = _at(file, at + 24, 20)
        if header.startswith(b"data"):
            extent = _in_blocks(_sized(file, size, at + 24, length - 24, "", wide=True), coding, "<")
            if extent.beyond and _at(file, _to_eight(at + length) + 4, 12) == _at(file, at + 4, 12):
                return replace(  # another chunk follows, which is no sound
                    extent, there_bytes=length - 24, view=((0, at + length),)
                )
            if extent.claimed_bytes is None and extent.there_bytes:
                return _patched(extent, size, {at + 16: struct.pack("<q", extent.there_bytes + 24)})
            return extent
        if length < 24:
            break
        at += _to_eight(length)
    return Extent()


def _to_eight(position: int) -> int:
    return position + -position % 8


def _aiff(file: io.FileIO, size: int) -> Extent:
    """Chunks of a name and a 32-bit length; that of the sound begins with 8 bytes of its own."""
    for begin, name, length in _chunks(file, 12, ">4sI"):
        if name == b"SSND":
            extent = _sized(file, size, begin + 8, length - 8, ">4sI")
            if not _has_to_be_shown(extent):
                return extent
            return _patched(extent, size, {begin - 4: struct.pack(">I", min(extent.there_bytes + 8, MAX_32))})
    return Extent()


def _caf(file: io.FileIO, size: int) -> Extent:
    """Chunks of a name and a 64-bit length; that of the sound begins with 4 bytes of its own, −1: up to the end.

    Where packets differ in size, `pakt` says how many of them there are, and how many frames.
    """
    frames = None
    for begin, name, length in _chunks(file, 8, ">4sq"):
        if name == b"pakt" and len(counts := _at(file, begin, 16)) == 16:
            packets, frames = struct.unpack(">qq", counts)
            frames = frames if packets > 0 and frames > 0 else None
        if name == b"data":
            extent = replace(_sized(file, size, begin + 4, length - 4, ">4sq", wide=True), claimed_frames=frames)
            if extent.claimed_bytes == extent.there_bytes:
                return extent
            return _patched(extent, size, {begin - 8: struct.pack(">q", extent.there_bytes + 4)})
    return Extent()


def _au(file: io.FileIO, size: int) -> Extent:
    """Position and length of the sound, 32 bits each; all ones: up to the end."""
    order = ">" if _at(file, 0, 4) == b".snd" else "<"
    begin, length = struct.unpack(f"{order}II", _at(file, 4, 8).ljust(8, b"\0"))
    if not 24 <= begin < size:
        return Extent()
    extent = _sized(file, size, begin, length, "")
    if not _has_to_be_shown(extent):
        return extent
    return _patched(extent, size, {8: struct.pack(f"{order}I", MAX_32)})


_NIST_COUNTS = (b"sample_count", b"sample_n_bytes", b"channel_count")


def _nist(file: io.FileIO, size: int) -> Extent:
    """A header of text, its length in its second line; the sound is all that follows."""
    header = _at(file, 0, 16).split(b"\n")
    begin = int(header[1]) if len(header) > 1 and header[1].strip().isdigit() else 1024
    text = _at(file, 0, min(begin, 1 << 16))
    found = [re.search(rb"%s -\w+ (\d{1,12})" % key, text) for key in _NIST_COUNTS]
    count, width, channels = (int(match[1]) if match else 0 for match in found)
    return _sized(file, size, begin, count * width * max(channels, 1), "") if count and width else Extent()


def _voc(file: io.FileIO, size: int) -> Extent:
    """Blocks of a type and a 24-bit length. A sound may go on in further blocks: only what is missing is told."""
    (at,) = struct.unpack("<H", _at(file, 20, 2).ljust(2, b"\0"))
    for _ in range(MOST_CHUNKS):
        header = _at(file, at, 4)
        if len(header) < 4:
            break
        kind, length = header[0], int.from_bytes(header[1:], "little")
        own = {1: 2, 9: 12}.get(kind)  # what the block has of its own before the sound
        if own is not None:
            there = size - at - 4 - own
            if there <= 0 or length - own < there:
                break
            extent = _patched(Extent(length - own, there), size, {at + 1: (there + own).to_bytes(3, "little")})
            return replace(extent, view=(*extent.view, b"\0"))  # the block that ends them all
        if kind == 0:
            break
        at += 4 + length
    return Extent()


def _htk(file: io.FileIO, size: int) -> Extent:
    """Frames, period in 100 ns, bytes a frame (2), kind (0: waveform); libsndfile takes it only if all of it fits."""
    frames, there = int.from_bytes(_at(file, 0, 4), "big"), (size - 12) // 2
    period = int.from_bytes(_at(file, 4, 4), "big")
    unlike = not 10**7 // MAX_RATE_HZ <= period <= 10**7 // MIN_RATE_HZ  # nothing else tells these files from others
    if frames == there or unlike or not 0 < there <= MAX_32:
        return Extent()
    extent = Extent(2 * frames, 2 * there)
    return _patched(extent, 12 + 2 * there, {0: struct.pack(">I", there)})


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


def _patched(extent: Extent, end: int, fields: dict[int, bytes]) -> Extent:
    """With a view of the file up to `end`, in which some fields are other ones."""
    pieces: list[Piece] = []
    at = 0
    for position, content in sorted(fields.items()):
        pieces += [(at, position), content]
        at = position + len(content)
    return replace(extent, view=(*pieces, (at, end)))


_METADATA = (b"TAG", b"ID3", b"APETAGEX", b"LIST", b"bext", b"iXML", b"_PMX", b"id3 ", b"JUNK", b"junk")
_SOUND = (b"data", b"RIFF", b"RIFX", b"RF64", b"FORM", b"SSND", b"caff")  # another recording, or more of this one


def _metadata(file: io.FileIO, at: int, end: int, chunk: str) -> bool:
    """Whether what lies in [at, end) is no sound: whole chunks of that form, tags or zeros."""
    for _ in range(MOST_CHUNKS):
        if end - at < 8:
            return True
        begins = _at(file, at, 8)
        if begins.startswith(_METADATA[:3]) or begins[1:].startswith(_METADATA[:3]):
            return True
        if not any(begins):
            return _zeros(file, at, end)
        if not chunk:
            return False
        if begins[0] == 0:  # chunks of odd length are padded
            at += 1
        header = _at(file, at, struct.calcsize(chunk))
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
        piece = _at(file, at, min(1 << 16, end - at))
        if not piece or any(piece):
            return not piece
        at += len(piece)
    return True


# --- formats whose header has a count of frames, or none


def _flac(file: io.FileIO, size: int) -> Extent:
    """36 bits of STREAMINFO count the frames, 0: unknown. Without them libFLAC reads to the file's end.

    RFC 9639, section 8.2.
    """
    at = _behind_id3(file)
    info = _at(file, at, 26)
    if not info.startswith(b"fLaC") or len(info) < 26:
        return Extent()
    frames = int.from_bytes(info[21:26], "big") & ((1 << 36) - 1)
    end = size - TAG_BYTES if _at(file, size - TAG_BYTES, 3) == b"TAG" else size
    extent = Extent(claimed_frames=frames or None, counted=False)
    return _patched(extent, end, {at + 21: bytes([info[21] & 0xF0, 0, 0, 0, 0])})


def _tagged(file: io.FileIO, size: int) -> Extent:
    """Behind ID3v2 tags comes MP3 or FLAC."""
    return (_flac if _at(file, _behind_id3(file), 4) == b"fLaC" else _mp3)(file, size)


def _mp3(file: io.FileIO, size: int) -> Extent:
    """The first frame may hold, behind "Xing" or "Info", how many frames and bytes there are.

    Where it does not, libmpg123 guesses from the first frames, and stops too early where their sizes differ. Where
    the file goes on behind these bytes, it stops there. Then a first frame is shown that promises more than can be.
    """
    at = _behind_id3(file)
    frame = _at(file, at, 200)
    layout = _mp3_layout(frame[:4])
    if layout is None:
        return Extent()
    tag_at, frame_samples, endless = layout
    if frame[tag_at : tag_at + 4] not in (b"Xing", b"Info"):
        return replace(Extent(counted=False), view=((0, at), endless, (at, size)))
    flags, frames, length = struct.unpack(">III", frame[tag_at + 4 : tag_at + 16].ljust(12, b"\0"))
    begins = _at(file, at + length, 4)
    goes_on = length > len(frame) and (begins.startswith(b"ID3") or _mp3_layout(begins) is not None)
    if flags & 3 != 3 or not goes_on:
        return Extent()
    extent = Extent(claimed_frames=frames * frame_samples, counted=False)
    return _patched(extent, size, {at + tag_at: endless[tag_at : tag_at + 12]})


def _mp3_layout(header: bytes) -> tuple[int, int, bytes] | None:
    """Of a frame of layer III: where a count of frames stands, its samples, and a frame that counts without end.

    None: it is none. ISO/IEC 11172-3, 2.4.2.3, and 13818-3.
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2 or header[1] & 0x18 == 0x08:
        return None
    rate, full = header[2] >> 2 & 3, header[1] & 0x18 == 0x18  # full: MPEG 1, else its half or quarter of the rate
    if rate == 3 or header[2] >> 4 in (0, 15):
        return None
    side_bytes = (17 if full else 9) if header[3] >> 6 == 3 else (32 if full else 17)
    rate_hz = (44_100, 48_000, 32_000)[rate] // {0x18: 1, 0x10: 2, 0x00: 4}[header[1] & 0x18]
    # bit rate 8 is 112 kbit/s of MPEG 1, 64 of the others: long enough; no check sum, no padding
    frame_bytes = 144 * 112_000 // rate_hz if full else 72 * 64_000 // rate_hz
    begin = bytes([0xFF, header[1] | 1, 8 << 4 | rate << 2, header[3]])
    count = b"Xing" + struct.pack(">II", 1, 1 << 20)
    endless = (begin + bytes(side_bytes) + count).ljust(frame_bytes, b"\0")
    return 4 + side_bytes, 1152 if full else 576, endless


def _behind_id3(file: io.FileIO) -> int:
    """Where the file begins behind ID3v2 tags."""
    at = 0
    for _ in range(MOST_CHUNKS):
        tag = _at(file, at, 10)
        if len(tag) < 10 or not tag.startswith(b"ID3"):
            break
        at += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0)))
    return at


def _ogg(file: io.FileIO, size: int) -> Extent:
    """The last page says by its granule position how long the sound is, and by a flag that it is the last.

    libopus trims the end only by a page with that flag; libsndfile gives up without it. A last page that is cut keeps
    its whole packets. RFC 3533, section 6.
    """
    start = max(0, size - 2 * MAX_PAGE_BYTES)
    tail = _at(file, start, size - start)
    at = tail.rfind(b"OggS")
    cut = False
    if at > 0 and len(tail) - at < 22:  # nothing of it can be used: the page before is the last
        tail, cut = tail[:at], True
        at = tail.rfind(b"OggS")
    if at < 0:
        return Extent(cut=cut)
    page = tail[at:]
    granule = struct.unpack("<q", page[6:14])[0] if len(page) >= 14 else 0
    segments, body, whole = _packets(page)
    end = PAGE_HEADER_BYTES + (page[26] if len(page) > 26 else 0) + body
    rest = page[end:] if whole else b""
    cut = cut or (rest != b"" and b"OggS".startswith(rest[:4]))
    if whole and not cut and granule > 0 and page[5] & LAST_PAGE:
        return Extent()
    first = not whole and start == 0 and not _has_sound(tail[:at])
    mended = _last_page(page, segments, body, granule if granule > 0 else ENDLESS, mark=not first)
    return Extent(
        view=((0, start + at), mended),
        cut=cut or (not whole and (first or granule <= 0)),
        unfinished=whole and not cut and not page[5] & LAST_PAGE,
        counted=granule > 0 and not first,
    )


def _has_sound(pages: bytes) -> bool:
    """Whether sound ends on one of these pages; those of the headers have the granule position 0."""
    return any(struct.unpack("<q", match[1])[0] > 0 for match in re.finditer(rb"OggS\0.(.{8})", pages, re.DOTALL))


def _packets(page: bytes) -> tuple[int, int, bool]:
    """How many lacing values belong to packets that are there, their bytes, and whether that is all of the page."""
    if len(page) < PAGE_HEADER_BYTES or len(page) < PAGE_HEADER_BYTES + page[26]:
        return 0, 0, False
    begin = PAGE_HEADER_BYTES + page[26]
    lacing = page[PAGE_HEADER_BYTES:begin]
    if begin + sum(lacing) <= len(page):
        return len(lacing), sum(lacing), True
    segments = body = total = 0
    for number, length in enumerate(lacing, 1):
        total += length
        if length < 255 and begin + total <= len(page):  # a packet ends here
            segments, body = number, total
    return segments, body, False


def _last_page(page: bytes, segments: int, body: int, granule: int, mark: bool) -> bytes:
    """The page with its first segments, which have so many bytes; `mark`: as the last of its stream.

    A page that is the first with sound and the last must not end before its granule position: that one stays
    unmarked.
    """
    header = bytearray(page[:PAGE_HEADER_BYTES].ljust(PAGE_HEADER_BYTES, b"\0"))
    begin = PAGE_HEADER_BYTES + header[26]
    header[5] = header[5] | LAST_PAGE if mark else header[5] & ~LAST_PAGE
    header[6:14] = struct.pack("<q", granule)
    header[22:26] = bytes(4)  # the sum is made over zeros
    header[26] = segments
    lacing = page[PAGE_HEADER_BYTES : PAGE_HEADER_BYTES + segments]
    made = bytearray(header + lacing + page[begin : begin + body])
    made[22:26] = struct.pack("<I", _ogg_sum(bytes(made)))
    return bytes(made)


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_sum(page: bytes) -> int:
    """Ogg's CRC-32: zlib's polynomial, with the bits in the other order, and neither start nor end inverted."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), MAX_32) ^ MAX_32
    return int(f"{mirrored:032b}"[::-1], 2)


def _at(file: io.FileIO, position: int, length: int) -> bytes:
    """So many bytes from there, or what there is of them."""
    if not 0 <= position < os.fstat(file.fileno()).st_size:  # file systems do not seek everywhere
        return b""
    file.seek(position)
    return file.read(length)


Reader = Callable[[io.FileIO, int], Extent]
_READERS: tuple[tuple[bytes, Reader], ...] = (
    (rb"RIFF|RIFX|RF64", _riff),
    (rb"riff\x2e\x91", _w64),
    (rb"FORM....AIF[FC]", _aiff),
    (rb"caff", _caf),
    (rb"\.snd|dns\.", _au),
    (rb"NIST_1A", _nist),
    (rb"Creative Voi", _voc),
    (rb"OggS", _ogg),
    (rb"fLaC", _flac),
    (rb"ID3", _tagged),
    (rb"\xff[\xe0-\xff]", _mp3),
    (rb".{8}\0\x02\0\0", _htk),
)
