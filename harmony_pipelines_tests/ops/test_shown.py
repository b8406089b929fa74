import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.clients.images import ImageLimits
from harmony_pipelines.clients.watchlist import read_decisions
from harmony_pipelines.metadata import SHOWN_ROWS
from harmony_pipelines.ops.shown import (
    SHOWN_ALBUMS,
    before_and_after,
    line_to_paste,
    outcomes,
    review,
)
from harmony_pipelines_tests.small_library import picture

ID = "0sNOF9WDwhWunNAHPD3Baj"
NASTY = "a|b\n![x](javascript:alert(1)) <img src=x> `c` \u202e" + "long " * 500


def waiting(**told: Any) -> dict[str, Any]:
    candidate = {"album_id": ID, "name": "Night Ferry", "release_date": "2020", "score": 0.71}
    return {
        "beets_album_id": 12,
        "mb_albumid": None,
        "albumartist": "Lumen Tide",
        "album": "Night Ferry",
        "verdict": "unsure",
        "message": "The titles differ.",
        "candidates": json.dumps([candidate]),
    } | told


def changed(album: int, old: str | None, new: str | None) -> dict[str, Any]:
    return {"beets_album_id": album, "old_sha256": old, "sha256": new}


@pytest.mark.parametrize(
    ("told", "album"),
    [
        ({}, "12"),
        ({"mb_albumid": "3f2b8c1e-0000-4000-8000-00000000000a"},) * 2,
        ({"mb_albumid": "10000000-0000-4000-8000-000000000000"},) * 2,
        ({"mb_albumid": "no uuid: {at} `all`"}, "no uuid: {at} all"),
    ],
)
def test_the_line_to_paste_is_read_back_as_the_decision(tmp_path: Path, told, album):
    album = album["mb_albumid"] if isinstance(album, dict) else album
    decisions = tmp_path / "decisions.yaml"
    decisions.write_text(f"match:\n  {line_to_paste(waiting(**told))}\n", encoding="utf-8")
    if " " in album:
        assert yaml.safe_load(decisions.read_text()) == {"match": {album: ID}}
    else:
        assert read_decisions(decisions).match == {album: ID}


def test_without_a_candidate_the_line_says_never(tmp_path: Path):
    decisions = tmp_path / "decisions.yaml"
    decisions.write_text(f"match:\n  {line_to_paste(waiting(candidates='[]'))}\n")
    assert read_decisions(decisions).match == {"12": "never"}


def test_the_review_lists_what_waits_with_links_and_nothing_else():
    shown = str(review([waiting(), waiting(verdict="matched"), waiting(verdict="ambiguous")]).value)
    assert len(shown.splitlines()) == 4
    assert f"[Night Ferry](https://open.spotify.com/album/{ID}) 2020 0.71" in shown
    assert f"`12: {ID}`" in shown


def test_names_full_of_markup_stay_text_and_rows_have_an_end():
    candidates = json.dumps(
        [{"album_id": ID, "name": NASTY, "release_date": NASTY, "score": 0.5}] * 9
    )
    row = waiting(albumartist=NASTY, album=NASTY, candidates=candidates)
    shown = str(review([row] * (SHOWN_ROWS + 5)).value)
    lines = shown.splitlines()
    assert len(lines) == 2 + SHOWN_ROWS + 2
    assert not re.search(r"(?<!\\)<img|(?<!\\)!?\[x", shown)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 6 for line in lines[: 2 + SHOWN_ROWS])


def test_pictures_before_and_after_are_small_and_of_a_few_albums(tmp_path: Path):
    before, after = ContentStore(tmp_path / "undo"), ContentStore(tmp_path / "covers")
    old, new = before.put(picture("old")), after.put(picture("new", 1500))
    rows = [changed(album, old if album % 2 else None, new) for album in range(SHOWN_ALBUMS + 5)]
    names = {0: "Lumen Tide - Night Ferry"}

    shown = str(before_and_after(rows * 2, names, before, after, ImageLimits()).value)

    lines = shown.splitlines()
    assert len(lines) == 2 + SHOWN_ALBUMS + 2
    assert lines[-1] == "… and 5 more in the database."
    assert lines[2].startswith("| Lumen Tide - Night Ferry | none | ![](data:image/jpeg;base64,")
    assert len(shown) < 200_000
    [first, *_] = re.findall(r"base64,([^)]*)\)", shown)
    assert base64.b64decode(first).startswith(b"\xff\xd8\xff")


def test_a_picture_that_is_gone_or_odd_is_said_and_costs_nothing_else(tmp_path: Path):
    before, after = ContentStore(tmp_path / "undo"), ContentStore(tmp_path / "covers")
    odd, gone = before.put(b"GIF89a"), "0" * 64
    shown = before_and_after([changed(1, odd, gone)], {}, before, after, ImageLimits())
    assert str(shown.value).splitlines()[2:] == [
        "| 1 | not shown: image\\_format | not shown: file\\_missing |"
    ]


def test_outcomes_are_counted_by_reason():
    row = {"reason": None, "source": "spotify"}
    rows = [row | {"status": "embedded"}] * 2
    rows += [{"status": "skipped", "reason": "read_only", "source": None}]
    shown = outcomes(rows, {("skipped", "has_cover"): 3, ("deferred", "time"): 0})
    assert str(shown.value).splitlines()[2:] == [
        "| embedded | spotify | 2 |",
        "| skipped | has\\_cover | 3 |",
        "| skipped | read\\_only | 1 |",
    ]
