import contextlib
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from harmony_pipelines.demo import faults
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.entities import ALBUM_GROUPS, Track, spotify_id
from harmony_pipelines.demo.library_data import load_library
from harmony_pipelines.demo.spotify_server import SpotifyServer

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "recordings"
LUMEN_TIDE = spotify_id("artist", "lumen-tide")
NIGHT_FERRY = f"/albums/{spotify_id('album', 'night-ferry')}"
UNKNOWN = "0" * 22


class Visitor:
    """A client that asks once and believes everything."""

    def __init__(self, server: SpotifyServer) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {self.token()['access_token']}"

    def token(self, **changes: str) -> Any:
        client = {"client_id": "demo-client", "client_secret": "demo-secret"} | changes
        form = {"grant_type": "client_credentials"} | client
        return self.session.post(f"{self.server.accounts_url}/api/token", data=form).json()

    def get(self, path: str, **parameters: object) -> requests.Response:
        url = path if path.startswith("http") else self.server.api_url + path
        return self.session.get(url, params=parameters or None, timeout=5)  # pyright: ignore[reportArgumentType]

    def pages(self, path: str, **parameters: object) -> Iterator[dict[str, Any]]:
        page = self.get(path, **parameters).json()
        yield page
        while page["next"]:
            page = self.get(page["next"]).json()
            yield page

    def error(self, path: str, **parameters: object) -> tuple[int, str]:
        answer = self.get(path, **parameters)
        return answer.status_code, answer.json()["error"]["message"]


@contextlib.contextmanager
def visiting(catalogue: Catalogue, profile: str = "development") -> Iterator[Visitor]:
    with SpotifyServer(catalogue, profile=profile) as server:
        visitor = Visitor(server)
        with visitor.session:
            yield visitor


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    with visiting(Catalogue.load()) as visitor:
        yield visitor


@pytest.fixture
def extended() -> Iterator[Visitor]:
    with visiting(Catalogue.load(), "extended") as visitor:
        yield visitor


def test_a_discography_is_paged_by_group_and_the_newest_of_each_group_comes_first(
    extended: Visitor,
) -> None:
    pages = list(extended.pages(f"/artists/{LUMEN_TIDE}/albums", limit=10, market="DE"))
    albums = [album for page in pages for album in page["items"]]
    assert [len(page["items"]) for page in pages] == [10, 7]
    order = [ALBUM_GROUPS.index(album["album_group"]) for album in albums]
    assert order == sorted(order)
    for group in ALBUM_GROUPS:
        dates = [album["release_date"] for album in albums if album["album_group"] == group]
        assert dates == sorted(dates, reverse=True)
    assert len({album["id"] for album in albums}) == pages[0]["total"] == 17


def test_a_group_can_be_asked_for_alone(visitor: Visitor) -> None:
    for group, names in (("appears_on", 1), ("single", 12), ("compilation", 0)):
        pages = visitor.pages(f"/artists/{LUMEN_TIDE}/albums", include_groups=group, limit=10)
        assert sum(len(page["items"]) for page in pages) == names


def test_a_page_leads_back_to_the_one_before(visitor: Visitor) -> None:
    first, second = visitor.pages(
        f"/artists/{LUMEN_TIDE}/albums", include_groups="single", limit=10
    )
    assert first["previous"] is None
    assert visitor.get(second["previous"]).json() == first
    assert second["href"].startswith(visitor.server.api_url)


@pytest.mark.parametrize(
    ("profile", "default", "most"), [("development", 5, 10), ("extended", 20, 50)]
)
def test_each_profile_has_its_page_size(profile: str, default: int, most: int) -> None:
    with visiting(Catalogue.load(), profile) as visitor:
        listing = f"/artists/{LUMEN_TIDE}/albums"
        assert visitor.get(listing).json()["limit"] == default
        assert visitor.get(listing, limit=most).status_code == 200
        assert visitor.error(listing, limit=most + 1) == (400, "Invalid limit")
        assert visitor.error("/search", q="x", type="artist", limit=most + 1)[0] == 400
        assert visitor.error(listing, limit=0) == (400, "Invalid limit")
        assert visitor.error(listing, offset="-1") == (400, "Invalid offset")


