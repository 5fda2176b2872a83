"""One way per file to tell the readers of a place to read anew, or to ask how they are.

A file is imported only when a configuration names its way. Each way is a class with its `Settings`, built as
`Class(settings, limit)`, that fulfils `ports.hook.Hook`.
"""

RELOADS = {
    "command": "rotator.hooks.command:Command",
    "http": "rotator.hooks.http:Post",
    "signal": "rotator.hooks.signal:Signal",
}
"""What tells readers: the key that names the way → `module:class`."""

PROBES = {
    "command": "rotator.hooks.command:Command",
    "http": "rotator.hooks.http:Get",
}
"""What asks them."""
