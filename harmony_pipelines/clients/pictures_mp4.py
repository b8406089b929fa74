"""The front cover in the `moov` atom of an MP4 file (M4A, ALAC, M4B), every other atom as bytes."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from harmony_pipelines.clients.file_errors import UnsuitedFileError
from harmony_pipelines.clients.front_cover import NewCover
from harmony_pipelines.clients.splice import Edit, read_at, size_of

_LARGEST_MOOV = 1 << 28
_TYPES = {"image/jpeg": 13, "image/png": 14, "image/bmp": 27, "image/gif": 12}
_UNSAID = 0
_MIMES = {13: "image/jpeg", 14: "image/png", 27: "image/bmp"}
_HANDLER = b"\0\0\0\x21hdlr" + b"\0" * 8 + b"mdirappl" + b"\0" * 9
_TABLES = {b"stco": "I", b"co64": "Q"}
_ON_THE_WAY = (b"trak", b"mdia", b"minf", b"stbl")


@dataclass(frozen=True)
class Atom:
    """An atom: its name, and where it, its payload and what follows it begin."""

    name: bytes
    start: int
    payload: int
    end: int


def file_atoms(file: BinaryIO) -> list[Atom]:
    """The atoms of the file itself."""
    found: list[Atom] = []
    at, end = 0, size_of(file)
    while at + 8 <= end:
        file.seek(at)
        atom = _atom(file.read(16), 0, at, end)
        found.append(atom)
        at = atom.end
    return found


def atoms(data: bytes, start: int, end: int) -> Iterator[Atom]:
    """The atoms between two places of `data`; a few bytes may follow the last."""
    at = start
    while at + 8 <= end and any(data[at : at + 4]):
        atom = _atom(data, at, at, end)
        yield atom
        at = atom.end


def _atom(data: bytes, at: int, start: int, limit: int) -> Atom:
    length, name = struct.unpack_from(">I4s", data, at)
    head = 8
    if length == 1:
        head, length = 16, struct.unpack_from(">Q", data, at + 8)[0]
    elif length == 0:
        length = limit - start
    if length < head or start + length > limit:
        raise ValueError(f"the atom {name!r} is longer than what holds it")
    return Atom(name, start, start + head, start + length)


def offset_tables(moov: bytes) -> Iterator[Atom]:
    """All tables in `moov` that say where in the file the audio lies."""
    yield from _tables(moov, Atom(b"moov", 0, _atom(moov, 0, 0, len(moov)).payload, len(moov)))


def _tables(moov: bytes, inside: Atom) -> Iterator[Atom]:
    for atom in atoms(moov, inside.payload, inside.end):
        if atom.name in _TABLES:
            yield atom
        elif atom.name in _ON_THE_WAY:
            yield from _tables(moov, atom)
        elif atom.name == b"saio":
            raise UnsuitedFileError("encrypted MP4 files")


def offsets_in(moov: bytes, table: Atom) -> tuple[struct.Struct, tuple[int, ...]]:
    """How the table's offsets are written, and the offsets."""
    count = struct.unpack_from(">I", moov, table.payload + 4)[0]
    if table.payload + 8 + count * (8 if table.name == b"co64" else 4) > table.end:
        raise ValueError("a table of offsets is longer than its atom")
    layout = struct.Struct(f">{count}{_TABLES[table.name]}")
    return layout, layout.unpack_from(moov, table.payload + 8)


