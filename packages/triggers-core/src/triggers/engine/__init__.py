"""The rules, pure: a view of a session and a command give a change and its effects. No I/O, no clock."""
