"""What handlers work with: one struct, made by main.build, so that tests can pass fakes."""

import msgspec

from tidemill.gateway.access.auth import Accounts
from tidemill.gateway.access.door import Door
from tidemill.gateway.config import Config
from tidemill.gateway.events.durable import Durables
from tidemill.gateway.limits.admission import Admission
from tidemill.gateway.limits.rates import Limits
from tidemill.gateway.predictions.accept import Acceptor
from tidemill.gateway.predictions.once import Once
from tidemill.gateway.predictions.versions import Versions
from tidemill.gateway.predictions.waiting import Waiters
from tidemill.gateway.predictions.waiting_room import WaitingRoom
from tidemill.gateway.releases.deployments import Deployments
from tidemill.runtime.billing import Tariffs
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database, Lane
from tidemill.runtime.objects import Objects


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    config: Config
    gateway: str  # this process's id, named in the subjects of events for its waiting requests
    database: Database
    ending: Lane  # the lane on which cancels end predictions
    bus: Bus
    durables: Durables
    objects: Objects
    accounts: Accounts
    door: Door
    limits: Limits
    admission: Admission
    versions: Versions
    deployments: Deployments
    acceptor: Acceptor
    once: Once
    waiters: Waiters
    waiting_room: WaitingRoom
    tariffs: Tariffs

    @property
    def signing_key(self) -> bytes:
        return bytes.fromhex(self.config.signing_key)

    @property
    def api_url(self) -> str:
        """The base of every URL in an answer, without a slash at its end."""
        return f"{self.config.public_url.rstrip('/')}/v1"