def test_a_development_app_may_not_ask_for_several_at_once(visitor: Visitor) -> None:
    for kind in ("albums", "artists", "tracks"):
        assert visitor.error(f"/{kind}/", ids=UNKNOWN) == (403, "Forbidden")


def test_an_extended_app_gets_null_for_what_is_unknown(extended: Visitor) -> None:
    answer = extended.get("/artists/", ids=f"{LUMEN_TIDE},{UNKNOWN}").json()
    assert answer["artists"][0]["name"] == "Lumen Tide"
    assert answer["artists"][1] is None
    assert extended.error("/albums", ids=",".join([UNKNOWN] * 21))[0] == 400
    assert extended.get("/albums", ids=",".join([UNKNOWN] * 20)).json() == {"albums": [None] * 20}


def test_a_development_app_sees_fewer_fields(visitor: Visitor, extended: Visitor) -> None:
    gone = {"album_group", "available_markets", "label", "popularity", "followers"}

    def names(body: Any) -> set[str]:
        parts = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
        own = set(body) if isinstance(body, dict) else set()
        return own.union(*(names(part) for part in parts))

    track = visitor.get(NIGHT_FERRY).json()["tracks"]["items"][0]["id"]
    for path in (f"/artists/{LUMEN_TIDE}", NIGHT_FERRY, f"/tracks/{track}"):
        assert not names(visitor.get(path).json()) & gone
        assert names(extended.get(path).json()) & gone
    assert visitor.get(f"/tracks/{track}").json()["external_ids"]["isrc"]
    assert visitor.get(NIGHT_FERRY).json()["external_ids"]["upc"]


def test_an_album_brings_fifty_tracks_and_the_rest_by_page(visitor: Visitor) -> None:
    album = visitor.get(f"/albums/{spotify_id('album', 'sixty-postcards')}").json()
    rest = visitor.get(album["tracks"]["next"]).json()
    assert (len(album["tracks"]["items"]), len(rest["items"]), rest["next"]) == (50, 10, None)
    assert album["total_tracks"] == 60
    assert rest["items"][-1]["track_number"] == 60
    assert visitor.error(f"/albums/{album['id']}/tracks", limit=51) == (400, "Invalid limit")


def test_the_token_endpoint_refuses_wrong_credentials(visitor: Visitor) -> None:
    assert visitor.token(client_secret="guess") == {
        "error": "invalid_client",
        "error_description": "Invalid client secret",
    }
    assert visitor.token(client_id="nobody")["error"] == "invalid_client"
    assert visitor.token(grant_type="password")["error"] == "unsupported_grant_type"
    assert visitor.token()["expires_in"] == 3600


def test_the_token_endpoint_takes_basic_authorisation(visitor: Visitor) -> None:
    url = f"{visitor.server.accounts_url}/api/token"
    form = {"grant_type": "client_credentials"}
    right = requests.post(url, data=form, auth=("demo-client", "demo-secret"), timeout=5)
    wrong = requests.post(url, data=form, auth=("demo-client", "guess"), timeout=5)
    assert (right.status_code, wrong.status_code) == (200, 400)


def test_nothing_is_told_without_a_good_token(visitor: Visitor) -> None:
    artist = f"/artists/{LUMEN_TIDE}"
    assert visitor.get(artist).status_code == 200
    visitor.server.expire_tokens()
    assert visitor.error(artist) == (401, "The access token expired")
    visitor.session.headers["Authorization"] = "Bearer invented"
    assert visitor.error(artist) == (401, "Invalid access token")
    del visitor.session.headers["Authorization"]
    assert visitor.error(artist) == (401, "No token provided")


