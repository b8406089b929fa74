"""What a schedule or a sensor takes at each tick."""

import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from benchmarks.bench import Bench
from benchmarks.data import fill
from benchmarks.home import Home
from benchmarks.measure import in_process
from benchmarks.table import Row

ARTISTS = 5000
MOST_S = 0.2


def rows(bench: Bench) -> Iterator[Row]:
    """The processor time of a tick of each, the slowest told."""
    home = Home(bench.place("ticks"))
    fill(home, ARTISTS, albums=10, tracks=1)
    told = in_process(all_ticks, home.environment(), times=bench.times)["ticks"]
    for name, seconds in told.items():
        yield Row(
            f"a tick of `{name}`, {ARTISTS:,} artists, CPU", "-", None, f"≤ {MOST_S * 1000:.0f} ms",
            seconds <= MOST_S, f"{seconds * 1000:.0f} ms", "-", bench.times,
        )  # fmt: skip


def all_ticks(times: int) -> dict[str, Any]:
    """The median processor time of a tick, by name; the imports of the first are not counted."""
    import dagster as dg

    from harmony_pipelines.definitions import defs
    from harmony_pipelines.partitions import register

    repository = defs.get_repository_def()
    with dg.DagsterInstance.get() as instance:
        register(instance, [f"artist-{number:022}" for number in range(ARTISTS)])

        def of_schedule(schedule: dg.ScheduleDefinition) -> None:
            with dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=datetime.now(UTC),
                repository_def=repository,
            ) as context:
                schedule.evaluate_tick(context)

        def of_sensor(sensor: dg.SensorDefinition, cursor: str | None) -> str | None:
            with dg.build_sensor_context(
                instance=instance, cursor=cursor, repository_def=repository
            ) as context:
                return sensor.evaluate_tick(context).cursor

        found = {
            schedule.name: _median(times, lambda _, it=schedule: of_schedule(it))
            for schedule in repository.schedule_defs
        }
        found |= {
            sensor.name: _median(times, lambda cursor, it=sensor: of_sensor(it, cursor))
            for sensor in repository.sensor_defs
        }
    return {"ticks": found}


def _median(times: int, tick: Callable[[str | None], str | None]) -> float:
    cursor = tick(None)
    seconds: list[float] = []
    for _ in range(times):
        began = time.process_time()
        cursor = tick(cursor)
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)
