/** When a record is sent again. Pure: the log says how often and when it was sent, so a restart changes nothing. */
import { createHash } from 'node:crypto'
import type { MeteringRecord } from './record.ts'

const firstMs = 2_000
const longestMs = 15 * 60_000

/**
 * Doubling pauses with jitter, each at most a tenth of the time that is left: the last hour of an ended subscription
 * gets its tries too.
 */
export function nextAttemptAt({ recordId, sealed, attempts, lastAttemptAt }: MeteringRecord): string {
  if (sealed === null || lastAttemptAt === null) return ''
  const last = Date.parse(lastAttemptAt)
  const left = Date.parse(sealed.deadline) - last
  const pause = Math.max(Math.min(firstMs * 2 ** (attempts - 1), longestMs, left / 10), firstMs)
  return new Date(last + pause * (0.5 + spread(`${recordId} ${attempts}`) / 2)).toISOString()
}

/** From 0 to 1, the same for the same text: records that failed together do not come back together. */
function spread(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE(0) / 0xffff_ffff
}