def test_unknown_and_malformed_ids_are_told_apart(visitor: Visitor) -> None:
    for path in ("/artists/{}", "/artists/{}/albums", "/albums/{}", "/albums/{}/tracks"):
        assert visitor.error(path.format(UNKNOWN)) == (404, "Resource not found")
        assert visitor.error(path.format("x-y")) == (400, "Invalid base62 id")
    assert visitor.error(f"/artists/{LUMEN_TIDE}", market="Germany")[0] == 400
    assert visitor.error("/browse/new-releases") == (404, "Service not found")


def test_trailing_slashes_do_not_matter(visitor: Visitor) -> None:
    assert visitor.get(f"{NIGHT_FERRY}/").json() == visitor.get(NIGHT_FERRY).json()


@pytest.mark.parametrize(
    ("kind", "text", "first"),
    [
        ("artist", "lumen TIDE", "Lumen Tide"),
        ("artist", 'artist:"渚サーキット"', "渚サーキット"),
        ("album", 'album:"night ferry" artist:"Lumen Tide"', "Night Ferry"),
        ("album", "upc:04959633042076", "Salt & Static"),
        ("track", "shipping forecast", "Shipping Forecast"),
        ("artist", "nobody at all", None),
        ("artist", "tide:lumen", None),
        ("artist", 'artist:""', "Lumen Tide"),
        ("artist", '"Lumen Tide"', "Lumen Tide"),
    ],
)
def test_search_finds_by_name_and_by_filter(
    visitor: Visitor, kind: str, text: str, first: str | None
) -> None:
    page = visitor.get("/search", q=text, type=kind, limit=10).json()[f"{kind}s"]
    assert (page["items"][0]["name"] if page["items"] else None) == first
    assert page["total"] == len(page["items"])


def test_search_finds_a_recording_on_every_album_by_its_isrc(visitor: Visitor) -> None:
    track = visitor.get(NIGHT_FERRY).json()["tracks"]["items"][0]["id"]
    isrc = visitor.get(f"/tracks/{track}").json()["external_ids"]["isrc"]
    found = visitor.get("/search", q=f"isrc:{isrc}", type="track,album").json()
    names = {track["album"]["name"] for track in found["tracks"]["items"]}
    assert names == {album["name"] for album in found["albums"]["items"]}
    assert names == {"Night Ferry", "Harbour Lights"}


def test_spotipy_finds_its_way_around(extended: Visitor) -> None:
    import spotipy

    with requests.Session() as session:
        client = spotipy.Spotify(
            auth=extended.token()["access_token"],
            requests_session=session,  # pyright: ignore[reportArgumentType]
            retries=0,
        )
        client.prefix = f"{extended.server.api_url}/"
        page: Any = client.artist_albums(LUMEN_TIDE, limit=10)
        assert client.next(page)["offset"] == 10  # pyright: ignore[reportOptionalSubscript]
        albums: Any = client.albums([album["id"] for album in page["items"]])
        assert [a["name"] for a in albums["albums"]] == [a["name"] for a in page["items"]]


@pytest.mark.parametrize("name", ["kora", "gorillat"])
def test_a_recorded_artist_looks_as_recorded(name: str) -> None:
    path = RECORDINGS / f"{name}.json"
    if not path.exists():
        pytest.skip("the recordings are not beside this repository")
    recording = json.loads(path.read_text(encoding="utf-8"))
    with visiting(Catalogue.from_recordings([path]), "extended") as visitor:
        artist = recording["artist"]["id"]
        assert _plain(visitor.get(f"/artists/{artist}")) == _plain(recording["artist"])
        for page in recording["listing_pages"]:
            limits = {"limit": page["limit"], "offset": page["offset"]}
            shown = visitor.get(
                f"/artists/{artist}/albums", include_groups="album,single", **limits
            )
            ids = {album["id"]: _plain(album) for album in page["items"]}
            assert {album["id"]: _plain(album) for album in shown.json()["items"]} == ids
            assert set(shown.json()) == set(page)
        for kind in ("albums", "tracks"):
            for spotify_id_, body in recording[kind].items():
                assert _plain(visitor.get(f"/{kind}/{spotify_id_}")) == _plain(body)


