"""The scheduler: places instances on workers, retries predictions of lost workers, and enforces deadlines."""
