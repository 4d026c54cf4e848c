"""Judge a year of generated mail with the volume alarm: false alarms a year, and the delay until a flood is found.

The traffic has daily and weekly seasons, holidays, growth, noise, and newsletters: one each month, and unplanned ones.
Figures are printed, nothing is asserted. Run `python -m tools.volume` in the repository's root.
"""

import math
import random
import sys
from typing import Final, NamedTuple

from postward.agent.metrics.volume import HOUR, Volume

_STEP: Final = 300  # seconds between two judgements
_YEAR: Final = 365 * 24  # hours
_HOLIDAYS: Final = frozenset({0, 1, 95, 98, 121, 148, 276, 304, *range(357, 365)})  # days of the year
_FLOODS: Final = (3, 10, 30)  # times the mean of an hour
_FLOOD_HOURS: Final = 12
_YEARS: Final = 4


class Host(NamedTuple):
    """A kind of host.

    Attributes:
        name: of the kind.
        mean: recipients an hour, at the beginning of the year.
        growth: by which factor in the year.
        newsletter: recipients of one, in times of the mean; sent within two hours.
        unplanned: further newsletters of random size a year.
    """

    name: str
    mean: float
    growth: float
    newsletter: float
    unplanned: int


HOSTS: Final = (
    Host("cron mail alone", 6, 1.0, 0, 0),
    Host("an application", 300, 1.5, 0, 2),
    Host("a shop with newsletters", 300, 2.0, 40, 6),
    Host("a busy relay", 20_000, 1.3, 5, 4),
)


def traffic(host: Host, rnd: random.Random) -> list[int]:
    """Return the recipients of each hour of a year."""
    hours = []
    for hour in range(_YEAR):
        day, of_day = divmod(hour, 24)
        daily = 1 + 0.8 * math.sin((of_day - 8) * math.pi / 12)
        weekly = 0.35 if day % 7 in {5, 6} or day in _HOLIDAYS else 1.2
        level = host.mean * (1 + (host.growth - 1) * hour / _YEAR) * daily * weekly
        noise = rnd.lognormvariate(0, 0.25)
        hours.append(poisson(level * noise, rnd))
    sends = [(30 * month + rnd.randint(1, 4)) * 24 + rnd.randint(7, 16) for month in range(12)]
    unplanned = [rnd.randrange(_YEAR - 4) for _ in range(host.unplanned)]
    for start, size in [(at, 1.0) for at in sends] + [(at, rnd.uniform(0.1, 2)) for at in unplanned]:
        total = size * host.newsletter * host.mean or (size * 10 * host.mean if start in unplanned else 0)
        for offset in range(2):
            hours[start + offset] += round(total / 2 * rnd.uniform(0.8, 1.2))
    return hours


def poisson(mean: float, rnd: random.Random) -> int:
    """Return a number of arrivals."""
    return max(0, round(rnd.gauss(mean, math.sqrt(mean)))) if mean > 50 else _small(mean, rnd)


def _small(mean: float, rnd: random.Random) -> int:
    number, product, limit = 0, rnd.random(), math.exp(-mean)
    while product > limit:
        number += 1
        product *= rnd.random()
    return number


def alarms(hours: list[int]) -> int:
    """Return how often an alarm begins, judged at the end of each hour; one within a day of another is the same."""
    volume, last, number = Volume(), -math.inf, 0
    for hour, recipients in enumerate(hours):
        now = hour * HOUR
        volume.flood(now)
        volume.add(now, recipients)
        if volume.flood(now + HOUR - 1):
            number += hour - last > 24
            last = hour
    return number


def delay(hours: list[int], start: int, rate: float) -> float | None:
    """Return the minutes until a flood is found that begins at an hour; None if it is not found."""
    first = start - 6 * 7 * 24
    volume = Volume({hour: hours[hour] for hour in range(first, start)})
    for step in range(_FLOOD_HOURS * HOUR // _STEP):
        now = start * HOUR + step * _STEP
        volume.flood(now)
        volume.add(now, round((hours[now // HOUR] + rate) * _STEP / HOUR))
        if volume.flood(now):
            return (step + 1) * _STEP / 60
    return None


def main() -> None:
    """Print a row for each kind of host."""
    out = sys.stdout.write
    out(f"{'':26}{'false alarms':>13}   median minutes until a flood is found, and the share found\n")
    heads = "".join(f"{times:>9} x the mean" for times in _FLOODS)
    out(f"{'host':26}{'a year':>13}{heads}\n")
    for host in HOSTS:
        rnd = random.Random(1)  # noqa: S311 -- not a secret
        years = [traffic(host, rnd) for _ in range(_YEARS)]
        row = f"{host.name:26}{sum(map(alarms, years)) / _YEARS:13.1f}"
        for times in _FLOODS:
            starts = [rnd.randrange(7 * 7 * 24, _YEAR - _FLOOD_HOURS) for _ in range(40)]
            found = [delay(years[n % _YEARS], start, times * host.mean) for n, start in enumerate(starts)]
            seen = sorted(minutes for minutes in found if minutes is not None)
            middle = f"{seen[len(seen) // 2]:.0f} min" if seen else "–"
            row += f"{middle:>12}{len(seen) / len(found):8.0%}"
        out(row + "\n")


if __name__ == "__main__":
    main()
