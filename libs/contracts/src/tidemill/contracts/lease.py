"""What `worker.lease_until` says. The worker renews it on the database's clock and may do so late; nobody has given
away what it runs before the scheduler has called it lost, and that is for good: it comes back under another id.
"""

from typing import Final

SQL_LOST: Final = "'-infinity'"  # in place of a moment: called lost by the scheduler, or given back by the worker
