/**
 * Schema `metering`: the consumer's and the sealer's tables. Every row is a fold of the log, so a new version of the
 * tables or of the fold drops them, and the feed and the metering streams fill them again.
 */
import type pg from 'pg'
import { transaction } from '../postgres/pool.ts'
import { partitionCount } from '../relay/feed.ts'
import { recordStates } from './record.ts'

/** Raise when the tables or the fold change. */
export const meteringVersion = 3

/** The tables belong to another version of the program, which is to be left alone. */
export class OtherMeteringVersion extends Error {
  override name = 'OtherMeteringVersion'
}

// Serialises changes of the schema; any constant that nothing else uses.
const schemaLock = "select pg_advisory_xact_lock(hashtextextended('liveness metering tables', 0))"

/** Names are lower case and the catalogue's own, so they need no escape in a literal. */
const literals = (values: readonly string[]): string => values.map((value) => `'${value}'`).join(', ')

const ddl = `
  create schema metering;
  create table metering.version (version integer not null);
  insert into metering.version values (${meteringVersion});

  -- Both heads: how far customer-{uuid} and metering-{uuid} are folded; revision -1 is before the first event.
  create table metering.customers (
    customer_id uuid primary key,
    partition smallint not null,
    revision bigint not null,
    hash text not null,
    metering_revision bigint not null,
    metering_hash text not null,
    plan text not null,
    -- What records.licence says of records under the customer's present licence.
    licence_id text not null,
    licence jsonb not null,
    licences jsonb not null,
    since jsonb not null,
    ends jsonb not null,
    -- Latest hour that has a sealed record.
    sealed_up_to timestamptz,
    closed_months text[] not null
  );
  create index on metering.customers (partition);

  -- Detections that were not voided, of the UTC months that are not closed.
  create table metering.open_months (
    customer_id uuid not null,
    year_month text not null,
    credit_calls bigint not null,
    overage_calls bigint not null,
    primary key (customer_id, year_month)
  );

  create table metering.partitions (
    partition smallint primary key,
    -- Kafka offset to read next; null on the direct feed.
    next_offset bigint,
    -- Time and place in $all of the last tick up to which the partition is known to be complete.
    judged_through timestamptz,
    judged_commit bigint,
    judged_prepare bigint,
    check (num_nulls(judged_commit, judged_prepare) in (0, 2))
  );
  insert into metering.partitions (partition) select generate_series(0, ${partitionCount - 1});

  create table metering.records (
    -- Ordered by its bytes, as programs order texts.
    record_id text collate "C" primary key,
    customer_id uuid not null,
    year_month text not null,
    hour timestamptz not null,
    licence text not null,
    dimension text not null,
    state text not null check (state in (${literals(recordStates)})),
    -- Folded from the customer's stream, sealed or not.
    quantity bigint not null,
    late_quantity bigint not null,
    digest text not null,
    carried_from jsonb not null,
    seal_early text,
    -- RecordSealed, as it stands in the log; null while open.
    sealed_at timestamptz,
    sealed_timestamp timestamptz,
    identity jsonb,
    sealed_quantity bigint,
    sealed_own_quantity bigint,
    sealed_late_quantity bigint,
    through_revision bigint,
    sealed_digest text,
    region text,
    submission text,
    deadline timestamptz,
    cause text,
    -- What became of it.
    attempts integer not null,
    last_attempt_at timestamptz,
    unanswered boolean not null,
    doubtful boolean not null,
    objected boolean not null,
    last_answer text,
    metering_record_id text,
    carried_to text,
    reason text,
    check (num_nulls(sealed_at, sealed_timestamp, identity, sealed_quantity, sealed_own_quantity, sealed_late_quantity,
                     through_revision, sealed_digest, region, submission, deadline, cause) in (0, 12))
  );
  create index on metering.records (customer_id, year_month);
  create index on metering.records (customer_id, hour) where state = 'open';
  create index on metering.records (deadline, record_id) where submission = 'due' and state in ('sealed', 'unknown');
  -- What operators ask: what still needs somebody, out of years of records; and a month.
  create index on metering.records (state) where state in ('open', 'sealed', 'unknown', 'refused');
  create index on metering.records (year_month, state);

  -- Calls that were voided after their record was sealed; each gives one call back.
  create table metering.adjustments (
    customer_id uuid not null,
    -- Of the DetectionVoided in the customer's stream.
    revision bigint not null,
    record_id text not null,
    year_month text not null,
    detection_id uuid not null,
    -- AdjustmentNoted is in the log.
    noted boolean not null,
    primary key (customer_id, revision)
  );
  create index on metering.adjustments (customer_id) where not noted;

  -- MonthClosed, as it stands in the log.
  create table metering.closed_months (
    customer_id uuid not null,
    year_month text not null,
    closed_at timestamptz not null,
    credit_calls bigint not null,
    overage_calls bigint not null,
    -- [{dimension, state, records, quantity, carried}]
    overage jsonb not null,
    adjusted bigint not null,
    through_revision bigint not null,
    digest text not null,
    primary key (customer_id, year_month)
  );

  -- Where the direct feed stands in $all, by the event that stands there; one row, or none before the first event.
  create table metering.direct_feed (
    only_row boolean primary key default true check (only_row),
    commit_position bigint not null,
    prepare_position bigint not null,
    -- Customer events up to there, by partition.
    counts bigint[] not null,
    stream text not null,
    revision bigint not null,
    hash text not null
  );`

/**
 * Makes the tables, or makes them anew when they are of an older version. Safe to repeat, and for several instances at
 * once.
 * @throws OtherMeteringVersion when a newer program made them: two versions run side by side, and the older one must
 *   not drop what the newer one fills
 */
export async function ensureMeteringTables(pool: pg.Pool): Promise<void> {
  await transaction(pool, async (client) => {
    await client.query(schemaLock)
    const found = await versionIn(client)
    if (found === meteringVersion) return
    if (found !== null && found > meteringVersion) {
      throw new OtherMeteringVersion(
        `the metering tables are of version ${found}, this program's are of version ${meteringVersion}: to go back to it, drop schema metering, and the log fills it again`,
      )
    }
    await client.query(`drop schema if exists metering cascade; ${ddl}`)
  })
}

async function versionIn(client: pg.ClientBase): Promise<number | null> {
  const { rows } = await client.query<{ there: boolean }>("select to_regclass('metering.version') is not null as there")
  if (!rows[0]?.there) return null
  const found = await client.query<{ version: number }>('select version from metering.version')
  return found.rows[0]?.version ?? null
}
