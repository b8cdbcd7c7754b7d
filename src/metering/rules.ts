/**
 * AWS Marketplace's arithmetic of hours, deadlines and timestamps. Pure.
 * Source of each rule: AWS Marketplace Metering Service, BatchMeterUsage (SDK documentation): a record is taken until
 * 24 hours after its hour began, and records of a month until 06:00 UTC on the 1st of the next. Both have changed
 * before, so both are settings.
 */
import { monthEnd, monthStart } from '../commands/plans.ts'
import type { Licence } from '../events/catalogue.ts'
import type { Identity } from '../events/metering.ts'

/** The settings that decide what is sealed, sent and given up. */
export interface MeteringRules {
  /** METERING_GRACE in milliseconds: how long after its end an hour stays open for late calls. */
  readonly graceMs: number
  /** METERING_WINDOW_HOURS. */
  readonly windowHours: number
  /** METERING_MONTH_CLOSE_HOUR: UTC hour of the 1st. */
  readonly monthCloseHour: number
  readonly carryForward: boolean
  readonly heartbeat: boolean
  readonly submit: boolean
  /** MARKETPLACE_REGION: AWS removes duplicates within one region only. */
  readonly region: string
}

export const hourMs = 3_600_000

/** A bucket key's parts; commands/plans.ts composes it. */
export interface BucketKey {
  readonly customerId: string
  /** licenceIdentity of the licence: the ARN, or product and account. */
  readonly licence: string
  readonly dimension: string
  /** Start of the UTC hour, ISO 8601 with milliseconds. */
  readonly hour: string
}

/** @throws Error when it is none of ours: the log is damaged */
export function parseBucketKey(key: string): BucketKey {
  const [customerId, licence, dimension, hour, ...rest] = key.split('|')
  if (!customerId || !licence || !dimension || !/^\d{4}-\d\d-\d\dT\d\dZ$/.test(hour ?? '') || rest.length > 0) {
    throw new Error(`"${key}" is no bucket key`)
  }
  return { customerId, licence, dimension, hour: `${hour?.slice(0, 13)}:00:00.000Z` }
}

export const formatBucketKey = ({ customerId, licence, dimension, hour }: BucketKey): string =>
  [customerId, licence, dimension, `${hour.slice(0, 13)}Z`].join('|')

const noHourLeft = 'no_hour_left'

/**
 * The record of calls that came when their month had no open hour left; it is never sent. The first of them is number
 * 1; another one follows where even the one before it is sealed.
 */
export function overflowKey({ customerId, licence, dimension, hour }: BucketKey, number: number): string {
  const month = hour.slice(0, 7)
  return [customerId, licence, dimension, number === 1 ? month : `${month}.${number}`, noHourLeft].join('|')
}

/**
 * The parts of a record's id; an overflow record begins with its month.
 * @throws Error when it is none of ours: the log is damaged
 */
export function parseRecordId(recordId: string): BucketKey {
  const [customerId = '', licence = '', dimension = '', month = '', last] = recordId.split('|')
  if (last !== noHourLeft) return parseBucketKey(recordId)
  return { customerId, licence, dimension, hour: monthStart(month.slice(0, 7)) }
}

export const addHours = (instant: string, hours: number): string =>
  new Date(Date.parse(instant) + hours * hourMs).toISOString()

export const addMs = (instant: string, ms: number): string => new Date(Date.parse(instant) + ms).toISOString()

/** No attempt starts later: an answer that comes after the deadline could be a refusal, or be lost. */
export const lastStartOf = (deadline: string): string => addMs(deadline, -2 * 60_000)

/** Start of the UTC hour of an instant. */
export const hourOf = (instant: string): string => `${instant.slice(0, 13)}:00:00.000Z`

/** min(start of the hour + window, the 1st of the next month at the closing hour); earlier after an end. */
export function deadlineOf(
  hour: string,
  { windowHours, monthCloseHour }: Pick<MeteringRules, 'windowHours' | 'monthCloseHour'>,
  endedAt?: string | undefined,
): string {
  const monthCloses = addHours(monthEnd(hour.slice(0, 7)), monthCloseHour)
  // AWS takes the last records for about one hour after a subscription has ended.
  const lastHour = endedAt === undefined ? monthCloses : addHours(endedAt, 1)
  const [earliest = monthCloses] = [addHours(hour, windowHours), monthCloses, lastHour].toSorted()
  return earliest
}

/**
 * The later of the hour's start and the licence's start, rounded up to a second: AWS refuses usage before either. It
 * never leaves its hour, whatever is known of the licence by now (a legacy product's term is replaced when it is
 * renewed): AWS takes records for the same by their hour, and a bill by its month.
 */
export function timestampOf(hour: string, licenceStart: string | undefined): string {
  if (licenceStart === undefined || licenceStart <= hour || licenceStart >= addHours(hour, 1)) return hour
  const rounded = Math.ceil(Date.parse(licenceStart) / 1_000) * 1_000
  return new Date(Math.min(rounded, Date.parse(hour) + hourMs - 1_000)).toISOString()
}

/** Whom to name to AWS for usage under a licence. Never both identifiers of a legacy customer: AWS refuses that. */
export function identityOf(licence: Licence): Identity {
  switch (licence.kind) {
    case 'none':
      return { kind: 'none' }
    case 'licence':
      return { kind: 'licence', awsAccountId: licence.awsAccountId, licenceArn: licence.licenceArn }
    case 'product': {
      const { productCode, awsAccountId, customerIdentifier } = licence
      if (awsAccountId !== undefined) return { kind: 'product', productCode, awsAccountId }
      return { kind: 'product', productCode, ...(customerIdentifier === undefined ? {} : { customerIdentifier }) }
    }
  }
}
