-- Up Migration

-- What AWS Marketplace told us, as it came. Nothing is deleted: what became of a licence is decided from all that is
-- known of it, for messages come twice and out of order. This is no read model: the log cannot rebuild it.
create table marketplace_messages (
  -- Kind and request for EventBridge, which sends one request under several envelopes; else SNS's or SQS's own id.
  id text primary key,
  delivery_id text not null,
  sent_at timestamptz not null,
  received_at timestamptz not null default clock_timestamp(),
  body text not null,
  kind text not null,
  agreement_id text,
  aws_account_id text,
  licence_arn text,
  product_code text,
  customer_identifier text,
  -- waiting: kept until something else is known; human: somebody must decide; failed: handling it fails for good.
  state text not null default 'waiting' check (state in ('waiting', 'handled', 'unknown', 'human', 'failed')),
  outcome text not null default '',
  handled_at timestamptz
);

create index marketplace_messages_agreement on marketplace_messages (agreement_id);
create index marketplace_messages_licence on marketplace_messages (licence_arn);
create index marketplace_messages_customer on marketplace_messages (product_code, customer_identifier);
create index marketplace_messages_open on marketplace_messages (received_at) where state <> 'handled';

-- Licences of which nobody but a human can say whose they are. A row goes once the licence is reserved.
create table marketplace_undecided (
  licence_id text primary key,
  licence jsonb not null,
  product_code text not null,
  reason text not null,
  candidates uuid[] not null,
  since timestamptz not null default clock_timestamp()
);

-- Registration tokens that AWS has resolved, as SHA-256: AWS resolves a token once, and a browser sends it again.
create table marketplace_tokens (
  token_hash text primary key,
  licence jsonb not null,
  product_code text not null,
  resolved_at timestamptz not null default clock_timestamp()
);
