"""What services share on the wire: events, subjects, the status table, API objects, ids, errors, limits."""
