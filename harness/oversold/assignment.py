"""What one run hands to its processes: the plan, where the stores answer, where to write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, TypeAdapter

from oversold.bid_plan import BidPlan
from oversold.payout_plan import PayoutPlan
from oversold.plan import Plan

Plan_co = TypeVar("Plan_co", bound=Plan, covariant=True)
PLANS: TypeAdapter[Any] = TypeAdapter(Annotated[BidPlan | PayoutPlan, Field(discriminator="kind")])


@dataclass(frozen=True)
class Assignment(Generic[Plan_co]):
    """A plan with the places it runs in. Holds the stores' passwords: it lives in a private folder only.

    `run_id` is the tranche's or the payday's id: all keys and rows of this run begin with it. `endpoints` maps
    store names to the fields of `stores.endpoint.Endpoint`; `raw` is the folder that the workers write their
    histories and manifests to. `channels` maps the payment channels' names, in order, to their URLs. `service` is
    what is driven over HTTP: a `services.mapping.Service` as JSON types, and the tranche's id there; empty
    otherwise.
    """

    plan: Plan_co
    run_id: str
    endpoints: Mapping[str, Mapping[str, Any]]
    raw: Path
    channels: Mapping[str, str] = field(default_factory=dict)
    service: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(
            {
                "plan": self.plan.model_dump(mode="json"),
                "run_id": self.run_id,
                "endpoints": {name: dict(fields) for name, fields in self.endpoints.items()},
                "raw": str(self.raw),
                "channels": dict(self.channels),
                "service": dict(self.service),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Assignment[Any]:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(
            PLANS.validate_python(fields["plan"]),
            fields["run_id"],
            fields["endpoints"],
            Path(fields["raw"]),
            fields["channels"],
            fields["service"],
        )
