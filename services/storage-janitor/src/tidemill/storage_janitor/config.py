"""Settings of the storage janitor. Times are in seconds."""

from tidemill.runtime.config import ObjectStoreConfig


class Config(ObjectStoreConfig, frozen=True, kw_only=True):
    # Interval of the retention steps; data outlives its retention by at most this plus their duration.
    every_s: float = 60.0
    events_every_s: float = 5.0  # how often the size of the event stream is checked
    orphans_every_s: float = 3600.0  # orphans are rare, and finding them means listing whole prefixes
    orphan_age_s: float = 86_400.0  # no upload takes a day between its bytes and the row that names them
    uploading_limit_s: float = 86_400.0  # a push whose files are missing after a day has failed
