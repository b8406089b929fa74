"""One partition per watched artist; its key is `<slug>-<artist id>`, fixed at first sight."""

import dagster as dg

watched_artists = dg.DynamicPartitionsDefinition(name="artists")


def register(instance: dg.DagsterInstance, keys: list[str]) -> list[str]:
    """Add the keys that Dagster does not know yet, and return them.

    A run only adds: removing is the sensor's, which sees no run in flight.
    """
    known = set(watched_artists.get_partition_keys(dynamic_partitions_store=instance))
    new = [key for key in keys if key not in known]
    if new:
        instance.add_dynamic_partitions("artists", new)
    return new
