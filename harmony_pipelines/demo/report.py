"""What the demo shows at its end: the reports, as a person would want to read them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.demo.home import DemoHome
from harmony_pipelines.domain.undo import EMBEDDED, RESTORED
from harmony_pipelines.steps.plan_covers import file_of


class Report:
    """Reads the demo's database and prints it."""

    def __init__(self, home: DemoHome, console: Console) -> None:
        self._home = home
        self._console = console
        self._store = Catalogue.open(f"sqlite:///{home.database}")
        self._runs = {row["run_id"] for row in self._results()}

    def show(self, *, requests: int, is_new: bool, before: Mapping[Path, str]) -> None:
        """Who is watched, what is new, what is missing, which files got a cover from where."""
        self._watchlist()
        self._new_releases()
        self._missing()
        self._matches()
        self._artwork()
        self._undone(before)
        self._where(requests, is_new)

    def files(self) -> dict[Path, str]:
        """The SHA-256 of every file of the music."""
        found = sorted(path for path in self._home.music.rglob("*") if path.is_file())
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    def undo(self) -> dict[str, object]:
        """The run config that undoes the last album into whose files the run put covers."""
        done = [row for row in self._new_results() if row["status"] == EMBEDDED]
        albums = sorted({str(row["beets_album_id"]) for row in done})[-1:]
        return {"ops": {"restore_covers": {"config": {"albums": albums}}}}

    def _undone(self, before: Mapping[Path, str]) -> None:
        """Whether what was undone is what it was, to the last byte."""
        now = self.files()
        undone = [file_of(r["path"]) for r in self._new_results() if r["status"] == RESTORED]
        for folder in sorted({path.parent for path in undone}):
            paths = [path for path in undone if path.parent == folder]
            is_same = all(now[path] == before[path] for path in paths)
            self._note(
                f"Undone again: {folder}, {len(paths)} files, "
                + ("every byte as it was." if is_same else "but NOT as they were!")
            )

    def _watchlist(self) -> None:
        counts = Counter(row["artist_id"] for row in self._store.table(tables.spotify_albums))
        rows = [
            (row["name"], counts[row["artist_id"]], row["partition_key"])
            for row in self._store.table(tables.watchlist)
        ]
        self._print("Watched", ("artist", "releases", "partition"), rows)
        review = self._store.table(tables.watchlist_review)
        for row in review:
            self._note(f"To review, line {row['line']}: {row['message']}")

    def _new_releases(self) -> None:
        table = tables.new_releases
        rows = self._store.table(table, table.c.hidden_reason.is_(None))
        self._print(
            "New releases",
            ("artist", "release", "date"),
            [(row["artist_name"], row["name"], row["release_date"]) for row in rows],
        )

    def _missing(self) -> None:
        rows = self._store.table(tables.missing_from_library)
        shown = [row for row in rows if row["hidden_reason"] is None]
        self._print(
            "Missing from the library",
            ("artist", "what", "date"),
            [
                (row["artist_name"], _what(row), row["release_date"])
                for row in sorted(
                    shown, key=lambda row: (row["artist_name"], row["track_id"] != "")
                )
            ],
        )
        hidden = Counter(row["hidden_reason"] for row in rows if row["hidden_reason"])
        self._note("Not counted as missing: " + _counted(hidden))

    def _matches(self) -> None:
        albums = {row["beets_album_id"]: row for row in self._store.table(tables.beets_albums)}
        self._print(
            "Your library",
            ("album", "on Spotify?", "why"),
            [
                (_title(albums[row["beets_album_id"]]), row["verdict"], row["message"])
                for row in self._store.table(tables.album_matches)
            ],
        )

    def _artwork(self) -> None:
        new = self._new_results()
        done = Counter(
            (Path(row["path"]).parent, row["source"], f"{row['width']} x {row['height']}")
            for row in new
            if row["status"] == EMBEDDED
        )
        self._print(
            "Covers embedded",
            ("folder", "from", "size", "files"),
            [
                (folder.relative_to(self._home.music), source, size, files)
                for (folder, source, size), files in sorted(done.items())
            ],
        )
        for row in new:
            if row["status"] not in (EMBEDDED, RESTORED):
                self._note(f"{row['status'].capitalize()}, {row['reason']}: {row['message']}")

    def _where(self, requests: int, is_new: bool) -> None:
        again = (
            "Run it again: nothing new, nothing written." if is_new else "It was all done before."
        )
        self._console.print(
            f"\n{requests} requests went to the demo's Spotify. {again}\n"
            f"The database: {self._home.database}\n"
            f"The music:    {self._home.music}\n"
            "The UI on all this: make dev DEMO=1",
            markup=False,
            soft_wrap=True,
        )

    def _new_results(self) -> list[Row]:
        return [row for row in self._results() if row["run_id"] not in self._runs]

    def _results(self) -> list[Row]:
        return self._store.table(tables.artwork_results)

    def _print(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        rows = list(rows)
        if not rows:
            self._console.print(f"\n[bold]{title}[/]: none")
            return
        table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None)
        for column in columns:
            table.add_column(column, style="" if column == columns[0] else "dim")
        for row in rows:
            table.add_row(*(escape(str(value if value is not None else "")) for value in row))
        self._console.print(table)

    def _note(self, text: str) -> None:
        shown = text.replace(f"{self._home.music}/", "").replace(f"{self._home.folder}/", "")
        self._console.print(f"  {shown}", style="dim", markup=False)


def _what(row: Row) -> str:
    if row["track_id"]:
        return f"track: {row['name']}"
    return f"{row['album_type']}: {row['name']} ({row['total_tracks']} tracks)"


def _title(album: Row) -> str:
    return f"{album['albumartist']} - {album['album']}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in sorted(counts.items())) or "none"
