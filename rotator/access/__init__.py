"""How adapters reach what they work on: AWS, Vault, a folder's files. Shared by several of them, known to no engine."""
