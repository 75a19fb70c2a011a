"""Reads what an instance is given beyond its files: its owner's secrets, the operator's trust, the network.

Secrets and trust are for the owner's own code: a version that a training made of another account's model gets neither.
Read once for each boot. Must never log a secret.
"""

import msgspec

from tidemill.hosting.child.failures import BootFailed
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.runtime.db import Database, Row
from tidemill.security import secret_encryption
from tidemill.security.secret_encryption import CannotDecrypt
from tidemill.worker import store
from tidemill.worker.instances.confinement import Confinement, Policy, confine
from tidemill.worker.runs.instance import ModelInfo


class InstancePrivileges(msgspec.Struct, frozen=True, kw_only=True):
    about: ModelInfo
    confined: Confinement
    secrets: dict[str, str]

    def __repr__(self) -> str:
        return f"Given({self.about!r}, {len(self.secrets)} secrets)"


class PrivilegeReader:
    def __init__(self, database: Database, signing_key: bytes, policy: Policy) -> None:
        self._database = database
        self._signing_key = signing_key
        self._policy = policy

    async def read(self, queue: str, config: ModelConfig) -> InstancePrivileges:
        """Raise BootFailed or one of db.TRANSIENT_ERRORS."""
        row = await store.privileges(self._database, queue)
        if row is None:
            raise BootFailed("the version does not exist any more")
        owns_code = config.author in {None, row["account_id"]}
        trusted = row["trusted"] and owns_code
        confined = confine(self._policy, config, trusted=trusted)
        about = ModelInfo(model=row["model"], version=row["version"], trusted=trusted, network=confined.way_out)
        return InstancePrivileges(about=about, confined=confined, secrets=self._decrypt(row) if owns_code else {})

    def _decrypt(self, row: Row) -> dict[str, str]:
        pairs = zip(row["names"], row["sealed"], strict=True)
        try:
            return {
                name: secret_encryption.decrypt(
                    self._signing_key, secret_encryption.associated_data(row["id"], name), kept
                )
                for name, kept in pairs
            }
        except CannotDecrypt:
            raise BootFailed(
                "the model's secrets cannot be opened: TIDEMILL_SIGNING_KEY is not the one they were set under; "
                "set them again"
            ) from None
