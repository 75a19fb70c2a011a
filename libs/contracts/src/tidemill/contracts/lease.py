"""The meaning of `worker.lease_until`. The worker renews it by the database's clock, and may be late.

Its runs are not given to others before the scheduler marks it as lost. That is final: the worker returns with another
id.
"""

from typing import Final

SQL_LOST: Final = "'-infinity'"  # instead of a time: marked as lost by the scheduler, or released by the worker
