"""What each address answers: the token, the Web API's catalogue, images and the cover archive."""

import base64
import binascii
import hashlib
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from urllib.parse import parse_qsl

from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.covers import Cover, draw_cover
from harmony_pipelines.demo.entities import Picture
from harmony_pipelines.demo.exchange import Answer, Query, Refusal, error_answer, json_answer
from harmony_pipelines.demo.web_api import WebApi

TOKEN_LIFETIME_SECONDS = 3600
_FAMILIES = (
    ("token", r"/api/token"),
    ("artist_albums", r"/v1/artists/(?P<id>[^/]+)/albums"),
    ("artists", r"/v1/artists(/(?P<id>[^/]+))?"),
    ("album_tracks", r"/v1/albums/(?P<id>[^/]+)/tracks"),
    ("albums", r"/v1/albums(/(?P<id>[^/]+))?"),
    ("tracks", r"/v1/tracks(/(?P<id>[^/]+))?"),
    ("search", r"/v1/search"),
    ("image", r"/image/(?P<id>[^/]+)"),
    ("coverart", r"/coverart/(?P<kind>release|release-group)/(?P<id>[^/]+)/front(-\d+)?"),
    ("archive", r"/archive/(?P<shelf>download|1/items)/mbid-(?P<id>[^/]+)/front\.jpg"),
)


class Tokens:
    """The access tokens given out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._good_until: dict[str, float] = {}

    def issue(self) -> str:
        """A new token, good for an hour."""
        with self._lock:
            token = secrets.token_urlsafe(32)
            self._good_until[token] = time.monotonic() + TOKEN_LIFETIME_SECONDS
        return token

    def expire(self) -> None:
        """Every token so far is expired."""
        with self._lock:
            self._good_until = dict.fromkeys(self._good_until, 0.0)

    def check(self, authorization: str) -> None:
        """Refuse a request without a good token."""
        if not authorization:
            raise Refusal(401, "No token provided")
        good_until = self._good_until.get(authorization.removeprefix("Bearer "))
        if good_until is None:
            raise Refusal(401, "Invalid access token")
        if good_until < time.monotonic():
            raise Refusal(401, "The access token expired")


@dataclass(frozen=True)
class App:
    """The one app that is registered."""

    client_id: str
    client_secret: str = field(repr=False)
    profile: str


class Endpoints:
    """Every address of the server."""

    def __init__(self, catalogue: Catalogue, url: str, app: App, tokens: Tokens) -> None:
        self._catalogue = catalogue
        self._url = url
        self._client = (app.client_id, app.client_secret)
        self._tokens = tokens
        self._web_api = WebApi(catalogue, url, app.profile)

    def answer(self, query: Query) -> Answer:
        """The answer to one request."""
        family, match = _matched(query.path)
        if match is None:
            return error_answer(404, "Service not found")
        if (query.method == "POST") != (family == "token"):
            return error_answer(405, "Method not allowed")
        open_to_all: dict[str, Callable[..., Answer]] = {
            "token": self._token,
            "image": self._image,
            "coverart": self._cover_art,
            "archive": self._archive,
        }
        if family in open_to_all:
            return open_to_all[family](query, **match.groupdict())
        return self._catalogue_answer(family, query, match.groupdict().get("id"))

    def _catalogue_answer(self, family: str, query: Query, spotify_id: str | None) -> Answer:
        try:
            self._tokens.check(query.header("Authorization"))
            content = self._web_api.content(family, query, spotify_id)
        except Refusal as refusal:
            return refusal.answer
        return _tagged(json_answer(200, content), query.header("If-None-Match"))

    def _token(self, query: Query) -> Answer:
        form = dict(parse_qsl(query.posted.decode(errors="replace")))
        client = _basic_credentials(query.header("Authorization")) or (
            form.get("client_id", ""),
            form.get("client_secret", ""),
        )
        if client[0] != self._client[0]:
            return _token_refused("invalid_client", "Invalid client")
        if client != self._client:
            return _token_refused("invalid_client", "Invalid client secret")
        if form.get("grant_type") != "client_credentials":
            return _token_refused("unsupported_grant_type", "grant_type parameter is missing")
        return json_answer(
            200,
            {
                "access_token": self._tokens.issue(),
                "token_type": "Bearer",
                "expires_in": TOKEN_LIFETIME_SECONDS,
            },
        )

    def _image(self, _: Query, id: str) -> Answer:
        picture = self._catalogue.pictures.get(id)
        if picture is None:
            return Answer(404)
        data = picture.data if picture.data is not None else _drawn(id[16:], picture)
        return Answer(200, data, {"Content-Type": _content_type(data)})

    def _cover_art(self, _: Query, id: str, kind: str) -> Answer:
        if id not in self._catalogue.archive_covers:
            return Answer(404, b"<h1>Not Found</h1>", {"Content-Type": "text/html"})
        return Answer(
            307, headers={"Location": f"{self._url}/archive/download/mbid-{id}/front.jpg"}
        )

    def _archive(self, query: Query, id: str, shelf: str) -> Answer:
        image_id = self._catalogue.archive_covers.get(id)
        if image_id is None:
            return Answer(404)
        if shelf == "download":
            where = f"{self._url}/archive/1/items/mbid-{id}/front.jpg"
            return Answer(302, headers={"Location": where})
        return self._image(query, image_id)


def family_of(path: str) -> str:
    """The family that a path belongs to, `other` for none."""
    return _matched(path)[0]


def _matched(path: str) -> tuple[str, "re.Match[str] | None"]:
    for family, pattern in _FAMILIES:
        match = re.fullmatch(pattern, path)
        if match:
            return family, match
    return "other", None


def _tagged(answer: Answer, known_tag: str) -> Answer:
    tag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "public, max-age=0"}
    if known_tag == tag:
        return Answer(304, headers=headers)
    return replace(answer, headers={**answer.headers, **headers})


def _token_refused(error: str, description: str) -> Answer:
    return json_answer(400, {"error": error, "error_description": description})


def _basic_credentials(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return client_id, secret


@lru_cache(maxsize=512)
def _drawn(seed: str, picture: Picture) -> bytes:
    size = (picture.width, picture.height)
    return draw_cover(Cover(seed, picture.title, picture.byline, size, picture.image_format))


def _content_type(data: bytes) -> str:
    return "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
