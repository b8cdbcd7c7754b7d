-- Up Migration

-- An account signs in to the console. Nothing here is a read model: the log knows accounts by their id only.
alter table accounts
  add column account_id uuid not null default gen_random_uuid() unique,
  -- argon2id in PHC notation; null until activation
  add column password_hash text,
  -- encrypted, see src/accounts/seal.ts; null until an authenticator is enrolled
  add column totp_secret text,
  -- time step of the last code that was accepted: neither it nor an older one is accepted again
  add column totp_last_step bigint,
  add column activated_at timestamptz,
  -- when both API keys were issued at the end of the activation
  add column first_keys_at timestamptz,
  add column alerts_enabled boolean not null default true;

-- Links sent by the operator; one of an account at a time, deleted with their use. Tokens stand as SHA-256.
create table account_links (
  account_id uuid primary key references accounts (account_id) on delete cascade,
  token_hash bytea not null unique,
  purpose text not null check (purpose in ('activation', 'authenticator')),
  expires_at timestamptz not null
);

-- SHA-256 of codes of 24 random digits (80 bits); deleted with their use.
create table recovery_codes (
  account_id uuid not null references accounts (account_id) on delete cascade,
  code_hash bytea not null,
  primary key (account_id, code_hash)
);

create table console_sessions (
  session_id uuid primary key,
  token_hash bytea not null unique,
  account_id uuid not null references accounts (account_id) on delete cascade,
  stage text not null check (stage in ('enrolling', 'full')),
  -- an authenticator's secret that no code has confirmed yet, encrypted
  pending_secret text,
  seen_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null
);

create index console_sessions_account_id on console_sessions (account_id);
create index console_sessions_expires_at on console_sessions (expires_at);

-- Codes sent by mail, as HMAC: six digits can be searched. A row is made for addresses without an account too (and no
-- letter sent), so that a code that is entered costs the same work whether the address exists.
create table password_resets (
  email_hash text primary key,
  account_id uuid references accounts (account_id) on delete cascade,
  code_hmac bytea not null,
  attempts integer not null default 0,
  expires_at timestamptz not null
);

-- A change of address, until both addresses have confirmed it.
create table email_changes (
  account_id uuid primary key references accounts (account_id) on delete cascade,
  new_email text not null,
  old_token_hash bytea not null unique,
  new_token_hash bytea not null unique,
  old_confirmed boolean not null default false,
  new_confirmed boolean not null default false,
  expires_at timestamptz not null
);

-- Attempts that failed, by what they were made on; addresses of accounts stand here as SHA-256.
create table failed_attempts (
  subject text primary key,
  failures integer not null,
  last_at timestamptz not null default clock_timestamp(),
  blocked_until timestamptz
);

create index failed_attempts_last_at on failed_attempts (last_at);
