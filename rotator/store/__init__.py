"""The database: tables, guarded transitions, the audit trail, sealing."""
