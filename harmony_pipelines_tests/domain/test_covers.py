import pytest

from harmony_pipelines.domain.covers import (
    AlbumPlan,
    Covered,
    Failed,
    Found,
    LibraryAlbum,
    Skip,
    Source,
    Wishes,
    is_lasting,
    plan_album,
    status_of,
)
from harmony_pipelines.domain.decisions import Decisions
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.rows import Row

MBID = "5D1C2F7E-0b7a-4c55-9a1e-6f2b8c0d4e11"
ALBUM: Row = {"beets_album_id": 7, "album": "Night Ferry", "albumartist": "Lumen Tide"}
SPOTIFY: Row = {"album_id": "spotify7", "image_url": "https://i.scdn.co/image/1"}
ALL = ("library", "coverartarchive", "spotify")


def track(number: int, **known: object) -> Row:
    usual = {"beets_item_id": number, "path": f"/music/{number}.flac", "size": 100, "has_front": 0}
    return usual | known


def covered(number: int, sha256: str = "old", edge: int = 300, **known: object) -> Row:
    front = {"has_front": 1, "front_sha256": sha256, "front_width": edge, "front_height": edge + 9}
    return track(number, **front, **known)


def wishes(policy: str = "missing", **known: object) -> Wishes:
    given = {"sources": ALL, "decisions": Decisions(), "coverartarchive_url": "https://caa/"}
    return Wishes(policy=policy, **given | known)  # pyright: ignore[reportArgumentType]


def plan(
    *tracks: Row,
    album: Row = ALBUM,
    verdict: str = "matched",
    replaced: frozenset[tuple[str, str]] = frozenset(),
    **known: object,
):
    what = wishes(**known)  # pyright: ignore[reportArgumentType]
    spotify = SPOTIFY if verdict == "matched" else None
    return plan_album(LibraryAlbum(album, tracks, verdict, spotify, replaced=replaced), what)


def planned(*tracks: Row, **known: object) -> AlbumPlan:
    found = plan(*tracks, **known)  # pyright: ignore[reportArgumentType]
    assert isinstance(found, AlbumPlan)
    return found


def sources(album_plan: AlbumPlan) -> list[str]:
    return [source.location for source in album_plan.sources]


def test_only_the_files_without_a_cover_are_planned() -> None:
    found = planned(track(1), covered(2), track(3))
    assert [t.beets_item_id for t in found.tracks] == [1, 3]
    assert (found.beets_album_id, found.album_id, found.bytes_to_write) == (7, "spotify7", 200)


def test_an_album_whose_files_all_have_their_cover_needs_nothing() -> None:
    assert plan(covered(1), covered(2)) is Skip.HAS_COVER


def test_an_album_whose_tracks_carry_different_covers_is_left_alone() -> None:
    assert plan(covered(1, "a"), covered(2, "b"), track(3)) is Skip.COVERS_DIFFER
    assert plan(covered(1, "a"), covered(2, "b"), policy="larger") is Skip.COVERS_DIFFER


def test_an_album_that_a_run_left_half_replaced_is_gone_on_with() -> None:
    ours = frozenset({("new", "old"), ("newest", "new")})
    tracks = (covered(1, "newest"), covered(2, "new"), covered(3, "old"), track(4))
    larger = planned(*tracks, policy="larger", replaced=ours)
    assert [t.beets_item_id for t in larger.tracks] == [3, 4]
    assert larger.to_replace == larger.tracks[0]
    assert [t.beets_item_id for t in planned(*tracks, replaced=ours).tracks] == [4]
    foreign = covered(5, "of another program")
    assert plan(*tracks, foreign, policy="larger", replaced=ours) is Skip.COVERS_DIFFER


@pytest.mark.parametrize("tracks", [(), (track(1, has_front=None, front_code="X"),)])
def test_an_album_without_usable_files_needs_nothing(tracks: tuple[Row, ...]) -> None:
    assert plan(*tracks) is Skip.NO_FILES


