"""A process that forks one worker for each order, so that nothing is imported twice.

Each worker stops before it begins, for its tracer to take hold of it; then it puts a cover into the
one file of a bench, or takes it out again. Orders come as lines of JSON, answers go the same way.
"""

import ctypes
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harmony_pipelines.clients.catalogue import Catalogue
from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.clients.delta import Delta
from harmony_pipelines.clients.embedding import EmbedOptions, WayBack, embed_front, put_back
from harmony_pipelines.clients.front_cover import NewCover
from harmony_pipelines.clients.safe_write import WriteOptions
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.steps.embed_covers import Embedding
from harmony_pipelines.steps.file_work import Limits, Stores
from harmony_pipelines.steps.restore_covers import Restoring, Wanted, changed_files

_LIMITS = Limits(Deadline.after(3600), 1 << 40, 1 << 40)
Work = Callable[[], object]
DONE, REFUSED = 0, 7
_PR_SET_PTRACER, _ANY = 0x59616D61, ctypes.c_ulong(-1)


def embed(bench: Path) -> Work:
    """Put the bench's cover into its file; what leads back lies in the undo store then."""
    cover = NewCover((bench / "cover.jpg").read_bytes(), "image/jpeg", 600, 500)
    return partial(embed_front, _file(bench), cover, _options(bench))


def restore(bench: Path) -> Work:
    """Put the file back to what it was."""
    file, undo, kept = _file(bench), ContentStore(bench / "undo"), (bench / "delta").read_text()

    def work() -> None:
        delta = Delta.unpacked(undo.get(kept))
        picture = undo.get(delta.picture_sha256) if delta.picture_sha256 else b""
        if put_back(file, [(delta, picture)], _options(bench)) is None:
            raise AssertionError("the delta does not lead back")

    return work


def night(folder: Path) -> Work:
    """Embed what was planned and found, in a whole run over the folder's library."""
    albums, found = pickle.loads((folder / "plan").read_bytes())

    def work() -> None:
        store = _catalogue(folder)
        run = Embedding("night", _stores(folder, store), (folder / "music",), _LIMITS, lambda: None)
        run.albums(albums, found)

    return work


def undo(folder: Path) -> Work:
    """Undo everything of ours, in a whole run over the folder's library."""
    return lambda: restoring(folder, _catalogue(folder), "undone")()


def restoring(folder: Path, store: Catalogue, run_id: str) -> Work:
    """A run that undoes everything."""
    roots = (folder / "music",)
    run = Restoring(run_id, _stores(folder, store), roots, _LIMITS, lambda: None)
    return lambda: run.files(changed_files(store, Wanted(everything=True)))


def _catalogue(folder: Path) -> Catalogue:
    return Catalogue.open(f"sqlite:///{folder / 'home' / 'harmony.db'}")


def _stores(folder: Path, store: Catalogue) -> Stores:
    home = folder / "home"
    return Stores(store, ContentStore(home / "covers"), ContentStore(home / "undo"), home / "locks")


def _file(bench: Path) -> Path:
    [file] = (path for path in (bench / "music").iterdir() if path.name[0] != ".")
    return file


def _options(bench: Path) -> EmbedOptions:
    undo = ContentStore(bench / "undo")

    def journal(way_back: WayBack) -> None:
        if way_back.delta:
            kept = undo.put(way_back.delta.packed())
            if not (bench / "delta").exists():
                (bench / "delta").write_text(kept)

    def keep_old(picture: bytes) -> None:
        undo.put(picture)

    return EmbedOptions(
        write=WriteOptions((bench / "music",), room=0), journal=journal, keep_old=keep_old
    )


_PREPARED: dict[str, Callable[[Path], Work]] = {
    "embed": embed,
    "restore": restore,
    "night": night,
    "undo": undo,
}


def _worker(work: Work) -> int:
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)  # a system may let only parents trace
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        work()
    except HarmonyError:
        return REFUSED
    return DONE


def main() -> None:
    """Obey; the first order is to be untraced, so that all is imported before the first fork."""
    for order in map(json.loads, sys.stdin):
        work = _PREPARED[order["work"]](Path(order["bench"]))
        if order["untraced"]:
            work()
            print(json.dumps(DONE), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            os._exit(_worker(work))  # an exception is told, and ends with another status
        os.waitpid(pid, os.WUNTRACED)
        print(json.dumps(pid), flush=True)
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])), flush=True)


if __name__ == "__main__":
    main()
