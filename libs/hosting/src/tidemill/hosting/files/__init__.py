"""Rules for the files of inputs and outputs: which fields, which names, which media types. Pure."""
