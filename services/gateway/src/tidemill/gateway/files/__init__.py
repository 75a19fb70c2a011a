"""Bytes of users and models, in and out: uploads to the object store, objects as HTTP answers."""
