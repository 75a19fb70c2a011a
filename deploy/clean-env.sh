#!/bin/sh
# Runs a command without the variables of a running stack (somebody may have read .tidemill/env into this shell).
for name in $(env | sed -n 's/^\(TIDEMILL_[A-Z0-9_]*\|REPLICATE_[A-Z0-9_]*\)=.*/\1/p'); do
    unset "$name"
done
exec "$@"
