-- Up Migration

-- How far the log has been written to a Kafka topic, by topic. No read model: it speaks of what Kafka acknowledged.
-- The seven columns of the checkpoint are those of the last event relayed. Position, counts and offsets are one state,
-- and are reset together when the topic is lost.
create table relay (
  topic text primary key,
  -- Changes with every write: who writes must name the one that was read.
  token uuid not null default gen_random_uuid(),
  commit_position bigint,
  prepare_position bigint,
  stream text,
  revision bigint,
  event_id uuid,
  event_hash text,
  event_created timestamptz,
  -- Customer events relayed, by partition.
  counts bigint[] not null,
  -- Offset after the last acknowledged message, by partition; 0 when there was none.
  next_offsets bigint[] not null,
  check (num_nulls(commit_position, prepare_position, stream, revision, event_id, event_hash, event_created) in (0, 7)),
  check (cardinality(counts) = cardinality(next_offsets))
);
