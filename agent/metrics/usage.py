"""How much of the relays' limits is used, and whether there is far more mail than usual.

Recipients that a relay accepted are counted by the stamps of their lines, probes too, in steps of five minutes. A window
is the last hour or the last 24 hours, whatever the provider's clock: a day of the provider never has more. The counts are
kept in the checkpoint.

Promise: memory is bounded: a day of steps for each relay with a limit, and five weeks of hours for the host.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.minutes import TO_THE_MINUTE, Minutes
from postward.agent.metrics.volume import Flood, Volume
from postward.agent.parts import Gauges, Labels, Part
from postward.agent.rows import ByRows, Rows, Take
from postward.agent.text import plural
from postward.config.settings import Settings
from postward.parsers import events as ev

STEP: Final = 300  # seconds
WINDOWS: Final[Mapping[str, int]] = {"hour": 3600, "day": 86400}  # seconds
NEAR: Final = 0.8  # of a limit
_RATE_STEPS: Final = 12  # whose mean is the rate of a forecast: an hour
_DONE: Final = frozenset({"sent", "bounced"})


class Accepted:
    """Recipients by step of five minutes, for a day.

    Args:
        steps: step since 1970 → recipients.
    """

    def __init__(self, steps: Mapping[int, int] | None = None) -> None:
        self.steps: dict[int, int] = dict(steps or {})

    def add(self, second: float, number: int) -> None:
        """Count recipients of a moment."""
        step = int(second) // STEP
        self.steps[step] = self.steps.get(step, 0) + number

    def within(self, window: int, now: float) -> int:
        """Return the recipients of the last `window` seconds; the step in which they begin counts in full."""
        last = int(now) // STEP
        return sum(number for step, number in self.steps.items() if last - window // STEP <= step <= last)

    def used_up_at(self, limit: int, window: int, now: float) -> float | None:
        """Return when the limit of a window is reached at the rate of the last hour; None if it is not within a window."""
        last = int(now) // STEP
        rate = sum(self.steps.get(step, 0) for step in range(last - _RATE_STEPS, last)) / _RATE_STEPS
        used = float(self.within(window, now))
        if used >= limit:
            return now
        for step in range(last + 1, last + 1 + window // STEP):
            used += rate - self.steps.get(step - window // STEP - 1, 0)
            if used >= limit:
                return float(step * STEP)
        return None

    def forget(self, now: float) -> None:
        """Forget what is older than every window."""
        first = (int(now) - max(WINDOWS.values())) // STEP
        for step in [step for step in self.steps if step < first]:
            del self.steps[step]


class MailVolume(ByRows, Part):
    """Observes recipients by relay and time.

    Args:
        settings: the relays and their limits.
        names: the relays of the settings.
        local_now: returns the time near which stamps without a year are read.
        clock: seconds since 1970.
    """

    name = "volume"
    takes: ClassVar[Mapping[type[Any], Take]] = {}

    def __init__(
        self,
        settings: Settings,
        names: RelayNames,
        local_now: Callable[[], datetime],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._names = names
        self._minutes = Minutes(local_now)
        self._clock = clock
        self._limits: dict[tuple[str, str], int] = {}
        for relay in settings.relay:
            for window, limit in (("hour", relay.hourly_limit), ("day", relay.daily_limit)):
                if limit:
                    self._limits[relay.name, window] = limit
        self._accepted = {name: Accepted() for name, _ in self._limits}
        self._volume = Volume()

    def delivered(self, rows: Rows, times: int) -> None:
        """Count recipients that need no further attempt.

        Stamps and peers repeat in a block: each is looked up once.
        """
        minutes: dict[str, str] = {}  # beginning of a stamp, with its minute → a whole stamp
        done: Counter[str] = Counter()
        accepted: Counter[tuple[str, str, str]] = Counter()
        for instance, relay, status, stamp in rows:
            if status in _DONE:
                minute = stamp[:TO_THE_MINUTE]
                if minute not in done:
                    minutes[minute] = stamp
                done[minute] += 1
                if status == "sent" and self._accepted:
                    accepted[instance, relay, minute] += 1
        seconds = {minute: self._minutes.second(stamp) for minute, stamp in minutes.items()}
        for minute, number in done.items():
            if (second := seconds[minute]) is not None:
                self._volume.add(second, number * times)
        for (instance, relay, minute), number in accepted.items():
            name, second = self._names.of(relay, None, instance), seconds[minute]
            if name in self._accepted and second is not None:
                self._accepted[name].add(second, number * times)

    def gauges(self) -> Gauges:
        """Return the used part of each limit, when it is used up, and whether there is a flood."""
        now = self._clock()
        ratios: dict[Labels, float] = {
            key: self._used(key, now) / limit for key, limit in self._limits.items()
        }
        ends: dict[Labels, float] = {
            key: end for key in self._limits if (end := self._end(key, now)) is not None
        }
        flood = self._volume.flood(now)
        return {
            "postward_relay_limit_ratio": ratios,
            "postward_relay_limit_used_up_timestamp_seconds": ends,
            "postward_mail_flood": {
                (window,): float(flood is not None and flood.window == window) for window in WINDOWS
            },
        }

    def conditions(self) -> Mapping[str, str | None]:
        """Return the limits that are nearly used up, and the flood."""
        now = self._clock()
        near = [
            self._limit_text(key, limit, now)
            for key, limit in self._limits.items()
            if self._used(key, now) >= NEAR * limit
        ]
        flood = self._volume.flood(now)
        return {
            "relay-limit-near": "; ".join(near) or None,
            "mail-flood": flood_text(flood) if flood else None,
        }

    def state(self) -> Mapping[str, Any]:
        """Return the counts."""
        now = self._clock()
        for accepted in self._accepted.values():
            accepted.forget(now)
        return {
            "accepted": {name: _as_json(accepted.steps) for name, accepted in self._accepted.items()},
            "hours": self._volume.to_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the counts of relays that still have a limit."""
        self._volume = Volume(_counts(state.get("hours", {})))
        for name, steps in state.get("accepted", {}).items():
            if name in self._accepted:
                self._accepted[name] = Accepted(_counts(steps))

    def _used(self, key: tuple[str, str], now: float) -> int:
        name, window = key
        return self._accepted[name].within(WINDOWS[window], now)

    def _end(self, key: tuple[str, str], now: float) -> float | None:
        name, window = key
        return self._accepted[name].used_up_at(self._limits[key], WINDOWS[window], now)

    def _limit_text(self, key: tuple[str, str], limit: int, now: float) -> str:
        name, window = key
        text = f"relay {name}: {self._used(key, now):,} of {limit:,} recipients of the last {window}"
        end = self._end(key, now)
        if end is None:
            return text
        when = "is used up" if end <= now else f"used up at {hour_and_minute(end)} at this rate"
        return f"{text}, {when}"


def hour_and_minute(second: float) -> str:
    """Return a moment of today by the host's clock, "14:30"."""
    return datetime.fromtimestamp(second).astimezone().strftime("%H:%M")


def flood_text(flood: Flood) -> str:
    """Return a flood as text."""
    return (
        f"{plural(flood.number, 'recipient')} in the last {flood.window}, usual at this time: {flood.usual:,}"
    )


def _as_json(steps: Mapping[int, int]) -> dict[str, int]:
    return {str(step): number for step, number in sorted(steps.items())}


def _counts(saved: Mapping[str, Any]) -> dict[int, int]:
    return {int(at): int(number) for at, number in saved.items()}


MailVolume.takes = {
    ev.Delivery: Take(
        ("instance", "relay", "status", "stamp"),
        lambda part, rows, times: part.delivered(rows, times),
    )
}
