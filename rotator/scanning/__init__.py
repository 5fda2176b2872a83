"""Finding keys where they do not belong: in files, archives, git history, and what is piped in. Knows no database."""
