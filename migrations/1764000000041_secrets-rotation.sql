-- Up Migration

-- `secrets_key_fingerprint` names the SECRETS_KEY that everybody writes with. After a change the one before it is still
-- asked for: idempotency keys are remembered for a day.
alter table installation
  add column previous_fingerprint text,
  add column rotated_at timestamptz;

-- Which keys each running process has, so that none is left behind by a change.
create table secrets_in_use (
  instance uuid primary key,
  fingerprints text[] not null,
  seen_at timestamptz not null default clock_timestamp()
);
