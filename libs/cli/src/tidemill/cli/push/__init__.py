"""`tidemill push`: checks a model's directory, uploads it and sets the model's metadata."""
