import io
import os
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.bounded_http import HttpLimits
from harmony_pipelines.clients.front_cover import NewCover
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.exchange import Answer
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.covers import Found, Skip
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines_tests.audio_files import replace_front, sample
from harmony_pipelines_tests.small_library import GOOD, SmallLibrary, flat, picture

MBID = "5d1c2f7e-0b7a-4c55-9a1e-6f2b8c0d4e11"
OTHER_MBID = "00000000-0b7a-4c55-9a1e-6f2b8c0d4e11"


def serve(served: SpotifyServer, data: bytes, image_id: str | None = None) -> str:
    return f"{served.url}/image/{served.catalogue.add_picture(data, image_id)}"


def search(library: SmallLibrary) -> Found:
    [found] = library.find(library.plan()).values()
    return found


def test_the_first_source_with_a_cover_wins(library: SmallLibrary, served: SpotifyServer) -> None:
    art = library.folder / "cover.jpg"
    art.write_bytes(picture("art"))
    library.album("tone.flac", artpath=str(art), image_url=serve(served, picture()))
    found = search(library)
    assert found.cover
    assert found.cover.source.location == str(art)
    assert (found.cover.width, found.cover.mime) == (300, "image/jpeg")
    assert library.stores.covers.get(found.cover.sha256) == picture("art")
    assert served.count() == 0


def test_the_cover_that_other_tracks_share_is_a_source(library: SmallLibrary) -> None:
    first, _ = library.album("tone.flac", "tone.mp3")
    replace_front(first, NewCover(picture(), "image/jpeg", 300, 300))
    found = search(library)
    assert found.cover
    assert library.stores.covers.get(found.cover.sha256) == picture()


