"""The commands `up`, `down`, `status` and `logs`, each as a function that returns an exit status."""