def test_sources_come_in_the_order_the_user_gave() -> None:
    album = {**ALBUM, "artpath": "/music/cover.jpg", "mb_albumid": MBID, "mb_releasegroupid": MBID}
    caa = [f"https://caa/{kind}/{MBID.lower()}/front-1200" for kind in ("release", "release-group")]
    spotify = ["https://i.scdn.co/image/1"]
    library = ["/music/cover.jpg", "/music/2.flac"]
    assert sources(planned(track(1), covered(2), album=album)) == library + caa + spotify
    only = ("spotify", "library")
    assert sources(planned(track(1), covered(2), album=album, sources=only)) == spotify + library


def test_a_path_keeps_its_outer_spaces() -> None:
    album = {**ALBUM, "artpath": "/music/ cover.jpg "}
    found = planned(track(1, path="/music/a "), album=album)
    assert (found.tracks[0].path, sources(found)[0]) == ("/music/a ", "/music/ cover.jpg ")


@pytest.mark.parametrize(
    "mbid", ["", "no-uuid", "../../etc", MBID + "/x", "3AA28KZvwAUcZuOKwyblJQ"]
)
def test_what_is_no_musicbrainz_id_is_not_put_into_a_url(mbid: str) -> None:
    found = planned(track(1), album={**ALBUM, "mb_albumid": mbid})
    assert sources(found) == ["https://i.scdn.co/image/1"]


@pytest.mark.parametrize("verdict", ["unsure", "ambiguous", "unmatched"])
def test_spotify_is_a_source_for_matched_albums_only(verdict: str) -> None:
    assert plan(track(1), verdict=verdict) is Skip.NOT_MATCHED


@pytest.mark.parametrize("url", [None, "", "   "])
def test_a_matched_album_without_an_image_has_no_source(url: str | None) -> None:
    found = LibraryAlbum(ALBUM, (track(1),), "matched", {**SPOTIFY, "image_url": url})
    assert plan_album(found, wishes()) is Skip.NO_SOURCE


def test_an_album_waits_while_all_its_sources_rest() -> None:
    resting = frozenset(["https://i.scdn.co/image/1"])
    assert plan(track(1), resting=resting) is Skip.WAITS
    album = {**ALBUM, "artpath": "/music/cover.jpg"}
    assert sources(planned(track(1), album=album, resting=resting)) == ["/music/cover.jpg"]


def test_the_policy_never_and_the_decision_never_do_nothing() -> None:
    assert plan(track(1), policy="never") is Skip.NEVER
    for key in ("7", MBID.lower()):
        album = {**ALBUM, "mb_albumid": MBID}
        decided = Decisions(cover={key: "never"})
        assert plan(track(1), album=album, decisions=decided) is Skip.NEVER


def test_a_picture_the_user_names_beats_every_heuristic() -> None:
    decided = Decisions(cover={"7": "/home/me/scan.png"})
    found = planned(covered(1, "a"), covered(2, "b"), track(3), decisions=decided)
    assert len(found.tracks) == 3
    assert found.sources == (Source("user", "/home/me/scan.png"),)
    assert found.to_replace is None


def test_a_picture_the_user_names_is_embedded_once() -> None:
    decided = Decisions(cover={"7": "/scan.png"})
    done = covered(1, front_tried='["/scan.png"]')
    assert plan(done, decisions=decided) is Skip.HAS_COVER
    other = Decisions(cover={"7": "/better scan.png"})
    assert len(planned(done, decisions=other).tracks) == 1


def test_larger_looks_for_more_where_there_is_a_cover() -> None:
    found = planned(covered(1), covered(2), policy="larger")
    assert found.to_replace == found.tracks[0]
    assert (found.tracks[0].old_sha256, found.tracks[0].old_edge) == ("old", 300)
    assert sources(found) == ["https://i.scdn.co/image/1"]


