"""Events, subjects, the status table, API objects, ids, errors, limits."""
