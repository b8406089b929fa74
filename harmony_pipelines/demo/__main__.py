"""`make demo`: the main job from end to end, offline, on this machine; then what it did."""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml
from rich.console import Console

from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.home import FOLDER, DemoHome
from harmony_pipelines.demo.report import Report
from harmony_pipelines.demo.spotify_server import SpotifyServer

HELD_BACK = "spring-tide"
"""The release that appears between the first and the second refresh."""

_JOB_SECONDS = 120


def main() -> int:
    """Run the jobs of a user whose Spotify and library are the demo's; say what they did."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(FOLDER), help="where the demo lives")
    home = DemoHome(parser.parse_args().folder.resolve())
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    is_new = home.is_new
    with demo_server(home) as server:
        jobs = Jobs(home, home.environment(server), console)
        report = Report(home, console)
        if is_new:
            jobs.run("refresh_catalogue", "First look at Spotify: this is the baseline")
            server.catalogue.publish(HELD_BACK)
        jobs.run("refresh_catalogue", "A later look: what is new", _REFRESH_ALL)
        before = report.files()
        jobs.run("embed_artwork", "The right cover into every file")
        if is_new:
            jobs.run("restore_artwork", "One album undone, to show that it can be", report.undo())
        report.show(requests=server.count(), is_new=is_new, before=before)
    return 0 if jobs.all_green else 1


_REFRESH_ALL = {"ops": {"refresh_artists": {"config": {"full_sweep": True}}}}


@contextmanager
def demo_server(home: DemoHome) -> Iterator[SpotifyServer]:
    """The demo's Spotify on the port it had before: the catalogue keeps its pictures' URLs."""
    catalogue = Catalogue.load()
    if not home.is_new:
        catalogue.publish(HELD_BACK)
    try:
        home.prepare()
        server = SpotifyServer(catalogue, port=home.port)
        server.start()
    except OSError:
        server = SpotifyServer(catalogue)
        server.start()
    home.port = server.port
    try:
        yield server
    finally:
        server.stop()


class Jobs:
    """Runs jobs by the `dagster` command, as a user would, and keeps what it prints in a file."""

    def __init__(self, home: DemoHome, environment: Mapping[str, str], console: Console) -> None:
        self._home = home
        self._environment = dict(environment)
        self._console = console
        self.all_green = True

    def run(self, job: str, why: str, config: Mapping[str, object] | None = None) -> None:
        """Run one job; its last line is what the user reads."""
        began = time.monotonic()
        log = self._home.folder / f"{job}.log"
        with self._console.status(f"{why} …"):
            finished = self._execute(job, config or {}, log)
        last = finished.stdout.strip().splitlines()[-1:] or ["it said nothing"]
        self.all_green &= finished.returncode == 0
        mark = "[green]✓[/]" if finished.returncode == 0 else "[red]✗[/]"
        self._console.print(f"{mark} {why} ({time.monotonic() - began:.0f} s)")
        self._console.print(f"  {last[0]}", style="dim", markup=False)
        if finished.returncode:
            self._console.print(f"  The whole log: {log}", style="dim", markup=False)

    def _execute(
        self, job: str, config: Mapping[str, object], log: Path
    ) -> subprocess.CompletedProcess[str]:
        file = self._home.folder / f"{job}.yaml"
        file.write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
        command = [sys.executable, "-m", "dagster", "job", "execute"]
        command += ["-m", "harmony_pipelines.definitions", "-j", job, "-c", str(file)]
        with log.open("w", encoding="utf-8") as errors:
            return subprocess.run(
                command,
                cwd=self._home.folder,  # not the project's, whose .env is the user's
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                timeout=_JOB_SECONDS,
                check=False,
            )


if __name__ == "__main__":
    sys.exit(main())
