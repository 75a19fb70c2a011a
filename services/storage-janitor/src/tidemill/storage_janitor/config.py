"""What the storage janitor can be told. Times in seconds."""

from tidemill.runtime.config import ObjectStoreConfig


class Config(ObjectStoreConfig, frozen=True, kw_only=True):
    every_s: float = 60.0  # a round; data outlives its retention by at most this and the time of the round
    events_every_s: float = 5.0  # how often it is looked at how full the stream of events is
    orphans_every_s: float = 3600.0  # orphans are rare, and finding them means listing whole prefixes
    orphan_age_s: float = 86_400.0  # nothing takes a day between its bytes and the row that names them
    uploading_limit_s: float = 86_400.0  # a push whose files have not come in a day was given up
