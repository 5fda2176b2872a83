"""One place per file that the audit trail is copied to. They are followers of the trail: see `engine.followers`.

A file is imported only when a configuration names its type. Each is a class with its `Settings`, built as
`Class(settings, origin, timeout)`, that fulfils `ports.receiver.Receiver`. Plugins register under the entry point
group `rotator.sinks`.
"""

SINKS = {
    "file": "rotator.sinks.file:FileSink",
    "http": "rotator.sinks.http:HttpSink",
    "s3": "rotator.sinks.s3:S3Sink",
    "syslog": "rotator.sinks.syslog:SyslogSink",
}
"""Type → `module:class`."""
