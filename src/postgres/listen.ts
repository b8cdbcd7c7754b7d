import { setTimeout as delay } from 'node:timers/promises'
import { escapeIdentifier } from 'pg'
import { withSession } from './session.ts'

export interface Listener {
  onNotify(payload: string): void
  /** Called each time listening begins. What was notified before, since the last connection was lost, was missed. */
  onListening?(): void
  /** Told why the connection was lost or could not be made. */
  onError?(error: unknown): void
}

const FIRST_BACKOFF_MS = 100
const LONGEST_BACKOFF_MS = 5_000

/**
 * LISTENs on a channel over a connection of its own until `signal` aborts, and connects again for as long as it takes.
 * Resolves then; never rejects.
 */
export async function listen(url: string, channel: string, listener: Listener, signal: AbortSignal): Promise<void> {
  let backoff = FIRST_BACKOFF_MS
  while (!signal.aborted) {
    try {
      await withSession(url, `liveness listen ${channel}`, signal, async (session, lost) => {
        session.onNotification((payload) => listener.onNotify(payload))
        await session.query(`listen ${escapeIdentifier(channel)}`)
        backoff = FIRST_BACKOFF_MS
        listener.onListening?.()
        await aborted(lost)
      })
    } catch (error) {
      if (!signal.aborted) listener.onError?.(error)
    }
    await delay(backoff, undefined, { signal }).catch(() => {})
    backoff = Math.min(backoff * 2, LONGEST_BACKOFF_MS)
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
