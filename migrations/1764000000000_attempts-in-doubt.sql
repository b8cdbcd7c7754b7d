-- Up Migration

-- Appends whose outcome is unknown and whose caller was told 503. A row stays until the attempt is settled, fenced or
-- voided. This is no read model: the log cannot rebuild it.
create table attempts_in_doubt (
  first_event_id uuid primary key,
  customer_id uuid not null,
  expected_revision bigint not null,
  detection_ids uuid[] not null,
  recorded_at timestamptz not null default clock_timestamp()
);

create index attempts_in_doubt_customer_id on attempts_in_doubt (customer_id);

-- Who may sign in to the console. E-mail addresses stand here and never in an event.
create table accounts (
  customer_id uuid primary key,
  email text not null,
  created_at timestamptz not null default now()
);

create unique index accounts_email on accounts (lower(email));
