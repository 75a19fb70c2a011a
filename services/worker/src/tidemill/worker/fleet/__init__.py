"""What this worker reports: its lease, its heartbeat to the scheduler, and its report to operators."""