def _plain(body: Any) -> Any:
    """The JSON without hosts and what is left out of our recordings or not invented."""
    if isinstance(body, requests.Response):
        body = body.json()
    if isinstance(body, list):
        return [_plain(part) for part in body]
    if isinstance(body, dict):
        return {
            name: None if name in ("available_markets", "preview_url") else _plain(value)
            for name, value in body.items()
        }
    if isinstance(body, str):
        return re.sub(r"^https?://(127\.0\.0\.1:\d+|api\.spotify\.com|i\.scdn\.co)", "", body)
    return body


def test_what_changes_in_the_catalogue_shows_at_once(visitor: Visitor) -> None:
    catalogue = visitor.server.catalogue
    artist = catalogue.add_artist("Nobody Yet")
    assert visitor.get(f"/artists/{artist}/albums").json()["items"] == []
    album = catalogue.add_album(
        artist,
        "First",
        album_type="single",
        release_date="2026",
        appears_on=[LUMEN_TIDE],
        tracks=["One", ("Two", 0), Track("Three", isrc=None, disc_number=2)],
    )
    [listed] = visitor.get(f"/artists/{artist}/albums").json()["items"]
    assert (listed["name"], listed["release_date_precision"]) == ("First", "year")
    tracks = visitor.get(f"/albums/{album}").json()["tracks"]["items"]
    assert tracks[1]["duration_ms"] == 0 < tracks[0]["duration_ms"]
    assert visitor.get(f"/tracks/{tracks[2]['id']}").json()["external_ids"] == {}
    catalogue.remove_album(album)
    assert visitor.get(f"/albums/{album}").status_code == 404
    assert visitor.get(f"/albums/{catalogue.publish('spring-tide')}").status_code == 200


def test_the_same_steps_give_the_same_ids() -> None:
    ids = []
    for catalogue in (Catalogue(), Catalogue()):
        artist = catalogue.add_artist("Twice")
        albums = [catalogue.add_album(artist, "Same"), catalogue.add_album(artist, "Same")]
        assert len(set(albums)) == 2
        assert all(re.fullmatch("[0-9A-Za-z]{22}", id_) for id_ in (artist, *albums))
        ids.append((artist, albums))
    assert ids[0] == ids[1]


def test_an_album_is_listed_only_where_it_is_sold(visitor: Visitor) -> None:
    catalogue = visitor.server.catalogue
    artist = catalogue.add_artist("Local Hero")
    catalogue.add_album(artist, "Only Here", markets=["NZ"])
    assert visitor.get(f"/artists/{artist}/albums", market="NZ").json()["total"] == 1
    assert visitor.get(f"/artists/{artist}/albums", market="DE").json()["total"] == 0


def test_a_listing_can_lie_about_its_total_and_leave_gaps(visitor: Visitor) -> None:
    catalogue = visitor.server.catalogue
    artist = catalogue.add_artist("Wrong Total")
    albums = [catalogue.add_album(artist, f"No. {n}", release_date=f"20{40 - n}") for n in range(7)]
    catalogue.ghosts.update(albums[:5])
    catalogue.reported_totals[artist] = 3
    first, second = visitor.pages(f"/artists/{artist}/albums", limit=5)
    assert first["items"] == []
    assert [album["id"] for album in second["items"]] == albums[5:]
    assert first["total"] == second["total"] == 3


def test_an_unchanged_answer_is_not_sent_again(visitor: Visitor) -> None:
    first = visitor.get(NIGHT_FERRY)
    visitor.session.headers["If-None-Match"] = first.headers["ETag"]
    again = visitor.get(NIGHT_FERRY)
    assert (again.status_code, again.content) == (304, b"")
    visitor.server.catalogue.albums[NIGHT_FERRY[8:]].name = "Day Ferry"
    assert visitor.get(NIGHT_FERRY).json()["name"] == "Day Ferry"


