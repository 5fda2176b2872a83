"""One kind of consumer per file. A file is imported only when a configuration names its kind.

Each file holds a class that fulfils `ports.adapter.AskedConsumer`. Outside plugins register theirs under the entry
point group `rotator.consumers`.
"""

CONSUMERS = {
    "deployment": "rotator.consumers.deployment:Deployment",
    "pidfile": "rotator.consumers.pidfile:PidFile",
    "systemd": "rotator.consumers.systemd:SystemdUnit",
}
"""The key of the configuration → `module:class`."""
