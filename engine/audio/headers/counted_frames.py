"""Formats whose header counts the frames, or nothing: FLAC, MP3, Ogg."""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import replace

from .extent import ENDLESS, MAX_32, MOST_CHUNKS, Extent, bytes_at, patched

TAG_BYTES = 128  # of ID3v1, at the end of a file
PAGE_HEADER_BYTES = 27  # of Ogg: up to the number of lacing values
MAX_PAGE_BYTES = PAGE_HEADER_BYTES + 255 + 255 * 255  # header, lacing values, body
LAST_PAGE = 4  # the flag of a page that ends its stream


def flac(file: io.FileIO, size: int) -> Extent:
    """36 bits of STREAMINFO count the frames, 0: unknown. Without them libFLAC reads to the file's end.

    RFC 9639, section 8.2.
    """
    at = _behind_id3(file)
    info = bytes_at(file, at, 26)
    if not info.startswith(b"fLaC") or len(info) < 26:
        return Extent()
    frames = int.from_bytes(info[21:26], "big") & ((1 << 36) - 1)
    end = size - TAG_BYTES if bytes_at(file, size - TAG_BYTES, 3) == b"TAG" else size
    extent = Extent(claimed_frames=frames or None, counted=False)
    return patched(extent, end, {at + 21: bytes([info[21] & 0xF0, 0, 0, 0, 0])})


def tagged(file: io.FileIO, size: int) -> Extent:
    """Behind ID3v2 tags comes MP3 or FLAC."""
    return (flac if bytes_at(file, _behind_id3(file), 4) == b"fLaC" else mp3)(file, size)


def mp3(file: io.FileIO, size: int) -> Extent:
    """The first frame may hold, behind "Xing" or "Info", how many frames and bytes there are.

    Where it does not, libmpg123 guesses from the first frames, and stops too early where their sizes differ. Where
    the file goes on behind these bytes, it stops there. Then a first frame is shown that promises more than can be.
    """
    at = _behind_id3(file)
    frame = bytes_at(file, at, 200)
    layout = _mp3_layout(frame[:4])
    if layout is None:
        return Extent()
    tag_at, frame_samples, endless = layout
    if frame[tag_at : tag_at + 4] not in (b"Xing", b"Info"):
        return replace(Extent(counted=False), view=((0, at), endless, (at, size)))
    flags, frames, length = struct.unpack(">III", frame[tag_at + 4 : tag_at + 16].ljust(12, b"\0"))
    begins = bytes_at(file, at + length, 4)
    goes_on = length > len(frame) and (begins.startswith(b"ID3") or _mp3_layout(begins) is not None)
    if flags & 3 != 3 or not goes_on:
        return Extent()
    extent = Extent(claimed_frames=frames * frame_samples, counted=False)
    return patched(extent, size, {at + tag_at: endless[tag_at : tag_at + 12]})


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
        tag = bytes_at(file, at, 10)
        if len(tag) < 10 or not tag.startswith(b"ID3"):
            break
        at += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0)))
    return at


def ogg(file: io.FileIO, size: int) -> Extent:
    """The last page says by its granule position how long the sound is, and by a flag that it is the last.

    libopus trims the end only by a page with that flag; libsndfile gives up without it. A last page that is cut keeps
    its whole packets. RFC 3533, section 6.
    """
    start = max(0, size - 2 * MAX_PAGE_BYTES)
    tail = bytes_at(file, start, size - start)
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