@pytest.mark.parametrize(
    ("key", "image_format"), [("night-ferry", "JPEG"), ("star-atlas-deluxe", "PNG")]
)
def test_covers_are_real_pictures_of_the_promised_size(
    visitor: Visitor, key: str, image_format: str
) -> None:
    images = visitor.get(f"/albums/{spotify_id('album', key)}").json()["images"]
    assert [image["width"] for image in images] == [640, 300, 64]
    for image in images:
        answer = visitor.get(image["url"])
        with Image.open(io.BytesIO(answer.content)) as picture:
            picture.load()
            assert picture.size == (image["width"], image["height"])
            assert picture.format == image_format
        assert answer.headers["Content-Type"] == f"image/{image_format.lower()}"
        assert answer.content == visitor.get(image["url"]).content


def test_no_two_albums_have_the_same_cover(visitor: Visitor) -> None:
    albums = list(visitor.server.catalogue.albums.values())[:6]
    small = [f"{visitor.server.url}/image/{(album.images or [])[2].image_id}" for album in albums]
    assert len({visitor.get(url).content for url in small}) == len(albums)
    assert visitor.get(f"{visitor.server.url}/image/unknown").status_code == 404


def test_a_test_can_serve_its_own_bytes_as_a_cover(visitor: Visitor) -> None:
    image_id = visitor.server.catalogue.add_picture(b"\x89PNG no more")
    assert visitor.get(f"{visitor.server.url}/image/{image_id}").content == b"\x89PNG no more"


def test_the_cover_archive_leads_over_two_redirects_to_a_larger_cover(visitor: Visitor) -> None:
    album = visitor.server.catalogue.albums[spotify_id("album", "cartographers")]
    archive = visitor.server.coverartarchive_url
    for kind, mbid in (
        ("release", album.mb_albumid),
        ("release-group", album.mb_releasegroupid),
    ):
        answer = visitor.get(f"{archive}/{kind}/{mbid}/front")
        assert [step.status_code for step in answer.history] == [307, 302]
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.size == (1200, 1200)
    assert visitor.get(f"{archive}/release/{album.mb_albumid[::-1]}/front").status_code == 404


def test_rate_limits_come_in_every_known_form(visitor: Visitor) -> None:
    moment = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    forms = {7: "7", 49861: "49861", moment: "Wed, 02 Jan 2030 03:04:05 GMT", "soon": "soon"}
    for given, sent in forms.items():
        visitor.server.faults.add("artists", faults.rate_limited(given))
        answer = visitor.get(f"/artists/{LUMEN_TIDE}")
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, sent)
    visitor.server.faults.add("artists", faults.rate_limited(None, quota=True))
    answer = visitor.get(f"/artists/{LUMEN_TIDE}")
    assert "Retry-After" not in answer.headers
    assert answer.json() == {
        "error": {
            "status": 429,
            "message": "API rate limit exceeded",
            "reason": "QUOTA_EXCEEDED",
        }
    }


@pytest.mark.parametrize(
    ("fault", "status", "content"),
    [
        (faults.token_expired(), 401, "access token expired"),
        (faults.premium_lapsed(), 403, "Active premium subscription"),
        (faults.forbidden(), 403, "Forbidden"),
        (faults.string_error(), 403, '{"error": "forbidden"}'),
        (faults.empty_not_found(), 404, ""),
        (faults.server_error(504, "Gateway timeout."), 504, "Gateway timeout."),
        (faults.html_page(), 200, "<!doctype html>"),
        (faults.null_body(), 200, "null"),
        (faults.body(b"[]"), 200, "[]"),
        (faults.edited(lambda album: album.update(name=None)), 200, '"name": null'),
        (faults.edited(lambda album: [album["name"]]), 200, '["Night Ferry"]'),
    ],
)
def test_a_fault_gives_its_bad_answer_once(
    visitor: Visitor, fault: faults.Fault, status: int, content: str
) -> None:
    visitor.server.faults.add("/v1/albums/", fault)
    bad = visitor.get(NIGHT_FERRY)
    assert bad.status_code == status
    assert content in bad.text
    assert bool(bad.text) == bool(content)
    assert visitor.get(NIGHT_FERRY).json()["name"] == "Night Ferry"


