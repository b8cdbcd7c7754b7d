-- Up Migration

-- One row: what this database was first used with. A start with another SECRETS_KEY is refused, for the idempotency
-- keys in the log would be unknown under it. The key itself is not here, only an HMAC made with it.
create table installation (
  singleton boolean primary key default true check (singleton),
  secrets_key_fingerprint text not null
);
