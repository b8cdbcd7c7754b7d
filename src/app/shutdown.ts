/** Ends the process in order on SIGINT, SIGTERM or SIGHUP, and at once on the second. */
import type { Logger } from 'pino'

/** Longer than requests in flight and the servers' own stops may take together. */
const graceMs = 90_000

/** A terminal signals its whole process group and npm passes the signal on as well: that is one wish, not two. */
const sameWishMs = 500

/**
 * Resolves at the first signal. After it, another signal or the end of the grace period ends the process at once:
 * nothing that was committed is lost, for the log acknowledges only what is on disk. The event store's process then
 * ends by itself, and the embedded Postgres is stopped by this process's exit.
 */
export function firstSignal(log: Logger): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let askedAt: number | undefined
    const onSignal = (signal: NodeJS.Signals) => {
      if (askedAt !== undefined) {
        if (performance.now() - askedAt < sameWishMs) return
        log.warn(`${signal} again: stopping at once`)
        process.exit(1)
      }
      askedAt = performance.now()
      log.info(`${signal}: finishing what is in flight, then stopping. The same again stops at once.`)
      setTimeout(() => {
        log.error(`not stopped in order within ${graceMs / 1_000} s: stopping at once`)
        process.exit(1)
      }, graceMs).unref()
      resolve(signal)
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
    process.on('SIGHUP', onSignal) // the terminal was closed
  })
}
