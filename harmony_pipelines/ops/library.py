"""The ops of `embed_artwork` before the covers: snapshot, matches, what is missing."""

import dagster as dg

from harmony_pipelines.claims import ARTWORK, Claims
from harmony_pipelines.failures import reported
from harmony_pipelines.metadata import materialised
from harmony_pipelines.resources import BeetsResource, CatalogueResource, SpotifyResource


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Reads the beets library through a private copy and looks at each file's size "
    "and time.",
    config_schema={},
)
def snapshot_library(
    context: dg.OpExecutionContext,
    beets: BeetsResource,
    catalogue: CatalogueResource,
    claims: Claims,
) -> None:
    """Bring `beets_albums` and `beets_tracks` up to date."""
    from harmony_pipelines.ops import reports

    with reported():
        claims.claim(context, ARTWORK)
        metadata = reports.snapshot(context, beets, catalogue)
        context.log_event(materialised("beets_albums", metadata))
        context.log_event(materialised("beets_tracks", metadata))


@dg.op(
    ins={"library": dg.In(dg.Nothing)},
    out=dg.Out(dg.Nothing),
    description="Pairs each library album with a Spotify album, or says why none is certain.",
    config_schema={},
)
def match_library(
    context: dg.OpExecutionContext, catalogue: CatalogueResource, spotify: SpotifyResource
) -> None:
    """Bring `album_matches` up to date."""
    from harmony_pipelines.ops import reports, searching

    with reported():
        metadata = reports.matches(context, catalogue)
        metadata |= searching.search(context, catalogue, spotify)
        context.log_event(materialised("album_matches", metadata))


@dg.op(
    ins={"matches": dg.In(dg.Nothing)},
    out=dg.Out(dg.Nothing),
    description="Lists what of the watched artists the library lacks.",
    config_schema={},
)
def list_missing(context: dg.OpExecutionContext, catalogue: CatalogueResource) -> None:
    """Bring `missing_from_library` up to date."""
    from harmony_pipelines.ops import reports

    with reported():
        report = reports.missing(context, catalogue)
        context.log_event(materialised("missing_from_library", report.metadata))
        for each in report.problems:  # covers do not wait for what people read
            context.log.error(f"{each['code']}: {each['message']}")
