from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.domain.library_artists import Credit, Known, LibraryArtists

ONE, OTHER = "1" * 22, "2" * 22
PERSON, NAMESAKE = "a" * 8 + "-aaaa-aaaa-aaaa-" + "a" * 12, "b" * 8 + "-bbbb-bbbb-bbbb-" + "b" * 12

RAW = st.none() | st.integers() | st.floats() | st.binary(max_size=30)


def test_a_name_without_ids_is_not_known():
    artists = LibraryArtists([Credit("Nagisa"), Credit("Other", ONE)])
    assert artists.known("Nagisa") == Known((), frozenset({"nagisa"}), 0)
    assert artists.known("Nobody") == Known()


def test_the_id_that_albums_and_tracks_have_is_the_name_s():
    artists = LibraryArtists([Credit("Nagisa", ONE), Credit("NAGISA ", ONE), Credit("Nagisa")])
    assert artists.known("nagisa").artist_ids == (ONE,)


def test_two_ids_are_two_artists_and_various_artists_is_nobody():
    various = "0LyfQWJT6nXafLPZqxe9Of"
    credits_ = [Credit("X", OTHER), Credit("X", ONE), Credit("X", ONE), Credit("X", various)]
    assert LibraryArtists(credits_).known("X").artist_ids == (ONE, OTHER)


def test_an_artist_of_two_names_is_one_by_the_musicbrainz_id():
    artists = LibraryArtists([Credit("Beatles", None, PERSON), Credit("The Beatles", ONE, PERSON)])
    known = artists.known("Beatles")
    assert known.artist_ids == (ONE,)
    assert known.names == {"beatles", "the beatles"}


def test_namesakes_are_told_apart_by_their_musicbrainz_ids():
    artists = LibraryArtists(
        [Credit("X", None, PERSON), Credit("X", None, NAMESAKE), Credit("Y", ONE, PERSON)]
    )
    assert artists.known("X") == Known((), frozenset({"x"}), 2)


def test_columns_hold_ids_of_either_kind_wherever_they_stand():
    credit = Credit.of(b"Nagisa", None, ONE.encode())
    assert credit == Credit("Nagisa", ONE, None)
    assert Credit.of(b"Nagisa", b"", PERSON.upper().encode()) == Credit("Nagisa", None, PERSON)
    assert Credit.of(None, b"junk", 7) == Credit("")


@given(RAW, RAW, RAW, st.text())
def test_whatever_a_library_holds_a_name_is_looked_up(
    name: object, one: object, other: object, text: str
):
    artists = LibraryArtists([Credit.of(name, one, other)])  # pyright: ignore[reportArgumentType]
    assert len(artists.known(text).artist_ids) <= 1
