"""How the payment channels of a run behave: validated tables, one a channel, in the order jobs try them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from oversold.errors import UsageError, near
from oversold.model import Terms

NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,19}")
MAX_CHANNELS = 8
SUM_TOLERANCE = 1e-9
DAY_S = 86_400


def _chance(text: str) -> Any:
    return Field(0.0, ge=0, le=1, description=text)


def _seconds(default: float, text: str) -> Any:
    return Field(default, ge=0, le=DAY_S, description=text)


class Outcomes(BaseModel):
    """The chances of what a call does and what the channel says of it, as effect_reply. They sum to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # The first two are neighbours: congestion moves the border between them, and a call whose luck lies
    # elsewhere ends the same with and without it.
    applied_ok: float = _chance("paid, and said so")
    applied_failed: float = _chance("paid, said failed: the incident's lie")
    applied_timeout: float = _chance("paid, no answer")
    none_ok: float = _chance("not paid, said ok: a false ok")
    none_failed: float = _chance("not paid, and said so")
    none_timeout: float = _chance("not paid, no answer")
    later_failed: float = _chance("paid later, said failed")
    later_timeout: float = _chance("paid later, no answer")
    later_processing: float = _chance("paid later, and said so")


class ChannelProfile(BaseModel):
    """One channel. Times are seconds; `in flight` counts the pay calls being processed, the new one included."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    outcomes: Outcomes = Field(description="chances of effect and reply; those left out are 0, the sum is 1")
    lie_cap: int = Field(0, ge=0, le=1_000_000, description="with more calls in flight than this, it lies more")
    lie_slope: float = Field(
        0.0,
        ge=0,
        le=1,
        description="chance added to applied_failed, and taken from applied_ok while that lasts, for each call in "
        "flight above lie_cap",
    )
    latency_s: float = _seconds(0.0, "mean time of a pay call; each takes 0.5 to 1.5 times the mean")
    latency_per_call_s: float = _seconds(0.0, "added to that mean for each call in flight above lie_cap")
    query_latency_s: float = _seconds(0.0, "time of a query, a void, a statement")
    later_s: float = Field(1.0, gt=0, le=DAY_S, description="late effects come after 0.2 to 1 times this")
    visibility_s: float = _seconds(0.0, "query and statement do not know a call that arrived less than this ago")
    honours_keys: bool = Field(True, description="a key that was used before is answered from memory")
    key_retention_s: float = _seconds(DAY_S, "a key is remembered this long")
    key_scope: Literal["channel", "user"] = Field(
        "channel", description="user: the same key of two users is two keys"
    )
    on_mismatch: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="a known key with another ref, user or amount: refuse says mismatch, ignore repeats the "
        "first call's reply; nothing is paid",
    )
    cache_errors: bool = Field(
        False, description="a key whose call was answered failed, or not at all, gets the same again"
    )
    timeout_s: float = Field(1.0, gt=0, le=DAY_S, description="documented time after which a caller gives up")

    @field_validator("outcomes")
    @classmethod
    def _whole(cls, outcomes: Outcomes) -> Outcomes:
        total = sum(outcomes.model_dump().values())
        if abs(total - 1) > SUM_TOLERANCE:
            excess = "take {:.6g} away" if total > 1 else "add {:.6g}"
            mend = excess.format(abs(total - 1))
            raise ValueError(f"the chances come to {total:.9g} and must come to 1: {mend}")
        return outcomes

    def chances(self, in_flight: int) -> dict[str, float]:
        """Return the chance of each outcome (`effect_reply`) with so many pay calls in flight."""
        chances: dict[str, float] = dict(self.outcomes)
        lie = min(chances["applied_ok"], self.lie_slope * max(0, in_flight - self.lie_cap))
        chances["applied_ok"] -= lie
        chances["applied_failed"] += lie
        return chances

    def mean_latency_s(self, in_flight: int) -> float:
        """Return the mean time of a pay call with so many of them in flight."""
        return self.latency_s + self.latency_per_call_s * max(0, in_flight - self.lie_cap)

    def terms(self) -> Terms:
        """Return what the channel's documentation promises."""
        chances = self.outcomes
        late = chances.later_failed + chances.later_timeout + chances.later_processing > 0
        return Terms(
            timeout_s=self.timeout_s,
            visibility_s=self.visibility_s,
            settle_s=self.later_s if late else 0.0,
            honours_keys=self.honours_keys,
            key_retention_s=self.key_retention_s,
        )


class Profile(BaseModel):
    """The channels of a run, in the order in which jobs try them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    about: str = Field("", description="one sentence for lists")
    channels: dict[str, ChannelProfile] = Field(min_length=1, max_length=MAX_CHANNELS)

    @field_validator("channels")
    @classmethod
    def _named(cls, channels: dict[str, ChannelProfile]) -> dict[str, ChannelProfile]:
        for name in channels:
            if not NAME.fullmatch(name):
                rule = "take up to 20 letters, digits and hyphens, a letter first"
                raise ValueError(f"a channel cannot be called {name!r}: {rule}")
        return channels


def parse(name: str, table: Mapping[str, Any]) -> Profile:
    """Validate a profile's table (`about`, and a table `channels` of `ChannelProfile` tables by name).

    Raises:
        UsageError: one line that names the profile, the channel, the key and the mend.
    """
    if "name" in table:
        raise UsageError(f"channel profile {name!r}, name: a profile is called as its file is: leave it out")
    try:
        return Profile.model_validate({**table, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"channel profile {name!r}, {_told(first['loc'], first['type'], first)}") from error


def _told(location: tuple[int | str, ...], kind: str, details: Mapping[str, Any]) -> str:
    """Return where a table is wrong and what to do about it, without line breaks."""
    words = [str(part) for part in location]
    inside = len(words) > 1 and words[0] == "channels"
    where = f"channel {words[1]}" if inside else ""
    keys = words[2:] if inside else words
    at = ", ".join(filter(None, (where, ".".join(keys)))) or "the table"
    if kind == "extra_forbidden":
        known = list(_fields(keys, inside=inside))
        mend = f"no such key{near(keys[-1], known)}: there are {', '.join(known)}"
    elif kind == "missing":
        mend = "it is missing: add it"
    elif kind == "too_short":
        mend = "there is no channel: add a table [channels.A]"
    elif kind == "too_long":
        mend = f"there are more than {MAX_CHANNELS} channels: leave some out"
    else:
        text = str(details["msg"]).removeprefix("Value error, ")
        given = details["input"]
        mend = text if kind == "value_error" else f"{given!r} does not fit: {text[:1].lower()}{text[1:]}"
    return " ".join(f"{at}: {mend}".split())


def _fields(keys: list[str], *, inside: bool) -> list[str]:
    """Return the keys of the table in which the unknown key `keys` was found."""
    if not inside:
        return [key for key in Profile.model_fields if key != "name"]
    return list((Outcomes if len(keys) > 1 else ChannelProfile).model_fields)
