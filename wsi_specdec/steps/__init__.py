"""One stage at a time on the files of a run directory, as the verbs of the command line do."""