def test_larger_replaces_nothing_while_the_undo_store_is_full() -> None:
    assert plan(covered(1), policy="larger", may_replace=False) is Skip.HAS_COVER
    assert len(planned(covered(1), track(2), policy="larger", may_replace=False).tracks) == 1


def test_what_was_tried_is_tried_again_once_there_is_another_source() -> None:
    tried = covered(1, front_reason="not_larger", front_tried='["https://i.scdn.co/image/1"]')
    assert plan(tried, policy="larger") is Skip.HAS_COVER
    album = {**ALBUM, "artpath": "/music/cover.jpg"}
    assert len(planned(tried, album=album, policy="larger").tracks) == 1


def test_a_refused_file_is_not_planned_again() -> None:
    assert plan(track(1, front_code="CONFLICT", front_reason="hard_link")) is Skip.REFUSED
    assert [t.beets_item_id for t in planned(track(1, front_code="X"), track(2)).tracks] == [2]


def test_nonsense_in_the_columns_harms_nobody() -> None:
    odd: Row = {"beets_album_id": None, "artpath": None, "mb_albumid": 5}
    assert planned(track(1), album=odd).beets_album_id == 0
    found = planned({**covered(1), "front_width": float("nan")}, policy="larger")
    assert found.tracks[0].old_edge == 0


def test_what_was_looked_at_are_the_sources_up_to_the_one_that_was_good() -> None:
    album = {**ALBUM, "artpath": "/cover.jpg", "mb_albumid": MBID}
    found = planned(track(1), album=album)
    first, second, third = found.sources
    cover = Covered("new", "image/jpeg", 640, 640, 9, second)
    gone = Failed(first, HarmonyError(ErrorCode.NOT_FOUND, Reason.NO_COVER, "gone"))
    assert found.looked_at(Found(cover, None, (gone,))) == f'["{second.location}"]'
    assert third.location in found.looked_at(Found(cover, Skip.NOT_LARGER, (gone,)))


def test_the_failure_to_tell_of_is_not_that_a_cover_is_absent() -> None:
    absent = HarmonyError(ErrorCode.NOT_FOUND, Reason.HTTP_NOT_FOUND, "404")
    broken = HarmonyError(ErrorCode.DEPENDENCY_ERROR, Reason.SERVER_ERROR, "500")
    source = Source("spotify", "https://x")
    failed = (Failed(source, absent), Failed(source, broken))
    assert Found(failed=failed).problem == failed[1]
    assert Found(failed=failed[:1]).problem == failed[0]
    assert Found().problem is None


@pytest.mark.parametrize(
    ("code", "reason", "status", "lasts"),
    [
        (ErrorCode.UNSUPPORTED_MEDIA, Reason.NOT_AUDIO, "skipped", True),
        (ErrorCode.CONFLICT, Reason.HARD_LINK, "skipped", True),
        (ErrorCode.CONFLICT, Reason.LOCKED, "skipped", False),
        (ErrorCode.CONFLICT, Reason.CHANGED_MEANWHILE, "skipped", False),
        (ErrorCode.NOT_FOUND, Reason.FILE_MISSING, "skipped", False),
        (ErrorCode.VALIDATION_ERROR, Reason.OUTSIDE_LIBRARY, "skipped", True),
        (ErrorCode.DEPENDENCY_ERROR, Reason.READ_ONLY, "skipped", True),
        (ErrorCode.DEPENDENCY_ERROR, Reason.DISK_FULL, "failed", False),
        (ErrorCode.DEPENDENCY_ERROR, Reason.IO_ERROR, "failed", False),
        (ErrorCode.INTERNAL_ERROR, Reason.VERIFICATION, "failed", True),
    ],
)
def test_a_file_is_skipped_for_what_it_is_and_failed_for_what_went_wrong(
    code: ErrorCode, reason: Reason, status: str, lasts: bool
) -> None:
    error = HarmonyError(code, reason, "why")
    assert (status_of(error), is_lasting(error)) == (status, lasts)
