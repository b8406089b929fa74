"""Where the user's beets library is: our settings first, else what beets' own configuration says.

Of that file only two values are read; its plugins are never loaded and its includes never followed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_USUAL_FOLDER = "~/.config/beets"
_USUAL_LIBRARY = "library.db"
_USUAL_MUSIC = "~/Music"


@dataclass(frozen=True)
class BeetsConfig:
    """The beets database, what its relative paths hang on, and where its folders are here."""

    database: Path
    music_directory: Path
    path_map: tuple[tuple[Path, Path], ...] = ()


def find_config(
    library: Path | None = None,
    music_directory: Path | None = None,
    path_map: Sequence[tuple[Path, Path]] = (),
    beets_dir: Path | None = None,
) -> BeetsConfig:
    """The library that was named, else the one beets itself would open."""
    if library is None or music_directory is None:
        folder = (beets_dir or Path(_USUAL_FOLDER)).expanduser()
        said = _said_by(folder / "config.yaml")
        library = library or folder / Path(said.get("library", _USUAL_LIBRARY)).expanduser()
        music = folder / Path(said.get("directory", _USUAL_MUSIC)).expanduser()
        music_directory = music_directory or music
    return BeetsConfig(
        library.expanduser().absolute(), music_directory.expanduser().absolute(), tuple(path_map)
    )


def _said_by(file: Path) -> dict[str, str]:
    """The top-level texts of the file; the nodes are only looked at, nothing is constructed."""
    import yaml

    class Loader(yaml.SafeLoader):
        def check_plain(self) -> bool:  # beets allows a value to begin with %
            return super().check_plain() or self.peek() == "%"

    try:
        top = yaml.compose(file.read_bytes(), Loader=Loader)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, yaml.YAMLError) as error:
        raise HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.SETTING,
            f"The beets configuration {file} cannot be read: {error}. Mend it, or set both "
            "HARMONY_BEETS_LIBRARY and HARMONY_MUSIC_DIRECTORY.",
            path=str(file),
        ) from error
    pairs = top.value if isinstance(top, yaml.MappingNode) else []
    return {
        name.value: value.value
        for name, value in pairs
        if isinstance(name, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode) and value.value
    }
