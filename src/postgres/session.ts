import pg from 'pg'
import { clientConfig } from './client-config.ts'

/** How often a session shows that it lives, and how long an answer may take, in milliseconds. */
const HEARTBEAT_MS = 2_500
const ANSWER_MS = 4_000

/** A watched connection. Of two queries at once the second waits for the first one's answer: pg takes one at a time. */
export interface Session {
  query<R extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<pg.QueryResult<R>>
  onNotification(listener: (payload: string) => void): void
}

/**
 * Runs `work` on a dedicated connection that is watched: a query each 2.5 s must be answered within 4 s, so that a
 * dead server, a frozen one and a cut network are all noticed within 7 s. `lost` aborts then, and when `signal` does.
 *
 * @throws Error when the connection cannot be made, when it is lost (after `work` has settled), or what `work` throws
 */
export async function withSession(
  url: string,
  applicationName: string,
  signal: AbortSignal,
  work: (session: Session, lost: AbortSignal) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted()
  const client = new pg.Client({ ...clientConfig(url, applicationName, ANSWER_MS), query_timeout: ANSWER_MS + 500 })
  const lost = new AbortController()
  client.on('error', (error) => lost.abort(error))
  client.on('end', () => lost.abort(new Error('Connection terminated')))
  const leave = () => lost.abort(signal.reason)
  signal.addEventListener('abort', leave, { once: true })
  let answered: Promise<unknown> = Promise.resolve()
  const session: Session = {
    query<R extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) {
      const answer = answered.then(() => client.query<R>(text, [...values]))
      answered = answer.catch(() => {})
      return answer
    },
    onNotification: (listener) => client.on('notification', ({ payload }) => listener(payload ?? '')),
  }
  const heartbeat = setInterval(() => {
    session.query('select 1').catch((error: unknown) => lost.abort(error))
  }, HEARTBEAT_MS)
  try {
    await client.connect()
    await work(session, lost.signal)
    lost.signal.throwIfAborted()
  } finally {
    clearInterval(heartbeat)
    signal.removeEventListener('abort', leave)
    await hangUp(client)
  }
}

/** Says goodbye, but does not wait for a server that does not answer: end() would wait for its side to close. */
async function hangUp(client: pg.Client): Promise<void> {
  const cut = setTimeout(() => client.connection.stream.destroy(), 1_000)
  await client.end().catch(() => {})
  clearTimeout(cut)
}
