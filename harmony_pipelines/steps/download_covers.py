"""Fetch the planned covers, each from the first source that has a good one."""

import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.bounded_http import BoundedHttp, Fetched
from harmony_pipelines.clients.catalogue import Catalogue, utc_text
from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.clients.database import upsert, writing
from harmony_pipelines.clients.file_errors import shown, speaking_of
from harmony_pipelines.clients.front_cover import mime_of
from harmony_pipelines.clients.images import (
    JPEG,
    PNG,
    WEBP,
    Cover,
    ImageLimits,
    as_format,
    examine,
)
from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.clients.pool import in_pool
from harmony_pipelines.clients.similarity import look_alike
from harmony_pipelines.clients.turns import Turns
from harmony_pipelines.domain.covers import (
    COVER_ART_ARCHIVE,
    LARGER,
    AlbumPlan,
    Covered,
    Failed,
    Found,
    PlannedTrack,
    Skip,
    Source,
)
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.steps.plan_covers import file_of

_EMBEDDABLE = ("image/jpeg", "image/png")
_FIRST_GAP = timedelta(hours=20)
_LONGEST_GAP = timedelta(days=30)


@dataclass(frozen=True)
class DownloadLimits:
    """How large covers may be, how many are fetched at once, and when to stop.

    No album is begun after `until`, or once the files of those with a cover come to
    `max_rewrite_bytes`: what the run cannot embed anyway would be fetched every night.
    """

    images: ImageLimits
    max_bytes: int
    max_rewrite_bytes: int
    workers: int
    until: Deadline


@dataclass
class Downloader:
    """Looks for covers inside the limits; a source that failed is left in peace for a while.

    `archive` is the Cover Art Archive's rule: at most one request a second.
    """

    http: BoundedHttp
    covers: ContentStore
    store: Catalogue
    limits: DownloadLimits
    archive: Turns
    guard: Callable[[], None]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _bytes_to_rewrite: int = field(default=0, init=False)

    def find(self, albums: Sequence[AlbumPlan]) -> dict[int, Found]:
        """What was found for each album, by beets id; failures are committed as they come."""
        before = {row["source_url"]: row for row in self.store.table(tables.cover_failures)}
        attempts = {url: int(row["attempts"]) for url, row in before.items()}
        found: dict[int, Found] = {}
        with closing(in_pool(self._find, albums, self.limits.workers)) as results:
            for album, result in results:
                found[album.beets_album_id] = result
                self._remember(result, attempts)
        return found

    def _find(self, album: AlbumPlan) -> Found:
        if self._is_enough():
            return Found()
        found, failed = Found(), []
        for source in album.sources:
            try:
                picture = self._picture(source)
            except HarmonyError as error:
                if self.limits.until.passed and error.reason is Reason.DEADLINE:
                    return Found()
                failed.append(Failed(source, error))
                continue
            objection = self._objection(album.to_replace, *picture)
            if found.cover is None or objection is None:
                found = Found(self._kept(source, *picture), objection)
            if objection is None:
                break
        if found.cover:
            with self._lock:
                self._bytes_to_rewrite += album.bytes_to_write
        return Found(found.cover, found.objection, tuple(failed))

    def _is_enough(self) -> bool:
        with self._lock:
            is_much = self._bytes_to_rewrite >= self.limits.max_rewrite_bytes
        return is_much or self.limits.until.passed

    def _picture(self, source: Source) -> tuple[bytes, Cover]:
        """The source's picture as it is, or a WebP as what all containers take."""
        data = self._bytes(source)
        try:
            cover = examine(data, self.limits.images)
            if cover.mime not in _EMBEDDABLE:
                data = as_format(data, cover, cover.substitute_mime)
                cover = examine(data, self.limits.images)
        except HarmonyError as error:
            told = f"{source.location} cannot be used. {error.message}"
            raise HarmonyError(error.code, error.reason, told, **error.details) from error
        return data, cover

    def _bytes(self, source: Source) -> bytes:
        if source.is_local:
            return _from_file(file_of(source.location), self.limits.max_bytes)
        fetched = self._fetched(source)
        if fetched.hops > 1 and source.named not in fetched.url.partition("?")[0]:
            raise _another(source, fetched.url)
        return fetched.body

    def _fetched(self, source: Source) -> Fetched:
        until = self.limits.until
        if source.name != COVER_ART_ARCHIVE:
            return self.http.get(source.location, until)
        with self.archive.turn(until) as pace:
            return self.http.get(source.location, until, pace)

    def _kept(self, source: Source, data: bytes, cover: Cover) -> Covered:
        sha256 = self.covers.put(data)
        return Covered(sha256, cover.mime, cover.width, cover.height, len(data), source)

    def _objection(self, track: PlannedTrack | None, data: bytes, cover: Cover) -> Skip | None:
        """Why this may not replace what the file has: not larger, or not the same picture."""
        if track is None:
            return None
        try:
            present = read_front(file_of(track.path))
            if present is None:
                return None  # it was taken out meanwhile; embedding will find the file changed
            old = examine(present.data, self.limits.images)
            if min(cover.width, cover.height) < LARGER * min(old.width, old.height):
                return Skip.NOT_LARGER
            is_same = look_alike(data, present.data, self.limits.images)
            return None if is_same else Skip.OTHER_PICTURE
        except HarmonyError:
            return Skip.OTHER_PICTURE  # what cannot be decoded cannot be called the same

    def _remember(self, found: Found, attempts: dict[str, int]) -> None:
        """Try again after growing gaps: a day, two, four …; a month at the most."""
        now, rows = self.now(), []
        for failure in found.failed:
            url = failure.source.location
            attempts[url] = attempts.get(url, 0) + 1
            gap = min(_FIRST_GAP * 2 ** min(attempts[url] - 1, 10), _LONGEST_GAP)
            rows.append(
                {
                    "source_url": url,
                    "attempts": attempts[url],
                    "code": str(failure.error.code),
                    "tried_at": utc_text(now),
                    "next_attempt_at": utc_text(now + gap),
                }
            )
        well = found.cover.source.location if found.cover else ""
        if not rows and well not in attempts:
            return
        key = tables.cover_failures.c.source_url
        with writing(self.store.engine) as connection:
            upsert(connection, tables.cover_failures, rows)
            connection.execute(tables.cover_failures.delete().where(key == well))
            self.guard()


