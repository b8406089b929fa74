"""Ask Spotify by three requests whether it knows the app, its market, and what the app may do."""

from collections.abc import Callable

from harmony_pipelines.clients.spotify import SpotifyClient
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.setup import Finding, good, noted, wrong
from harmony_pipelines.settings import Settings

APP, PREMIUM, MARKET, PROFILE = (
    "Spotify app",
    "Spotify Premium",
    "Spotify market",
    "Spotify profile",
)

MOST_CALLS = 2
"""Beside the one for a token."""

_ANYTHING = "love"
"""What to search for where only the answer's coming matters."""


def check_spotify(settings: Settings, open_client: Callable[[], SpotifyClient]) -> list[Finding]:
    """What Spotify says of the app; asks nothing where something to ask with is missing."""
    unset = _unset(settings)
    if unset:
        return unset
    try:
        client = open_client()
        client.search_albums(_ANYTHING)
    except HarmonyError as error:
        return _refused(settings, error)
    said = [
        good(APP, "Spotify knows the client id and the secret."),
        good(PREMIUM, "Spotify answers, so its owner's subscription is active."),
        good(MARKET, settings.spotify_market()),
    ]
    return [*said, _profile(settings, client)]


def _unset(settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    for subject, needed in (
        (APP, settings.spotify_credentials),
        (MARKET, settings.spotify_market),
    ):
        try:
            needed()
        except HarmonyError as error:
            found.append(wrong(subject, error, "not set"))
    return found


def _refused(settings: Settings, error: HarmonyError) -> list[Finding]:
    if error.code is ErrorCode.RATE_LIMITED:
        return [noted(APP, "Spotify was not asked.", error.message)]
    if error.reason is Reason.PREMIUM_LAPSED:
        known = good(APP, "Spotify knows the client id and the secret.")
        return [known, wrong(PREMIUM, error, "not active")]
    if error.reason is Reason.REQUEST_REFUSED:
        return [wrong(MARKET, error, settings.spotify_market())]
    return [wrong(APP, error, "refused" if error.code is ErrorCode.AUTH_REQUIRED else "no answer")]


def _profile(settings: Settings, client: SpotifyClient) -> Finding:
    """What was set against what the app may do, which the client finds out."""
    asked = settings.spotify_profile
    try:
        may = client.albums_a_call > 1
    except HarmonyError as error:
        return noted(PROFILE, f"{asked}; what the app may do was not to be learnt.", error.message)
    if not may and asked == "extended":
        refusal = HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.SETTING,
            "Set HARMONY_SPOTIFY_PROFILE=development, or leave it out: Spotify lets this app ask "
            "for one album at a time only.",
        )
        return wrong(PROFILE, refusal, asked)
    told = "may ask for several albums at once" if may else "may ask for one album at a time"
    if may and asked != "extended":
        hint = "If it has the extended quota too, HARMONY_SPOTIFY_PROFILE=extended uses it."
        return noted(PROFILE, f"{asked}; the app {told}.", hint)
    return good(PROFILE, f"{asked}; the app {told}.")
