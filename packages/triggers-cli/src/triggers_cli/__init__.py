"""The ``triggers`` command: for those who develop a workflow, and for those who are called because one is stuck."""
