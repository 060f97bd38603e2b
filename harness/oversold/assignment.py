"""What one run hands to its processes: the plan, where the stores answer, where to write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oversold.model import Tranche
from oversold.plan import Plan


@dataclass(frozen=True)
class Assignment:
    """A plan with the places it runs in. Holds the stores' passwords: it lives in a private folder only.

    `endpoints` maps store names to the fields of `stores.endpoint.Endpoint`; `raw` is the folder that the
    workers write their histories and manifests to.
    """

    plan: Plan
    tranche_id: str
    endpoints: Mapping[str, Mapping[str, Any]]
    raw: Path

    @property
    def tranche(self) -> Tranche:
        """The tranche of this run."""
        return Tranche(self.tranche_id, self.plan.capacity_fen)

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(
            {
                "plan": self.plan.model_dump(mode="json"),
                "tranche_id": self.tranche_id,
                "endpoints": {name: dict(fields) for name, fields in self.endpoints.items()},
                "raw": str(self.raw),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Assignment:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(
            Plan.model_validate(fields["plan"]),
            fields["tranche_id"],
            fields["endpoints"],
            Path(fields["raw"]),
        )
