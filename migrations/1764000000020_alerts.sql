-- Up Migration

-- Letters about usage that were decided. The figures come from the read models; that a letter was decided, and sent,
-- stands only here: dropped, the letters of the month that runs would go out again, with the same Message-ID.
create table usage_alerts (
  customer_id uuid not null,
  year_month text not null,
  kind text not null check (kind in ('credits_80', 'credits_100', 'overage')),
  -- silent: decided while the account wanted no such letters; given_up: the month was over for a day
  state text not null check (state in ('due', 'sent', 'silent', 'given_up')),
  decided_at timestamptz not null default clock_timestamp(),
  -- attempts to send, the one under way included
  tries integer not null default 0,
  next_try_at timestamptz not null,
  closed_at timestamptz,
  primary key (customer_id, year_month, kind)
);

create index usage_alerts_due on usage_alerts (next_try_at) where state = 'due';
