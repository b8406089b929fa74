from datetime import timedelta

from harmony_pipelines.domain.album_search import AlbumQuestion, due, gap, questions
from harmony_pipelines.domain.rows import Row

ALBUM: dict[str, object] = {"beets_album_id": 1, "album": "Low Tide", "albumartist": "Lumen Tide"}
TRACK: dict[str, object] = {
    "beets_album_id": 1,
    "title": "One",
    "artist": "Lumen Tide",
    "has_front": None,
}
QUESTION = AlbumQuestion("1", "Lumen Tide", "Low Tide")


def match(verdict: str, decided_by: str = "score") -> Row:
    return {"beets_album_id": 1, "verdict": verdict, "decided_by": decided_by}


def test_an_album_without_a_match_is_asked_about() -> None:
    for verdict in ("unmatched", "unsure", "ambiguous"):
        assert questions([ALBUM], [TRACK], [match(verdict)], []) == [QUESTION]


def test_an_album_that_is_settled_is_not() -> None:
    assert questions([ALBUM], [TRACK], [match("matched")], []) == []
    assert questions([ALBUM], [TRACK], [match("unmatched", "user")], []) == []


def test_albums_of_watched_artists_are_never_searched() -> None:
    assert questions([ALBUM], [TRACK], [], ["LUMEN TIDE"]) == []
    with_guest = ALBUM | {"albumartist": "Lumen Tide & Somebody"}
    assert questions([with_guest], [TRACK], [], ["Lumen Tide"]) == []


def test_an_album_whose_every_file_has_a_cover_is_not_searched() -> None:
    covered = TRACK | {"has_front": 1}
    assert questions([ALBUM], [covered, covered], [], []) == []
    assert questions([ALBUM], [covered, TRACK], [], []) == [QUESTION]


def test_an_album_without_a_name_cannot_be_searched() -> None:
    assert questions([ALBUM | {"album": ""}], [TRACK], [], []) == []
    assert questions([ALBUM | {"albumartist": ""}], [], [], []) == []


def test_quotes_in_names_do_not_end_the_query() -> None:
    asked = AlbumQuestion("1", 'A "B"', 'X" artist:"Y')
    assert asked.text == 'album:"X artist: Y" artist:"A B"'


def test_only_albums_by_the_artist_concern_the_question() -> None:
    assert QUESTION.concerns({"artists": '[{"id": "x", "name": "lumen tide"}]'})
    assert not QUESTION.concerns({"artists": '[{"id": "x", "name": "Somebody Else"}]'})


def test_what_was_never_asked_comes_first_and_what_rests_not_at_all() -> None:
    old, new, resting = (AlbumQuestion(str(n), "A", str(n)) for n in range(3))
    answered = {
        old.text: {"next_search_at": "2030-01-01T00:00:00Z"},
        resting.text: {"next_search_at": "2030-01-03T00:00:00Z"},
    }
    assert due([old, new, resting], answered, "2030-01-02T00:00:00Z") == [new, old]


def test_gaps_grow_to_half_a_year() -> None:
    assert [gap(n).days for n in range(1, 8)] == [7, 14, 28, 56, 112, 180, 180]
    assert gap(10_000) == timedelta(days=180)
