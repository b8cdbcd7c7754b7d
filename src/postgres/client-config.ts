import pg from 'pg'

/**
 * Column types as this application reads them, on its own connections only: int8 (revisions, counts, sequences) as
 * bigint, alone and in arrays, because a number is exact only up to 2^53. The rest as pg does: numeric as string,
 * timestamptz as Date (to the millisecond).
 */
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') => {
    if (oid === pg.types.builtins.INT8) return BigInt
    if (oid === INT8_ARRAY) return parseBigints
    return format === 'binary' ? pg.types.getTypeParser(oid, 'binary') : pg.types.getTypeParser(oid, 'text')
  },
}
const INT8_ARRAY = 1016

/** Integers are never quoted in an array, so the commas are enough. One dimension only: deeper ones throw. */
function parseBigints(text: string): (bigint | null)[] {
  const entries = text === '{}' ? [] : text.slice(1, -1).split(',')
  return entries.map((entry) => (entry === 'NULL' ? null : BigInt(entry)))
}

const CONNECT_TIMEOUT_MS = 5_000
/** How much longer than the server we wait before we take the server, or the way to it, for dead. */
const NETWORK_MARGIN_MS = 5_000

/**
 * How every connection of the application is set up.
 *
 * @param statementTimeoutMs longest time a statement may run on the server; 0 for as long as it takes
 */
export function clientConfig(url: string, applicationName: string, statementTimeoutMs: number): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: statementTimeoutMs,
    ...(statementTimeoutMs > 0 && { query_timeout: statementTimeoutMs + NETWORK_MARGIN_MS }),
    // A process that freezes inside a transaction must not hold its row locks longer than a leader its lock: whoever
    // takes over would wait for them. A leader's transaction that waits longer for the event store ends too, and is done
    // again from the log. Others that must outlast such a wait say so themselves, with `set local`.
    idle_in_transaction_session_timeout: 10_000,
    keepAlive: true,
    types,
  }
}
