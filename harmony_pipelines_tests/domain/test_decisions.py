from harmony_pipelines.domain.decisions import Decisions

RELEASE = "f5093c06-23e3-404f-aeaa-40f72885ee3a"


def test_what_names_no_album_of_the_library_is_a_stranger_with_its_line():
    lines = {("match", "9"): 5, ("match", "1"): 2, ("match", "8"): 3, ("cover", "7"): 9}
    decisions = Decisions(lines=lines)
    albums = [{"beets_album_id": 1, "mb_albumid": None}]
    assert decisions.strangers("match", albums) == [(3, "8"), (5, "9")]
    assert decisions.strangers("cover", albums) == [(9, "7")]


def test_an_album_is_known_by_either_of_its_ids_whatever_the_case():
    decisions = Decisions(lines={("cover", "1"): 2, ("cover", RELEASE): 3})
    albums = [{"beets_album_id": 1}, {"beets_album_id": 2, "mb_albumid": RELEASE.upper()}]
    assert decisions.strangers("cover", albums) == []


def test_in_an_empty_library_every_decision_is_about_no_album():
    assert Decisions(lines={("match", "1"): 2}).strangers("match", []) == [(2, "1")]
