# One secret of a KV version 2 mount. `create` is for the first write, `update` for all others.
path "secret/data/web/openai" { capabilities = ["create", "read", "update"] }

# `rotate --rehearse`: a secret beside it, made and taken away.
path "secret/data/web/openai.rehearsal-*" { capabilities = ["create", "read"] }
path "secret/metadata/web/openai.rehearsal-*" { capabilities = ["delete"] }
