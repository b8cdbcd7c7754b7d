import { setTimeout as delay } from 'node:timers/promises'
import { withSession } from './session.ts'

/**
 * After this much silence Postgres ends a leader's session and gives the lock away. The session notices a loss within
 * 7 s (session.ts), so a leader that is merely cut off stops before its successor begins.
 */
const SILENCE = '10s'
const RETRY_MS = 500

/**
 * Leader election: competes for the advisory lock `name` until `signal` aborts, and runs `whileHeld` each time it is
 * won. `lost` aborts when the lock is lost or `signal` aborts; the lock is competed for again once `whileHeld` has
 * settled, also when it returned or threw by itself. A process that was frozen may run a little before it notices that
 * it leads no more: what a leader does must be refused by a compare-and-set or an expected revision then.
 *
 * Resolves when `signal` aborts and `whileHeld` has settled; never rejects.
 */
export async function holdAdvisoryLock(
  url: string,
  name: string,
  signal: AbortSignal,
  whileHeld: (lost: AbortSignal) => Promise<void>,
  onError: (error: unknown) => void = warn,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await withSession(url, `liveness leader ${name}`, signal, async (session, lost) => {
        await session.query(`set idle_session_timeout = '${SILENCE}'`)
        for (;;) {
          const { rows } = await session.query<{ held: boolean }>(
            'select pg_try_advisory_lock(hashtextextended($1, 0)) as held',
            [name],
          )
          if (rows[0]?.held) break
          await delay(RETRY_MS, undefined, { signal: lost })
        }
        await whileHeld(lost)
      })
    } catch (error) {
      if (!signal.aborted) onError(error)
    }
    await delay(RETRY_MS, undefined, { signal }).catch(() => {})
  }
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error))
}
