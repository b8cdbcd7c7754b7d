-- Up Migration

-- One row in a database that `liveness migrate` fills. While `finished_at` is null nothing may start on this database:
-- its log may lack the end.
create table moved_in (
  singleton boolean primary key default true check (singleton),
  -- system identifier of the Postgres that was moved from
  source text not null,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz
);
