/**
 * Every alarm of the program: the value of `alarm` in a log line that wants a person, and the label of
 * `liveness_alarms_total`. What each means and what to do is in docs/runbook.md (a test holds the two together).
 */
export const alarmNames = [
  'anchor',
  'clock',
  'customer_log',
  'marketplace',
  'metering',
  'metering_feed_ended',
  'metering_folded_anew',
  'metering_gap',
  'metering_imbalance',
  'metering_late_call',
  'metering_messages_lost',
  'metering_misconfigured',
  'metering_old',
  'metering_partition_stopped',
  'metering_refused',
  'metering_seal_fault',
  'metering_tail_lost',
  'metering_too_large',
  'metering_topic_lost',
  'metering_unbillable',
  'metering_unknown',
  'metering_watermark',
  'projections',
  'relay',
  'secrets',
  'undeliverable',
] as const

export type AlarmName = (typeof alarmNames)[number]
