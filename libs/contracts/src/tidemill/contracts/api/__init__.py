"""Objects of the HTTP API as they are on the wire, and request bodies, by resource.

Request bodies refuse unknown members, as Replicate's do, so that a misspelt member is an error.
"""
