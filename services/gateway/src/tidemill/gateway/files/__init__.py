"""Files of users and models: uploads to the object store, objects as HTTP responses."""