@pytest.mark.parametrize("fault", [faults.connection_reset(), faults.cut_off()])
def test_a_broken_connection_is_an_error_and_not_an_answer(
    visitor: Visitor, fault: faults.Fault
) -> None:
    visitor.server.faults.add("albums", fault)
    with pytest.raises(requests.RequestException):
        visitor.get(NIGHT_FERRY)
    assert visitor.get(NIGHT_FERRY).status_code == 200


def test_a_reset_is_a_reset(visitor: Visitor) -> None:
    visitor.server.faults.add("/", faults.connection_reset())
    with socket.create_connection(("127.0.0.1", visitor.server.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_half_a_body_has_an_honest_length(visitor: Visitor) -> None:
    visitor.server.faults.add("albums", faults.half_body())
    with pytest.raises(requests.JSONDecodeError):
        visitor.get(NIGHT_FERRY).json()


def test_pictures_go_wrong_too(visitor: Visitor) -> None:
    url = visitor.get(NIGHT_FERRY).json()["images"][0]["url"]
    whole = visitor.get(url).content
    for fault in (faults.half_body(), faults.html_page(), faults.gzipped()):
        visitor.server.faults.add("/image/*", fault)
    assert visitor.get(url).content == whole[: len(whole) // 2]
    assert visitor.get(url).text.startswith("<!doctype html>")
    packed = visitor.get(url)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.content == whole


def test_an_endless_body_never_ends(visitor: Visitor) -> None:
    visitor.server.faults.add("image", faults.endless())
    url = f"{visitor.server.url}/image/x"
    with visitor.session.get(url, stream=True, timeout=5) as answer:
        assert "Content-Length" not in answer.headers
        assert len(answer.raw.read(3_000_000)) == 3_000_000


def test_a_dripping_answer_keeps_the_client_waiting_without_a_pause_long_enough_to_notice(
    visitor: Visitor,
) -> None:
    visitor.server.faults.add("albums", faults.slow_drip())
    url = visitor.server.api_url + NIGHT_FERRY
    began = time.monotonic()
    with visitor.session.get(url, stream=True, timeout=1) as answer:
        assert len(answer.raw.read(24)) == 24
    assert 0.15 < time.monotonic() - began < 2


def test_a_fault_strikes_after_so_many_good_answers_and_so_many_times(visitor: Visitor) -> None:
    visitor.server.faults.add("albums", faults.server_error(), times=2, after=1)
    statuses = [visitor.get(NIGHT_FERRY).status_code for _ in range(5)]
    assert statuses == [200, 503, 503, 200, 200]


def test_a_fault_can_be_aimed_at_one_page(visitor: Visitor) -> None:
    listing = f"/artists/{LUMEN_TIDE}/albums"
    visitor.server.faults.add("/v1/artists/*/albums*offset=5*", faults.server_error(), times=None)
    statuses = [visitor.get(listing, limit=5, offset=n).status_code for n in (0, 5, 10, 5)]
    assert statuses == [200, 503, 200, 503]
    visitor.server.faults.clear()
    assert visitor.get(listing, limit=5, offset=5).status_code == 200


@pytest.mark.parametrize("fault", [faults.hang(), faults.endless(), faults.slow_drip()])
def test_no_fault_outlives_the_server(fault: faults.Fault) -> None:
    with ThreadPoolExecutor() as pool, visiting(Catalogue.load()) as visitor:
        visitor.server.faults.add("albums", fault)
        asked = pool.submit(visitor.get, NIGHT_FERRY)
        while not visitor.server.count("albums"):
            time.sleep(0.01)
        began = time.monotonic()
        visitor.server.stop()
        assert time.monotonic() - began < 1
        assert wait([asked], timeout=1).done


def test_who_gives_up_waiting_is_no_longer_in_flight(visitor: Visitor) -> None:
    visitor.server.faults.add("albums", faults.hang())
    with pytest.raises(requests.ReadTimeout):
        visitor.session.get(visitor.server.api_url + NIGHT_FERRY, timeout=0.1)
    for _ in range(100):
        visitor.server.forget_requests()
        if visitor.server.max_in_flight == 0:
            break
        time.sleep(0.02)
    assert visitor.get(NIGHT_FERRY).status_code == 200
    assert visitor.server.max_in_flight == 1


def test_what_was_asked_is_on_record(visitor: Visitor) -> None:
    visitor.get(f"/artists/{LUMEN_TIDE}/albums/", include_groups="single", limit=2)
    visitor.get(f"/albums/{UNKNOWN}")
    visitor.get(f"{visitor.server.url}/elsewhere")
    record = [(r.family, r.status) for r in visitor.server.requests]
    assert record == [("token", 200), ("artist_albums", 200), ("albums", 404), ("other", 404)]
    listing = visitor.server.requests[1]
    assert (listing.method, listing.path) == ("GET", f"/v1/artists/{LUMEN_TIDE}/albums")
    assert listing.query == {"include_groups": "single", "limit": "2"}
    assert (visitor.server.count("albums"), visitor.server.count()) == (1, 4)


def test_requests_in_flight_are_counted(visitor: Visitor) -> None:
    visitor.server.latency_s = 0.3
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: requests.get(visitor.server.url, timeout=5), range(3)))
    assert visitor.server.max_in_flight == 3


def test_one_after_the_other_is_never_two_in_flight(visitor: Visitor) -> None:
    url = visitor.get(NIGHT_FERRY).json()["images"][0]["url"]
    for _ in range(20):
        requests.get(url, timeout=5)
    assert visitor.server.max_in_flight == 1


def test_connections_are_kept_alive(visitor: Visitor) -> None:
    for answer in (visitor.get(NIGHT_FERRY) for _ in range(3)):
        assert answer.headers.get("Connection") != "close"
        assert answer.raw.version == 11


def test_a_stopped_server_can_start_again_at_the_same_address() -> None:
    server = SpotifyServer(Catalogue.load())
    addresses = set()
    for _ in range(2):
        with server:
            addresses.add(server.url)
            assert requests.get(server.url, timeout=5).status_code == 404
        with pytest.raises(requests.ConnectionError):
            requests.get(server.url, timeout=5)
    assert len(addresses) == 1


def test_the_demo_owns_short_albums_in_every_format_each_with_another_case() -> None:
    library = load_library()
    assert {album.audio_format for album in library} == {
        "mp3",
        "flac",
        "m4a",
        "alac",
        "ogg",
        "opus",
    }
    for album in library:
        assert 2 <= len(album.tracks) <= 4
        assert all(2000 <= track.duration_ms <= 3000 for track in album.tracks)
    assert {album.cover for album in library} == {"", "embedded", "cover.jpg"}
    assert sum(not album.album_id for album in library) == 1
    assert any(album.barcode for album in library)
    assert any(album.mb_albumid for album in library)
    assert any(track.isrc for album in library for track in album.tracks)


def test_what_the_library_knows_agrees_with_the_catalogue() -> None:
    catalogue = Catalogue.load()
    for owned in filter(lambda album: album.album_id, load_library()):
        album = catalogue.albums[owned.album_id]
        by_number = {track.track_number: track for track in album.tracks}
        assert owned.barcode in ("", album.upc)
        assert owned.mb_albumid in ("", album.mb_albumid)
        for track in owned.tracks:
            like = by_number[track.number]
            assert (track.title, track.duration_ms) == (like.name, like.duration_ms)
            assert track.isrc in ("", like.isrc)


def test_different_recordings_have_different_isrcs() -> None:
    catalogue = Catalogue.load()
    tracks = [(album, track) for album in catalogue.albums.values() for track in album.tracks]
    recordings = {(track.artist_ids[0], track.name) for _, track in tracks}
    assert len({track.isrc for _, track in tracks}) == len(recordings)
    assert len({track.track_id for _, track in tracks}) == len(tracks)


@pytest.mark.slow
def test_it_runs_as_a_command_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "harmony_pipelines.demo.spotify_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert requests.get(f"{url}/v1/artists/{LUMEN_TIDE}", timeout=5).status_code == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