def test_what_the_archive_has_not_falls_through_to_the_next(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    library.album(
        "tone.flac",
        mb_albumid=MBID,
        mb_releasegroupid=OTHER_MBID,
        image_url=serve(served, picture()),
    )
    found = search(library)
    assert found.cover
    assert found.cover.source.name == "spotify"
    assert [failure.error.code for failure in found.failed] == [ErrorCode.NOT_FOUND] * 2
    asked = [request.path for request in served.requests if request.family == "coverart"]
    assert asked == [
        f"/coverart/release/{MBID}/front-1200",
        f"/coverart/release-group/{OTHER_MBID}/front-1200",
    ]


def test_the_archive_is_asked_once_a_second_redirects_and_retries_included(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    for number in range(3):
        mbid = MBID[:-1] + str(number)
        served.catalogue.archive_covers[mbid] = served.catalogue.add_picture(picture(mbid))
        library.album("tone.flac", mb_albumid=mbid)
    library.http_limits = replace(GOOD, deadline_seconds=10)
    served.faults.add("coverart", faults.server_error(500), times=1)
    found = library.find(library.plan())
    assert all(result.cover for result in found.values())
    at = [request.at for request in served.requests]
    assert len(at) == 10  # three for each, and one that failed
    assert all(later - earlier >= 0.99 for earlier, later in pairwise(at))


def test_a_picture_that_is_not_named_by_the_release_asked_for_is_not_its_cover(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    library.http_limits = replace(GOOD, deadline_seconds=10)
    library.album("tone.flac", mb_albumid=MBID)
    served.catalogue.archive_covers[OTHER_MBID] = served.catalogue.add_picture(picture())
    elsewhere = f"{served.url}/archive/1/items/mbid-{OTHER_MBID}/front.jpg"
    served.faults.add("coverart", faults.always(Answer(307, headers={"Location": elsewhere})))
    found = search(library)
    assert found.cover is None
    assert found.problem
    assert found.problem.error.reason is Reason.BAD_ANSWER


def test_a_release_group_may_be_answered_by_one_of_its_releases(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    library.http_limits = replace(GOOD, deadline_seconds=10)
    library.album("tone.flac", mb_releasegroupid=MBID)
    served.catalogue.archive_covers[OTHER_MBID] = served.catalogue.add_picture(picture())
    elsewhere = f"{served.url}/archive/1/items/mbid-{OTHER_MBID}/front.jpg"
    served.faults.add("coverart", faults.always(Answer(307, headers={"Location": elsewhere})))
    assert search(library).cover


_FAULTS = {
    "html": (faults.html_page(), ErrorCode.UNSUPPORTED_MEDIA, Reason.NOT_AN_IMAGE),
    "half": (faults.half_body(), ErrorCode.UNSUPPORTED_MEDIA, Reason.BROKEN_IMAGE),
    "cut": (faults.cut_off(), ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER),
    "gzip": (faults.gzipped(), ErrorCode.UNSUPPORTED_MEDIA, Reason.CONTENT_ENCODING),
    "endless": (faults.endless(), ErrorCode.PAYLOAD_TOO_LARGE, Reason.TOO_MANY_BYTES),
    "drip": (faults.slow_drip(), ErrorCode.DEADLINE_EXCEEDED, Reason.DEADLINE),
    "hang": (faults.hang(), ErrorCode.DEADLINE_EXCEEDED, Reason.TIMEOUT),
    "404": (faults.empty_not_found(), ErrorCode.NOT_FOUND, Reason.HTTP_NOT_FOUND),
    "429": (faults.rate_limited(3600), ErrorCode.RATE_LIMITED, Reason.RATE_LIMIT),
    "500": (faults.server_error(500), ErrorCode.DEPENDENCY_ERROR, Reason.SERVER_ERROR),
    "elsewhere": (
        faults.always(Answer(302, headers={"Location": "https://evil.example/x.jpg"})),
        ErrorCode.BLOCKED_HOST,
        Reason.HOST_NOT_ALLOWED,
    ),
    "inside": (
        faults.always(Answer(302, headers={"Location": "http://127.0.0.1:1/x.jpg"})),
        ErrorCode.BLOCKED_HOST,
        Reason.URL_NOT_ALLOWED,
    ),
    "huge": (
        faults.body(flat(5100, "white", "PNG"), "image/png"),
        ErrorCode.PAYLOAD_TOO_LARGE,
        Reason.TOO_MANY_PIXELS,
    ),
}


@pytest.mark.parametrize("what", _FAULTS)
def test_a_bad_answer_is_a_failure_of_its_source_and_writes_nothing(
    library: SmallLibrary, served: SpotifyServer, what: str
) -> None:
    fault, code, reason = _FAULTS[what]
    limits = HttpLimits(connect_seconds=0.5, read_seconds=0.4, deadline_seconds=0.8)
    library.http_limits = replace(limits, max_bytes=1 << 20)
    library.album("tone.flac", image_url=serve(served, picture()))
    served.faults.add("image", fault, times=None)
    found = search(library)
    assert found.cover is None
    assert found.problem
    assert (found.problem.error.code, found.problem.error.reason) == (code, reason)
    assert found.problem.error.message.startswith(("http://", "https://"))
    assert not list(library.home.glob("covers/*/*"))
    assert library.plan().skipped == {"waits": 1}


@pytest.mark.parametrize(
    "url", ["nonsense", "file:///etc/passwd", "https://", "ftp://x/y", "h://["]
)
def test_a_url_that_is_none_is_refused(library: SmallLibrary, url: str) -> None:
    library.album("tone.flac", image_url=url)
    problem = search(library).problem
    assert problem
    assert problem.error.code is ErrorCode.BLOCKED_HOST


def spoil_art(art: Path, what: str) -> None:
    if what == "folder":
        art.mkdir()
    elif what == "loop":
        art.symlink_to(art)
    elif what == "pipe":
        os.mkfifo(art)
    else:
        art.write_bytes({"html": b"<html>", "half": picture()[:4000], "empty": b""}[what])


@pytest.mark.parametrize("what", ["folder", "loop", "pipe", "html", "half", "empty"])
def test_an_odd_art_file_falls_through_to_the_next_source(
    library: SmallLibrary, served: SpotifyServer, what: str
) -> None:
    art = library.folder / "cover.jpg"
    spoil_art(art, what)
    library.album("tone.flac", artpath=str(art), image_url=serve(served, picture()))
    found = search(library)
    assert found.cover
    assert found.cover.source.name == "spotify"
    assert [failure.source.location for failure in found.failed] == [str(art)]
    assert "cover.jpg" in found.failed[0].error.message or what == "half"


def test_an_art_file_over_the_limit_is_not_read_whole(library: SmallLibrary) -> None:
    art = library.folder / "cover.jpg"
    with art.open("wb") as file:
        file.write(picture())
        file.truncate(1 << 40)
    library.album("tone.flac", artpath=str(art))
    problem = search(library).problem
    assert problem
    assert problem.error.reason is Reason.TOO_MANY_BYTES


@pytest.mark.parametrize(("colour", "mime"), [("#800000ff", "jpeg"), ("#80000080", "png")])
def test_webp_becomes_what_every_container_takes(
    library: SmallLibrary, colour: str, mime: str
) -> None:
    art = library.folder / "cover.webp"
    art.write_bytes(flat(300, colour))
    library.album("tone.flac", artpath=str(art))
    cover = search(library).cover
    assert cover
    assert cover.mime == f"image/{mime}"


def test_a_progressive_jpeg_in_cmyk_is_embedded_as_it_is(library: SmallLibrary) -> None:
    written = io.BytesIO()
    Image.new("CMYK", (300, 300), "red").save(written, "JPEG", progressive=True)
    art = library.folder / "cover.jpg"
    art.write_bytes(written.getvalue())
    library.album("tone.flac", artpath=str(art))
    cover = search(library).cover
    assert cover
    assert library.stores.covers.get(cover.sha256) == written.getvalue()


def test_a_failed_source_is_tried_again_after_growing_gaps_and_forgiven_when_it_works(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    library.album("tone.flac", image_url=serve(served, picture()))
    served.faults.add("image", faults.html_page(), times=3)
    tried: list[int] = []
    for night in range(12):
        if library.find(library.plan()):
            tried.append(night)
        library.now += timedelta(days=1)
    assert tried[:4] == [0, 1, 3, 7]
    assert library.store.table(tables.cover_failures) == []


def test_no_cover_larger_or_of_another_picture_is_to_replace_one(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    library.policy = "larger"
    offered = [picture("a", 440), picture("a", 450, "PNG"), picture("b", 640)]
    for data in offered:
        [file] = library.album("tone.flac", image_url=serve(served, data))
        replace_front(file, NewCover(picture("a", 300), "image/jpeg", 300, 300))
    found = library.find(library.plan())
    assert [found[n].objection for n in (1, 2, 3)] == [Skip.NOT_LARGER, None, Skip.OTHER_PICTURE]


def test_larger_looks_further_than_the_first_cover(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    library.policy = "larger"
    art = library.folder / "cover.jpg"
    art.write_bytes(picture("a", 300))
    url = serve(served, picture("a", 640))
    [file] = library.album("tone.flac", artpath=str(art), image_url=url)
    replace_front(file, NewCover(picture("a", 300), "image/jpeg", 300, 300))
    found = search(library)
    assert found.cover
    assert (found.cover.source.location, found.objection) == (url, None)


def test_no_more_is_fetched_than_a_run_may_rewrite(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    for _ in range(30):
        library.album("tone.flac", image_url=serve(served, picture()))
    library.max_rewrite_bytes = 1
    found = library.find(library.plan())
    assert 1 <= sum(result.cover is not None for result in found.values()) <= 4
    assert library.store.table(tables.cover_failures) == []


def test_nothing_is_begun_after_its_time(library: SmallLibrary, served: SpotifyServer) -> None:
    library.album("tone.flac", image_url=serve(served, picture()))
    assert library.find(library.plan(), Deadline.after(0)) == {1: Found()}
    served.faults.add("image", faults.hang())
    assert library.find(library.plan(), Deadline.after(0.2)) == {1: Found()}
    assert library.store.table(tables.cover_failures) == []


def test_a_store_of_covers_that_cannot_be_written_ends_the_run(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    library.album("tone.flac", image_url=serve(served, picture()))
    (library.home / "covers").write_text("a file where the folder should be")
    with pytest.raises(HarmonyError):
        library.find(library.plan())
    assert library.store.table(tables.cover_failures) == []


def test_a_run_that_is_over_remembers_no_failure(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    library.album("tone.flac", image_url=f"{served.url}/image/none")
    plan = library.plan()
    library.over_after = 0
    with pytest.raises(HarmonyError) as caught:
        library.find(plan)
    assert caught.value.reason is Reason.RUN_OVER
    assert library.store.table(tables.cover_failures) == []


def test_an_audio_file_named_as_the_art_gives_its_cover(library: SmallLibrary) -> None:
    art = sample("tone.flac", library.folder)
    library.album("tone.flac", artpath=str(art))
    problem = search(library).problem
    assert problem
    assert problem.error.reason is Reason.NO_COVER
