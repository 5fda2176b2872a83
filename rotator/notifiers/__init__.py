"""One way per file to take a message to people.

A file is imported only when a configuration names its way. Each way is a class with its `Settings`, built as
`Class(settings, limit)`, that fulfils `ports.notifier.Notifier`.
"""

NOTIFIERS = {
    "apprise": "rotator.notifiers.apprise:Apprise",
    "webhook": "rotator.notifiers.webhook:Webhook",
}
"""The key of a route that names the way → `module:class`."""
