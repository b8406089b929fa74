"""The error vocabulary: every failure, of a run or of an item, is one of these codes."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """What kind of failure it is."""

    VALIDATION_ERROR = "VALIDATION_ERROR"
    AUTH_REQUIRED = "AUTH_REQUIRED"
    NOT_FOUND = "NOT_FOUND"
    RATE_LIMITED = "RATE_LIMITED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA = "UNSUPPORTED_MEDIA"
    BLOCKED_HOST = "BLOCKED_HOST"
    CONFLICT = "CONFLICT"
    DEPENDENCY_ERROR = "DEPENDENCY_ERROR"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class Reason(StrEnum):
    """Why it happened: a stable word under its code, for filters and for the user's own scripts."""

    # VALIDATION_ERROR
    SETTING = "setting"
    WATCHLIST = "watchlist"
    DECISIONS = "decisions"
    RUN_CONFIG = "run_config"
    CHANGE_BY_GET = "change_by_get"
    INVALID_ID = "invalid_id"
    VARIOUS_ARTISTS = "various_artists"
    AMBIGUOUS_NAME = "ambiguous_name"
    PATH_NOT_MAPPED = "path_not_mapped"
    OUTSIDE_LIBRARY = "outside_library"
    NO_LIBRARY = "no_library"
    # AUTH_REQUIRED
    MISSING_CREDENTIALS = "missing_credentials"
    INVALID_CLIENT = "invalid_client"
    PREMIUM_LAPSED = "premium_lapsed"
    TOKEN_REFUSED = "token_refused"
    FORBIDDEN = "forbidden"
    # NOT_FOUND
    UNKNOWN_ARTIST = "unknown_artist"
    UNKNOWN_ALBUM = "unknown_album"
    NO_COVER = "no_cover"
    FILE_MISSING = "file_missing"
    NOT_KEPT = "not_kept"
    HTTP_NOT_FOUND = "http_not_found"
    # RATE_LIMITED
    RATE_LIMIT = "rate_limit"
    QUOTA_EXCEEDED = "quota_exceeded"
    BUDGET_SPENT = "budget_spent"
    COOLDOWN = "cooldown"
    # DEADLINE_EXCEEDED
    DEADLINE = "deadline"
    TIMEOUT = "timeout"
    # PAYLOAD_TOO_LARGE
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    # UNSUPPORTED_MEDIA
    NOT_AN_IMAGE = "not_an_image"
    BROKEN_IMAGE = "broken_image"
    IMAGE_FORMAT = "image_format"
    CONTENT_ENCODING = "content_encoding"
    NOT_AUDIO = "not_audio"
    AUDIO_FORMAT = "audio_format"
    BROKEN_TAG = "broken_tag"
    # BLOCKED_HOST
    HOST_NOT_ALLOWED = "host_not_allowed"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    ADDRESS_NOT_PUBLIC = "address_not_public"
    URL_NOT_ALLOWED = "url_not_allowed"
    # CONFLICT
    LOCKED = "locked"
    CHANGED_MEANWHILE = "changed_meanwhile"
    HARD_LINK = "hard_link"
    RUN_OVER = "run_over"
    OTHER_PICTURE = "other_picture"
    NOT_OURS = "not_ours"
    SHARED_FOLDER = "shared_folder"
    # DEPENDENCY_ERROR
    SERVER_ERROR = "server_error"
    CONNECTION_FAILED = "connection_failed"
    NAME_RESOLUTION = "name_resolution"
    BAD_ANSWER = "bad_answer"
    ENDPOINT_REMOVED = "endpoint_removed"
    REQUEST_REFUSED = "request_refused"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    DATABASE = "database"
    NEWER_DATABASE = "newer_database"
    LIBRARY_SCHEMA = "library_schema"
    LIBRARY_SHRANK = "library_shrank"
    UNREADABLE = "unreadable"
    SHARE_HUNG = "share_hung"
    SHARE_STALE = "share_stale"
    OPEN_FILES = "open_files"
    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    CROSS_DEVICE = "cross_device"
    NO_LINKS = "no_links"
    BEETS_UPDATE = "beets_update"
    IO_ERROR = "io_error"
    # INTERNAL_ERROR
    BUG = "bug"
    VERIFICATION = "verification"


class HarmonyError(Exception):
    """A failure with a code, a reason and a message that names the thing and the way out.

    `details` holds what helps to find it (host, url without query, artist, file,
    `retry_after_s` …) and never a secret.
    """

    def __init__(self, code: ErrorCode, reason: Reason, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle whole, details included: Dagster may carry it between processes."""
        return (_rebuilt, (self.code, self.reason, self.message, self.details))

    def as_dict(self) -> dict[str, object]:
        """`{code, message, details}` with the reason among the details."""
        return {
            "code": str(self.code),
            "message": self.message,
            "details": {"reason": str(self.reason), **self.details},
        }


def _rebuilt(
    code: ErrorCode, reason: Reason, message: str, details: dict[str, object]
) -> HarmonyError:
    return HarmonyError(code, reason, message, **details)
