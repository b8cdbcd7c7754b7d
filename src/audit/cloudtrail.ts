/**
 * CloudTrail's events of BatchMeterUsage, as it delivers them: `{"Records": […]}`, each event with the request and the
 * answer. Source: "Logging AWS Marketplace Metering API calls with AWS CloudTrail" (names in camel case, times of
 * records as `Apr 19, 2018 4:32:50 PM` in UTC, the buyer's account as `customerAWSAccountID`), CloudTrail record
 * contents (an event may be delivered more than once, under one eventID; a refused call has no request or no answer).
 * Pure.
 */
import { z } from 'zod'

/** A file that CloudTrail cannot have written. */
export class BadCloudTrail extends Error {
  override name = 'BadCloudTrail'
}

/** The API says `CustomerAWSAccountId`, CloudTrail's example `customerAWSAccountID`: names are told apart in small letters. */
const inSmallLetters = (value: unknown): unknown =>
  typeof value === 'object' && value !== null
    ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name.toLowerCase(), inner]))
    : value

const usageRecord = z.preprocess(
  inSmallLetters,
  z
    .object({
      timestamp: z.union([z.string(), z.number()]),
      dimension: z.string(),
      quantity: z.int().default(0),
      customeridentifier: z.string().nullish(),
      customerawsaccountid: z.string().nullish(),
      licensearn: z.string().nullish(),
    })
    .transform(({ customeridentifier, customerawsaccountid, licensearn, ...record }) => ({
      ...record,
      customerIdentifier: customeridentifier ?? undefined,
      customerAWSAccountId: customerawsaccountid ?? undefined,
      licenseArn: licensearn ?? undefined,
    })),
)
const batchMeterUsage = z.object({
  eventID: z.string(),
  eventTime: z.string(),
  awsRegion: z.string(),
  errorCode: z.string().optional(),
  errorMessage: z.string().optional(),
  userIdentity: z.object({ arn: z.string().optional() }).optional(),
  requestParameters: z
    .object({ usageRecords: z.array(usageRecord).nullish(), productCode: z.string().nullish() })
    .nullish(),
  responseElements: z
    .object({
      results: z
        .array(
          z.object({
            usageRecord: usageRecord.optional(),
            meteringRecordId: z.string().optional(),
            status: z.string().optional(),
          }),
        )
        .default([]),
      unprocessedRecords: z.array(usageRecord).default([]),
    })
    .nullish(),
})
const logFile = z.object({
  Records: z.array(z.object({ eventName: z.string().optional(), eventSource: z.string().optional() }).loose()),
})
const source = 'metering-marketplace.amazonaws.com'

type UsageRecord = z.infer<typeof usageRecord>

/** One record of one call, with what AWS answered. */
export interface SentUsage {
  readonly eventId: string
  /** ISO 8601. */
  readonly eventTime: string
  readonly region: string
  /** Who called. */
  readonly caller: string
  /** As licenceIdentity: the licence's ARN, or product and buyer. */
  readonly licence: string
  readonly dimension: string
  /** ISO 8601, whole seconds. */
  readonly timestamp: string
  readonly quantity: number
  /** AWS's status, `Unprocessed`, or the code of the error that refused the whole call. */
  readonly status: string
  readonly meteringRecordId: string | null
}

/**
 * The usage in one file's text; other events of the account are passed over.
 * @param seen ids of events that were read before; one event may stand in several files, or twice in one
 * @throws BadCloudTrail
 */
export function readCloudTrail(text: string, name: string, seen: Set<string> = new Set()): SentUsage[] {
  let file: z.infer<typeof logFile>
  try {
    file = logFile.parse(JSON.parse(text))
  } catch (cause) {
    throw new BadCloudTrail(`${name} is no log file of CloudTrail`, { cause })
  }
  const isMetering = ({ eventName, eventSource = source }: (typeof file.Records)[number]) =>
    eventName === 'BatchMeterUsage' && eventSource === source
  return file.Records.filter(isMetering).flatMap((record) => {
    const event = batchMeterUsage.safeParse(record)
    if (!event.success) {
      throw new BadCloudTrail(`${name} holds a BatchMeterUsage that cannot be read: ${event.error.issues[0]?.message}`)
    }
    if (seen.has(event.data.eventID)) return []
    seen.add(event.data.eventID)
    return usageOf(event.data)
  })
}

function usageOf(event: z.infer<typeof batchMeterUsage>): SentUsage[] {
  const { productCode, usageRecords } = event.requestParameters ?? {}
  const results = [...(event.responseElements?.results ?? [])]
  const unprocessed = [...(event.responseElements?.unprocessedRecords ?? [])]
  return (usageRecords ?? []).map((sent) => {
    const result = takeOut(results, ({ usageRecord: of }) => of !== undefined && isSame(sent, of))
    const isUnprocessed = result === undefined && takeOut(unprocessed, (of) => isSame(sent, of)) !== undefined
    return {
      eventId: event.eventID,
      eventTime: new Date(event.eventTime).toISOString(),
      region: event.awsRegion,
      caller: event.userIdentity?.arn ?? 'unknown',
      licence: sent.licenseArn ?? `${productCode ?? ''}/${sent.customerAWSAccountId ?? sent.customerIdentifier ?? ''}`,
      dimension: sent.dimension,
      timestamp: instantOf(sent.timestamp),
      quantity: sent.quantity,
      status: event.errorCode ?? result?.status ?? (isUnprocessed ? 'Unprocessed' : 'no answer'),
      meteringRecordId: result?.meteringRecordId ?? null,
    }
  })
}

/** AWS may add an account to a customer identifier in its answer, so only what was sent is compared. */
const isSame = (sent: UsageRecord, answered: UsageRecord): boolean =>
  instantOf(sent.timestamp) === instantOf(answered.timestamp) &&
  sent.dimension === answered.dimension &&
  sent.quantity === answered.quantity &&
  (['customerIdentifier', 'customerAWSAccountId', 'licenseArn'] as const).every(
    (name) => sent[name] === undefined || sent[name] === answered[name],
  )

function takeOut<T>(list: T[], matches: (one: T) => boolean): T | undefined {
  const place = list.findIndex(matches)
  return place < 0 ? undefined : list.splice(place, 1)[0]
}

/** Seconds since 1970, ISO 8601, or the form of the source above. @throws BadCloudTrail */
function instantOf(timestamp: string | number): string {
  // Node reads a time without a zone as this machine's; a narrow no-break space may stand before AM and PM.
  const text = typeof timestamp === 'string' ? timestamp.replace(/\s/g, ' ') : ''
  const zoned = /(Z|[+-]\d\d:?\d\d|UTC|GMT)$/.test(text) ? text : `${text} UTC`
  const ms = typeof timestamp === 'number' ? timestamp * 1_000 : Date.parse(zoned)
  if (Number.isNaN(ms)) throw new BadCloudTrail(`"${timestamp}" is no time`)
  return new Date(ms).toISOString()
}