class Mp4Tags:
    """The item list of an MP4 file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._atoms = file_atoms(file)
        self._home = _home(self._atoms)
        length = self._home.end - self._home.start
        if length > _LARGEST_MOOV:
            raise ValueError("its index is too large")
        self._moov = read_at(file, self._home.start, length)
        self._path = self._path_to_items()
        if not self._has_sound:
            raise UnsuitedFileError("MP4 files without sound")
        self._covr = self._child(self._path[-1], b"covr") if self._has_items else None
        parts = list(atoms(self._moov, self._covr.payload, self._covr.end)) if self._covr else []
        self._pictures = parts
        first = next((part for part in parts if part.name == b"data"), None)
        self._front = first if first and first.end - first.payload > 8 else None

    def front(self) -> tuple[str, bytes] | None:
        """The first cover's declared type and its bytes: MP4 knows no front and back."""
        if self._front is None:
            return None
        declared = struct.unpack_from(">I", self._moov, self._front.payload)[0] & 0xFFFFFF
        data = self._moov[self._front.payload + 8 : self._front.end]
        return _MIMES.get(declared, ""), data

    def rest(self) -> tuple[bytes, ...]:
        """All items but the first cover, and all atoms but the audio and its index."""
        chain = {atom.start for atom in self._path}
        found = [self._raw(part) for part in self._pictures if part is not self._front]
        for number, holder in enumerate(self._path):
            skip = self._covr.start if self._covr and number == len(self._path) - 1 else -1
            for atom in atoms(self._moov, self._inside(holder), holder.end):
                if atom.start not in chain and atom.start != skip and atom.name != b"trak":
                    found.append(self._raw(atom))
        around = [a for a in self._atoms if a.name not in (b"moov", b"mdat")]
        found += [read_at(self._file, a.start, a.end - a.start) for a in around]
        return tuple(raw for raw in found if raw != _HANDLER)

    def edits(self, cover: NewCover | None) -> list[Edit]:
        """What gives the items this first cover, and moves the offsets that point behind them."""
        new = self._with_picture(_picture(cover) if cover else b"")
        shift = len(new) - len(self._moov)
        new = _shifted(new, self._home.end, shift)
        return [Edit(self._home.start, len(self._moov), new)]

    def _with_picture(self, picture: bytes) -> bytes:
        if self._front:
            if not picture and len(self._pictures) == 1 and self._covr:
                return self._replaced(self._path, self._covr.start, self._covr.end, b"")
            chain = [*self._path, self._covr] if self._covr else self._path
            return self._replaced(chain, self._front.start, self._front.end, picture)
        if not picture:
            return self._moov
        if self._covr:
            at = self._covr.payload
            return self._replaced([*self._path, self._covr], at, at, picture)
        new = _wrapped(b"covr", picture)
        missing = (b"udta", b"meta", b"ilst")[len(self._path) - 1 :]
        for name in reversed(missing):
            new = _wrapped(name, b"\0\0\0\0" + _HANDLER + new if name == b"meta" else new)
        at = self._end_of_atoms(self._path[-1])
        return self._replaced(self._path, at, at, new)

    def _replaced(self, chain: list[Atom], start: int, end: int, new: bytes) -> bytes:
        """`moov` with other bytes between two places, and the sizes of those around them."""
        out = bytearray(self._moov)
        for atom in chain:
            wide = struct.unpack_from(">I", out, atom.start)[0] == 1
            layout, at = (">Q", atom.start + 8) if wide else (">I", atom.start)
            size = struct.unpack_from(layout, out, at)[0]
            if size:  # 0: up to the end of the file
                struct.pack_into(layout, out, at, size + len(new) - (end - start))
        out[start:end] = new
        return bytes(out)

    def _path_to_items(self) -> list[Atom]:
        path = [_atom(self._moov, 0, 0, len(self._moov))]
        for name in (b"udta", b"meta", b"ilst"):
            child = self._child(path[-1], name)
            if child is None:
                break
            path.append(child)
        return path

    @property
    def _has_items(self) -> bool:
        return len(self._path) == 4

    @property
    def _has_sound(self) -> bool:
        tracks = [a for a in atoms(self._moov, self._path[0].payload, len(self._moov))]
        media = [self._child(track, b"mdia") for track in tracks if track.name == b"trak"]
        handlers = [self._child(found, b"hdlr") for found in media if found]
        return any(self._moov[h.payload + 8 : h.payload + 12] == b"soun" for h in handlers if h)

    def _child(self, parent: Atom, name: bytes) -> Atom | None:
        children = atoms(self._moov, self._inside(parent), parent.end)
        return next((child for child in children if child.name == name), None)

    def _inside(self, atom: Atom) -> int:
        """Where the children begin: `meta` has four bytes before them, except in QuickTime."""
        bare = self._moov[atom.payload + 4 : atom.payload + 8] == b"hdlr"
        return atom.payload + (4 if atom.name == b"meta" and not bare else 0)

    def _end_of_atoms(self, holder: Atom) -> int:
        at = self._inside(holder)
        for atom in atoms(self._moov, at, holder.end):
            at = atom.end
        return at

    def _raw(self, atom: Atom) -> bytes:
        return self._moov[atom.start : atom.end]


def _home(of: list[Atom]) -> Atom:
    """`moov`, where it alone says where the audio lies."""
    names = [atom.name for atom in of]
    if b"moov" not in names or b"moof" in names:
        raise UnsuitedFileError("MP4 files in fragments")
    return of[names.index(b"moov")]


def _shifted(moov: bytes, behind: int, shift: int) -> bytes:
    out = bytearray(moov)
    for table in offset_tables(moov):
        layout, offsets = offsets_in(moov, table)
        moved = (at + shift if at >= behind else at for at in offsets)
        layout.pack_into(out, table.payload + 8, *moved)
    return bytes(out)


def _picture(cover: NewCover) -> bytes:
    return _wrapped(b"data", struct.pack(">2I", _TYPES.get(cover.mime, _UNSAID), 0) + cover.data)


def _wrapped(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, name) + payload
