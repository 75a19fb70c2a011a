"""The directories that `tidemill init` makes; each file is named as in the model, with `.template` behind it."""
