"""What one instance is given beyond its files: secrets of its model's owner, the operator's trust, a way out.

Secrets and trust are for code of the owner's: a version that a training made of somebody else's gets neither. Asked
once a boot. Must never log a secret.
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

    async def given(self, queue: str, config: ModelConfig) -> InstancePrivileges:
        """Raises BootFailed, and what a database that is away raises."""
        row = await store.privileges(self._database, queue)
        if row is None:
            raise BootFailed("the version does not exist any more")
        owns_code = config.author in {None, row["account_id"]}
        trusted = row["trusted"] and owns_code
        confined = confine(self._policy, config, trusted=trusted)
        about = ModelInfo(model=row["model"], version=row["version"], trusted=trusted, network=confined.way_out)
        return InstancePrivileges(about=about, confined=confined, secrets=self._opened(row) if owns_code else {})

    def _opened(self, row: Row) -> dict[str, str]:
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
