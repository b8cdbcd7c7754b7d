import type pb from '@eventstore/db-client/generated/streams_pb.js'
import { status } from '@grpc/grpc-js'
import type { StoredRow } from './model.ts'
import { Refused } from './protocol.ts'

/** Whether an event of $all is wanted. */
export type Filter = (row: Pick<StoredRow, 'stream' | 'type'>) => boolean

type FilterOptions = InstanceType<typeof pb.ReadReq.Options.FilterOptions>

/** @throws Refused when the regular expression is none */
export function readFilter(options: FilterOptions): Filter {
  const byStream = options.getStreamIdentifier()
  const expression = byStream ?? options.getEventType()
  if (expression === undefined) return () => true
  const matches = matcher(expression.getRegex(), expression.getPrefixList())
  return byStream === undefined ? (row) => matches(row.type) : (row) => matches(row.stream)
}

function matcher(regex: string, prefixes: readonly string[]): (text: string) => boolean {
  if (prefixes.length > 0) return (text) => prefixes.some((prefix) => text.startsWith(prefix))
  try {
    const expression = new RegExp(regex, 'u')
    return (text) => expression.test(text)
  } catch (error) {
    const details = error instanceof Error ? error.message : String(error)
    throw new Refused({ code: status.INVALID_ARGUMENT, details })
  }
}

/** EventStoreDB looks through 32 events before it says how far it has come; times the client's multiplier. */
const DEFAULT_WINDOW = 32

/** After how many events looked at a filtered subscription is told how far the server has come. */
export function checkpointInterval(options: FilterOptions): number {
  const window = options.hasMax() ? options.getMax() : DEFAULT_WINDOW
  return Math.max(1, window) * Math.max(1, options.getCheckpointintervalmultiplier())
}
