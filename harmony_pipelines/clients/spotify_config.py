"""What the Spotify client must be told: which app, which market, and how long to wait."""

from dataclasses import dataclass, field

AUTO = "auto"
DEVELOPMENT = "development"
EXTENDED = "extended"


@dataclass(frozen=True)
class SpotifyConfig:
    """An app, a market, and the limits of a call; never shows the secret."""

    client_id: str
    client_secret: str = field(repr=False)
    market: str
    profile: str = DEVELOPMENT
    """`development`: pages of 10, one album a call; `extended`: pages of 50, batches; `auto`:
    what the app turns out to allow."""
    api_url: str = "https://api.spotify.com/v1"
    accounts_url: str = "https://accounts.spotify.com"
    connect_seconds: float = 5
    read_seconds: float = 20
    call_seconds: float = 30
    """The limit of one request as a whole, from name resolution to the last byte."""
    most_bytes: int = 10 * 2**20
    tries: int = 3
    """How often a call is made that may succeed the next time."""
    appears_on_max: int = 50
    """How many of the newest albums that an artist only appears on are listed."""