def _another(source: Source, url: str) -> HarmonyError:
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.BAD_ANSWER,
        f"{source.location} leads to {url.partition('?')[0]}, which does not name the release that "
        "was asked for, so the picture may be another's. If MusicBrainz merged the release, "
        "`beet mbsync` gives the album its new id.",
        url=source.location,
    )


def _from_file(path: Path, max_bytes: int) -> bytes:
    """A picture file's bytes, or the front cover of an audio file."""
    try:
        with speaking_of(path):
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would not even open
                raise _unfit(path, "is no regular file")
            with path.open("rb") as file:
                start = file.read(16)
                if mime_of(start) in (JPEG, PNG, WEBP):
                    data = start + file.read(max_bytes + 1 - len(start))
                    return _not_too_large(data, path, max_bytes)
    except HarmonyError as error:
        if error.reason in (Reason.FILE_MISSING, Reason.READ_ONLY):
            raise HarmonyError(
                ErrorCode.NOT_FOUND,
                Reason.NO_COVER,
                f"The cover {shown(path)} is not there, or may not be read.",
                path=shown(path),
            ) from error
        raise
    return _not_too_large(_embedded_in(path), path, max_bytes)


def _embedded_in(path: Path) -> bytes:
    try:
        front = read_front(path)
    except HarmonyError as error:
        if error.code is not ErrorCode.UNSUPPORTED_MEDIA:
            raise
        raise _unfit(path, "is neither a picture nor an audio file with one") from error
    if front is None:
        raise HarmonyError(
            ErrorCode.NOT_FOUND,
            Reason.NO_COVER,
            f"{shown(path)} has no cover.",
            path=shown(path),
        )
    return front.data


def _unfit(path: Path, fault: str) -> HarmonyError:
    return HarmonyError(
        ErrorCode.UNSUPPORTED_MEDIA,
        Reason.NOT_AN_IMAGE,
        f"The cover {shown(path)} {fault}; replace it by a JPEG, PNG or WebP.",
        path=shown(path),
    )


def _not_too_large(data: bytes, path: Path, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise HarmonyError(
            ErrorCode.PAYLOAD_TOO_LARGE,
            Reason.TOO_MANY_BYTES,
            f"The cover {shown(path)} has more than {max_bytes} bytes (HARMONY_ARTWORK_MAX_BYTES).",
            path=shown(path),
        )
    return data
