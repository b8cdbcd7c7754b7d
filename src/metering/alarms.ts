/** What an operator is told, in words that need no other knowledge. Pure. */
import type { AlarmName } from '../alarms.ts'
import type { MeteringEvent } from '../events/metering.ts'
import type { MeteringRecord } from './record.ts'
import { addHours, addMs } from './rules.ts'

export interface Alarms {
  /** Money is lost, or will be without a person. */
  onAlarm(kind: AlarmName, message: string, fields: Readonly<Record<string, unknown>>): void
  /** Somebody should know; nothing is lost yet. */
  onWarn(kind: string, message: string, fields: Readonly<Record<string, unknown>>): void
}

/** Tells of the events, now in the log, that say something went wrong with these records. */
export function tellOf(
  events: readonly MeteringEvent[],
  records: readonly MeteringRecord[],
  { onAlarm, onWarn }: Alarms,
): void {
  const quantities = new Map(records.map(({ recordId, sealed }) => [recordId, sealed?.quantity]))
  const sealedNow = new Set(events.flatMap(({ type, data }) => (type === 'RecordSealed' ? data.recordId : [])))
  for (const { type, data } of events) {
    switch (type) {
      case 'RecordRefused':
        onAlarm('metering_refused', `AWS refuses ${data.recordId}: ${data.code} ${data.message}`, data)
        break
      case 'RecordUnbillable': {
        const quantity = quantities.get(data.recordId) ?? null
        if (quantity === 0) break // a heartbeat that came too late costs nobody anything
        const message = `${data.recordId} cannot be billed any more (${data.reason}): ${quantity ?? 'its'} calls are lost`
        onAlarm('metering_unbillable', message, { ...data, quantity })
        break
      }
      case 'RecordCarriedForward':
        onWarn(
          'metering_carried_forward',
          `${data.recordId} ${sealedNow.has(data.recordId) ? 'begins after the end of its licence' : 'missed its deadline'}; its ${data.quantity} calls go with ${data.toRecordId}`,
          data,
        )
        break
      case 'RecordSealed':
        if (data.submission === 'no_hour_left' && data.quantity > 0) {
          const whose = data.cause === 'no_hour_left' ? 'month' : 'licence'
          onAlarm('metering_unbillable', `${data.recordId} cannot be billed: its ${whose} has no hour left`, data)
        }
        break
      case 'AdjustmentNoted':
        onWarn(
          'metering_adjustment',
          `Detection ${data.detectionId} was voided after ${data.recordId} was sealed`,
          data,
        )
        break
      case 'SubmissionAnswered':
        if (data.answer === 'not_subscribed') {
          onWarn('metering_not_subscribed', `AWS knows no subscription for ${data.recordId}`, data)
        }
    }
  }
}

export type Age = 'fresh' | 'old' | 'very_old'

/** Records should be with AWS minutes after their hour: from 1 h on somebody should know, from 4 h on somebody must act. */
export function ageOf(records: readonly Pick<MeteringRecord, 'hour'>[], now: string): Age {
  const isOlderThan = (hours: number) => records.some(({ hour }) => now >= addHours(hour, 1 + hours))
  return isOlderThan(4) ? 'very_old' : isOlderThan(1) ? 'old' : 'fresh'
}

/** A watermark comes each minute. `since`: the time it speaks of, or when one was first waited for. */
export function ageOfWatermark(since: string, now: string): Age {
  const minutes = (Date.parse(now) - Date.parse(since)) / 60_000
  return minutes >= 60 ? 'very_old' : minutes >= 15 ? 'old' : 'fresh'
}

/** Calls `tell` when things have become worse, and each hour while they stay bad. */
export function tellAges(
  now: () => string,
  tell: (age: Exclude<Age, 'fresh'>, fields: Readonly<Record<string, unknown>>) => void,
): (age: Age, fields: Readonly<Record<string, unknown>>) => void {
  const rank = { fresh: 0, old: 1, very_old: 2 } as const
  let told: { readonly age: Age; readonly until: string } = { age: 'fresh', until: '' }
  return (age, fields) => {
    const isNews = rank[age] > rank[told.age] || (age !== 'fresh' && now() >= told.until)
    if (isNews && age !== 'fresh') tell(age, fields)
    if (isNews || age === 'fresh') told = { age, until: addHours(now(), 1) }
  }
}

/** Rounds come each second, and so does what they find: the same words are said once in ten minutes. */
export function quietly({ onAlarm, onWarn }: Alarms, now: () => string): Alarms {
  const quietUntil = new Map<string, string>()
  const once =
    <Kind extends string>(tell: (kind: Kind, message: string, fields: Readonly<Record<string, unknown>>) => void) =>
    (kind: Kind, message: string, fields: Readonly<Record<string, unknown>>): void => {
      const key = `${kind} ${message}`
      const at = now()
      if (at < (quietUntil.get(key) ?? '')) return
      for (const [old, until] of quietUntil) if (until <= at) quietUntil.delete(old)
      quietUntil.set(key, addMs(at, 600_000))
      tell(kind, message, fields)
    }
  return { onAlarm: once(onAlarm), onWarn: once(onWarn) }
}
